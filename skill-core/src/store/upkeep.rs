//! What is done to a store as a whole: sealing it anew, beginning again from a backup, looking over
//! every owner's data. Nothing here is asked for by an owner.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::{
    error::Result,
    id::{AppId, ExecutionId, FlowId, MemoryId, ScheduleId, TriggerId, WebhookId},
    name::{OwnerId, UserId},
    record::{
        Sealed,
        app::Holder,
        connection::{ConnectionRef, Revision},
        execution::Execution,
    },
};

/// The parts of a store that hold sealed values.
///
/// ```
/// use skill_core::store::Part;
/// assert!(Part::ALL.contains(&Part::Grants));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// Credentials.
    Grants,
    /// Secrets of OAuth clients.
    Clients,
    /// What people on their way take along.
    Flows,
    /// Secrets of webhooks.
    Webhooks,
    /// Secrets that sign beside a new one for a while.
    RetiringSecrets,
    /// Inputs of runs.
    Inputs,
    /// Outcomes of runs.
    Outcomes,
    /// Steps of runs that have not ended.
    Steps,
    /// What repeats of requests are given.
    Replays,
    /// Inputs of schedules.
    Schedules,
    /// Secrets of triggers.
    Triggers,
    /// Secrets that the ends of single runs are signed with.
    Callbacks,
    /// What runs said.
    Said,
    /// What agents keep in mind.
    Memories,
}

impl Part {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::Grants,
        Self::Clients,
        Self::Flows,
        Self::Webhooks,
        Self::RetiringSecrets,
        Self::Inputs,
        Self::Outcomes,
        Self::Steps,
        Self::Replays,
        Self::Schedules,
        Self::Triggers,
        Self::Callbacks,
        Self::Said,
        Self::Memories,
    ];
}

/// Whose a sealed value is: everything that it is bound to.
///
/// ```
/// use skill_core::{id::ExecutionId, name::OwnerId, store::Place};
/// let run = ExecutionId::fresh(jiff::Timestamp::UNIX_EPOCH)?;
/// let place = Place::Input { owner: OwnerId::standard(), run };
/// assert_eq!(place.clone(), place);
/// # Ok::<(), skill_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A connection's credential.
    Grant(ConnectionRef),
    /// The secret of an OAuth client.
    Client {
        /// Whose client it is.
        holder: Holder,
        /// The client.
        app: AppId,
    },
    /// What somebody who connects an account took along.
    Verifier {
        /// For whom.
        owner: OwnerId,
        /// On which way.
        flow: FlowId,
    },
    /// The secret that signs deliveries.
    Webhook {
        /// Whose.
        owner: OwnerId,
        /// Which of their users'.
        user: Option<UserId>,
        /// Of which subscription.
        webhook: WebhookId,
    },
    /// A run's inputs.
    Input {
        /// Whose.
        owner: OwnerId,
        /// Of which run.
        run: ExecutionId,
    },
    /// A run's outcome, wherever it is kept.
    Outcome {
        /// Whose.
        owner: OwnerId,
        /// Of which run.
        run: ExecutionId,
    },
    /// The inputs of a schedule.
    Schedule {
        /// Whose.
        owner: OwnerId,
        /// Which one.
        schedule: ScheduleId,
    },
    /// The secret of a trigger.
    Trigger {
        /// Whose.
        owner: OwnerId,
        /// Which one.
        trigger: TriggerId,
    },
    /// What the end of a run is signed with.
    Callback {
        /// Whose.
        owner: OwnerId,
        /// Of which run.
        run: ExecutionId,
    },
    /// A step of a run.
    Step {
        /// Whose.
        owner: OwnerId,
        /// Of which run.
        run: ExecutionId,
        /// Where it stands among the others.
        position: u32,
        /// How it is called.
        name: String,
    },
    /// What a run said.
    Said {
        /// Whose.
        owner: OwnerId,
        /// Which run.
        run: ExecutionId,
        /// Where it stands among the steps.
        position: u32,
    },
    /// What an agent keeps in mind.
    Memory {
        /// Whose.
        owner: OwnerId,
        /// Which one.
        memory: MemoryId,
    },
}

/// Where in a part a value lies: pages go on behind it. Stores know what it means.
///
/// ```
/// assert!(skill_core::store::Cursor(1, 0) < skill_core::store::Cursor(1, 1));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor(pub i64, pub i64);

/// A value that was sealed with an older key.
///
/// ```
/// fn bytes(value: &skill_core::store::Aged) -> usize { value.sealed.0.len() }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aged {
    /// Whose it is.
    pub place: Place,
    /// The value.
    pub sealed: Sealed,
    /// Where it lies.
    pub cursor: Cursor,
}

/// What came out of a backup.
///
/// ```
/// assert_eq!(skill_core::store::Restored::default().runs, 0);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Restored {
    /// The runs that had not ended: they are held.
    pub runs: u64,
    /// The grants that were renewed elsewhere since, perhaps.
    pub grants: u64,
    /// The schedules: they are disabled.
    pub schedules: u64,
}

/// The store as a whole.
#[async_trait]
pub trait UpkeepStore {
    /// Everybody who has a key or a connection or was seen otherwise, in the order of the names,
    /// page by page after `after`.
    async fn owners(&self, after: Option<&OwnerId>, most: u32) -> Result<Vec<OwnerId>>;
    /// The facts whose names begin so.
    async fn facts(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>>;
    /// Forgets a fact, durably.
    async fn forget_fact(&self, name: &str) -> Result<()>;
    /// Begins again from a backup, durably, in one transaction: the store has the new `epoch`, runs
    /// of the queue that have not ended are held, schedules are disabled, grants are doubted until
    /// they are renewed, and nobody is on their way or holds a lease any more.
    async fn begin_epoch(&self, epoch: &str) -> Result<Restored>;
    /// Whether the grant at this revision came out of a backup.
    async fn is_restored(&self, at: &ConnectionRef, revision: Revision) -> Result<bool>;
    /// Lets a held run go on, durably, from `now` on, with as much time as it had at first. Returns
    /// the run as it then stands; unchanged when it is not held, `None` when the owner has none
    /// such.
    async fn release(
        &self,
        owner: &OwnerId,
        id: ExecutionId,
        now: Timestamp,
    ) -> Result<Option<Execution>>;
    /// Values of a part that were sealed with a key older than `version`, behind `after`.
    async fn sealed_before(
        &self,
        part: Part,
        version: u32,
        after: Option<Cursor>,
        most: u32,
    ) -> Result<Vec<Aged>>;
    /// Puts values that were sealed anew in the place of those of a part that still stand as they
    /// were read, durably, in one transaction; returns how many that were. Revisions stay.
    async fn reseal(&self, part: Part, values: &[(Aged, Sealed)]) -> Result<u64>;
}

/// Why a schedule of a restored store makes no runs.
pub(super) const RESTORED: &str =
    "it came out of a backup, and may go on where that was made: enable it";

/// The deadline of a run that is released at `now`.
pub(super) fn prolonged(created: Timestamp, deadline: Timestamp, now: Timestamp) -> Timestamp {
    let time = Duration::try_from(deadline.duration_since(created)).unwrap_or_default();
    now.checked_add(time).map_or(deadline, |later| later.max(deadline))
}

/// The key version of a sealed value, as its header has it.
pub(super) fn version(sealed: &Sealed) -> u32 {
    let version = sealed.0.get(1..5).and_then(|bytes| <[u8; 4]>::try_from(bytes).ok());
    version.map_or(0, u32::from_be_bytes)
}
