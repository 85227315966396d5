//! Idempotency records in SQLite: what a repeat of a request finds.

use rusqlite::{Connection, params};

use super::{
    failure::Work,
    row::{execute, first},
};
use crate::{
    id::ExecutionId,
    name::OwnerId,
    record::{
        Sealed,
        execution::{Begun, Execution, Idempotency},
    },
};

/// What the same request led to before.
pub(super) fn find(
    connection: &Connection,
    run: &Execution,
    asked: &Idempotency,
) -> Work<Option<Begun>> {
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
pub(super) fn remember(connection: &Connection, run: &Execution, asked: &Idempotency) -> Work<()> {
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
pub(super) fn settle(
    connection: &Connection,
    owner: &OwnerId,
    id: ExecutionId,
    outcome: Option<&Sealed>,
) -> Work<()> {
    let (owner, id) = (owner.as_str(), id.to_string());
    let Some(outcome) = outcome else {
        let sql = "DELETE FROM idempotency WHERE owner = ?1 AND execution_id = ?2";
        return execute(connection, sql, [owner, &id]).map(drop);
    };
    let sql = "UPDATE idempotency SET outcome = ?3 WHERE owner = ?1 AND execution_id = ?2";
    execute(connection, sql, params![owner, id, outcome.0]).map(drop)
}
