//! Calls: what is asked of the engine, and what it answers.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::{Map, Value};

use crate::{
    error::{Detail, Error, ErrorKind, Result},
    id::ExecutionId,
    name::{ActionName, Slug},
    pages::Collect,
    record::execution::Timing,
};

/// A call of one action.
///
/// ```
/// use skill_core::call::CallRequest;
/// let call = CallRequest::new("github", "create_issue")?
///     .param("repo", "acme/webapp")
///     .param("title", "Bug report");
/// assert_eq!(call.action.to_string(), "github/create_issue");
/// # Ok::<(), skill_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct CallRequest {
    /// The action.
    pub action: ActionName,
    /// Its inputs.
    pub params: Map<String, Value>,
    /// The connection, by id or label; `None` takes the only one or the default one.
    pub connection: Option<String>,
    /// Lets the caller repeat the call without repeating its effect: 1 to 255 visible ASCII
    /// characters.
    pub idempotency_key: Option<String>,
    /// How long it may take, when it is another time than the engine's own.
    pub timeout: Option<Duration>,
    /// Whether the history keeps inputs and outcome, sealed and within bounds.
    pub keeps_bodies: bool,
    /// Gathers the pages of a list into one answer, where its endpoint has pages.
    pub collect: Option<Collect>,
    /// What the caller has already: the service may answer 304 to a read.
    pub known: Known,
}

/// What a caller already has of an answer (RFC 9110 section 13.1).
///
/// ```
/// use skill_core::call::Known;
/// assert!(Known::default().is_empty());
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// `If-None-Match`: the `ETag` of what it has.
    pub etag: Option<HeaderValue>,
    /// `If-Modified-Since`: the `Last-Modified` of what it has.
    pub modified: Option<HeaderValue>,
}

impl Known {
    /// Whether it has nothing.
    pub fn is_empty(&self) -> bool {
        self.etag.is_none() && self.modified.is_none()
    }

    /// Asks only for what is newer.
    pub(crate) fn ask(&self, headers: &mut HeaderMap) {
        let conditions = [
            (header::IF_NONE_MATCH, self.etag.as_ref()),
            (header::IF_MODIFIED_SINCE, self.modified.as_ref()),
        ];
        for (name, value) in conditions {
            if let Some(value) = value {
                headers.insert(name, value.clone());
            }
        }
    }
}

impl CallRequest {
    /// Returns a call without inputs.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] when a name is no slug.
    pub fn new(namespace: &str, name: &str) -> Result<Self> {
        let action = ActionName { namespace: Slug::parse(namespace)?, name: Slug::parse(name)? };
        Ok(Self {
            action,
            params: Map::new(),
            connection: None,
            idempotency_key: None,
            timeout: None,
            keeps_bodies: false,
            collect: None,
            known: Known::default(),
        })
    }

    /// Adds an input.
    #[must_use]
    pub fn param(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.params.insert(name.into(), value.into());
        self
    }

    /// Names the connection, by id or label.
    #[must_use]
    pub fn connection(mut self, id_or_label: impl Into<String>) -> Self {
        self.connection = Some(id_or_label.into());
        self
    }

    /// Sets the idempotency key.
    #[must_use]
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.idempotency_key = Some(key.into());
        self
    }

    /// Sets how long the call may take.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Gathers pages.
    #[must_use]
    pub fn collect(mut self, collect: Collect) -> Self {
        self.collect = Some(collect);
        self
    }

    /// Lets the history keep inputs and outcome.
    #[must_use]
    pub fn keeping_bodies(mut self) -> Self {
        self.keeps_bodies = true;
        self
    }
}

/// The body of a service's answer.
///
/// ```
/// use skill_core::call::Data;
/// assert_eq!(Data::Empty.json()?, serde_json::Value::Null);
/// # Ok::<(), skill_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data {
    /// There was none.
    Empty,
    /// JSON, byte for byte as it came. It was checked: it can stand inside other JSON.
    Json(Bytes),
    /// Text that is no JSON.
    Text(String),
    /// Anything else.
    Binary {
        /// What the service called it.
        content_type: String,
        /// The bytes.
        bytes: Bytes,
    },
}

impl Data {
    /// The JSON as a value; text becomes a string, an empty body null.
    ///
    /// # Errors
    /// [`ErrorKind::UpstreamInvalid`] for binary data, and for
    /// numbers that no value can hold.
    pub fn json(&self) -> Result<Value> {
        let unreadable = || {
            let message = "expected JSON from the service";
            Error::new(ErrorKind::UpstreamInvalid, message)
        };
        match self {
            Self::Empty => Ok(Value::Null),
            Self::Json(bytes) => serde_json::from_slice(bytes).map_err(|_| unreadable()),
            Self::Text(text) => Ok(Value::String(text.clone())),
            Self::Binary { .. } => Err(unreadable()),
        }
    }
}

/// What a service answered.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The run that this is the outcome of.
    pub execution: ExecutionId,
    /// The status of the service's answer.
    pub status: StatusCode,
    /// The headers of the service's answer; empty for a replay.
    pub headers: HeaderMap,
    /// The body of the service's answer.
    pub data: Data,
    /// Where the time went.
    pub timing: Timing,
    /// Whether this is the answer to an earlier call with the same idempotency key.
    pub is_replay: bool,
}

/// How a run ended, as far as it is kept.
///
/// ```
/// use http::StatusCode;
/// use skill_core::call::{Data, Outcome};
/// let outcome = Outcome::Answer { status: StatusCode::OK, data: Data::Json("{}".into()) };
/// assert!(outcome.is_good());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// A service answered, whatever it said; the value of a skill stands under 200.
    Answer {
        /// The status of the answer.
        status: StatusCode,
        /// Its body.
        data: Data,
    },
    /// It ended in an error of ours.
    Failed(Failure),
}

impl Outcome {
    /// Whether the action did what was asked.
    pub fn is_good(&self) -> bool {
        matches!(self, Self::Answer { status, .. } if status.as_u16() < 400)
    }
}

/// An error as it is kept with its run.
///
/// ```
/// use skill_core::{Error, ErrorKind, call::Failure};
/// let failure = Failure::from(&Error::new(ErrorKind::Timeout, "too late"));
/// assert_eq!(failure.error().kind(), ErrorKind::Timeout);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What the caller can do about it.
    pub kind: ErrorKind,
    /// The message for the caller.
    pub message: String,
    /// What is wrong, field by field.
    pub details: Vec<Detail>,
    /// The page where a person can mend it.
    pub action_url: Option<String>,
}

impl Failure {
    /// The failure as an error, to be rendered like any other.
    pub fn error(&self) -> Error {
        let error = Error::new(self.kind, self.message.clone()).details(self.details.clone());
        match &self.action_url {
            Some(url) => error.action_url(url.clone()),
            None => error,
        }
    }
}

impl From<&Error> for Failure {
    fn from(error: &Error) -> Self {
        Self {
            kind: error.kind(),
            message: error.message().to_owned(),
            details: error.field_details().to_vec(),
            action_url: error.action_page().map(str::to_owned),
        }
    }
}
