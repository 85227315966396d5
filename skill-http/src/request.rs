//! Requests after HTTP: reading a body within its bounds, and what it says, strictly.

use std::{collections::BTreeMap, net::IpAddr, sync::Mutex, time::Duration};

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream};
use http::{HeaderMap, Method, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::{Map, Value};
use skill_core::{
    Error, ErrorKind,
    clock::Deadline,
    error::Detail,
    json,
    transport::{Chunks, Payload},
};
use tokio::time::Instant;
use url::form_urlencoded;

use crate::{reply::Failure, server::Peer};

/// A body must arrive at least this fast, after a moment of grace.
const SLOWEST_BYTES_PER_S: u64 = 1024;
const GRACE: Duration = Duration::from_secs(10);
/// Bodies up to this size are held while they are passed on, so that they can be sent again.
const HELD: usize = 256 * 1024;

/// Where a body comes from.
pub(crate) enum Source {
    /// The network.
    Wire(Incoming, Peer),
    /// This process.
    Whole(Bytes),
}

/// A request whose body has not been read.
pub(crate) struct Inbound {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) headers: HeaderMap,
    pub(crate) address: Option<IpAddr>,
    pub(crate) body: Source,
}

/// Bounds of a body.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BodyLimits {
    pub(crate) bytes: usize,
    pub(crate) timeout: Duration,
    /// The most bytes of a body that is passed on as it comes.
    pub(crate) streamed: u64,
}

/// A body that is passed on, and its length when that is known.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    payload: Payload,
    length: Option<u64>,
}

impl From<Sent> for (Payload, Option<u64>) {
    fn from(sent: Sent) -> Self {
        (sent.payload, sent.length)
    }
}

impl From<Bytes> for Sent {
    fn from(bytes: Bytes) -> Self {
        let payload = if bytes.is_empty() { Payload::Empty } else { Payload::Bytes(bytes) };
        Self { payload, length: None }
    }
}

impl Source {
    /// Opens the body to be passed on. A short one is read here, so that it can be sent again.
    pub(crate) async fn open(self, limits: BodyLimits) -> Result<Sent, Failure> {
        let (incoming, peer) = match self {
            Self::Whole(bytes) => return Ok(bytes.into()),
            Self::Wire(incoming, peer) => (incoming, peer),
        };
        let length = http_body::Body::size_hint(&incoming).exact();
        if http_body::Body::is_end_stream(&incoming) {
            return Ok(Sent::default());
        }
        let most = HELD.min(limits.bytes);
        match length {
            Some(length) if length > limits.streamed => Err(too_large(limits.streamed)),
            Some(length) if length <= most as u64 => {
                Self::Wire(incoming, peer).read(limits).await.map(Sent::from)
            }
            Some(_) | None => {
                let chunks = Mutex::new(chunks(incoming, peer, limits));
                Ok(Sent { payload: Payload::Stream(chunks), length })
            }
        }
    }

    /// Reads the whole body.
    pub(crate) async fn read(self, limits: BodyLimits) -> Result<Bytes, Failure> {
        let (mut incoming, peer) = match self {
            Self::Whole(bytes) if bytes.len() <= limits.bytes => return Ok(bytes),
            Self::Whole(_) => return Err(too_large(limits.bytes as u64)),
            Self::Wire(incoming, peer) => (incoming, peer),
        };
        let hint = http_body::Body::size_hint(&incoming);
        if hint.lower() > limits.bytes as u64 {
            return Err(too_large(limits.bytes as u64));
        }
        let (start, deadline) = (Instant::now(), Deadline::after(limits.timeout));
        let mut whole = BytesMut::with_capacity(usize::try_from(hint.lower()).unwrap_or(0));
        loop {
            // A peer that sends a byte now and then is cut when it falls behind the slowest rate.
            let earned = Duration::from_millis(whole.len() as u64 * 1000 / SLOWEST_BYTES_PER_S);
            let left = (GRACE + earned).saturating_sub(start.elapsed());
            let frame = deadline.within(left).run(incoming.frame()).await.ok_or_else(too_slow)?;
            match frame {
                None => return Ok(whole.freeze()),
                Some(Err(_)) => return Err(cut(&peer)),
                Some(Ok(frame)) => {
                    let Ok(data) = frame.into_data() else { continue };
                    if whole.len() + data.len() > limits.bytes {
                        return Err(too_large(limits.bytes as u64));
                    }
                    whole.extend_from_slice(&data);
                }
            }
        }
    }
}

/// The chunks of a body as they come, within its bounds.
fn chunks(incoming: Incoming, peer: Peer, limits: BodyLimits) -> Chunks {
    let begun = Some((incoming, peer, 0));
    let chunks = stream::unfold(begun, move |under_way| async move {
        let (mut incoming, peer, mut count) = under_way?;
        loop {
            let frame = Deadline::after(limits.timeout).run(incoming.frame()).await;
            let error = match frame {
                Some(None) => return None,
                Some(Some(Ok(frame))) => {
                    let Ok(data) = frame.into_data() else { continue };
                    count += data.len() as u64;
                    if count <= limits.streamed {
                        return Some((Ok(data), Some((incoming, peer, count))));
                    }
                    Error::new(ErrorKind::TooLarge, most(limits.streamed))
                }
                Some(Some(Err(_))) => Error::invalid("the body of the request was cut short"),
                None => Error::invalid("the body of the request did not go on in time"),
            };
            return Some((Err(error), None));
        }
    });
    chunks.boxed()
}

fn most(bytes: u64) -> String {
    format!("expected a body of at most {bytes} bytes")
}

fn too_large(bytes: u64) -> Failure {
    Failure::request(StatusCode::PAYLOAD_TOO_LARGE, most(bytes))
}

fn too_slow() -> Failure {
    Failure::request(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time")
}

fn cut(peer: &Peer) -> Failure {
    let message = peer.fault().map_or_else(|| "the body was cut short".into(), |f| f.to_string());
    Failure::request(StatusCode::BAD_REQUEST, message)
}

/// Checks that a body is JSON by its headers; none is fine.
pub(crate) fn check_content_type(headers: &HeaderMap) -> Result<(), Failure> {
    let unsupported = |message| Failure::request(StatusCode::UNSUPPORTED_MEDIA_TYPE, message);
    if headers.contains_key(header::CONTENT_ENCODING) {
        return Err(unsupported("expected a body without a content encoding"));
    }
    let mut kinds = headers.get_all(header::CONTENT_TYPE).iter();
    let Some(kind) = kinds.next() else { return Ok(()) };
    let expected = || unsupported("expected `Content-Type: application/json` in UTF-8");
    let text = kind.to_str().map_err(|_| expected())?.to_ascii_lowercase();
    let mut parts = text.split(';').map(str::trim);
    let is_json = parts.next() == Some("application/json");
    let is_utf8 = parts.all(|part| match part.split_once('=') {
        Some(("charset", name)) => name.trim_matches('"') == "utf-8",
        Some(_) | None => true,
    });
    if is_json && is_utf8 && kinds.next().is_none() { Ok(()) } else { Err(expected()) }
}

/// Reads a body as a JSON object; an empty one is `{}`.
pub(crate) fn object(body: &[u8], limits: &json::Limits) -> Result<Map<String, Value>, Error> {
    if body.is_empty() {
        return Ok(Map::new());
    }
    json::check(body, limits)
        .map_err(|problem| Error::invalid(format!("the body cannot be used: {problem}")))?;
    match serde_json::from_slice(body) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(other) => {
            let got = kind_of(&other);
            Err(Error::invalid(format!("the body cannot be used: expected an object, got {got}")))
        }
        Err(_) => Err(Error::invalid("the body cannot be used: a number is out of range")),
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// A member that is true or false, or an object that says more.
#[derive(Debug)]
pub(crate) enum Either {
    Flag(bool),
    Object(Map<String, Value>),
}

/// The members of a body while they are taken out. What nobody takes is refused.
#[derive(Debug)]
pub(crate) struct Members {
    left: Map<String, Value>,
    taken: Vec<&'static str>,
    problems: Vec<Detail>,
}

impl Members {
    pub(crate) fn new(members: Map<String, Value>) -> Self {
        Self { left: members, taken: Vec::new(), problems: Vec::new() }
    }

    fn take<T>(
        &mut self,
        name: &'static str,
        expected: &str,
        read: impl FnOnce(Value) -> Result<T, Value>,
    ) -> Option<T> {
        self.taken.push(name);
        match self.left.remove(name).filter(|value| !value.is_null()).map(read)? {
            Ok(read) => Some(read),
            Err(value) => {
                let issue = format!("expected {expected}, got {}", kind_of(&value));
                self.problems.push(Detail::new(name, issue));
                None
            }
        }
    }

    /// A string.
    pub(crate) fn text(&mut self, name: &'static str) -> Option<String> {
        self.take(name, "a string", |value| {
            if let Value::String(text) = value { Ok(text) } else { Err(value) }
        })
    }

    /// A string that must be there.
    pub(crate) fn required_text(&mut self, name: &'static str) -> String {
        let before = self.problems.len();
        let text = self.text(name);
        if text.is_none() && self.problems.len() == before {
            self.problems.push(Detail::new(name, "expected a string, got nothing"));
        }
        text.unwrap_or_default()
    }

    /// A list of texts, written as a list.
    pub(crate) fn list(&mut self, name: &'static str) -> Option<Vec<String>> {
        self.take(name, "a list of strings", |value| {
            let items = value.as_array().map(|items| {
                items.iter().map(|item| item.as_str().map(str::to_owned)).collect::<Option<_>>()
            });
            items.flatten().ok_or(value)
        })
    }

    /// A list of strings, or one string.
    pub(crate) fn texts(&mut self, name: &'static str) -> Option<Vec<String>> {
        self.take(name, "a list of strings", |value| {
            let text = |value: &Value| value.as_str().map(str::to_owned);
            let texts = if let Value::Array(items) = &value {
                items.iter().map(text).collect()
            } else {
                text(&value).map(|text| vec![text])
            };
            texts.ok_or(value)
        })
    }

    /// A whole number that is not negative.
    pub(crate) fn count(&mut self, name: &'static str) -> Option<u64> {
        self.take(name, "a whole number from 0 on", |value| value.as_u64().ok_or(value))
    }

    /// Whether the member is there and says that there is nothing.
    pub(crate) fn is_null(&self, name: &str) -> bool {
        self.left.get(name).is_some_and(Value::is_null)
    }

    /// True or false.
    pub(crate) fn flag(&mut self, name: &'static str) -> Option<bool> {
        self.take(name, "true or false", |value| value.as_bool().ok_or(value))
    }

    /// An object.
    pub(crate) fn object(&mut self, name: &'static str) -> Option<Map<String, Value>> {
        self.take(name, "an object", |value| {
            if let Value::Object(members) = value { Ok(members) } else { Err(value) }
        })
    }

    /// True or false, or an object.
    pub(crate) fn either(&mut self, name: &'static str) -> Option<Either> {
        self.take(name, "true, false or an object", |value| match value {
            Value::Bool(flag) => Ok(Either::Flag(flag)),
            Value::Object(members) => Ok(Either::Object(members)),
            other @ (Value::Null | Value::Number(_) | Value::String(_) | Value::Array(_)) => {
                Err(other)
            }
        })
    }

    /// Ends the reading: anything wrong, missing or unknown is refused, all of it at once.
    pub(crate) fn end(mut self) -> Result<(), Error> {
        if !self.left.is_empty() {
            let known = self.taken.join("`, `");
            let details = self.left.keys().take(20).map(|name| {
                let name = name.chars().take(40).collect::<String>();
                Detail::new(name, format!("not known; known are `{known}`"))
            });
            self.problems.extend(details);
        }
        match self.problems.first() {
            None => Ok(()),
            Some(first) => {
                let message = format!("`{}`: {}", first.field, first.issue);
                Err(Error::invalid(message).details(self.problems))
            }
        }
    }
}

/// The query while it is read: names that are asked for stand at most once, others are ignored.
#[derive(Debug)]
pub(crate) struct Query<'a>(&'a str);

impl<'a> Query<'a> {
    pub(crate) fn new(query: &'a str) -> Self {
        Self(query)
    }

    /// A parameter, decoded.
    pub(crate) fn text(&self, name: &str) -> Result<Option<String>, Error> {
        let mut found = form_urlencoded::parse(self.0.as_bytes()).filter(|(key, _)| key == name);
        let first = found.next().map(|(_, value)| value.into_owned());
        if found.next().is_some() {
            let issue = "expected it once, got it twice";
            return Err(Error::invalid(format!("`{name}`: {issue}")).detail(name, issue));
        }
        Ok(first)
    }

    /// Every parameter that stands once, but for those called `except`.
    pub(crate) fn others(&self, except: &[&str]) -> BTreeMap<String, String> {
        let (mut found, mut twice) = (BTreeMap::new(), Vec::new());
        for (name, value) in form_urlencoded::parse(self.0.as_bytes()) {
            if !except.contains(&&*name)
                && found.insert(name.to_string(), value.into_owned()).is_some()
            {
                twice.push(name);
            }
        }
        twice.iter().for_each(|name| drop(found.remove(&**name)));
        found
    }

    /// A parameter that reads as one of the things that are `expected`.
    pub(crate) fn one_of<T>(
        &self,
        name: &str,
        read: impl FnOnce(&str) -> Option<T>,
        expected: &str,
    ) -> Result<Option<T>, Error> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        read(&text).map(Some).ok_or_else(|| {
            let issue = format!("expected {expected}");
            Error::invalid(format!("`{name}`: {issue}")).detail(name, issue)
        })
    }

    /// True or false.
    pub(crate) fn flag(&self, name: &str) -> Result<Option<bool>, Error> {
        self.one_of(name, |text| text.parse().ok(), "true or false")
    }

    /// A whole number within bounds.
    pub(crate) fn number(&self, name: &str, least: u64, most: u64) -> Result<Option<u64>, Error> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|n| digits && (least..=most).contains(n));
        number.map(Some).ok_or_else(|| {
            let issue = format!("expected a whole number from {least} to {most}");
            Error::invalid(format!("`{name}`: {issue}")).detail(name, issue)
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn members(value: Value) -> Members {
        let Value::Object(members) = value else { panic!("an object") };
        Members::new(members)
    }

    #[test]
    fn everything_wrong_with_a_body_is_named_at_once() {
        let mut body = members(json!({"name": 5, "tenant_id": "x"}));
        body.text("name");
        body.required_text("url");
        let error = body.end().unwrap_err();
        let fields = error.field_details().iter().map(|d| d.field.as_str()).collect::<Vec<_>>();
        assert_eq!(fields, ["name", "url", "tenant_id"]);
    }

    #[test]
    fn query_numbers_are_strict() {
        let number = |query: &str| Query::new(query).number("limit", 1, 100);
        assert_eq!(number("limit=7&x=1").unwrap(), Some(7));
        assert_eq!(number("").unwrap(), None);
        for query in
            ["limit=0", "limit=101", "limit=", "limit=-1", "limit=+1", "limit=a", "limit=1&limit=2"]
        {
            assert!(number(query).is_err(), "{query}");
        }
    }

    #[test]
    fn only_json_in_utf_8_without_encoding_is_taken() {
        let check = |pairs: &[(&str, &str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.append(http::HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
            }
            check_content_type(&headers).is_ok()
        };
        assert!(check(&[]) && check(&[("content-type", "application/json; charset=UTF-8")]));
        assert!(!check(&[("content-type", "text/plain")]));
        assert!(!check(&[("content-type", "application/json; charset=latin1")]));
        assert!(!check(&[("content-encoding", "gzip")]));
        assert!(!check(&[
            ("content-type", "application/json"),
            ("content-type", "application/json")
        ]));
    }
}
