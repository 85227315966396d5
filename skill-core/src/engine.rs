//! The engine: everything wired together, for a program to embed.

mod parts;
mod sweep;

use std::{collections::BTreeSet, fmt, sync::Arc, time::Duration};

use tokio_util::{sync::CancellationToken, task::TaskTracker};
use url::Url;

use self::parts::Parts;
use crate::{
    access::{Admission, Admitted, Caller, Keys, Plans},
    apps::Apps,
    artifact::{ArtifactStore, Artifacts, MemoryArtifacts},
    call::{CallRequest, Reply},
    catalog::{Action, Catalog},
    clock::{Clock, Deadline, SystemClock},
    connect::Connector,
    connections::Connections,
    credential::{CredentialStore, Vault, seal::Keyring},
    error::{Error, Result},
    executor::{Executor, History, Observer, Settings, Silent},
    integration::Integration,
    link::{Links, Pages},
    login::Logins,
    name::OwnerId,
    queue::{self, Invoked, OnDeadline, Runs, Submission},
    record::{audit::Entry, owner::Owner},
    skill::Skill,
    store::{MemoryStore, Store},
    transport::Transport,
    webhooks::Webhooks,
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
    runs: Runs,
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
        Builder {
            transport,
            store: None,
            keyring: None,
            credentials: None,
            clock: Arc::new(SystemClock::new()),
            observer: Arc::new(Silent),
            artifacts: None,
            integrations: Vec::new(),
            skills: Vec::new(),
            plans: Plans::unlimited(),
            settings: Settings::default(),
            queue: queue::Settings::default(),
            public_url: None,
            return_urls: BTreeSet::new(),
            wrong_keys_per_minute: 60,
            history: Duration::from_secs(30 * 24 * 3600),
        }
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
        match self.0.runs.invoke(admitted, Submission::new(call), OnDeadline::Abort).await? {
            Invoked::Ended(run) => run.reply(),
            Invoked::Continues(_) => Err(Error::internal("a run goes on that was to be stopped")),
        }
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

    /// Subscriptions to events.
    pub fn webhooks(&self) -> &Webhooks {
        &self.0.webhooks
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

    /// Takes no more runs and begins none: what is under way goes on.
    pub fn close(&self) {
        self.0.runs.shared.close();
    }

    /// Takes no more runs, lets those under way end within their time and gives the others back to
    /// the queue, as the first part of [`Engine::stop`]: calls under way go on.
    pub async fn drain(&self) {
        self.0.runs.shared.stop().await;
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
        self.runs.shared.kill();
    }
}

/// Builds an [`Engine`].
///
/// ```
/// # fn embed(transport: std::sync::Arc<dyn skill_core::transport::Transport>) {
/// use skill_core::Engine;
/// let builder = Engine::builder(transport).wrong_keys_per_minute(10);
/// # }
/// ```
#[must_use]
pub struct Builder {
    transport: Arc<dyn Transport>,
    store: Option<Arc<dyn Store>>,
    keyring: Option<Keyring>,
    credentials: Option<Arc<dyn CredentialStore>>,
    clock: Arc<dyn Clock>,
    observer: Arc<dyn Observer>,
    artifacts: Option<Arc<dyn ArtifactStore>>,
    integrations: Vec<Arc<dyn Integration>>,
    skills: Vec<Arc<dyn Skill>>,
    plans: Plans,
    settings: Settings,
    queue: queue::Settings,
    public_url: Option<Url>,
    return_urls: BTreeSet<String>,
    wrong_keys_per_minute: u32,
    history: Duration,
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Builder({} integrations)", self.integrations.len())
    }
}

impl Builder {
    /// Keeps everything in `store`, sealed with `keyring`. Without it the engine keeps everything
    /// in memory, and nothing survives it.
    pub fn store(mut self, store: Arc<dyn Store>, keyring: Keyring) -> Self {
        (self.store, self.keyring) = (Some(store), Some(keyring));
        self
    }

    /// Keeps credentials elsewhere than sealed in the store.
    pub fn credentials(mut self, credentials: Arc<dyn CredentialStore>) -> Self {
        self.credentials = Some(credentials);
        self
    }

    /// Goes by another clock.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Lets `observer` hear what happens.
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = observer;
        self
    }

    /// Keeps results that are too large for a record in `artifacts`, sealed with the keys of the
    /// store. Without it they stay in memory.
    pub fn artifacts(mut self, artifacts: Arc<dyn ArtifactStore>) -> Self {
        self.artifacts = Some(artifacts);
        self
    }

    /// Adds integrations to the catalogue.
    pub fn integrations(mut self, added: impl IntoIterator<Item = Arc<dyn Integration>>) -> Self {
        self.integrations.extend(added);
        self
    }

    /// Adds a skill to the catalogue.
    pub fn skill(mut self, skill: Arc<dyn Skill>) -> Self {
        self.skills.push(skill);
        self
    }

    /// Limits owners and keys; without it nothing is limited.
    pub fn plans(mut self, plans: Plans) -> Self {
        self.plans = plans;
        self
    }

    /// Bounds single calls.
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Bounds queued runs, and those who work on them.
    pub fn queue(mut self, queue: queue::Settings) -> Self {
        self.queue = queue;
        self
    }

    /// Says how people reach the engine's pages: the base of every link and of the redirect URL.
    pub fn public_url(mut self, url: Url) -> Self {
        self.public_url = Some(url);
        self
    }

    /// Lets people be sent to these URLs after connecting.
    pub fn return_urls(mut self, urls: impl IntoIterator<Item = String>) -> Self {
        self.return_urls.extend(urls);
        self
    }

    /// Limits wrong keys per address and minute; 60 without it.
    pub fn wrong_keys_per_minute(mut self, most: u32) -> Self {
        self.wrong_keys_per_minute = most;
        self
    }

    /// Keeps ended runs for this long; 30 days without it.
    pub fn history(mut self, age: Duration) -> Self {
        self.history = age;
        self
    }

    /// Builds the engine, and starts its tasks on the present tokio runtime.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) when the catalogue cannot be built, [`Unavailable`](crate::ErrorKind::Unavailable)
    /// when the store does not answer or was sealed with another key.
    pub async fn build(self) -> Result<Engine> {
        let catalog = Catalog::build(self.integrations, self.skills)?;
        let store = self.store.unwrap_or_else(|| Arc::new(MemoryStore::new()));
        let keyring = self.keyring.map_or_else(Keyring::generate, Ok)?;
        let clock = self.clock;
        let vault = Arc::new(Vault::new(store.clone(), keyring, clock.clone()));
        vault.verify().await?;
        let pages = pages(self.public_url)?;
        let (tasks, workers) = (TaskTracker::new(), TaskTracker::new());
        let stop = CancellationToken::new();
        let kept = self.artifacts.unwrap_or_else(|| Arc::new(MemoryArtifacts::default()));
        let artifacts = Artifacts::new(kept, vault.clone(), clock.clone());
        let swept = (store.clone(), artifacts.clone(), clock.clone());
        workers.spawn(sweep::run(swept, self.history, stop.clone()));
        let (plans, wrong) = (self.plans.clone(), self.wrong_keys_per_minute);
        let keys = Arc::new(Keys::new(store.clone(), clock.clone(), plans, wrong)?);
        let parts = Parts {
            logins: Logins::new(store.clone(), keys.clone(), clock.clone()),
            credentials: self.credentials.unwrap_or_else(|| vault.clone()),
            connections: Arc::new(Connections::new(store.clone(), clock.clone())),
            apps: Arc::new(Apps::new(store.clone(), vault.clone(), clock.clone())),
            keys,
            links: Arc::new(Links::new(store.clone(), clock.clone(), pages)),
            history: History::start(store.clone(), &workers, stop.clone()),
            transport: self.transport,
            observer: self.observer,
            artifacts,
            store,
            vault,
            clock,
        };
        let executor = Arc::new(parts.executor(catalog, self.settings, &tasks));
        let upkeep = CancellationToken::new();
        workers.spawn(executor.clone().keep_alive(upkeep.clone()));
        let connector = parts.connector((executor.clone(), &tasks), self.return_urls);
        let (keys, calls) = (parts.keys.clone(), tasks.clone());
        let needed = queue::Parts { executor: executor.clone(), keys, calls };
        Ok(Engine(Arc::new(Inner {
            webhooks: parts.webhooks(),
            plans: self.plans,
            parts,
            executor,
            connector,
            runs: Runs::start(needed, self.queue).await?,
            tasks,
            workers,
            upkeep,
            stop,
        })))
    }
}

fn pages(public: Option<Url>) -> Result<Pages> {
    let local = || Url::parse("http://127.0.0.1:8080").map_err(Error::internal);
    Pages::under(&public.map_or_else(local, Ok)?)
}
