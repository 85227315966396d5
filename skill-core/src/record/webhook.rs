//! Webhooks: who wants to be told about which events, and where.

use jiff::Timestamp;

use crate::{
    id::WebhookId,
    name::{OwnerId, UserId},
    record::Sealed,
};

/// What somebody may want to be told about.
///
/// ```
/// use skill_core::record::webhook::Event;
/// assert_eq!(Event::parse("execution.failed"), Some(Event::ExecutionFailed));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Event {
    /// A run ended well.
    ExecutionCompleted,
    /// A run ended in an error.
    ExecutionFailed,
    /// An account was connected.
    ConnectionCreated,
    /// A connection's grant ended for good.
    ConnectionExpired,
    /// A connection was removed.
    ConnectionDeleted,
}

impl Event {
    /// Every event.
    pub const ALL: [Self; 5] = [
        Self::ExecutionCompleted,
        Self::ExecutionFailed,
        Self::ConnectionCreated,
        Self::ConnectionExpired,
        Self::ConnectionDeleted,
    ];

    /// The name under which the event is asked for, kept and sent.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ExecutionCompleted => "execution.completed",
            Self::ExecutionFailed => "execution.failed",
            Self::ConnectionCreated => "connection.created",
            Self::ConnectionExpired => "connection.expired",
            Self::ConnectionDeleted => "connection.deleted",
        }
    }

    /// Reads what [`Event::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|event| event.as_str() == text)
    }
}

/// A wish to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// Its name in the API.
    pub id: WebhookId,
    /// Whose events.
    pub owner: OwnerId,
    /// Events of this user only; `None` is everybody's.
    pub user: Option<UserId>,
    /// Where to say so.
    pub url: String,
    /// About what: at least one, none twice.
    pub events: Vec<Event>,
    /// About runs of these tools only; empty is all of them.
    pub tool_ids: Vec<String>,
    /// What every message is signed with.
    pub secret: Sealed,
    /// When it was made.
    pub created_at: Timestamp,
}
