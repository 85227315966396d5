//! What one seed makes: a plan of what goes wrong, and everything that is seen of it.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use skill_core::{clock::Clock, queue::Settings};

use super::{dice::Dice, node::Node, upstream::Upstream, watch::Watch};

/// How much goes wrong, in cases of a thousand.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Faults {
    /// An operation of the store fails and has done nothing.
    pub(crate) store_before: u64,
    /// An operation of the store has done its work and fails.
    pub(crate) store_after: u64,
    /// An operation of the store takes seconds.
    pub(crate) slow_store: u64,
    /// The service misbehaves.
    pub(crate) upstream: u64,
    /// The service takes seconds.
    pub(crate) slow_upstream: u64,
    /// A skill panics or fails.
    pub(crate) skill: u64,
}

/// A store that breaks one of its promises: the checks have to find it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lie {
    /// It says that a run is queued, and now and then forgets it.
    AcknowledgesFirst,
    /// It makes a run of its own of every repeat.
    ForgetsKeys,
    /// It does not keep that something is about to be sent.
    ForgetsSending,
    /// It does not keep finished steps.
    ForgetsSteps,
    /// It gives away what somebody else still holds.
    TakesOverEarly,
    /// It says that a run is cancelled, and leaves it as it is.
    CancelsNothing,
}

impl Lie {
    pub(crate) const ALL: [Self; 6] = [
        Self::AcknowledgesFirst,
        Self::ForgetsKeys,
        Self::ForgetsSending,
        Self::ForgetsSteps,
        Self::TakesOverEarly,
        Self::CancelsNothing,
    ];
}

/// What a seed stands for.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) lie: Option<Lie>,
    /// Processes over one store.
    pub(crate) nodes: usize,
    pub(crate) faults: Faults,
    /// For how long things go wrong.
    pub(crate) chaos: Duration,
    /// Processes die, on average, after so long; never when zero.
    pub(crate) crash_every: u64,
    pub(crate) freeze_every: u64,
    pub(crate) jump_every: u64,
    pub(crate) stop_every: u64,
    /// Requests of clients.
    pub(crate) requests: u64,
}

impl Plan {
    pub(crate) fn of(seed: u64) -> Self {
        let dice = Dice::new(seed.rotate_left(17) ^ 0x706c_616e);
        let nodes = dice.pick(&[1, 1, 1, 2, 2, 3]);
        let some = |most: u64| if dice.in_thousand(400) { 0 } else { 1 + dice.below(most) };
        let faults = Faults {
            store_before: some(60),
            store_after: some(60),
            slow_store: some(20),
            upstream: some(600),
            slow_upstream: some(300),
            skill: some(400),
        };
        let every = |least: u64| if dice.in_thousand(500) { 0 } else { least + dice.below(30_000) };
        Self {
            seed,
            lie: None,
            nodes,
            faults,
            chaos: Duration::from_millis(dice.between(500, 60_000)),
            crash_every: every(1_000),
            freeze_every: every(5_000),
            // Several processes go by one time of day: operators see to that.
            jump_every: if nodes == 1 { every(5_000) } else { 0 },
            stop_every: every(8_000),
            requests: dice.between(2, 14),
        }
    }

    /// Whether nothing goes wrong at all.
    pub(crate) fn is_calm(&self) -> bool {
        let Faults { store_before, store_after, slow_store, upstream, slow_upstream, skill } =
            self.faults;
        let faults = store_before + store_after + slow_store + upstream + slow_upstream + skill;
        let events = self.crash_every + self.freeze_every + self.jump_every + self.stop_every;
        faults + events == 0
    }

    /// Bounds that such short plays reach.
    pub(crate) fn settings(&self) -> Settings {
        let dice = Dice::new(self.seed ^ 0x7365_7474);
        Settings {
            slots: dice.pick(&[1, 2, 4, 16]),
            lease: Duration::from_secs(dice.pick(&[5, 30])),
            longest_backoff: Duration::from_secs(20),
            deadline: Duration::from_secs(30 * 60),
            drain: Duration::from_secs(dice.pick(&[1, 30])),
            ..Settings::default()
        }
    }
}

/// A durable step of a skill, as the skill saw it: its value once the context said that it is
/// done.
#[derive(Debug, Default, Clone)]
struct Step {
    value: Option<u64>,
}

/// Everything that processes and clients share.
pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) dice: Dice,
    pub(crate) upstream: Upstream,
    faults: Mutex<Faults>,
    watch: Mutex<Watch>,
    steps: Mutex<BTreeMap<String, Step>>,
    trace: Mutex<DefaultHasher>,
    is_loud: bool,
}

impl World {
    pub(crate) fn new(plan: Plan, is_loud: bool) -> Arc<Self> {
        let is_uneven = plan.jump_every > 0;
        Arc::new(Self {
            dice: Dice::new(plan.seed),
            plan,
            upstream: Upstream::default(),
            // The first seconds belong to the setting up.
            faults: Mutex::default(),
            watch: Mutex::new(Watch::new(is_uneven)),
            steps: Mutex::default(),
            trace: Mutex::default(),
            is_loud,
        })
    }

    pub(crate) fn faults(&self) -> Faults {
        *self.faults.lock().unwrap()
    }

    pub(crate) fn begin(&self) {
        *self.faults.lock().unwrap() = self.plan.faults;
    }

    pub(crate) fn heal(&self) {
        *self.faults.lock().unwrap() = Faults::default();
    }

    pub(crate) fn watch(&self) -> MutexGuard<'_, Watch> {
        self.watch.lock().unwrap()
    }

    pub(crate) fn breaks(&self, what: String) {
        self.watch().broken.push(what);
    }

    pub(crate) fn step_begins(&self, node: &Node, tag: &str) {
        self.note(node, "step", tag);
        let is_finished =
            self.steps.lock().unwrap().entry(tag.to_owned()).or_default().value.is_some();
        if is_finished {
            self.breaks(format!("step {tag} was done again after it had finished"));
        }
    }

    pub(crate) fn step_finished(&self, tag: &str, value: u64) {
        let before =
            self.steps.lock().unwrap().entry(tag.to_owned()).or_default().value.replace(value);
        if before.is_some_and(|before| before != value) {
            self.breaks(format!("step {tag} had another value before"));
        }
    }

    /// Something that a process did.
    pub(crate) fn note(&self, node: &Node, what: &str, end: &str) {
        self.line(node.steady(), &format!("node {}", node.number), what, end);
    }

    /// Something that happened: part of what a seed must repeat.
    pub(crate) fn line(&self, at: Duration, who: &str, what: &str, end: &str) {
        (at.as_millis(), who, what, end).hash(&mut *self.trace.lock().unwrap());
        if self.is_loud {
            eprintln!("{:>10.3} {who}: {what} {end}", at.as_secs_f64());
        }
    }

    /// What stands for everything that happened.
    pub(crate) fn trace(&self) -> u64 {
        self.trace.lock().unwrap().finish()
    }
}
