//! What must be true in the end.

use std::collections::{BTreeMap, BTreeSet};

use skill_core::{
    ErrorKind,
    id::ExecutionId,
    record::execution::{Execution, State},
    store::ExecutionStore,
};

use super::{
    client::{Action, Notes, Request},
    cluster::Cluster,
    upstream::{Asked, Kind, Learned},
    walk::Move,
    world::World,
};

/// Compares what clients were told, what the store holds and what the service did.
pub(crate) struct Verdict<'a> {
    pub(crate) world: &'a World,
    pub(crate) cluster: &'a Cluster,
    pub(crate) notes: &'a Notes,
    pub(crate) requests: &'a [Request],
}

impl Verdict<'_> {
    /// The runs that somebody was told of, and how they stand.
    pub(crate) async fn known(&self) -> BTreeMap<String, (ExecutionId, Option<Execution>)> {
        let told = self.notes.0.lock().unwrap().clone();
        let mut known = BTreeMap::new();
        for request in self.requests {
            let Some(id) = told.get(&request.tag).and_then(|told| told.id) else { continue };
            let owner = request.caller().owner;
            let run = self.cluster.store.execution(&owner, id).await.unwrap();
            known.insert(request.tag.clone(), (id, run));
        }
        known
    }

    /// Whether every run that somebody was told of has ended.
    pub(crate) async fn is_over(&self) -> bool {
        let known = self.known().await;
        known.values().all(|(_, run)| run.as_ref().is_none_or(|run| run.state.is_final()))
    }

    pub(crate) async fn speak(&self) {
        let known = self.known().await;
        for request in self.requests {
            if let Some((id, run)) = known.get(&request.tag) {
                self.run(request, *id, run.as_ref());
            }
        }
        self.queue();
        let asked = self.world.upstream.ledger().asked.clone();
        let mut by_tag: BTreeMap<&str, Vec<&Asked>> = BTreeMap::new();
        for one in &asked {
            by_tag.entry(&one.tag).or_default().push(one);
        }
        for (tag, asked) in by_tag {
            self.effects(tag, &asked, &known);
        }
    }

    /// Also runs that nobody was told of come to an end.
    fn queue(&self) {
        let open: Vec<_> = {
            let watch = self.world.watch();
            watch.runs.iter().filter(|(_, seen)| seen.end.is_none()).map(|(id, _)| *id).collect()
        };
        for id in open {
            self.world.breaks(format!("{id} was queued and never ended"));
        }
    }

    fn run(&self, request: &Request, id: ExecutionId, run: Option<&Execution>) {
        let tag = &request.tag;
        let Some(run) = run else {
            if request.may_be_lost() {
                return;
            }
            return self.world.breaks(format!("{tag} ({id}) was acknowledged and is lost"));
        };
        if !run.state.is_final() {
            let state = run.state.as_str();
            return self.world.breaks(format!("{tag} ({id}) stays {state} for ever"));
        }
        let told = self.notes.0.lock().unwrap().get(tag).cloned().unwrap_or_default();
        let is_forgotten = request.is_waited_for()
            && (run.error == Some(ErrorKind::OutcomeUnknown) || run.state == State::Cancelled);
        if told.end.is_some_and(|end| end != run.state) && !is_forgotten {
            self.world.breaks(format!("{tag} was seen otherwise than {}", run.state.as_str()));
        }
        if told.is_cancelled && run.state != State::Cancelled {
            self.world.breaks(format!("{tag} was cancelled, and ended as {}", run.state.as_str()));
        }
        if let Action::Call(kind) = request.action {
            let is_unknown = run.error == Some(ErrorKind::OutcomeUnknown);
            let was_queued = self.world.watch().runs.contains_key(&id);
            if kind.may_repeat() && is_unknown && was_queued {
                self.world.breaks(format!("{tag} may be repeated, and its outcome is unknown"));
            }
        }
        if self.world.plan.is_calm() && run.state == State::Error && request.is_harmless() {
            self.world
                .breaks(format!("{tag} failed ({:?}) although nothing went wrong", run.error));
        }
        if run.state == State::Success {
            self.worked(request);
        }
    }

    /// A run that ended well did everything that it was to do, once.
    fn worked(&self, request: &Request) {
        let ledger = self.world.upstream.ledger();
        let check = |tag: &str, kind: Kind| {
            let times = ledger.effects.get(tag).copied().unwrap_or(0);
            if kind.has_effect() && times != 1 {
                self.world.breaks(format!("{tag} succeeded and had {times} effects"));
            }
        };
        match &request.action {
            Action::Call(kind) => check(&request.tag, *kind),
            Action::Walk(_, moves) => {
                for (n, step) in moves.iter().enumerate() {
                    if let Move::Call(kind) = step {
                        check(&format!("{}.{n}", request.tag), Kind::ALL[*kind]);
                    }
                }
            }
        }
    }

    fn effects(
        &self,
        tag: &str,
        asked: &[&Asked],
        known: &BTreeMap<String, (ExecutionId, Option<Execution>)>,
    ) {
        let (kind, first) = (asked[0].kind, asked[0].key.as_deref());
        let times = self.world.upstream.ledger().effects.get(tag).copied().unwrap_or(0);
        if times > 1 {
            self.world.breaks(format!("{tag} ({}) had {times} effects", kind.name()));
        }
        // A call that somebody waited for, and that certainly had no effect, gives its key back:
        // the next one is another run.
        let is_over = |one: &&Asked| one.learned == Learned::Refused;
        let mine = asked.iter().filter(|one| one.key.as_deref() == first);
        let keys: BTreeSet<_> = asked.iter().map(|one| one.key.as_deref()).collect();
        if keys.len() > 1 && !mine.copied().all(|one| is_over(&one)) {
            self.world.breaks(format!("{tag} went out under {} keys: {keys:?}", keys.len()));
        }
        if kind.takes_key() && keys.contains(&None) {
            self.world.breaks(format!("{tag} went out without a key"));
        }
        let sent: Vec<_> = asked.iter().map(|one| one.learned).collect();
        let before = &sent[..sent.len() - 1];
        let risky = before.iter().find(|learned| **learned != Learned::Refused);
        if let Some(risky) = risky.filter(|_| !kind.may_repeat()) {
            let name = kind.name();
            self.world
                .breaks(format!("{tag} ({name}) went out again after one that was {risky:?}"));
        }
        let parent = tag.split('.').next().unwrap();
        let is_even = !self.world.watch().is_uneven;
        if let Some((id, _)) = known.get(parent).filter(|_| is_even) {
            self.fenced(tag, *id, asked);
        }
    }

    /// Nothing goes out from a process that does not hold the run.
    fn fenced(&self, tag: &str, id: ExecutionId, asked: &[&Asked]) {
        let mut late = Vec::new();
        {
            let watch = self.world.watch();
            if !watch.runs.contains_key(&id) {
                return; // It never was in the queue: a call that somebody waited for.
            }
            for one in asked {
                if !watch.held(id, &one.node, one.at) {
                    late.push(one.at);
                }
            }
        }
        for at in late {
            self.world
                .breaks(format!("{tag} ({id}) went out at {at:?} from a worker without a lease"));
        }
    }
}
