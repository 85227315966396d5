//! A server on a free port, the service behind it, and clients of both kinds.

pub(crate) mod client;
pub(crate) mod declarations;
pub(crate) mod golden;
pub(crate) mod lab;
pub(crate) mod provider;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use http::Method;
use secrecy::SecretString;
use serde_json::{Value, json};
use skill_core::{
    Engine,
    access::{Caller, NewKey, Plan, Plans},
    clock::{Clock, ManualClock},
    credential::seal::Keyring,
    executor,
    integration::Integration,
    name::{OwnerId, Slug},
    queue,
    record::{app::Holder, key::Kind, scope::Scopes},
    skill::Skill,
    store::sqlite::SqliteStore,
    transport::{
        ReqwestTransport,
        egress::{Egress, HostPort},
    },
};
use skill_http::{Metrics, Server, Settings};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use wiremock::MockServer;

use self::{
    client::{Answer, Ask},
    lab::Lab,
};

/// When every test begins.
pub(crate) const START: &str = "2026-01-01T12:00:00Z";
/// The secret that opens `/metrics` from elsewhere.
pub(crate) const ADMIN: &str = "admin-secret-canary";
/// The OAuth client.
pub(crate) const CLIENT_SECRET: &str = "client-secret-canary";

/// How a server is set up; [`Setup::start`] starts it.
#[must_use]
pub(crate) struct Setup {
    public_url: Option<String>,
    settings: Box<dyn FnOnce(&mut Settings)>,
    calls: executor::Settings,
    plan: &'static str,
    wrong_keys: u32,
    directory: Option<tempfile::TempDir>,
    further: Vec<HostPort>,
    declared: Vec<(&'static str, String)>,
    written: Vec<Arc<dyn Integration>>,
    skills: Vec<Arc<dyn Skill>>,
    runs: queue::Settings,
}

/// A server with everything as usual.
pub(crate) async fn server() -> TestServer {
    setup().start().await
}

/// The usual, to be changed.
pub(crate) fn setup() -> Setup {
    Setup {
        public_url: None,
        settings: Box::new(|_| {}),
        calls: executor::Settings { timeout: Duration::from_secs(5), ..Default::default() },
        plan: "standard",
        wrong_keys: 60,
        directory: None,
        further: Vec::new(),
        declared: Vec::new(),
        written: Vec::new(),
        skills: Vec::new(),
        runs: queue::Settings::default(),
    }
}

impl Setup {
    /// Another name than that of the listener.
    pub(crate) fn public_url(mut self, url: &str) -> Self {
        self.public_url = Some(url.to_owned());
        self
    }

    /// Other settings of the server.
    pub(crate) fn settings(mut self, change: impl FnOnce(&mut Settings) + 'static) -> Self {
        self.settings = Box::new(change);
        self
    }

    /// Other bounds of calls.
    pub(crate) fn calls(mut self, change: impl FnOnce(&mut executor::Settings)) -> Self {
        change(&mut self.calls);
        self
    }

    /// Other bounds of queued runs.
    pub(crate) fn runs(mut self, change: impl FnOnce(&mut queue::Settings)) -> Self {
        change(&mut self.runs);
        self
    }

    /// Another default plan.
    pub(crate) fn plan(mut self, plan: &'static str) -> Self {
        self.plan = plan;
        self
    }

    /// Another limit on wrong keys.
    pub(crate) fn wrong_keys(mut self, most: u32) -> Self {
        self.wrong_keys = most;
        self
    }

    /// A store on disk.
    pub(crate) fn on_disk(mut self) -> Self {
        self.directory = Some(tempfile::tempdir().unwrap());
        self
    }

    /// One more integration, at a place of its own.
    pub(crate) fn declare(mut self, slug: &'static str, place: SocketAddr, text: String) -> Self {
        self.further.push(HostPort::parse(&place.to_string()).unwrap());
        self.declared.push((slug, text));
        self
    }

    /// One more integration, as it is.
    pub(crate) fn integration(mut self, integration: Arc<dyn Integration>) -> Self {
        self.written.push(integration);
        self
    }

    /// One more skill.
    pub(crate) fn skill(mut self, skill: Arc<dyn Skill>) -> Self {
        self.skills.push(skill);
        self
    }

    /// Starts the server and the service behind it.
    pub(crate) async fn start(self) -> TestServer {
        let upstream = MockServer::start().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let public = self.public_url.clone().unwrap_or_else(|| format!("http://{address}"));
        let clock = Arc::new(ManualClock::new(START.parse().unwrap()));
        let metrics = Metrics::new();
        let mut settings = Settings::new(public.parse().unwrap());
        settings.admin_secret = Some(SecretString::from(ADMIN));
        settings.drain = Duration::from_millis(300);
        let lab = Lab::new();
        let engine = self.engine(&upstream, &public, (&clock, &metrics, &lab)).await;
        (self.settings)(&mut settings);
        let server = Server::new(engine.clone(), metrics, settings).unwrap();
        let shutdown = CancellationToken::new();
        let serving = server.clone();
        let stop = shutdown.clone();
        let task = tokio::spawn(async move { serving.serve(listener, stop).await });
        let key = key(&engine, "default", "*").await;
        let http = client::plain();
        let directory = self.directory;
        TestServer {
            address,
            public,
            engine,
            server,
            upstream,
            clock,
            lab,
            key,
            http,
            shutdown,
            task,
            directory,
        }
    }

    async fn engine(
        &self,
        upstream: &MockServer,
        public: &str,
        (clock, metrics, lab): (&Arc<ManualClock>, &Arc<Metrics>, &Arc<Lab>),
    ) -> Engine {
        let mut allow = self.further.clone();
        allow.push(HostPort::parse(&upstream.address().to_string()).unwrap());
        let transport = Arc::new(ReqwestTransport::new(Egress::new(allow)).unwrap());
        let mut builder = Engine::builder(transport)
            .integrations(declarations::all(&upstream.uri(), &self.declared))
            .integrations(self.written.iter().cloned())
            .clock(clock.clone())
            .observer(metrics.clone())
            .plans(plans(self.plan))
            .settings(self.calls)
            .queue(self.runs)
            .skill(lab.clone())
            .public_url(public.parse().unwrap())
            .return_urls(["https://app.example.com/done".to_owned()])
            .wrong_keys_per_minute(self.wrong_keys);
        for skill in &self.skills {
            builder = builder.skill(skill.clone());
        }
        if let Some(directory) = &self.directory {
            let store = SqliteStore::open(&directory.path().join("skill.db")).unwrap();
            builder = builder.store(Arc::new(store), Keyring::generate().unwrap());
        }
        let engine = builder.build().await.unwrap();
        for slug in ["github", "honest"] {
            let secret = SecretString::from(CLIENT_SECRET);
            let slug = Slug::parse(slug).unwrap();
            engine.apps().put(Holder::System, &slug, "client-id", Some(&secret)).await.unwrap();
        }
        engine
    }
}

fn plans(standard: &str) -> Plans {
    let plan = |per_minute, per_day, connections, keys| Plan {
        per_minute: Some(per_minute),
        per_day,
        connections,
        keys,
    };
    let all = [
        ("standard".to_owned(), plan(100, None, None, None)),
        ("free".to_owned(), plan(30, Some(10_000), Some(3), Some(1))),
        ("tiny".to_owned(), plan(3, None, Some(1), Some(2))),
        ("daily".to_owned(), plan(100, Some(2), None, None)),
    ];
    Plans::new(standard, all, [("premium".to_owned(), 1000)]).unwrap()
}

/// Makes a key.
async fn key(engine: &Engine, owner: &str, scopes: &str) -> String {
    let caller = Caller::operator(OwnerId::parse(owner).unwrap());
    let scopes = Scopes::parse([scopes]).unwrap();
    let wanted = NewKey { scopes, ..NewKey::new("test", Kind::Api) };
    engine.keys().create(&caller, wanted).await.unwrap().1.expose().to_owned()
}

/// A running server. Dropping it aborts everything.
pub(crate) struct TestServer {
    pub(crate) address: SocketAddr,
    pub(crate) public: String,
    pub(crate) engine: Engine,
    pub(crate) server: Server,
    pub(crate) upstream: MockServer,
    pub(crate) clock: Arc<ManualClock>,
    /// What the skill `lab/run` does.
    pub(crate) lab: Arc<Lab>,
    /// A key of the owner `default` with the scope `*`.
    pub(crate) key: String,
    pub(crate) http: reqwest::Client,
    pub(crate) shutdown: CancellationToken,
    task: JoinHandle<()>,
    pub(crate) directory: Option<tempfile::TempDir>,
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl TestServer {
    /// Another key.
    pub(crate) async fn key_of(&self, owner: &str, scopes: &str) -> String {
        key(&self.engine, owner, scopes).await
    }

    /// A request without a key.
    pub(crate) fn ask(&self, method: Method, path: &str) -> Ask {
        let url = format!("http://{}{path}", self.address);
        Ask(self.http.request(method, url))
    }

    /// A request with the usual key.
    pub(crate) fn with_key(&self, method: Method, path: &str) -> Ask {
        self.ask(method, path).key(&self.key)
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.with_key(Method::GET, path).send().await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.with_key(Method::POST, path).json(body).send().await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.with_key(Method::DELETE, path).send().await
    }

    /// A call: `open/search` with parameters.
    pub(crate) async fn call(&self, action: &str, params: Value) -> Answer {
        self.post(&format!("/v1/{action}"), &json!({ "params": params })).await
    }

    /// Invokes a tool: `open-search`, with what follows its path.
    pub(crate) async fn invoke(&self, tool: &str, inputs: &Value) -> Answer {
        self.post(&format!("/v1/tools/{tool}/invoke"), inputs).await
    }

    /// Queues a run of a tool; returns its id.
    pub(crate) async fn queued(&self, tool: &str, inputs: &Value) -> String {
        let answer = self.post(&format!("/v1/tools/{tool}/invoke?async=true"), inputs).await;
        answer.ok(202)["execution_id"].as_str().unwrap().to_owned()
    }

    /// A run, once it has ended.
    pub(crate) async fn ended(&self, id: &str) -> Value {
        let run = self.get(&format!("/v1/executions/{id}?wait=9")).await.ok(200);
        assert!(!["queued", "running"].contains(&run["status"].as_str().unwrap()), "{run}");
        run
    }

    /// What the service was asked for, as `GET /items/1?q=a`.
    pub(crate) async fn upstream_saw(&self) -> Vec<String> {
        let seen = self.upstream.received_requests().await.unwrap();
        let line = |request: &wiremock::Request| {
            let target = &request.url[url::Position::BeforePath..];
            format!("{} {target}", request.method)
        };
        seen.iter().map(line).collect()
    }

    /// Moves the time.
    pub(crate) fn advance(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    /// The time of day in seconds.
    pub(crate) fn now(&self) -> i64 {
        self.clock.now().as_second()
    }
}
