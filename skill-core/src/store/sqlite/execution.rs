//! Executions in SQLite.

use std::{collections::HashMap, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::{
    SqliteStore,
    failure::Work,
    row::{Cells, all, count, execute, first, micros},
};
use crate::{
    error::{ErrorKind, Result},
    id::{AppId, ConnectionId, ExecutionId, KeyId},
    name::{ActionName, OwnerId, Slug, UserId, Version},
    record::{
        Sealed,
        execution::{Begun, Class, Execution, Idempotency, Recorded, State, Timing},
    },
    store::{ExecutionFilter, ExecutionStore},
};

/// The most rows that one command removes: other commands wait meanwhile.
const BATCH: u32 = 500;

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, owner, user_id, key_id, namespace, name, revision, class, connection_id,
                    app_id, parent_id, state, attempt, upstream_status, error_kind, total_us,
                    upstream_us, version, coalesce(progress, 0), created_at_us, started_at_us, ended_at_us
             FROM executions ",
            $rest
        )
    };
}

fn read(cells: &mut Cells<'_>) -> Work<Execution> {
    Ok(Execution {
        id: cells.parsed(ExecutionId::parse)?,
        owner: cells.parsed(|text| OwnerId::parse(text).ok())?,
        user: cells.parsed_if_any(|text| UserId::parse(text).ok())?,
        key: cells.parsed_if_any(KeyId::parse)?,
        action: ActionName {
            namespace: cells.parsed(|text| Slug::parse(text).ok())?,
            name: cells.parsed(|text| Slug::parse(text).ok())?,
        },
        revision: cells.next()?,
        class: cells.parsed(Class::parse)?,
        connection: cells.parsed_if_any(ConnectionId::parse)?,
        app: cells.parsed_if_any(AppId::parse)?,
        parent: cells.parsed_if_any(ExecutionId::parse)?,
        state: cells.parsed(State::parse)?,
        attempts: cells.next()?,
        upstream_status: cells.next()?,
        error: cells.parsed_if_any(ErrorKind::parse)?,
        timing: Timing {
            total: Duration::from_micros(cells.number()?),
            upstream: Duration::from_micros(cells.number()?),
        },
        version: cells.parsed_if_any(|text| Version::parse(text).ok())?,
        progress: cells.next()?,
        created_at: cells.time()?,
        started_at: cells.time_if_any()?,
        ended_at: cells.time_if_any()?,
    })
}

#[async_trait]
impl ExecutionStore for SqliteStore {
    async fn begin(
        &self,
        run: &Execution,
        idempotency: Option<&Idempotency>,
        _until: Timestamp,
    ) -> Result<Begun> {
        let (run, idempotency) = (run.clone(), idempotency.cloned());
        self.write(move |connection| {
            if let Some(asked) = &idempotency {
                if let Some(found) = repeat(connection, &run, asked)? {
                    return Ok(found);
                }
                remember(connection, &run, asked)?;
            }
            insert(connection, &run)?;
            Ok(Begun::New)
        })
        .await
    }

    async fn orphans(&self, _now: Timestamp, _most: u32) -> Result<Vec<Execution>> {
        Ok(Vec::new())
    }

    async fn bodies(
        &self,
        _owner: &OwnerId,
        _id: ExecutionId,
    ) -> Result<(Option<Sealed>, Option<Sealed>)> {
        Ok((None, None))
    }

    async fn record(&self, runs: &[Recorded]) -> Result<()> {
        let runs = runs.to_vec();
        self.write(move |connection| {
            for Recorded { execution: run, replay: outcome, .. } in &runs {
                if put(connection, run)? && run.state.is_final() {
                    settle(connection, run, outcome.as_ref())?;
                }
            }
            touch(connection, &runs)
        })
        .await
    }

    async fn execution(&self, owner: &OwnerId, id: ExecutionId) -> Result<Option<Execution>> {
        let owner = owner.clone();
        self.read(move |connection| {
            let sql = select!("WHERE owner = ?1 AND id = ?2");
            first(connection, sql, [owner.as_str(), &id.to_string()], read)
        })
        .await
    }

    async fn executions(
        &self,
        owner: &OwnerId,
        filter: &ExecutionFilter,
    ) -> Result<(Vec<Execution>, u64)> {
        let (owner, filter) = (owner.clone(), filter.clone());
        self.read(move |connection| {
            // One snapshot for both statements.
            let _snapshot = connection.unchecked_transaction()?;
            Ok((page(connection, &owner, &filter)?, total(connection, &owner, &filter)?))
        })
        .await
    }

    async fn prune(&self, before: Timestamp, now: Timestamp, most: u32) -> Result<u64> {
        let runs = "DELETE FROM executions WHERE rowid IN
                    (SELECT rowid FROM executions WHERE ended_at_us < ?1 LIMIT ?2)";
        let repeats = "DELETE FROM idempotency WHERE rowid IN
                       (SELECT rowid FROM idempotency WHERE expires_at_us <= ?1 LIMIT ?2)";
        self.remove(repeats, now, most).await?;
        self.remove(runs, before, most).await
    }
}

impl SqliteStore {
    /// Removes rows in small batches; returns how many went.
    async fn remove(&self, sql: &'static str, edge: Timestamp, most: u32) -> Result<u64> {
        let edge = edge.as_microsecond();
        let mut removed = 0;
        while removed < most {
            let batch = BATCH.min(most - removed);
            let work =
                move |connection: &Connection| execute(connection, sql, [edge, batch.into()]);
            let gone = u32::try_from(self.write(work).await?).unwrap_or(batch);
            removed += gone;
            if gone < batch {
                break;
            }
        }
        Ok(u64::from(removed))
    }
}

fn page(
    connection: &Connection,
    owner: &OwnerId,
    filter: &ExecutionFilter,
) -> Work<Vec<Execution>> {
    let sql = match (&filter.state, &filter.namespace) {
        (None, None) => select!(
            "WHERE owner = ?1 AND ?2 IS NULL AND ?3 IS NULL
             ORDER BY id DESC LIMIT ?4 OFFSET ?5"
        ),
        (Some(_), None) => select!(
            "WHERE owner = ?1 AND state = ?2 AND ?3 IS NULL
             ORDER BY id DESC LIMIT ?4 OFFSET ?5"
        ),
        (None, Some(_)) => select!(
            "INDEXED BY executions_by_namespace
             WHERE owner = ?1 AND ?2 IS NULL AND namespace_canonical = ?3
             ORDER BY id DESC LIMIT ?4 OFFSET ?5"
        ),
        (Some(_), Some(_)) => select!(
            "INDEXED BY executions_by_namespace
             WHERE owner = ?1 AND state = ?2 AND namespace_canonical = ?3
             ORDER BY id DESC LIMIT ?4 OFFSET ?5"
        ),
    };
    let offset = i64::try_from(filter.offset).unwrap_or(i64::MAX);
    let (state, namespace) = filtered(filter);
    let values = params![owner.as_str(), state, namespace, filter.limit, offset];
    all(connection, sql, values, read)
}

fn total(connection: &Connection, owner: &OwnerId, filter: &ExecutionFilter) -> Work<u64> {
    let sql = "SELECT coalesce(sum(runs), 0) FROM execution_counts WHERE owner = ?1
               AND (?2 IS NULL OR state = ?2) AND (?3 IS NULL OR namespace = ?3)";
    let (state, namespace) = filtered(filter);
    count(connection, sql, params![owner.as_str(), state, namespace])
}

fn filtered(filter: &ExecutionFilter) -> (Option<&str>, Option<&str>) {
    (filter.state.map(State::as_str), filter.namespace.as_ref().map(Slug::canonical))
}

/// What the same request led to before.
fn repeat(connection: &Connection, run: &Execution, asked: &Idempotency) -> Work<Option<Begun>> {
    let sql = "SELECT inputs, execution_id, outcome FROM idempotency
               WHERE owner = ?1 AND namespace = ?2 AND name = ?3 AND key = ?4
               AND expires_at_us > ?5";
    let (namespace, name) = (run.action.namespace.canonical(), run.action.name.canonical());
    let at = run.created_at.as_microsecond();
    let values = params![run.owner.as_str(), namespace, name, asked.key, at];
    first(connection, sql, values, |cells| {
        if cells.next::<[u8; 32]>()? != asked.inputs {
            return Ok(Begun::Differs);
        }
        let run = cells.parsed(ExecutionId::parse)?;
        Ok(cells.sealed_if_any()?.map_or(Begun::Running(run), |sealed| Begun::Same(run, sealed)))
    })
}

/// Keeps what a repeat of the request will find; an expired record is replaced.
fn remember(connection: &Connection, run: &Execution, asked: &Idempotency) -> Work<()> {
    let sql = "INSERT OR REPLACE INTO idempotency
                   (owner, namespace, name, key, inputs, execution_id, expires_at_us)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    let values = params![
        run.owner.as_str(),
        run.action.namespace.canonical(),
        run.action.name.canonical(),
        asked.key,
        asked.inputs,
        run.id.to_string(),
        asked.expires_at.as_microsecond(),
    ];
    execute(connection, sql, values).map(drop)
}

/// Keeps the outcome for repeats; without one the key is free again.
fn settle(connection: &Connection, run: &Execution, outcome: Option<&Sealed>) -> Work<()> {
    let (owner, id) = (run.owner.as_str(), run.id.to_string());
    let Some(outcome) = outcome else {
        let sql = "DELETE FROM idempotency WHERE owner = ?1 AND execution_id = ?2";
        return execute(connection, sql, [owner, &id]).map(drop);
    };
    let sql = "UPDATE idempotency SET outcome = ?3 WHERE owner = ?1 AND execution_id = ?2";
    execute(connection, sql, params![owner, id, outcome.0]).map(drop)
}

macro_rules! insert {
    ($rest:literal) => {
        concat!(
            "INSERT INTO executions (owner, id, user_id, key_id, namespace, name, revision, class,
                 connection_id, app_id, parent_id, state, attempt, upstream_status, error_kind,
                 total_us, upstream_us, version, progress, created_at_us, started_at_us,
                 ended_at_us)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17,
                 ?18, ?19, ?20, ?21, ?22) ",
            $rest
        )
    };
}

fn insert(connection: &Connection, run: &Execution) -> Work<()> {
    write(connection, insert!(""), run).map(drop)
}

/// Adds the run or replaces what stands for it; false when that is final.
fn put(connection: &Connection, run: &Execution) -> Work<bool> {
    let sql = insert!(
        "ON CONFLICT DO UPDATE SET user_id = excluded.user_id, key_id = excluded.key_id,
             namespace = excluded.namespace, name = excluded.name, revision = excluded.revision,
             class = excluded.class, connection_id = excluded.connection_id,
             app_id = excluded.app_id, parent_id = excluded.parent_id, state = excluded.state,
             attempt = excluded.attempt, upstream_status = excluded.upstream_status,
             error_kind = excluded.error_kind, total_us = excluded.total_us,
             upstream_us = excluded.upstream_us, progress = excluded.progress,
             started_at_us = excluded.started_at_us,
             ended_at_us = excluded.ended_at_us
         WHERE state NOT IN ('success', 'error', 'cancelled')"
    );
    Ok(write(connection, sql, run)? > 0)
}

fn write(connection: &Connection, sql: &str, run: &Execution) -> Work<usize> {
    let values = params![
        run.owner.as_str(),
        run.id.to_string(),
        run.user.as_ref().map(UserId::as_str),
        run.key.map(|id| id.to_string()),
        run.action.namespace.as_str(),
        run.action.name.as_str(),
        run.revision,
        run.class.as_str(),
        run.connection.map(|id| id.to_string()),
        run.app.map(|id| id.to_string()),
        run.parent.map(|id| id.to_string()),
        run.state.as_str(),
        run.attempts,
        run.upstream_status,
        run.error.map(ErrorKind::as_str),
        duration(run.timing.total),
        duration(run.timing.upstream),
        run.version.map(|version| version.to_string()),
        run.progress,
        run.created_at.as_microsecond(),
        micros(run.started_at),
        micros(run.ended_at),
    ];
    execute(connection, sql, values)
}

fn duration(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

/// Moves `last_used_at` of what the runs used, once for each; it never goes back.
fn touch(connection: &Connection, runs: &[Recorded]) -> Work<()> {
    let (mut keys, mut connections) = (HashMap::new(), HashMap::new());
    for Recorded { execution: run, .. } in runs {
        let at = run.started_at.unwrap_or(run.created_at).as_microsecond();
        if let Some(id) = run.key {
            let latest = keys.entry((&run.owner, id)).or_insert(at);
            *latest = at.max(*latest);
        }
        if let Some(id) = run.connection {
            let latest = connections.entry((&run.owner, id)).or_insert(at);
            *latest = at.max(*latest);
        }
    }
    for ((owner, id), at) in keys {
        let sql = "UPDATE keys SET last_used_at_us = ?3 WHERE owner = ?1 AND id = ?2
                   AND coalesce(last_used_at_us < ?3, true)";
        execute(connection, sql, params![owner.as_str(), id.to_string(), at])?;
    }
    for ((owner, id), at) in connections {
        let sql = "UPDATE connections SET last_used_at_us = ?3 WHERE owner = ?1 AND id = ?2
                   AND coalesce(last_used_at_us < ?3, true)";
        execute(connection, sql, params![owner.as_str(), id.to_string(), at])?;
    }
    Ok(())
}
