//! What a run looks like from outside.

use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use serde_json::Value;

use crate::{
    call::{CallRequest, Outcome, Reply},
    error::{Error, ErrorKind, Result},
    id::ExecutionId,
    name::Version,
    record::execution::{Execution, Origin, State},
};

/// An action that is to be run.
///
/// ```
/// use std::time::Duration;
/// use skill_core::{call::CallRequest, queue::Submission};
/// let call = CallRequest::new("github", "create_issue")?.param("title", "Bug report");
/// let later = Submission { delay: Some(Duration::from_secs(60)), ..Submission::new(call) };
/// assert_eq!(later.priority, 0);
/// # Ok::<(), skill_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Submission {
    /// The action and its inputs. Its `timeout` bounds each attempt.
    pub call: CallRequest,
    /// The version of a skill; `None` takes the newest.
    pub version: Option<Version>,
    /// Higher ones go first, among the runs of one owner in one integration or category.
    pub priority: i16,
    /// Not before this long from now, at most 30 days.
    pub delay: Option<Duration>,
    /// It ends in an error when it has not ended this long after it may begin.
    pub deadline: Option<Duration>,
    /// Which agent acts and what began it; the run is then a conversation, or a part of one, and
    /// that one's agent acts. `None` for what is no conversation.
    pub origin: Option<Origin>,
}

impl Submission {
    /// Returns a submission of `call` that begins as soon as it can, and is no conversation.
    pub fn new(call: CallRequest) -> Self {
        Self { call, version: None, priority: 0, delay: None, deadline: None, origin: None }
    }
}

/// A run that was submitted: it is on disk.
///
/// ```
/// use skill_core::queue::Submitted;
/// fn say(it: &Submitted) -> &str { if it.is_replay { "was there before" } else { "is new" } }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Submitted {
    /// The run.
    pub id: ExecutionId,
    /// Whether an earlier submission with the same idempotency key made it.
    pub is_replay: bool,
}

/// What becomes of an invocation whose time is up before its run has ended.
///
/// ```
/// assert_ne!(skill_core::queue::OnDeadline::Abort, skill_core::queue::OnDeadline::Continue);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnDeadline {
    /// The run is stopped and ends in [`Timeout`](crate::ErrorKind::Timeout).
    Abort,
    /// The run goes on by itself.
    Continue,
}

/// The outcome of an invocation.
///
/// ```
/// use skill_core::queue::Invoked;
/// fn is_over(it: &Invoked) -> bool { matches!(it, Invoked::Ended(_)) }
/// ```
#[derive(Debug, Clone, PartialEq)]
pub enum Invoked {
    /// The run has ended, well or not.
    Ended(Box<Run>),
    /// It goes on by itself.
    Continues(ExecutionId),
}

/// A run with what is kept of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// The run.
    pub execution: Execution,
    /// How it ended. `None` while it has not, after a cancellation, for a result that is too large
    /// to be held here (then there are `result_bytes`) and for a call that keeps no bodies.
    pub outcome: Option<Outcome>,
    /// Its inputs, when they are kept.
    pub input: Option<Value>,
    /// How long its result is, in bytes, when it has one that is kept.
    pub result_bytes: Option<u64>,
    /// Whether this is the outcome of an earlier request with the same idempotency key.
    pub is_replay: bool,
}

impl Run {
    /// The outcome as the answer to a call.
    ///
    /// # Errors
    /// What the run ended in; [`ErrorKind::Conflict`] when it was cancelled or has not ended, and
    /// [`ErrorKind::TooLarge`] when its result is too large to be held here.
    pub fn reply(self) -> Result<Reply> {
        let Self { execution, outcome, is_replay, .. } = self;
        let (id, timing) = (execution.id, execution.timing);
        match outcome {
            Some(Outcome::Answer { status, data }) => {
                let headers = HeaderMap::new();
                Ok(Reply { execution: id, status, headers, data, timing, is_replay })
            }
            Some(Outcome::Failed(failure)) => Err(failure.error().of_run(id)),
            None if execution.state == State::Success => {
                Err(Error::new(ErrorKind::TooLarge, "the result is too large: page it").of_run(id))
            }
            None => {
                let message = format!("the run is `{}`", execution.state.as_str());
                Err(Error::new(ErrorKind::Conflict, message).of_run(id))
            }
        }
    }
}

/// A part of a result.
///
/// ```
/// let page = skill_core::queue::Page { bytes: "{}".into(), total: 2 };
/// assert_eq!(page.bytes.len() as u64, page.total);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The bytes.
    pub bytes: Bytes,
    /// How many there are in all.
    pub total: u64,
}
