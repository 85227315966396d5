//! Executions in memory.

use async_trait::async_trait;
use jiff::Timestamp;

use super::{MemoryStore, Repeat, Tables, exists};
use crate::{
    error::Result,
    id::ExecutionId,
    name::OwnerId,
    record::{
        Sealed,
        execution::{Begun, Execution, Idempotency, Recorded},
    },
    store::{ExecutionFilter, ExecutionStore},
};

#[async_trait]
impl ExecutionStore for MemoryStore {
    async fn begin(
        &self,
        run: &Execution,
        idempotency: Option<&Idempotency>,
        _until: Timestamp,
    ) -> Result<Begun> {
        let mut tables = self.lock();
        let scope = idempotency.map(|i| (run.owner.clone(), run.action.clone(), i.key.clone(), i));
        if let Some((owner, action, key, asked)) = scope.clone()
            && let Some(repeat) = tables.repeats.get(&(owner, action, key))
            && run.created_at < repeat.expires_at
        {
            return Ok(match &repeat.outcome {
                _ if repeat.inputs != asked.inputs => Begun::Differs,
                Some(outcome) => Begun::Same(repeat.run, outcome.clone()),
                None => Begun::Running(repeat.run),
            });
        }
        if tables.runs.get(&run.owner).is_some_and(|runs| runs.contains_key(&run.id)) {
            return Err(exists("a run"));
        }
        if let Some((owner, action, key, asked)) = scope {
            let repeat = Repeat {
                inputs: asked.inputs,
                expires_at: asked.expires_at,
                run: run.id,
                outcome: None,
            };
            tables.repeats.insert((owner, action, key), repeat);
        }
        tables.runs.entry(run.owner.clone()).or_default().insert(run.id, run.clone());
        Ok(Begun::New)
    }

    async fn orphans(&self, _now: Timestamp, _most: u32) -> Result<Vec<Execution>> {
        Ok(Vec::new())
    }

    async fn record(&self, runs: &[Recorded]) -> Result<()> {
        let mut tables = self.lock();
        for Recorded { execution: run, replay: outcome, .. } in runs {
            touch(&mut tables, run);
            let kept = tables.runs.entry(run.owner.clone()).or_default();
            if kept.get(&run.id).is_some_and(|old| old.state.is_final()) {
                continue;
            }
            let was_begun = kept.insert(run.id, run.clone()).is_some();
            if was_begun && run.state.is_final() {
                settle(&mut tables, run, outcome.as_ref());
            }
        }
        Ok(())
    }

    async fn execution(&self, owner: &OwnerId, id: ExecutionId) -> Result<Option<Execution>> {
        Ok(self.lock().runs.get(owner).and_then(|runs| runs.get(&id)).cloned())
    }

    async fn bodies(
        &self,
        _owner: &OwnerId,
        _id: ExecutionId,
    ) -> Result<(Option<Sealed>, Option<Sealed>)> {
        Ok((None, None))
    }

    async fn executions(
        &self,
        owner: &OwnerId,
        filter: &ExecutionFilter,
    ) -> Result<(Vec<Execution>, u64)> {
        let tables = self.lock();
        let wanted = |run: &&Execution| {
            filter.state.is_none_or(|state| run.state == state)
                && filter.namespace.as_ref().is_none_or(|slug| run.action.namespace == *slug)
        };
        let all = || tables.runs.get(owner).into_iter().flat_map(|runs| runs.values().rev());
        let skip = usize::try_from(filter.offset).unwrap_or(usize::MAX);
        let page = all().filter(wanted).skip(skip).take(filter.limit as usize).cloned().collect();
        Ok((page, all().filter(wanted).count() as u64))
    }

    async fn prune(&self, before: Timestamp, now: Timestamp, most: u32) -> Result<u64> {
        let mut tables = self.lock();
        let mut left = most;
        tables.repeats.retain(|_, repeat| now < repeat.expires_at || !take_one(&mut left));
        let mut left = most;
        for runs in tables.runs.values_mut() {
            runs.retain(|_, run| {
                run.ended_at.is_none_or(|end| before <= end) || !take_one(&mut left)
            });
        }
        tables.runs.retain(|_, runs| !runs.is_empty());
        Ok(u64::from(most - left))
    }
}

/// Keeps the outcome for repeats; without one the key is free again.
fn settle(tables: &mut Tables, run: &Execution, outcome: Option<&Sealed>) {
    tables.repeats.retain(|(owner, ..), repeat| {
        let is_mine = *owner == run.owner && repeat.run == run.id;
        if is_mine {
            repeat.outcome = outcome.cloned();
        }
        !is_mine || outcome.is_some()
    });
}

/// Moves `last_used_at` of what the run used; it never goes back.
fn touch(tables: &mut Tables, run: &Execution) {
    let at = run.started_at;
    let key = run.key.and_then(|id| tables.keys.get_mut(&id)).filter(|k| k.owner == run.owner);
    key.into_iter().for_each(|key| key.last_used_at = key.last_used_at.max(at));
    let used = run.connection.and_then(|id| tables.connections.get_mut(&id));
    let used = used.filter(|connection| connection.owner == run.owner);
    used.into_iter().for_each(|used| used.last_used_at = used.last_used_at.max(at));
}

fn take_one(left: &mut u32) -> bool {
    let is_any = *left > 0;
    *left = left.saturating_sub(1);
    is_any
}
