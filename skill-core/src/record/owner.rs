//! Owners (tenants).

use jiff::Timestamp;

use crate::name::OwnerId;

/// An owner: keys, connections, runs and limits belong to one.
///
/// ```
/// use skill_core::{name::OwnerId, record::owner::Owner};
/// let owner = Owner::new(OwnerId::standard(), jiff::Timestamp::UNIX_EPOCH);
/// assert_eq!(owner.plan, None);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Its name.
    pub id: OwnerId,
    /// The plan it is on; `None` means the configuration's default plan.
    pub plan: Option<String>,
    /// When it was first seen.
    pub created_at: Timestamp,
}

impl Owner {
    /// Returns an owner on the default plan.
    pub fn new(id: OwnerId, created_at: Timestamp) -> Self {
        Self { id, plan: None, created_at }
    }
}
