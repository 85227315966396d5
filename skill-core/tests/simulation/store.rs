//! The store as a process sees it: it takes time, fails before or after it has done its work, and
//! is the last thing a process that dies may have reached.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;
use skill_core::{
    Error, ErrorKind, Result,
    clock::Clock,
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
        QueueStore, Restored, ScheduleStore, TriggerStore, UpkeepStore, UsageStore, WebhookStore,
    },
};

use super::{
    node::Node,
    world::{Lie, World},
};

/// One process' way to the store that all share.
pub(crate) struct Flaky {
    pub(crate) node: Arc<Node>,
    pub(crate) inner: Arc<MemoryStore>,
    pub(crate) world: Arc<World>,
}

impl fmt::Debug for Flaky {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Flaky")
    }
}

/// What happens to one operation.
struct Fate {
    before: Duration,
    after: Duration,
    fails_before: bool,
    fails_after: bool,
}

impl Flaky {
    /// Both times as they stand: leases count from when they were asked for.
    fn moment(&self) -> (Timestamp, Duration) {
        (self.node.now(), self.node.steady())
    }

    fn tells(&self, lie: Lie) -> bool {
        self.world.plan.lie == Some(lie)
    }

    fn fate(&self) -> Fate {
        let faults = self.world.faults();
        let dice = &self.world.dice;
        let slow = |dice: &super::dice::Dice| match dice.below(1000) {
            n if n < faults.slow_store => dice.delay(3000),
            n if n < 500 => Duration::ZERO,
            _ => dice.delay(4),
        };
        Fate {
            before: slow(dice),
            after: slow(dice),
            fails_before: dice.in_thousand(faults.store_before),
            fails_after: dice.in_thousand(faults.store_after),
        }
    }

    async fn pass<T>(
        &self,
        method: &'static str,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let fate = self.fate();
        self.node.pass().await;
        if !fate.before.is_zero() {
            tokio::time::sleep(fate.before).await;
            self.node.pass().await;
        }
        if fate.fails_before {
            self.world.note(&self.node, method, "refused");
            return Err(gone());
        }
        let done = work.await;
        let end = match &done {
            Ok(_) if fate.fails_after => "done, and said to have failed",
            Ok(_) => "done",
            Err(_) => "failed",
        };
        self.world.note(&self.node, method, end);
        if !fate.after.is_zero() {
            tokio::time::sleep(fate.after).await;
        }
        self.node.pass().await;
        if fate.fails_after { Err(gone()) } else { done }
    }
}

fn gone() -> Error {
    Error::new(ErrorKind::Unavailable, "the storage does not answer")
}

/// Implements a part of the store: every method goes through [`Flaky::pass`].
macro_rules! flaky {
    ($($part:ident { $(fn $method:ident($($name:ident: $kind:ty),*) -> $out:ty;)* })*) => {$(
        #[async_trait]
        impl $part for Flaky {
            $(async fn $method(&self, $($name: $kind),*) -> Result<$out> {
                self.pass(stringify!($method), self.inner.$method($($name),*)).await
            })*
        }
    )*};
}

flaky! {
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
        fn resting_connections(integration: &Slug, before: Timestamp, most: u32) -> Vec<Connection>;
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
}

#[async_trait]
impl ExecutionStore for Flaky {
    async fn begin(
        &self,
        run: &Execution,
        idempotency: Option<&Idempotency>,
        until: Timestamp,
    ) -> Result<Begun> {
        self.pass("begin", self.inner.begin(run, idempotency, until)).await
    }

    async fn orphans(&self, now: Timestamp, most: u32) -> Result<Vec<Execution>> {
        self.pass("orphans", self.inner.orphans(now, most)).await
    }

    async fn record(&self, runs: &[Recorded]) -> Result<()> {
        self.pass("record", async {
            self.inner.record(runs).await?;
            for run in runs {
                self.world.watch().recorded(&run.execution);
            }
            Ok(())
        })
        .await
    }

    async fn execution(&self, owner: &OwnerId, id: ExecutionId) -> Result<Option<Execution>> {
        self.pass("execution", self.inner.execution(owner, id)).await
    }

    async fn bodies(
        &self,
        owner: &OwnerId,
        id: ExecutionId,
    ) -> Result<(Option<Sealed>, Option<Sealed>)> {
        self.pass("bodies", self.inner.bodies(owner, id)).await
    }

    async fn executions(
        &self,
        owner: &OwnerId,
        filter: &ExecutionFilter,
    ) -> Result<(Vec<Execution>, u64)> {
        self.pass("executions", self.inner.executions(owner, filter)).await
    }

    async fn prune(&self, before: Timestamp, now: Timestamp, most: u32) -> Result<u64> {
        self.pass("prune", self.inner.prune(before, now, most)).await
    }
}

#[async_trait]
impl QueueStore for Flaky {
    async fn enqueue(&self, runs: &[Enqueue]) -> Result<Vec<Enqueued>> {
        let asked = self.moment();
        self.pass("enqueue", async {
            if self.tells(Lie::AcknowledgesFirst) && self.world.dice.in_thousand(100) {
                return Ok(runs.iter().map(|_| Enqueued::New(None)).collect());
            }
            let mut runs = runs.to_vec();
            if self.tells(Lie::ForgetsKeys) {
                runs.iter_mut().for_each(|run| run.idempotency = None);
            }
            let done = self.inner.enqueue(&runs).await?;
            for (run, end) in runs.iter().zip(&done) {
                if let Enqueued::New(lease) = end {
                    self.world.watch().enqueued(run);
                    if let Some(lease) = lease {
                        self.world.watch().claimed(&self.node, lease, asked);
                    }
                }
            }
            Ok(done)
        })
        .await
    }

    async fn claim(&self, want: &Claim) -> Result<Vec<Claimed>> {
        let asked = self.moment();
        self.pass("claim", async {
            let early = want.now + Duration::from_secs(60);
            let early = Claim { now: early, until: early, ..want.clone() };
            let want = if self.tells(Lie::TakesOverEarly) { &early } else { want };
            let done = self.inner.claim(want).await?;
            for claimed in &done {
                self.world.watch().claimed(&self.node, &claimed.lease, asked);
            }
            Ok(done)
        })
        .await
    }

    async fn extend(&self, leases: &[(Lease, u8)], until: Timestamp) -> Result<Vec<bool>> {
        let asked = self.moment();
        self.pass("extend", async {
            let done = self.inner.extend(leases, until).await?;
            for ((lease, _), held) in leases.iter().zip(&done) {
                if *held {
                    self.world.watch().extended(lease, (until, asked));
                }
            }
            Ok(done)
        })
        .await
    }

    async fn note_sent(&self, lease: &Lease) -> Result<bool> {
        if self.tells(Lie::ForgetsSending) {
            return self.pass("note_sent", async { Ok(true) }).await;
        }
        self.pass("note_sent", self.inner.note_sent(lease)).await
    }

    async fn record_step(&self, lease: &Lease, step: &Step) -> Result<bool> {
        if self.tells(Lie::ForgetsSteps) {
            return self.pass("record_step", async { Ok(true) }).await;
        }
        self.pass("record_step", self.inner.record_step(lease, step)).await
    }

    async fn steps(&self, owner: &OwnerId, id: ExecutionId) -> Result<Vec<Step>> {
        self.pass("steps", self.inner.steps(owner, id)).await
    }

    async fn finish(&self, done: &[Finished]) -> Result<Vec<bool>> {
        self.pass("finish", async {
            let held = self.inner.finish(done).await?;
            for (finished, held) in done.iter().zip(&held) {
                if *held {
                    self.world.watch().finished(&finished.lease, &finished.execution);
                }
            }
            Ok(held)
        })
        .await
    }

    async fn end(
        &self,
        execution: &Execution,
        outcome: Option<&Sealed>,
    ) -> Result<Option<Execution>> {
        if self.tells(Lie::CancelsNothing) {
            return self.pass("end", async { Ok(Some(execution.clone())) }).await;
        }
        self.pass("end", async {
            let ended = self.inner.end(execution, outcome).await?;
            if let Some(ended) = &ended {
                self.world.watch().recorded(ended);
            }
            Ok(ended)
        })
        .await
    }

    async fn adopt(&self, now: Timestamp) -> Result<u64> {
        // Only a store that one process has to itself may do this.
        if self.world.plan.nodes > 1 {
            return self.pass("adopt", async { Ok(0) }).await;
        }
        self.pass("adopt", async {
            let gone = self.inner.adopt(now).await?;
            self.world.watch().adopted();
            Ok(gone)
        })
        .await
    }

    async fn next_due(&self, now: Timestamp) -> Result<Option<Timestamp>> {
        self.pass("next_due", self.inner.next_due(now)).await
    }
}

#[async_trait]
impl UpkeepStore for Flaky {
    async fn owners(&self, after: Option<&OwnerId>, most: u32) -> Result<Vec<OwnerId>> {
        self.inner.owners(after, most).await
    }

    async fn facts(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>> {
        self.inner.facts(prefix).await
    }

    async fn forget_fact(&self, name: &str) -> Result<()> {
        self.inner.forget_fact(name).await
    }

    async fn begin_epoch(&self, epoch: &str) -> Result<Restored> {
        self.inner.begin_epoch(epoch).await
    }

    async fn is_restored(&self, at: &ConnectionRef, revision: Revision) -> Result<bool> {
        self.pass("is_restored", self.inner.is_restored(at, revision)).await
    }

    async fn release(
        &self,
        owner: &OwnerId,
        id: ExecutionId,
        now: Timestamp,
    ) -> Result<Option<Execution>> {
        self.inner.release(owner, id, now).await
    }

    async fn sealed_before(
        &self,
        part: Part,
        version: u32,
        after: Option<Cursor>,
        most: u32,
    ) -> Result<Vec<Aged>> {
        self.inner.sealed_before(part, version, after, most).await
    }

    async fn reseal(&self, part: Part, values: &[(Aged, Sealed)]) -> Result<u64> {
        self.inner.reseal(part, values).await
    }
}
