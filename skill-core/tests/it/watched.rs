//! A store around a store: it counts, fails and waits where a test says.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use skill_core::{
    Error, ErrorKind, Result,
    id::{
        AppId, ConnectionId, DeliveryId, ExecutionId, KeyId, MemoryId, ScheduleId, TriggerId,
        WebhookId,
    },
    name::{AgentId, OwnerId, Slug},
    record::{
        Sealed,
        agent::{Agent, Kept, Memory},
        app::{App, Holder, Removal},
        audit::Entry,
        connection::{Connection, ConnectionRef, Revision},
        conversation::{Conversation, Filter, Said},
        delivery::{self, Delivery, Settled},
        execution::{Begun, Execution, Idempotency, Recorded},
        flow::{Departure, Flow, TokenHash},
        key::{self, Key, KeyHash, Rotate, Rotation},
        login::{Answer, Login},
        owner::Owner,
        run::{Claim, Claimed, Enqueue, Enqueued, Finished, Lease, Step},
        schedule::{Fired, Firing, Schedule},
        trigger::{Source, Trigger},
        usage::{Reserve, Share},
        webhook::{Change, Subscription},
    },
    store::{
        Aged, AgentStore, AppStore, AuditStore, ConnectionStore, ConversationStore, Cursor,
        DeliveryFilter, ExecutionFilter, ExecutionStore, FlowStore, GrantStore, KeyStore,
        LoginStore, MemoryFilter, MemoryStore, MetaStore, OutboxStore, OwnerStore, Part,
        QueueStore, Restored, ScheduleStore, Store, TriggerStore, UpkeepStore, UsageStore,
        WebhookStore,
    },
};

type Hook = Arc<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;

/// Passes everything on to `inner`.
pub(crate) struct Watched {
    inner: Arc<dyn Store>,
    counts: Mutex<HashMap<&'static str, usize>>,
    failing: Mutex<HashSet<&'static str>>,
    after: Mutex<HashMap<&'static str, Hook>>,
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watched")
    }
}

impl Watched {
    pub(crate) fn new() -> Arc<Self> {
        Self::over(Arc::new(MemoryStore::new()))
    }

    pub(crate) fn over(inner: Arc<dyn Store>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            counts: Mutex::default(),
            failing: Mutex::default(),
            after: Mutex::default(),
        })
    }

    /// How often a method was called.
    pub(crate) fn count(&self, method: &str) -> usize {
        self.counts.lock().unwrap().get(method).copied().unwrap_or(0)
    }

    /// Lets a method fail from here on.
    pub(crate) fn fail(&self, method: &'static str) {
        self.failing.lock().unwrap().insert(method);
    }

    /// Lets it succeed again.
    pub(crate) fn heal(&self, method: &'static str) {
        self.failing.lock().unwrap().remove(method);
    }

    /// Does `hook` once, after the next call of a method has done its work and before it returns.
    pub(crate) fn once_after(
        &self,
        method: &'static str,
        hook: impl Fn() -> BoxFuture<'static, ()> + Send + Sync + 'static,
    ) {
        self.after.lock().unwrap().insert(method, Arc::new(hook));
    }

    async fn pass<T>(&self, method: &'static str, work: BoxFuture<'_, Result<T>>) -> Result<T> {
        *self.counts.lock().unwrap().entry(method).or_default() += 1;
        if self.failing.lock().unwrap().contains(method) {
            return Err(Error::new(ErrorKind::Unavailable, "the storage does not answer"));
        }
        let done = work.await;
        let hook = self.after.lock().unwrap().remove(method);
        if let Some(hook) = hook {
            hook().await;
        }
        done
    }
}

/// Implements a part of the store: every method goes through [`Watched::pass`].
macro_rules! watch {
    ($($part:ident { $(fn $method:ident($($name:ident: $kind:ty),*) -> $out:ty;)* })*) => {$(
        #[async_trait]
        impl $part for Watched {
            $(async fn $method(&self, $($name: $kind),*) -> Result<$out> {
                self.pass(stringify!($method), self.inner.$method($($name),*)).await
            })*
        }
    )*};
}

watch! {
    OwnerStore {
        fn ensure_owner(owner: &Owner) -> Owner;
        fn owner(id: &OwnerId) -> Option<Owner>;
        fn set_plan(id: &OwnerId, plan: Option<&str>) -> bool;
        fn return_urls(id: &OwnerId) -> Vec<String>;
        fn allow_return(id: &OwnerId, url: &str, most: u32) -> bool;
        fn forbid_return(id: &OwnerId, url: &str) -> bool;
    }
    KeyStore {
        fn insert_key(key: &Key, most: Option<u32>) -> bool;
        fn key_by_hash(hash: &KeyHash) -> Option<Key>;
        fn keys(owner: &OwnerId) -> Vec<Key>;
        fn revoke_key(owner: &OwnerId, id: KeyId, at: Timestamp) -> bool;
        fn change_key(owner: &OwnerId, id: KeyId, to: &key::Change) -> Option<Key>;
        fn rotate_key(owner: &OwnerId, rotate: &Rotate) -> Rotation;
    }
    ConnectionStore {
        fn insert_connection(connection: &Connection, most: Option<u32>) -> bool;
        fn connection(owner: &OwnerId, id: ConnectionId) -> Option<Connection>;
        fn connections(owner: &OwnerId, integration: Option<&Slug>) -> Vec<Connection>;
        fn resting_connections(integration: &Slug, before: Timestamp, most: u32)
            -> Vec<Connection>;
        fn update_connection(connection: &Connection) -> bool;
        fn delete_connection(owner: &OwnerId, id: ConnectionId, at: Timestamp) -> bool;
    }
    GrantStore {
        fn grant(at: &ConnectionRef) -> Option<(Sealed, Revision)>;
        fn replace_grant(at: &ConnectionRef, new: &Sealed, seen: Option<Revision>)
            -> Option<Revision>;
        fn forget_grant(at: &ConnectionRef) -> ();
        fn lease_renewal(at: &ConnectionRef, token: &str, now: Timestamp, hold: Duration) -> bool;
        fn release_renewal(at: &ConnectionRef, token: &str) -> ();
        fn grants_after(after: Option<ConnectionId>, most: u32)
            -> Vec<(ConnectionRef, Sealed, Revision)>;
    }
    AppStore {
        fn put_app(app: &App) -> ();
        fn app(owner: &OwnerId, id: AppId) -> Option<App>;
        fn apps(holder: &Holder, integration: Option<&Slug>) -> Vec<App>;
        fn remove_app(holder: &Holder, id: AppId, spares: bool) -> Removal;
    }
    FlowStore {
        fn insert_flow(flow: &Flow, now: Timestamp) -> ();
        fn flow_by_link(link: &TokenHash, now: Timestamp) -> Option<Flow>;
        fn depart(link: &TokenHash, departure: Option<&Departure>, now: Timestamp) -> bool;
        fn arrive(state: &TokenHash, browser: &TokenHash, now: Timestamp)
            -> Option<(Flow, Departure)>;
    }
    LoginStore {
        fn insert_login(login: &Login, now: Timestamp, most: u32) -> bool;
        fn login_by_device(device: &TokenHash, now: Timestamp) -> Option<Login>;
        fn login_by_code(code: &TokenHash, now: Timestamp) -> Option<Login>;
        fn answer_login(code: &TokenHash, answer: &Answer, now: Timestamp) -> bool;
        fn end_login(device: &TokenHash, now: Timestamp) -> Option<Login>;
    }
    ExecutionStore {
        fn begin(run: &Execution, idempotency: Option<&Idempotency>, until: Timestamp) -> Begun;
        fn orphans(now: Timestamp, most: u32) -> Vec<Execution>;
        fn bodies(owner: &OwnerId, id: ExecutionId) -> (Option<Sealed>, Option<Sealed>);
        fn record(runs: &[Recorded]) -> ();
        fn execution(owner: &OwnerId, id: ExecutionId) -> Option<Execution>;
        fn executions(owner: &OwnerId, filter: &ExecutionFilter) -> (Vec<Execution>, u64);
        fn prune(before: Timestamp, now: Timestamp, most: u32) -> u64;
    }
    QueueStore {
        fn enqueue(runs: &[Enqueue]) -> Vec<Enqueued>;
        fn claim(want: &Claim) -> Vec<Claimed>;
        fn extend(leases: &[(Lease, u8)], until: Timestamp) -> Vec<bool>;
        fn note_sent(lease: &Lease) -> bool;
        fn record_step(lease: &Lease, step: &Step) -> bool;
        fn steps(owner: &OwnerId, id: ExecutionId) -> Vec<Step>;
        fn finish(done: &[Finished]) -> Vec<bool>;
        fn end(execution: &Execution, outcome: Option<&Sealed>) -> Option<Execution>;
        fn adopt(now: Timestamp) -> u64;
        fn next_due(now: Timestamp) -> Option<Timestamp>;
    }
    AgentStore {
        fn insert_agent(agent: &Agent, most: u32) -> Kept;
        fn agent(owner: &OwnerId, id: &AgentId) -> Option<Agent>;
        fn agents(owner: &OwnerId) -> Vec<Agent>;
        fn update_agent(agent: &Agent) -> bool;
        fn delete_agent(owner: &OwnerId, id: &AgentId) -> bool;
        fn insert_memory(memory: &Memory, most: u32) -> Kept;
        fn memory(owner: &OwnerId, agent: &AgentId, id: MemoryId) -> Option<Memory>;
        fn memories(owner: &OwnerId, filter: &MemoryFilter) -> (Vec<Memory>, u64);
        fn update_memory(memory: &Memory) -> bool;
        fn delete_memory(owner: &OwnerId, agent: &AgentId, id: MemoryId) -> bool;
    }
    ConversationStore {
        fn conversations(owner: &OwnerId, filter: &Filter) -> Vec<Conversation>;
        fn conversation(owner: &OwnerId, start: ExecutionId) -> Option<Conversation>;
        fn conversation_runs(owner: &OwnerId, start: ExecutionId, most: u32) -> Vec<Execution>;
        fn say(lease: &Lease, said: &Said) -> bool;
        fn said(owner: &OwnerId, run: ExecutionId) -> Vec<Said>;
    }
    ScheduleStore {
        fn insert_schedule(schedule: &Schedule, most: u32) -> bool;
        fn schedules(owner: &OwnerId) -> Vec<Schedule>;
        fn change_schedule(seen: &Schedule, to: &Schedule) -> bool;
        fn delete_schedule(owner: &OwnerId, id: ScheduleId) -> bool;
        fn due_schedules(now: Timestamp, after: Option<(Timestamp, ScheduleId)>, most: u32)
            -> Vec<Schedule>;
        fn next_schedule() -> Option<Timestamp>;
        fn fire(firing: &Firing) -> Fired;
    }
    TriggerStore {
        fn insert_trigger(trigger: &Trigger, most: u32) -> bool;
        fn triggers(owner: &OwnerId) -> Vec<Trigger>;
        fn trigger_by_token(token: &TokenHash) -> Option<Trigger>;
        fn delete_trigger(owner: &OwnerId, id: TriggerId) -> bool;
        fn source(owner: &OwnerId, run: ExecutionId) -> Option<Source>;
    }
    UsageStore {
        fn reserve(owner: &OwnerId, reserve: &Reserve) -> Share;
    }
    WebhookStore {
        fn insert_webhook(webhook: &Subscription, most: u32) -> bool;
        fn webhooks(owner: &OwnerId) -> Vec<Subscription>;
        fn change_webhook(owner: &OwnerId, id: WebhookId, to: &Change) -> bool;
        fn delete_webhook(owner: &OwnerId, id: WebhookId) -> bool;
    }
    OutboxStore {
        fn insert_delivery(delivery: &Delivery) -> ();
        fn claim_deliveries(want: &delivery::Claim) -> Vec<delivery::Claimed>;
        fn settle_deliveries(settled: &[Settled]) -> Vec<bool>;
        fn adopt_deliveries(now: Timestamp) -> u64;
        fn next_delivery(now: Timestamp) -> Option<Timestamp>;
        fn stirred() -> ();
        fn deliveries(owner: &OwnerId, webhook: WebhookId, filter: &DeliveryFilter)
            -> (Vec<Delivery>, u64);
        fn revive_delivery(owner: &OwnerId, which: (WebhookId, DeliveryId), now: Timestamp)
            -> Option<Delivery>;
        fn prune_deliveries(before: Timestamp, most: u32) -> u64;
    }
    AuditStore {
        fn append_audit(entry: &Entry) -> ();
        fn audit(owner: &OwnerId, most: u32) -> Vec<Entry>;
    }
    MetaStore {
        fn meta(name: &str) -> Option<Vec<u8>>;
        fn meta_or_insert(name: &str, value: &[u8]) -> Vec<u8>;
        fn ping() -> ();
    }
    UpkeepStore {
        fn owners(after: Option<&OwnerId>, most: u32) -> Vec<OwnerId>;
        fn facts(prefix: &str) -> Vec<(String, Vec<u8>)>;
        fn forget_fact(name: &str) -> ();
        fn begin_epoch(epoch: &str) -> Restored;
        fn is_restored(at: &ConnectionRef, revision: Revision) -> bool;
        fn release(owner: &OwnerId, id: ExecutionId, now: Timestamp) -> Option<Execution>;
        fn sealed_before(part: Part, version: u32, after: Option<Cursor>, most: u32) -> Vec<Aged>;
        fn reseal(part: Part, values: &[(Aged, Sealed)]) -> u64;
    }
}
