//! A transport that answers as a test says and remembers every request.

use std::{
    fmt,
    future::pending,
    pin::Pin,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use serde_json::Value;
use skill_core::{
    Error, ErrorKind, Result,
    clock::Deadline,
    error::Retry,
    transport::{Body, Outgoing, Payload, Response, Transport},
};
use url::Url;

/// A request as it went out.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Sent {
    /// Host and path.
    pub(crate) fn place(&self) -> String {
        format!("{}{}", self.url.host_str().unwrap(), self.url.path())
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// One field of a form.
    pub(crate) fn field(&self, name: &str) -> Option<String> {
        let mut fields = url::form_urlencoded::parse(&self.body);
        fields.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    }
}

type Answering = Pin<Box<dyn Future<Output = Result<Response>> + Send>>;
type Plot = Arc<dyn Fn(Sent) -> Answering + Send + Sync>;

/// Answers as its plot says, and keeps to the deadline as a transport must.
pub(crate) struct Script {
    plot: Mutex<Plot>,
    sent: Mutex<Vec<Sent>>,
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Script")
    }
}

impl Script {
    /// Answers `{"login":"ada"}` to everything until it is told otherwise.
    pub(crate) fn new() -> Arc<Self> {
        let script = Self { plot: Mutex::new(plot(ready(|_| me()))), sent: Mutex::default() };
        Arc::new(script)
    }

    /// Answers as `answer` says from here on.
    pub(crate) fn on(&self, answer: impl Fn(&Sent) -> Result<Response> + Send + Sync + 'static) {
        self.play(ready(answer));
    }

    /// Answers as soon as the futures of `answer` are ready.
    pub(crate) fn play<F>(&self, answer: impl Fn(Sent) -> F + Send + Sync + 'static)
    where
        F: Future<Output = Result<Response>> + Send + 'static,
    {
        *self.plot.lock().unwrap() = plot(answer);
    }

    /// Gives these answers in turn; more requests are a failure of the test.
    pub(crate) fn queue(&self, answers: impl IntoIterator<Item = Result<Response>>) {
        let mut answers = answers.into_iter().collect::<Vec<_>>();
        answers.reverse();
        let answers = Mutex::new(answers);
        self.on(move |sent| {
            let next = answers.lock().unwrap().pop();
            next.unwrap_or_else(|| panic!("nobody expected {} {}", sent.method, sent.url))
        });
    }

    /// Never answers.
    pub(crate) fn hang(&self) {
        self.play(|_| pending());
    }

    /// Everything that went out so far.
    pub(crate) fn sent(&self) -> Vec<Sent> {
        self.sent.lock().unwrap().clone()
    }

    /// How many requests went to `place` (host and path).
    pub(crate) fn count(&self, place: &str) -> usize {
        self.sent().iter().filter(|sent| sent.place() == place).count()
    }

    /// Forgets what went out.
    pub(crate) fn forget(&self) {
        self.sent.lock().unwrap().clear();
    }
}

fn plot<F>(answer: impl Fn(Sent) -> F + Send + Sync + 'static) -> Plot
where
    F: Future<Output = Result<Response>> + Send + 'static,
{
    Arc::new(move |sent| Box::pin(answer(sent)))
}

fn ready(
    answer: impl Fn(&Sent) -> Result<Response>,
) -> impl Fn(Sent) -> std::future::Ready<Result<Response>> {
    move |sent| std::future::ready(answer(&sent))
}

#[async_trait::async_trait]
impl Transport for Script {
    async fn send(&self, request: Outgoing, deadline: Deadline) -> Result<Response> {
        let body = match request.body {
            Payload::Empty => Bytes::new(),
            Payload::Bytes(bytes) => bytes,
            Payload::Stream(_) => panic!("no test streams"),
        };
        let Outgoing { method, url, headers, .. } = request;
        let sent = Sent { method, url, headers, body };
        self.sent.lock().unwrap().push(sent.clone());
        let plot = self.plot.lock().unwrap().clone();
        deadline.run(plot(sent)).await.unwrap_or_else(|| Err(late()))
    }
}

/// The answer of the verification call.
pub(crate) fn me() -> Result<Response> {
    json(200, r#"{"login":"ada"}"#)
}

/// An answer of JSON.
pub(crate) fn json(status: u16, body: &str) -> Result<Response> {
    typed(status, "application/json", body.as_bytes())
}

/// An answer of some type.
pub(crate) fn typed(status: u16, kind: &'static str, body: &[u8]) -> Result<Response> {
    let body = Body::from(Bytes::copy_from_slice(body));
    let mut response = Response::new(StatusCode::from_u16(status).unwrap(), body);
    response.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    Ok(response)
}

/// The answer with one more header.
pub(crate) fn with(answer: Result<Response>, name: &'static str, value: &str) -> Result<Response> {
    let mut answer = answer.unwrap();
    let value = HeaderValue::from_str(value).unwrap();
    answer.headers.insert(HeaderName::from_static(name), value);
    Ok(answer)
}

/// Nothing was sent.
pub(crate) fn unreachable() -> Error {
    Error::new(ErrorKind::UpstreamUnreachable, "the service cannot be reached").retry(Retry::Safe)
}

/// The connection was cut after the request.
pub(crate) fn cut() -> Error {
    let message = "the connection to the service was cut";
    Error::new(ErrorKind::UpstreamUnreachable, message).retry(Retry::IfIdempotent)
}

/// The deadline passed after the request.
pub(crate) fn late() -> Error {
    let message = "the service did not answer before the deadline";
    Error::new(ErrorKind::Timeout, message).retry(Retry::IfIdempotent)
}
