//! Tracker, the small outside service that `skill demo` runs beside the engine.
//!
//! It keeps issues for people who gave consent, and is as strict as a provider in production:
//! authorization codes with PKCE, rotated refresh tokens, access tokens that soon expire. The
//! engine reaches it only through HTTP, and nothing in it knows the engine.

mod fields;
mod grants;
mod issues;
mod oauth;
mod pages;
mod reply;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderName, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use jiff::Timestamp;
use secrecy::SecretString;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use url::Url;

use self::grants::Ledger;
use self::issues::Issues;
use self::reply::Reply;

/// Largest request body that is read.
const BODY_BYTES: usize = 1024 * 1024;

/// How long a connection may be quiet before a request; longer than clients keep one for reuse,
/// so that it is they who close it.
const QUIET_LIMIT: Duration = Duration::from_secs(120);

/// How long a client may take to send a body.
const BODY_LIMIT: Duration = Duration::from_secs(15);

/// How many connections are open at once; more wait to be accepted.
const CONNECTIONS: usize = 256;

/// A running Tracker; dropping it closes its listener and every connection.
pub(crate) struct DemoService {
    state: Arc<State>,
    _task: AbortOnDropHandle<()>,
}

impl DemoService {
    /// Starts to answer on `listener`, in a task that this value owns.
    ///
    /// # Errors
    ///
    /// When the listener has no address, or a redirect URI is not an absolute URL without fragment.
    pub(crate) fn start(listener: TcpListener, settings: Settings) -> anyhow::Result<Self> {
        let address = listener.local_addr().context("the listener of Tracker has no address")?;
        for uri in settings.clients.iter().flat_map(|client| &client.redirect_uris) {
            let url = Url::parse(uri).context("a redirect URI of Tracker is not absolute")?;
            anyhow::ensure!(url.fragment().is_none(), "a redirect URI of Tracker has a fragment");
        }
        let state = Arc::new(State::new(format!("http://{address}"), settings));
        let task = tokio::spawn(accept(listener, Arc::clone(&state)));
        Ok(Self { state, _task: AbortOnDropHandle::new(task) })
    }

    /// Returns the address clients call, such as `http://127.0.0.1:4100`; also its issuer name.
    pub(crate) fn base_url(&self) -> &str {
        &self.state.base_url
    }

    /// Returns how many refresh tokens were exchanged for the next one.
    pub(crate) fn refreshes(&self) -> u64 {
        self.state.ledger().refreshes()
    }

    /// Returns how many access tokens were issued, by codes and by refreshes.
    pub(crate) fn tokens_issued(&self) -> u64 {
        self.state.ledger().tokens_issued()
    }
}

impl fmt::Debug for DemoService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DemoService").field("base_url", &self.base_url()).finish_non_exhaustive()
    }
}

/// What Tracker is told before it starts.
#[derive(Debug)]
pub(crate) struct Settings {
    /// The applications registered with it.
    pub(crate) clients: Vec<Client>,
    /// The login of the person at the browser.
    pub(crate) login: String,
    /// The full name of the person at the browser.
    pub(crate) name: String,
    /// The repositories that exist, each `owner/name`.
    pub(crate) repositories: Vec<String>,
    /// How long an access token works; told to clients in whole seconds.
    pub(crate) access_token_life: Duration,
    /// Whether consent is given without asking, for a walk that nobody watches.
    pub(crate) auto_approve: bool,
    /// How many calls one grant may make in an hour.
    pub(crate) calls_per_hour: u32,
}

impl Settings {
    /// Returns settings with one client, one repository and access tokens of five seconds.
    pub(crate) fn new(client: Client) -> Self {
        Self {
            clients: vec![client],
            login: "ada".to_owned(),
            name: "Ada Lovelace".to_owned(),
            repositories: vec!["acme/website".to_owned()],
            access_token_life: Duration::from_secs(5),
            auto_approve: false,
            calls_per_hour: 5000,
        }
    }
}

/// An application that was registered with Tracker.
pub(crate) struct Client {
    /// Its public name in the protocol.
    pub(crate) id: String,
    /// What it proves itself with.
    pub(crate) secret: SecretString,
    /// What the consent page calls it.
    pub(crate) name: String,
    /// Where a browser may be sent back to; compared character by character.
    pub(crate) redirect_uris: Vec<String>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Everything the endpoints share.
struct State {
    base_url: String,
    settings: Settings,
    ledger: Mutex<Ledger>,
    issues: Mutex<Issues>,
    requests: AtomicU64,
    started: (Timestamp, Instant),
}

impl State {
    /// Returns a state in which nothing happened.
    fn new(base_url: String, settings: Settings) -> Self {
        Self {
            ledger: Mutex::new(Ledger::new(settings.access_token_life, settings.calls_per_hour)),
            issues: Mutex::new(Issues::new(&settings.repositories)),
            base_url,
            settings,
            requests: AtomicU64::new(0),
            started: (Timestamp::now(), Instant::now()),
        }
    }

    /// Returns the consents and tokens; the lock is held only between two awaits.
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the issues; the lock is held only between two awaits.
    fn issues(&self) -> MutexGuard<'_, Issues> {
        self.issues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the time of day, which moves with tokio's clock.
    fn now(&self) -> Timestamp {
        let (timestamp, instant) = self.started;
        timestamp + instant.elapsed()
    }
}

/// Accepts connections until it is dropped, which also drops the connections.
async fn accept(listener: TcpListener, state: Arc<State>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < CONNECTIONS => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve(stream, Arc::clone(&state)));
                }
                Err(error) => {
                    tracing::debug!(%error, "Tracker could not accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
}

/// Answers the requests of one connection.
async fn serve(stream: TcpStream, state: Arc<State>) {
    let service = service_fn(|request| answer(&state, request));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(QUIET_LIMIT)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection of Tracker ended early");
    }
}

/// Reads one request, routes it, and marks the answer with a request id.
async fn answer(state: &State, request: Request<Incoming>) -> Result<Reply, Infallible> {
    let id = format!("tracker-{:08}", state.requests.fetch_add(1, Ordering::Relaxed) + 1);
    let (head, body) = request.into_parts();
    let reply = match read(body).await {
        Ok(body) => route(state, &head, &body),
        Err(status) => reply::message(status, "The request body could not be read"),
    };
    // The path alone: a query may carry codes and state.
    let (path, status) = (head.uri.path(), reply.status().as_u16());
    tracing::debug!(request.id = %id, method = %head.method, path, status, "Tracker answered");
    Ok(reply::with(reply, HeaderName::from_static("x-request-id"), &id))
}

/// Reads a body to its end, within the limits of size and time.
async fn read(body: Incoming) -> Result<Bytes, StatusCode> {
    match tokio::time::timeout(BODY_LIMIT, Limited::new(body, BODY_BYTES).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            Err(StatusCode::PAYLOAD_TOO_LARGE)
        }
        Ok(Err(_)) => Err(StatusCode::BAD_REQUEST),
        Err(_) => Err(StatusCode::REQUEST_TIMEOUT),
    }
}

/// Chooses the endpoint.
fn route(state: &State, head: &Parts, body: &[u8]) -> Reply {
    match (head.uri.path(), &head.method) {
        ("/oauth/authorize", &Method::GET) => oauth::authorize(state, head),
        ("/oauth/authorize", &Method::POST) => oauth::decide(state, head, body),
        ("/oauth/authorize", _) => reply::not_allowed("GET, POST"),
        ("/oauth/token", &Method::POST) => oauth::token(state, head, body),
        ("/oauth/revoke", &Method::POST) => oauth::revoke(state, head, body),
        ("/oauth/token" | "/oauth/revoke", _) => reply::not_allowed("POST"),
        _ => issues::route(state, head, body),
    }
}
