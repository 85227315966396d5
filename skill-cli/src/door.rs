//! The door to the engine: the socket of the server that holds the data directory, or the data
//! directory itself when nobody holds it. Commands cannot tell the two apart.

use std::{path::PathBuf, time::Duration};

use anyhow::Context as _;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use serde_json::Value;
use skill_core::name::OwnerId;
use tokio::{net::UnixStream, time::Instant};

use crate::{
    assemble::{self, Busy, Parts, Workers},
    config::Config,
    failure::Failure,
    home::Home,
    wire,
};

/// How long somebody else may hold the data directory before a command gives up.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a command waits for an answer when nobody says: longer than the longest call.
const LONGEST: Duration = Duration::from_secs(330);

/// A way to the engine, for one owner.
pub(crate) struct Door {
    way: Way,
    owner: OwnerId,
}

enum Way {
    Socket(PathBuf),
    Local(Box<Parts>),
}

impl Door {
    /// Finds the server, or opens the data directory.
    pub(crate) async fn open(config: &Config, owner: &str) -> anyhow::Result<Self> {
        Self::open_with(config, owner, Workers::Elsewhere).await
    }

    /// Finds the server, or opens the data directory and works on the runs that wait there until
    /// the door is closed.
    pub(crate) async fn open_and_work(config: &Config, owner: &str) -> anyhow::Result<Self> {
        Self::open_with(config, owner, Workers::Here).await
    }

    async fn open_with(config: &Config, owner: &str, workers: Workers) -> anyhow::Result<Self> {
        let owner = OwnerId::parse(owner).map_err(|error| Failure::usage(error.to_string()))?;
        let home = Home::of(config);
        let until = Instant::now() + PATIENCE;
        loop {
            if UnixStream::connect(home.socket()).await.is_ok() {
                return Ok(Self { way: Way::Socket(home.socket()), owner });
            }
            let public_url = assemble::public_url(config, config.listen)?;
            match assemble::parts(config, &home, (public_url, workers)).await {
                Ok(parts) => return Ok(Self { way: Way::Local(Box::new(parts)), owner }),
                // A server that starts or stops, or another command: either is over soon.
                Err(error) if error.is::<Busy>() && Instant::now() < until => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether a server is running, which people and providers can reach.
    pub(crate) fn has_server(&self) -> bool {
        matches!(self.way, Way::Socket(_))
    }

    /// The option that names the owner, unless it is the usual one.
    pub(crate) fn for_owner(&self) -> String {
        let owner = &self.owner;
        if *owner == OwnerId::standard() { String::new() } else { format!(" --owner {owner}") }
    }

    /// Sends a request and returns its answer.
    pub(crate) async fn send(&self, ask: Ask) -> anyhow::Result<Answer> {
        let limit = ask.limit.unwrap_or(LONGEST);
        let request = ask.request(&self.owner)?;
        let answer = match &self.way {
            Way::Socket(path) => {
                let stream = UnixStream::connect(path).await.context("the server has gone")?;
                wire::exchange(stream, request, limit).await?
            }
            Way::Local(parts) => {
                let answer = tokio::time::timeout(limit, parts.server.operator(request)).await;
                answer.map_err(|_| wire::late(limit))?
            }
        };
        Ok(Answer(answer))
    }

    /// Leaves, once what is under way in this process has been written.
    pub(crate) async fn close(self) {
        if let Way::Local(parts) = self.way {
            parts.engine.stop().await;
        }
    }
}

/// A request.
#[derive(Clone)]
pub(crate) struct Ask {
    method: Method,
    path: String,
    body: Option<Value>,
    headers: Vec<(&'static str, String)>,
    limit: Option<Duration>,
}

impl Ask {
    /// Returns a request without a body.
    pub(crate) fn new(method: Method, path: impl Into<String>) -> Self {
        Self { method, path: path.into(), body: None, headers: Vec::new(), limit: None }
    }

    /// Adds a body.
    pub(crate) fn body(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }

    /// Adds a header, if there is a value for it.
    pub(crate) fn header(mut self, name: &'static str, value: Option<String>) -> Self {
        self.headers.extend(value.map(|value| (name, value)));
        self
    }

    /// Waits only so long for the answer.
    pub(crate) fn limit(mut self, limit: Option<Duration>) -> Self {
        self.limit = limit;
        self
    }

    fn request(self, owner: &OwnerId) -> anyhow::Result<Request<Bytes>> {
        let mut request = Request::builder()
            .method(self.method)
            .uri(self.path)
            .header(header::HOST, "localhost")
            .header("skill-owner", owner.as_str());
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        let body = match self.body {
            None => Bytes::new(),
            Some(body) => {
                request = request.header(header::CONTENT_TYPE, "application/json");
                Bytes::from(body.to_string())
            }
        };
        request
            .header(header::CONTENT_LENGTH, body.len())
            .body(body)
            .map_err(|_| Failure::usage("a value holds a character that it cannot hold").into())
    }
}

/// An answer.
pub(crate) struct Answer(Response<Bytes>);

impl Answer {
    /// The body's text, if the request succeeded.
    pub(crate) fn text(&self) -> Result<&str, Failure> {
        if self.0.status().is_success() {
            let text = std::str::from_utf8(self.0.body());
            return text.map_err(|_| Failure::new("expected a text as the answer"));
        }
        Err(self.failure())
    }

    /// The text of a call's answer: what the service said, whatever its status; see the setting
    /// `mirror_status`.
    pub(crate) fn envelope(&self) -> Result<&str, Failure> {
        let text = std::str::from_utf8(self.0.body()).unwrap_or_default();
        let is_envelope = serde_json::from_str::<Value>(text)
            .is_ok_and(|body| body.get("status").is_some_and(Value::is_number));
        if is_envelope { Ok(text) } else { self.text() }
    }

    /// The body, if the request succeeded; nothing is `null`.
    pub(crate) fn json(&self) -> Result<Value, Failure> {
        let text = self.text()?;
        if text.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(text).map_err(|_| Failure::new("expected JSON as the answer"))
    }

    /// Whether the engine cannot do it as it is set up.
    pub(crate) fn is_unavailable(&self) -> bool {
        self.0.status() == StatusCode::SERVICE_UNAVAILABLE
    }

    /// What the engine says about a request that did not succeed.
    fn failure(&self) -> Failure {
        let status = self.0.status();
        let body = serde_json::from_slice::<Value>(self.0.body()).unwrap_or_default();
        // The dialects differ: one has an object as its error, the others a code beside it.
        let said = body.get("error").filter(|error| error.is_object()).unwrap_or(&body);
        let message = said.get("message").and_then(Value::as_str);
        let message = message.map_or_else(|| format!("the answer was {status}"), Into::into);
        let failure = match status {
            StatusCode::BAD_REQUEST => Failure::usage(message),
            _ => Failure::new(message),
        };
        explained(failure, said)
    }
}

/// Adds the details of an error, and what to do about it.
pub(crate) fn explained(mut failure: Failure, said: &Value) -> Failure {
    let mut url = said.get("action_url");
    match said.get("details") {
        Some(Value::Array(details)) => {
            for detail in details {
                let member = |name| crate::output::member(detail, name);
                failure = failure.detail(format!("{}: {}", member("field"), member("issue")));
            }
        }
        Some(Value::Object(details)) => {
            url = url.or_else(|| details.get("action_url"));
            for (field, _) in details.iter().filter(|(field, _)| *field != "action_url") {
                let issue = crate::output::member(&said["details"], field);
                failure = failure.detail(format!("{field}: {issue}"));
            }
        }
        _ => {}
    }
    match (url.and_then(Value::as_str), said.get("retry_after")) {
        (Some(url), _) => failure.hint(format!("open {url} while `skill serve` runs")),
        (None, Some(after)) => failure.hint(format!("try again in {after} s")),
        (None, None) => failure,
    }
}

/// Text as one segment of a path.
pub(crate) fn segment(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC)
        .to_string()
        .replace("%2D", "-")
        .replace("%5F", "_")
}
