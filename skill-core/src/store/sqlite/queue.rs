//! The queue in SQLite.

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::{named_params, params};

use super::{
    SqliteStore, claim,
    execution::{Place, add, ended, find, keep_bodies, touch, update},
    failure::Work,
    finish,
    lease::{self, Known, held, number},
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
        run::{Claim, Claimed, Enqueue, Enqueued, Finished, Lease, Step, Worker},
    },
    store::QueueStore,
};

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
            let Some((known, _)) = lease::find(session, &lease)? else { return Ok(false) };
            let sql = "INSERT OR REPLACE INTO execution_steps (run, position, name, sealed)
                       VALUES (?1, ?2, ?3, ?4)";
            let value = step.value.as_ref().map(|value| &value.0);
            execute(session, sql, params![known.row, step.position, step.name, value])?;
            session.leased.has_steps(lease.id);
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
            let held = finish::finish(session, &done)?;
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
            session.leased.forget(run.id);
            keep_bodies(session, row, None, outcome.as_ref())?;
            ended(session, Known::at(row), &run, outcome.as_ref())?;
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
        has_key: asked.idempotency.is_some(),
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
    if is_claimed {
        let known = Known { row, has_steps: false, has_key: place.has_key };
        session.leased.remember(run.id, known);
    }
    keep_bodies(session, row, Some(&asked.work.input), None)?;
    if let Some(source) = &asked.source {
        trigger::keep_source(session, row, source)?;
    }
    outbox::announce(session, Announcement::of_conversation(&run))?;
    Ok(Enqueued::New(claimed.map(|claimed| first_lease(&run, claimed))))
}

fn first_lease(run: &Execution, (worker, until): &(Worker, Timestamp)) -> Lease {
    let (owner, worker) = (run.owner.clone(), worker.clone());
    Lease { owner, id: run.id, worker, fencing: 1, until: *until }
}
