//! Audit: who did what on whose behalf. Append-only, and apart from the history that is pruned.

use jiff::Timestamp;

use crate::{id::KeyId, name::OwnerId};

/// Who acted.
///
/// ```
/// assert_eq!(skill_core::record::audit::Actor::Operator.to_string(), "operator");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Actor {
    /// Whoever held this key.
    Key(KeyId),
    /// Whoever may read the data directory.
    Operator,
    /// A person in a browser who held a connect link.
    Browser,
    /// The engine itself.
    System,
}

impl std::fmt::Display for Actor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Key(id) => id.fmt(f),
            Self::Operator => f.write_str("operator"),
            Self::Browser => f.write_str("browser"),
            Self::System => f.write_str("system"),
        }
    }
}

impl Actor {
    /// Reads what [`std::fmt::Display`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "operator" => Some(Self::Operator),
            "browser" => Some(Self::Browser),
            "system" => Some(Self::System),
            _ => KeyId::parse(text).map(Self::Key),
        }
    }
}

/// One line of the audit.
///
/// ```
/// use skill_core::{name::OwnerId, record::audit::{Actor, Entry}};
/// let entry = Entry::new(jiff::Timestamp::UNIX_EPOCH, Actor::Operator, OwnerId::standard());
/// assert_eq!(entry.event, "");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: Actor,
    /// On whose behalf.
    pub owner: OwnerId,
    /// What, as `key.created` or `connection.expired`.
    pub event: String,
    /// On which record: an id or a name.
    pub target: String,
    /// How it ended: `done`, or why it was refused.
    pub outcome: String,
}

impl Entry {
    /// Returns an entry that is still to be told what happened.
    pub fn new(at: Timestamp, actor: Actor, owner: OwnerId) -> Self {
        Self {
            at,
            actor,
            owner,
            event: String::new(),
            target: String::new(),
            outcome: "done".into(),
        }
    }

    /// Says what happened.
    #[must_use]
    pub fn event(mut self, event: impl Into<String>) -> Self {
        self.event = event.into();
        self
    }

    /// Says to which record.
    #[must_use]
    pub fn target(mut self, target: impl std::fmt::Display) -> Self {
        self.target = target.to_string();
        self
    }

    /// Says how it ended, when it was refused.
    #[must_use]
    pub fn outcome(mut self, outcome: impl Into<String>) -> Self {
        self.outcome = outcome.into();
        self
    }
}
