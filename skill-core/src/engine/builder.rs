//! What an engine is made of, and how it is put together.

use std::{collections::BTreeSet, fmt, sync::Arc, time::Duration};

use tokio_util::{sync::CancellationToken, task::TaskTracker};
use url::Url;

use super::{Engine, Inner, parts::Parts};
use crate::{
    access::{Keys, Plans},
    agents::Agents,
    apps::Apps,
    artifact::{ArtifactStore, Artifacts, MemoryArtifacts},
    catalog::Catalog,
    clock::{Clock, SystemClock},
    connections::Connections,
    credential::{CredentialStore, Vault, seal::Keyring},
    error::{Error, Result},
    executor::{History, Observer, Settings, Silent},
    integration::Integration,
    link::{Links, Pages},
    login::Logins,
    queue::{self, Runs},
    reseal::Keep,
    schedule::{self, Scheduler},
    skill::Skill,
    store::{MemoryStore, Store},
    transport::Transport,
    webhook,
};

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
    artifacts: Arc<dyn ArtifactStore>,
    integrations: Vec<Arc<dyn Integration>>,
    skills: Vec<Arc<dyn Skill>>,
    plans: Plans,
    settings: Settings,
    queue: queue::Settings,
    webhooks: webhook::Settings,
    schedules: schedule::Settings,
    public_url: Option<Url>,
    return_urls: BTreeSet<String>,
    wrong_keys_per_minute: u32,
    history: Duration,
    keep: Option<Keep>,
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Builder({} integrations)", self.integrations.len())
    }
}

impl Builder {
    pub(super) fn new(transport: Arc<dyn Transport>) -> Self {
        Self {
            transport,
            store: None,
            keyring: None,
            credentials: None,
            clock: Arc::new(SystemClock::new()),
            observer: Arc::new(Silent),
            artifacts: Arc::new(MemoryArtifacts::default()),
            integrations: Vec::new(),
            skills: Vec::new(),
            plans: Plans::unlimited(),
            settings: Settings::default(),
            queue: queue::Settings::default(),
            webhooks: webhook::Settings::default(),
            schedules: schedule::Settings::default(),
            public_url: None,
            return_urls: BTreeSet::new(),
            wrong_keys_per_minute: 60,
            history: Duration::from_secs(30 * 24 * 3600),
            keep: None,
        }
    }

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
        self.artifacts = artifacts;
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

    /// Bounds messages to subscribers, and says when they are tried again.
    pub fn webhooks(mut self, webhooks: webhook::Settings) -> Self {
        self.webhooks = webhooks;
        self
    }

    /// Says how late runs that the clock asks for may be.
    pub fn schedules(mut self, schedules: schedule::Settings) -> Self {
        self.schedules = schedules;
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

    /// Keeps the keys that seal where they came from, when they are rotated. Without it they are
    /// rotated there, and found at the next start.
    pub fn keep_keys(mut self, keep: Keep) -> Self {
        self.keep = Some(keep);
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
        let (tasks, workers) = (TaskTracker::new(), TaskTracker::new());
        let (stop, upkeep) = (CancellationToken::new(), CancellationToken::new());
        let artifacts = Artifacts::new(self.artifacts, vault.clone(), clock.clone());
        let keys = keys(&store, &clock, &self.plans, self.wrong_keys_per_minute)?;
        let parts = Parts {
            logins: Logins::new(store.clone(), keys.clone(), clock.clone()),
            credentials: self.credentials.unwrap_or_else(|| vault.clone()),
            connections: Arc::new(Connections::new(store.clone(), clock.clone())),
            apps: Arc::new(Apps::new(store.clone(), vault.clone(), clock.clone())),
            agents: Agents::new(store.clone(), vault.clone(), clock.clone()),
            keys,
            links: Arc::new(Links::new(store.clone(), clock.clone(), pages(self.public_url)?)),
            history: History::start(store.clone(), &workers, stop.clone()),
            transport: self.transport,
            observer: self.observer,
            artifacts,
            store,
            vault,
            clock,
        };
        let executor = Arc::new(parts.executor(catalog, self.settings, &tasks));
        workers.spawn(executor.clone().keep_alive(upkeep.clone()));
        let runs = Runs::start(parts.queue(&executor, &tasks), self.queue).await?;
        let schedules = parts.schedules(&runs);
        Ok(Engine(Arc::new(Inner {
            webhooks: parts.webhooks(),
            deliverer: parts.deliverer(&runs, self.webhooks).await?,
            scheduler: Scheduler::start(schedules.clone(), self.schedules),
            schedules,
            triggers: parts.triggers(&runs),
            connector: parts.connector((executor.clone(), &tasks), self.return_urls),
            resealer: parts.upkeep((&workers, &stop), self.history, self.keep),
            plans: self.plans,
            parts,
            executor,
            runs,
            tasks,
            workers,
            upkeep,
            stop,
        })))
    }
}

fn keys(
    store: &Arc<dyn Store>,
    clock: &Arc<dyn Clock>,
    plans: &Plans,
    wrong_per_minute: u32,
) -> Result<Arc<Keys>> {
    Keys::new(store.clone(), clock.clone(), plans.clone(), wrong_per_minute).map(Arc::new)
}

fn pages(public: Option<Url>) -> Result<Pages> {
    let local = || Url::parse("http://127.0.0.1:8080").map_err(Error::internal);
    Pages::under(&public.map_or_else(local, Ok)?)
}
