//! Listings of executions in SQLite: each by the index that leaves the least to look at.

use rusqlite::{Connection, params};

use super::{
    execution::{read, select},
    failure::Work,
    row::{all, count, first},
};
use crate::{
    id::ExecutionId,
    name::{OwnerId, Slug, UserId},
    record::execution::{Execution, State},
    store::ExecutionFilter,
};

/// What a page shows and in which order; `$index` and `$narrow` say where it is looked for.
macro_rules! page {
    ($index:literal, $narrow:literal) => {
        select!(concat!(
            "FROM executions ",
            $index,
            " WHERE owner = ?1 AND ",
            $narrow,
            " AND parent_id IS ?6 AND (?2 IS NULL OR state = ?2)
              AND (?3 IS NULL OR namespace_canonical = ?3) AND (?4 IS NULL OR name_canonical = ?4)
              AND (?5 IS NULL OR user_id = ?5) AND id < ?7
              ORDER BY id DESC LIMIT ?8 OFFSET ?9"
        ))
    };
}

const BY_PARENT: &str = page!("INDEXED BY executions_by_parent", "true");
const BY_USER: &str = page!("INDEXED BY executions_by_user", "user_id = ?5 AND parent_id IS NULL");
const BY_STATE: &str = page!(
    "INDEXED BY executions_by_state",
    "state = ?2 AND state <> 'queued' AND state <> 'running' AND parent_id IS NULL"
);
const BY_ACTION: &str = page!(
    "INDEXED BY executions_by_action",
    "namespace_canonical = ?3 AND name_canonical = ?4 AND parent_id IS NULL"
);
const RUNNING: &str = page!("INDEXED BY executions_running", "state = 'running'");
const QUEUED: &str = page!(
    "",
    "row IN (SELECT row FROM executions INDEXED BY executions_ready
             WHERE state = 'queued' AND is_delayed = 0 AND owner = ?1
             UNION ALL SELECT row FROM executions INDEXED BY executions_delayed
             WHERE state = 'queued' AND is_delayed = 1 AND owner = ?1)"
);

/// Above every identifier.
const END: &str = "f";
/// The most rows that are looked at to find a page of an integration by its actions.
const MOST_BY_NAMES: u64 = 20_000;

/// The runs that match, the newest first.
pub(super) fn page(
    connection: &Connection,
    owner: &OwnerId,
    filter: &ExecutionFilter,
) -> Work<Vec<Execution>> {
    if filter.parent.is_some() {
        return rows(connection, BY_PARENT, owner, filter);
    }
    match filter.state {
        Some(State::Queued) => return rows(connection, QUEUED, owner, filter),
        Some(State::Running) => return rows(connection, RUNNING, owner, filter),
        Some(State::Held | State::Success | State::Error | State::Cancelled) | None => {}
    }
    if filter.user.is_some() {
        return rows(connection, BY_USER, owner, filter);
    }
    if filter.state.is_some() && !is_rarer_by_action(connection, owner, filter)? {
        return rows(connection, BY_STATE, owner, filter);
    }
    match (&filter.namespace, &filter.name) {
        (Some(_), Some(_)) => rows(connection, BY_ACTION, owner, filter),
        (Some(_), None) => by_names(connection, owner, filter),
        (None, _) => rows(connection, BY_PARENT, owner, filter),
    }
}

/// Whether fewer runs are of this action or integration than in this state.
fn is_rarer_by_action(
    connection: &Connection,
    owner: &OwnerId,
    filter: &ExecutionFilter,
) -> Work<bool> {
    if filter.namespace.is_none() {
        return Ok(false);
    }
    let by_action = ExecutionFilter { state: None, ..filter.clone() };
    let by_state = ExecutionFilter { namespace: None, name: None, ..filter.clone() };
    Ok(counted(connection, owner, &by_action)? < counted(connection, owner, &by_state)?)
}

/// A page of an integration: the newest of each of its actions, put in order.
fn by_names(
    connection: &Connection,
    owner: &OwnerId,
    filter: &ExecutionFilter,
) -> Work<Vec<Execution>> {
    let sql = "SELECT DISTINCT name FROM execution_counts
               WHERE owner = ?1 AND user_id = '' AND namespace = ?2 AND runs > 0";
    let namespace = filter.namespace.as_ref().map(Slug::canonical);
    let names = all(connection, sql, params![owner.as_str(), namespace], |cells| {
        cells.parsed(|text| Slug::parse(text).ok())
    })?;
    let most = filter.offset.saturating_add(filter.limit.into());
    if most.saturating_mul(names.len() as u64) > MOST_BY_NAMES {
        return rows(connection, BY_PARENT, owner, filter);
    }
    let mut found = Vec::new();
    for name in names {
        let limit = u32::try_from(most).unwrap_or(u32::MAX);
        let one = ExecutionFilter { name: Some(name), limit, offset: 0, ..filter.clone() };
        found.extend(rows(connection, BY_ACTION, owner, &one)?);
    }
    found.sort_by_key(|run| std::cmp::Reverse(run.id));
    let skip = usize::try_from(filter.offset).unwrap_or(usize::MAX);
    Ok(found.into_iter().skip(skip).take(filter.limit as usize).collect())
}

fn rows(
    connection: &Connection,
    sql: &str,
    owner: &OwnerId,
    filter: &ExecutionFilter,
) -> Work<Vec<Execution>> {
    let after = filter.after.map_or_else(|| END.to_owned(), |id| id.to_string());
    let values = params![
        owner.as_str(),
        filter.state.map(State::as_str),
        filter.namespace.as_ref().map(Slug::canonical),
        filter.name.as_ref().map(Slug::canonical),
        filter.user.as_ref().map(UserId::as_str),
        filter.parent.map(|id| id.to_string()),
        after,
        filter.limit,
        i64::try_from(filter.offset).unwrap_or(i64::MAX),
    ];
    all(connection, sql, values, read)
}

/// How many runs match, wherever the page begins.
pub(super) fn total(
    connection: &Connection,
    owner: &OwnerId,
    filter: &ExecutionFilter,
) -> Work<u64> {
    match filter.parent {
        Some(parent) => calls(connection, owner, parent, filter),
        None => counted(connection, owner, filter),
    }
}

fn calls(
    connection: &Connection,
    owner: &OwnerId,
    parent: ExecutionId,
    filter: &ExecutionFilter,
) -> Work<u64> {
    let sql = "SELECT count(*) FROM executions INDEXED BY executions_by_parent
               WHERE owner = ?1 AND parent_id = ?2 AND (?3 IS NULL OR state = ?3)
               AND (?4 IS NULL OR namespace_canonical = ?4)
               AND (?5 IS NULL OR name_canonical = ?5) AND (?6 IS NULL OR user_id = ?6)";
    let values = params![
        owner.as_str(),
        parent.to_string(),
        filter.state.map(State::as_str),
        filter.namespace.as_ref().map(Slug::canonical),
        filter.name.as_ref().map(Slug::canonical),
        filter.user.as_ref().map(UserId::as_str),
    ];
    count(connection, sql, values)
}

fn counted(connection: &Connection, owner: &OwnerId, filter: &ExecutionFilter) -> Work<u64> {
    let sql = "SELECT coalesce(sum(runs), 0) FROM execution_counts
               WHERE owner = ?1 AND user_id = ?2 AND (?3 IS NULL OR namespace = ?3)
               AND (?4 IS NULL OR name = ?4) AND (?5 IS NULL OR state = ?5)";
    let values = params![
        owner.as_str(),
        filter.user.as_ref().map_or("", UserId::as_str),
        filter.namespace.as_ref().map(Slug::canonical),
        filter.name.as_ref().map(Slug::canonical),
        filter.state.map(State::as_str),
    ];
    Ok(first(connection, sql, values, |cells| cells.number())?.unwrap_or(0))
}
