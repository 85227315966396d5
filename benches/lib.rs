//! Benchmarks; run them with `cargo bench`. Here stands what several of them need: records of the queue.
use std::time::Duration;

use jiff::Timestamp;
use skill_core::{
    Result,
    id::ExecutionId,
    name::{ActionName, OwnerId, Slug},
    record::{
        Sealed,
        execution::{Class, Execution, State, Timing},
        run::{Claim, Claimed, Enqueue, Finished, Work, Worker},
        scope::Scopes,
    },
};

/// The bytes of sealed inputs: the kit's payload of 200 bytes, and what sealing adds.
const INPUT: usize = 256;

/// A run that is to be queued, asked for at this moment.
///
/// # Errors
/// When the system has no randomness.
pub fn queued() -> Result<Enqueue> {
    let created_at = Timestamp::now();
    let execution = Execution {
        id: ExecutionId::fresh(created_at)?,
        owner: OwnerId::standard(),
        user: None,
        key: None,
        action: ActionName { namespace: Slug::parse("bench")?, name: Slug::parse("noop")? },
        version: None,
        revision: "0123456789abcdef".into(),
        class: Class::Read,
        connection: None,
        app: None,
        parent: None,
        origin: None,
        state: State::Queued,
        progress: 0,
        attempts: 0,
        upstream_status: None,
        error: None,
        timing: Timing::default(),
        created_at,
        started_at: None,
        ended_at: None,
    };
    let work = Work {
        input: Sealed(vec![7; INPUT]),
        scopes: Scopes::all(),
        tier: None,
        priority: 0,
        run_at: created_at,
        deadline: created_at + Duration::from_secs(900),
        group: None,
    };
    let (idempotency, claimed, most_queued) = (None, None, u64::MAX);
    Ok(Enqueue { execution, work, idempotency, claimed, most_queued, source: None })
}

/// So many runs for a worker.
pub fn want(most: u32) -> Claim {
    let now = Timestamp::now();
    Claim {
        worker: Worker("bench".into()),
        now,
        until: now + Duration::from_secs(60),
        most,
        after: None,
        saturated: Vec::new(),
    }
}

/// The end of an attempt, with a small outcome.
pub fn done(claimed: Claimed) -> Finished {
    Finished {
        lease: claimed.lease,
        execution: ended(claimed.execution),
        outcome: Some(Sealed(vec![7; 64])),
        run_at: Timestamp::now(),
        is_undone: false,
    }
}

/// The run, ended well at this moment.
pub fn ended(run: Execution) -> Execution {
    let ended_at = Some(Timestamp::now());
    Execution { state: State::Success, progress: 100, upstream_status: Some(200), ended_at, ..run }
}
