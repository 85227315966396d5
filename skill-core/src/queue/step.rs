//! What a step of a run came to, as the journal keeps it.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};

use crate::{
    artifact::Artifact,
    call::{Failure, Outcome, Reply},
    error::{Error, Result},
    executor,
    id::ExecutionId,
    record::execution::Timing,
};

/// What a step came to, as it is sealed. Members and variants are only ever added.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Written {
    /// The value of a step.
    Value(Value),
    /// How a call ended.
    Called(Called),
    /// The error in which a step ended that is no call.
    Failed(Box<RawValue>),
    /// When a sleep ends.
    Sleeps(Timestamp),
    /// Nothing happened, certainly: it may be tried again.
    Open,
    /// The skill gave the step up before it ended.
    GivenUp,
    /// The rest is in an artifact.
    Spilled(Artifact),
}

/// How a call ended.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Called {
    /// The run of its own.
    pub(super) execution: Option<String>,
    /// As outcomes are written.
    pub(super) outcome: Box<RawValue>,
    /// The headers of the answer.
    #[serde(default)]
    pub(super) headers: Vec<(String, String)>,
    /// The position after the steps of the skill that was called.
    #[serde(default)]
    pub(super) next: Option<u32>,
}

/// Whether an answer means that the same call may be made again, later. What must not be made
/// twice is made again only when the service did not take it.
pub(super) fn asks_again(status: StatusCode, is_marked: bool) -> bool {
    match status {
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => true,
        StatusCode::REQUEST_TIMEOUT => !is_marked,
        _ => status.is_server_error() && !is_marked,
    }
}

/// What is recorded of a call. The headers that it does not hold the skill does not see either.
pub(super) fn write(done: Result<Reply>, next: Option<u32>) -> Result<(Result<Reply>, Written)> {
    let (execution, headers, ended) = match &done {
        Ok(reply) => {
            let Reply { status, data, .. } = reply;
            let answer = Outcome::Answer { status: *status, data: data.clone() };
            (Some(reply.execution.to_string()), kept(&reply.headers), answer)
        }
        Err(error) => {
            let execution = error.execution().map(str::to_owned);
            (execution, Vec::new(), Outcome::Failed(Failure::from(error)))
        }
    };
    let done = done.map(|reply| Reply {
        headers: headers.iter().filter_map(|(name, value)| pair(name, value)).collect(),
        ..reply
    });
    let outcome = outcome(&ended)?;
    Ok((done, Written::Called(Called { execution, outcome, headers, next })))
}

fn outcome(ended: &Outcome) -> Result<Box<RawValue>> {
    let text = executor::write_outcome(ended)?;
    serde_json::from_slice(&text).map_err(Error::internal)
}

/// What is recorded of a step that is no call and ended in an error.
pub(super) fn failed(error: &Error) -> Result<Written> {
    outcome(&Outcome::Failed(Failure::from(error))).map(Written::Failed)
}

/// Reads what [`failed`] wrote.
pub(super) fn failure(outcome: &RawValue) -> Result<Failure> {
    match executor::read_outcome(outcome.get())? {
        Outcome::Failed(failure) => Ok(failure),
        Outcome::Answer { .. } => Err(misfit()),
    }
}

/// Reads what [`write()`] wrote.
pub(super) fn read(called: Called) -> Result<Reply> {
    let execution = called.execution.and_then(|id| ExecutionId::parse(&id));
    let headers = called.headers.iter().filter_map(|(name, value)| pair(name, value)).collect();
    match executor::read_outcome(called.outcome.get())? {
        Outcome::Failed(failure) => Err(failure.error()),
        Outcome::Answer { status, data } => Ok(Reply {
            execution: execution.ok_or_else(misfit)?,
            status,
            headers,
            data,
            timing: Timing::default(),
            is_replay: true,
        }),
    }
}

/// The headers that are recorded: text, and no cookies.
fn kept(headers: &HeaderMap) -> Vec<(String, String)> {
    let kept = headers.iter().filter(|(name, _)| *name != header::SET_COOKIE);
    let text = kept.filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
    text.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn pair(name: &str, value: &str) -> Option<(HeaderName, HeaderValue)> {
    Some((HeaderName::try_from(name).ok()?, HeaderValue::try_from(value).ok()?))
}

pub(super) fn misfit() -> Error {
    Error::internal("a recorded step is of another kind than its name says")
}
