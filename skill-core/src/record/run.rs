//! Runs that wait in the queue: what a worker needs, and who holds one.

use jiff::Timestamp;

use crate::{
    id::ExecutionId,
    name::{OwnerId, Slug},
    record::{
        Sealed,
        execution::{Execution, Idempotency},
        scope::Scopes,
        trigger::Source,
    },
};

/// What is kept with a queued run until it ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Work {
    /// Its inputs.
    pub input: Sealed,
    /// What the caller might do when it asked.
    pub scopes: Scopes,
    /// The tier of limits of the caller's key.
    pub tier: Option<String>,
    /// Higher ones go first, among the runs of one lane.
    pub priority: i16,
    /// Not before this time.
    pub run_at: Timestamp,
    /// It ends in an error when it has not ended by then.
    pub deadline: Timestamp,
    /// It shares a bound on how many run at once.
    pub group: Option<Group>,
}

/// Runs of one owner that share a bound on how many of them run at once, on all nodes together.
///
/// ```
/// use skill_core::record::run::Group;
/// let group = Group { name: "github/sync".into(), most: 1 };
/// assert_eq!(group.most, 1);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Group {
    /// Its concurrency key.
    pub name: String,
    /// How many run at once.
    pub most: u32,
}

/// The runs of one owner in one integration or category. Lanes take turns.
///
/// ```
/// use skill_core::{name::{OwnerId, Slug}, record::run::Lane};
/// let lane = Lane { owner: OwnerId::standard(), namespace: Slug::parse("github")? };
/// assert_eq!(lane.namespace.as_str(), "github");
/// # Ok::<(), skill_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lane {
    /// Whose runs.
    pub owner: OwnerId,
    /// Of which integration or category.
    pub namespace: Slug,
}

/// A run that is to be queued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enqueue {
    /// The run. Its state, progress, attempts and start are the store's to say.
    pub execution: Execution,
    /// What its worker needs.
    pub work: Work,
    /// Lets the caller repeat the request.
    pub idempotency: Option<Idempotency>,
    /// Claimed in the same transaction by this worker until this time, if nothing but room stood in
    /// its way; its first fencing number is 1.
    pub claimed: Option<(Worker, Timestamp)>,
    /// The most runs that may wait for this owner.
    pub most_queued: u64,
    /// What began it besides a request with a key.
    pub source: Option<Source>,
}

/// What became of an [`Enqueue`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Enqueued {
    /// It is kept, durably. The lease when it was claimed at once.
    New(Option<Lease>),
    /// The same request made this run before, which may or may not have ended.
    Same(ExecutionId),
    /// The idempotency key was used with other inputs.
    Differs,
    /// Too many runs of this owner wait.
    Full,
}

/// Names one process that works on runs: a fresh one each time it starts.
///
/// ```
/// use skill_core::record::run::Worker;
/// assert_eq!(Worker("w1".into()).0, "w1");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Worker(pub String);

/// The right to work on a run until a time, unless somebody else got a higher fencing number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Whose run.
    pub owner: OwnerId,
    /// Which run.
    pub id: ExecutionId,
    /// Who holds it.
    pub worker: Worker,
    /// Grows with every claim of the run.
    pub fencing: u64,
    /// When it lapses.
    pub until: Timestamp,
}

/// Which runs a worker wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Who asks.
    pub worker: Worker,
    /// The time.
    pub now: Timestamp,
    /// Until when the leases last.
    pub until: Timestamp,
    /// How many at most.
    pub most: u32,
    /// The lane that was served last: the one behind it is the first.
    pub after: Option<Lane>,
    /// Owners that have as many workers already as they may have.
    pub saturated: Vec<OwnerId>,
}

/// A run that was claimed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    /// The right to work on it.
    pub lease: Lease,
    /// The run; its attempts count this one.
    pub execution: Execution,
    /// What its worker needs.
    pub work: Work,
    /// How many of its attempts were lost with their worker.
    pub crashes: u32,
    /// An earlier attempt noted that it sends something that must not be sent twice, and was lost.
    pub may_have_happened: bool,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// The right to say so.
    pub lease: Lease,
    /// The run as it stands now. A state that is final ends it; any other gives it back.
    pub execution: Execution,
    /// Its outcome, when it ended.
    pub outcome: Option<Sealed>,
    /// When a run that is given back may be claimed again.
    pub run_at: Timestamp,
    /// The attempt does not count: nothing was done in it.
    pub is_undone: bool,
}

/// One durable step of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Which one, from 0 on, in the order in which they began.
    pub position: u32,
    /// What the skill calls it.
    pub name: String,
    /// Its value; `None` from the moment it began something that must not be done twice until its
    /// outcome is known.
    pub value: Option<Sealed>,
}
