//! Triggers: addresses that somebody sends to, and what began a run besides a key.

use jiff::Timestamp;

use crate::{
    id::{KeyId, ScheduleId, TriggerId},
    name::{ActionName, AgentId, OwnerId, UserId, Version},
    record::{Sealed, flow::TokenHash, scope::Scopes},
};

/// A skill that a trigger may run.
///
/// ```
/// use skill_core::{name::{ActionName, Slug, Version}, record::trigger::Target};
/// let action = ActionName { namespace: Slug::parse("web")?, name: Slug::parse("retrieve-site")? };
/// let target = Target { action, version: Version::parse("v1")? };
/// assert_eq!(target.to_string(), "web/v1/retrieve-site");
/// # Ok::<(), skill_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The action.
    pub action: ActionName,
    /// In which version; `v1` is the newest `v1.x` of each time.
    pub version: Version,
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ActionName { namespace, name } = &self.action;
        write!(f, "{namespace}/{}/{name}", self.version)
    }
}

/// An address whose requests make runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trigger {
    /// Its name in the API.
    pub id: TriggerId,
    /// Whom it belongs to.
    pub owner: OwnerId,
    /// The person that its runs act for.
    pub user: Option<UserId>,
    /// The key that made it: once that is revoked, the address is closed.
    pub key: Option<KeyId>,
    /// The agent that its runs belong to.
    pub agent: AgentId,
    /// What its maker calls it.
    pub name: Option<String>,
    /// What it may run: at least one. With a single one, a request's body is its input.
    pub targets: Vec<Target>,
    /// What is stored of the token in its address.
    pub token: TokenHash,
    /// What listings show of it.
    pub shown: String,
    /// What requests are signed with, and what it signs with itself.
    pub secret: Sealed,
    /// Whether a request without a signature is refused.
    pub is_signed: bool,
    /// A header that names a message, besides those that every trigger knows: in lower case.
    pub dedup_header: Option<String>,
    /// What its runs may do: no more than its maker might.
    pub scopes: Scopes,
    /// The tier of limits of its maker's key.
    pub tier: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
}

/// What began a run besides a request with a key, and who is told how it ends.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Source {
    /// The schedule.
    pub schedule: Option<ScheduleId>,
    /// The trigger.
    pub trigger: Option<TriggerId>,
    /// Who is told.
    pub callback: Option<Callback>,
}

/// Where the end of one run is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Callback {
    /// Where to.
    pub url: String,
    /// Those that share this text share a bound on how many messages are sent at once.
    pub endpoint: String,
    /// What the message is signed with.
    pub secret: Sealed,
}
