//! Where skills run: on threads of their own, so that one that never gives its thread back takes
//! nothing from the engine but that thread.
//!
//! A runtime of one thread has no other place than itself: there a skill that blocks, blocks.

use std::{
    any::Any,
    fmt,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering},
        mpsc::{self, RecvTimeoutError, Sender},
    },
    thread,
    time::Duration,
};

use futures_util::FutureExt;
use tokio::{
    runtime::{Handle, RuntimeFlavor},
    sync::oneshot,
};
use tokio_util::sync::CancellationToken;

use crate::{
    clock::Deadline,
    error::{Error, ErrorKind, Result},
};

/// How long a thread without work stays.
const IDLE: Duration = Duration::from_secs(10);
/// How long a skill that was told to stop may go on before its thread is given up.
const GRACE: Duration = Duration::from_secs(1);
/// Threads that skills may block beyond the places there are.
const SPARE: usize = 64;

type Job = Pin<Box<dyn Future<Output = ()> + Send>>;

/// How a piece of work ended.
#[derive(Debug)]
pub(super) enum Ended<T> {
    /// By itself.
    Well(T),
    /// It panicked.
    Panicked,
    /// It took too long, and was dropped.
    Late,
    /// It took too long, and its thread cannot be had back.
    Blocked,
}

/// Threads for skills, made when they are needed.
pub(super) struct Threads {
    most: usize,
    busy: AtomicUsize,
    idle: Mutex<Vec<(thread::ThreadId, Sender<Job>)>>,
}

impl fmt::Debug for Threads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Threads({} busy)", self.busy.load(Ordering::Relaxed))
    }
}

impl Threads {
    /// Returns threads for `slots` pieces of work at once.
    pub(super) fn new(slots: u32) -> Arc<Self> {
        let (most, busy) = (slots as usize + SPARE, AtomicUsize::new(0));
        Arc::new(Self { most, busy, idle: Mutex::default() })
    }

    /// Runs `work` at most until `deadline`. Dropping the future drops the work, as soon as it
    /// gives its thread back.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when there is no thread to be had.
    pub(super) async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl Future<Output = T> + Send + 'static,
        deadline: Deadline,
    ) -> Result<Ended<T>> {
        let (reply, mut answer) = oneshot::channel();
        let abandoned = CancellationToken::new();
        let heard = abandoned.clone();
        let job = async move {
            let work = AssertUnwindSafe(work).catch_unwind();
            let ended = tokio::select! {
                ended = work => match ended {
                    Ok(value) => Ended::Well(value),
                    Err(payload) => panicked(&*payload),
                },
                () = heard.cancelled() => Ended::Late,
            };
            drop(reply.send(ended));
        };
        let guard = abandoned.drop_guard();
        self.start(Box::pin(job))?;
        if let Some(ended) = deadline.run(&mut answer).await {
            return Ok(ended.unwrap_or(Ended::Panicked));
        }
        drop(guard);
        let ended = Deadline::after(GRACE).run(answer).await;
        Ok(ended.map_or(Ended::Blocked, |ended| ended.unwrap_or(Ended::Panicked)))
    }

    fn start(self: &Arc<Self>, job: Job) -> Result<()> {
        let runtime = Handle::current();
        if runtime.runtime_flavor() == RuntimeFlavor::CurrentThread {
            drop(runtime.spawn(job));
            return Ok(());
        }
        let mut job = job;
        while let Some((_, idle)) = { self.lock().pop() } {
            match idle.send(job) {
                Ok(()) => return Ok(()),
                Err(mpsc::SendError(back)) => job = back,
            }
        }
        if self.busy.fetch_add(1, Ordering::AcqRel) >= self.most {
            self.busy.fetch_sub(1, Ordering::AcqRel);
            let message = "too many skills do not give their threads back: restart the engine";
            return Err(Error::new(ErrorKind::Unavailable, message));
        }
        let threads = Arc::downgrade(self);
        let spawned = thread::Builder::new()
            .name("skill".into())
            .spawn(move || serve(&threads, &runtime, job));
        spawned.map(drop).map_err(|cause| {
            self.busy.fetch_sub(1, Ordering::AcqRel);
            Error::new(ErrorKind::Unavailable, "there is no thread for the skill").caused_by(cause)
        })
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(thread::ThreadId, Sender<Job>)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Does one piece of work after the other, until there is none for a while.
fn serve(threads: &Weak<Threads>, runtime: &Handle, first: Job) {
    let me = thread::current().id();
    let (give, take) = mpsc::channel();
    let mut next = Some(first);
    loop {
        if let Some(job) = next.take() {
            // The runtime may end under it.
            drop(std::panic::catch_unwind(AssertUnwindSafe(|| runtime.block_on(job))));
            let Some(threads) = threads.upgrade() else { return };
            threads.lock().push((me, give.clone()));
        }
        match take.recv_timeout(IDLE) {
            Ok(job) => next = Some(job),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                let Some(threads) = threads.upgrade() else { return };
                let mut idle = threads.lock();
                let before = idle.len();
                idle.retain(|(id, _)| *id != me);
                // Otherwise somebody has taken it from there and is about to send work.
                if idle.len() < before {
                    drop(idle);
                    threads.busy.fetch_sub(1, Ordering::AcqRel);
                    return;
                }
            }
        }
    }
}

fn panicked<T>(payload: &(dyn Any + Send)) -> Ended<T> {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    tracing::error!(panic = text.unwrap_or("a panic without words"), "a skill panicked");
    Ended::Panicked
}

#[cfg(test)]
mod tests {
    use super::*;

    fn soon() -> Deadline {
        Deadline::after(Duration::from_millis(100))
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn work_that_blocks_takes_nothing_but_its_thread() {
        let threads = Threads::new(1);
        let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let seen = stop.clone();
        let spin = async move {
            while !seen.load(Ordering::Relaxed) {
                thread::yield_now();
            }
        };
        assert!(matches!(threads.run(spin, soon()).await.unwrap(), Ended::Blocked));
        let next = threads.run(async { 7 }, Deadline::after(Duration::from_secs(5))).await;
        assert!(matches!(next.unwrap(), Ended::Well(7)));
        stop.store(true, Ordering::Relaxed);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn timers_work_and_threads_are_used_again() {
        let threads = Threads::new(1);
        for _ in 0..50 {
            let nap = async {
                tokio::time::sleep(Duration::from_millis(1)).await;
                thread::current().id()
            };
            let ended = threads.run(nap, Deadline::after(Duration::from_secs(5))).await.unwrap();
            assert!(matches!(ended, Ended::Well(_)));
        }
        assert!(threads.busy.load(Ordering::Relaxed) <= 2);
    }

    #[tokio::test]
    async fn a_panic_and_a_late_end_are_told_apart() {
        let threads = Threads::new(1);
        let panics = async { panic!("on purpose") };
        assert!(matches!(threads.run::<()>(panics, soon()).await.unwrap(), Ended::Panicked));
        let hangs = std::future::pending::<()>();
        assert!(matches!(threads.run(hangs, soon()).await.unwrap(), Ended::Late));
    }
}
