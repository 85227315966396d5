//! The engine: everything wired together, for a program to embed.

mod builder;
mod parts;
mod revoke;
mod sweep;

use std::{fmt, sync::Arc, time::Duration};

use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use self::builder::Builder;
use self::parts::Parts;
pub use self::revoke::{Extent, Revoked, Unrevoked};
use crate::{
    access::{Admission, Admitted, Caller, Keys, Plans},
    agents::Agents,
    apps::Apps,
    call::{CallRequest, Reply},
    catalog::{Action, Catalog},
    clock::{Clock, Deadline},
    connect::Connector,
    connections::Connections,
    error::{Error, Result},
    executor::Executor,
    link::Pages,
    login::Logins,
    name::OwnerId,
    queue::{Invoked, OnDeadline, Runs, Submission},
    raw,
    record::{audit::Entry, owner::Owner},
    reseal::{Resealer, Sealing},
    schedule::{Scheduler, Schedules},
    transport::Transport,
    trigger::Triggers,
    webhook::{Deliverer, Webhooks},
};

/// How long an engine that stops waits for what nobody else waits for.
const LAST: Duration = Duration::from_secs(30);

/// The engine. Clones are cheap and share everything; two engines share nothing.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> skill_core::Result<()> {
/// use skill_core::{Engine, access::Caller, call::CallRequest, integration, name::OwnerId};
/// # #[derive(Debug)] struct Fixed;
/// # #[async_trait::async_trait] impl skill_core::transport::Transport for Fixed {
/// #     async fn send(&self, _: skill_core::transport::Outgoing, _: skill_core::clock::Deadline)
/// #         -> skill_core::Result<skill_core::transport::Response> {
/// #         Ok(skill_core::transport::Response::new(http::StatusCode::OK, "{}".into()))
/// #     }
/// # }
/// # let transport = std::sync::Arc::new(Fixed);
/// let bundled = integration::bundled(&Default::default()).expect("they are all valid");
/// let engine = Engine::builder(transport).integrations(bundled).build().await?;
/// let caller = Caller::operator(OwnerId::standard());
/// let reply = engine.call(&caller, CallRequest::new("httpbin", "get")?).await?;
/// assert_eq!(reply.status, 200);
/// engine.stop().await;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

struct Inner {
    parts: Parts,
    executor: Arc<Executor>,
    connector: Connector,
    webhooks: Webhooks,
    deliverer: Arc<Deliverer>,
    schedules: Schedules,
    scheduler: Arc<Scheduler>,
    triggers: Triggers,
    runs: Runs,
    resealer: Arc<Resealer>,
    plans: Plans,
    /// Calls and renewals that go on by themselves.
    tasks: TaskTracker,
    /// What lives as long as the engine: the history and the sweep.
    workers: TaskTracker,
    /// Cancelled when the engine begins nothing more by itself.
    upkeep: CancellationToken,
    stop: CancellationToken,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Engine({:?})", self.0.parts.links)
    }
}

impl Engine {
    /// Begins to build an engine that sends through `transport`.
    pub fn builder(transport: Arc<dyn Transport>) -> Builder {
        Builder::new(transport)
    }

    /// Counts the call against the caller's limits, and runs it.
    ///
    /// # Errors
    /// [`RateLimited`](crate::ErrorKind::RateLimited), [`DailyLimit`](crate::ErrorKind::DailyLimit), and as [`Executor::execute`].
    pub async fn call(&self, caller: &Caller, call: CallRequest) -> Result<Reply> {
        match self.keys().admit(caller.clone()).await? {
            Admission::Admitted(admitted) => self.execute(&admitted, call).await,
            Admission::Refused(allowance) => {
                let refusal = allowance.refusal();
                Err(refusal.unwrap_or_else(|| Error::internal("a refusal without a reason")))
            }
        }
    }

    /// Runs a call that was counted already: of an endpoint, or of a skill in its newest version.
    ///
    /// A call with an idempotency key goes on to its end even when this future is dropped: its
    /// outcome is there for whoever repeats it.
    ///
    /// # Errors
    /// As [`Executor::execute`]; what a skill's run ends in.
    pub async fn execute(&self, admitted: &Admitted, call: CallRequest) -> Result<Reply> {
        let is_skill = matches!(self.catalog().action(&call.action), Some(Action::Skill(_)));
        if !is_skill {
            return self.0.runs.call(admitted, call).await;
        }
        if call.collect.is_some() {
            return Err(Error::invalid("the answer of a skill has no pages: leave `collect` out"));
        }
        match self.0.runs.invoke(admitted, Submission::new(call), OnDeadline::Abort).await? {
            Invoked::Ended(run) => run.reply(),
            Invoked::Continues(_) => Err(Error::internal("a run goes on that was to be stopped")),
        }
    }

    /// Passes a request of a service's own client on, that was counted already.
    ///
    /// # Errors
    /// As [`Executor::raw`].
    pub async fn raw(&self, admitted: &Admitted, request: raw::Request) -> Result<raw::Reply> {
        self.0.executor.raw(admitted, request).await
    }

    /// Runs: those that wait, those under way, and those that ended.
    pub fn runs(&self) -> &Runs {
        &self.0.runs
    }

    /// The keys: authentication, limits, making and revoking.
    pub fn keys(&self) -> &Keys {
        &self.0.parts.keys
    }

    /// Connecting and disconnecting accounts.
    pub fn connector(&self) -> &Connector {
        &self.0.connector
    }

    /// Logging in programs that have no browser.
    pub fn logins(&self) -> &Logins {
        &self.0.parts.logins
    }

    /// Looking connections up.
    pub fn connections(&self) -> &Connections {
        &self.0.parts.connections
    }

    /// OAuth clients.
    pub fn apps(&self) -> &Apps {
        &self.0.parts.apps
    }

    /// Agents, and what they keep in mind.
    pub fn agents(&self) -> &Agents {
        &self.0.parts.agents
    }

    /// Subscriptions to events.
    pub fn webhooks(&self) -> &Webhooks {
        &self.0.webhooks
    }

    /// Runs that the clock asks for.
    pub fn schedules(&self) -> &Schedules {
        &self.0.schedules
    }

    /// Addresses whose requests make runs.
    pub fn triggers(&self) -> &Triggers {
        &self.0.triggers
    }

    /// Where the pages for people are.
    pub fn pages(&self) -> &Pages {
        self.0.parts.links.pages()
    }

    /// The clock that everything here goes by.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.0.parts.clock
    }

    /// How long a call may take when nobody says.
    pub fn timeout(&self) -> Duration {
        self.0.executor.settings.timeout
    }

    /// The present catalogue. It does not change while it is held.
    pub fn catalog(&self) -> Arc<Catalog> {
        self.0.executor.catalog.load_full()
    }

    /// Swaps the catalogue whole. Calls under way keep the one that they began with.
    pub fn replace_catalog(&self, catalog: Catalog) {
        self.0.executor.catalog.store(Arc::new(catalog));
    }

    /// Seals with a fresh key from now on, and everything that is kept anew, while calls go on; see
    /// [`reseal`](crate::reseal).
    ///
    /// # Errors
    /// [`Unavailable`](crate::ErrorKind::Unavailable) when the keys cannot be kept.
    pub async fn rotate_seal(&self) -> Result<Sealing> {
        self.0.resealer.rotate().await
    }

    /// How far the sealing is.
    pub fn sealing(&self) -> Sealing {
        self.0.resealer.sealing()
    }

    /// Everybody whose data is kept here, page by page after `after`: for the operator.
    ///
    /// # Errors
    /// [`Unavailable`](crate::ErrorKind::Unavailable) when the store does not answer.
    pub async fn owners(&self, after: Option<&OwnerId>, most: u32) -> Result<Vec<OwnerId>> {
        self.0.parts.store.owners(after, most).await
    }

    /// The newest lines of the owner's audit.
    ///
    /// # Errors
    /// [`Unavailable`](crate::ErrorKind::Unavailable) when the store does not answer.
    pub async fn audit(&self, owner: &OwnerId, most: u32) -> Result<Vec<Entry>> {
        self.0.parts.store.audit(owner, most).await
    }

    /// Puts an owner on a plan; it comes to be on first use.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) when there is no such plan.
    pub async fn set_plan(&self, owner: &OwnerId, plan: &str) -> Result<()> {
        if !self.0.plans.has_plan(plan) {
            return Err(Error::invalid(format!("there is no plan `{plan}` in the configuration")));
        }
        self.0
            .parts
            .store
            .ensure_owner(&Owner::new(owner.clone(), self.0.parts.clock.now()))
            .await?;
        self.keys().set_plan(owner, plan).await.map(drop)
    }

    /// Answers when the store can read and write.
    ///
    /// # Errors
    /// [`Unavailable`](crate::ErrorKind::Unavailable) when it cannot.
    pub async fn ready(&self) -> Result<()> {
        self.0.parts.store.ping().await
    }

    /// Takes no more runs and begins none, none of a schedule and no delivery: what is under way goes
    /// on.
    pub fn close(&self) {
        self.0.scheduler.close();
        self.0.runs.shared.close();
        self.0.deliverer.close();
    }

    /// Takes no more runs, lets those under way end within their time and gives the others back to
    /// the queue, as the first part of [`Engine::stop`]: calls under way go on.
    pub async fn drain(&self) {
        self.0.scheduler.stop().await;
        tokio::join!(self.0.runs.shared.stop(), self.0.deliverer.stop());
    }

    /// Stops: takes no more calls, lets runs under way end within their time and gives the others
    /// back to the queue, waits half a minute for what else is under way in the background, and
    /// writes the history. Calls that somebody else waits for should have ended before.
    pub async fn stop(&self) {
        self.0.upkeep.cancel();
        self.drain().await;
        self.0.parts.history.close();
        self.0.tasks.close();
        if Deadline::after(LAST).run(self.0.tasks.wait()).await.is_none() {
            // Their records say that nobody knows how they ended, as after a crash.
            let tasks = self.0.tasks.len();
            tracing::warn!(tasks, "calls or renewals are left that did not end in time");
        }
        // What those had to say was the last: the history writes it and ends.
        self.0.stop.cancel();
        self.0.workers.close();
        self.0.workers.wait().await;
    }
}

/// An engine that is dropped without [`Engine::stop`] leaves its runs where they stand.
impl Drop for Inner {
    fn drop(&mut self) {
        self.upkeep.cancel();
        self.scheduler.kill();
        self.runs.shared.kill();
        self.deliverer.kill();
    }
}
