//! Sealed values wherever they lie in the file: found by the key version in their header, replaced
//! where they still stand.

use rusqlite::{Connection, params};

use super::{
    failure::Work,
    row::{Cells, all, execute},
};
use crate::{
    id::{AppId, ConnectionId, ExecutionId, FlowId, MemoryId, ScheduleId, TriggerId, WebhookId},
    name::{OwnerId, UserId},
    record::{Sealed, app::Holder, connection::ConnectionRef},
    store::{Aged, Cursor, Part, Place},
};

/// Pages of a table: its two numbers, its sealed column, and what tells whose a value is. Byte 2 to
/// 5 of a sealed value are the version of its key.
macro_rules! page {
    ($first:literal, $second:literal, $sealed:literal, $whose:literal, $from:literal) => {
        concat!(
            "SELECT ",
            $first,
            ", ",
            $second,
            ", ",
            $sealed,
            ", ",
            $whose,
            " FROM ",
            $from,
            " WHERE ",
            $sealed,
            " IS NOT NULL AND substr(",
            $sealed,
            ", 2, 4) < ?1
              AND (",
            $first,
            ", ",
            $second,
            ") > (?2, ?3)
              ORDER BY 1, 2 LIMIT ?4"
        )
    };
}

const GRANTS: &str = page!(
    "g.rowid",
    "0",
    "g.sealed",
    "c.id, c.owner, c.user_id",
    "grants g JOIN connections c ON c.id = g.connection_id"
);
const CLIENTS: &str = page!("rowid", "0", "client_secret", "owner, id", "apps");
const FLOWS: &str = page!("rowid", "0", "verifier", "owner, id", "flows");
const WEBHOOKS: &str = page!("rowid", "0", "secret", "owner, user_id, id", "webhooks");
const RETIRING: &str = page!("rowid", "0", "previous_secret", "owner, user_id, id", "webhooks");
const INPUTS: &str = page!(
    "i.run",
    "0",
    "i.sealed",
    "e.owner, e.id",
    "execution_inputs i JOIN executions e ON e.row = i.run"
);
const OUTCOMES: &str = page!(
    "o.run",
    "0",
    "o.sealed",
    "e.owner, e.id",
    "execution_outcomes o JOIN executions e ON e.row = o.run"
);
const STEPS: &str = page!(
    "s.run",
    "s.position",
    "s.sealed",
    "e.owner, e.id, s.position, s.name",
    "execution_steps s JOIN executions e ON e.row = s.run"
);
const REPLAYS: &str = page!("rowid", "0", "outcome", "owner, execution_id", "idempotency");
const SAID: &str = page!(
    "m.run",
    "m.position",
    "m.sealed",
    "e.owner, e.id, m.position",
    "execution_messages m JOIN executions e ON e.row = m.run"
);
const MEMORIES: &str = page!("rowid", "0", "content", "owner, id", "memories");

const SCHEDULES: &str = page!("rowid", "0", "input", "owner, id", "schedules");
const TRIGGERS: &str = page!("rowid", "0", "secret", "owner, id", "triggers");
const CALLBACKS: &str = page!(
    "s.run",
    "0",
    "s.callback_secret",
    "e.owner, e.id",
    "execution_sources s JOIN executions e ON e.row = s.run"
);

/// Values of a part that were sealed with an older key.
pub(super) fn before(
    connection: &Connection,
    part: Part,
    (version, after): (u32, Option<Cursor>),
    most: u32,
) -> Work<Vec<Aged>> {
    let Cursor(first, second) = after.unwrap_or(Cursor(i64::MIN, i64::MIN));
    let sql = match part {
        Part::Grants => GRANTS,
        Part::Clients => CLIENTS,
        Part::Flows => FLOWS,
        Part::Webhooks => WEBHOOKS,
        Part::RetiringSecrets => RETIRING,
        Part::Inputs => INPUTS,
        Part::Outcomes => OUTCOMES,
        Part::Steps => STEPS,
        Part::Replays => REPLAYS,
        Part::Schedules => SCHEDULES,
        Part::Triggers => TRIGGERS,
        Part::Callbacks => CALLBACKS,
        Part::Said => SAID,
        Part::Memories => MEMORIES,
    };
    let values = params![version.to_be_bytes(), first, second, most];
    all(connection, sql, values, |cells| {
        let cursor = Cursor(cells.next()?, cells.next()?);
        let sealed = cells.sealed()?;
        Ok(Aged { place: place(part, cells)?, sealed, cursor })
    })
}

fn place(part: Part, cells: &mut Cells<'_>) -> Work<Place> {
    let owner = |cells: &mut Cells<'_>| cells.parsed(|text| OwnerId::parse(text).ok());
    let user = |cells: &mut Cells<'_>| cells.parsed_if_any(|text| UserId::parse(text).ok());
    Ok(match part {
        Part::Grants => Place::Grant(ConnectionRef {
            id: cells.parsed(ConnectionId::parse)?,
            owner: owner(cells)?,
            user: user(cells)?,
        }),
        Part::Clients => Place::Client {
            holder: cells
                .parsed_if_any(|text| OwnerId::parse(text).ok())?
                .map_or(Holder::System, Holder::Owner),
            app: cells.parsed(AppId::parse)?,
        },
        Part::Flows => Place::Verifier { owner: owner(cells)?, flow: cells.parsed(FlowId::parse)? },
        Part::Webhooks | Part::RetiringSecrets => Place::Webhook {
            owner: owner(cells)?,
            user: user(cells)?,
            webhook: cells.parsed(WebhookId::parse)?,
        },
        Part::Inputs => {
            Place::Input { owner: owner(cells)?, run: cells.parsed(ExecutionId::parse)? }
        }
        Part::Outcomes | Part::Replays => {
            Place::Outcome { owner: owner(cells)?, run: cells.parsed(ExecutionId::parse)? }
        }
        Part::Schedules => {
            Place::Schedule { owner: owner(cells)?, schedule: cells.parsed(ScheduleId::parse)? }
        }
        Part::Triggers => {
            Place::Trigger { owner: owner(cells)?, trigger: cells.parsed(TriggerId::parse)? }
        }
        Part::Callbacks => {
            Place::Callback { owner: owner(cells)?, run: cells.parsed(ExecutionId::parse)? }
        }
        Part::Steps => Place::Step {
            owner: owner(cells)?,
            run: cells.parsed(ExecutionId::parse)?,
            position: cells.next()?,
            name: cells.next()?,
        },
        Part::Said => Place::Said {
            owner: owner(cells)?,
            run: cells.parsed(ExecutionId::parse)?,
            position: cells.next()?,
        },
        Part::Memories => {
            Place::Memory { owner: owner(cells)?, memory: cells.parsed(MemoryId::parse)? }
        }
    })
}

/// Replaces the values that still stand as they were read.
pub(super) fn replace(connection: &Connection, part: Part, values: &[(Aged, Sealed)]) -> Work<u64> {
    let (table, column, row, second) = match part {
        Part::Grants => ("grants", "sealed", "rowid", "0"),
        Part::Clients => ("apps", "client_secret", "rowid", "0"),
        Part::Flows => ("flows", "verifier", "rowid", "0"),
        Part::Webhooks => ("webhooks", "secret", "rowid", "0"),
        Part::RetiringSecrets => ("webhooks", "previous_secret", "rowid", "0"),
        Part::Inputs => ("execution_inputs", "sealed", "run", "0"),
        Part::Outcomes => ("execution_outcomes", "sealed", "run", "0"),
        Part::Steps => ("execution_steps", "sealed", "run", "position"),
        Part::Replays => ("idempotency", "outcome", "rowid", "0"),
        Part::Schedules => ("schedules", "input", "rowid", "0"),
        Part::Triggers => ("triggers", "secret", "rowid", "0"),
        Part::Callbacks => ("execution_sources", "callback_secret", "run", "0"),
        Part::Said => ("execution_messages", "sealed", "run", "position"),
        Part::Memories => ("memories", "content", "rowid", "0"),
    };
    let sql = format!(
        "UPDATE {table} SET {column} = ?3 WHERE {row} = ?1 AND {second} = ?2 AND {column} = ?4"
    );
    let mut replaced = 0;
    for (old, new) in values {
        let Cursor(first, second) = old.cursor;
        replaced += execute(connection, &sql, params![first, second, new.0, old.sealed.0])?;
    }
    Ok(replaced as u64)
}
