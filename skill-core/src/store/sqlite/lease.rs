//! Leases in SQLite: the condition that one is held, and what is known of the runs that somebody
//! holds.
//!
//! The connection that writes remembers which runs were claimed over it, so that nobody has to look
//! for their row, for steps that they do not have, and for a key that they were not given. What it
//! remembers decides nothing: every statement asks for the lease itself, and what is not remembered
//! is looked up.

use std::{cell::RefCell, collections::HashMap};

use rusqlite::named_params;

use super::{failure::Work, row::first, tally::Session};
use crate::{id::ExecutionId, record::run::Lease};

/// The condition that a lease is held, behind the names of its parameters.
macro_rules! held {
    ($before:literal) => {
        concat!(
            $before,
            " WHERE owner = :owner AND id = :id AND state = 'running'
              AND fencing = :fencing AND worker = :worker"
        )
    };
}
pub(super) use held;

/// What is known of a run that has not ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    pub(super) row: i64,
    /// Whether it may have steps.
    pub(super) has_steps: bool,
    /// Whether it may have an idempotency key.
    pub(super) has_key: bool,
}

impl Known {
    /// A run of which nothing is known but its row.
    pub(super) fn at(row: i64) -> Self {
        Self { row, has_steps: true, has_key: true }
    }
}

/// The runs that were claimed, as far as they are remembered.
#[derive(Default)]
pub(super) struct Leased(RefCell<HashMap<ExecutionId, Known>>);

impl Leased {
    pub(super) fn of(&self, id: ExecutionId) -> Option<Known> {
        self.0.borrow().get(&id).copied()
    }

    pub(super) fn remember(&self, id: ExecutionId, known: Known) {
        self.0.borrow_mut().insert(id, known);
    }

    /// The run has steps from now on.
    pub(super) fn has_steps(&self, id: ExecutionId) {
        self.0.borrow_mut().entry(id).and_modify(|known| known.has_steps = true);
    }

    /// Nobody holds the run any more.
    pub(super) fn forget(&self, id: ExecutionId) {
        self.0.borrow_mut().remove(&id);
    }

    /// What was remembered may have been undone.
    pub(super) fn forget_all(&self) {
        self.0.borrow_mut().clear();
    }
}

/// The run on which the lease is held, and how often it was claimed.
pub(super) fn find(session: &Session, lease: &Lease) -> Work<Option<(Known, u32)>> {
    let values = named_params! {
        ":owner": lease.owner.as_str(),
        ":id": lease.id.to_string(),
        ":fencing": number(lease.fencing),
        ":worker": lease.worker.0,
    };
    first(session, held!("SELECT row, has_key, attempt FROM executions"), values, |cells| {
        let known = Known { row: cells.next()?, has_steps: true, has_key: cells.next()? };
        Ok((known, cells.next()?))
    })
}

/// Fencing numbers are small: one for each claim of a run.
pub(super) fn number(fencing: u64) -> i64 {
    i64::try_from(fencing).unwrap_or(i64::MAX)
}
