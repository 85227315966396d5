//! The threads that read, each with a connection of its own.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread::{self, JoinHandle},
};

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::{
    failure::{Failure, Work, caught, no_thread, unavailable},
    file,
};
use crate::error::{Error, Result};

/// How many threads read: more would only wait for the same disk.
const MOST: usize = 4;

type Request = Box<dyn FnOnce(&Connection) + Send>;

pub(super) struct Readers {
    requests: Option<mpsc::Sender<Request>>,
    threads: Vec<JoinHandle<()>>,
}

impl Readers {
    /// Starts the threads.
    pub(super) fn start(path: &Path) -> Result<Self> {
        let (requests, queue) = mpsc::channel();
        let queue = Arc::new(Mutex::new(queue));
        let mut readers = Self { requests: Some(requests), threads: Vec::new() };
        let most = thread::available_parallelism().map_or(MOST, |n| n.get().clamp(2, MOST));
        for _ in 0..most {
            let (connection, queue) = (file::connect_reader(path)?, queue.clone());
            let thread = thread::Builder::new().name("store-reader".into());
            let thread = thread.spawn(move || serve(&connection, &queue));
            readers.threads.push(thread.map_err(|cause| no_thread(&cause))?);
        }
        Ok(readers)
    }

    /// Returns what `work` finds. Work that nobody waits for any more is left out.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Work<T> + Send + 'static,
    ) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        let request: Request = Box::new(move |connection| {
            if !reply.is_closed() {
                let found = caught(|| work(connection)).map_err(Failure::into_error);
                // Whoever asked may have gone meanwhile.
                drop(reply.send(found));
            }
        });
        let sent = self.requests.as_ref().map(|requests| requests.send(request));
        let Some(Ok(())) = sent else { return Err(gone()) };
        answer.await.unwrap_or_else(|_| Err(gone()))
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.requests = None;
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so already.
            drop(thread.join());
        }
    }
}

fn serve(connection: &Connection, queue: &Mutex<mpsc::Receiver<Request>>) {
    loop {
        // Held while waiting: the others wait for the lock instead of the queue.
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(request) = next else { return };
        request(connection);
    }
}

fn gone() -> Error {
    unavailable().with("what", "the threads that read have ended")
}
