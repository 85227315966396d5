//! Where records are kept: one small trait per part, [`Store`] is all of them.
//!
//! Every method that touches an owner's data takes the owner first. The two exceptions say so: a
//! key and a connect link are how an owner is *found*.
//!
//! To add a backend: a folder with one file per part, one line where stores are opened, and a test
//! that runs `suite` against it. Promises stand in the traits' docs and are tested in the suite.

mod agent;
mod memory;
mod outbox;
mod schedule;
#[cfg(feature = "sqlite")]
pub mod sqlite;
#[cfg(any(test, feature = "test-suite"))]
pub mod suite;
mod upkeep;

use std::{fmt::Debug, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;

pub use self::{
    agent::{AgentStore, ConversationStore, MemoryFilter},
    memory::MemoryStore,
    outbox::{DeliveryFilter, OutboxStore, WebhookStore},
    schedule::{ScheduleStore, TriggerStore},
    upkeep::{Aged, Cursor, Part, Place, Restored, UpkeepStore},
};
use crate::{
    error::Result,
    id::{AppId, ConnectionId, ExecutionId, KeyId},
    name::{OwnerId, Slug, UserId},
    record::{
        Sealed,
        app::{App, Holder, Removal},
        audit::Entry,
        connection::{Connection, ConnectionRef, Revision},
        execution::{Begun, Execution, Idempotency, Recorded, State},
        flow::{Departure, Flow, TokenHash},
        key::{Change, Key, KeyHash, Rotate, Rotation},
        login::{Answer, Login},
        owner::Owner,
        run::{Claim, Claimed, Enqueue, Enqueued, Finished, Lease, Step},
        usage::{Reserve, Share},
    },
};

/// Owners.
#[async_trait]
pub trait OwnerStore {
    /// Returns the owner, and makes it on first use, durably.
    async fn ensure_owner(&self, owner: &Owner) -> Result<Owner>;
    /// Returns the owner, if there is one.
    async fn owner(&self, id: &OwnerId) -> Result<Option<Owner>>;
    /// Puts the owner on a plan; `None` for the default plan. False when there is no such owner.
    async fn set_plan(&self, id: &OwnerId, plan: Option<&str>) -> Result<bool>;
    /// Where the owner's people may be sent after connecting, in the order of the texts; none when
    /// the owner has no list of its own. The owner need not exist.
    async fn return_urls(&self, id: &OwnerId) -> Result<Vec<String>>;
    /// Adds a URL to the owner's list, durably, unless `most` others stand there: then nothing
    /// changes and it returns false.
    async fn allow_return(&self, id: &OwnerId, url: &str, most: u32) -> Result<bool>;
    /// Takes a URL from the owner's list, durably. False when it does not stand there.
    async fn forbid_return(&self, id: &OwnerId, url: &str) -> Result<bool>;
}

/// API keys.
#[async_trait]
pub trait KeyStore {
    /// Keeps a new key, durably, unless its owner has `most` live ones at `key.created_at` already:
    /// then nothing changes and it returns false. Counting and keeping are one transaction.
    async fn insert_key(&self, key: &Key, most: Option<u32>) -> Result<bool>;
    /// Finds a key by its hash, whoever owns it: this is how an owner is found.
    async fn key_by_hash(&self, hash: &KeyHash) -> Result<Option<Key>>;
    /// The owner's keys, the newest first, revoked ones included.
    async fn keys(&self, owner: &OwnerId) -> Result<Vec<Key>>;
    /// Marks a key as revoked, durably. True when it is revoked afterwards; a key that was revoked
    /// earlier keeps its time. False when the owner has no such key.
    async fn revoke_key(&self, owner: &OwnerId, id: KeyId, at: Timestamp) -> Result<bool>;
    /// Changes a key, durably; returns it as it then stands, `None` when the owner has no such key.
    async fn change_key(&self, owner: &OwnerId, id: KeyId, to: &Change) -> Result<Option<Key>>;
    /// Keeps the successor of the owner's key, and ends the old one at `rotate.end` if it does not
    /// end before: it is revoked when that is not after `successor.created_at`. Durably, in one
    /// transaction; nothing changes unless it is [`Rotation::Done`]. [`Rotation::Full`] when the old
    /// one lasts and the owner has `most` live keys besides it.
    async fn rotate_key(&self, owner: &OwnerId, rotate: &Rotate) -> Result<Rotation>;
}

/// The time at or before which a connection must have been begun at `now` to count as abandoned
/// while it is pending: longer ago than any link and any sign-in lives.
pub fn abandoned(now: Timestamp) -> Timestamp {
    now.checked_sub(Duration::from_secs(3600)).unwrap_or(Timestamp::MIN)
}

/// Connections.
#[async_trait]
pub trait ConnectionStore {
    /// Keeps a new connection, durably, unless its owner has `most` already: then nothing changes
    /// and it returns false. The owner's [`abandoned`] ones go first. Counting and keeping are one transaction. No connection becomes the
    /// default one by itself.
    async fn insert_connection(&self, connection: &Connection, most: Option<u32>) -> Result<bool>;
    /// Returns the owner's connection.
    async fn connection(&self, owner: &OwnerId, id: ConnectionId) -> Result<Option<Connection>>;
    /// The owner's connections, the oldest first; of one integration when one is named.
    async fn connections(
        &self,
        owner: &OwnerId,
        integration: Option<&Slug>,
    ) -> Result<Vec<Connection>>;
    /// Every owner's connections of the integration that are connected and have rested since
    /// `before` or longer, the longest first, at most `most`.
    async fn resting_connections(
        &self,
        integration: &Slug,
        before: Timestamp,
        most: u32,
    ) -> Result<Vec<Connection>>;
    /// Replaces what may change: label, default, app, fields, account, status, last error, scopes,
    /// `updated_at`, `expires_at`, `rests_since`; owner, user, integration and `created_at` stay. Making one the
    /// default takes that from the others of the same owner, user and integration. False when the
    /// owner has no such connection. A change of status that somebody is told about is announced,
    /// as of `updated_at`: see [`OutboxStore`].
    async fn update_connection(&self, connection: &Connection) -> Result<bool>;
    /// Removes a connection, its grant, lease and flows, durably, in one transaction, and announces
    /// it as of `at`. False when the owner has no such connection.
    async fn delete_connection(
        &self,
        owner: &OwnerId,
        id: ConnectionId,
        at: Timestamp,
    ) -> Result<bool>;
}

/// Grants: sealed credentials with a revision, and the lease for renewing one.
#[async_trait]
pub trait GrantStore {
    /// Returns the grant and its revision.
    async fn grant(&self, at: &ConnectionRef) -> Result<Option<(Sealed, Revision)>>;
    /// Writes `new`, durably, if the grant is still at `seen` (`None`: if there is none). Otherwise
    /// changes nothing and returns `None`. Also `None` when the connection does not exist.
    /// Returns the new revision, which no earlier grant of this connection had.
    async fn replace_grant(
        &self,
        at: &ConnectionRef,
        new: &Sealed,
        seen: Option<Revision>,
    ) -> Result<Option<Revision>>;
    /// Destroys the grant, durably.
    async fn forget_grant(&self, at: &ConnectionRef) -> Result<()>;
    /// Takes the lease for renewing this grant until `now + hold`, for whoever `token` names. False
    /// when somebody else holds it and it has not lapsed. The holder may take it again.
    async fn lease_renewal(
        &self,
        at: &ConnectionRef,
        token: &str,
        now: Timestamp,
        hold: Duration,
    ) -> Result<bool>;
    /// Gives the lease back; a token that does not hold it changes nothing.
    async fn release_renewal(&self, at: &ConnectionRef, token: &str) -> Result<()>;
    /// Every grant there is, page by page after `after`, for re-sealing under a new key.
    async fn grants_after(
        &self,
        after: Option<ConnectionId>,
        most: u32,
    ) -> Result<Vec<(ConnectionRef, Sealed, Revision)>>;
}

/// Apps: OAuth clients.
#[async_trait]
pub trait AppStore {
    /// Keeps an app, durably; one with the same id is replaced.
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) when that one is another holder's.
    async fn put_app(&self, app: &App) -> Result<()>;
    /// Returns an app that `owner` may use: its own or the system's.
    async fn app(&self, owner: &OwnerId, id: AppId) -> Result<Option<App>>;
    /// The holder's apps, the newest first; for an integration when one is named.
    async fn apps(&self, holder: &Holder, integration: Option<&Slug>) -> Result<Vec<App>>;
    /// Removes the holder's app, durably. With `spares`, one that connections were made through
    /// stays: see [`Removal`]. One transaction.
    async fn remove_app(&self, holder: &Holder, id: AppId, spares: bool) -> Result<Removal>;
}

/// Flows: people on their way to connect an account.
#[async_trait]
pub trait FlowStore {
    /// Keeps a new flow, durably; its connection need not exist yet. Flows that ended before `now`
    /// are swept on the way.
    async fn insert_flow(&self, flow: &Flow, now: Timestamp) -> Result<()>;
    /// Finds a flow by its link, whoever owns it, if the link is neither used nor past its end.
    async fn flow_by_link(&self, link: &TokenHash, now: Timestamp) -> Result<Option<Flow>>;
    /// Uses the link up and records the departure, durably, in one transaction; `None` for links
    /// that end without one (a form that takes a key). False when the link is used or past its
    /// end: nothing changes then.
    async fn depart(
        &self,
        link: &TokenHash,
        departure: Option<&Departure>,
        now: Timestamp,
    ) -> Result<bool>;
    /// Finds the flow that left with `state` in the browser that `browser` names, and uses the
    /// state up, durably. `None` when the state is unknown, used, past its end or of another
    /// browser; then nothing is used up.
    async fn arrive(
        &self,
        state: &TokenHash,
        browser: &TokenHash,
        now: Timestamp,
    ) -> Result<Option<(Flow, Departure)>>;
}

/// Logins of devices: this is how a program finds its owner.
#[async_trait]
pub trait LoginStore {
    /// Keeps a new login, durably, unless `most` have not ended at `now`: then nothing changes and
    /// it returns false. Those that have ended are swept on the way.
    async fn insert_login(&self, login: &Login, now: Timestamp, most: u32) -> Result<bool>;
    /// Finds a login by the program's code, answered or not, until its end.
    async fn login_by_device(&self, device: &TokenHash, now: Timestamp) -> Result<Option<Login>>;
    /// Finds a login by the person's code, until its end or its answer.
    async fn login_by_code(&self, code: &TokenHash, now: Timestamp) -> Result<Option<Login>>;
    /// Keeps the answer, durably. False when there is no such login, it has one, or it has ended.
    async fn answer_login(&self, code: &TokenHash, answer: &Answer, now: Timestamp)
    -> Result<bool>;
    /// Removes a login that has its answer, durably, and returns it; `None` when there is no such
    /// login, it waits, or it has ended.
    async fn end_login(&self, device: &TokenHash, now: Timestamp) -> Result<Option<Login>>;
}

/// Which executions a listing wants.
///
/// ```
/// let filter = skill_core::store::ExecutionFilter::default();
/// assert_eq!(filter.limit, 50);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecutionFilter {
    /// In this state only.
    pub state: Option<State>,
    /// Of this integration or category only.
    pub namespace: Option<Slug>,
    /// Of this endpoint or skill only; goes with `namespace`.
    pub name: Option<Slug>,
    /// Of this user only; `None` is everybody's.
    pub user: Option<UserId>,
    /// Asked for by this run only; otherwise only those that no run asked for.
    pub parent: Option<ExecutionId>,
    /// Older than this run only.
    pub after: Option<ExecutionId>,
    /// How many at most.
    pub limit: u32,
    /// How many to leave out first.
    pub offset: u64,
}

impl Default for ExecutionFilter {
    fn default() -> Self {
        Self {
            state: None,
            namespace: None,
            name: None,
            user: None,
            parent: None,
            after: None,
            limit: 50,
            offset: 0,
        }
    }
}

/// Executions.
#[async_trait]
pub trait ExecutionStore {
    /// Records a run that is about to be sent, durably, unless `idempotency` names one that was
    /// recorded before and has not expired at `run.created_at`: see [`Begun`]. One transaction.
    /// A run that has not ended by `until` was lost with its process: see
    /// [`orphans`](Self::orphans).
    async fn begin(
        &self,
        run: &Execution,
        idempotency: Option<&Idempotency>,
        until: Timestamp,
    ) -> Result<Begun>;
    /// Runs that were begun, did not end, and never will: past their time at `now`, at most `most`,
    /// the longest lost ones first. They come back until [`record`](Self::record) ends them.
    async fn orphans(&self, now: Timestamp, most: u32) -> Result<Vec<Execution>>;
    /// Records runs that ended, in one transaction: a run that [`begin`](Self::begin) recorded is
    /// replaced, unless it is final already; any other is added. Also moves `last_used_at` of the
    /// keys and connections that they used, never back. A run that ended without a replay frees its
    /// idempotency key: nothing happened that a repeat could double.
    async fn record(&self, runs: &[Recorded]) -> Result<()>;
    /// Returns the owner's run.
    async fn execution(&self, owner: &OwnerId, id: ExecutionId) -> Result<Option<Execution>>;
    /// Returns the kept inputs and the kept outcome of the owner's run. A run of the queue has its
    /// inputs from the start and its outcome from its end.
    async fn bodies(
        &self,
        owner: &OwnerId,
        id: ExecutionId,
    ) -> Result<(Option<Sealed>, Option<Sealed>)>;
    /// The owner's runs, the newest first, and how many match in all, wherever `after` and
    /// `offset` let the listing begin.
    async fn executions(
        &self,
        owner: &OwnerId,
        filter: &ExecutionFilter,
    ) -> Result<(Vec<Execution>, u64)>;
    /// Removes runs that ended before `before`, with everything that is kept with them, and
    /// idempotency records that expired by `now`, at most `most` of each, in small transactions;
    /// returns how many runs went.
    async fn prune(&self, before: Timestamp, now: Timestamp, most: u32) -> Result<u64>;
}

/// The queue: runs that wait for a worker, and who works on which.
///
/// A run that left this queue by a final state never changes again. A statement that needs a lease
/// checks its fencing number itself: a worker that lost a run changes nothing of it.
#[async_trait]
pub trait QueueStore {
    /// Keeps runs, durably, in one transaction, in the order given. A key that names an earlier
    /// request, an expired one excepted at the run's `created_at`, makes none: see [`Enqueued`].
    /// Keys are shared with [`ExecutionStore::begin`], which finds a run that has not ended as
    /// [`Begun::Running`] and the outcome of one that has as [`Begun::Same`].
    ///
    /// A run that is claimed on the way starts at its `created_at`, whatever waits. It is queued
    /// instead when its time has not come or its group is full; only one that is queued is counted
    /// against `most_queued`.
    async fn enqueue(&self, runs: &[Enqueue]) -> Result<Vec<Enqueued>>;
    /// Claims what may run at `want.now`, durably, in one transaction: queued runs whose time has
    /// come, and running ones whose lease has lapsed, which counts as a crash.
    ///
    /// Lanes take turns, beginning behind `want.after`; in each turn a lane gives one run: the
    /// highest priority goes first, then the earliest `run_at`, then the oldest. Runs of
    /// saturated owners and of full groups stay; what the worker that asks holds has its place in
    /// its group, even when it has lapsed. What comes back stands in the order of the turns.
    ///
    /// A run whose time had come when it was asked for, or when somebody claimed, waits for nothing
    /// but its turn, even if the clock is set back.
    ///
    /// A run that is claimed is running, counts one attempt more, and began when it was claimed
    /// first. Its fencing number is one higher than the last.
    async fn claim(&self, want: &Claim) -> Result<Vec<Claimed>>;
    /// Moves the end of leases to `until`, never to an earlier time, and keeps the progress beside
    /// each; false for those that are lost: the run ended, was given back, or another worker has
    /// it. A lease that lapsed and that nobody took over is not lost.
    async fn extend(&self, leases: &[(Lease, u8)], until: Timestamp) -> Result<Vec<bool>>;
    /// Notes, durably, that something is about to be sent that must not be sent twice. False when
    /// the lease is lost. The note stays until the run is given back.
    async fn note_sent(&self, lease: &Lease) -> Result<bool>;
    /// Keeps a step of the run, durably; one of the same position is replaced. False when the lease
    /// is lost.
    async fn record_step(&self, lease: &Lease, step: &Step) -> Result<bool>;
    /// The steps of the owner's run, in order; none when it has ended.
    async fn steps(&self, owner: &OwnerId, id: ExecutionId) -> Result<Vec<Step>>;
    /// Ends attempts, durably, in one transaction; false for those whose lease is lost: nothing of
    /// the run changes then.
    ///
    /// A run that ends keeps its inputs and its outcome, loses its steps, and moves `last_used_at`
    /// as [`ExecutionStore::record`] does. Its outcome is what a repeat of the request is given,
    /// until the idempotency key expires; without an outcome the key is free again. A run that is
    /// given back is queued, with progress 0 and what was kept before: its steps, how often it was
    /// claimed and lost. Attempts are counted by the store: what `execution` says of them is left
    /// out.
    async fn finish(&self, done: &[Finished]) -> Result<Vec<bool>>;
    /// Ends a run that is not final, whoever holds it, durably, as `execution` says: its state,
    /// progress, error, timing and end. Its outcome, steps and idempotency key fare as in
    /// [`finish`](Self::finish). Returns the run as it then stands; unchanged when it was final
    /// already, `None` when the owner has no such run.
    async fn end(
        &self,
        execution: &Execution,
        outcome: Option<&Sealed>,
    ) -> Result<Option<Execution>>;
    /// Ends the leases of workers that certainly are gone, at `now`; returns how many. A store that
    /// one process has to itself ends all of them, and the time of every run that was begun: call
    /// it once, before anything else.
    async fn adopt(&self, now: Timestamp) -> Result<u64>;
    /// The earliest time at which a run may be claimed that cannot be claimed at `now`: its time
    /// comes, or its lease lapses. Full groups and saturated owners do not count.
    async fn next_due(&self, now: Timestamp) -> Result<Option<Timestamp>>;
}

/// Reserved shares of limits.
#[async_trait]
pub trait UsageStore {
    /// Notes what the process has spent, grants what the window still has room for, and notes the
    /// grant in the bucket `until`: durably, in one transaction.
    ///
    /// The room is `limit` less everything that stands in the window for every process, later
    /// buckets included. What stands more than a window after `until` is moved to `until`, so that
    /// a clock that was set back blocks for two windows at most; what stands nearer stays, because
    /// another process may still spend it there. Rows that left two windows ago are swept.
    /// See [`Ledger::settle`](crate::record::usage::Ledger::settle).
    async fn reserve(&self, owner: &OwnerId, reserve: &Reserve) -> Result<Share>;
}

/// The audit.
#[async_trait]
pub trait AuditStore {
    /// Adds an entry, durably.
    async fn append_audit(&self, entry: &Entry) -> Result<()>;
    /// The owner's newest entries, the newest first.
    async fn audit(&self, owner: &OwnerId, most: u32) -> Result<Vec<Entry>>;
}

/// Facts about the store itself.
#[async_trait]
pub trait MetaStore {
    /// Returns a fact.
    async fn meta(&self, name: &str) -> Result<Option<Vec<u8>>>;
    /// Keeps a fact, durably, if there is none of this name; returns the one that then stands.
    async fn meta_or_insert(&self, name: &str, value: &[u8]) -> Result<Vec<u8>>;
    /// Answers when the store can read and write.
    async fn ping(&self) -> Result<()>;
}

/// All parts of a store.
///
/// A method that returns without an error has done what it says; "durably" means that it survives
/// `kill -9` and a power cut. Failures of the storage are
/// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable); records that cannot be read, and
/// fresh identifiers that are taken, are [`ErrorKind::Internal`](crate::ErrorKind::Internal).
///
/// Listings go by age, and age by identifier. What ends at a moment has ended at that moment.
/// Times and durations are kept to the microsecond. The fact `epoch` is there from the start: a
/// random text that a restored backup gets anew. A future that is dropped before it returned may
/// or may not have done its work.
pub trait Store:
    OwnerStore
    + KeyStore
    + ConnectionStore
    + GrantStore
    + AppStore
    + FlowStore
    + LoginStore
    + ExecutionStore
    + QueueStore
    + ScheduleStore
    + TriggerStore
    + AgentStore
    + ConversationStore
    + UsageStore
    + WebhookStore
    + OutboxStore
    + AuditStore
    + MetaStore
    + UpkeepStore
    + Debug
    + Send
    + Sync
    + 'static
{
}

impl<T> Store for T where
    T: OwnerStore
        + KeyStore
        + ConnectionStore
        + GrantStore
        + AppStore
        + FlowStore
        + LoginStore
        + ExecutionStore
        + QueueStore
        + ScheduleStore
        + TriggerStore
        + AgentStore
        + ConversationStore
        + UsageStore
        + WebhookStore
        + OutboxStore
        + AuditStore
        + MetaStore
        + UpkeepStore
        + Debug
        + Send
        + Sync
        + 'static
{
}

const _: Option<&dyn Store> = None;
