//! Cases: facts about the store.

use std::sync::Arc;

use super::fixture::at_once;
use crate::store::Store;

pub(super) async fn a_fresh_store_has_an_epoch(store: Arc<dyn Store>) {
    let epoch = store.meta("epoch").await.unwrap().unwrap();
    assert_eq!(epoch.len(), 32);
    assert!(epoch.iter().all(u8::is_ascii_hexdigit));
    assert_eq!(store.meta_or_insert("epoch", b"another").await.unwrap(), epoch);
}

pub(super) async fn a_fact_is_kept_once(store: Arc<dyn Store>) {
    assert_eq!(store.meta("fact").await.unwrap(), None);
    assert_eq!(store.meta_or_insert("fact", b"one\0").await.unwrap(), b"one\0");
    assert_eq!(store.meta_or_insert("fact", b"two").await.unwrap(), b"one\0");
    assert_eq!(store.meta("fact").await.unwrap().unwrap(), b"one\0");
}

pub(super) async fn parallel_claims_agree_on_one_fact(store: Arc<dyn Store>) {
    let stands = at_once(&store, 50, async |store, n| {
        store.meta_or_insert("fact", &n.to_be_bytes()).await.unwrap()
    });
    let stands = stands.await;
    assert!(stands.windows(2).all(|pair| pair[0] == pair[1]));
}

pub(super) async fn a_working_store_answers(store: Arc<dyn Store>) {
    store.ping().await.unwrap();
}
