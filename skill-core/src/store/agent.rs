//! The part of a store that knows agents, what they keep in mind, and conversations.

use async_trait::async_trait;

use crate::{
    error::Result,
    id::{ExecutionId, MemoryId},
    name::{AgentId, OwnerId, UserId},
    record::{
        agent::{Agent, Kept, Memory},
        conversation::{Conversation, Filter, Said},
        execution::Execution,
        run::Lease,
    },
};

/// Which memories a listing wants.
///
/// ```
/// use skill_core::{name::AgentId, store::MemoryFilter};
/// assert_eq!(MemoryFilter::of(AgentId::standard()).limit, 50);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryFilter {
    /// Of this agent.
    pub agent: AgentId,
    /// About this user only; `None` is everybody.
    pub user: Option<UserId>,
    /// Filed under this tag only.
    pub tag: Option<String>,
    /// How many at most.
    pub limit: u32,
    /// How many to leave out first.
    pub offset: u64,
}

impl MemoryFilter {
    /// Returns the first page of everything that the agent keeps.
    pub fn of(agent: AgentId) -> Self {
        Self { agent, user: None, tag: None, limit: 50, offset: 0 }
    }
}

/// Agents, and what they keep in mind. Nothing here knows of the standard agent but
/// [`insert_memory`](Self::insert_memory): it is no record.
#[async_trait]
pub trait AgentStore {
    /// Keeps a new agent, durably, unless its owner has one of this name or `most` already.
    /// Counting and keeping are one transaction.
    async fn insert_agent(&self, agent: &Agent, most: u32) -> Result<Kept>;
    /// Returns the owner's agent.
    async fn agent(&self, owner: &OwnerId, id: &AgentId) -> Result<Option<Agent>>;
    /// The owner's agents, the oldest first.
    async fn agents(&self, owner: &OwnerId) -> Result<Vec<Agent>>;
    /// Replaces what may change, durably: everything but owner, name in the API and `created_at`.
    /// False when the owner has no such agent.
    async fn update_agent(&self, agent: &Agent) -> Result<bool>;
    /// Removes an agent with everything that it keeps in mind, durably, in one transaction. False
    /// when the owner has no such agent.
    async fn delete_agent(&self, owner: &OwnerId, id: &AgentId) -> Result<bool>;
    /// Keeps something in mind, durably, unless the agent has `most` already, or is not there and
    /// not the standard one. One transaction.
    async fn insert_memory(&self, memory: &Memory, most: u32) -> Result<Kept>;
    /// Returns what the owner's agent keeps under this id.
    async fn memory(
        &self,
        owner: &OwnerId,
        agent: &AgentId,
        id: MemoryId,
    ) -> Result<Option<Memory>>;
    /// What the owner's agent keeps, the newest first, and how much matches in all.
    async fn memories(&self, owner: &OwnerId, filter: &MemoryFilter) -> Result<(Vec<Memory>, u64)>;
    /// Replaces tag, content and `updated_at`, durably. False when the owner has no such memory.
    async fn update_memory(&self, memory: &Memory) -> Result<bool>;
    /// Forgets, durably. False when the owner's agent has no such memory.
    async fn delete_memory(&self, owner: &OwnerId, agent: &AgentId, id: MemoryId) -> Result<bool>;
}

/// Conversations: see [`Conversation`].
#[async_trait]
pub trait ConversationStore {
    /// The owner's conversations, those that began last first.
    async fn conversations(&self, owner: &OwnerId, filter: &Filter) -> Result<Vec<Conversation>>;
    /// The conversation that this run of the owner began.
    async fn conversation(
        &self,
        owner: &OwnerId,
        start: ExecutionId,
    ) -> Result<Option<Conversation>>;
    /// The runs of a conversation, the oldest first, at most `most`.
    async fn conversation_runs(
        &self,
        owner: &OwnerId,
        start: ExecutionId,
        most: u32,
    ) -> Result<Vec<Execution>>;
    /// Keeps what a run says, durably; what it said at the same position before is kept instead.
    /// False when the lease is lost.
    async fn say(&self, lease: &Lease, said: &Said) -> Result<bool>;
    /// What the owner's run said, in order. It is kept as long as the run.
    async fn said(&self, owner: &OwnerId, run: ExecutionId) -> Result<Vec<Said>>;
}
