//! Agents in SQLite.

use async_trait::async_trait;
use rusqlite::{Connection, params};

use super::{
    SqliteStore,
    failure::Work,
    row::{Cells, all, count, execute, first, json},
};
use crate::{
    error::Result,
    id::{ConnectionId, MemoryId},
    name::{AgentId, OwnerId, UserId},
    record::{
        agent::{Agent, Kept, Memory},
        scope::Scopes,
    },
    store::{AgentStore, MemoryFilter},
};

macro_rules! agents {
    ($rest:literal) => {
        concat!(
            "SELECT id, owner, name, description, scopes, connections, created_at_us,
                    updated_at_us FROM agents ",
            $rest
        )
    };
}

macro_rules! memories {
    ($rest:literal) => {
        concat!(
            "SELECT id, owner, agent_id, user_id, tag, content, created_at_us, updated_at_us
             FROM memories ",
            $rest
        )
    };
}

fn read_agent(cells: &mut Cells<'_>) -> Work<Agent> {
    Ok(Agent {
        id: cells.parsed(|text| AgentId::parse(text).ok())?,
        owner: cells.parsed(|text| OwnerId::parse(text).ok())?,
        name: cells.next()?,
        description: cells.next()?,
        scopes: cells.parsed(|text| {
            let texts: Vec<&str> = serde_json::from_str(text).ok()?;
            Scopes::parse(texts).ok()
        })?,
        connections: cells.parsed_if_any(|text| {
            let texts: Vec<&str> = serde_json::from_str(text).ok()?;
            texts.into_iter().map(ConnectionId::parse).collect()
        })?,
        created_at: cells.time()?,
        updated_at: cells.time()?,
    })
}

fn read_memory(cells: &mut Cells<'_>) -> Work<Memory> {
    Ok(Memory {
        id: cells.parsed(MemoryId::parse)?,
        owner: cells.parsed(|text| OwnerId::parse(text).ok())?,
        agent: cells.parsed(|text| AgentId::parse(text).ok())?,
        user: cells.parsed_if_any(|text| UserId::parse(text).ok())?,
        tag: cells.next()?,
        content: cells.sealed()?,
        created_at: cells.time()?,
        updated_at: cells.time()?,
    })
}

fn connections(agent: &Agent) -> Work<Option<String>> {
    let texts =
        |all: &Vec<ConnectionId>| json(&all.iter().map(ToString::to_string).collect::<Vec<_>>());
    agent.connections.as_ref().map(texts).transpose()
}

fn is_there(connection: &Connection, owner: &OwnerId, id: &AgentId) -> Work<bool> {
    let sql = "SELECT count(*) FROM agents WHERE owner = ?1 AND id = ?2";
    Ok(count(connection, sql, [owner.as_str(), id.as_str()])? > 0)
}

#[async_trait]
impl AgentStore for SqliteStore {
    async fn insert_agent(&self, agent: &Agent, most: u32) -> Result<Kept> {
        let agent = agent.clone();
        self.write(move |session| {
            if is_there(session, &agent.owner, &agent.id)? {
                return Ok(Kept::Refused);
            }
            let sql = "SELECT count(*) FROM agents WHERE owner = ?1";
            if count(session, sql, [agent.owner.as_str()])? >= u64::from(most) {
                return Ok(Kept::Full);
            }
            let sql = "INSERT INTO agents (owner, id, name, description, scopes, connections,
                           created_at_us, updated_at_us)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
            let values = params![
                agent.owner.as_str(),
                agent.id.as_str(),
                agent.name,
                agent.description,
                json(&agent.scopes.texts())?,
                connections(&agent)?,
                agent.created_at.as_microsecond(),
                agent.updated_at.as_microsecond(),
            ];
            execute(session, sql, values).map(|_| Kept::Done)
        })
        .await
    }

    async fn agent(&self, owner: &OwnerId, id: &AgentId) -> Result<Option<Agent>> {
        let (owner, id) = (owner.clone(), id.clone());
        self.read(move |connection| {
            let sql = agents!("WHERE owner = ?1 AND id = ?2");
            first(connection, sql, [owner.as_str(), id.as_str()], read_agent)
        })
        .await
    }

    async fn agents(&self, owner: &OwnerId) -> Result<Vec<Agent>> {
        let owner = owner.clone();
        self.read(move |connection| {
            let sql = agents!("WHERE owner = ?1 ORDER BY created_at_us, id");
            all(connection, sql, [owner.as_str()], read_agent)
        })
        .await
    }

    async fn update_agent(&self, agent: &Agent) -> Result<bool> {
        let agent = agent.clone();
        self.write(move |session| {
            let sql = "UPDATE agents SET name = ?3, description = ?4, scopes = ?5,
                           connections = ?6, updated_at_us = ?7
                       WHERE owner = ?1 AND id = ?2";
            let values = params![
                agent.owner.as_str(),
                agent.id.as_str(),
                agent.name,
                agent.description,
                json(&agent.scopes.texts())?,
                connections(&agent)?,
                agent.updated_at.as_microsecond(),
            ];
            Ok(execute(session, sql, values)? > 0)
        })
        .await
    }

    async fn delete_agent(&self, owner: &OwnerId, id: &AgentId) -> Result<bool> {
        let (owner, id) = (owner.clone(), id.clone());
        self.write(move |session| {
            let whose = [owner.as_str(), id.as_str()];
            let sql = "DELETE FROM agents WHERE owner = ?1 AND id = ?2";
            if execute(session, sql, whose)? == 0 {
                return Ok(false);
            }
            let sql = "DELETE FROM memories WHERE owner = ?1 AND agent_id = ?2";
            execute(session, sql, whose).map(|_| true)
        })
        .await
    }

    async fn insert_memory(&self, memory: &Memory, most: u32) -> Result<Kept> {
        let memory = memory.clone();
        self.write(move |session| {
            let (owner, agent) = (&memory.owner, &memory.agent);
            if !agent.is_standard() && !is_there(session, owner, agent)? {
                return Ok(Kept::Refused);
            }
            let sql = "SELECT count(*) FROM memories WHERE owner = ?1 AND agent_id = ?2";
            if count(session, sql, [owner.as_str(), agent.as_str()])? >= u64::from(most) {
                return Ok(Kept::Full);
            }
            let sql = "INSERT INTO memories (id, owner, agent_id, user_id, tag, content,
                           created_at_us, updated_at_us)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
            let values = params![
                memory.id.to_string(),
                owner.as_str(),
                agent.as_str(),
                memory.user.as_ref().map(UserId::as_str),
                memory.tag,
                memory.content.0,
                memory.created_at.as_microsecond(),
                memory.updated_at.as_microsecond(),
            ];
            execute(session, sql, values).map(|_| Kept::Done)
        })
        .await
    }

    async fn memory(
        &self,
        owner: &OwnerId,
        agent: &AgentId,
        id: MemoryId,
    ) -> Result<Option<Memory>> {
        let (owner, agent) = (owner.clone(), agent.clone());
        self.read(move |connection| {
            let sql = memories!("WHERE owner = ?1 AND agent_id = ?2 AND id = ?3");
            let values = [owner.as_str(), agent.as_str(), &id.to_string()];
            first(connection, sql, values, read_memory)
        })
        .await
    }

    async fn memories(&self, owner: &OwnerId, filter: &MemoryFilter) -> Result<(Vec<Memory>, u64)> {
        let (owner, filter) = (owner.clone(), filter.clone());
        self.read(move |connection| {
            let _snapshot = connection.unchecked_transaction()?;
            let (agent, user) = (filter.agent.as_str(), filter.user.as_ref().map(UserId::as_str));
            let sql = memories!(
                "WHERE owner = ?1 AND agent_id = ?2 AND (?3 IS NULL OR user_id = ?3)
                 AND (?4 IS NULL OR tag = ?4) ORDER BY id DESC LIMIT ?5 OFFSET ?6"
            );
            let offset = i64::try_from(filter.offset).unwrap_or(i64::MAX);
            let values = params![owner.as_str(), agent, user, filter.tag, filter.limit, offset];
            let page = all(connection, sql, values, read_memory)?;
            let sql = "SELECT count(*) FROM memories WHERE owner = ?1 AND agent_id = ?2
                       AND (?3 IS NULL OR user_id = ?3) AND (?4 IS NULL OR tag = ?4)";
            let values = params![owner.as_str(), agent, user, filter.tag];
            Ok((page, count(connection, sql, values)?))
        })
        .await
    }

    async fn update_memory(&self, memory: &Memory) -> Result<bool> {
        let memory = memory.clone();
        self.write(move |session| {
            let sql = "UPDATE memories SET tag = ?4, content = ?5, updated_at_us = ?6
                       WHERE owner = ?1 AND agent_id = ?2 AND id = ?3";
            let values = params![
                memory.owner.as_str(),
                memory.agent.as_str(),
                memory.id.to_string(),
                memory.tag,
                memory.content.0,
                memory.updated_at.as_microsecond(),
            ];
            Ok(execute(session, sql, values)? > 0)
        })
        .await
    }

    async fn delete_memory(&self, owner: &OwnerId, agent: &AgentId, id: MemoryId) -> Result<bool> {
        let (owner, agent) = (owner.clone(), agent.clone());
        self.write(move |session| {
            let sql = "DELETE FROM memories WHERE owner = ?1 AND agent_id = ?2 AND id = ?3";
            let values = [owner.as_str(), agent.as_str(), &id.to_string()];
            Ok(execute(session, sql, values)? > 0)
        })
        .await
    }
}
