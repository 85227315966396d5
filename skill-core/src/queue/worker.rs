//! Workers: one loop that claims, one task that shows signs of life, and an attempt for each run.

use std::{
    sync::{Arc, MutexGuard, PoisonError, atomic::Ordering},
    time::Duration,
};

use jiff::Timestamp;

use super::{
    Shared,
    live::{Held, Slot, Why},
};
use crate::{
    clock::Deadline,
    error::Result,
    executor::Event,
    record::{
        execution::Execution,
        run::{Claim, Claimed, Lane, Lease},
    },
};

/// How often the queue is looked at although nobody said anything.
const SWEEP: Duration = Duration::from_secs(5);
/// How long to wait after the store refused.
const PAUSE: Duration = Duration::from_secs(1);
/// How long attempts that were told to stop may take to give their runs back.
const GRACE: Duration = Duration::from_secs(10);

impl Shared {
    /// Starts the loop that claims and the signs of life.
    pub(crate) fn serve(self: &Arc<Self>) {
        let claiming = self.clone();
        self.tasks.spawn(async move { claiming.claim_until_closed().await });
        let beating = self.clone();
        self.beats.spawn(async move { beating.beat_until_killed().await });
    }

    /// Takes no more runs and claims none.
    pub(crate) fn close(&self) {
        self.closed.cancel();
    }

    /// Whether it takes no more runs.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.is_cancelled()
    }

    /// Stops: lets what is under way end within its time, and gives the rest back.
    pub(crate) async fn stop(&self) {
        self.close();
        self.tasks.close();
        if Deadline::after(self.settings.drain).run(self.tasks.wait()).await.is_none() {
            self.live.all().iter().for_each(|held| held.stop(Why::Stopping));
            if Deadline::after(GRACE).run(self.tasks.wait()).await.is_none() {
                let runs = self.live.all().len();
                tracing::warn!(runs, "runs are left: they count as lost with this process");
            }
        }
        self.kill();
        self.beats.close();
        self.beats.wait().await;
    }

    /// Stops as a crash does: whatever is under way is dropped where it stands.
    pub(crate) fn kill(&self) {
        self.close();
        self.killed.cancel();
    }

    /// Whether a run is known to wait that could be claimed.
    pub(super) fn has_backlog(&self) -> bool {
        self.backlog.load(Ordering::Acquire)
    }

    /// Notes that a run waits from `run_at` on.
    pub(super) fn waits(&self, run_at: Timestamp) {
        if run_at <= self.now() {
            self.backlog.store(true, Ordering::Release);
        }
        self.wake.notify_one();
    }

    async fn claim_until_closed(self: Arc<Self>) {
        while !self.is_closed() {
            let pause = match self.claim_all().await {
                Ok(pause) => pause,
                Err(error) => {
                    tracing::error!(error = %error.log_line(), "no runs can be claimed");
                    self.backlog.store(true, Ordering::Release);
                    PAUSE
                }
            };
            tokio::select! {
                () = self.wake.notified() => {}
                () = tokio::time::sleep(pause) => {}
                () = self.closed.cancelled() => {}
            }
            // Places that get free at the same time are filled at the same time.
            tokio::task::yield_now().await;
        }
    }

    /// Claims until nothing waits or no place is free; returns when to look again.
    async fn claim_all(self: &Arc<Self>) -> Result<Duration> {
        loop {
            self.is_eager.store(true, Ordering::Release);
            let (slots, saturated) = self.live.free_slots();
            if slots.is_empty() {
                self.backlog.store(true, Ordering::Release);
                return Ok(SWEEP);
            }
            self.backlog.store(false, Ordering::Release);
            let (now, steady, asked) = (self.now(), self.clock.steady(), slots.len());
            self.keep_ahead_of(now).await?;
            let want = Claim {
                worker: self.worker.clone(),
                now,
                until: now + self.settings.lease,
                most: u32::try_from(asked).unwrap_or(u32::MAX),
                after: self.turn().clone(),
                saturated,
            };
            let claimed = self.store.claim(&want).await?;
            if let Some(last) = claimed.last() {
                self.served(&last.execution);
            }
            let is_short = claimed.len() < asked;
            for (claimed, slot) in claimed.into_iter().zip(slots) {
                self.take(claimed, steady, slot);
            }
            if self.is_closed() {
                return Ok(SWEEP);
            }
            if is_short {
                if want.saturated.is_empty() {
                    self.is_eager.store(false, Ordering::Release);
                }
                return self.next_look(now).await;
            }
        }
    }

    /// Notes whose turn it was.
    pub(super) fn served(&self, run: &Execution) {
        let (owner, namespace) = (run.owner.clone(), run.action.namespace.clone());
        *self.turn() = Some(Lane { owner, namespace });
    }

    fn turn(&self) -> MutexGuard<'_, Option<Lane>> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn next_look(&self, now: Timestamp) -> Result<Duration> {
        let due = self.store.next_due(now).await?;
        let wait = due.and_then(|due| Duration::try_from(due.duration_since(now)).ok());
        Ok(wait.unwrap_or(SWEEP).clamp(Duration::from_millis(1), SWEEP))
    }

    /// Extends the leases that have lapsed by the time of day although their attempts live: a jump
    /// of the clock must not make this process take its own runs over.
    async fn keep_ahead_of(&self, now: Timestamp) -> Result<()> {
        let has_lapsed = self.live.all().iter().any(|held| held.lease().until <= now);
        if has_lapsed { self.beat().await } else { Ok(()) }
    }

    fn take(self: &Arc<Self>, claimed: Claimed, steady: Duration, slot: Slot) {
        let id = claimed.execution.id;
        // One that was not lost was given back by the attempt here, which does not know yet that
        // this is on disk.
        let was_lost = |held: &Arc<Held>| held.set_losses(claimed.crashes);
        if let Some(held) = self.live.held(id).filter(was_lost) {
            tracing::warn!(execution = %id, "a run was claimed again while it went on here");
            if claimed.lease.fencing == held.lease().fencing + 1 {
                return held.renew(claimed.lease, steady, self.settings.lease);
            }
            // Another worker had it in between: what goes on here does not know what that one did.
            held.stop(Why::Lost);
        }
        let slot = slot.of(&claimed.execution.owner);
        let held = Held::new(claimed.lease.clone(), steady, self.settings.lease);
        held.set_losses(claimed.crashes);
        self.live.hold(id, held.clone());
        self.start(claimed, held, slot);
    }

    async fn beat_until_killed(self: Arc<Self>) {
        let mut pause = self.settings.lease / 3;
        loop {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.killed.cancelled() => return,
            }
            pause = match self.beat().await {
                Ok(()) => self.settings.lease / 3,
                Err(error) => {
                    tracing::error!(error = %error.log_line(), "no lease can be extended");
                    PAUSE.min(self.settings.lease / 10)
                }
            };
        }
    }

    /// Extends every lease that is held, and tells the attempts whose lease is lost.
    pub(super) async fn beat(&self) -> Result<()> {
        let all = self.live.all();
        if all.is_empty() {
            return Ok(());
        }
        let (now, steady, hold) = (self.now(), self.clock.steady(), self.settings.lease);
        let until = now + hold;
        let leases: Vec<(Lease, u8)> =
            all.iter().map(|held| (held.lease(), held.progress())).collect();
        let kept = self.store.extend(&leases, until).await?;
        for ((held, (lease, _)), is_kept) in all.iter().zip(leases).zip(kept) {
            let id = lease.id;
            if is_kept {
                held.renew(Lease { until, ..lease }, steady, hold);
            } else if held.is_begun() && held.lease().fencing == lease.fencing {
                held.stop(Why::Lost);
                tracing::info!(execution = %id, "the run was ended or taken over elsewhere");
            }
        }
        Ok(())
    }

    /// Tells the loop that a place is free, if anybody may wait for one.
    pub(super) fn freed(&self, is_of_a_group: bool) {
        if is_of_a_group || self.is_eager.load(Ordering::Acquire) {
            self.wake.notify_one();
        }
    }

    /// Tells whoever listens that a run is lost to this process.
    pub(super) fn lost(&self, run: &Execution) {
        self.executor.observer.hear(&Event::Lost(run));
    }
}
