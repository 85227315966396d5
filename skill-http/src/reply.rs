//! Answers: status, headers and a body, before they become HTTP.

use std::{
    collections::VecDeque,
    fmt,
    pin::Pin,
    sync::{Mutex, PoisonError},
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::{StreamExt, stream::BoxStream};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use serde_json::Value;
use skill_core::{
    Error,
    transport::{self, Chunks},
};

/// A body in pieces: an upstream's answer is wrapped without being copied.
#[derive(Debug, Default, Clone)]
pub(crate) struct Pieces(VecDeque<Bytes>);

impl Pieces {
    /// How many bytes are left.
    pub(crate) fn len(&self) -> u64 {
        self.0.iter().map(|piece| piece.len() as u64).sum()
    }

    /// The pieces, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Bytes> {
        self.0.iter()
    }

    /// All of it in one piece.
    pub(crate) fn joined(mut self) -> Bytes {
        if self.0.len() == 1 {
            return self.0.pop_front().unwrap_or_default();
        }
        self.0.iter().map(AsRef::as_ref).collect::<Vec<&[u8]>>().concat().into()
    }
}

impl<T: Into<Bytes>> FromIterator<T> for Pieces {
    fn from_iter<I: IntoIterator<Item = T>>(pieces: I) -> Self {
        Self(pieces.into_iter().map(Into::into).filter(|piece| !piece.is_empty()).collect())
    }
}

impl From<Vec<u8>> for Pieces {
    fn from(bytes: Vec<u8>) -> Self {
        [bytes].into_iter().collect()
    }
}

/// The body of an answer.
pub(crate) enum Content {
    /// All of it is known.
    Whole(Pieces),
    /// It comes by and by, and ends when it ends.
    Stream(BoxStream<'static, Bytes>),
    /// It comes from elsewhere, and may be cut: then the connection is cut too, so that nobody takes
    /// a part for the whole.
    Chunks(Mutex<Chunks>),
}

impl From<transport::Body> for Content {
    fn from(body: transport::Body) -> Self {
        match body {
            transport::Body::Bytes(bytes) => Self::Whole([bytes].into_iter().collect()),
            transport::Body::Chunks(chunks) => Self::Chunks(Mutex::new(chunks)),
        }
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(pieces) => write!(f, "Whole({} bytes)", pieces.len()),
            Self::Stream(_) => f.write_str("Stream"),
            Self::Chunks(_) => f.write_str("Chunks"),
        }
    }
}

impl Content {
    /// All of it in one piece, once it has ended.
    pub(crate) async fn joined(self) -> Bytes {
        match self {
            Self::Whole(pieces) => pieces.joined(),
            Self::Stream(stream) => stream.collect::<Vec<_>>().await.concat().into(),
            Self::Chunks(chunks) => {
                let chunks = chunks.into_inner().unwrap_or_else(PoisonError::into_inner);
                let chunks = chunks.take_while(|chunk| std::future::ready(chunk.is_ok()));
                chunks
                    .filter_map(|chunk| std::future::ready(chunk.ok()))
                    .collect::<Vec<_>>()
                    .await
                    .concat()
                    .into()
            }
        }
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let next = match &mut *self {
            Self::Whole(Pieces(pieces)) => Poll::Ready(pieces.pop_front().map(Ok)),
            Self::Stream(stream) => stream.as_mut().poll_next(cx).map(|piece| piece.map(Ok)),
            Self::Chunks(chunks) => {
                let chunks = chunks.get_mut().unwrap_or_else(PoisonError::into_inner);
                chunks.as_mut().poll_next(cx)
            }
        };
        next.map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(pieces) if pieces.0.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(pieces) => SizeHint::with_exact(pieces.len()),
            Self::Stream(_) | Self::Chunks(_) => SizeHint::default(),
        }
    }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Content,
}

impl Reply {
    /// An answer without a body.
    pub(crate) fn empty(status: StatusCode) -> Self {
        Self { status, headers: HeaderMap::new(), body: Content::Whole(Pieces::default()) }
    }

    fn of(status: StatusCode, kind: &'static str, body: Pieces) -> Self {
        let mut reply = Self { body: Content::Whole(body), ..Self::empty(status) };
        reply.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        reply
    }

    /// JSON.
    pub(crate) fn json(status: StatusCode, value: &Value) -> Self {
        Self::raw_json(status, value.to_string().into_bytes().into())
    }

    /// JSON that is written already.
    pub(crate) fn raw_json(status: StatusCode, body: Pieces) -> Self {
        Self::of(status, "application/json", body)
    }

    /// Plain text.
    pub(crate) fn text(status: StatusCode, text: impl Into<Bytes>) -> Self {
        Self::of(status, "text/plain; charset=utf-8", [text.into()].into_iter().collect())
    }

    /// A page.
    pub(crate) fn html(status: StatusCode, page: String) -> Self {
        Self::of(status, "text/html; charset=utf-8", page.into_bytes().into())
    }

    /// Server-sent events, which come as they happen.
    pub(crate) fn events(stream: BoxStream<'static, Bytes>) -> Self {
        let reply = Self::of(StatusCode::OK, "text/event-stream", Pieces::default());
        // A proxy that gathers an answer before it passes it on would keep the events.
        let unbuffered = HeaderName::from_static("x-accel-buffering");
        Self { body: Content::Stream(stream), ..reply }.with(unbuffered, "no")
    }

    /// A redirect that is followed with GET (RFC 9110 section 15.4.4).
    pub(crate) fn see_other(url: &str) -> Self {
        Self::empty(StatusCode::SEE_OTHER).with(header::LOCATION, url)
    }

    /// Adds a header; a value that cannot be one is left out.
    pub(crate) fn with(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }
}

/// Why there is no answer of the kind that was asked for.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The engine says no.
    Engine(Error),
    /// The request breaks a rule of HTTP or of this server.
    Request(Refusal),
}

/// A request that is refused for its form.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) message: String,
    /// The methods that would work, for a 405.
    pub(crate) allow: Option<String>,
}

impl Failure {
    /// A refusal with a status that says it all.
    pub(crate) fn request(status: StatusCode, message: impl Into<String>) -> Self {
        Self::Request(Refusal { status, message: message.into(), allow: None })
    }

    /// No such path.
    pub(crate) fn no_such_path() -> Self {
        Self::Engine(Error::not_found("there is nothing at this path"))
    }

    /// A known path, but not with this method.
    pub(crate) fn method(allow: String) -> Self {
        let status = StatusCode::METHOD_NOT_ALLOWED;
        let message = if allow.is_empty() {
            "this method is not allowed anywhere".to_owned()
        } else {
            format!("this path allows {allow}")
        };
        Self::Request(Refusal { status, message, allow: Some(allow) })
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Engine(error)
    }
}
