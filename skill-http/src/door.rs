//! The server as a whole: its settings, its public door and the operator's.

use std::{
    collections::BTreeSet,
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use secrecy::SecretString;
use skill_core::{Engine, Result};
use tokio::net::{TcpListener, UnixListener};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::{
    app::{App, rendered::Rendered, route::Table, streams::Streams},
    dialect, health,
    host::Hosts,
    metrics::{Metrics, UPKEEP},
    openapi, operator, pages,
    request::{BodyLimits, Inbound, Source},
    server::{self, Limits},
    service::{Door, Service},
};

/// Which dialects are spoken; all of them unless somebody says otherwise.
///
/// ```
/// let dialects = skill_http::Dialects { tools: false, ..Default::default() };
/// assert!(dialects.proxy);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dialects {
    /// `/v1/{integration}/{endpoint}`, `/v1/connect`, `/v1/connections`, `/api-keys`.
    pub proxy: bool,
    /// `/v1/tools`, `/v1/executions`, `/v1/keys`, `/v1/webhooks`, `/v1/quotas`.
    pub tools: bool,
    /// `/api/…`, `/admin/…`.
    pub skills: bool,
    /// `/v1/{integration}/_raw/…`, where proxy is spoken.
    pub raw: bool,
}

impl Default for Dialects {
    fn default() -> Self {
        Self { proxy: true, tools: true, skills: true, raw: true }
    }
}

impl Dialects {
    /// The paths of those that are not spoken.
    fn hidden(self) -> BTreeSet<&'static str> {
        let proxy = (!self.proxy).then(dialect::proxy::routes).into_iter().flatten();
        let tools = (!self.tools).then(dialect::tools::routes).into_iter().flatten();
        let skills = (!self.skills).then(dialect::skills::routes).into_iter().flatten();
        let raw = (!self.raw).then(dialect::proxy::raw_routes).into_iter().flatten();
        proxy.chain(tools).chain(skills).chain(raw).map(|route| route.path).collect()
    }
}

/// How the server behaves.
///
/// ```
/// let settings = skill_http::Settings::new("https://skill.example.com".parse().expect("a URL"));
/// assert_eq!(settings.body_bytes, 1 << 20);
/// ```
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "holds a secret")]
pub struct Settings {
    /// How people and callers reach the server: links and the OAuth redirect URL begin with it.
    pub public_url: Url,
    /// Further values of the Host header that are accepted, with their ports.
    pub hosts: Vec<String>,
    /// What opens `/admin/…`, and `/metrics` from elsewhere.
    pub admin_secret: Option<SecretString>,
    /// Whether a call answers with the upstream's status instead of 200.
    pub mirror_status: bool,
    /// Which dialects are spoken at the public door: the paths of the others answer 404 there.
    pub dialects: Dialects,
    /// How often a stream of events says that it is alive.
    pub events_keep_alive: Duration,
    /// The most streams of events, and requests that wait for a run, that one owner may have open.
    pub events_per_owner: usize,
    /// The most bytes of a request's body.
    pub body_bytes: usize,
    /// The most bytes of a body that is passed on as it comes.
    pub upload_bytes: u64,
    /// How long a body may take to arrive; between two chunks of one that is passed on as it comes.
    pub body_timeout: Duration,
    /// How long a head may take to arrive.
    pub header_timeout: Duration,
    /// How long a connection may stay quiet between requests.
    pub keep_alive: Duration,
    /// How long a peer may read nothing.
    pub write_stall: Duration,
    /// How long requests under way may go on when the server stops.
    pub drain: Duration,
    /// The most connections at a time.
    pub connections: usize,
}

impl Settings {
    /// Returns the standard settings for a public URL.
    pub fn new(public_url: Url) -> Self {
        Self {
            public_url,
            hosts: Vec::new(),
            admin_secret: None,
            mirror_status: false,
            dialects: Dialects::default(),
            events_keep_alive: Duration::from_secs(15),
            events_per_owner: 100,
            body_bytes: 1 << 20,
            upload_bytes: 5 << 30,
            body_timeout: Duration::from_secs(30),
            header_timeout: Duration::from_secs(10),
            keep_alive: Duration::from_secs(75),
            write_stall: Duration::from_secs(30),
            drain: Duration::from_secs(30),
            connections: 10_000,
        }
    }
}

/// The server. Clones are cheap and share everything.
///
/// ```
/// # async fn run(engine: skill_core::Engine) -> Result<(), Box<dyn std::error::Error>> {
/// use tokio_util::sync::CancellationToken;
/// let settings = skill_http::Settings::new("http://127.0.0.1:8080".parse()?);
/// let server = skill_http::Server::new(engine, skill_http::Metrics::new(), settings)?;
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
/// server.serve(listener, CancellationToken::new()).await;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Server {
    app: Arc<App>,
    settings: Arc<Settings>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Server({})", self.settings.public_url)
    }
}

impl Server {
    /// Returns a server around `engine`. `metrics` should be the engine's observer.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`](skill_core::ErrorKind::Internal) when two routes contradict.
    pub fn new(engine: Engine, metrics: Arc<Metrics>, settings: Settings) -> Result<Self> {
        let routes = dialect::proxy::routes()
            .chain(dialect::tools::routes())
            .chain(dialect::skills::routes())
            .chain(pages::routes())
            .chain(operator::routes())
            .chain(health::routes())
            .chain(openapi::routes());
        let app = App {
            engine,
            table: Table::build(routes)?,
            metrics,
            public_url: settings.public_url.clone(),
            admin_secret: settings.admin_secret.clone(),
            mirror_status: settings.mirror_status,
            rendered: Rendered::default(),
            hidden: settings.dialects.hidden(),
            events: Streams::new(settings.events_per_owner),
            events_keep_alive: settings.events_keep_alive,
            stopping: CancellationToken::new(),
            answered: Mutex::default(),
        };
        Ok(Self { app: Arc::new(app), settings: Arc::new(settings) })
    }

    /// Serves the public door until `shutdown`, then lets what is under way end.
    pub async fn serve(&self, listener: TcpListener, shutdown: CancellationToken) {
        let (settings, at) = (&self.settings, listener.local_addr().ok());
        let hosts = Hosts::new(&settings.public_url, &settings.hosts, at);
        let stopping = self.app.stopping.clone();
        let note = async {
            while shutdown.run_until_cancelled(tokio::time::sleep(UPKEEP)).await.is_some() {
                self.app.metrics.upkeep();
            }
            stopping.cancel();
        };
        let service = Arc::new(self.service(Door::Public(hosts)));
        let serving = server::serve(listener, self.limits(), service, shutdown.clone());
        tokio::join!(serving, note);
    }

    /// Serves the operator's door until `shutdown`. Whoever can open the socket is the operator:
    /// its file mode is the caller's to set before this.
    pub async fn serve_operator(&self, listener: UnixListener, shutdown: CancellationToken) {
        let service = Arc::new(self.service(Door::Operator));
        server::serve(listener, self.limits(), service, shutdown).await;
    }

    /// Answers one request of the operator's in this process.
    pub async fn operator(&self, request: Request<Bytes>) -> Response<Bytes> {
        let (parts, body) = request.into_parts();
        let inbound = Inbound {
            method: parts.method,
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().unwrap_or_default().to_owned(),
            headers: parts.headers,
            address: None,
            body: Source::Whole(body),
        };
        let answer = self.service(Door::Operator).answer(inbound, None).await;
        let (parts, content) = answer.into_parts();
        Response::from_parts(parts, content.joined().await)
    }

    fn service(&self, door: Door) -> Service {
        let (bytes, timeout) = (self.settings.body_bytes, self.settings.body_timeout);
        let body = BodyLimits { bytes, timeout, streamed: self.settings.upload_bytes };
        Service { app: self.app.clone(), door, body }
    }

    fn limits(&self) -> Limits {
        Limits {
            header_timeout: self.settings.header_timeout,
            keep_alive: self.settings.keep_alive,
            write_stall: self.settings.write_stall,
            drain: self.settings.drain,
            connections: self.settings.connections,
            ..Limits::default()
        }
    }
}
