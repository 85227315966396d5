//! Connections: one account of one owner at one integration.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::{
    id::{AppId, ConnectionId},
    name::{OwnerId, Slug, UserId},
};

/// Non-secret facts of one connection that requests need, such as a shop or a tenant id.
pub type Fields = BTreeMap<String, String>;

/// Where a connection stands.
///
/// ```
/// use skill_core::record::connection::Status;
/// assert_eq!(Status::parse("connected"), Some(Status::Connected));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Begun; nobody has finished it.
    Pending,
    /// Usable.
    Connected,
    /// The provider took the grant back: a person must reconnect.
    Expired,
    /// Connecting ended in an error.
    Error,
}

impl Status {
    /// The name under which the status is kept and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Connected => "connected",
            Self::Expired => "expired",
            Self::Error => "error",
        }
    }

    /// Reads what [`Status::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Pending, Self::Connected, Self::Expired, Self::Error]
            .into_iter()
            .find(|status| status.as_str() == text)
    }
}

/// One account of one owner at one integration. The grant itself is kept apart, sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// Its name in the API.
    pub id: ConnectionId,
    /// Whom it belongs to.
    pub owner: OwnerId,
    /// The person it belongs to, when the owner keeps several apart.
    pub user: Option<UserId>,
    /// The integration it is for.
    pub integration: Slug,
    /// What the owner calls it.
    pub label: Option<String>,
    /// Whether calls that name no connection take this one.
    pub is_default: bool,
    /// The OAuth client it was made through.
    pub app: Option<AppId>,
    /// Facts that requests need.
    pub fields: Fields,
    /// Whose account it is, in the provider's words.
    pub account: Option<String>,
    /// Where it stands.
    pub status: Status,
    /// What went wrong last, in plain words.
    pub last_error: Option<String>,
    /// What the provider granted.
    pub scopes: Vec<String>,
    /// When it was begun.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// When a call last used it, within a second or so.
    pub last_used_at: Option<Timestamp>,
    /// When its present access ends, as far as the provider said.
    pub expires_at: Option<Timestamp>,
    /// Since when its grant has rested: made, renewed, or found not to need it. One that could not
    /// be renewed is dated so that it comes up again when the next try is due.
    pub rests_since: Option<Timestamp>,
}

impl Connection {
    /// Returns a pending connection without a label, made at `at`.
    pub fn new(id: ConnectionId, owner: OwnerId, integration: Slug, at: Timestamp) -> Self {
        Self {
            id,
            owner,
            user: None,
            integration,
            label: None,
            is_default: false,
            app: None,
            fields: Fields::new(),
            account: None,
            status: Status::Pending,
            last_error: None,
            scopes: Vec::new(),
            created_at: at,
            updated_at: at,
            last_used_at: None,
            expires_at: None,
            rests_since: None,
        }
    }

    /// The address of its grant.
    pub fn at(&self) -> ConnectionRef {
        ConnectionRef { owner: self.owner.clone(), user: self.user.clone(), id: self.id }
    }
}

/// Names a grant: everything that its sealed value is bound to.
///
/// ```
/// use skill_core::{id::ConnectionId, name::OwnerId, record::connection::ConnectionRef};
/// let id = ConnectionId::fresh(jiff::Timestamp::UNIX_EPOCH)?;
/// let at = ConnectionRef { owner: OwnerId::standard(), user: None, id };
/// assert_eq!(at.id, id);
/// # Ok::<(), skill_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ConnectionRef {
    /// Whom the connection belongs to.
    pub owner: OwnerId,
    /// The person it belongs to.
    pub user: Option<UserId>,
    /// The connection.
    pub id: ConnectionId,
}

/// Counts the changes of a grant: compare-and-swap goes by it.
///
/// ```
/// use skill_core::record::connection::Revision;
/// assert!(Revision(1) < Revision(2));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);
