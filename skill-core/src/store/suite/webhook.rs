//! Cases: webhooks.

use std::sync::Arc;

use super::fixture::{acme, at, at_once, rival, run, sealed, user};
use crate::{
    ErrorKind,
    id::WebhookId,
    name::AgentId,
    record::{
        scope::Scopes,
        webhook::{Change, Disabled, Event, Subscription},
    },
    store::Store,
};

/// A subscription of acme made at `seconds`.
pub(super) fn webhook(seconds: i64) -> Subscription {
    Subscription {
        id: WebhookId::fresh(at(seconds)).unwrap(),
        owner: acme(),
        user: None,
        agent: None,
        url: "https://hooks.example.com/skill".into(),
        events: vec![Event::ExecutionFailed],
        tool_ids: Vec::new(),
        actions: Vec::new(),
        scopes: Scopes::all(),
        secret: sealed("secret"),
        previous: None,
        disabled: None,
        created_at: at(seconds),
    }
}

pub(super) async fn a_webhook_reads_back_as_it_was_kept(store: Arc<dyn Store>) {
    let full = Subscription {
        user: user("ann"),
        url: "https://hooks.example.com/é?a='b'\"".into(),
        agent: Some(AgentId::parse("month_end").unwrap()),
        events: Event::ALL.into_iter().chain(Event::OF_AGENTS).collect(),
        tool_ids: vec!["github-list-prs".into(), "weather".into()],
        actions: vec![run(0).action],
        scopes: Scopes::parse(["github", "keyed/get_item"]).unwrap(),
        previous: Some((sealed("before"), at(7))),
        disabled: Some(Disabled { at: at(5), reason: "it is gone".into() }),
        ..webhook(1)
    };
    for kept in [webhook(0), full] {
        assert!(store.insert_webhook(&kept, 9).await.unwrap());
        assert_eq!(store.webhooks(&acme()).await.unwrap()[0], kept);
    }
    let again = store.webhooks(&acme()).await.unwrap().remove(0);
    let error = store.insert_webhook(&again, 9).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);
}

pub(super) async fn webhooks_are_listed_the_newest_first(store: Arc<dyn Store>) {
    let webhooks: Vec<_> = (0..4).map(webhook).collect();
    for n in [2, 0, 3, 1] {
        assert!(store.insert_webhook(&webhooks[n], 9).await.unwrap());
    }
    let listed = store.webhooks(&acme()).await.unwrap();
    assert_eq!(listed, webhooks.into_iter().rev().collect::<Vec<_>>());
}

pub(super) async fn a_replaced_secret_stays_beside_the_new_one(store: Arc<dyn Store>) {
    let kept = webhook(0);
    assert!(store.insert_webhook(&kept, 9).await.unwrap());
    for (secret, before, until) in [("second", "secret", 10), ("third", "second", 20)] {
        let change = Change::Secret(sealed(secret), at(until));
        assert!(store.change_webhook(&acme(), kept.id, &change).await.unwrap());
        let changed = store.webhooks(&acme()).await.unwrap().remove(0);
        assert_eq!(changed.secret, sealed(secret));
        assert_eq!(changed.previous, Some((sealed(before), at(until))));
    }
}

pub(super) async fn a_disabled_webhook_keeps_its_first_reason(store: Arc<dyn Store>) {
    let kept = webhook(0);
    assert!(store.insert_webhook(&kept, 9).await.unwrap());
    let disabled = |seconds, reason: &str| Disabled { at: at(seconds), reason: reason.into() };
    for seconds in [3, 4] {
        let change = Change::Disable(disabled(seconds, &format!("reason {seconds}")));
        assert!(store.change_webhook(&acme(), kept.id, &change).await.unwrap());
        let stands = store.webhooks(&acme()).await.unwrap().remove(0).disabled;
        assert_eq!(stands, Some(disabled(3, "reason 3")));
    }
    let (actions, scopes) = (vec![run(0).action], Scopes::parse(["github"]).unwrap());
    let change = Change::Enable(actions.clone(), scopes.clone());
    assert!(store.change_webhook(&acme(), kept.id, &change).await.unwrap());
    let stands = store.webhooks(&acme()).await.unwrap().remove(0);
    assert_eq!(stands, Subscription { actions, scopes, ..kept });
}

pub(super) async fn an_edited_webhook_is_another_one_under_its_name(store: Arc<dyn Store>) {
    let kept = webhook(0);
    assert!(store.insert_webhook(&kept, 9).await.unwrap());
    let (url, events) = ("https://b.example.com/".to_owned(), Event::OF_AGENTS.to_vec());
    let change = Change::Edit(url.clone(), events.clone());
    assert!(!store.change_webhook(&rival(), kept.id, &change).await.unwrap());
    assert!(store.change_webhook(&acme(), kept.id, &change).await.unwrap());
    let stands = store.webhooks(&acme()).await.unwrap();
    assert_eq!(stands, [Subscription { url, events, ..kept }]);
}

pub(super) async fn a_deleted_webhook_is_gone(store: Arc<dyn Store>) {
    let (gone, left) = (webhook(0), webhook(1));
    for kept in [&gone, &left] {
        assert!(store.insert_webhook(kept, 9).await.unwrap());
    }
    assert!(store.delete_webhook(&acme(), gone.id).await.unwrap());
    assert!(!store.delete_webhook(&acme(), gone.id).await.unwrap());
    assert_eq!(store.webhooks(&acme()).await.unwrap(), [left]);
}

pub(super) async fn parallel_webhooks_stop_at_the_cap(store: Arc<dyn Store>) {
    let elsewhere = Subscription { owner: rival(), ..webhook(0) };
    assert!(store.insert_webhook(&elsewhere, 1).await.unwrap());
    let kept =
        at_once(&store, 50, async |store, n| store.insert_webhook(&webhook(n), 7).await.unwrap());
    assert_eq!(kept.await.into_iter().filter(|kept| *kept).count(), 7);
    let known = store.webhooks(&acme()).await.unwrap();
    assert_eq!(known.len(), 7);
    assert!(store.delete_webhook(&acme(), known[0].id).await.unwrap());
    assert!(store.insert_webhook(&webhook(99), 7).await.unwrap());
}

pub(super) async fn another_owners_webhook_acts_like_a_missing_one(store: Arc<dyn Store>) {
    let mine = webhook(0);
    assert!(store.insert_webhook(&mine, 9).await.unwrap());
    assert_eq!(store.webhooks(&rival()).await.unwrap(), []);
    assert!(!store.delete_webhook(&rival(), mine.id).await.unwrap());
    let change = Change::Secret(sealed("stolen"), at(9));
    assert!(!store.change_webhook(&rival(), mine.id, &change).await.unwrap());
    assert_eq!(store.webhooks(&acme()).await.unwrap(), [mine]);
}
