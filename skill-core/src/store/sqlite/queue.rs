//! The queue in SQLite.

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::{named_params, params};

use super::{
    SqliteStore, claim,
    execution::{Place, add, ended, find, keep_bodies, touch, update},
    failure::Work,
    outbox, repeat,
    row::{all, execute, first},
    tally::Session,
    trigger,
};
use crate::{
    error::Result,
    id::ExecutionId,
    name::OwnerId,
    record::{
        Sealed,
        delivery::Announcement,
        execution::{Begun, Execution, State},
        run::{Claim, Claimed, Enqueue, Enqueued, Finished, Lease, Step},
    },
    store::QueueStore,
};

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

#[async_trait]
impl QueueStore for SqliteStore {
    async fn enqueue(&self, runs: &[Enqueue]) -> Result<Vec<Enqueued>> {
        let runs = runs.to_vec();
        self.write(move |session| runs.iter().map(|run| enqueue(session, run)).collect()).await
    }

    async fn claim(&self, want: &Claim) -> Result<Vec<Claimed>> {
        let want = want.clone();
        self.write(move |session| claim::claim(session, &want)).await
    }

    async fn extend(&self, leases: &[(Lease, u8)], until: Timestamp) -> Result<Vec<bool>> {
        let (leases, until) = (leases.to_vec(), until.as_microsecond());
        self.write(move |session| {
            let sql = held!(
                "UPDATE executions SET lease_until_us = max(lease_until_us, :until),
                 progress = :progress"
            );
            let extended = leases.iter().map(|(lease, progress)| {
                let values = named_params! {
                    ":until": until,
                    ":progress": progress,
                    ":owner": lease.owner.as_str(),
                    ":id": lease.id.to_string(),
                    ":fencing": number(lease.fencing),
                    ":worker": lease.worker.0,
                };
                Ok(execute(session, sql, values)? > 0)
            });
            extended.collect()
        })
        .await
    }

    async fn note_sent(&self, lease: &Lease) -> Result<bool> {
        let lease = lease.clone();
        self.write(move |session| {
            let values = named_params! {
                ":owner": lease.owner.as_str(),
                ":id": lease.id.to_string(),
                ":fencing": number(lease.fencing),
                ":worker": lease.worker.0,
            };
            Ok(execute(session, held!("UPDATE executions SET is_sent = 1"), values)? > 0)
        })
        .await
    }

    async fn record_step(&self, lease: &Lease, step: &Step) -> Result<bool> {
        let (lease, step) = (lease.clone(), step.clone());
        self.write(move |session| {
            let Some((row, _)) = held(session, &lease)? else { return Ok(false) };
            let sql = "INSERT OR REPLACE INTO execution_steps (run, position, name, sealed)
                       VALUES (?1, ?2, ?3, ?4)";
            let value = step.value.as_ref().map(|value| &value.0);
            execute(session, sql, params![row, step.position, step.name, value])?;
            Ok(true)
        })
        .await
    }

    async fn steps(&self, owner: &OwnerId, id: ExecutionId) -> Result<Vec<Step>> {
        let owner = owner.clone();
        self.read(move |connection| {
            let sql = "SELECT position, name, sealed FROM execution_steps
                       WHERE run = (SELECT row FROM executions WHERE owner = ?1 AND id = ?2)
                       ORDER BY position";
            all(connection, sql, [owner.as_str(), &id.to_string()], |cells| {
                let (position, name) = (cells.next()?, cells.next()?);
                Ok(Step { position, name, value: cells.sealed_if_any()? })
            })
        })
        .await
    }

    async fn finish(&self, done: &[Finished]) -> Result<Vec<bool>> {
        let done = done.to_vec();
        self.write(move |session| {
            let held = done.iter().map(|done| finish(session, done)).collect::<Work<Vec<_>>>()?;
            let ended = done.iter().zip(&held).filter(|(_, is_held)| **is_held);
            let ended = ended.map(|(done, _)| &done.execution).filter(|run| run.state.is_final());
            touch(session, ended)?;
            Ok(held)
        })
        .await
    }

    async fn end(
        &self,
        execution: &Execution,
        outcome: Option<&Sealed>,
    ) -> Result<Option<Execution>> {
        let (asked, outcome) = (execution.clone(), outcome.cloned());
        self.write(move |session| {
            let Some((row, old)) = find(session, &asked.owner, asked.id)? else { return Ok(None) };
            if old.state.is_final() || !asked.state.is_final() {
                return Ok(Some(old));
            }
            let run = Execution {
                state: asked.state,
                progress: asked.progress,
                error: asked.error,
                timing: asked.timing,
                ended_at: asked.ended_at,
                ..old.clone()
            };
            update(session, row, &run)?;
            session.moved(&run, Some(old.state), Some(run.state));
            keep_bodies(session, row, None, outcome.as_ref())?;
            ended(session, row, &run, outcome.as_ref())?;
            Ok(Some(run))
        })
        .await
    }

    async fn adopt(&self, now: Timestamp) -> Result<u64> {
        let now = now.as_microsecond();
        self.write(move |session| {
            let sql = "UPDATE executions SET lease_until_us = min(lease_until_us, ?1)
                       WHERE state = 'running' AND worker IS NOT NULL";
            let adopted = execute(session, sql, [now])?;
            let sql = "UPDATE executions SET lease_until_us = min(lease_until_us, ?1)
                       WHERE state = 'running' AND worker IS NULL AND lease_until_us IS NOT NULL";
            execute(session, sql, [now])?;
            Ok(adopted as u64)
        })
        .await
    }

    async fn next_due(&self, now: Timestamp) -> Result<Option<Timestamp>> {
        let now = now.as_microsecond();
        self.read(move |connection| {
            let sql = "SELECT min(due) FROM (
                           SELECT min(run_at_us) AS due
                           FROM executions INDEXED BY executions_delayed
                           WHERE state = 'queued' AND is_delayed = 1 AND run_at_us > ?1
                           UNION ALL
                           SELECT min(lease_until_us)
                           FROM executions INDEXED BY executions_running
                           WHERE state = 'running' AND lease_until_us > ?1
                           AND worker IS NOT NULL)";
            Ok(first(connection, sql, [now], |cells| cells.time_if_any())?.flatten())
        })
        .await
    }
}

pub(super) fn enqueue(session: &Session, asked: &Enqueue) -> Work<Enqueued> {
    let run = &asked.execution;
    if let Some(idempotency) = &asked.idempotency {
        match repeat::find(session, run, idempotency)? {
            None | Some(Begun::New) => {}
            Some(Begun::Same(id, _) | Begun::Running(id)) => return Ok(Enqueued::Same(id)),
            Some(Begun::Differs) => return Ok(Enqueued::Differs),
        }
    }
    let claimed = match &asked.claimed {
        Some(claimed) if claim::may_start(session, asked, &claimed.0)? => Some(claimed),
        Some(_) | None => None,
    };
    if claimed.is_none() && asked.most_queued <= session.waiting(&run.owner) {
        return Ok(Enqueued::Full);
    }
    if let Some(idempotency) = &asked.idempotency {
        repeat::remember(session, run, idempotency)?;
    }
    let place = Place {
        until: claimed.map(|(_, until)| *until),
        worker: claimed.map(|(worker, _)| worker),
        work: Some(&asked.work),
    };
    let is_claimed = claimed.is_some();
    let run = Execution {
        state: if is_claimed { State::Running } else { State::Queued },
        attempts: u32::from(is_claimed),
        progress: 0,
        started_at: is_claimed.then_some(run.created_at),
        ended_at: None,
        ..run.clone()
    };
    let row = add(session, &run, &place)?;
    keep_bodies(session, row, Some(&asked.work.input), None)?;
    if let Some(source) = &asked.source {
        trigger::keep_source(session, row, source)?;
    }
    outbox::announce(session, Announcement::of_conversation(&run))?;
    let lease = claimed.map(|(worker, until)| Lease {
        owner: run.owner.clone(),
        id: run.id,
        worker: worker.clone(),
        fencing: 1,
        until: *until,
    });
    Ok(Enqueued::New(lease))
}

/// The row on which the lease is held, and how often it was claimed.
pub(super) fn held(session: &Session, lease: &Lease) -> Work<Option<(i64, u32)>> {
    let values = named_params! {
        ":owner": lease.owner.as_str(),
        ":id": lease.id.to_string(),
        ":fencing": number(lease.fencing),
        ":worker": lease.worker.0,
    };
    first(session, held!("SELECT row, attempt FROM executions"), values, |cells| {
        Ok((cells.next()?, cells.next()?))
    })
}

fn finish(session: &Session, done: &Finished) -> Work<bool> {
    let Some((row, attempts)) = held(session, &done.lease)? else { return Ok(false) };
    let attempts = attempts.saturating_sub(u32::from(done.is_undone));
    let run = Execution { attempts, ..done.execution.clone() };
    if run.state.is_final() {
        update(session, row, &run)?;
        session.moved(&run, Some(State::Running), Some(run.state));
        keep_bodies(session, row, None, done.outcome.as_ref())?;
        ended(session, row, &run, done.outcome.as_ref())?;
        return Ok(true);
    }
    let run = Execution { state: State::Queued, progress: 0, ended_at: None, ..run };
    update(session, row, &run)?;
    let sql = "UPDATE executions SET lease_until_us = NULL, worker = NULL, is_sent = 0,
                   is_delayed = 1, run_at_us = ?2 WHERE row = ?1";
    execute(session, sql, params![row, done.run_at.as_microsecond()])?;
    session.moved(&run, Some(State::Running), Some(State::Queued));
    Ok(true)
}

/// Fencing numbers are small: one for each claim of a run.
fn number(fencing: u64) -> i64 {
    i64::try_from(fencing).unwrap_or(i64::MAX)
}
