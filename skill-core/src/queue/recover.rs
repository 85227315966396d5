//! What a process finds that comes after one that died.

use std::{sync::Arc, time::Duration};

use super::Shared;
use crate::{
    call::Outcome,
    error::{Error, ErrorKind, Result},
    record::execution::{Execution, Recorded, State},
};

/// How many lost calls are recorded in one transaction.
const BATCH: u32 = 500;
/// How often is looked for calls that another process lost.
const SWEEP: Duration = Duration::from_secs(60);

impl Shared {
    /// Takes over the runs of workers that certainly are gone, and ends the calls that were lost
    /// with them.
    pub(super) async fn recover(self: &Arc<Self>) -> Result<()> {
        let adopted = self.store.adopt(self.clock.now()).await?;
        let lost = self.end_orphans().await?;
        if adopted + lost > 0 {
            tracing::info!(runs = adopted, calls = lost, "an earlier process left work behind");
        }
        let sweeping = self.clone();
        self.beats.spawn(async move { sweeping.sweep_orphans().await });
        Ok(())
    }

    async fn sweep_orphans(&self) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(SWEEP) => {}
                () = self.killed.cancelled() => return,
            }
            if let Err(error) = self.end_orphans().await {
                tracing::warn!(error = %error.log_line(), "lost calls stay as running for now");
            }
        }
    }

    /// Ends calls that were on disk before they were sent, and whose process ended before they did:
    /// nobody knows what they did, and a repeat of the request is told so.
    async fn end_orphans(&self) -> Result<u64> {
        let mut total = 0;
        loop {
            let lost = self.store.orphans(self.clock.now(), BATCH).await?;
            let is_last = lost.len() < BATCH as usize;
            // A process that was frozen, or whose clock jumped, still has its own.
            let lost = lost.into_iter().filter(|run| !self.executor.has(run.id));
            let ended = lost.map(|run| self.orphan(run)).collect::<Result<Vec<_>>>()?;
            if !ended.is_empty() {
                self.store.record(&ended).await?;
            }
            total += ended.len() as u64;
            if is_last || ended.is_empty() {
                return Ok(total);
            }
        }
    }

    fn orphan(&self, mut run: Execution) -> Result<Recorded> {
        let message = "the process ended while the request was under way: it may have taken \
                       effect, and was not repeated";
        let error = Error::new(ErrorKind::OutcomeUnknown, message);
        (run.state, run.progress, run.error) = (State::Error, 100, Some(error.kind()));
        run.ended_at = Some(self.clock.now());
        let failed = Outcome::Failed((&error).into());
        let outcome = self.executor.seal_outcome(&run.owner, run.id, &failed)?;
        let replay = Some(outcome.clone());
        Ok(Recorded { execution: run, input: None, outcome: Some(outcome), replay })
    }
}
