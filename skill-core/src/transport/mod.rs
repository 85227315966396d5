//! The door to the outside: one request out, one response in.
//!
//! [`Transport`] is the one seam that may be wrapped (`struct Recording { inner: Arc<dyn Transport> }`):
//! tracing, recording, scripted answers for tests. [`egress`] decides which addresses may be
//! reached, [`target`] is the only place where a URL is built.

mod body;
pub mod egress;
#[cfg(feature = "reqwest")]
mod reqwest;
pub mod target;

use std::{fmt, sync::Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use url::Url;

pub use self::body::{Body, Chunks};
use self::egress::{Egress, Refused};
#[cfg(feature = "reqwest")]
pub use self::reqwest::ReqwestTransport;
use crate::{clock::Deadline, error::Result};

/// Sends requests to outside services.
///
/// An implementation classifies its own failures:
/// - could not connect: [`UpstreamUnreachable`](crate::ErrorKind::UpstreamUnreachable) and
///   [`Retry::Safe`](crate::error::Retry::Safe), because nothing was sent;
/// - cut after that: `UpstreamUnreachable` and
///   [`Retry::IfIdempotent`](crate::error::Retry::IfIdempotent);
/// - past the deadline: [`Timeout`](crate::ErrorKind::Timeout), with the same two states;
/// - an address that may not be reached: `UpstreamUnreachable` and
///   [`Retry::Never`](crate::error::Retry::Never).
///
/// It follows no redirect, keeps no cookie and reads no proxy from the environment. A dropped
/// future ends the request.
#[async_trait]
pub trait Transport: fmt::Debug + Send + Sync + 'static {
    /// Sends `request` and returns the head of the answer. The deadline covers the body too: its
    /// chunks end in [`Timeout`](crate::ErrorKind::Timeout) when it passes.
    async fn send(&self, request: Outgoing, deadline: Deadline) -> Result<Response>;

    /// Sends `request` over a connection that nothing else uses, for what is rare and must not be
    /// lost: a kept connection may be closed by its other end at the very moment it is used again,
    /// and nobody knows then what became of the request. A transport that wraps another passes
    /// this on; without it, as [`Transport::send`].
    async fn send_alone(&self, request: Outgoing, deadline: Deadline) -> Result<Response> {
        self.send(request, deadline).await
    }

    /// Says whether requests to `url` may be sent at all, before there is one: what a name resolves
    /// to is checked when it is sent. A transport that wraps another passes this on; without it,
    /// public https only.
    ///
    /// # Errors
    /// Why not.
    fn admit(&self, url: &Url) -> Result<(), Refused> {
        Egress::default().admit_url(url)
    }
}

const _: Option<&dyn Transport> = None;

/// What is sent as the body of a request.
///
/// ```
/// use skill_core::transport::Payload;
/// assert!(Payload::Empty.repeat().is_some());
/// ```
#[derive(Default)]
pub enum Payload {
    /// Nothing.
    #[default]
    Empty,
    /// Bytes, which can be sent again.
    Bytes(Bytes),
    /// A stream, which can be sent once. Nobody waits for the lock: it lets a request be shared.
    Stream(Mutex<Chunks>),
}

impl Payload {
    /// A second copy; `None` for a stream.
    pub fn repeat(&self) -> Option<Self> {
        match self {
            Self::Empty => Some(Self::Empty),
            Self::Bytes(bytes) => Some(Self::Bytes(bytes.clone())),
            Self::Stream(_) => None,
        }
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("Empty"),
            Self::Bytes(bytes) => write!(f, "Bytes({})", bytes.len()),
            Self::Stream(_) => f.write_str("Stream"),
        }
    }
}

/// A request on its way out, complete: signed, and with its full address.
///
/// ```
/// use skill_core::transport::Outgoing;
/// let request = Outgoing::get("https://api.example.com/user?token=secret".parse()?);
/// assert!(!format!("{request:?}").contains("secret"));
/// # Ok::<(), url::ParseError>(())
/// ```
pub struct Outgoing {
    /// The method.
    pub method: Method,
    /// The full address.
    pub url: Url,
    /// The headers. Those that hold a secret are marked as sensitive.
    pub headers: HeaderMap,
    /// The body.
    pub body: Payload,
}

impl Outgoing {
    /// Returns a request without headers and body.
    pub fn new(method: Method, url: Url) -> Self {
        Self { method, url, headers: HeaderMap::new(), body: Payload::Empty }
    }

    /// Returns a GET request.
    pub fn get(url: Url) -> Self {
        Self::new(Method::GET, url)
    }

    /// Returns a POST of form fields.
    pub fn form<'a>(url: Url, fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.extend_pairs(fields);
        let mut request = Self::new(Method::POST, url);
        request.body = Payload::Bytes(form.finish().into());
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        request.headers.insert(header::CONTENT_TYPE, form);
        request
    }

    /// A second copy; `None` when the body is a stream.
    pub fn repeat(&self) -> Option<Self> {
        Some(Self {
            method: self.method.clone(),
            url: self.url.clone(),
            headers: self.headers.clone(),
            body: self.body.repeat()?,
        })
    }
}

/// Shows no query and no secret header.
impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = &self.url[..url::Position::AfterPath];
        write!(f, "{} {place} {:?} {:?}", self.method, self.headers, self.body)
    }
}

/// The answer to a request.
///
/// ```
/// use skill_core::transport::{Body, Response};
/// let response = Response::new(http::StatusCode::OK, Body::from("hello"));
/// assert!(response.headers.is_empty());
/// ```
#[derive(Debug)]
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, decoded.
    pub body: Body,
}

impl Response {
    /// Returns a response without headers.
    pub fn new(status: StatusCode, body: Body) -> Self {
        Self { status, headers: HeaderMap::new(), body }
    }
}
