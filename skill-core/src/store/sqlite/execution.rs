//! Executions in SQLite.

use std::{collections::HashMap, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::{Connection, named_params, params};

use super::{
    SqliteStore,
    failure::{Failure, Work},
    lease::Known,
    listing, outbox, recorded, repeat,
    row::{Cells, all, execute, first, json, micros},
    tally::Session,
};
use crate::{
    error::{Error, ErrorKind, Result},
    id::{AppId, ConnectionId, ExecutionId, KeyId},
    name::{ActionName, AgentId, OwnerId, Slug, UserId, Version},
    record::{
        Sealed,
        execution::{
            Begun, Class, Execution, Idempotency, Origin, Recorded, State, Timing, Trigger,
        },
        run,
    },
    store::{ExecutionFilter, ExecutionStore},
};

/// The statement that keeps an outcome beside its row.
pub(super) const KEEP_OUTCOME: &str =
    "INSERT OR REPLACE INTO execution_outcomes (run, sealed) VALUES (?1, ?2)";
/// The most rows that one command removes: other commands wait meanwhile.
const BATCH: u32 = 500;

/// The columns that [`read`] reads, and the rest of a statement.
macro_rules! select {
    ($($rest:tt)*) => {
        concat!(
            "SELECT id, owner, user_id, key_id, namespace, name, revision, class, connection_id,
                    app_id, parent_id, state, attempt, upstream_status, error_kind, total_us,
                    upstream_us, version, progress, created_at_us, started_at_us, ended_at_us,
                    agent_id, trigger_type, conversation_id ",
            $($rest)*
        )
    };
}
pub(super) use select;

pub(super) fn read(cells: &mut Cells<'_>) -> Work<Execution> {
    let mut run = Execution {
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
        origin: None,
    };
    let agent = cells.parsed_if_any(|text| AgentId::parse(text).ok())?;
    let trigger = cells.parsed_if_any(Trigger::parse)?;
    let conversation = cells.parsed_if_any(ExecutionId::parse)?.filter(|start| *start != run.id);
    let origin = agent.zip(trigger);
    run.origin = origin.map(|(agent, trigger)| Origin { agent, trigger, conversation });
    Ok(run)
}

#[async_trait]
impl ExecutionStore for SqliteStore {
    async fn begin(
        &self,
        run: &Execution,
        idempotency: Option<&Idempotency>,
        until: Timestamp,
    ) -> Result<Begun> {
        let (run, idempotency) = (run.clone(), idempotency.cloned());
        self.write(move |session| {
            if let Some(asked) = &idempotency {
                if let Some(found) = repeat::find(session, &run, asked)? {
                    return Ok(found);
                }
                repeat::remember(session, &run, asked)?;
            }
            let has_key = idempotency.is_some();
            add(session, &run, &Place { until: Some(until), has_key, ..Place::default() })?;
            Ok(Begun::New)
        })
        .await
    }

    async fn orphans(&self, now: Timestamp, most: u32) -> Result<Vec<Execution>> {
        let now = now.as_microsecond();
        self.read(move |connection| {
            let sql = select!(
                "FROM executions INDEXED BY executions_running
                 WHERE state = 'running' AND lease_until_us <= ?1 AND worker IS NULL
                 ORDER BY lease_until_us, id LIMIT ?2"
            );
            all(connection, sql, params![now, most], read)
        })
        .await
    }

    async fn bodies(
        &self,
        owner: &OwnerId,
        id: ExecutionId,
    ) -> Result<(Option<Sealed>, Option<Sealed>)> {
        let owner = owner.clone();
        self.read(move |connection| {
            let sql = "SELECT i.sealed, o.sealed FROM executions e
                       LEFT JOIN execution_inputs i ON i.run = e.row
                       LEFT JOIN execution_outcomes o ON o.run = e.row
                       WHERE e.owner = ?1 AND e.id = ?2";
            let bodies = first(connection, sql, [owner.as_str(), &id.to_string()], |cells| {
                Ok((cells.sealed_if_any()?, cells.sealed_if_any()?))
            });
            Ok(bodies?.unwrap_or_default())
        })
        .await
    }

    async fn record(&self, runs: &[Recorded]) -> Result<()> {
        let runs = runs.to_vec();
        self.write(move |session| {
            recorded::record(session, &runs)?;
            touch(session, runs.iter().map(|recorded| &recorded.execution))
        })
        .await
    }

    async fn execution(&self, owner: &OwnerId, id: ExecutionId) -> Result<Option<Execution>> {
        let owner = owner.clone();
        self.read(move |connection| {
            let sql = select!("FROM executions WHERE owner = ?1 AND id = ?2");
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
            // One snapshot for all statements.
            let _snapshot = connection.unchecked_transaction()?;
            let page = listing::page(connection, &owner, &filter)?;
            Ok((page, listing::total(connection, &owner, &filter)?))
        })
        .await
    }

    async fn prune(&self, before: Timestamp, now: Timestamp, most: u32) -> Result<u64> {
        self.remove(now, most, forget_repeats).await?;
        self.remove(before, most, forget_runs).await
    }
}

impl SqliteStore {
    /// Removes rows in small batches; returns how many went.
    async fn remove(
        &self,
        edge: Timestamp,
        most: u32,
        batch: fn(&Session, i64, u32) -> Work<usize>,
    ) -> Result<u64> {
        let edge = edge.as_microsecond();
        let mut removed = 0;
        while removed < most {
            let size = BATCH.min(most - removed);
            let gone = self.write(move |session| batch(session, edge, size)).await?;
            let gone = u32::try_from(gone).unwrap_or(size);
            removed += gone;
            if gone < size {
                break;
            }
        }
        Ok(u64::from(removed))
    }
}

fn forget_repeats(session: &Session, now: i64, most: u32) -> Work<usize> {
    let sql = "DELETE FROM idempotency WHERE rowid IN
               (SELECT rowid FROM idempotency WHERE expires_at_us <= ?1 LIMIT ?2)";
    execute(session, sql, params![now, most])
}

fn forget_runs(session: &Session, before: i64, most: u32) -> Work<usize> {
    let sql = "SELECT row FROM executions INDEXED BY executions_by_end
               WHERE ended_at_us < ?1 ORDER BY ended_at_us LIMIT ?2";
    let rows = all(session, sql, params![before, most], |cells| cells.next::<i64>())?;
    for row in &rows {
        let sql = select!("FROM executions WHERE row = ?1");
        let run = first(session, sql, [row], read)?;
        run.iter().for_each(|run| session.moved(run, Some(run.state), None));
        execute(session, "DELETE FROM execution_inputs WHERE run = ?1", [row])?;
        execute(session, "DELETE FROM execution_sources WHERE run = ?1", [row])?;
        execute(session, "DELETE FROM execution_outcomes WHERE run = ?1", [row])?;
        execute(session, "DELETE FROM execution_messages WHERE run = ?1", [row])?;
        execute(session, "DELETE FROM executions WHERE row = ?1", [row])?;
    }
    Ok(rows.len())
}

/// Where a new run stands beside its record.
#[derive(Default)]
pub(super) struct Place<'a> {
    /// Until when it is leased, or when it counts as lost.
    pub(super) until: Option<Timestamp>,
    /// Who claimed it on the way.
    pub(super) worker: Option<&'a run::Worker>,
    /// What the queue keeps.
    pub(super) work: Option<&'a run::Work>,
    /// Whether it was asked for with an idempotency key.
    pub(super) has_key: bool,
}

/// Adds a run whose identifier is fresh; returns its row.
pub(super) fn add(session: &Session, run: &Execution, place: &Place<'_>) -> Work<i64> {
    let row = insert(session, run, place)?;
    row.ok_or_else(|| Error::internal("a run with this identity exists").into())
}

/// The statement that adds a run, unless there is one of this identifier. One that waits keeps room
/// for its claim.
const INSERT: &str =
    "INSERT INTO executions (owner, id, state, attempt, progress, lease_until_us, worker,
        fencing, is_delayed, run_at_us, deadline_us, priority, group_name, group_most,
        scopes, tier, user_id, key_id, connection_id, app_id, namespace, name, version,
        revision, class, parent_id, error_kind, upstream_status, total_us, upstream_us,
        created_at_us, started_at_us, ended_at_us, has_key, agent_id, trigger_type,
        conversation_id, room)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17,
        ?18, ?19, ?20, ?21, ?22, ?23, ?24, ?25, ?26, ?27, ?28, ?29, ?30, ?31, ?32, ?33,
        ?34, ?35, ?36, ?37, iif(?3 = 'queued', zeroblob(36), NULL))
    ON CONFLICT DO NOTHING";

/// Adds a run; nothing when there is one of this identifier.
fn insert(session: &Session, run: &Execution, place: &Place<'_>) -> Work<Option<i64>> {
    let work = place.work;
    let group = work.and_then(|work| work.group.as_ref());
    let values = params![
        run.owner.as_str(),
        run.id.to_string(),
        run.state.as_str(),
        run.attempts,
        run.progress,
        micros(place.until),
        place.worker.map(|worker| &worker.0),
        i64::from(place.worker.is_some()),
        work.is_some_and(|work| run.created_at < work.run_at),
        micros(work.map(|work| work.run_at)),
        micros(work.map(|work| work.deadline)),
        work.map_or(0, |work| work.priority),
        group.map_or("", |group| &group.name),
        group.map(|group| group.most),
        work.map(|work| json(&work.scopes.texts())).transpose()?,
        work.and_then(|work| work.tier.as_ref()),
        run.user.as_ref().map(UserId::as_str),
        run.key.map(|id| id.to_string()),
        run.connection.map(|id| id.to_string()),
        run.app.map(|id| id.to_string()),
        run.action.namespace.as_str(),
        run.action.name.as_str(),
        run.version.map(|version| version.to_string()),
        run.revision,
        run.class.as_str(),
        run.parent.map(|id| id.to_string()),
        run.error.map(ErrorKind::as_str),
        run.upstream_status,
        duration(run.timing.total),
        duration(run.timing.upstream),
        run.created_at.as_microsecond(),
        micros(run.started_at),
        micros(run.ended_at),
        place.has_key,
        run.origin.as_ref().map(|origin| origin.agent.as_str()),
        run.origin.as_ref().map(|origin| origin.trigger.as_str()),
        run.conversation().map(|start| start.to_string()),
    ];
    if execute(session, INSERT, values)? == 0 {
        return Ok(None);
    }
    session.moved(run, None, Some(run.state));
    Ok(Some(session.last_insert_rowid()))
}

/// Writes what may change of a run; a lease stays only if the run does not end.
pub(super) fn update(session: &Session, row: i64, run: &Execution) -> Work<()> {
    let sql = "UPDATE executions SET state = :state, attempt = :attempt, progress = :progress,
                   lease_until_us = iif(:is_final, NULL, lease_until_us),
                   worker = iif(:is_final, NULL, worker), connection_id = :connection,
                   app_id = :app, version = :version, revision = :revision, class = :class,
                   error_kind = :error, upstream_status = :status, total_us = :total,
                   upstream_us = :upstream, started_at_us = :started, ended_at_us = :ended
               WHERE row = :row";
    let values = named_params! {
        ":row": row,
        ":state": run.state.as_str(),
        ":attempt": run.attempts,
        ":progress": run.progress,
        ":is_final": run.state.is_final(),
        ":connection": run.connection.map(|id| id.to_string()),
        ":app": run.app.map(|id| id.to_string()),
        ":version": run.version.map(|version| version.to_string()),
        ":revision": run.revision,
        ":class": run.class.as_str(),
        ":error": run.error.map(ErrorKind::as_str),
        ":status": run.upstream_status,
        ":total": duration(run.timing.total),
        ":upstream": duration(run.timing.upstream),
        ":started": micros(run.started_at),
        ":ended": micros(run.ended_at),
    };
    execute(session, sql, values).map(drop)
}

/// The run's row and the run as it stands, by its identity.
pub(super) fn find(
    connection: &Connection,
    owner: &OwnerId,
    id: ExecutionId,
) -> Work<Option<(i64, Execution)>> {
    let sql = select!(", row FROM executions WHERE owner = ?1 AND id = ?2");
    first(connection, sql, [owner.as_str(), &id.to_string()], |cells| {
        let run = read(cells)?;
        Ok((cells.next()?, run))
    })
}

/// Adds the run or replaces what stands for it, unless that is final.
pub(super) fn put(session: &Session, recorded: &Recorded) -> Work<()> {
    let run = &recorded.execution;
    if let Some(row) = insert(session, run, &Place::default())? {
        keep_bodies(session, row, recorded.input.as_ref(), recorded.outcome.as_ref())?;
        return outbox::announce_end(session, run);
    }
    let found = find(session, &run.owner, run.id)?;
    let (row, old) = found.ok_or_else(|| Failure::unreadable("run"))?;
    if old.state.is_final() {
        return Ok(());
    }
    update(session, row, run)?;
    session.moved(&old, Some(old.state), Some(run.state));
    keep_bodies(session, row, recorded.input.as_ref(), recorded.outcome.as_ref())?;
    if run.state.is_final() {
        ended(session, Known::at(row), run, recorded.replay.as_ref())?;
    }
    Ok(())
}

/// Keeps what there is of bodies beside the run.
pub(super) fn keep_bodies(
    session: &Session,
    row: i64,
    input: Option<&Sealed>,
    outcome: Option<&Sealed>,
) -> Work<()> {
    if let Some(input) = input {
        let sql = "INSERT OR REPLACE INTO execution_inputs (run, sealed) VALUES (?1, ?2)";
        execute(session, sql, params![row, input.0])?;
    }
    if let Some(outcome) = outcome {
        execute(session, KEEP_OUTCOME, params![row, outcome.0])?;
    }
    Ok(())
}

/// Announces the end of a run, removes its steps, and keeps the outcome for repeats.
pub(super) fn ended(
    session: &Session,
    known: Known,
    run: &Execution,
    replay: Option<&Sealed>,
) -> Work<()> {
    outbox::announce_end(session, run)?;
    if known.has_steps {
        execute(session, "DELETE FROM execution_steps WHERE run = ?1", [known.row])?;
    }
    if known.has_key {
        repeat::settle(session, &run.owner, run.id, replay)?;
    }
    Ok(())
}

pub(super) fn duration(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

/// Moves `last_used_at` of what the runs used, once for each; it never goes back.
pub(super) fn touch<'a>(
    connection: &Connection,
    runs: impl Iterator<Item = &'a Execution>,
) -> Work<()> {
    let (mut keys, mut connections) = (HashMap::new(), HashMap::new());
    for run in runs {
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
