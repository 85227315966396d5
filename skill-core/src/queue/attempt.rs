//! One attempt at a run: from the claim to the end, or back to the queue.

use std::{fmt, sync::{Arc, Mutex, PoisonError}};

use jiff::Timestamp;

use super::{Shared, live::Held};
use crate::{
    access::Admitted,
    clock::Deadline,
    error::{Error, ErrorKind, Result},
    executor::Gate,
    record::execution::Execution,
};

/// One attempt at a run, as everything that works on it shares it.
///
/// Whatever sends for the run asks [`Attempt::check`] right before: a worker that lost its run, was
/// told to stop or slept past its lease sends nothing.
pub(crate) struct Attempt {
    /// What the attempts of this engine share: store, executor, keys, vault, clock, settings.
    pub(crate) shared: Arc<Shared>,
    /// The run as it was claimed.
    pub(crate) execution: Execution,
    /// Whoever asked for the run, with what it might do then; not counted again for the run.
    pub(crate) admitted: Admitted,
    /// The lease, the signal to stop, and the progress.
    pub(crate) held: Arc<Held>,
    /// When the attempt has to end: nothing in it may take longer.
    pub(crate) deadline: Deadline,
    /// When the run goes on, once it asked to be put aside until then.
    suspended: Mutex<Option<Timestamp>>,
}

impl fmt::Debug for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Attempt({})", self.execution.id)
    }
}

impl Attempt {
    /// Refuses when nothing may be sent for the run any more.
    ///
    /// # Errors
    /// As [`Held::check`].
    pub(crate) fn check(&self) -> Result<()> {
        self.held.check(&*self.shared.clock)
    }

    /// Keeps how far the run is, in percent; whoever watches it hears of it at once, the store with
    /// the next sign of life.
    pub(crate) fn set_progress(&self, percent: u8) {
        if self.held.set_progress(percent) {
            self.shared.live.signal(self.execution.id);
        }
    }

    /// Puts the run aside until `at`: the error is passed up, the place goes to another run, and
    /// the attempt does not count.
    pub(crate) fn suspend(&self, at: Timestamp) -> Error {
        *self.suspended.lock().unwrap_or_else(PoisonError::into_inner) = Some(at);
        Error::new(ErrorKind::Unavailable, "the run sleeps: pass this error up")
    }

    /// Until when the run asked to be put aside.
    pub(crate) fn suspended(&self) -> Option<Timestamp> {
        *self.suspended.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait::async_trait]
impl Gate for Attempt {
    async fn pass(&self) -> Result<()> {
        self.check()
    }
}
