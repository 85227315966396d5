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
    record::{
        Sealed,
        execution::{Execution, Recorded},
    },
    store::{ExecutionFilter, Store},
};

/// A run is on disk this long after its answer, at the latest.
const DELAY: Duration = Duration::from_millis(50);
/// How long to wait after the store refused a batch.
const PAUSE: Duration = Duration::from_millis(500);
/// Runs that may wait to be written; past this callers wait.
const MOST: usize = 20_000;
/// How often an engine that stops tries to write what is left.
const LAST_TRIES: u32 = 5;
/// Runs that are written in one transaction.
const BATCH: usize = 2_000;

/// Records runs in batches. Nothing is dropped: when it falls behind, callers wait.
pub struct History {
    store: Arc<dyn Store>,
    waiting: Mutex<HashMap<ExecutionId, Recorded>>,
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
    pub(crate) fn push(&self, ended: Recorded, room: Room) {
        room.0.forget();
        let id = ended.execution.id;
        if self.has_ended.load(Ordering::Acquire) {
            tracing::error!(execution = %id, "a run outlived its engine and is not recorded");
        }
        self.lock().insert(id, ended);
        self.something.notify_one();
    }

    /// Returns the owner's run.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when the owner has no such run.
    pub async fn get(&self, owner: &OwnerId, id: ExecutionId) -> Result<Execution> {
        let waiting = self.lock().get(&id).map(|ended| ended.execution.clone());
        let found = match waiting {
            Some(run) => Some(run),
            None => self.store.execution(owner, id).await?,
        };
        found
            .filter(|run| run.owner == *owner)
            .ok_or_else(|| Error::not_found("there is no execution with this id"))
    }

    /// Whether the end of the run waits to be written.
    pub(crate) fn has(&self, id: ExecutionId) -> bool {
        self.lock().contains_key(&id)
    }

    /// The kept inputs and the kept outcome of a run.
    pub(crate) async fn bodies(
        &self,
        owner: &OwnerId,
        id: ExecutionId,
    ) -> Result<(Option<Sealed>, Option<Sealed>)> {
        let waiting = self.lock().get(&id).filter(|ended| ended.execution.owner == *owner).cloned();
        match waiting {
            Some(ended) => Ok((ended.input, ended.outcome)),
            None => self.store.bodies(owner, id).await,
        }
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
        // The first pass to end may have begun before this moment; the second has not.
        for _ in 0..2 {
            let written = self.written.notified();
            if self.has_ended.load(Ordering::Acquire) || self.lock().is_empty() {
                return;
            }
            self.something.notify_one();
            written.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ExecutionId, Recorded>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what waits at this moment. A run stays readable from memory until it is readable
    /// from the store.
    async fn write_waiting(&self) -> Result<()> {
        let all = self.lock().keys().copied().collect::<Vec<_>>();
        for ids in all.chunks(BATCH) {
            let rows = {
                let waiting = self.lock();
                ids.iter().filter_map(|id| waiting.get(id).cloned()).collect::<Vec<_>>()
            };
            self.store.record(&rows).await?;
            let mut waiting = self.lock();
            ids.iter().for_each(|id| drop(waiting.remove(id)));
            drop(waiting);
            self.room.add_permits(ids.len());
        }
        Ok(())
    }

    /// Writes what is left, trying a few times.
    async fn write_rest(&self) {
        for tries_left in (0..LAST_TRIES).rev() {
            match self.write_waiting().await {
                Ok(()) => return,
                Err(error) if tries_left == 0 => {
                    let (error, runs) = (error.log_line(), self.lock().len());
                    tracing::error!(error, runs, "runs were not recorded");
                }
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
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
    history.write_rest().await;
    history.has_ended.store(true, Ordering::Release);
    history.written.notify_waiters();
}
