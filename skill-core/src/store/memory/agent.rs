//! Agents in memory.

use async_trait::async_trait;

use super::{MemoryStore, exists};
use crate::{
    error::Result,
    id::MemoryId,
    name::{AgentId, OwnerId},
    record::agent::{Agent, Kept, Memory},
    store::{AgentStore, MemoryFilter},
};

fn key(owner: &OwnerId, id: &AgentId) -> (OwnerId, AgentId) {
    (owner.clone(), id.clone())
}

#[async_trait]
impl AgentStore for MemoryStore {
    async fn insert_agent(&self, agent: &Agent, most: u32) -> Result<Kept> {
        let mut tables = self.lock();
        let key = key(&agent.owner, &agent.id);
        if tables.agents.contains_key(&key) {
            return Ok(Kept::Refused);
        }
        let known = tables.agents.values().filter(|known| known.owner == agent.owner);
        if known.count() >= most as usize {
            return Ok(Kept::Full);
        }
        tables.agents.insert(key, agent.clone());
        Ok(Kept::Done)
    }

    async fn agent(&self, owner: &OwnerId, id: &AgentId) -> Result<Option<Agent>> {
        Ok(self.lock().agents.get(&key(owner, id)).cloned())
    }

    async fn agents(&self, owner: &OwnerId) -> Result<Vec<Agent>> {
        let tables = self.lock();
        let mut all: Vec<_> =
            tables.agents.values().filter(|known| known.owner == *owner).cloned().collect();
        all.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
        Ok(all)
    }

    async fn update_agent(&self, agent: &Agent) -> Result<bool> {
        let mut tables = self.lock();
        let Some(known) = tables.agents.get_mut(&key(&agent.owner, &agent.id)) else {
            return Ok(false);
        };
        *known = Agent { created_at: known.created_at, ..agent.clone() };
        Ok(true)
    }

    async fn delete_agent(&self, owner: &OwnerId, id: &AgentId) -> Result<bool> {
        let mut tables = self.lock();
        if tables.agents.remove(&key(owner, id)).is_none() {
            return Ok(false);
        }
        tables.memories.retain(|_, memory| memory.owner != *owner || memory.agent != *id);
        Ok(true)
    }

    async fn insert_memory(&self, memory: &Memory, most: u32) -> Result<Kept> {
        let mut tables = self.lock();
        let (owner, agent) = (&memory.owner, &memory.agent);
        if !agent.is_standard() && !tables.agents.contains_key(&key(owner, agent)) {
            return Ok(Kept::Refused);
        }
        let is_beside = |known: &&Memory| known.owner == *owner && known.agent == *agent;
        if tables.memories.values().filter(is_beside).count() >= most as usize {
            return Ok(Kept::Full);
        }
        if tables.memories.contains_key(&memory.id) {
            return Err(exists("a memory"));
        }
        tables.memories.insert(memory.id, memory.clone());
        Ok(Kept::Done)
    }

    async fn memory(
        &self,
        owner: &OwnerId,
        agent: &AgentId,
        id: MemoryId,
    ) -> Result<Option<Memory>> {
        let tables = self.lock();
        let found = tables.memories.get(&id);
        Ok(found.filter(|known| known.owner == *owner && known.agent == *agent).cloned())
    }

    async fn memories(&self, owner: &OwnerId, filter: &MemoryFilter) -> Result<(Vec<Memory>, u64)> {
        let tables = self.lock();
        let matching =
            || tables.memories.values().rev().filter(|known| is_wanted(owner, filter, known));
        let skip = usize::try_from(filter.offset).unwrap_or(usize::MAX);
        let page = matching().skip(skip).take(filter.limit as usize).cloned().collect();
        Ok((page, matching().count() as u64))
    }

    async fn update_memory(&self, memory: &Memory) -> Result<bool> {
        let mut tables = self.lock();
        let known = tables.memories.get_mut(&memory.id);
        let Some(known) =
            known.filter(|known| known.owner == memory.owner && known.agent == memory.agent)
        else {
            return Ok(false);
        };
        known.tag.clone_from(&memory.tag);
        known.content = memory.content.clone();
        known.updated_at = memory.updated_at;
        Ok(true)
    }

    async fn delete_memory(&self, owner: &OwnerId, agent: &AgentId, id: MemoryId) -> Result<bool> {
        let mut tables = self.lock();
        let known = tables.memories.get(&id);
        let is_there = known.is_some_and(|known| known.owner == *owner && known.agent == *agent);
        Ok(is_there && tables.memories.remove(&id).is_some())
    }
}

fn is_wanted(owner: &OwnerId, filter: &MemoryFilter, known: &Memory) -> bool {
    known.owner == *owner
        && known.agent == filter.agent
        && filter.user.as_ref().is_none_or(|user| known.user.as_ref() == Some(user))
        && filter.tag.as_ref().is_none_or(|tag| known.tag.as_ref() == Some(tag))
}
