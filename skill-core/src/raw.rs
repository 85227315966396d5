//! The raw door: requests of a service's own client, passed on as they are.
//!
//! Which headers pass is a list in both directions. Of a request only those on it go on: what any
//! other one makes a service do nobody here can know. Of an answer all go back but those on it: the
//! service is the one that was asked, and what clients read of it differs from one to the next.

use std::{collections::BTreeSet, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use url::Url;

use crate::{
    id::ExecutionId,
    name::Slug,
    record::execution::Class,
    transport::{Body, Payload},
};

/// Headers of a request that every service takes and that can do no more than the request itself.
/// Not among them: what speaks of the hop, of who asks (credentials, cookies, forwarded addresses)
/// or of another method or path than the one that was checked.
const ONWARD: &[&str] = &[
    "accept",
    "accept-charset",
    "accept-language",
    "cache-control",
    "content-digest",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-md5",
    "content-range",
    "content-type",
    "digest",
    "idempotency-key",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "prefer",
    "range",
    "user-agent",
];

/// Headers of an answer that end here: what speaks of the hop, what asks for or hands out
/// credentials, and what tells a browser or a cache how to treat *this* server.
const KEPT_BACK: &[&str] = &[
    "access-control-allow-credentials",
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-allow-origin",
    "access-control-allow-private-network",
    "access-control-expose-headers",
    "access-control-max-age",
    "age",
    "alt-svc",
    "authentication-info",
    "cache-control",
    "clear-site-data",
    "connection",
    "content-security-policy",
    "content-security-policy-report-only",
    "cross-origin-embedder-policy",
    "cross-origin-opener-policy",
    "cross-origin-resource-policy",
    "date",
    "expires",
    "keep-alive",
    "nel",
    "origin-agent-cluster",
    "permissions-policy",
    "pragma",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-connection",
    "public-key-pins",
    "refresh",
    "report-to",
    "reporting-endpoints",
    "server",
    "service-worker-allowed",
    "set-cookie",
    "set-cookie2",
    "sourcemap",
    "strict-transport-security",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "vary",
    "via",
    "www-authenticate",
    "x-content-type-options",
    "x-frame-options",
    "x-powered-by",
    "x-sourcemap",
    "x-xss-protection",
];

/// Headers that no declaration can give to callers, here or as a parameter: framing, routing and
/// authority are ours.
const NEVER: &[&str] = &[
    "authorization",
    "connection",
    "content-length",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
];

/// Whether a declaration may let this header of callers through.
pub(crate) fn may_pass(name: &HeaderName) -> bool {
    !NEVER.contains(&name.as_str())
}

/// Whether a declaration may let a parameter fill this header. Of the body that the endpoint writes
/// nobody else says what it is.
pub(crate) fn may_fill(name: &HeaderName) -> bool {
    may_pass(name) && *name != header::CONTENT_TYPE
}

/// What a service's raw door opens onto, for one connection.
///
/// ```
/// use skill_core::raw::Door;
/// let door = Door::new("https://api.example.com".parse().expect("a URL"));
/// assert!(door.passes.is_empty());
/// ```
#[derive(Debug, Clone)]
pub struct Door {
    /// Everything lies under this.
    pub base: Url,
    /// Headers of the service that pass besides those that every service takes.
    pub passes: Vec<HeaderName>,
    /// Headers that go out unless the caller sends its own.
    pub defaults: HeaderMap,
    /// Headers that go out whatever the caller sends: they follow from the connection.
    pub always: HeaderMap,
}

impl Door {
    /// Returns a door onto `base` that lets nothing through but what every service takes.
    pub fn new(base: Url) -> Self {
        let (defaults, always) = (HeaderMap::new(), HeaderMap::new());
        Self { base, passes: Vec::new(), defaults, always }
    }

    /// The headers of a caller that go on.
    pub(crate) fn onward(&self, from: &HeaderMap) -> HeaderMap {
        let passes = |name: &HeaderName| {
            ONWARD.contains(&name.as_str()) || (self.passes.contains(name) && may_pass(name))
        };
        let mut headers = HeaderMap::new();
        for (name, value) in from.iter().filter(|(name, _)| passes(name)) {
            headers.append(name, value.clone());
        }
        for (name, value) in &self.defaults {
            headers.entry(name).or_insert_with(|| value.clone());
        }
        for (name, value) in &self.always {
            headers.insert(name, value.clone());
        }
        headers
    }
}

/// The headers of an answer that go back. What `Connection` names ends here too
/// (RFC 9110 section 7.6.1).
pub(crate) fn back(from: &HeaderMap) -> HeaderMap {
    let named = from.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let named = named.flat_map(|text| text.split(',')).map(|name| name.trim().to_ascii_lowercase());
    let named = named.collect::<BTreeSet<_>>();
    let mut headers = HeaderMap::new();
    for (name, value) in from {
        if !KEPT_BACK.contains(&name.as_str()) && !named.contains(name.as_str()) {
            headers.append(name, value.clone());
        }
    }
    headers
}

/// What a method does to the outside, as far as it says.
pub(crate) fn class(method: &Method) -> Class {
    match *method {
        Method::GET | Method::HEAD => Class::Read,
        Method::DELETE => Class::Destructive,
        _ => Class::Write,
    }
}

/// A request for the raw door of an integration.
///
/// ```
/// use http::Method;
/// use skill_core::{name::Slug, raw::Request};
/// let request = Request::new(Slug::parse("github")?, Method::GET, "repos/acme/webapp");
/// assert!(request.query.is_empty());
/// # Ok::<(), skill_core::Error>(())
/// ```
#[derive(Debug)]
pub struct Request {
    /// The integration.
    pub integration: Slug,
    /// The method.
    pub method: Method,
    /// The path under the service's base, percent-encoded, without a slash before it.
    pub path: String,
    /// The query, percent-encoded, without `?`.
    pub query: String,
    /// The headers as the caller sent them; those that may go on do.
    pub headers: HeaderMap,
    /// The body. A stream is sent once; `length` says how long it is, when that is known.
    pub body: Payload,
    /// How many bytes a streamed body has, when that is known.
    pub length: Option<u64>,
    /// The connection, by id or label; `None` takes the only one or the default one.
    pub connection: Option<String>,
    /// How long the service may take to answer or to say something more, when it is another time
    /// than the engine's own.
    pub timeout: Option<Duration>,
}

impl Request {
    /// Returns a request without query, headers and body.
    pub fn new(integration: Slug, method: Method, path: impl Into<String>) -> Self {
        Self {
            integration,
            method,
            path: path.into(),
            query: String::new(),
            headers: HeaderMap::new(),
            body: Payload::Empty,
            length: None,
            connection: None,
            timeout: None,
        }
    }

    /// `Content-Length` of a streamed body: many services take no other.
    pub(crate) fn announce(&self, headers: &mut HeaderMap) {
        if let (Payload::Stream(_), Some(length)) = (&self.body, self.length) {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        }
    }
}

/// What a service answered at its raw door.
#[derive(Debug)]
pub struct Reply {
    /// The run that this is the outcome of. It ends when the body does.
    pub execution: ExecutionId,
    /// The status.
    pub status: StatusCode,
    /// The headers that may go back.
    pub headers: HeaderMap,
    /// The body, as it arrives.
    pub body: Body,
    /// What the door opens onto: addresses under it in the headers lead past the door.
    pub base: Url,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        headers
    }

    fn door() -> Door {
        let mut door = Door::new("https://api.example.com".parse().unwrap());
        let further = ["x-version", "authorization", "cookie", "host"];
        door.passes.extend(further.map(HeaderName::from_static));
        door.defaults = headers(&[("accept", "a"), ("user-agent", "skill")]);
        door.always = headers(&[("x-tenant", "ours")]);
        door
    }

    #[test]
    fn only_listed_headers_go_on_and_credentials_never_do() {
        let sent = headers(&[
            ("accept", "b"),
            ("x-version", "2"),
            ("x-tenant", "theirs"),
            ("authorization", "Bearer k"),
            ("cookie", "a=b"),
            ("host", "evil.test"),
            ("connection", "x-version"),
            ("upgrade", "websocket"),
            ("x-forwarded-for", "10.0.0.1"),
            ("x-http-method-override", "DELETE"),
            ("x-original-url", "/admin"),
        ]);
        let went =
            [("accept", "b"), ("x-version", "2"), ("user-agent", "skill"), ("x-tenant", "ours")];
        assert_eq!(door().onward(&sent), headers(&went));
    }

    #[test]
    fn an_answer_leaves_what_is_about_the_hop_and_the_browser_behind() {
        let came = headers(&[
            ("content-type", "text/plain"),
            ("etag", "\"1\""),
            ("x-github-request-id", "1"),
            ("set-cookie", "a=b"),
            ("connection", "close, X-Hop"),
            ("x-hop", "1"),
            ("access-control-allow-origin", "*"),
            ("www-authenticate", "Basic"),
        ]);
        let went =
            [("content-type", "text/plain"), ("etag", "\"1\""), ("x-github-request-id", "1")];
        assert_eq!(back(&came), headers(&went));
    }
}
