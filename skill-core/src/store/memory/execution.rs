//! Executions in memory.

use std::collections::BTreeMap;

use async_trait::async_trait;
use jiff::Timestamp;

use super::{MemoryStore, Repeat, RepeatKey, Tables, exists, queue::Waiting};
use crate::{
    error::Result,
    id::ExecutionId,
    name::OwnerId,
    record::{
        Sealed,
        conversation::Said,
        delivery::{Announcement, Delivery},
        execution::{Begun, Execution, Idempotency, Recorded},
        run::Step,
        trigger::Source,
    },
    store::{ExecutionFilter, ExecutionStore},
};

/// A run and what is kept with it.
pub(super) struct Kept {
    pub(super) execution: Execution,
    pub(super) input: Option<Sealed>,
    pub(super) outcome: Option<Sealed>,
    /// When a run that was begun counts as lost with its process.
    pub(super) until: Option<Timestamp>,
    /// What the queue knows of it until it ends.
    pub(super) waiting: Option<Waiting>,
    pub(super) steps: BTreeMap<u32, Step>,
    pub(super) said: BTreeMap<u32, Said>,
    /// The idempotency key under which it was asked for.
    pub(super) repeat: Option<RepeatKey>,
    /// What began it besides a key.
    pub(super) source: Option<Source>,
}

impl Kept {
    pub(super) fn new(execution: Execution) -> Self {
        Self {
            execution,
            input: None,
            outcome: None,
            until: None,
            waiting: None,
            steps: BTreeMap::new(),
            said: BTreeMap::new(),
            repeat: None,
            source: None,
        }
    }
}

#[async_trait]
impl ExecutionStore for MemoryStore {
    async fn begin(
        &self,
        run: &Execution,
        idempotency: Option<&Idempotency>,
        until: Timestamp,
    ) -> Result<Begun> {
        let mut tables = self.lock();
        if let Some(found) = tables.repeat(run, idempotency) {
            return Ok(found);
        }
        if tables.has_run(&run.owner, run.id) {
            return Err(exists("a run"));
        }
        let repeat = tables.remember(run, idempotency);
        let kept = Kept { until: Some(until), repeat, ..Kept::new(run.clone()) };
        tables.runs.entry(run.owner.clone()).or_default().insert(run.id, kept);
        Ok(Begun::New)
    }

    async fn orphans(&self, now: Timestamp, most: u32) -> Result<Vec<Execution>> {
        let tables = self.lock();
        let runs = tables.runs.values().flat_map(BTreeMap::values);
        let lost = runs.filter(|kept| {
            !kept.execution.state.is_final() && kept.until.is_some_and(|until| until <= now)
        });
        let mut lost: Vec<_> = lost.map(|kept| (kept.until, kept.execution.clone())).collect();
        lost.sort_by_key(|(until, run)| (*until, run.id));
        Ok(lost.into_iter().map(|(_, run)| run).take(most as usize).collect())
    }

    async fn record(&self, runs: &[Recorded]) -> Result<()> {
        let mut tables = self.lock();
        for recorded in runs {
            touch(&mut tables, &recorded.execution);
            tables.put(recorded)?;
        }
        Ok(())
    }

    async fn execution(&self, owner: &OwnerId, id: ExecutionId) -> Result<Option<Execution>> {
        Ok(self.lock().run(owner, id).map(|kept| kept.execution.clone()))
    }

    async fn bodies(
        &self,
        owner: &OwnerId,
        id: ExecutionId,
    ) -> Result<(Option<Sealed>, Option<Sealed>)> {
        let tables = self.lock();
        let kept = tables.run(owner, id);
        Ok(kept.map(|kept| (kept.input.clone(), kept.outcome.clone())).unwrap_or_default())
    }

    async fn executions(
        &self,
        owner: &OwnerId,
        filter: &ExecutionFilter,
    ) -> Result<(Vec<Execution>, u64)> {
        let tables = self.lock();
        let runs = || tables.runs.get(owner).into_iter().flat_map(|runs| runs.values().rev());
        let all = || runs().map(|kept| &kept.execution).filter(|run| is_wanted(filter, run));
        let page = all().filter(|run| filter.after.is_none_or(|after| run.id < after));
        let skip = usize::try_from(filter.offset).unwrap_or(usize::MAX);
        let page = page.skip(skip).take(filter.limit as usize).cloned().collect();
        Ok((page, all().count() as u64))
    }

    async fn prune(&self, before: Timestamp, now: Timestamp, most: u32) -> Result<u64> {
        let mut tables = self.lock();
        let mut left = most;
        tables.repeats.retain(|_, repeat| now < repeat.expires_at || !take_one(&mut left));
        let mut left = most;
        for runs in tables.runs.values_mut() {
            runs.retain(|_, Kept { execution: run, .. }| {
                let is_old = run.state.is_final() && run.ended_at.is_some_and(|end| end < before);
                !is_old || !take_one(&mut left)
            });
        }
        tables.runs.retain(|_, runs| !runs.is_empty());
        Ok(u64::from(most - left))
    }
}

impl Tables {
    pub(super) fn run(&self, owner: &OwnerId, id: ExecutionId) -> Option<&Kept> {
        self.runs.get(owner)?.get(&id)
    }

    pub(super) fn run_mut(&mut self, owner: &OwnerId, id: ExecutionId) -> Option<&mut Kept> {
        self.runs.get_mut(owner)?.get_mut(&id)
    }

    pub(super) fn has_run(&self, owner: &OwnerId, id: ExecutionId) -> bool {
        self.run(owner, id).is_some()
    }

    /// What the same request led to before.
    pub(super) fn repeat(&self, run: &Execution, asked: Option<&Idempotency>) -> Option<Begun> {
        let asked = asked?;
        let repeat = self.repeats.get(&repeat_key(run, asked))?;
        if repeat.expires_at <= run.created_at {
            return None;
        }
        Some(match &repeat.outcome {
            _ if repeat.inputs != asked.inputs => Begun::Differs,
            Some(outcome) => Begun::Same(repeat.run, outcome.clone()),
            None => Begun::Running(repeat.run),
        })
    }

    /// Keeps what a repeat of the request will find.
    pub(super) fn remember(
        &mut self,
        run: &Execution,
        asked: Option<&Idempotency>,
    ) -> Option<RepeatKey> {
        let asked = asked?;
        let key = repeat_key(run, asked);
        let (inputs, expires_at) = (asked.inputs, asked.expires_at);
        let repeat = Repeat { inputs, expires_at, run: run.id, outcome: None };
        self.repeats.insert(key.clone(), repeat);
        Some(key)
    }

    /// Adds a run that ended, or replaces what stands for it unless that is final.
    fn put(&mut self, recorded: &Recorded) -> Result<()> {
        let run = &recorded.execution;
        let runs = self.runs.entry(run.owner.clone()).or_default();
        let was_there = runs.contains_key(&run.id);
        let kept = runs.entry(run.id).or_insert_with(|| Kept::new(run.clone()));
        if was_there && kept.execution.state.is_final() {
            return Ok(());
        }
        kept.execution = run.clone();
        kept.input = recorded.input.clone().or_else(|| kept.input.take());
        kept.outcome = recorded.outcome.clone().or_else(|| kept.outcome.take());
        if was_there && run.state.is_final() {
            self.ended(&run.owner, run.id, recorded.replay.as_ref());
        }
        self.announce_end(run)
    }

    /// Tells whoever wants to know that a run has ended.
    pub(super) fn announce_end(&mut self, run: &Execution) -> Result<()> {
        for what in Announcement::of_run(run) {
            self.announce(&what)?;
        }
        let source = self.run(&run.owner, run.id).and_then(|kept| kept.source.as_ref());
        let Some(callback) = source.and_then(|source| source.callback.as_ref()) else {
            return Ok(());
        };
        let told = Delivery::of_callback(run, callback)?;
        told.into_iter().for_each(|delivery| self.put_delivery(delivery));
        Ok(())
    }

    /// Takes a run that ended out of the queue, and keeps the outcome for repeats; without one the
    /// key is free again.
    pub(super) fn ended(&mut self, owner: &OwnerId, id: ExecutionId, replay: Option<&Sealed>) {
        self.queue.remove(&(owner.clone(), id));
        let Some(kept) = self.run_mut(owner, id) else { return };
        kept.waiting = None;
        kept.steps.clear();
        let Some(key) = kept.repeat.take() else { return };
        let Some(repeat) = self.repeats.get_mut(&key).filter(|repeat| repeat.run == id) else {
            return;
        };
        repeat.outcome = replay.cloned();
        if replay.is_none() {
            self.repeats.remove(&key);
        }
    }
}

fn repeat_key(run: &Execution, asked: &Idempotency) -> RepeatKey {
    (run.owner.clone(), run.action.clone(), asked.key.clone())
}

fn is_wanted(filter: &ExecutionFilter, run: &Execution) -> bool {
    filter.parent == run.parent
        && filter.state.is_none_or(|state| run.state == state)
        && filter.user.as_ref().is_none_or(|user| run.user.as_ref() == Some(user))
        && filter.namespace.as_ref().is_none_or(|slug| run.action.namespace == *slug)
        && filter.name.as_ref().is_none_or(|slug| run.action.name == *slug)
}

/// Moves `last_used_at` of what the run used; it never goes back.
pub(super) fn touch(tables: &mut Tables, run: &Execution) {
    let at = run.started_at.or(Some(run.created_at));
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
