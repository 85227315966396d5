//! The transport over reqwest: HTTPS, HTTP/1.1 and HTTP/2, pooled.

use std::{
    error::Error as _,
    net::SocketAddr,
    sync::{Arc, OnceLock, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use futures_util::StreamExt;
use reqwest::{
    Client, ClientBuilder,
    dns::{Addrs, Name, Resolve, Resolving},
    redirect,
};
use url::Url;

use super::{
    Body, Outgoing, Payload, Response, Transport,
    egress::{Egress, Refused},
};
use crate::{
    clock::Deadline,
    error::{Error, ErrorKind, Result, Retry},
};

/// How long opening a connection may take.
const CONNECT: Duration = Duration::from_secs(10);
/// The most names that are resolved at once: each holds a thread.
const RESOLVING: usize = 64;

/// Sends requests with reqwest, to addresses that [`Egress`] admits.
///
/// It follows no redirect, reads no proxy from the environment, sends no referrer and never
/// repeats a request by itself. Answers are decompressed.
///
/// ```
/// use skill_core::transport::{ReqwestTransport, egress::Egress};
/// let transport = ReqwestTransport::new(Egress::default())?;
/// # Ok::<(), skill_core::Error>(())
/// ```
#[derive(Debug)]
pub struct ReqwestTransport {
    egress: Egress,
    /// Keep their connections.
    kept: Clients,
    /// Keep none. Made when they are first needed.
    alone: OnceLock<Clients>,
}

#[derive(Debug)]
struct Clients {
    /// Connects to public addresses only.
    public: Client,
    /// Connects to whatever a host on the operator's list resolves to.
    listed: Client,
}

impl ReqwestTransport {
    /// Returns a transport that keeps to `egress`.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when the system has no certificates to trust.
    pub fn new(egress: Egress) -> Result<Self> {
        let kept = Clients::build(client)?;
        Ok(Self { egress, kept, alone: OnceLock::new() })
    }

    fn alone(&self) -> Result<&Clients> {
        if let Some(made) = self.alone.get() {
            return Ok(made);
        }
        let made = Clients::build(|| client().pool_max_idle_per_host(0))?;
        Ok(self.alone.get_or_init(|| made))
    }

    async fn send_with(
        &self,
        clients: &Clients,
        request: Outgoing,
        deadline: Deadline,
    ) -> Result<Response> {
        self.egress.admit_url(&request.url).map_err(refused)?;
        let is_listed = self.egress.lists_url(&request.url);
        let client = if is_listed { &clients.listed } else { &clients.public };
        let answer = deadline
            .run(client.execute(written(request)))
            .await
            .ok_or_else(|| timed_out(Retry::IfIdempotent))?
            .map_err(classify)?;
        Ok(response(answer, deadline))
    }
}

impl Clients {
    fn build(client: impl Fn() -> ClientBuilder) -> Result<Self> {
        let checked = Arc::new(PublicResolver::new());
        let public = build(client().https_only(true).dns_resolver(checked))?;
        Ok(Self { public, listed: build(client())? })
    }
}

fn client() -> ClientBuilder {
    Client::builder()
        .redirect(redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        .referer(false)
        .connect_timeout(CONNECT)
        .pool_idle_timeout(Duration::from_secs(60))
        .tcp_nodelay(true)
}

fn build(builder: ClientBuilder) -> Result<Client> {
    builder.build().map_err(|cause| {
        let message = "expected trusted certificates on this system: install its CA bundle";
        Error::new(ErrorKind::Unavailable, message).caused_by(cause)
    })
}

#[async_trait]
impl Transport for ReqwestTransport {
    async fn send(&self, request: Outgoing, deadline: Deadline) -> Result<Response> {
        self.send_with(&self.kept, request, deadline).await
    }

    async fn send_alone(&self, request: Outgoing, deadline: Deadline) -> Result<Response> {
        self.send_with(self.alone()?, request, deadline).await
    }

    fn admit(&self, url: &Url) -> Result<(), Refused> {
        self.egress.admit_url(url)
    }
}

/// The request as reqwest sends it.
fn written(request: Outgoing) -> reqwest::Request {
    let mut out = reqwest::Request::new(request.method, request.url);
    *out.headers_mut() = request.headers;
    *out.body_mut() = match request.body {
        Payload::Empty => None,
        Payload::Bytes(bytes) => Some(bytes.into()),
        Payload::Stream(chunks) => {
            let chunks = chunks.into_inner().unwrap_or_else(PoisonError::into_inner);
            Some(reqwest::Body::wrap_stream(chunks))
        }
    };
    out
}

/// Takes the answer apart; its chunks keep to the deadline.
fn response(answer: reqwest::Response, deadline: Deadline) -> Response {
    let (status, mut answer) = (answer.status(), answer);
    let headers = std::mem::take(answer.headers_mut());
    let chunks = futures_util::stream::unfold(Some(answer), move |answer| async move {
        let mut answer = answer?;
        match deadline.run(answer.chunk()).await {
            None => Some((Err(timed_out(Retry::IfIdempotent)), None)),
            Some(Err(cause)) => Some((Err(classify(cause)), None)),
            Some(Ok(None)) => None,
            Some(Ok(Some(chunk))) => Some((Ok(chunk), Some(answer))),
        }
    });
    Response { status, headers, body: Body::Chunks(chunks.boxed()) }
}

fn timed_out(retry: Retry) -> Error {
    Error::new(ErrorKind::Timeout, "the service did not answer before the deadline").retry(retry)
}

fn refused(reason: Refused) -> Error {
    let message = format!("the service cannot be reached: {reason}");
    Error::new(ErrorKind::UpstreamUnreachable, message)
}

/// Says what a failure of reqwest means. The URL is dropped: it may carry a key.
fn classify(cause: reqwest::Error) -> Error {
    let cause = cause.without_url();
    let mut source = cause.source();
    while let Some(inner) = source {
        if let Some(reason) = inner.downcast_ref::<Refused>() {
            return refused(*reason);
        }
        // The body of the request ended in an error of its own: that is what happened.
        if let Some(error) = inner.downcast_ref::<Error>() {
            let error = Error::new(error.kind(), error.message().to_owned());
            return error.retry(Retry::IfIdempotent);
        }
        source = inner.source();
    }
    if cause.is_timeout() {
        let retry = if cause.is_connect() { Retry::Safe } else { Retry::IfIdempotent };
        return timed_out(retry).caused_by(cause);
    }
    if cause.is_decode() {
        let message = "expected an answer that follows HTTP from the service";
        return Error::new(ErrorKind::UpstreamInvalid, message)
            .retry(Retry::IfIdempotent)
            .caused_by(cause);
    }
    let (message, retry) = if cause.is_connect() {
        ("the service cannot be reached", Retry::Safe)
    } else {
        ("the connection to the service was cut", Retry::IfIdempotent)
    };
    Error::new(ErrorKind::UpstreamUnreachable, message).retry(retry).caused_by(cause)
}

/// Resolves names with the system's resolver and lets public addresses through.
///
/// reqwest connects to exactly the addresses that this returns, so that a name cannot change its
/// mind in between. It is not asked for literal addresses: those were checked with the URL.
#[derive(Debug)]
struct PublicResolver {
    free: Arc<tokio::sync::Semaphore>,
}

impl PublicResolver {
    fn new() -> Self {
        Self { free: Arc::new(tokio::sync::Semaphore::new(RESOLVING)) }
    }
}

impl Resolve for PublicResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let free = self.free.clone();
        Box::pin(async move {
            let _permit = free.acquire_owned().await?;
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?.collect::<Vec<_>>();
            let addresses = found.iter().map(SocketAddr::ip).collect::<Vec<_>>();
            // The empty list: whatever is on the operator's list goes through the other client.
            Egress::default().admit_all(name.as_str(), 443, &addresses)?;
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}
