//! The memory store: for tests, and for embedders that keep nothing. One file per part.

mod agent;
mod app;
mod audit;
mod connection;
mod conversation;
mod execution;
mod flow;
mod grant;
mod key;
mod login;
mod meta;
mod outbox;
mod owner;
mod queue;
mod schedule;
mod upkeep;
mod usage;
mod webhook;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use data_encoding::HEXLOWER;
use jiff::Timestamp;
use tokio::sync::Notify;

use self::execution::Kept;
use crate::{
    error::Error,
    id::{
        self, AppId, ConnectionId, DeliveryId, ExecutionId, FlowId, KeyId, MemoryId, ScheduleId,
        TriggerId, WebhookId,
    },
    name::{ActionName, AgentId, OwnerId},
    record::{
        Sealed,
        agent::{Agent, Memory},
        app::App,
        audit::Entry,
        connection::{Connection, ConnectionRef},
        flow::{Departure, Flow, TokenHash},
        key::{Key, KeyHash},
        login::Login,
        owner::Owner,
        schedule::Schedule,
        trigger::Trigger,
        usage::{Ledger, Window},
        webhook::Subscription,
    },
};

/// A store that keeps everything in memory: what it calls durable ends with the process.
///
/// ```
/// use skill_core::store::{MemoryStore, MetaStore};
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let store = MemoryStore::new();
/// assert!(store.meta("epoch").await?.is_some());
/// # Ok::<(), skill_core::Error>(()) }).unwrap();
/// ```
pub struct MemoryStore(Mutex<Tables>);

impl MemoryStore {
    /// Returns an empty store.
    #[expect(clippy::new_without_default, reason = "one way in")]
    pub fn new() -> Self {
        let mut tables = Tables::default();
        // Without randomness nothing works, and the first identifier says so.
        if let Ok(epoch) = id::random::<16>() {
            tables.meta.insert("epoch".into(), HEXLOWER.encode(&epoch).into_bytes());
        }
        Self(Mutex::new(tables))
    }

    /// Every use is one short section, and so one transaction.
    fn lock(&self) -> MutexGuard<'_, Tables> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemoryStore")
    }
}

#[derive(Default)]
struct Tables {
    owners: HashMap<OwnerId, Owner>,
    returns: HashMap<OwnerId, BTreeSet<String>>,
    keys: BTreeMap<KeyId, Key>,
    key_hashes: HashMap<KeyHash, KeyId>,
    connections: BTreeMap<ConnectionId, Connection>,
    grants: BTreeMap<ConnectionId, Grant>,
    /// The revisions of those that came out of a backup.
    restored: HashMap<ConnectionId, u64>,
    leases: HashMap<ConnectionRef, (String, Timestamp)>,
    apps: BTreeMap<AppId, App>,
    flows: HashMap<FlowId, (Flow, Option<Departure>)>,
    logins: HashMap<TokenHash, Login>,
    runs: HashMap<OwnerId, BTreeMap<ExecutionId, Kept>>,
    /// The runs of the queue that have not ended.
    queue: BTreeSet<(OwnerId, ExecutionId)>,
    repeats: HashMap<RepeatKey, Repeat>,
    usage: HashMap<(OwnerId, String, Window), Ledger>,
    agents: BTreeMap<(OwnerId, AgentId), Agent>,
    memories: BTreeMap<MemoryId, Memory>,
    webhooks: BTreeMap<WebhookId, Subscription>,
    schedules: BTreeMap<ScheduleId, Schedule>,
    triggers: BTreeMap<TriggerId, Trigger>,
    deliveries: BTreeMap<DeliveryId, outbox::Kept>,
    /// Tells that a delivery was kept.
    stirred: Arc<Notify>,
    audit: Vec<Entry>,
    meta: HashMap<String, Vec<u8>>,
}

impl Tables {
    /// The connection, if it is exactly the one that `at` names.
    fn connection_at(&self, at: &ConnectionRef) -> Option<&Connection> {
        self.connections.get(&at.id).filter(|c| c.owner == at.owner && c.user == at.user)
    }
}

/// A grant. A destroyed one leaves its revision behind, so that none is ever used twice.
struct Grant {
    sealed: Option<Sealed>,
    revision: u64,
}

/// The scope of an idempotency key.
type RepeatKey = (OwnerId, ActionName, String);

/// What an idempotency key stands for.
struct Repeat {
    inputs: [u8; 32],
    expires_at: Timestamp,
    run: ExecutionId,
    outcome: Option<Sealed>,
}

/// A record that is there although its identifier was fresh.
fn exists(what: &str) -> Error {
    Error::internal(format_args!("{what} with this identity exists"))
}
