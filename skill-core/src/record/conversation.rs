//! Conversations: a run that began one, and those that followed it.

use jiff::Timestamp;

use crate::{
    name::{AgentId, UserId},
    record::{
        Sealed,
        execution::{Execution, State, Trigger},
        scope::Scopes,
    },
};

/// A conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conversation {
    /// The run that began it.
    pub start: Execution,
    /// Where it stands: as a run that has not ended, if there is one, else as the newest.
    pub state: State,
    /// When one of its runs was asked for, began or ended last.
    pub updated_at: Timestamp,
}

/// Which conversations a listing wants.
///
/// ```
/// use skill_core::record::conversation::Filter;
/// assert_eq!(Filter::default().limit, 50);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// Of this agent only.
    pub agent: Option<AgentId>,
    /// Of this user only; `None` is everybody's.
    pub user: Option<UserId>,
    /// Begun in this way only.
    pub trigger: Option<Trigger>,
    /// In one of these states only; none is any.
    pub states: Vec<State>,
    /// Begun by runs only that these let be seen.
    pub scopes: Scopes,
    /// How many at most.
    pub limit: u32,
    /// How many to leave out first.
    pub offset: u64,
}

impl Default for Filter {
    fn default() -> Self {
        Self {
            agent: None,
            user: None,
            trigger: None,
            states: Vec::new(),
            scopes: Scopes::all(),
            limit: 50,
            offset: 0,
        }
    }
}

impl Filter {
    /// Whether it wants this one.
    pub fn wants(&self, one: &Conversation) -> bool {
        let Some(origin) = &one.start.origin else { return false };
        origin.conversation.is_none()
            && self.agent.as_ref().is_none_or(|agent| *agent == origin.agent)
            && self.user.as_ref().is_none_or(|user| one.start.user.as_ref() == Some(user))
            && self.trigger.is_none_or(|trigger| trigger == origin.trigger)
            && (self.states.is_empty() || self.states.contains(&one.state))
            && self.scopes.see(&one.start.action)
    }
}

/// Something that a run said while it went on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// Where it stands among the steps of its run.
    pub position: u32,
    /// When it was said first.
    pub at: Timestamp,
    /// What.
    pub text: Sealed,
}
