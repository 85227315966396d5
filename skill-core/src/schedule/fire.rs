//! The loop that looks at the clock.

use std::{fmt, sync::Arc, time::Duration};

use futures_util::{StreamExt as _, stream};
use jiff::Timestamp;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{Schedules, Settings};
use crate::{
    error::{Error, ErrorKind, Result},
    id::ScheduleId,
    record::{
        audit::Actor,
        run::{Enqueue, Enqueued},
        schedule::{Fired, Firing, Schedule, Times},
        trigger::Source,
    },
};

/// How often is looked for schedules of which another process knows.
const SWEEP: Duration = Duration::from_secs(5);
/// How often is looked at the clock while there are schedules: somebody may set it.
const LOOK: Duration = Duration::from_secs(1);
/// How many schedules are read at once, and how many of them fire at once.
const PAGE: u32 = 256;
const AT_ONCE: usize = 16;

/// Fires schedules whose time has come.
pub(crate) struct Scheduler {
    schedules: Schedules,
    settings: Settings,
    tasks: TaskTracker,
    closed: CancellationToken,
    killed: CancellationToken,
}

impl fmt::Debug for Scheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scheduler")
    }
}

impl Scheduler {
    /// Begins to look at the clock.
    pub(crate) fn start(schedules: Schedules, settings: Settings) -> Arc<Self> {
        let (closed, killed) = (CancellationToken::new(), CancellationToken::new());
        let tasks = TaskTracker::new();
        let scheduler = Arc::new(Self { schedules, settings, tasks, closed, killed });
        let serving = scheduler.clone();
        scheduler.tasks.spawn(async move {
            let killed = serving.killed.clone();
            killed.run_until_cancelled(serving.serve()).await;
        });
        scheduler
    }

    /// Fires nothing any more.
    pub(crate) fn close(&self) {
        self.closed.cancel();
    }

    /// Stops, after what is being written.
    pub(crate) async fn stop(&self) {
        self.close();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Stops as a crash does.
    pub(crate) fn kill(&self) {
        self.close();
        self.killed.cancel();
    }

    async fn serve(&self) {
        while !self.closed.is_cancelled() {
            let pause = match self.look().await {
                Ok(pause) => pause,
                Err(error) => {
                    tracing::error!(error = %error.log_line(), "no schedules can be looked at");
                    LOOK
                }
            };
            tokio::select! {
                () = self.schedules.wake.notified() => {}
                () = tokio::time::sleep(pause) => {}
                () = self.closed.cancelled() => {}
            }
        }
    }

    /// Fires what is due; returns when to look again.
    async fn look(&self) -> Result<Duration> {
        let store = &self.schedules.store;
        let now = self.schedules.runs.now();
        // Mostly there is nothing, and to look costs no write.
        match store.next_schedule().await? {
            None => return Ok(SWEEP),
            Some(next) if now < next => {
                let wait = Duration::try_from(next.duration_since(now)).unwrap_or_default();
                return Ok(wait.clamp(Duration::from_millis(1), LOOK));
            }
            Some(_) => {}
        }
        let (mut after, mut waits) = (None::<(Timestamp, ScheduleId)>, false);
        while !self.closed.is_cancelled() {
            let due = store.due_schedules(now, after, PAGE).await?;
            let last = due.last().and_then(|last| Some((last.next_run_at?, last.id)));
            let fires = stream::iter(due).map(|due| self.fire(due, now));
            let fired: Vec<bool> = fires.buffer_unordered(AT_ONCE).collect().await;
            waits |= fired.contains(&false);
            match last {
                Some(last) => after = Some(last),
                None => break,
            }
        }
        Ok(if waits { LOOK } else { Duration::from_millis(1) })
    }

    /// Fires a schedule that is due. False when it has to wait for something that passes.
    async fn fire(&self, seen: Schedule, now: Timestamp) -> bool {
        let id = seen.id;
        match self.fire_one(seen, now).await {
            Ok(is_done) => is_done,
            Err(error) => {
                tracing::warn!(schedule = %id, error = %error.log_line(), "a schedule waits");
                false
            }
        }
    }

    async fn fire_one(&self, seen: Schedule, now: Timestamp) -> Result<bool> {
        let Some(due) = seen.next_run_at else { return Ok(true) };
        let oldest = now.checked_sub(self.settings.catch_up).unwrap_or(Timestamp::MIN);
        let turn = Times::parse(&seen.cron)?.turn(due, (now, oldest));
        if turn.missed > 0 {
            tracing::warn!(schedule = %seen.id, missed = turn.missed, "due times went by unused");
        }
        let mut then = Schedule {
            missed: seen.missed.saturating_add(turn.missed),
            next_run_at: turn.next,
            ..seen.clone()
        };
        if turn.next.is_none() {
            then.stopped = Some("its time does not come again".to_owned());
        }
        let mut run = None;
        if let Some(at) = turn.fires {
            (then.last_due_at, then.last_run, then.last_error) = (Some(at), None, None);
            match self.prepare(&seen).await {
                Ok(enqueue) => {
                    then.last_run = Some(enqueue.execution.id);
                    run = Some(enqueue);
                }
                Err(error) if is_passing(&error) => return Err(error),
                Err(error) => {
                    let why = error.message().to_owned();
                    if error.kind() == ErrorKind::Unauthenticated {
                        (then.next_run_at, then.stopped) = (None, Some(why.clone()));
                    }
                    then.last_error = Some(why);
                }
            }
        }
        self.settle(Firing { seen, then, run, at: now }).await
    }

    /// The run that is due.
    async fn prepare(&self, schedule: &Schedule) -> Result<Enqueue> {
        let schedules = &self.schedules;
        let admitted = schedules.acting(schedule).await?;
        let submission = schedules.submission(schedule, schedules.input(schedule)?)?;
        let source = Source { schedule: Some(schedule.id), ..Source::default() };
        schedules.runs.prepare(&admitted, &submission, |_| Ok(source)).await
    }

    async fn settle(&self, firing: Firing) -> Result<bool> {
        let schedules = &self.schedules;
        match schedules.store.fire(&firing).await? {
            Fired::Late => {}
            Fired::Full => return Ok(false),
            Fired::Done(enqueued) => {
                if let (Some(Enqueued::New(_)), Some(run)) = (enqueued, &firing.run) {
                    schedules.runs.is_queued(run);
                }
                if firing.then.stopped.is_some() {
                    schedules.audit(Actor::System, &firing.then, "schedule.stopped").await?;
                }
            }
        }
        Ok(true)
    }
}

/// Whether the same may go well a little later.
fn is_passing(error: &Error) -> bool {
    let kinds = [ErrorKind::Unavailable, ErrorKind::RateLimited, ErrorKind::DailyLimit];
    kinds.contains(&error.kind())
}
