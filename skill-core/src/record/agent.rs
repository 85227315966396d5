//! Agents: named bundles of what their runs may use, and what they keep in mind.

use jiff::Timestamp;

use crate::{
    id::{ConnectionId, MemoryId},
    name::{AgentId, OwnerId, UserId},
    record::{Sealed, scope::Scopes},
};

/// An agent: its runs may do what both it and the key that asks may do.
///
/// Every owner has [`Agent::standard`] from the start, which bounds nothing; stores do not keep it.
///
/// ```
/// use skill_core::{name::OwnerId, record::agent::Agent};
/// let agent = Agent::standard(OwnerId::standard());
/// assert!(agent.id.is_standard() && agent.connections.is_none());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// Its name in the API.
    pub id: AgentId,
    /// Whom it belongs to.
    pub owner: OwnerId,
    /// What people call it.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// The skills and endpoints that its runs may use.
    pub scopes: Scopes,
    /// The connections that its runs may use; `None` is all of them.
    pub connections: Option<Vec<ConnectionId>>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was changed last.
    pub updated_at: Timestamp,
}

impl Agent {
    /// Returns the agent that every owner has from the start.
    pub fn standard(owner: OwnerId) -> Self {
        Self {
            id: AgentId::standard(),
            owner,
            name: "Default agent".into(),
            description: None,
            scopes: Scopes::all(),
            connections: None,
            created_at: Timestamp::UNIX_EPOCH,
            updated_at: Timestamp::UNIX_EPOCH,
        }
    }
}

/// Something that an agent keeps in mind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Memory {
    /// Its name in the API.
    pub id: MemoryId,
    /// Whose.
    pub owner: OwnerId,
    /// Which of their agents'.
    pub agent: AgentId,
    /// About which of their users.
    pub user: Option<UserId>,
    /// What it is filed under.
    pub tag: Option<String>,
    /// What it says, and what its maker notes beside it.
    pub content: Sealed,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was changed last.
    pub updated_at: Timestamp,
}

/// What became of an agent or a memory that was to be kept.
///
/// ```
/// use skill_core::record::agent::Kept;
/// assert_ne!(Kept::Done, Kept::Full);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// It is there.
    Done,
    /// One of this name is there already, or that it belongs to is not.
    Refused,
    /// There are too many already.
    Full,
}
