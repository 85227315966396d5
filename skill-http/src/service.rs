//! One request: match, authenticate, count, handle, render. A panic becomes a 500.

use std::{borrow::Cow, net::IpAddr, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::FutureExt;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use skill_core::{
    Error, ErrorKind,
    access::{Admission, Admitted, Allowance, Authentication, Caller, Intent, authorize},
    clock::Stopwatch,
    id::RequestId,
    name::{OwnerId, UserId},
    record::scope::Scope,
};

use crate::{
    app::route::{Access, Found, RAW, Reading, Route},
    app::{App, Context},
    compress::{Coding, compress},
    credentials,
    dialect::{
        self, Facts,
        headers::{ANSWERED_BY, OURS, REPLAYED, SERVICE},
    },
    host::Hosts,
    pages,
    reply::{Content, Failure, Reply},
    request::{BodyLimits, Inbound, Sent, Source},
    server::{Handle, Peer},
};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const RATE_LIMIT: &str = "x-ratelimit-limit";
const OWNER: HeaderName = HeaderName::from_static("skill-owner");
const USER: HeaderName = HeaderName::from_static("skill-user");

/// Through which door a request came.
#[derive(Debug, Clone)]
pub(crate) enum Door {
    /// Anybody's; only these names are ours.
    Public(Hosts),
    /// That of whoever may read the data directory.
    Operator,
}

/// Answers the requests of one door.
#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) app: Arc<App>,
    pub(crate) door: Door,
    pub(crate) body: BodyLimits,
}

/// What is learned about a request on the way, for the headers and the log.
#[derive(Default)]
struct Notes {
    route: Option<Arc<Route>>,
    allowance: Option<Allowance>,
}

impl Handle for Service {
    type Body = Content;

    async fn handle(&self, request: Request<Incoming>, peer: Peer) -> Response<Content> {
        let address = peer.address;
        let fault = peer.fault();
        let (parts, body) = request.into_parts();
        let inbound = Inbound {
            method: parts.method,
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().unwrap_or_default().to_owned(),
            headers: with_host(parts.headers, &parts.uri),
            address,
            body: Source::Wire(body, peer),
        };
        let refused = fault.map(|fault| Failure::request(fault.status(), fault.to_string()));
        self.answer(inbound, refused).await
    }
}

/// HTTP/2 and absolute-form requests carry the host in the target.
fn with_host(mut headers: HeaderMap, uri: &http::Uri) -> HeaderMap {
    if !headers.contains_key(header::HOST)
        && let Some(host) = uri.authority().and_then(|a| HeaderValue::from_str(a.as_str()).ok())
    {
        headers.insert(header::HOST, host);
    }
    headers
}

impl Service {
    /// Answers one request, whatever happens on the way.
    pub(crate) async fn answer(
        &self,
        inbound: Inbound,
        refused: Option<Failure>,
    ) -> Response<Content> {
        let watch = Stopwatch::start();
        let id = self.request_id(&inbound.headers);
        let (method, path) = (inbound.method.clone(), inbound.path.clone());
        let (accepted, address) = (Coding::accepted(&inbound.headers), inbound.address);
        let mut notes = Notes::default();
        let outcome = match refused {
            Some(failure) => Err(failure),
            None => {
                let served = AssertUnwindSafe(self.serve(inbound, &mut notes)).catch_unwind().await;
                served.unwrap_or_else(|_| Err(Error::internal("a handler panicked").into()))
            }
        };
        let is_raw = notes.route.as_ref().is_some_and(|route| route.path == RAW);
        let reply = outcome.unwrap_or_else(|failure| {
            let shown = self.show(&failure, &path, &id);
            if is_raw { shown.with(ANSWERED_BY, OURS) } else { shown }
        });
        let reply = compress(reply, accepted).await;
        let route = notes.route.as_ref().map_or("none", |route| route.path);
        let (status, time) = (reply.status.as_u16(), watch.elapsed());
        self.app.metrics.request(route, status, time);
        let (ms, dialect) = (time.as_secs_f64() * 1000.0, dialect::of(&path).name());
        // Calls are in the history and requests in the figures: the log has what needs a look.
        if status >= 500 {
            tracing::warn!(request = %id, %method, route, dialect, status, ms, "answered");
        } else {
            tracing::debug!(request = %id, %method, route, dialect, status, ms, "answered");
        }
        self.finish(reply, &notes, &id, address)
    }

    /// The stages of a request, in order.
    async fn serve(&self, inbound: Inbound, notes: &mut Notes) -> Result<Reply, Failure> {
        // `OPTIONS *` asks about the server as a whole, which has no path that could be unknown.
        if matches!(inbound.method, Method::TRACE | Method::CONNECT) || inbound.path == "*" {
            return Err(Failure::method(String::new()));
        }
        if let Some(elsewhere) = self.check_host(&inbound)? {
            return Ok(elsewhere);
        }
        let (route, values) = self.find(&inbound)?;
        notes.route = Some(route.clone());
        let admitted = self.admit(&route, &inbound, notes).await?;
        let (body, sent) = self.read(&route, inbound.body).await?;
        let context = Context {
            app: self.app.clone(),
            admitted,
            values,
            method: inbound.method,
            sent,
            query: inbound.query,
            headers: inbound.headers,
            body,
            address: inbound.address,
        };
        (route.handler)(context).await
    }

    /// Refuses requests for other hosts. A page is sent to the public name instead.
    fn check_host(&self, inbound: &Inbound) -> Result<Option<Reply>, Failure> {
        let Door::Public(hosts) = &self.door else { return Ok(None) };
        let mut named = inbound.headers.get_all(header::HOST).iter();
        let host = named.next().and_then(|host| host.to_str().ok());
        let (Some(host), None) = (host, named.next()) else {
            let message = "expected exactly one Host header";
            return Err(Failure::request(StatusCode::BAD_REQUEST, message));
        };
        // Whoever watches the process may do so under any name.
        let is_ours = hosts.are_ours(host);
        let is_open = matches!(inbound.path.as_str(), "/healthz" | "/readyz");
        let is_view = pages::is_page(&inbound.path) && inbound.method == Method::GET;
        let (public, path, query) = (&self.app.public_url, &inbound.path, &inbound.query);
        if is_view && (!is_ours || hosts.are_another_spelling(host)) {
            return Ok(Some(pages::to_public(public, path, query)));
        }
        // A further name may be what a proxy calls us: whoever comes back under it stays.
        if is_view && hosts.are_further(host) && !pages::was_sent(query) {
            return Ok(Some(pages::to_public(public, path, &pages::sent(query))));
        }
        if is_ours || is_open {
            return Ok(None);
        }
        let message = "this server is not known under this host name: use its public URL";
        Err(Failure::request(StatusCode::MISDIRECTED_REQUEST, message))
    }

    fn find(&self, inbound: &Inbound) -> Result<Found, Failure> {
        let is_public = matches!(self.door, Door::Public(_));
        let is_hidden = |route: &Route| {
            matches!(route.access, Access::Operator) || self.app.hidden.contains(route.path)
        };
        let is_here = |route: &Route| !(is_public && is_hidden(route));
        self.app.table.find(&inbound.method, &inbound.path, is_here)
    }

    /// Who calls, counted against its limits; `None` for routes that ask nobody.
    async fn admit(
        &self,
        route: &Route,
        inbound: &Inbound,
        notes: &mut Notes,
    ) -> Result<Option<Admitted>, Failure> {
        let scope = match &route.access {
            Access::Open | Access::Page => return Ok(None),
            Access::Monitor => return self.check_monitor(inbound).map(|()| None),
            Access::Admin => return self.check_admin(inbound, notes).await.map(|()| None),
            Access::Operator => None,
            Access::Key(scope) => scope.as_ref(),
        };
        let mut caller = self.caller(inbound, notes).await?;
        // Counted first: whoever has a key pays for every request.
        let acting = acting_for(&mut caller, &inbound.headers);
        let admitted = match self.app.engine.keys().admit(caller).await? {
            Admission::Admitted(admitted) => admitted,
            Admission::Refused(allowance) => {
                notes.allowance = Some(allowance);
                let refusal = allowance.refusal();
                return Err(refusal.unwrap_or_else(|| Error::internal("no reason")).into());
            }
        };
        notes.allowance = Some(*admitted.allowance());
        acting?;
        if let Some(scope) = scope {
            check_scope(admitted.caller(), scope)?;
        }
        Ok(Some(admitted))
    }

    async fn caller(&self, inbound: &Inbound, notes: &mut Notes) -> Result<Caller, Failure> {
        if matches!(self.door, Door::Operator) {
            let owner = match named(&inbound.headers, &OWNER)? {
                None => OwnerId::standard(),
                Some(name) => OwnerId::parse(name)?,
            };
            return Ok(Caller::operator(owner));
        }
        let keys = self.app.engine.keys();
        let is_raw = notes.route.as_ref().is_some_and(|route| route.path == RAW);
        let presented = match is_raw {
            true => credentials::presented_by_client(&inbound.headers),
            false => credentials::presented(&inbound.headers).map(|key| key.map(Cow::Borrowed)),
        };
        let bad = match presented {
            Ok(Some(key)) => match keys.authenticate(&key, inbound.address).await? {
                Authentication::Good(caller) => return Ok(caller),
                Authentication::Bad(allowance) => allowance,
            },
            Ok(None) => keys.address_allowance(inbound.address),
            Err(credentials::Unclear) => keys.address_allowance(inbound.address),
        };
        notes.allowance = Some(bad);
        if let Some(refusal) = bad.refusal() {
            return Err(refusal.into());
        }
        let message = "expected a valid API key as `Authorization: Bearer` or `x-api-key`";
        Err(Error::new(ErrorKind::Unauthenticated, message).into())
    }

    /// Figures are for this machine and for the admin secret. What came through a proxy is not of
    /// this machine, whatever its address says.
    fn check_monitor(&self, inbound: &Inbound) -> Result<(), Failure> {
        let forwarded = ["forwarded", "x-forwarded-for", "x-real-ip"];
        let is_forwarded = forwarded.iter().any(|name| inbound.headers.contains_key(*name));
        let is_here = matches!(self.door, Door::Operator)
            || inbound.address.is_some_and(|address| address.is_loopback());
        let secret = self.app.admin_secret.as_ref();
        if (is_here && !is_forwarded) || credentials::is_admin(&inbound.headers, secret) {
            return Ok(());
        }
        Err(no_secret())
    }

    /// The admin secret alone opens these routes. A wrong one counts as a wrong key does.
    async fn check_admin(&self, inbound: &Inbound, notes: &mut Notes) -> Result<(), Failure> {
        let secret = self.app.admin_secret.as_ref();
        let is_operator = matches!(self.door, Door::Operator);
        if is_operator || credentials::is_admin(&inbound.headers, secret) {
            return Ok(());
        }
        // No text of the request is a key here.
        if let Authentication::Bad(allowance) =
            self.app.engine.keys().authenticate("", inbound.address).await?
        {
            notes.allowance = Some(allowance);
            if let Some(refusal) = allowance.refusal() {
                return Err(refusal.into());
            }
        }
        Err(no_secret())
    }

    async fn read(&self, route: &Route, body: Source) -> Result<(Bytes, Sent), Failure> {
        let whole = |bytes| (bytes, Sent::default());
        match (route.reading, &route.method) {
            (Reading::Streaming, _) => Ok((Bytes::new(), body.open(self.body).await?)),
            (Reading::Whole, &Method::GET | &Method::HEAD) => Ok(whole(Bytes::new())),
            (Reading::Whole, _) => body.read(self.body).await.map(whole),
        }
    }

    /// A failure in the shape that the path asks for.
    fn show(&self, failure: &Failure, path: &str, id: &str) -> Reply {
        if let Failure::Engine(error) = failure {
            log(error, id);
        }
        let limits = self.app.engine.pages().limits.as_str();
        let facts = Facts::of(failure, limits);
        let shown = dialect::of(path).show(&facts);
        let mut reply = if pages::is_page(path) {
            pages::failure(shown.status, facts.message)
        } else {
            Reply::json(shown.status, &shown.body)
        };
        if let Failure::Request(refusal) = failure
            && let Some(allow) = &refusal.allow
        {
            reply = reply.with(header::ALLOW, allow);
        }
        if facts.is_replay {
            reply = reply.with(REPLAYED, "true");
        }
        if let Some(after) = facts.retry_after {
            reply = reply.with(header::RETRY_AFTER, &after.max(1).to_string());
        }
        if shown.status == StatusCode::UNAUTHORIZED {
            reply = reply.with(header::WWW_AUTHENTICATE, "Bearer");
        }
        reply
    }

    /// Adds the headers that every answer has.
    fn finish(
        &self,
        reply: Reply,
        notes: &Notes,
        id: &str,
        address: Option<IpAddr>,
    ) -> Response<Content> {
        let Reply { status, mut headers, body } = reply;
        // At the raw door the service's own figures are what its client goes by.
        let is_theirs = headers.get(ANSWERED_BY).is_some_and(|by| by == SERVICE);
        let figures = [RATE_LIMIT, "ratelimit"].map(|name| is_theirs && headers.contains_key(name));
        let mut put = |name: &'static str, value: String| {
            let is_figure = name.contains("ratelimit") && figures.contains(&true);
            if !is_figure && let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(HeaderName::from_static(name), value);
            }
        };
        put("x-request-id", id.to_owned());
        let allowance =
            notes.allowance.unwrap_or_else(|| self.app.engine.keys().address_allowance(address));
        if let Some(limit) = allowance.limit {
            let (left, reset) = (allowance.remaining.min(limit), rounded_up(allowance.reset));
            let now = self.app.engine.clock().now().as_second().unsigned_abs();
            let window = if allowance.is_daily { 86_400 } else { 60 };
            put(RATE_LIMIT, limit.to_string());
            put("x-ratelimit-remaining", left.to_string());
            put("x-ratelimit-reset", (now + reset).to_string());
            put("ratelimit", format!("\"default\";r={left};t={reset}"));
            put("ratelimit-policy", format!("\"default\";q={limit};w={window}"));
        }
        let is_busy =
            matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
        if is_busy && !is_theirs {
            headers.entry(header::RETRY_AFTER).or_insert(HeaderValue::from_static("1"));
        }
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
        let mut response = Response::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response
    }

    /// The caller's id for its request, when it is well formed, else ours.
    fn request_id(&self, headers: &HeaderMap) -> String {
        let given = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok());
        let fits = |id: &&str| {
            (1..=128).contains(&id.len())
                && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        };
        given.filter(fits).map_or_else(
            || {
                let fresh = RequestId::fresh(self.app.engine.clock().now());
                fresh.map_or_else(|_| "req_unknown".to_owned(), |id| id.to_string())
            },
            str::to_owned,
        )
    }
}

fn no_secret() -> Failure {
    let message = "expected the admin secret as `Authorization: Bearer` or `x-admin-secret`";
    Error::new(ErrorKind::Unauthenticated, message).into()
}

fn rounded_up(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

fn check_scope(caller: &Caller, scope: &Scope) -> Result<(), Error> {
    authorize(caller, &Intent { scope: scope.clone(), class: None }).allowed()
}

/// Lets the caller act for the user that `Skill-User` names. A key that belongs to a user acts for
/// that user only.
fn acting_for(caller: &mut Caller, headers: &HeaderMap) -> Result<(), Failure> {
    let Some(named) = named(headers, &USER)? else { return Ok(()) };
    let named = UserId::parse(named)?;
    if caller.user.as_ref().is_some_and(|user| *user != named) {
        let message = "this key acts for another user";
        return Err(Error::new(ErrorKind::ScopeMissing, message).into());
    }
    caller.user = Some(named);
    Ok(())
}

/// The party that a header names; twice is nobody's guess.
fn named<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Error> {
    let mut values = headers.get_all(name).iter();
    let first = values.next().map(|value| value.to_str().unwrap_or_default());
    if values.next().is_some() {
        return Err(Error::invalid(format!("expected the header {name} once")));
    }
    Ok(first)
}

/// Logs what only the operator may see. What a caller did wrong is worth no more than a trace.
#[expect(clippy::wildcard_enum_match_arm, reason = "all others are the caller's")]
fn log(error: &Error, id: &str) {
    let line = error.log_line();
    match error.kind() {
        ErrorKind::Internal => tracing::error!(request = id, error = line, "failed"),
        ErrorKind::Unavailable => tracing::warn!(request = id, error = line, "unavailable"),
        _ => tracing::debug!(request = id, error = line, "refused"),
    }
}
