//! The queue in memory.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap, VecDeque},
};

use async_trait::async_trait;
use jiff::Timestamp;

use super::{
    MemoryStore, Tables,
    execution::{Kept, touch},
    exists,
};
use crate::{
    error::Result,
    id::ExecutionId,
    name::OwnerId,
    record::{
        Sealed,
        delivery::Announcement,
        execution::{Begun, Execution, State},
        run::{
            Claim, Claimed, Enqueue, Enqueued, Finished, Group, Lane, Lease, Step, Work, Worker,
        },
    },
    store::QueueStore,
};

/// What the queue knows of a run that has not ended.
pub(super) struct Waiting {
    work: Work,
    /// Its time has come once; a clock that is set back changes nothing of that.
    is_due: bool,
    /// Who held it last.
    worker: Option<Worker>,
    /// When that ends; `None` while the run is queued.
    until: Option<Timestamp>,
    fencing: u64,
    crashes: u32,
    may_have_happened: bool,
}

#[async_trait]
impl QueueStore for MemoryStore {
    async fn enqueue(&self, runs: &[Enqueue]) -> Result<Vec<Enqueued>> {
        let mut tables = self.lock();
        for (n, run) in runs.iter().map(|run| &run.execution).enumerate() {
            let is_twice = runs[..n].iter().any(|earlier| earlier.execution.id == run.id);
            if is_twice || tables.has_run(&run.owner, run.id) {
                return Err(exists("a run"));
            }
        }
        runs.iter().map(|run| tables.enqueue(run)).collect()
    }

    async fn claim(&self, want: &Claim) -> Result<Vec<Claimed>> {
        let mut tables = self.lock();
        tables.wake(want.now);
        let picked = tables.pick(want);
        let claimed = picked.iter().filter_map(|(owner, id)| {
            let kept = tables.run_mut(owner, *id)?;
            start(kept, &want.worker, want.now, want.until)
        });
        Ok(claimed.collect())
    }

    async fn extend(&self, leases: &[(Lease, u8)], until: Timestamp) -> Result<Vec<bool>> {
        let mut tables = self.lock();
        let extended = leases.iter().map(|(lease, progress)| {
            let held = tables.held(lease);
            held.is_some_and(|(run, waiting)| {
                run.progress = *progress;
                waiting.until = waiting.until.max(Some(until));
                true
            })
        });
        Ok(extended.collect())
    }

    async fn note_sent(&self, lease: &Lease) -> Result<bool> {
        let mut tables = self.lock();
        let held = tables.held(lease);
        Ok(held.is_some_and(|(_, waiting)| {
            waiting.may_have_happened = true;
            true
        }))
    }

    async fn record_step(&self, lease: &Lease, step: &Step) -> Result<bool> {
        let mut tables = self.lock();
        let is_held = tables.held(lease).is_some();
        let kept = tables.run_mut(&lease.owner, lease.id).filter(|_| is_held);
        Ok(kept.is_some_and(|kept| {
            kept.steps.insert(step.position, step.clone());
            true
        }))
    }

    async fn steps(&self, owner: &OwnerId, id: ExecutionId) -> Result<Vec<Step>> {
        let tables = self.lock();
        let kept = tables.run(owner, id);
        Ok(kept.map(|kept| kept.steps.values().cloned().collect()).unwrap_or_default())
    }

    async fn finish(&self, done: &[Finished]) -> Result<Vec<bool>> {
        let mut tables = self.lock();
        done.iter().map(|done| tables.finish(done)).collect()
    }

    async fn end(
        &self,
        execution: &Execution,
        outcome: Option<&Sealed>,
    ) -> Result<Option<Execution>> {
        let mut tables = self.lock();
        let (owner, id) = (&execution.owner, execution.id);
        let Some(kept) = tables.run_mut(owner, id) else { return Ok(None) };
        let run = &mut kept.execution;
        if run.state.is_final() || !execution.state.is_final() {
            return Ok(Some(run.clone()));
        }
        run.state = execution.state;
        run.progress = execution.progress;
        run.error = execution.error;
        run.timing = execution.timing;
        run.ended_at = execution.ended_at;
        let run = run.clone();
        kept.outcome = outcome.cloned();
        tables.ended(owner, id, outcome);
        tables.announce_end(&run)?;
        Ok(Some(run))
    }

    async fn adopt(&self, now: Timestamp) -> Result<u64> {
        let mut tables = self.lock();
        let mut adopted = 0;
        for kept in tables.runs.values_mut().flat_map(BTreeMap::values_mut) {
            let leased = kept.waiting.as_mut().and_then(|waiting| waiting.until.as_mut());
            adopted += u64::from(leased.is_some());
            let ends = leased.into_iter().chain(&mut kept.until);
            ends.for_each(|until| *until = now.min(*until));
        }
        Ok(adopted)
    }

    async fn next_due(&self, now: Timestamp) -> Result<Option<Timestamp>> {
        let tables = self.lock();
        let due = tables.waiting().filter_map(|(_, waiting)| waiting.due());
        Ok(due.filter(|due| now < *due).min())
    }
}

impl Waiting {
    /// Whether this worker held the run last.
    fn is_of(&self, worker: &Worker) -> bool {
        self.worker.as_ref() == Some(worker)
    }

    /// When the run may be claimed; `None` for at once.
    fn due(&self) -> Option<Timestamp> {
        self.until.or_else(|| (!self.is_due).then_some(self.work.run_at))
    }

    /// Takes the run from whoever held it.
    pub(super) fn hold(&mut self) {
        (self.until, self.worker) = (None, None);
    }

    pub(super) fn deadline(&mut self) -> &mut Timestamp {
        &mut self.work.deadline
    }
}

impl Tables {
    /// Notes whose time has come.
    fn wake(&mut self, now: Timestamp) {
        for (owner, id) in self.queue.clone() {
            if let Some(waiting) = self.run_mut(&owner, id).and_then(|kept| kept.waiting.as_mut()) {
                waiting.is_due |= waiting.work.run_at <= now;
            }
        }
    }

    /// The runs of the queue that are not held.
    fn waiting(&self) -> impl Iterator<Item = (&Execution, &Waiting)> {
        let kept = self.queue.iter().filter_map(|(owner, id)| self.run(owner, *id));
        let kept = kept.filter(|kept| kept.execution.state != State::Held);
        kept.filter_map(|kept| Some((&kept.execution, kept.waiting.as_ref()?)))
    }

    /// The run on which the lease is held.
    pub(super) fn held(&mut self, lease: &Lease) -> Option<(&mut Execution, &mut Waiting)> {
        let kept = self.run_mut(&lease.owner, lease.id)?;
        let waiting = kept.waiting.as_mut().filter(|waiting| {
            kept.execution.state == State::Running
                && waiting.fencing == lease.fencing
                && waiting.worker.as_ref() == Some(&lease.worker)
        });
        waiting.map(|waiting| (&mut kept.execution, waiting))
    }

    pub(super) fn enqueue(&mut self, asked: &Enqueue) -> Result<Enqueued> {
        let (run, owner) = (&asked.execution, &asked.execution.owner);
        match self.repeat(run, asked.idempotency.as_ref()) {
            None | Some(Begun::New) => {}
            Some(Begun::Same(id, _) | Begun::Running(id)) => return Ok(Enqueued::Same(id)),
            Some(Begun::Differs) => return Ok(Enqueued::Differs),
        }
        let claimed = asked.claimed.as_ref().filter(|(worker, _)| {
            let is_full = asked.work.group.as_ref().is_some_and(|group| {
                self.busy(run.created_at, worker)
                    .get(&(owner, &group.name))
                    .is_some_and(|n| group.most <= *n)
            });
            asked.work.run_at <= run.created_at && !is_full
        });
        let queued = self.waiting().filter(|(run, _)| run.state == State::Queued);
        let depth = queued.filter(|(run, _)| run.owner == *owner).count() as u64;
        if claimed.is_none() && asked.most_queued <= depth {
            return Ok(Enqueued::Full);
        }
        let repeat = self.remember(run, asked.idempotency.as_ref());
        let mut kept = queued_run(asked);
        kept.repeat = repeat;
        let lease = claimed.and_then(|(worker, until)| {
            Some(start(&mut kept, worker, run.created_at, *until)?.lease)
        });
        self.runs.entry(owner.clone()).or_default().insert(run.id, kept);
        self.queue.insert((owner.clone(), run.id));
        if let Some(what) = Announcement::of_conversation(run) {
            self.announce(&what)?;
        }
        Ok(Enqueued::New(lease))
    }

    /// How many runs of each group somebody holds. Those of whoever asks count although they have
    /// lapsed: after a jump of the clock it works on them still.
    fn busy(&self, now: Timestamp, asks: &Worker) -> HashMap<(&OwnerId, &String), u32> {
        let mut busy = HashMap::new();
        for (run, waiting) in self.waiting() {
            if let Some(Group { name, .. }) = &waiting.work.group
                && waiting.until.is_some_and(|until| now < until || waiting.is_of(asks))
            {
                *busy.entry((&run.owner, name)).or_default() += 1;
            }
        }
        busy
    }

    /// The runs to claim, in the order of the turns.
    fn pick(&self, want: &Claim) -> Vec<(OwnerId, ExecutionId)> {
        let mut lanes: BTreeMap<Lane, Vec<_>> = BTreeMap::new();
        for (run, waiting) in self.waiting() {
            let is_due = waiting.due().is_none_or(|due| due <= want.now);
            if is_due && !want.saturated.contains(&run.owner) {
                let (owner, namespace) = (run.owner.clone(), run.action.namespace.clone());
                lanes.entry(Lane { owner, namespace }).or_default().push((run, waiting));
            }
        }
        let mut turns: Vec<_> = lanes.into_iter().collect();
        let first =
            turns.partition_point(|(lane, _)| want.after.as_ref().is_some_and(|a| lane <= a));
        turns.rotate_left(first);
        let mut turns: Vec<VecDeque<_>> = turns
            .into_iter()
            .map(|(_, mut runs)| {
                runs.sort_by_key(|(run, w)| (Reverse(w.work.priority), w.work.run_at, run.id));
                runs.into()
            })
            .collect();
        let (mut busy, mut picked) = (self.busy(want.now, &want.worker), Vec::new());
        let most = want.most as usize;
        while picked.len() < most && !turns.is_empty() {
            for lane in &mut turns {
                let next = std::iter::from_fn(|| lane.pop_front()).find(|(run, waiting)| {
                    // What this worker held has its place already.
                    let has_place = waiting.until.is_some() && waiting.is_of(&want.worker);
                    has_place
                        || waiting.work.group.as_ref().is_none_or(|group| {
                            let busy = busy.entry((&run.owner, &group.name)).or_default();
                            let has_room = *busy < group.most;
                            *busy += u32::from(has_room);
                            has_room
                        })
                });
                picked.extend(next.map(|(run, _)| (run.owner.clone(), run.id)));
                if picked.len() == most {
                    break;
                }
            }
            turns.retain(|lane| !lane.is_empty());
        }
        picked
    }

    fn finish(&mut self, done: &Finished) -> Result<bool> {
        let (owner, id) = (&done.lease.owner, done.lease.id);
        let Some((run, waiting)) = self.held(&done.lease) else { return Ok(false) };
        let attempts = run.attempts.saturating_sub(u32::from(done.is_undone));
        *run = Execution { attempts, ..done.execution.clone() };
        if !run.state.is_final() {
            (run.state, run.progress, run.ended_at) = (State::Queued, 0, None);
            (waiting.until, waiting.may_have_happened) = (None, false);
            (waiting.work.run_at, waiting.is_due) = (done.run_at, false);
            return Ok(true);
        }
        let run = run.clone();
        if let Some(kept) = self.run_mut(owner, id) {
            kept.outcome.clone_from(&done.outcome);
        }
        self.ended(owner, id, done.outcome.as_ref());
        touch(self, &run);
        self.announce_end(&run)?;
        Ok(true)
    }
}

/// The run as it stands before anybody works on it.
fn queued_run(asked: &Enqueue) -> Kept {
    let waiting = Waiting {
        work: asked.work.clone(),
        is_due: asked.work.run_at <= asked.execution.created_at,
        worker: None,
        until: None,
        fencing: 0,
        crashes: 0,
        may_have_happened: false,
    };
    let execution = Execution {
        state: State::Queued,
        progress: 0,
        attempts: 0,
        started_at: None,
        ended_at: None,
        ..asked.execution.clone()
    };
    let input = Some(asked.work.input.clone());
    let source = asked.source.clone();
    Kept { input, waiting: Some(waiting), source, ..Kept::new(execution) }
}

/// Gives the run to a worker; one that was running was lost with another one.
fn start(kept: &mut Kept, worker: &Worker, now: Timestamp, until: Timestamp) -> Option<Claimed> {
    let (run, waiting) = (&mut kept.execution, kept.waiting.as_mut()?);
    waiting.crashes += u32::from(run.state == State::Running);
    waiting.fencing += 1;
    waiting.until = Some(until);
    waiting.worker = Some(worker.clone());
    run.state = State::Running;
    run.attempts += 1;
    run.started_at = run.started_at.or(Some(now));
    let (owner, id) = (run.owner.clone(), run.id);
    let lease = Lease { owner, id, worker: worker.clone(), fencing: waiting.fencing, until };
    Some(Claimed {
        lease,
        execution: run.clone(),
        work: waiting.work.clone(),
        crashes: waiting.crashes,
        may_have_happened: waiting.may_have_happened,
    })
}
