//! What the store was made to do, written down beside it, and the promises that must hold at every
//! moment of it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use skill_core::{
    clock::Clock,
    id::ExecutionId,
    name::OwnerId,
    record::{
        execution::{Execution, State},
        run::{Enqueue, Group, Lease},
    },
};

use super::node::Node;

/// Leases end at whole microseconds, timers at whole milliseconds.
const SLACK: Duration = Duration::from_millis(2);

/// Who works on a run.
#[derive(Debug, Clone)]
struct Holder {
    node: Arc<Node>,
    fencing: u64,
    /// When the right to ends, in steady time.
    lapses: Duration,
}

/// What is known of one run.
#[derive(Debug)]
pub(crate) struct Seen {
    owner: OwnerId,
    group: Option<Group>,
    holder: Option<Holder>,
    fencing: u64,
    pub(crate) end: Option<State>,
}

/// One stretch of time in which a process held a run.
#[derive(Debug)]
struct Hold {
    process: usize,
    from: Duration,
    until: Duration,
}

/// Everything that was seen.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    pub(crate) runs: BTreeMap<ExecutionId, Seen>,
    holds: BTreeMap<ExecutionId, Vec<Hold>>,
    pub(crate) broken: Vec<String>,
    pub(crate) takeovers: u32,
    /// The time of day jumps: leases are longer or shorter than they look.
    pub(crate) is_uneven: bool,
}

impl Watch {
    pub(crate) fn new(is_uneven: bool) -> Self {
        Self { is_uneven, ..Self::default() }
    }

    fn breaks(&mut self, what: String) {
        self.broken.push(what);
    }

    pub(crate) fn enqueued(&mut self, run: &Enqueue) {
        let seen = Seen {
            owner: run.execution.owner.clone(),
            group: run.work.group.clone(),
            holder: None,
            fencing: 0,
            end: None,
        };
        if self.runs.insert(run.execution.id, seen).is_some() {
            self.breaks(format!("{} was queued twice", run.execution.id));
        }
    }

    pub(crate) fn claimed(
        &mut self,
        node: &Arc<Node>,
        lease: &Lease,
        asked: (Timestamp, Duration),
    ) {
        let steady = node.steady();
        let Some(seen) = self.runs.get_mut(&lease.id) else {
            return self.breaks(format!("{} was claimed and never queued", lease.id));
        };
        let mut wrong = Vec::new();
        if let Some(end) = seen.end {
            wrong.push(format!("was claimed after it had ended as {}", end.as_str()));
        }
        if lease.fencing <= seen.fencing {
            wrong.push(format!("got fencing number {} after {}", lease.fencing, seen.fencing));
        }
        if let Some(holder) = &seen.holder {
            self.takeovers += 1;
            // After a jump of the clock a process may get what it holds once more.
            if holder.lapses > steady + SLACK && !Arc::ptr_eq(&holder.node, node) {
                let left = holder.lapses.checked_sub(steady).unwrap();
                wrong.push(format!("was taken over {left:?} before its lease lapsed"));
            }
        }
        let lapses = end(lease.until, asked);
        seen.fencing = lease.fencing;
        seen.holder = Some(Holder { node: node.clone(), fencing: lease.fencing, lapses });
        let (owner, group) = (seen.owner.clone(), seen.group.clone());
        let hold = Hold { process: address(node), from: steady, until: lapses };
        self.holds.entry(lease.id).or_default().push(hold);
        for what in wrong {
            self.breaks(format!("{} {what}", lease.id));
        }
        if let Some(group) = group {
            self.bounded(&owner, &group, steady);
        }
    }

    fn bounded(&mut self, owner: &OwnerId, group: &Group, now: Duration) {
        let running = self.runs.values().filter(|run| {
            run.owner == *owner
                && run.group.as_ref().is_some_and(|g| g.name == group.name)
                && run.end.is_none()
                && run.holder.as_ref().is_some_and(|holder| holder.lapses > now)
        });
        let count = running.count();
        if count > usize::try_from(group.most).unwrap() {
            self.breaks(format!("{count} runs of group {} at once, of {}", group.name, group.most));
        }
    }

    pub(crate) fn extended(
        &mut self,
        lease: &Lease,
        (until, asked): (Timestamp, (Timestamp, Duration)),
    ) {
        let lapses = end(until, asked);
        let Some(seen) = self.runs.get_mut(&lease.id) else { return };
        let Some(holder) = &mut seen.holder else {
            let what = format!("{} was extended although nobody holds it", lease.id);
            return self.breaks(what);
        };
        if holder.fencing != lease.fencing {
            let what = format!("{} was extended by a worker that lost it", lease.id);
            return self.breaks(what);
        }
        // Of two signs of life the later one may arrive first; no lease gets shorter by the other.
        let lapses = lapses.max(holder.lapses);
        holder.lapses = lapses;
        if let Some(hold) = self.holds.get_mut(&lease.id).and_then(|holds| holds.last_mut()) {
            hold.until = lapses;
        }
    }

    pub(crate) fn finished(&mut self, lease: &Lease, run: &Execution) {
        let Some(seen) = self.runs.get_mut(&lease.id) else { return };
        let is_held = seen.holder.as_ref().is_some_and(|holder| holder.fencing == lease.fencing);
        seen.holder = None;
        let before = seen.end;
        seen.end = run.state.is_final().then_some(run.state);
        if !is_held {
            self.breaks(format!("{} was finished by a worker that lost it", lease.id));
        }
        if let Some(before) = before {
            self.breaks(format!(
                "{} ended as {} and then as {}",
                lease.id,
                before.as_str(),
                run.state.as_str()
            ));
        }
    }

    /// How a run stands in the store after something else than its worker has written it.
    pub(crate) fn recorded(&mut self, run: &Execution) {
        let Some(seen) = self.runs.get_mut(&run.id) else { return };
        if !run.state.is_final() {
            return;
        }
        seen.holder = None;
        let before = seen.end.replace(run.state);
        if let Some(before) = before.filter(|before| *before != run.state) {
            self.breaks(format!(
                "{} ended as {} and then as {}",
                run.id,
                before.as_str(),
                run.state.as_str()
            ));
        }
    }

    /// All leases ended at once: their process is gone.
    pub(crate) fn adopted(&mut self) {
        let mut alive = Vec::new();
        for (id, seen) in &mut self.runs {
            if let Some(holder) = &mut seen.holder {
                if !holder.node.is_dead() {
                    alive.push(*id);
                }
                holder.lapses = Duration::ZERO;
            }
        }
        for id in alive {
            self.breaks(format!("{id} was taken from a process that lives"));
        }
    }

    /// Whether everything that was queued has ended.
    pub(crate) fn is_over(&self) -> bool {
        self.runs.values().all(|run| run.end.is_some())
    }

    /// Whether a process held the run at that moment.
    pub(crate) fn held(&self, id: ExecutionId, node: &Arc<Node>, at: Duration) -> bool {
        let mine = |hold: &&Hold| hold.process == address(node);
        let holds = self.holds.get(&id).into_iter().flatten().filter(mine);
        holds.into_iter().any(|hold| hold.from <= at && at <= hold.until + SLACK)
    }
}

/// When a lease ends, in steady time.
fn end(until: Timestamp, (now, steady): (Timestamp, Duration)) -> Duration {
    steady + Duration::try_from(until.duration_since(now)).unwrap_or_default()
}

/// Tells processes apart, those of one place included.
fn address(node: &Arc<Node>) -> usize {
    Arc::as_ptr(node).cast::<()>() as usize
}
