//! Who may do what, and how much of it.
//!
//! [`authorize`] is the one place that says no: every door, every dialect and every nested call
//! asks it.

mod address;
mod key;
mod limit;
mod plan;

use std::sync::Arc;

use jiff::Timestamp;

use crate::{
    error::{Error, ErrorKind},
    id::{ConnectionId, KeyId},
    name::{OwnerId, UserId},
    record::{
        audit::Actor,
        execution::Class,
        scope::{Scope, Scopes},
    },
};

pub use self::{
    address::AddressLimit,
    key::{Admission, Admitted, Authentication, Keys, NewKey, Standing},
    limit::{Allowance, Limiter},
    plan::{Limits, Plan, Plans},
};

/// Who calls: an owner, through a key or as the operator, for at most one user.
///
/// Nobody can fall back from one user to another, or from a user to the owner: a connection is
/// looked up for exactly this owner and this user.
///
/// ```
/// use skill_core::{access::Caller, name::OwnerId};
/// let caller = Caller::operator(OwnerId::standard());
/// assert!(caller.key().is_none());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Whose connections, runs and limits.
    pub owner: OwnerId,
    /// The person it acts for.
    pub user: Option<UserId>,
    /// Who acts.
    pub actor: Actor,
    /// What the caller may do.
    pub scopes: Scopes,
    /// The tier of limits of its key.
    pub tier: Option<String>,
    /// When its key ends: what it makes ends no later.
    pub until: Option<Timestamp>,
    /// The connections that it may use, when an agent acts; `None` is all of them.
    pub connections: Option<Arc<[ConnectionId]>>,
}

impl Caller {
    /// Whoever may read the data directory, acting for `owner`.
    pub fn operator(owner: OwnerId) -> Self {
        let (actor, scopes) = (Actor::Operator, Scopes::all());
        Self { owner, user: None, actor, scopes, tier: None, until: None, connections: None }
    }

    /// Whether it may use this connection of its own.
    pub fn may_use(&self, connection: ConnectionId) -> bool {
        self.connections.as_ref().is_none_or(|few| few.contains(&connection))
    }

    /// The key, when the caller came through one.
    pub fn key(&self) -> Option<KeyId> {
        match self.actor {
            Actor::Key(id) => Some(id),
            Actor::Operator | Actor::Browser | Actor::System => None,
        }
    }
}

/// What a caller is about to do.
///
/// ```
/// use skill_core::{access::Intent, record::{execution::Class, scope::Scope}};
/// let intent = Intent { scope: Scope::parse("github/get_repo")?, class: Some(Class::Read) };
/// # Ok::<(), skill_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    /// The scope it takes.
    pub scope: Scope,
    /// What it does to the outside, as far as it is known yet.
    pub class: Option<Class>,
}

/// What [`authorize`] says.
#[derive(Debug)]
pub enum Decision {
    /// Go on.
    Allow,
    /// No, and why.
    Deny(Error),
}

/// Decides whether `caller` may do what it intends.
pub fn authorize(caller: &Caller, intent: &Intent) -> Decision {
    if caller.scopes.allows(&intent.scope) {
        return Decision::Allow;
    }
    let wanted = match &intent.scope {
        Scope::Action(action) if !action.name.is_raw() => action.namespace.canonical().to_owned(),
        Scope::Action(_) | Scope::All | Scope::Namespace(_) => intent.scope.to_string(),
    };
    let message =
        format!("The API key does not have the required scope '{wanted}' for this operation.");
    Decision::Deny(Error::new(ErrorKind::ScopeMissing, message))
}

impl Decision {
    /// The decision as a result.
    ///
    /// # Errors
    /// [`ErrorKind::ScopeMissing`] when it is a no.
    pub fn allowed(self) -> Result<(), Error> {
        match self {
            Self::Allow => Ok(()),
            Self::Deny(error) => Err(error),
        }
    }
}
