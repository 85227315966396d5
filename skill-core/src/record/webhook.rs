//! Webhooks: who wants to be told about which events, and where.

use jiff::Timestamp;

use crate::{
    error::ErrorKind,
    id::WebhookId,
    name::{ActionName, AgentId, OwnerId, UserId},
    record::{
        Sealed,
        connection::Status,
        execution::{Execution, State, Trigger},
        scope::{Scope, Scopes},
    },
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
    /// A run ended in any other way: in an error, or because somebody stopped it.
    ExecutionFailed,
    /// An account was connected.
    ConnectionCreated,
    /// A connection's grant ended for good.
    ConnectionExpired,
    /// A connection was removed.
    ConnectionDeleted,
    /// A run of an agent ended well.
    SkillCompleted,
    /// A run of an agent ended in any other way, after all its attempts.
    SkillFailed,
    /// A run of an agent ended because an account is not connected, or its access has ended.
    AgentError,
    /// An agent was removed: its runs end in errors from then on.
    AgentStatusChanged,
    /// A run of an agent was asked for that goes on from no other.
    ConversationCreated,
    /// A run that the clock asked for ended well.
    ScheduledJobCompleted,
    /// A run that the clock asked for ended in any other way, or could not be made.
    ScheduledJobFailed,
    /// Somebody tries a subscription out. It cannot be asked for: it goes to that subscription.
    Test,
}

impl Event {
    /// Every event that a subscription of an owner can ask for.
    pub const ALL: [Self; 5] = [
        Self::ExecutionCompleted,
        Self::ExecutionFailed,
        Self::ConnectionCreated,
        Self::ConnectionExpired,
        Self::ConnectionDeleted,
    ];
    /// Every event that a subscription to an agent can ask for.
    pub const OF_AGENTS: [Self; 10] = [
        Self::SkillCompleted,
        Self::SkillFailed,
        Self::AgentError,
        Self::AgentStatusChanged,
        Self::ConversationCreated,
        Self::ScheduledJobCompleted,
        Self::ScheduledJobFailed,
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
            Self::SkillCompleted => "skill.completed",
            Self::SkillFailed => "skill.failed",
            Self::AgentError => "agent.error",
            Self::AgentStatusChanged => "agent.status_changed",
            Self::ConversationCreated => "conversation.created",
            Self::ScheduledJobCompleted => "scheduled_job.completed",
            Self::ScheduledJobFailed => "scheduled_job.failed",
            Self::Test => "webhook.test",
        }
    }

    /// Reads what [`Event::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        let all = Self::ALL.into_iter().chain(Self::OF_AGENTS).chain([Self::Test]);
        all.into_iter().find(|event| event.as_str() == text)
    }

    /// What the end of a run is. Nothing, for one that has not ended, and for one that another run
    /// asked for: it is a part of that.
    pub fn of_run(run: &Execution) -> Vec<Self> {
        if run.parent.is_some() || !run.state.is_final() {
            return Vec::new();
        }
        let is_good = run.state == State::Success;
        let either = |good, bad| if is_good { good } else { bad };
        let mut all = vec![either(Self::ExecutionCompleted, Self::ExecutionFailed)];
        let Some(origin) = &run.origin else { return all };
        all.push(either(Self::SkillCompleted, Self::SkillFailed));
        if matches!(run.error, Some(ErrorKind::NotConnected | ErrorKind::TokenExpired)) {
            all.push(Self::AgentError);
        }
        if origin.trigger == Trigger::Scheduled {
            all.push(either(Self::ScheduledJobCompleted, Self::ScheduledJobFailed));
        }
        all
    }

    /// What it is that a connection goes from one status to another; from `None` when it is new,
    /// and to `None` when it is removed. One that never worked comes and goes unnoticed.
    pub fn of_connection(from: Option<Status>, to: Option<Status>) -> Option<Self> {
        let has_worked = matches!(from, Some(Status::Connected | Status::Expired));
        match to {
            Some(Status::Connected) if !has_worked => Some(Self::ConnectionCreated),
            Some(Status::Expired) if from != Some(Status::Expired) => Some(Self::ConnectionExpired),
            None if has_worked => Some(Self::ConnectionDeleted),
            Some(_) | None => None,
        }
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
    /// Events of this agent only, and of connections; `None` is a subscription to no agent's.
    pub agent: Option<AgentId>,
    /// Where to say so.
    pub url: String,
    /// About what: at least one, none twice.
    pub events: Vec<Event>,
    /// About runs of these tools only; empty is all of them.
    pub tool_ids: Vec<String>,
    /// The actions of these tools.
    pub actions: Vec<ActionName>,
    /// What whoever asked for it may see: nobody is told about anything else.
    pub scopes: Scopes,
    /// What every message is signed with.
    pub secret: Sealed,
    /// What it was signed with before, and until when it still is.
    pub previous: Option<(Sealed, Timestamp)>,
    /// Why and since when nothing is sent.
    pub disabled: Option<Disabled>,
    /// When it was made.
    pub created_at: Timestamp,
}

impl Subscription {
    /// Whether it wants to hear of this.
    pub fn wants(&self, news: &News<'_>) -> bool {
        let is_mine = self.user.is_none() || self.user.as_ref() == news.user;
        let is_meant = match &news.about {
            Scope::Action(action) => self.actions.is_empty() || self.actions.contains(action),
            Scope::All | Scope::Namespace(_) => true,
        };
        let is_agents =
            news.agent.is_none() || self.agent.is_none() || self.agent.as_ref() == news.agent;
        self.disabled.is_none()
            && self.events.contains(&news.event)
            && is_mine
            && is_agents
            && is_meant
            && self.scopes.allows(&news.about)
    }
}

/// Something that happened, as far as it decides who is told.
///
/// ```
/// use skill_core::{name::OwnerId, record::{scope::Scope, webhook::{Event, News}}};
/// let owner = OwnerId::standard();
/// let news = News { event: Event::Test, owner: &owner, user: None, agent: None, about: Scope::All };
/// assert_eq!(news.event.as_str(), "webhook.test");
/// ```
#[derive(Debug, Clone)]
pub struct News<'a> {
    /// What.
    pub event: Event,
    /// Whose.
    pub owner: &'a OwnerId,
    /// For whom.
    pub user: Option<&'a UserId>,
    /// By which agent.
    pub agent: Option<&'a AgentId>,
    /// The action, or the integration: who may not use it is not told.
    pub about: Scope,
}

/// Why nothing is sent to a subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disabled {
    /// Since when.
    pub at: Timestamp,
    /// Why, in plain words.
    pub reason: String,
}

/// A change of a subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Another secret. The present one signs as well until the time; there is no third.
    Secret(Sealed, Timestamp),
    /// Nothing is sent any more. One that is disabled already keeps its reason.
    Disable(Disabled),
    /// Messages are sent again, about these actions and as far as these scopes go.
    Enable(Vec<ActionName>, Scopes),
    /// Another address and other events. What is on its way goes to the new address.
    Edit(String, Vec<Event>),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_told_about_once_it_works() {
        let [pending, connected] = [Some(Status::Pending), Some(Status::Connected)];
        let [expired, failed] = [Some(Status::Expired), Some(Status::Error)];
        for (from, to, event) in [
            (None, pending, None),
            (pending, connected, Some(Event::ConnectionCreated)),
            (failed, connected, Some(Event::ConnectionCreated)),
            (None, connected, Some(Event::ConnectionCreated)),
            (connected, connected, None),
            (expired, connected, None),
            (connected, expired, Some(Event::ConnectionExpired)),
            (expired, expired, None),
            (pending, failed, None),
            (pending, None, None),
            (failed, None, None),
            (connected, None, Some(Event::ConnectionDeleted)),
            (expired, None, Some(Event::ConnectionDeleted)),
        ] {
            assert_eq!(Event::of_connection(from, to), event, "{from:?} {to:?}");
        }
    }
}
