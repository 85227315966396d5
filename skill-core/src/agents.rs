//! Agents: which skills and connections their runs may use, and what they keep in mind.
//!
//! An agent only ever takes away: its runs may do what the key that asked may do and the agent may.
//! Who says no is still [`authorize`](crate::access::authorize), with the scopes of both.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    access::Caller,
    clock::Clock,
    credential::{Vault, seal::Binding},
    error::{Detail, Error, ErrorKind, Result},
    id::{ConnectionId, MemoryId},
    name::{AgentId, OwnerId},
    record::{
        Sealed,
        agent::{Agent, Kept, Memory},
        audit::Entry,
        delivery::{Delivery, Subject},
        scope::Scopes,
        webhook::{Event, Subscription},
    },
    store::{MemoryFilter, Store},
};

/// The most agents of one owner, the standard one apart.
const AGENTS: u32 = 100;
/// The most memories of one agent.
const MEMORIES: u32 = 10_000;
/// The longest name and the longest description, in characters.
const NAME: usize = 200;
const DESCRIPTION: usize = 2_000;
/// The most connections that are listed for one agent.
const CONNECTIONS: usize = 1_000;
/// The most bytes of a memory's content and of what is noted beside it.
const CONTENT: usize = 64 << 10;
const METADATA: usize = 16 << 10;
/// The longest tag, in characters.
const TAG: usize = 100;

/// What an agent is to be.
///
/// ```
/// use skill_core::agents::Wanted;
/// let wanted = Wanted::new("Bookkeeper");
/// assert!(wanted.connections.is_none());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// What people call it: 1 to 200 characters, no control characters.
    pub name: String,
    /// What it is for: at most 2,000 characters.
    pub description: Option<String>,
    /// The skills and endpoints that its runs may use.
    pub scopes: Scopes,
    /// The connections that its runs may use; `None` is all of them.
    pub connections: Option<Vec<ConnectionId>>,
}

impl Wanted {
    /// Returns an agent that bounds nothing.
    pub fn new(name: &str) -> Self {
        Self { name: name.into(), description: None, scopes: Scopes::all(), connections: None }
    }
}

/// What is to be kept in mind.
///
/// ```
/// use skill_core::agents::Note;
/// let note = Note::new("The fiscal year begins in July.");
/// assert!(note.tag.is_none() && note.metadata.is_empty());
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Note {
    /// What it says: 1 byte to 64 KiB.
    pub content: String,
    /// What it is filed under: 1 to 100 characters.
    pub tag: Option<String>,
    /// Whatever its maker notes beside it, at most 16 KiB.
    pub metadata: Map<String, Value>,
}

impl Note {
    /// Returns a note without anything beside it.
    pub fn new(content: &str) -> Self {
        Self { content: content.into(), tag: None, metadata: Map::new() }
    }
}

/// What is sealed of a memory.
#[derive(Serialize, Deserialize)]
struct Content {
    content: String,
    metadata: Map<String, Value>,
}

/// The agents of all owners.
#[derive(Clone)]
pub struct Agents {
    store: Arc<dyn Store>,
    vault: Arc<Vault>,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for Agents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Agents")
    }
}

impl Agents {
    /// Returns the agents of `store`, whose memories `vault` seals.
    pub fn new(store: Arc<dyn Store>, vault: Arc<Vault>, clock: Arc<dyn Clock>) -> Self {
        Self { store, vault, clock }
    }

    /// The agents of the caller's owner: the standard one, then the others, the oldest first.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when the store does not answer.
    pub async fn list(&self, caller: &Caller) -> Result<Vec<Agent>> {
        let others = self.store.agents(&caller.owner).await?;
        Ok(std::iter::once(Agent::standard(caller.owner.clone())).chain(others).collect())
    }

    /// An agent of the caller's owner.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is none of this name.
    pub async fn get(&self, caller: &Caller, id: &AgentId) -> Result<Agent> {
        find(&*self.store, &caller.owner, id).await
    }

    /// Makes an agent for the caller's owner; it is given a name in the API when `id` is `None`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for an unusable name or description or a connection that the
    /// owner does not have, [`ErrorKind::ScopeMissing`] for scopes that the caller does not have,
    /// [`ErrorKind::Conflict`] when there is one of this name, [`ErrorKind::PlanLimit`] when there
    /// are 100.
    pub async fn create(
        &self,
        caller: &Caller,
        id: Option<AgentId>,
        wanted: Wanted,
    ) -> Result<Agent> {
        self.check(caller, &wanted).await?;
        let at = self.clock.now();
        let id = id.map_or_else(|| AgentId::fresh(at), Ok)?;
        let Wanted { name, description, scopes, connections } = wanted;
        let owner = caller.owner.clone();
        let (created_at, updated_at) = (at, at);
        let agent =
            Agent { id, owner, name, description, scopes, connections, created_at, updated_at };
        let kept = match agent.id.is_standard() {
            true => Kept::Refused,
            false => self.store.insert_agent(&agent, AGENTS).await?,
        };
        match kept {
            Kept::Done => {}
            Kept::Refused => {
                let message = format!("there is an agent `{}` already", agent.id);
                return Err(Error::new(ErrorKind::Conflict, message));
            }
            Kept::Full => {
                let message = format!("there are {AGENTS} agents already: delete one first");
                return Err(Error::new(ErrorKind::PlanLimit, message));
            }
        }
        self.audit(caller, "agent.created", &agent.id).await?;
        Ok(agent)
    }

    /// Makes an agent another one, under its name in the API. Runs that wait go by what it is when
    /// they begin.
    ///
    /// # Errors
    /// As [`Agents::create`]; [`ErrorKind::NotFound`] when there is none of this name, and
    /// [`ErrorKind::Conflict`] for the standard one.
    pub async fn change(&self, caller: &Caller, id: &AgentId, wanted: Wanted) -> Result<Agent> {
        let agent = self.get(caller, id).await?;
        if id.is_standard() {
            return Err(unchangeable("changed"));
        }
        self.check(caller, &wanted).await?;
        let Wanted { name, description, scopes, connections } = wanted;
        let updated_at = self.clock.now();
        let agent = Agent { name, description, scopes, connections, updated_at, ..agent };
        if !self.store.update_agent(&agent).await? {
            return Err(unknown());
        }
        self.audit(caller, "agent.changed", id).await?;
        Ok(agent)
    }

    /// Removes an agent with everything that it keeps in mind. Runs of it that wait will fail.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is none of this name, [`ErrorKind::Conflict`] for the
    /// standard one.
    pub async fn delete(&self, caller: &Caller, id: &AgentId) -> Result<()> {
        if id.is_standard() {
            return Err(unchangeable("deleted"));
        }
        if !self.store.delete_agent(&caller.owner, id).await? {
            return Err(unknown());
        }
        self.tell(&caller.owner, id).await?;
        self.audit(caller, "agent.deleted", id).await
    }

    /// Tells the subscribers of an agent that it is gone.
    async fn tell(&self, owner: &OwnerId, id: &AgentId) -> Result<()> {
        let (at, event) = (self.clock.now(), Event::AgentStatusChanged);
        let wants = |webhook: &&Subscription| {
            let is_enabled = webhook.disabled.is_none();
            is_enabled && webhook.agent.as_ref() == Some(id) && webhook.events.contains(&event)
        };
        for webhook in self.store.webhooks(owner).await?.iter().filter(wants) {
            let delivery = Delivery::new(webhook, event, Subject::Agent(id.clone()), at)?;
            self.store.insert_delivery(&delivery).await?;
        }
        Ok(())
    }

    /// Lets an agent keep something in mind.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is no such agent, [`ErrorKind::InvalidInput`] for what is
    /// empty or too large, [`ErrorKind::PlanLimit`] when the agent keeps 10,000 already.
    pub async fn remember(&self, caller: &Caller, agent: &AgentId, note: &Note) -> Result<Memory> {
        let at = self.clock.now();
        let id = MemoryId::fresh(at)?;
        let memory = Memory {
            id,
            owner: caller.owner.clone(),
            agent: agent.clone(),
            user: caller.user.clone(),
            tag: note.tag.clone(),
            content: self.seal(&caller.owner, id, note)?,
            created_at: at,
            updated_at: at,
        };
        match self.store.insert_memory(&memory, MEMORIES).await? {
            Kept::Done => Ok(memory),
            Kept::Refused => Err(unknown()),
            Kept::Full => {
                let message = format!("the agent keeps {MEMORIES} memories already: delete some");
                Err(Error::new(ErrorKind::PlanLimit, message))
            }
        }
    }

    /// What an agent keeps in mind, the newest first, and how much matches in all. A caller that
    /// acts for a user finds that user's only.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is no such agent.
    pub async fn memories(
        &self,
        caller: &Caller,
        filter: MemoryFilter,
    ) -> Result<(Vec<Memory>, u64)> {
        self.get(caller, &filter.agent).await?;
        let user = caller.user.clone().or(filter.user);
        self.store.memories(&caller.owner, &MemoryFilter { user, ..filter }).await
    }

    /// Something that an agent keeps in mind.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is no such agent or memory.
    pub async fn memory(&self, caller: &Caller, agent: &AgentId, id: MemoryId) -> Result<Memory> {
        let found = self.store.memory(&caller.owner, agent, id).await?;
        let is_seen = |memory: &Memory| caller.user.is_none() || memory.user == caller.user;
        found.filter(is_seen).ok_or_else(no_memory)
    }

    /// Replaces what a memory says.
    ///
    /// # Errors
    /// As [`Agents::memory`] and [`Agents::remember`].
    pub async fn revise(&self, caller: &Caller, memory: Memory, note: &Note) -> Result<Memory> {
        let content = self.seal(&caller.owner, memory.id, note)?;
        let (tag, updated_at) = (note.tag.clone(), self.clock.now());
        let memory = Memory { tag, content, updated_at, ..memory };
        match self.store.update_memory(&memory).await? {
            true => Ok(memory),
            false => Err(no_memory()),
        }
    }

    /// Forgets.
    ///
    /// # Errors
    /// As [`Agents::memory`].
    pub async fn forget(&self, caller: &Caller, agent: &AgentId, id: MemoryId) -> Result<()> {
        self.memory(caller, agent, id).await?;
        match self.store.delete_memory(&caller.owner, agent, id).await? {
            true => Ok(()),
            false => Err(no_memory()),
        }
    }

    /// What a memory says.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] when it does not open.
    pub fn read(&self, memory: &Memory) -> Result<Note> {
        let binding = memory_binding(&memory.owner, memory.id);
        let plain = self.vault.open_bytes(&memory.content, &binding)?;
        let read = serde_json::from_slice::<Content>(&plain).map_err(Error::internal)?;
        let (content, metadata) = (read.content, read.metadata);
        Ok(Note { content, tag: memory.tag.clone(), metadata })
    }

    fn seal(&self, owner: &OwnerId, id: MemoryId, note: &Note) -> Result<Sealed> {
        check_note(note)?;
        let (content, metadata) = (note.content.clone(), note.metadata.clone());
        let plain = serde_json::to_vec(&Content { content, metadata }).map_err(Error::internal)?;
        self.vault.seal(&plain, &memory_binding(owner, id))
    }

    async fn check(&self, caller: &Caller, wanted: &Wanted) -> Result<()> {
        let mut details = Vec::new();
        if !is_text(&wanted.name, NAME) {
            let issue = format!("expected 1 to {NAME} characters, none of them control characters");
            details.push(Detail::new("name", issue));
        }
        if wanted.description.as_ref().is_some_and(|text| text.chars().count() > DESCRIPTION) {
            let issue = format!("expected at most {DESCRIPTION} characters");
            details.push(Detail::new("description", issue));
        }
        if wanted.connections.as_ref().is_some_and(|few| few.len() > CONNECTIONS) {
            let issue = format!("expected at most {CONNECTIONS} connections");
            details.push(Detail::new("connections", issue));
        } else {
            for id in wanted.connections.iter().flatten() {
                let known = self.store.connection(&caller.owner, *id).await?;
                if known.is_none_or(|it| caller.user.is_some() && it.user != caller.user) {
                    let issue = format!("there is no connection `{id}`");
                    details.push(Detail::new("connections", issue));
                }
            }
        }
        if !details.is_empty() {
            return Err(Error::invalid("the agent cannot be made like this").details(details));
        }
        if !caller.scopes.covers(&wanted.scopes) {
            let message = "a key cannot make an agent with more scopes than its own";
            return Err(Error::new(ErrorKind::ScopeMissing, message));
        }
        Ok(())
    }

    async fn audit(&self, caller: &Caller, event: &str, id: &AgentId) -> Result<()> {
        let entry = Entry::new(self.clock.now(), caller.actor, caller.owner.clone());
        self.store.append_audit(&entry.event(event).target(id)).await
    }
}

/// The caller as it acts through the agent: with what both of them may do.
///
/// # Errors
/// [`ErrorKind::NotFound`] when the caller's owner has no such agent.
pub(crate) async fn bounded(store: &dyn Store, caller: &Caller, id: &AgentId) -> Result<Caller> {
    let agent = find(store, &caller.owner, id).await?;
    Ok(Caller {
        scopes: caller.scopes.within(&agent.scopes),
        connections: agent.connections.map(Into::into),
        ..caller.clone()
    })
}

async fn find(store: &dyn Store, owner: &OwnerId, id: &AgentId) -> Result<Agent> {
    match id.is_standard() {
        true => Ok(Agent::standard(owner.clone())),
        false => store.agent(owner, id).await?.ok_or_else(unknown),
    }
}

/// What a memory is bound to.
pub(crate) fn memory_binding(owner: &OwnerId, id: MemoryId) -> Binding {
    Binding::to("memory", [owner.as_str(), id.to_string().as_str()])
}

fn check_note(note: &Note) -> Result<()> {
    let mut details = Vec::new();
    if note.content.is_empty() || note.content.len() > CONTENT {
        let issue = format!("expected 1 to {CONTENT} bytes of text");
        details.push(Detail::new("content", issue));
    }
    if note.tag.as_ref().is_some_and(|tag| !is_text(tag, TAG)) {
        let issue = format!("expected 1 to {TAG} characters, none of them control characters");
        details.push(Detail::new("tag", issue));
    }
    let metadata = serde_json::to_vec(&note.metadata).map_err(Error::internal)?;
    if metadata.len() > METADATA {
        details.push(Detail::new("metadata", format!("expected at most {METADATA} bytes of JSON")));
    }
    match details.is_empty() {
        true => Ok(()),
        false => Err(Error::invalid("this cannot be kept in mind").details(details)),
    }
}

fn is_text(text: &str, most: usize) -> bool {
    (1..=most).contains(&text.chars().count()) && !text.chars().any(char::is_control)
}

fn unknown() -> Error {
    Error::not_found("there is no agent with this id")
}

fn no_memory() -> Error {
    Error::not_found("there is no memory with this id")
}

fn unchangeable(how: &str) -> Error {
    let message = format!("the agent `default` is every owner's and cannot be {how}");
    Error::new(ErrorKind::Conflict, message)
}
