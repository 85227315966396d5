//! The case of stores that outlive their process.

use std::{sync::Arc, time::Duration};

use super::fixture::{
    acme, at, departure, ended, flow, kept_connection, key, replayable, run, sealed, slug, token,
};
use super::webhook::webhook;
use crate::{
    id::AppId,
    record::{
        app::{App, Holder},
        audit::{Actor, Entry},
        connection::ConnectionRef,
        execution::{Begun, Execution, Idempotency},
        flow::{Departure, Flow},
        key::Key,
        owner::Owner,
        usage::{Reserve, Share, Window},
        webhook::Subscription,
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
    runs: (Execution, Execution),
    entry: Entry,
    webhook: Subscription,
}

/// Checks that what a store kept is there when it is opened again.
///
/// # Panics
/// When something is missing or changed.
pub async fn survives_reopening(open: impl AsyncFn() -> Arc<dyn Store>) {
    let kept = fill(&*open().await).await;
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

async fn fill(store: &dyn Store) -> Kept {
    let owner = store.ensure_owner(&Owner::new(acme(), at(0))).await.unwrap();
    let connection = kept_connection(store, 0).await;
    let key = key(0);
    assert!(store.insert_key(&key, None).await.unwrap());
    let app = App {
        id: AppId::fresh(at(0)).unwrap(),
        holder: Holder::System,
        integration: slug("github"),
        client_id: "client".into(),
        client_secret: Some(sealed("secret")),
        created_at: at(0),
    };
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
    store.meta_or_insert("fact", b"kept").await.unwrap();
    Kept {
        epoch: store.meta("epoch").await.unwrap().unwrap(),
        owner,
        key,
        place: connection.at(),
        app,
        flows: (open, left, departure),
        runs: (done, begun_too),
        entry,
        webhook,
    }
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
    let (open, left, departure) = &kept.flows;
    assert_eq!(store.flow_by_link(&open.link, at(1)).await.unwrap().as_ref(), Some(open));
    assert_eq!(store.flow_by_link(&left.link, at(1)).await.unwrap(), None);
    assert_eq!(store.arrive(&departure.state, &token(), at(1)).await.unwrap(), None);
    for run in [&kept.runs.0, &kept.runs.1] {
        assert_eq!(store.execution(&acme(), run.id).await.unwrap().as_ref(), Some(run));
    }
    let found = store.begin(&run(9), Some(&once()), at(86_400)).await.unwrap();
    assert_eq!(found, Begun::Same(kept.runs.0.id, sealed("answer")));
    let share = store.reserve(&acme(), &reserve("two")).await.unwrap();
    assert_eq!(share, Share { granted: 0, others: vec![(105, 10)] });
    assert_eq!(store.audit(&acme(), 9).await.unwrap(), std::slice::from_ref(&kept.entry));
    assert_eq!(store.webhooks(&acme()).await.unwrap(), std::slice::from_ref(&kept.webhook));
}
