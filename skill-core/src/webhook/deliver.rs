//! The loop that claims what is due, and gives each message a task of its own.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use tokio::sync::Notify;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{Settings, Webhooks};
use crate::{
    clock::Deadline,
    error::Result,
    executor::Observer,
    queue::Runs,
    record::{
        delivery::{Claim, Rooms},
        run::Worker,
    },
};

/// How often is looked for what another process left.
const SWEEP: Duration = Duration::from_secs(5);
/// How often is looked for what gets due while everything that is due goes to crowded endpoints.
const CROWDED: Duration = Duration::from_secs(1);
/// How long to wait after the store refused.
const PAUSE: Duration = Duration::from_secs(1);
/// How much longer a message is held than its attempt may take.
const SLACK: Duration = Duration::from_secs(45);

/// Sends what stands in the outbox.
pub(crate) struct Deliverer {
    pub(super) settings: Settings,
    pub(super) webhooks: Webhooks,
    pub(super) runs: Runs,
    pub(super) observer: Arc<dyn Observer>,
    /// Names this engine, as it does for its runs.
    worker: Worker,
    /// Who is sent how much at this moment.
    rooms: Mutex<Rooms>,
    /// Wakes the loop when a place gets free.
    pub(super) freed: Notify,
    tasks: TaskTracker,
    closed: CancellationToken,
    killed: CancellationToken,
}

impl fmt::Debug for Deliverer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Deliverer({} under way)", self.tasks.len())
    }
}

/// The engine's parts that deliveries need.
pub(crate) struct Parts {
    pub(crate) webhooks: Webhooks,
    pub(crate) runs: Runs,
    pub(crate) observer: Arc<dyn Observer>,
}

impl Deliverer {
    /// Takes over what an earlier process held, and starts to send.
    pub(crate) async fn start(parts: Parts, settings: Settings) -> Result<Arc<Self>> {
        let Parts { webhooks, runs, observer } = parts;
        let most = settings.at_once;
        // No owner fills more than half of it, however many endpoints it has.
        let rooms = Rooms::new(most, settings.at_once_per_endpoint, most.div_ceil(2));
        let deliverer = Arc::new(Self {
            webhooks,
            observer,
            worker: runs.shared.worker.clone(),
            rooms: Mutex::new(rooms),
            freed: Notify::new(),
            tasks: TaskTracker::new(),
            closed: CancellationToken::new(),
            killed: CancellationToken::new(),
            settings,
            runs,
        });
        if most > 0 {
            deliverer.webhooks.store.adopt_deliveries(deliverer.now()).await?;
            let serving = deliverer.clone();
            deliverer.tasks.spawn(async move { serving.serve().await });
        }
        Ok(deliverer)
    }

    /// The time that messages are due by: it never goes back, as that of the queue.
    pub(super) fn now(&self) -> Timestamp {
        self.runs.shared.now()
    }

    /// Begins no more attempts.
    pub(crate) fn close(&self) {
        self.closed.cancel();
    }

    /// Stops: lets attempts under way end within their time. What is cut then is sent again by
    /// whoever comes next.
    pub(crate) async fn stop(&self) {
        self.close();
        self.tasks.close();
        if Deadline::after(self.settings.drain).run(self.tasks.wait()).await.is_none() {
            self.kill();
            self.tasks.wait().await;
        }
    }

    /// Stops as a crash does.
    pub(crate) fn kill(&self) {
        self.close();
        self.killed.cancel();
    }

    pub(super) fn rooms(&self) -> MutexGuard<'_, Rooms> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn serve(self: Arc<Self>) {
        let mut after = None;
        while !self.closed.is_cancelled() {
            let pause = match self.claim_all(&mut after).await {
                Ok(pause) => pause,
                Err(error) => {
                    tracing::error!(error = %error.log_line(), "no deliveries can be claimed");
                    PAUSE
                }
            };
            tokio::select! {
                () = self.stirred() => {}
                () = self.freed.notified() => {}
                () = tokio::time::sleep(pause) => {}
                () = self.closed.cancelled() => {}
            }
        }
    }

    /// Returns when the store has kept something new; a store that cannot tell never does.
    async fn stirred(&self) {
        if let Err(error) = self.webhooks.store.stirred().await {
            tracing::warn!(error = %error.log_line(), "nobody says when something is to be delivered");
            std::future::pending().await
        }
    }

    /// Claims until nothing is due or no place is free; returns when to look again.
    async fn claim_all(self: &Arc<Self>, after: &mut Option<String>) -> Result<Duration> {
        let store = &self.webhooks.store;
        loop {
            let now = self.now();
            // Mostly there is nothing, and to look costs no write.
            match store.next_delivery(now).await? {
                None => return Ok(SWEEP),
                Some(due) if now < due => {
                    let wait = Duration::try_from(due.duration_since(now)).unwrap_or_default();
                    return Ok(wait.clamp(Duration::from_millis(1), SWEEP));
                }
                Some(_) => {}
            }
            let rooms = self.rooms().clone();
            if rooms.left() == 0 || self.closed.is_cancelled() {
                return Ok(SWEEP);
            }
            let hold = self.settings.timeout + SLACK;
            let (until, deadline) = (now + hold, Deadline::after(hold));
            let (worker, after_it) = (self.worker.clone(), after.clone());
            let want = Claim { worker, now, until, rooms, after: after_it };
            let claimed = store.claim_deliveries(&want).await?;
            if claimed.is_empty() {
                return Ok(CROWDED);
            }
            *after = claimed.last().map(|claimed| claimed.delivery.endpoint.clone());
            for claimed in claimed {
                let (owner, endpoint) = (&claimed.delivery.owner, &claimed.delivery.endpoint);
                self.rooms().take(owner, endpoint);
                let this = self.clone();
                self.tasks.spawn(async move {
                    let killed = this.killed.clone();
                    killed.run_until_cancelled(this.attempt(claimed, deadline)).await;
                });
            }
        }
    }
}
