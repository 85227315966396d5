//! Ending attempts in SQLite: one statement that checks the lease, and of the rest only what there
//! is to do.

use rusqlite::{CachedStatement, params};

use super::{
    execution::{KEEP_OUTCOME, duration, ended, update},
    failure::Work,
    lease::{Known, find, number},
    row::{execute, micros},
    tally::Session,
};
use crate::{
    error::ErrorKind,
    record::{
        execution::{Execution, State},
        run::Finished,
    },
};

/// The statement that ends a run on whose row the lease is held.
const END: &str = "UPDATE executions SET state = ?1, attempt = max(attempt - ?2, 0), progress = ?3,
                       lease_until_us = NULL, worker = NULL, connection_id = ?4, app_id = ?5,
                       version = ?6, revision = ?7, class = ?8, error_kind = ?9,
                       upstream_status = ?10, total_us = ?11, upstream_us = ?12,
                       started_at_us = ?13, ended_at_us = ?14
                   WHERE row = ?15 AND owner = ?16 AND id = ?17 AND state = 'running'
                   AND fencing = ?18 AND worker = ?19";

/// Ends attempts; false for those whose lease is lost.
pub(super) fn finish(session: &Session, done: &[Finished]) -> Work<Vec<bool>> {
    // Looked up once: for most runs there is nothing else to do.
    let mut ending =
        Ending { end: session.prepare_cached(END)?, keep: session.prepare_cached(KEEP_OUTCOME)? };
    done.iter().map(|done| ending.finish(session, done)).collect()
}

struct Ending<'c> {
    end: CachedStatement<'c>,
    keep: CachedStatement<'c>,
}

impl Ending<'_> {
    fn finish(&mut self, session: &Session, done: &Finished) -> Work<bool> {
        if !done.execution.state.is_final() {
            return give_back(session, done);
        }
        if let Some(known) = session.leased.of(done.lease.id)
            && self.end(session, known, done)?
        {
            return Ok(true);
        }
        match find(session, &done.lease)? {
            Some((known, _)) => self.end(session, known, done),
            None => Ok(false),
        }
    }

    /// Ends the run; false when the lease is not held on this row.
    fn end(&mut self, session: &Session, known: Known, done: &Finished) -> Work<bool> {
        let (lease, run) = (&done.lease, &done.execution);
        let values = params![
            run.state.as_str(),
            done.is_undone,
            run.progress,
            run.connection.map(|id| id.to_string()),
            run.app.map(|id| id.to_string()),
            run.version.map(|version| version.to_string()),
            run.revision,
            run.class.as_str(),
            run.error.map(ErrorKind::as_str),
            run.upstream_status,
            duration(run.timing.total),
            duration(run.timing.upstream),
            micros(run.started_at),
            micros(run.ended_at),
            known.row,
            lease.owner.as_str(),
            lease.id.to_string(),
            number(lease.fencing),
            lease.worker.0,
        ];
        if self.end.execute(values)? == 0 {
            return Ok(false);
        }
        session.moved(run, Some(State::Running), Some(run.state));
        session.leased.forget(lease.id);
        if let Some(outcome) = &done.outcome {
            self.keep.execute(params![known.row, outcome.0])?;
        }
        ended(session, known, run, done.outcome.as_ref())?;
        Ok(true)
    }
}

/// Queues the run again; false when the lease is lost.
fn give_back(session: &Session, done: &Finished) -> Work<bool> {
    let Some((known, attempts)) = find(session, &done.lease)? else { return Ok(false) };
    let run = Execution {
        state: State::Queued,
        progress: 0,
        attempts: attempts.saturating_sub(u32::from(done.is_undone)),
        ended_at: None,
        ..done.execution.clone()
    };
    update(session, known.row, &run)?;
    let sql = "UPDATE executions SET lease_until_us = NULL, worker = NULL, is_sent = 0,
                   is_delayed = 1, run_at_us = ?2 WHERE row = ?1";
    execute(session, sql, params![known.row, done.run_at.as_microsecond()])?;
    session.moved(&run, Some(State::Running), Some(State::Queued));
    session.leased.forget(run.id);
    Ok(true)
}
