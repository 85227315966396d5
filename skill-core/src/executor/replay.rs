//! Idempotency: the first outcome of a request, kept sealed to be given again.

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::send::Answered;
use crate::{
    artifact::Artifact,
    call::{CallRequest, Data, Failure, Outcome, Reply},
    error::{Detail, Error, ErrorKind, Result},
    id::ExecutionId,
    name::UserId,
    record::execution::Timing,
};

/// The longest idempotency key.
const LONGEST: usize = 255;

/// Checks a key: 1 to 255 visible ASCII characters.
pub(crate) fn check_key(key: &str) -> Result<()> {
    let fits = (1..=LONGEST).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic());
    if fits {
        return Ok(());
    }
    Err(Error::invalid("expected an idempotency key of 1 to 255 visible ASCII characters"))
}

/// The hash of inputs as parsed JSON: the order of members does not matter. For whom the call is
/// made is one of them: nobody gets the answer to another person.
pub(crate) fn hash(call: &CallRequest, user: Option<&UserId>) -> Result<[u8; 32]> {
    let inputs = (&call.params, call.connection.as_deref(), user.map(UserId::as_str));
    let inputs = match call.collect {
        None => serde_json::to_vec(&inputs),
        Some(collect) => serde_json::to_vec(&(inputs, collect.pages, collect.items)),
    };
    let inputs = inputs.map_err(Error::internal)?;
    Ok(Sha256::digest(inputs).into())
}

/// What the bytes of an artifact are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Form {
    /// JSON.
    Json,
    /// Text.
    Text,
    /// Anything else, and what the service called it.
    Binary(String),
}

impl Form {
    /// The data of this form.
    pub(crate) fn data(self, bytes: Bytes) -> Result<Data> {
        Ok(match self {
            Self::Json => Data::Json(bytes),
            Self::Text => Data::Text(String::from_utf8(bytes.into()).map_err(Error::internal)?),
            Self::Binary(content_type) => Data::Binary { content_type, bytes },
        })
    }
}

/// An outcome as a record holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kept {
    /// All of it.
    Whole(Outcome),
    /// All but the data, which is elsewhere.
    Spilled(StatusCode, Form, Artifact),
}

/// Writes an outcome whose data is elsewhere, to be sealed.
pub(super) fn write_spilled(status: StatusCode, form: Form, artifact: Artifact) -> Result<Vec<u8>> {
    let written = Written::Spilled { status: status.as_u16(), form, artifact };
    serde_json::to_vec(&written).map_err(Error::internal)
}

/// An outcome as it is sealed. Version 1; members are only ever added.
#[derive(Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
enum Written {
    Json {
        status: u16,
        text: String,
    },
    Text {
        status: u16,
        text: String,
    },
    Binary {
        status: u16,
        content_type: String,
        base64: String,
    },
    Empty {
        status: u16,
    },
    /// The data is an artifact.
    Spilled {
        status: u16,
        form: Form,
        artifact: Artifact,
    },
    Failed {
        kind: String,
        message: String,
        #[serde(default)]
        details: Vec<(String, String)>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        action_url: Option<String>,
    },
}

/// What is kept of an answer or an error.
pub(super) fn outcome(answered: &Result<Answered>) -> Outcome {
    match answered {
        Ok((status, _, data)) => Outcome::Answer { status: *status, data: data.clone() },
        Err(error) => Outcome::Failed(Failure::from(error)),
    }
}

/// Writes an outcome, to be sealed.
pub(crate) fn write(outcome: &Outcome) -> Result<Vec<u8>> {
    let written = match outcome {
        Outcome::Answer { status, data } => {
            let status = status.as_u16();
            match data {
                Data::Empty => Written::Empty { status },
                Data::Json(bytes) => {
                    Written::Json { status, text: String::from_utf8_lossy(bytes).into_owned() }
                }
                Data::Text(text) => Written::Text { status, text: text.clone() },
                Data::Binary { content_type, bytes } => Written::Binary {
                    status,
                    content_type: content_type.clone(),
                    base64: STANDARD.encode(bytes),
                },
            }
        }
        Outcome::Failed(failure) => Written::Failed {
            kind: failure.kind.as_str().to_owned(),
            message: failure.message.clone(),
            details: pairs(&failure.details),
            action_url: failure.action_url.clone(),
        },
    };
    serde_json::to_vec(&written).map_err(Error::internal)
}

fn pairs(details: &[Detail]) -> Vec<(String, String)> {
    details.iter().map(|detail| (detail.field.clone(), detail.issue.clone())).collect()
}

/// Reads what [`write()`] wrote.
pub(crate) fn read(text: &str) -> Result<Outcome> {
    match read_kept(text)? {
        Kept::Whole(outcome) => Ok(outcome),
        Kept::Spilled(..) => Err(unreadable()),
    }
}

/// Reads what [`write()`] or [`write_spilled`] wrote.
pub(super) fn read_kept(text: &str) -> Result<Kept> {
    let status_of = |status| StatusCode::from_u16(status).map_err(|_| unreadable());
    let (status, data) = match serde_json::from_str(text).map_err(|_| unreadable())? {
        Written::Json { status, text } => (status, Data::Json(text.into())),
        Written::Text { status, text } => (status, Data::Text(text)),
        Written::Empty { status } => (status, Data::Empty),
        Written::Binary { status, content_type, base64 } => {
            let bytes = STANDARD.decode(base64).map_err(|_| unreadable())?.into();
            (status, Data::Binary { content_type, bytes })
        }
        Written::Spilled { status, form, artifact } => {
            return Ok(Kept::Spilled(status_of(status)?, form, artifact));
        }
        Written::Failed { kind, message, details, action_url } => {
            let kind = ErrorKind::parse(&kind).unwrap_or(ErrorKind::Internal);
            let details = details.into_iter().map(|(field, issue)| Detail { field, issue });
            let details = details.collect();
            let failure = Failure { kind, message, details, action_url };
            return Ok(Kept::Whole(Outcome::Failed(failure)));
        }
    };
    Ok(Kept::Whole(Outcome::Answer { status: status_of(status)?, data }))
}

fn unreadable() -> Error {
    Error::internal("a recorded outcome cannot be read")
}

/// The answer to a repeat of the call that ended so.
pub(super) fn reply(execution: ExecutionId, outcome: Outcome) -> Result<Reply> {
    match outcome {
        Outcome::Answer { status, data } => {
            let (headers, timing) = (HeaderMap::new(), Timing::default());
            Ok(Reply { execution, status, headers, data, timing, is_replay: true })
        }
        Outcome::Failed(failure) => Err(failure.error().of_run(execution).replayed()),
    }
}
