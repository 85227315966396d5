//! The history: every run is recorded, off the hot path, and readable the moment its answer is out.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::sync::{Notify, Semaphore};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    error::{Error, ErrorKind, Result},
    id::ExecutionId,
    name::OwnerId,
    record::execution::Execution,
    store::{ExecutionFilter, Store},
};

/// A run is on disk this long after its answer, at the latest.
const DELAY: Duration = Duration::from_millis(50);
/// How long to wait after the store refused a batch.
const PAUSE: Duration = Duration::from_millis(500);
/// Runs that may wait to be written; past this callers wait.
const MOST: usize = 20_000;
/// Runs that are written in one transaction.
const BATCH: usize = 2_000;

/// Records runs in batches. Nothing is dropped: when it falls behind, callers wait.
pub struct History {
    store: Arc<dyn Store>,
    waiting: Mutex<HashMap<ExecutionId, Execution>>,
    room: Arc<Semaphore>,
    something: Notify,
    written: Notify,
    has_ended: AtomicBool,
}

impl fmt::Debug for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "History({} waiting)", self.lock().len())
    }
}

impl History {
    /// Starts the history over `store`; it ends, with everything written, when `stop` is cancelled.
    pub(crate) fn start(
        store: Arc<dyn Store>,
        tasks: &TaskTracker,
        stop: CancellationToken,
    ) -> Arc<Self> {
        let history = Arc::new(Self {
            store,
            waiting: Mutex::default(),
            room: Arc::new(Semaphore::new(MOST)),
            something: Notify::new(),
            written: Notify::new(),
            has_ended: AtomicBool::new(false),
        });
        tasks.spawn(write(history.clone(), stop));
        history
    }

    /// Takes no further runs; those that have room are still recorded.
    pub(crate) fn close(&self) {
        self.room.close();
    }

    /// Waits until there is room for one more run.
    pub(crate) async fn room(&self) -> Result<Room> {
        match self.room.clone().acquire_owned().await {
            Ok(permit) => Ok(Room(permit)),
            Err(_) => Err(Error::new(ErrorKind::Unavailable, "the engine is stopping")),
        }
    }

    /// Records a run that ended. It is readable when this returns.
    pub(crate) fn push(&self, run: Execution, room: Room) {
        room.0.forget();
        if self.has_ended.load(Ordering::Acquire) {
            tracing::error!(execution = %run.id, "a run outlived its engine and is not recorded");
        }
        self.lock().insert(run.id, run);
        self.something.notify_one();
    }

    /// Returns the owner's run.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when the owner has no such run.
    pub async fn get(&self, owner: &OwnerId, id: ExecutionId) -> Result<Execution> {
        let waiting = self.lock().get(&id).cloned();
        let found = match waiting {
            Some(run) => Some(run),
            None => self.store.execution(owner, id).await?,
        };
        found
            .filter(|run| run.owner == *owner)
            .ok_or_else(|| Error::not_found("there is no execution with this id"))
    }

    /// The owner's runs, the newest first, and how many match in all.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when the store does not answer.
    pub async fn list(
        &self,
        owner: &OwnerId,
        filter: &ExecutionFilter,
    ) -> Result<(Vec<Execution>, u64)> {
        self.flush().await;
        self.store.executions(owner, filter).await
    }

    /// Waits until everything that waits at this moment is written, or the store refuses it.
    async fn flush(&self) {
        let written = self.written.notified();
        if !self.has_ended.load(Ordering::Acquire) && !self.lock().is_empty() {
            self.something.notify_one();
            written.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ExecutionId, Execution>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what waits. A run stays readable from memory until it is readable from the store.
    async fn write_waiting(&self) -> Result<()> {
        loop {
            let batch = self.lock().values().take(BATCH).cloned().collect::<Vec<_>>();
            if batch.is_empty() {
                return Ok(());
            }
            let (ids, count) = (batch.iter().map(|run| run.id).collect::<Vec<_>>(), batch.len());
            let rows = batch.into_iter().map(|run| (run, None)).collect::<Vec<_>>();
            self.store.record(&rows).await?;
            let mut waiting = self.lock();
            ids.iter().for_each(|id| drop(waiting.remove(id)));
            drop(waiting);
            self.room.add_permits(count);
        }
    }
}

/// Room for one run in the history.
#[derive(Debug)]
pub(crate) struct Room(tokio::sync::OwnedSemaphorePermit);

async fn write(history: Arc<History>, stop: CancellationToken) {
    while !stop.is_cancelled() {
        tokio::select! {
            () = history.something.notified() => {}
            () = stop.cancelled() => break,
        }
        // Runs that end meanwhile join the batch.
        tokio::select! {
            () = tokio::time::sleep(DELAY) => {}
            () = stop.cancelled() => {}
        }
        if let Err(error) = history.write_waiting().await {
            tracing::error!(error = %error.log_line(), "the history cannot be written yet");
            history.something.notify_one();
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                () = stop.cancelled() => {}
            }
        }
        history.written.notify_waiters();
    }
    if let Err(error) = history.write_waiting().await {
        tracing::error!(error = %error.log_line(), "runs were not recorded");
    }
    history.has_ended.store(true, Ordering::Release);
    history.written.notify_waiters();
}
