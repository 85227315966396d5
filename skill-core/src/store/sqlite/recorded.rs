//! Runs that come to the store when they have ended, many at once: the history of calls.
//!
//! Nearly all of them are new and have nothing beside their row. Those go in by statements of many
//! rows: beginning a statement, opening its indexes and finding the place of a row in each of them
//! costs as much as a third of the whole, and rows that come one after another find theirs at once.

use rusqlite::{CachedStatement, ErrorCode, ToSql};

use super::{
    execution::{duration, put},
    failure::{Failure, Work},
    outbox,
    row::micros,
    tally::Session,
};
use crate::{
    error::ErrorKind,
    name::UserId,
    record::execution::{Execution, Recorded},
};

/// The rows of one statement.
const ROWS: usize = 16;

/// A statement that adds rows without a lease and without work of the queue.
macro_rules! insert {
    ($($row:tt)*) => {
        concat!(
            "INSERT INTO executions (owner, id, state, attempt, progress, user_id, key_id,
                 connection_id, app_id, namespace, name, version, revision, class, parent_id,
                 error_kind, upstream_status, total_us, upstream_us, created_at_us, started_at_us,
                 ended_at_us) VALUES ",
            $($row)*
        )
    };
}

macro_rules! row {
    () => {
        "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    };
}

macro_rules! four {
    () => {
        concat!(row!(), ",", row!(), ",", row!(), ",", row!())
    };
}

const MANY: &str = insert!(four!(), ",", four!(), ",", four!(), ",", four!());

/// Adds the runs, or replaces what stands for them, unless that is final.
pub(super) fn record(session: &Session, runs: &[Recorded]) -> Work<()> {
    let (plain, others) = runs.iter().partition::<Vec<_>, _>(|recorded| is_plain(recorded));
    let several = plain.chunks_exact(ROWS);
    let rest = several.remainder();
    for runs in several {
        if insert(session, runs)? {
            for run in runs.iter().map(|recorded| &recorded.execution) {
                session.moved(run, None, Some(run.state));
                outbox::announce_end(session, run)?;
            }
        } else {
            // The store has one of them. Nothing of the statement was kept.
            runs.iter().try_for_each(|recorded| put(session, recorded))?;
        }
    }
    rest.iter().chain(&others).try_for_each(|recorded| put(session, recorded))
}

/// Whether there is nothing to keep but the row.
fn is_plain(recorded: &Recorded) -> bool {
    let Recorded { execution, input, outcome, replay } = recorded;
    let has_no_body = input.is_none() && outcome.is_none() && replay.is_none();
    execution.state.is_final() && execution.origin.is_none() && has_no_body
}

/// Adds as many runs as the statement has rows; false, and nothing is added, when one is there.
fn insert(session: &Session, runs: &[&Recorded]) -> Work<bool> {
    let mut statement = session.prepare_cached(MANY)?;
    let mut row = Row { statement: &mut statement, at: 0 };
    runs.iter().try_for_each(|recorded| row.bind(&recorded.execution))?;
    match statement.raw_execute() {
        Ok(_) => Ok(true),
        Err(cause) if cause.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
            Ok(false)
        }
        Err(cause) => Err(Failure::Sqlite(cause)),
    }
}

/// The values of a statement, bound in their order.
struct Row<'a, 'c> {
    statement: &'a mut CachedStatement<'c>,
    at: usize,
}

impl Row<'_, '_> {
    fn next(&mut self, value: impl ToSql) -> Work<()> {
        self.at += 1;
        Ok(self.statement.raw_bind_parameter(self.at, value)?)
    }

    fn bind(&mut self, run: &Execution) -> Work<()> {
        self.next(run.owner.as_str())?;
        self.next(run.id.to_string())?;
        self.next(run.state.as_str())?;
        self.next(run.attempts)?;
        self.next(run.progress)?;
        self.next(run.user.as_ref().map(UserId::as_str))?;
        self.next(run.key.map(|id| id.to_string()))?;
        self.next(run.connection.map(|id| id.to_string()))?;
        self.next(run.app.map(|id| id.to_string()))?;
        self.next(run.action.namespace.as_str())?;
        self.next(run.action.name.as_str())?;
        self.next(run.version.map(|version| version.to_string()))?;
        self.next(&*run.revision)?;
        self.next(run.class.as_str())?;
        self.next(run.parent.map(|id| id.to_string()))?;
        self.next(run.error.map(ErrorKind::as_str))?;
        self.next(run.upstream_status)?;
        self.next(duration(run.timing.total))?;
        self.next(duration(run.timing.upstream))?;
        self.next(run.created_at.as_microsecond())?;
        self.next(micros(run.started_at))?;
        self.next(micros(run.ended_at))
    }
}
