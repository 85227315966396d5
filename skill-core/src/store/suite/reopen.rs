//! The case of stores that outlive their process.

use std::{sync::Arc, time::Duration};

use super::fixture::{
    acme, at, cancelled, claim, departure, done, ended, enqueue, flow, given_back, kept_connection,
    key, queued, replayable, run, sealed, slug, token, want,
};
use super::login::login;
use super::schedule::schedule;
use super::trigger::trigger;
use super::webhook::webhook;
use crate::{
    id::AppId,
    record::{
        app::{App, Holder},
        audit::{Actor, Entry},
        connection::ConnectionRef,
        delivery::{self, Delivery, Rooms, Subject},
        execution::{Begun, Execution, Idempotency},
        flow::{Departure, Flow},
        key::Key,
        login::{Answer, Consent, Login},
        owner::Owner,
        run::{Claim, Claimed, Enqueue, Enqueued, Step, Worker},
        schedule::Schedule,
        trigger::Trigger,
        usage::{Reserve, Share, Window},
        webhook::{Event, Subscription},
    },
    store::Store,
};

/// Everything that was kept, to look for afterwards.
struct Kept {
    epoch: Vec<u8>,
    owner: Owner,
    key: Key,
    place: ConnectionRef,
    app: App,
    flows: (Flow, Flow, Departure),
    login: Login,
    runs: (Execution, Execution),
    entry: Entry,
    webhook: Subscription,
    schedule: Schedule,
    trigger: Trigger,
    /// What is on its way to it, one message held.
    deliveries: Vec<Delivery>,
    queue: Queue,
}

/// What stands in the queue.
struct Queue {
    waits: Execution,
    delayed: Execution,
    held: Claimed,
    over: Execution,
    cancelled: Execution,
    returned: Execution,
}

/// Checks that what a store kept is there when it is opened again.
///
/// # Panics
/// When something is missing or changed.
pub async fn survives_reopening(open: impl AsyncFn() -> Arc<dyn Store>) {
    let kept = Box::pin(fill(&*open().await)).await;
    for _ in 0..2 {
        look(&*open().await, &kept).await;
    }
    let store = open().await;
    let (_, left, departure) = &kept.flows;
    let arrived = store.arrive(&departure.state, &departure.browser, at(2)).await.unwrap();
    assert_eq!(arrived.unwrap().0, *left);
    store.forget_grant(&kept.place).await.unwrap();
    assert!(store.revoke_key(&acme(), kept.key.id, at(5)).await.unwrap());
    drop(store);
    let store = open().await;
    assert_eq!(store.arrive(&departure.state, &departure.browser, at(2)).await.unwrap(), None);
    assert_eq!(store.grant(&kept.place).await.unwrap(), None);
    let revoked = store.key_by_hash(&kept.key.hash).await.unwrap().unwrap();
    assert_eq!(revoked.revoked_at, Some(at(5)));
    take_over(&*store, &kept.queue).await;
    drop(store);
    assert_eq!(claim(&*open().await, 900, 9).await, []);
}

fn once() -> Idempotency {
    Idempotency { key: "once".into(), inputs: [7; 32], expires_at: at(600) }
}

fn reserve(node: &str) -> Reserve {
    Reserve {
        subject: "key".into(),
        window: Window::Minute,
        node: node.into(),
        spent: Vec::new(),
        now: 100,
        until: 105,
        want: 10,
        limit: 10,
    }
}

async fn answered(store: &dyn Store) -> Login {
    let login = login();
    assert!(store.insert_login(&login, at(0), 9).await.unwrap());
    let answer = Answer::Yes(Consent { owner: acme(), ..Consent::default() });
    assert!(store.answer_login(&login.code, &answer, at(1)).await.unwrap());
    Login { answer: Some(answer), ..login }
}

async fn fill(store: &dyn Store) -> Kept {
    let owner = store.ensure_owner(&Owner::new(acme(), at(0))).await.unwrap();
    let connection = kept_connection(store, 0).await;
    let key = key(0);
    assert!(store.insert_key(&key, None).await.unwrap());
    let app = app();
    store.put_app(&app).await.unwrap();
    store.replace_grant(&connection.at(), &sealed("grant"), None).await.unwrap().unwrap();
    let hold = Duration::from_secs(60);
    assert!(store.lease_renewal(&connection.at(), "one", at(0), hold).await.unwrap());
    let (open, left, departure) = (flow(&connection, 0), flow(&connection, 1), departure(900));
    store.insert_flow(&open, at(0)).await.unwrap();
    store.insert_flow(&left, at(0)).await.unwrap();
    assert!(store.depart(&left.link, Some(&departure), at(1)).await.unwrap());
    let (begun, begun_too) = (run(0), run(1));
    assert_eq!(store.begin(&begun, Some(&once()), at(86_400)).await.unwrap(), Begun::New);
    assert_eq!(store.begin(&begun_too, None, at(86_400)).await.unwrap(), Begun::New);
    let done = ended(&begun);
    store.record(&[replayable(done.clone(), sealed("answer"))]).await.unwrap();
    assert_eq!(store.reserve(&acme(), &reserve("one")).await.unwrap().granted, 10);
    let entry = Entry::new(at(0), Actor::Operator, acme()).event("key.created").target(key.id);
    store.append_audit(&entry).await.unwrap();
    let webhook = webhook(0);
    assert!(store.insert_webhook(&webhook, 9).await.unwrap());
    let (schedule, trigger) = (schedule(0), trigger(0));
    assert!(store.insert_schedule(&schedule, 9).await.unwrap());
    assert!(store.insert_trigger(&trigger, 9).await.unwrap());
    store.meta_or_insert("fact", b"kept").await.unwrap();
    let queue = fill_queue(store).await;
    Kept {
        epoch: store.meta("epoch").await.unwrap().unwrap(),
        owner,
        key,
        place: connection.at(),
        app,
        flows: (open, left, departure),
        login: answered(store).await,
        runs: (done, begun_too),
        entry,
        deliveries: fill_outbox(store, &webhook).await,
        webhook,
        schedule,
        trigger,
        queue,
    }
}

fn app() -> App {
    App {
        id: AppId::fresh(at(0)).unwrap(),
        holder: Holder::System,
        integration: slug("github"),
        client_id: "client".into(),
        client_secret: Some(sealed("secret")),
        created_at: at(0),
    }
}

/// The run that was cancelled is announced; a test is held.
async fn fill_outbox(store: &dyn Store, webhook: &Subscription) -> Vec<Delivery> {
    let subject = Subject::Webhook(webhook.id);
    let test = Delivery::new(webhook, Event::Test, subject, at(1)).unwrap();
    store.insert_delivery(&test).await.unwrap();
    let (worker, rooms) = (Worker("one".into()), Rooms::new(1, 1, 1));
    let want = delivery::Claim { worker, now: at(9), until: at(99), rooms, after: None };
    let held = store.claim_deliveries(&want).await.unwrap().remove(0).delivery;
    assert_eq!((held.id, held.attempts), (test.id, 1));
    let (all, total) = store.deliveries(&acme(), webhook.id, &Default::default()).await.unwrap();
    assert_eq!(total, 2);
    all
}

async fn fill_queue(store: &dyn Store) -> Queue {
    let mut delayed = queued(4);
    delayed.work.run_at = at(500);
    let twice = Idempotency { key: "twice".into(), ..once() };
    let first = Enqueue { idempotency: Some(twice), ..queued(0) };
    let runs = [first, queued(1), queued(2), queued(3), delayed, queued(5)];
    let runs = enqueue(store, &runs).await;
    let claimed = claim(store, 6, 3).await;
    assert!(store.note_sent(&claimed[1].lease).await.unwrap());
    let step = Step { position: 0, name: "first".into(), value: Some(sealed("value")) };
    assert!(store.record_step(&claimed[1].lease, &step).await.unwrap());
    assert!(store.extend(&[(claimed[1].lease.clone(), 40)], at(80)).await.unwrap()[0]);
    let done = done(&claimed[0], 7);
    let both = [done.clone(), given_back(&claimed[2], 400)];
    assert_eq!(store.finish(&both).await.unwrap(), [true, true]);
    let cancelled = cancelled(&runs[3], 7);
    store.end(&cancelled, Some(&sealed("cancelled"))).await.unwrap();
    Queue {
        waits: runs[5].clone(),
        delayed: runs[4].clone(),
        held: claimed[1].clone(),
        over: done.execution,
        cancelled,
        returned: store.execution(&acme(), runs[2].id).await.unwrap().unwrap(),
    }
}

async fn look_at_queue(store: &dyn Store, queue: &Queue) {
    let held = Execution { progress: 40, ..queue.held.execution.clone() };
    let all = [&queue.waits, &queue.delayed, &held, &queue.over, &queue.cancelled, &queue.returned];
    for run in all {
        assert_eq!(store.execution(&acme(), run.id).await.unwrap().as_ref(), Some(run));
        let (input, outcome) = store.bodies(&acme(), run.id).await.unwrap();
        assert_eq!((input, outcome.is_some()), (Some(sealed("input")), run.state.is_final()));
    }
    assert_eq!(store.next_due(at(10)).await.unwrap(), Some(at(80)));
    assert_eq!(store.next_due(at(80)).await.unwrap(), Some(at(400)));
    let twice = Idempotency { key: "twice".into(), ..once() };
    let again = Enqueue { idempotency: Some(twice), ..queued(9) };
    assert_eq!(store.enqueue(&[again]).await.unwrap(), [Enqueued::Same(queue.over.id)]);
    // Three runs wait: none more may.
    let full = Enqueue { most_queued: 3, ..queued(9) };
    assert_eq!(store.enqueue(&[full]).await.unwrap(), [Enqueued::Full]);
}

/// Another process takes over what the first one left.
async fn take_over(store: &dyn Store, queue: &Queue) {
    assert_eq!(store.orphans(at(10), 9).await.unwrap(), []);
    assert_eq!(store.adopt(at(10)).await.unwrap(), 1);
    assert_eq!(store.orphans(at(10), 9).await.unwrap().len(), 1);
    let claimed =
        store.claim(&Claim { worker: Worker("two".into()), ..want(10, 9) }).await.unwrap();
    assert_eq!(claimed.len(), 2);
    let held = &claimed[0];
    assert_eq!(held.execution.id, queue.held.execution.id);
    assert_eq!((held.lease.fencing, held.crashes, held.may_have_happened), (2, 1, true));
    assert_eq!(store.steps(&acme(), held.lease.id).await.unwrap().len(), 1);
    assert_eq!(claimed[1].execution.id, queue.waits.id);
    assert_eq!(store.finish(&[done(&queue.held, 11)]).await.unwrap(), [false]);
    let rest = store.claim(&want(60, 9)).await.unwrap();
    assert_eq!(rest, []);
    let done: Vec<_> = claimed.iter().map(|claimed| done(claimed, 12)).collect();
    assert_eq!(store.finish(&done).await.unwrap(), [true, true]);
    let rest = claim(store, 600, 9).await;
    let ids: Vec<_> = rest.iter().map(|claimed| claimed.execution.id).collect();
    assert_eq!(ids, [queue.returned.id, queue.delayed.id]);
    let done: Vec<_> = rest.iter().map(|claimed| super::fixture::done(claimed, 601)).collect();
    assert_eq!(store.finish(&done).await.unwrap(), [true, true]);
}

async fn look(store: &dyn Store, kept: &Kept) {
    assert_eq!(store.meta("epoch").await.unwrap().as_ref(), Some(&kept.epoch));
    assert_eq!(store.meta("fact").await.unwrap().unwrap(), b"kept");
    assert_eq!(store.owner(&acme()).await.unwrap().as_ref(), Some(&kept.owner));
    assert_eq!(store.key_by_hash(&kept.key.hash).await.unwrap().as_ref(), Some(&kept.key));
    let connection = store.connection(&acme(), kept.place.id).await.unwrap().unwrap();
    assert_eq!(connection.at(), kept.place);
    assert_eq!(store.app(&acme(), kept.app.id).await.unwrap().as_ref(), Some(&kept.app));
    assert_eq!(store.grant(&kept.place).await.unwrap().unwrap().0, sealed("grant"));
    let hold = Duration::from_secs(60);
    assert!(!store.lease_renewal(&kept.place, "two", at(59), hold).await.unwrap());
    let login = store.login_by_device(&kept.login.device, at(2)).await.unwrap();
    assert_eq!(login.as_ref(), Some(&kept.login));
    let (open, left, departure) = &kept.flows;
    assert_eq!(store.flow_by_link(&open.link, at(1)).await.unwrap().as_ref(), Some(open));
    assert_eq!(store.flow_by_link(&left.link, at(1)).await.unwrap(), None);
    assert_eq!(store.arrive(&departure.state, &token(), at(1)).await.unwrap(), None);
    for run in [&kept.runs.0, &kept.runs.1] {
        assert_eq!(store.execution(&acme(), run.id).await.unwrap().as_ref(), Some(run));
    }
    look_at_queue(store, &kept.queue).await;
    let found = store.begin(&run(9), Some(&once()), at(86_400)).await.unwrap();
    assert_eq!(found, Begun::Same(kept.runs.0.id, sealed("answer")));
    let share = store.reserve(&acme(), &reserve("two")).await.unwrap();
    assert_eq!(share, Share { granted: 0, others: vec![(105, 10)] });
    assert_eq!(store.audit(&acme(), 9).await.unwrap(), std::slice::from_ref(&kept.entry));
    assert_eq!(store.webhooks(&acme()).await.unwrap(), std::slice::from_ref(&kept.webhook));
    assert_eq!(store.schedules(&acme()).await.unwrap(), std::slice::from_ref(&kept.schedule));
    assert_eq!(store.triggers(&acme()).await.unwrap(), std::slice::from_ref(&kept.trigger));
    let all = store.deliveries(&acme(), kept.webhook.id, &Default::default()).await.unwrap();
    assert_eq!(all.0, kept.deliveries);
    assert_eq!(store.next_delivery(at(9)).await.unwrap(), Some(at(9)), "one waits for nobody");
}
