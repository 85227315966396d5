//! Conversations in SQLite: one index names them and their runs.

use async_trait::async_trait;
use rusqlite::{Connection, params};

use super::{
    SqliteStore,
    execution::{read, select},
    failure::Work,
    queue::held,
    row::{Cells, all, execute, first},
};
use crate::{
    error::Result,
    id::ExecutionId,
    name::{AgentId, OwnerId, UserId},
    record::{
        conversation::{Conversation, Filter, Said},
        execution::{Execution, State, Trigger},
        run::Lease,
    },
    store::ConversationStore,
};

/// A run that began a conversation, and what its runs together come to.
macro_rules! conversations {
    ($rest:literal) => {
        select!(concat!(
            ", (SELECT r.state FROM executions r INDEXED BY executions_by_conversation
                WHERE r.owner = e.owner AND r.conversation_id = e.conversation_id
                ORDER BY r.state IN ('queued', 'running', 'held') DESC, r.id DESC LIMIT 1),
               (SELECT max(coalesce(r.ended_at_us, r.started_at_us, r.created_at_us))
                FROM executions r INDEXED BY executions_by_conversation
                WHERE r.owner = e.owner AND r.conversation_id = e.conversation_id)
              FROM executions e INDEXED BY executions_by_conversation
              WHERE owner = ?1 AND conversation_id = id ",
            $rest
        ))
    };
}

fn conversation(cells: &mut Cells<'_>) -> Work<Conversation> {
    Ok(Conversation {
        start: read(cells)?,
        state: cells.parsed(State::parse)?,
        updated_at: cells.time()?,
    })
}

#[async_trait]
impl ConversationStore for SqliteStore {
    async fn conversations(&self, owner: &OwnerId, filter: &Filter) -> Result<Vec<Conversation>> {
        let (owner, filter) = (owner.clone(), filter.clone());
        self.read(move |connection| page(connection, &owner, &filter)).await
    }

    async fn conversation(
        &self,
        owner: &OwnerId,
        start: ExecutionId,
    ) -> Result<Option<Conversation>> {
        let owner = owner.clone();
        self.read(move |connection| {
            let sql = conversations!("AND conversation_id = ?2");
            first(connection, sql, [owner.as_str(), &start.to_string()], conversation)
        })
        .await
    }

    async fn conversation_runs(
        &self,
        owner: &OwnerId,
        start: ExecutionId,
        most: u32,
    ) -> Result<Vec<Execution>> {
        let owner = owner.clone();
        self.read(move |connection| {
            let sql = select!(
                "FROM executions INDEXED BY executions_by_conversation
                 WHERE owner = ?1 AND conversation_id = ?2 ORDER BY id LIMIT ?3"
            );
            all(connection, sql, params![owner.as_str(), start.to_string(), most], read)
        })
        .await
    }

    async fn say(&self, lease: &Lease, said: &Said) -> Result<bool> {
        let (lease, said) = (lease.clone(), said.clone());
        self.write(move |session| {
            let Some((row, _)) = held(session, &lease)? else { return Ok(false) };
            let sql = "INSERT OR REPLACE INTO execution_messages (run, position, at_us, sealed)
                       VALUES (?1, ?2, ?3, ?4)";
            let at = said.at.as_microsecond();
            execute(session, sql, params![row, said.position, at, said.text.0]).map(|_| true)
        })
        .await
    }

    async fn said(&self, owner: &OwnerId, run: ExecutionId) -> Result<Vec<Said>> {
        let owner = owner.clone();
        self.read(move |connection| {
            let sql = "SELECT position, at_us, sealed FROM execution_messages
                       WHERE run = (SELECT row FROM executions WHERE owner = ?1 AND id = ?2)
                       ORDER BY position";
            all(connection, sql, [owner.as_str(), &run.to_string()], |cells| {
                Ok(Said { position: cells.next()?, at: cells.time()?, text: cells.sealed()? })
            })
        })
        .await
    }
}

/// The conversations that are wanted. What SQL does not decide is looked at row by row, until the
/// page is full.
fn page(connection: &Connection, owner: &OwnerId, filter: &Filter) -> Work<Vec<Conversation>> {
    let sql = conversations!(
        "AND (?2 IS NULL OR agent_id = ?2) AND (?3 IS NULL OR user_id = ?3)
         AND (?4 IS NULL OR trigger_type = ?4) ORDER BY conversation_id DESC"
    );
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params![
        owner.as_str(),
        filter.agent.as_ref().map(AgentId::as_str),
        filter.user.as_ref().map(UserId::as_str),
        filter.trigger.map(Trigger::as_str),
    ])?;
    let (mut left_out, mut page) = (0, Vec::new());
    while page.len() < filter.limit as usize
        && let Some(row) = rows.next()?
    {
        let one = conversation(&mut Cells::of(row))?;
        if !filter.wants(&one) {
            continue;
        }
        if left_out < filter.offset {
            left_out += 1;
        } else {
            page.push(one);
        }
    }
    Ok(page)
}
