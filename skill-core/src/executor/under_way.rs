//! Calls that are on disk and have not ended: others see them, and may stop them.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio_util::sync::CancellationToken;

use crate::{
    error::{Error, ErrorKind, Result},
    id::ExecutionId,
};

/// The calls of this process that others may stop.
#[derive(Debug, Default)]
pub(crate) struct UnderWay(Mutex<HashMap<ExecutionId, CancellationToken>>);

impl UnderWay {
    /// Lists a call until what this returns is dropped.
    pub(super) fn list(&self, id: ExecutionId) -> Listed<'_> {
        let token = CancellationToken::new();
        self.lock().insert(id, token.clone());
        Listed { all: self, id, token }
    }

    /// Whether the call is one of this process: it has not ended, or its end is not recorded yet.
    pub(super) fn has(&self, id: ExecutionId) -> bool {
        self.lock().contains_key(&id)
    }

    /// Stops a call, if it is one of this process.
    pub(crate) fn stop(&self, id: ExecutionId) {
        if let Some(token) = self.lock().get(&id) {
            token.cancel();
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ExecutionId, CancellationToken>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call that is listed. It goes off the list with this, however it ends.
pub(super) struct Listed<'a> {
    all: &'a UnderWay,
    id: ExecutionId,
    token: CancellationToken,
}

impl Listed<'_> {
    /// What ends when somebody stops the call.
    pub(super) fn token(&self) -> CancellationToken {
        self.token.clone()
    }
}

/// Does `work` until somebody stops it.
pub(super) async fn unless_stopped<T>(
    stopped: CancellationToken,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    tokio::select! {
        biased;
        () = stopped.cancelled() => {
            Err(Error::new(ErrorKind::Conflict, "the call was cancelled"))
        }
        done = work => done,
    }
}

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        self.all.lock().remove(&self.id);
    }
}
