//! Answers of the service: JSON, pages, redirects, and the headers they carry.

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, LOCATION};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};
use url::Url;

/// An answer whose body is complete.
pub(super) type Reply = Response<Full<Bytes>>;

/// Returns an answer without a body.
pub(super) fn empty(status: StatusCode) -> Reply {
    let mut reply = Response::new(Full::default());
    *reply.status_mut() = status;
    reply
}

/// Returns an answer with a JSON body.
pub(super) fn json(status: StatusCode, value: &Value) -> Reply {
    body(status, "application/json; charset=utf-8", value.to_string())
}

/// Returns an answer that only says something: `{"message": ..}`.
pub(super) fn message(status: StatusCode, text: &str) -> Reply {
    json(status, &json!({ "message": text }))
}

/// Returns a page, which nobody may keep.
pub(super) fn html(status: StatusCode, page: String) -> Reply {
    no_store(body(status, "text/html; charset=utf-8", page))
}

/// Returns a redirect that the browser follows with GET, whatever it sent.
pub(super) fn see_other(location: &Url) -> Reply {
    no_store(with(empty(StatusCode::SEE_OTHER), LOCATION, location.as_str()))
}

/// Returns the refusal of a method, with those that are possible.
pub(super) fn not_allowed(methods: &str) -> Reply {
    with(message(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed"), ALLOW, methods)
}

/// Returns `reply` for this one reader: no cache keeps it.
pub(super) fn no_store(reply: Reply) -> Reply {
    with(reply, CACHE_CONTROL, "no-store")
}

/// Returns `reply` with a header; a value that HTTP cannot carry is left out.
pub(super) fn with(mut reply: Reply, name: HeaderName, value: &str) -> Reply {
    if let Ok(value) = HeaderValue::from_str(value) {
        reply.headers_mut().insert(name, value);
    }
    reply
}

/// Returns an answer with a body of a media type.
fn body(status: StatusCode, media_type: &'static str, text: String) -> Reply {
    let mut reply = Response::new(Full::from(text));
    *reply.status_mut() = status;
    with(reply, CONTENT_TYPE, media_type)
}
