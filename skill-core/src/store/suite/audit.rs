//! Cases: the audit.

use std::sync::Arc;

use super::fixture::{acme, at, key, rival};
use crate::{
    record::audit::{Actor, Entry},
    store::Store,
};

pub(super) async fn entries_are_listed_the_newest_first(store: Arc<dyn Store>) {
    let actors = [Actor::Key(key(0).id), Actor::Operator, Actor::Browser, Actor::System];
    let entries: Vec<_> = (0..)
        .zip(actors)
        .map(|(n, actor)| {
            let entry = Entry::new(at(n), actor, acme()).event("key.created").target(n);
            entry.outcome("refused: é")
        })
        .collect();
    for entry in &entries {
        store.append_audit(entry).await.unwrap();
    }
    let newest: Vec<_> = entries.into_iter().rev().collect();
    assert_eq!(store.audit(&acme(), 9).await.unwrap(), newest);
    assert_eq!(store.audit(&acme(), 2).await.unwrap(), newest[..2]);
    assert_eq!(store.audit(&acme(), 0).await.unwrap(), []);
}

pub(super) async fn entries_of_another_owner_are_not_seen(store: Arc<dyn Store>) {
    let entry = Entry::new(at(0), Actor::Operator, acme()).event("key.created");
    store.append_audit(&entry).await.unwrap();
    assert_eq!(store.audit(&rival(), 9).await.unwrap(), []);
    assert_eq!(store.audit(&acme(), 9).await.unwrap(), [entry]);
}
