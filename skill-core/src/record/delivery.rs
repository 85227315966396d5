//! Deliveries: messages on their way to somebody who wants to be told.

use std::{
    borrow::Borrow,
    collections::{HashMap, HashSet},
    hash::Hash,
};

use jiff::Timestamp;

use crate::{
    error::Result,
    id::{ConnectionId, DeliveryId, ExecutionId, ScheduleId, WebhookId},
    name::{ActionName, AgentId, OwnerId, Slug, UserId},
    record::{
        connection::Connection,
        execution::Execution,
        run::Worker,
        schedule::Firing,
        scope::Scope,
        trigger::Callback,
        webhook::{Event, News, Subscription},
    },
};

/// Where a delivery stands.
///
/// ```
/// use skill_core::record::delivery::State;
/// assert_eq!(State::parse("dead"), Some(State::Dead));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// It waits for its next attempt, or one is under way.
    Waiting,
    /// The receiver said yes.
    Delivered,
    /// Nobody tries any more; it can be sent again by hand.
    Dead,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 3] = [Self::Waiting, Self::Delivered, Self::Dead];

    /// The name under which the state is kept and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Delivered => "delivered",
            Self::Dead => "dead",
        }
    }

    /// Reads what [`State::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

/// What a message is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A run. What is said of it is read when it is sent.
    Run(ExecutionId),
    /// A connection, as it was: it may be gone when the message is sent.
    Connection(ConnectionFacts),
    /// A due time of a schedule that no run could be made of.
    Firing(FiringFacts),
    /// An agent that was removed.
    Agent(AgentId),
    /// The subscription itself.
    Webhook(WebhookId),
}

/// What a message says of a due time that no run could be made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FiringFacts {
    /// Of which schedule.
    pub schedule: ScheduleId,
    /// By which agent.
    pub agent: AgentId,
    /// What should have run.
    pub action: ActionName,
    /// When.
    pub due_at: Timestamp,
    /// Why it did not, in plain words.
    pub error: String,
}

/// What a message says of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionFacts {
    /// Which one.
    pub id: ConnectionId,
    /// To which service.
    pub integration: Slug,
    /// What the owner calls it.
    pub label: Option<String>,
    /// Whose it is.
    pub user: Option<UserId>,
}

/// One message to one receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The message's name, the same in every attempt.
    pub id: DeliveryId,
    /// Whose event.
    pub owner: OwnerId,
    /// The subscription that wants it; `None` for a message to whoever asked for the run.
    pub webhook: Option<WebhookId>,
    /// Those that share this text share a bound on how many are sent at once.
    pub endpoint: String,
    /// What happened.
    pub event: Event,
    /// To what.
    pub subject: Subject,
    /// Where it stands.
    pub state: State,
    /// How many attempts were begun.
    pub attempts: u32,
    /// When the next one begins; `None` while one is under way and after the last.
    pub due_at: Option<Timestamp>,
    /// What the receiver answered last.
    pub status: Option<u16>,
    /// What went wrong last, in plain words.
    pub error: Option<String>,
    /// When it happened.
    pub created_at: Timestamp,
    /// When the last attempt ended.
    pub attempted_at: Option<Timestamp>,
    /// When it was delivered or given up.
    pub ended_at: Option<Timestamp>,
}

impl Delivery {
    /// Returns a message to a subscription that is due at once.
    ///
    /// # Errors
    /// As [`id::random`](crate::id::random).
    pub fn new(to: &Subscription, event: Event, subject: Subject, at: Timestamp) -> Result<Self> {
        let place = (Some(to.id), to.id.to_string());
        Self::to(to.owner.clone(), place, (event, subject), at)
    }

    /// Returns the message that a run has ended, to whoever asked to be told of this one; it is due
    /// at once. `None` for a run that nobody is told about.
    ///
    /// # Errors
    /// As [`id::random`](crate::id::random).
    pub fn of_callback(run: &Execution, to: &Callback) -> Result<Option<Self>> {
        let told = [Event::SkillCompleted, Event::SkillFailed];
        let Some(event) = Event::of_run(run).into_iter().find(|event| told.contains(event)) else {
            return Ok(None);
        };
        let (place, subject) = ((None, to.endpoint.clone()), Subject::Run(run.id));
        let at = run.ended_at.unwrap_or(run.created_at);
        Self::to(run.owner.clone(), place, (event, subject), at).map(Some)
    }

    fn to(
        owner: OwnerId,
        (webhook, endpoint): (Option<WebhookId>, String),
        (event, subject): (Event, Subject),
        at: Timestamp,
    ) -> Result<Self> {
        Ok(Self {
            id: DeliveryId::fresh(at)?,
            owner,
            webhook,
            endpoint,
            event,
            subject,
            state: State::Waiting,
            attempts: 0,
            due_at: Some(at),
            status: None,
            error: None,
            created_at: at,
            attempted_at: None,
            ended_at: None,
        })
    }
}

/// What happened, and everything that a message says of it.
#[derive(Debug, Clone)]
pub struct Announcement<'a> {
    /// Who may want to know.
    pub news: News<'a>,
    /// To what it happened.
    pub subject: Subject,
    /// When.
    pub at: Timestamp,
}

impl<'a> Announcement<'a> {
    /// The end of a run, if it is one that anybody is told about: everything that it is.
    pub fn of_run(run: &'a Execution) -> Vec<Self> {
        let at = run.ended_at.unwrap_or(run.created_at);
        Event::of_run(run).into_iter().map(|event| Self::about(run, event, at)).collect()
    }

    /// That a conversation begins with a run, if it does.
    pub fn of_conversation(run: &'a Execution) -> Option<Self> {
        let begins = run.origin.as_ref().is_some_and(|origin| origin.conversation.is_none());
        begins.then(|| Self::about(run, Event::ConversationCreated, run.created_at))
    }

    fn about(run: &'a Execution, event: Event, at: Timestamp) -> Self {
        let news = News {
            event,
            owner: &run.owner,
            user: run.user.as_ref(),
            agent: run.origin.as_ref().map(|origin| &origin.agent),
            about: Scope::Action(run.action.clone()),
        };
        Self { news, subject: Subject::Run(run.id), at }
    }

    /// That no run could be made of a due time, if that is so.
    pub fn of_firing(firing: &'a Firing) -> Option<Self> {
        let Firing { then, at, run: None, .. } = firing else { return None };
        let (error, due_at) = (then.last_error.clone()?, then.last_due_at?);
        if firing.seen.last_due_at == then.last_due_at {
            return None;
        }
        let news = News {
            event: Event::ScheduledJobFailed,
            owner: &then.owner,
            user: then.user.as_ref(),
            agent: Some(&then.agent),
            about: Scope::Action(then.action.clone()),
        };
        let (schedule, agent, action) = (then.id, then.agent.clone(), then.action.clone());
        let subject = Subject::Firing(FiringFacts { schedule, agent, action, due_at, error });
        Some(Self { news, subject, at: *at })
    }

    /// That a connection goes from one state to another at a time, if anybody is told about it.
    pub fn of_connection(
        from: Option<&'a Connection>,
        to: Option<&'a Connection>,
        at: Timestamp,
    ) -> Option<Self> {
        let event = Event::of_connection(from.map(|c| c.status), to.map(|c| c.status))?;
        // Whose it is does not change, and a change need not say it.
        let (known, now) = (from.or(to)?, to.or(from)?);
        let about = Scope::Namespace(known.integration.clone());
        let user = known.user.as_ref();
        let news = News { event, owner: &known.owner, user, agent: None, about };
        let facts = ConnectionFacts {
            id: known.id,
            integration: known.integration.clone(),
            label: now.label.clone(),
            user: known.user.clone(),
        };
        Some(Self { news, subject: Subject::Connection(facts), at })
    }

    /// One message for each subscription that wants it.
    ///
    /// # Errors
    /// As [`Delivery::new`].
    pub fn deliveries<'s>(
        &self,
        known: impl IntoIterator<Item = &'s Subscription>,
    ) -> Result<Vec<Delivery>> {
        let wanting = known.into_iter().filter(|webhook| webhook.wants(&self.news));
        let message = |to| Delivery::new(to, self.news.event, self.subject.clone(), self.at);
        wanting.map(message).collect()
    }
}

/// Who may be given how many messages at once, less what goes on already.
///
/// ```
/// use skill_core::{name::OwnerId, record::delivery::Rooms};
/// let (mut rooms, owner) = (Rooms::new(8, 2, 6), OwnerId::standard());
/// assert!(rooms.take(&owner, "a") && rooms.take(&owner, "a"));
/// assert!(!rooms.take(&owner, "a") && rooms.take(&owner, "b"));
/// rooms.doubt(&owner, "c");
/// assert!(rooms.take(&owner, "c"));
/// assert!(!rooms.take(&owner, "c"), "one at a time where the last one failed");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rooms {
    all: u32,
    each: u32,
    owners: u32,
    /// The messages under way by endpoint, by owner, and by owner to endpoints in doubt.
    taken: HashMap<String, u32>,
    taken_by: HashMap<OwnerId, u32>,
    taken_in_doubt: HashMap<OwnerId, u32>,
    doubtful: HashSet<String>,
}

impl Rooms {
    /// Returns room for so many messages in all, for each endpoint and for each owner.
    pub fn new(all: u32, each: u32, owners: u32) -> Self {
        Self { all, each, owners, ..Self::default() }
    }

    /// How many messages there is room for, whoever they go to.
    pub fn left(&self) -> u32 {
        self.all.saturating_sub(self.taken_by.values().sum())
    }

    /// Counts an endpoint as slow or broken: it is given one message at a time, and all such
    /// endpoints together half of the room, in all and of their owner's, so that those that work
    /// never wait for them.
    pub fn doubt(&mut self, owner: &OwnerId, endpoint: &str) {
        if self.doubtful.insert(endpoint.to_owned()) {
            let taken = self.taken.get(endpoint).copied().unwrap_or(0);
            *self.taken_in_doubt.entry(owner.clone()).or_default() += taken;
        }
    }

    /// Counts an endpoint as one that works.
    pub fn trust(&mut self, owner: &OwnerId, endpoint: &str) {
        if self.doubtful.remove(endpoint) {
            let taken = self.taken.get(endpoint).copied().unwrap_or(0);
            less(&mut self.taken_in_doubt, owner, taken);
        }
    }

    /// Takes a place, if there is one.
    pub fn take(&mut self, owner: &OwnerId, endpoint: &str) -> bool {
        let is_doubtful = self.doubtful.contains(endpoint);
        let taken = self.taken.get(endpoint).copied().unwrap_or(0);
        let by_owner = self.taken_by.get(owner).copied().unwrap_or(0);
        let has_room = self.left() > 0 && by_owner < self.owners;
        let is_let_in = match is_doubtful {
            true => taken == 0 && self.has_room_in_doubt(owner),
            false => taken < self.each,
        };
        if !has_room || !is_let_in {
            return false;
        }
        *self.taken.entry(endpoint.to_owned()).or_default() += 1;
        *self.taken_by.entry(owner.clone()).or_default() += 1;
        if is_doubtful {
            *self.taken_in_doubt.entry(owner.clone()).or_default() += 1;
        }
        true
    }

    fn has_room_in_doubt(&self, owner: &OwnerId) -> bool {
        let half = |most: u32| (most / 2).max(1);
        let by_owner = self.taken_in_doubt.get(owner).copied().unwrap_or(0);
        let in_all = self.taken_in_doubt.values().sum::<u32>();
        by_owner < half(self.owners) && in_all < half(self.all)
    }

    /// Gives a place back.
    pub fn give(&mut self, owner: &OwnerId, endpoint: &str) {
        less(&mut self.taken, endpoint, 1);
        less(&mut self.taken_by, owner, 1);
        if self.doubtful.contains(endpoint) {
            less(&mut self.taken_in_doubt, owner, 1);
        }
    }
}

/// Counts so many less; what is nothing is left out.
fn less<K: Hash + Eq + Borrow<Q>, Q: Hash + Eq + ?Sized>(
    counts: &mut HashMap<K, u32>,
    key: &Q,
    by: u32,
) {
    let Some(count) = counts.get_mut(key) else { return };
    *count = count.saturating_sub(by);
    if *count == 0 {
        counts.remove(key);
    }
}

/// Which messages a process wants to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Who asks.
    pub worker: Worker,
    /// The time.
    pub now: Timestamp,
    /// Until when the messages are its own.
    pub until: Timestamp,
    /// Who may be given how many.
    pub rooms: Rooms,
    /// The endpoint that was served last: the one behind it is the first.
    pub after: Option<String>,
}

/// The right to send a message until a time, unless somebody else got a higher fencing number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Whose message.
    pub owner: OwnerId,
    /// Which one.
    pub id: DeliveryId,
    /// Who holds it.
    pub worker: Worker,
    /// Grows with every claim.
    pub fencing: u64,
}

/// A message that was claimed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    /// The right to send it.
    pub lease: Lease,
    /// The message; its attempts count this one.
    pub delivery: Delivery,
    /// Where it goes, unless that was removed.
    pub subscription: Option<Subscription>,
    /// Where a message goes that no subscription wants.
    pub callback: Option<Callback>,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// The right to say so.
    pub lease: Lease,
    /// When.
    pub at: Timestamp,
    /// What the receiver answered.
    pub status: Option<u16>,
    /// What went wrong, in plain words.
    pub error: Option<String>,
    /// What becomes of the message.
    pub next: Next,
}

/// What becomes of a message after an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// It has arrived.
    Delivered,
    /// It is tried again at this time.
    Again(Timestamp),
    /// It is given up.
    Dead,
    /// Nothing was sent: it is as if nobody had tried.
    Undone,
}
