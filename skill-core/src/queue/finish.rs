//! Ending attempts: what was done is not forgotten because the store stumbles.

use std::time::Duration;

use jiff::Timestamp;

use super::{
    Shared,
    attempt::Ended,
    live::{Held, Why},
};
use crate::{
    call::Outcome,
    error::{ErrorKind, Result},
    executor::{Event, Kept},
    record::{
        Sealed,
        execution::{Execution, State},
        run::Finished,
    },
};

/// How long to wait after the store refused.
const PAUSE: Duration = Duration::from_millis(500);
/// How often an attempt is ended that the store calls damaged, or that has to stop.
const TRIES: u32 = 5;

impl Shared {
    /// Says how the attempt ended, unless the run is no longer ours.
    pub(super) async fn conclude(
        &self,
        (mut run, deadline): (Execution, Timestamp),
        ended: Ended,
        held: &Held,
    ) {
        let now = self.now();
        let (mut run_at, mut outcome, mut is_undone) = (now, None, false);
        let mut reason = "stopped";
        run.state = State::Queued;
        match ended {
            Ended::Gone => return self.lost(&run),
            // Its deadline is looked at even when it sleeps longer.
            Ended::Undone(at) => (run_at, is_undone) = (at.min(deadline), true),
            Ended::Again(wait, why) => {
                run_at = now.checked_add(wait).unwrap_or(now);
                reason = why;
            }
            Ended::Over(over) => {
                run.state = if over.is_good() { State::Success } else { State::Error };
                run.error = match &over {
                    Outcome::Failed(failure) => Some(failure.kind),
                    Outcome::Answer { .. } => None,
                };
                (run.progress, run.ended_at) = (100, Some(self.clock.now()));
                match self.sealed(&run, &over, held).await {
                    Ok(sealed) => outcome = Some(sealed),
                    Err(error) => {
                        tracing::error!(execution = %run.id, error = %error.log_line(), "an outcome is lost");
                        (run.state, run.error) = (State::Error, Some(error.kind()));
                    }
                }
            }
        }
        let finished = Finished { lease: held.lease(), execution: run, outcome, run_at, is_undone };
        let Some(run) = self.finish(finished, held).await else { return };
        if run.state.is_final() {
            self.executor.observer.hear(&Event::Ended(&run));
        } else {
            self.executor.observer.hear(&Event::GivenBack { run: &run, reason });
            self.waits(run_at);
        }
    }

    /// The outcome as it is kept. One that is too large for its row, and cannot be kept elsewhere
    /// either, is held out until it can or the lease is lost.
    async fn sealed(&self, run: &Execution, over: &Outcome, held: &Held) -> Result<Sealed> {
        let whose = (&run.owner, run.id);
        loop {
            let kept = self.executor.keep_outcome(whose, over, self.settings.result_bytes).await;
            match kept {
                Err(error) if error.kind() == ErrorKind::Unavailable && held.why().is_none() => {
                    tracing::warn!(execution = %run.id, error = %error.log_line(), "not kept yet");
                    tokio::time::sleep(PAUSE).await;
                }
                kept => return kept,
            }
        }
    }

    /// Ends the attempt durably; `None` when the run is no longer ours. A store that does not
    /// answer is asked again for as long as the lease is held: what was done must not be done anew.
    pub(super) async fn finish(&self, mut done: Finished, held: &Held) -> Option<Execution> {
        let mut tries = 0;
        loop {
            match self.store.finish(std::slice::from_ref(&done)).await {
                Ok(kept) if kept.first() == Some(&true) => {
                    if done.execution.state.is_final() && held.has_spilled() {
                        self.forget_steps(&done).await;
                    }
                    return Some(done.execution);
                }
                Ok(_) => {
                    let lease = held.lease();
                    if lease.fencing == done.lease.fencing {
                        self.lost(&done.execution);
                        return None;
                    }
                    // This process claimed it again without noticing.
                    done.lease = lease;
                }
                Err(error) => {
                    tries += 1;
                    let is_passing = error.kind() == ErrorKind::Unavailable && held.why().is_none();
                    if matches!(held.why(), Some(Why::Lost | Why::Ended))
                        || (tries >= TRIES && !is_passing)
                    {
                        let (id, error) = (done.execution.id, error.log_line());
                        tracing::error!(execution = %id, error, "the end of a run is not recorded");
                        return None;
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// Removes the artifacts of a run that ended, but for its result. What stays goes with the run.
    async fn forget_steps(&self, done: &Finished) {
        let (owner, id) = (&done.execution.owner, done.execution.id);
        let open = |sealed| self.executor.open_outcome(owner, id, sealed);
        let forgotten = match done.outcome.as_ref().map(open).transpose() {
            Ok(Some(Kept::Spilled(_, _, result))) => {
                self.artifacts.forget(owner, id, Some(result)).await
            }
            Ok(_) => self.artifacts.forget(owner, id, None).await,
            Err(error) => Err(error),
        };
        if let Err(error) = forgotten {
            tracing::warn!(execution = %id, error = %error.log_line(), "artifacts of steps stay");
        }
    }
}
