//! Executions: one row per run of an action.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;

use crate::{
    error::ErrorKind,
    id::{AppId, ConnectionId, ExecutionId, KeyId},
    name::{ActionName, AgentId, OwnerId, UserId, Version},
    record::Sealed,
};

/// Where a run stands.
///
/// ```
/// use skill_core::record::execution::{Event, State, transition};
/// assert_eq!(transition(State::Queued, Event::Start), Some(State::Running));
/// assert_eq!(transition(State::Success, Event::Fail), None);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Waits for a worker.
    Queued,
    /// Somebody works on it.
    Running,
    /// Came out of a backup before it ended: what became of it since is not known here. Nothing is
    /// done for it until somebody releases or cancels it.
    Held,
    /// Ended well.
    Success,
    /// Ended in an error.
    Error,
    /// Ended because somebody asked.
    Cancelled,
}

impl State {
    /// The name under which the state is kept and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Held => "held",
            Self::Success => "success",
            Self::Error => "error",
            Self::Cancelled => "cancelled",
        }
    }

    /// Reads what [`State::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        let unfinished = [Self::Queued, Self::Running, Self::Held];
        let all = unfinished.into_iter().chain([Self::Success, Self::Error, Self::Cancelled]);
        all.into_iter().find(|state| state.as_str() == text)
    }

    /// Whether nothing can change any more.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Success | Self::Error | Self::Cancelled)
    }
}

/// What can happen to a run.
///
/// ```
/// use skill_core::record::execution::Event;
/// assert_ne!(Event::Start, Event::Cancel);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Event {
    /// A worker took it.
    Start,
    /// It goes back to the queue.
    Requeue,
    /// Its store was restored from a backup.
    Hold,
    /// Somebody says that it may go on.
    Release,
    /// It ended well.
    Succeed,
    /// It ended in an error.
    Fail,
    /// Somebody asked to stop it.
    Cancel,
}

/// The state after `event`; `None` when the event cannot happen in `state`.
pub fn transition(state: State, event: Event) -> Option<State> {
    match (state, event) {
        (State::Queued, Event::Start) => Some(State::Running),
        (State::Running, Event::Requeue) => Some(State::Queued),
        (State::Running, Event::Succeed) => Some(State::Success),
        (State::Queued | State::Running, Event::Fail) => Some(State::Error),
        (State::Queued | State::Running, Event::Hold) => Some(State::Held),
        (State::Held, Event::Release) => Some(State::Queued),
        (State::Queued | State::Running | State::Held, Event::Cancel) => Some(State::Cancelled),
        (State::Queued, Event::Requeue | Event::Succeed | Event::Release)
        | (State::Running, Event::Start | Event::Release)
        | (
            State::Held,
            Event::Start | Event::Requeue | Event::Succeed | Event::Fail | Event::Hold,
        )
        | (State::Success | State::Error | State::Cancelled, _) => None,
    }
}

/// What an action does to the outside.
///
/// ```
/// use skill_core::record::execution::Class;
/// assert!(Class::Read < Class::Destructive);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Changes nothing.
    Read,
    /// Changes something.
    Write,
    /// Removes or overwrites something that cannot be had back.
    Destructive,
}

impl Class {
    /// The name under which the class is declared and kept.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Destructive => "destructive",
        }
    }

    /// Reads what [`Class::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Read, Self::Write, Self::Destructive].into_iter().find(|c| c.as_str() == text)
    }
}

/// Where the time of a run went.
///
/// ```
/// use std::time::Duration;
/// use skill_core::record::execution::Timing;
/// let timing = Timing { total: Duration::from_millis(9), upstream: Duration::from_millis(7) };
/// assert_eq!(timing.ours(), Duration::from_millis(2));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Timing {
    /// From the first stage to the answer.
    pub total: Duration,
    /// Of that, waiting for the upstream.
    pub upstream: Duration,
}

impl Timing {
    /// The engine's own part.
    pub fn ours(self) -> Duration {
        self.total.saturating_sub(self.upstream)
    }
}

/// In which way a run was asked for.
///
/// ```
/// use skill_core::record::execution::Trigger;
/// assert_eq!(Trigger::parse("webhook"), Some(Trigger::Webhook));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Trigger {
    /// By a request with a key.
    Api,
    /// By a request to an address that somebody made for it.
    Webhook,
    /// By the clock.
    Scheduled,
}

impl Trigger {
    /// Every one of them.
    pub const ALL: [Self; 3] = [Self::Api, Self::Webhook, Self::Scheduled];

    /// The name under which it is kept and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Webhook => "webhook",
            Self::Scheduled => "scheduled",
        }
    }

    /// Reads what [`Trigger::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|trigger| trigger.as_str() == text)
    }
}

/// Whose run it is among an owner's agents, and what began it.
///
/// ```
/// use skill_core::record::execution::{Origin, Trigger};
/// let origin = Origin::new(Trigger::Api);
/// assert!(origin.agent.is_standard() && origin.conversation.is_none());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The agent.
    pub agent: AgentId,
    /// What began it.
    pub trigger: Trigger,
    /// The run that began the conversation; `None` for the one that begins it.
    pub conversation: Option<ExecutionId>,
}

impl Origin {
    /// Returns the beginning of a conversation of the agent that every owner has.
    pub fn new(trigger: Trigger) -> Self {
        Self { agent: AgentId::standard(), trigger, conversation: None }
    }
}

/// One run of an action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Execution {
    /// Its name in the API.
    pub id: ExecutionId,
    /// Whom it belongs to.
    pub owner: OwnerId,
    /// The person it acts for.
    pub user: Option<UserId>,
    /// The key that asked; `None` for the operator and the engine itself.
    pub key: Option<KeyId>,
    /// The action.
    pub action: ActionName,
    /// The version of a skill; endpoints have none.
    pub version: Option<Version>,
    /// The revision of the action that was meant.
    pub revision: Arc<str>,
    /// What the action does to the outside.
    pub class: Class,
    /// The connection it went through.
    pub connection: Option<ConnectionId>,
    /// The app of that connection.
    pub app: Option<AppId>,
    /// The run that asked for this one.
    pub parent: Option<ExecutionId>,
    /// What began it, when it is part of a conversation.
    pub origin: Option<Origin>,
    /// Where it stands.
    pub state: State,
    /// How far it is, in percent: 0 while queued, 100 only when final.
    pub progress: u8,
    /// How often it was sent to the upstream; of a queued run, how often a worker took it.
    pub attempts: u32,
    /// The status of the upstream's answer.
    pub upstream_status: Option<u16>,
    /// Why it ended in an error of ours.
    pub error: Option<ErrorKind>,
    /// Where the time went.
    pub timing: Timing,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it began; a run that never left the queue did not.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

impl Execution {
    /// The run that began the conversation that this one is part of.
    pub fn conversation(&self) -> Option<ExecutionId> {
        self.origin.as_ref().map(|origin| origin.conversation.unwrap_or(self.id))
    }
}

/// A run that ended, and what is kept with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// The run.
    pub execution: Execution,
    /// Its inputs, when they are kept.
    pub input: Option<Sealed>,
    /// Its outcome, when it is kept.
    pub outcome: Option<Sealed>,
    /// What a repeat of the request is given: kept with the idempotency record, if there is one,
    /// and outlives the run.
    pub replay: Option<Sealed>,
}

impl Recorded {
    /// Returns a run of which nothing but the row is kept.
    pub fn bare(execution: Execution) -> Self {
        Self { execution, input: None, outcome: None, replay: None }
    }
}

/// Lets a caller repeat a request without repeating its effect.
///
/// Scope: owner, action and `key`, across dialects and API keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    /// What the caller sent as `Idempotency-Key`.
    pub key: String,
    /// The hash of the action's inputs as parsed JSON.
    pub inputs: [u8; 32],
    /// When the record ends.
    pub expires_at: Timestamp,
}

/// What [`begin`](crate::store::ExecutionStore::begin) found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begun {
    /// Nothing: the run is recorded, durably.
    New,
    /// The same request ended before; this is its sealed outcome.
    Same(ExecutionId, Sealed),
    /// The same request runs at this moment, or its process ended before it did.
    Running(ExecutionId),
    /// The key was used with other inputs.
    Differs,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_final_state_never_changes() {
        for state in [State::Success, State::Error, State::Cancelled] {
            for event in [
                Event::Start,
                Event::Requeue,
                Event::Hold,
                Event::Release,
                Event::Succeed,
                Event::Fail,
                Event::Cancel,
            ] {
                assert_eq!(transition(state, event), None);
            }
        }
    }
}
