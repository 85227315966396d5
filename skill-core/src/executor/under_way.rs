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
    /// Does `work` unless somebody stops it.
    pub(super) async fn during<T>(
        &self,
        id: ExecutionId,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let token = CancellationToken::new();
        self.lock().insert(id, token.clone());
        let _listed = Listed(self, id);
        tokio::select! {
            biased;
            () = token.cancelled() => {
                Err(Error::new(ErrorKind::Conflict, "the call was cancelled"))
            }
            done = work => done,
        }
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

/// Takes the call off the list, however it ends.
struct Listed<'a>(&'a UnderWay, ExecutionId);

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        self.0.lock().remove(&self.1);
    }
}
