//! Ending attempts: what was done is not forgotten because the store stumbles.

use std::{
    mem,
    sync::{Arc, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::{
    Shared,
    attempt::{Ended, Placed},
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

/// The end of an attempt that the store does not have yet.
pub(super) struct Unwritten {
    /// The lease is extended until then.
    placed: Placed,
    /// Why the run goes back to the queue, if it does.
    reason: &'static str,
    /// The engine stops afterwards.
    _task: TaskTrackerToken,
}

impl Shared {
    /// Says how the attempt ended, unless the run is no longer ours.
    pub(super) async fn conclude(
        &self,
        (mut run, deadline): (Execution, Timestamp),
        ended: Ended,
        mut placed: Placed,
    ) {
        let held = placed.held.clone();
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
                match self.sealed(&run, &over, &held).await {
                    Ok(sealed) => outcome = Some(sealed),
                    Err(error) => {
                        tracing::error!(execution = %run.id, error = %error.log_line(), "an outcome is lost");
                        (run.state, run.error) = (State::Error, Some(error.kind()));
                    }
                }
            }
        }
        let finished = Finished { lease: held.lease(), execution: run, outcome, run_at, is_undone };
        placed.leave();
        let unwritten = Unwritten { placed, reason, _task: self.tasks.token() };
        let mut ends = self.ends();
        // Afterwards nobody comes for it.
        if !self.killed.is_cancelled() {
            ends.push((finished, unwritten));
        }
        drop(ends);
        self.ended.notify_one();
    }

    /// Writes the ends of attempts down, all that wait at once: they share a call of the store, and
    /// the next claim goes to the disk with them.
    pub(super) async fn write_until_killed(self: Arc<Self>) {
        loop {
            tokio::select! {
                biased;
                () = self.killed.cancelled() => return self.ends().clear(),
                () = self.write_ends() => {}
            }
        }
    }

    async fn write_ends(self: &Arc<Self>) {
        self.ended.notified().await;
        // Attempts that end at the same time are written at the same time.
        tokio::task::yield_now().await;
        let (finished, unwritten): (Vec<_>, Vec<_>) =
            mem::take(&mut *self.ends()).into_iter().unzip();
        if finished.is_empty() {
            return;
        }
        let kept = self.store.finish(&finished).await.unwrap_or_default();
        // The next ends go to the store first.
        let shared = self.clone();
        self.tasks.spawn(async move { shared.tell(finished, unwritten, kept) });
    }

    /// Tells of the ends that the store kept, and sees to the others one by one.
    fn tell(self: &Arc<Self>, finished: Vec<Finished>, unwritten: Vec<Unwritten>, kept: Vec<bool>) {
        let mut kept = kept.into_iter();
        for (finished, unwritten) in finished.into_iter().zip(unwritten) {
            if self.killed.is_cancelled() {
                return;
            }
            let is_kept = kept.next() == Some(true);
            if is_kept && !unwritten.placed.held.has_spilled() {
                self.written(&finished, unwritten.reason);
                continue;
            }
            // Nobody waits for what takes longer.
            let shared = self.clone();
            self.tasks.spawn(async move {
                tokio::select! {
                    biased;
                    () = shared.killed.cancelled() => {}
                    () = shared.write_alone(finished, &unwritten, is_kept) => {}
                }
            });
        }
    }

    async fn write_alone(&self, finished: Finished, unwritten: &Unwritten, is_kept: bool) {
        let held = &unwritten.placed.held;
        let finished = match is_kept {
            true => finished,
            false => match self.finish(finished, held).await {
                Some(finished) => finished,
                None => return,
            },
        };
        if finished.execution.state.is_final() && held.has_spilled() {
            self.forget_steps(&finished).await;
        }
        self.written(&finished, unwritten.reason);
    }

    /// Tells that the end of an attempt is written.
    fn written(&self, finished: &Finished, reason: &'static str) {
        let run = &finished.execution;
        if run.state.is_final() {
            self.executor.observer.hear(&Event::Ended(run));
        } else {
            self.executor.observer.hear(&Event::GivenBack { run, reason });
            self.waits(finished.run_at);
        }
    }

    fn ends(&self) -> MutexGuard<'_, Vec<(Finished, Unwritten)>> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
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
    async fn finish(&self, mut done: Finished, held: &Held) -> Option<Finished> {
        let mut tries = 0;
        loop {
            match self.store.finish(std::slice::from_ref(&done)).await {
                Ok(kept) if kept.first() == Some(&true) => return Some(done),
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
