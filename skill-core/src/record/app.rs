//! Apps: OAuth clients.

use jiff::Timestamp;

use crate::{
    id::AppId,
    name::{OwnerId, Slug},
    record::Sealed,
};

/// Whose app it is.
///
/// ```
/// use skill_core::record::app::Holder;
/// assert_ne!(Holder::System, Holder::Owner(skill_core::name::OwnerId::standard()));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Holder {
    /// The operator's: every owner may connect through it.
    System,
    /// One owner's own.
    Owner(OwnerId),
}

impl Holder {
    /// The owner, when it is an owner's.
    pub fn owner(&self) -> Option<&OwnerId> {
        match self {
            Self::System => None,
            Self::Owner(owner) => Some(owner),
        }
    }
}

/// What became of removing an app.
///
/// ```
/// use skill_core::record::app::Removal;
/// assert_ne!(Removal::Done, Removal::InUse(1));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// It is gone.
    Done,
    /// So many connections were made through it: it stays.
    InUse(u64),
    /// The holder has no such app.
    Unknown,
}

/// An OAuth client registered with a provider. Every connection names the one it was made through,
/// so that a second app or a changed secret breaks nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct App {
    /// Its name in the API.
    pub id: AppId,
    /// Whose it is.
    pub holder: Holder,
    /// The integration it is for.
    pub integration: Slug,
    /// The identifier that the provider gave.
    pub client_id: String,
    /// The secret that the provider gave; public clients have none.
    pub client_secret: Option<Sealed>,
    /// When it was added.
    pub created_at: Timestamp,
}
