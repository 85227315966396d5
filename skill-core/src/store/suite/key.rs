//! Cases: keys.

use std::sync::Arc;

use super::fixture::{acme, at, at_once, key, rival, user};
use crate::{
    ErrorKind,
    record::{
        key::{Change, Key, KeyHash, Kind},
        scope::Scopes,
    },
    store::Store,
};

pub(super) async fn a_key_reads_back_as_it_was_kept(store: Arc<dyn Store>) {
    let full = Key {
        user: user("ann"),
        name: "é \u{1f511} ' \"".into(),
        kind: Kind::Temporary,
        scopes: Scopes::parse(["github", "gmail/send_mail"]).unwrap(),
        tier: Some("pro".into()),
        expires_at: Some(at(86_400)),
        revoked_at: Some(at(3)),
        last_used_at: Some(at(2)),
        ..key(1)
    };
    for kept in [key(0), full] {
        assert!(store.insert_key(&kept, None).await.unwrap());
        assert_eq!(store.key_by_hash(&kept.hash).await.unwrap().unwrap(), kept);
        assert_eq!(store.keys(&acme()).await.unwrap()[0], kept);
    }
    assert_eq!(store.key_by_hash(&KeyHash([0; 32])).await.unwrap(), None);
}

pub(super) async fn keys_are_listed_the_newest_first(store: Arc<dyn Store>) {
    let keys: Vec<_> = (0..5).map(key).collect();
    for n in [3, 0, 4, 1, 2] {
        assert!(store.insert_key(&keys[n], None).await.unwrap());
    }
    assert!(store.revoke_key(&acme(), keys[2].id, at(9)).await.unwrap());
    let listed: Vec<_> = store.keys(&acme()).await.unwrap().into_iter().map(|k| k.id).collect();
    assert_eq!(listed, keys.iter().rev().map(|k| k.id).collect::<Vec<_>>());
}

pub(super) async fn a_revoked_key_keeps_its_time(store: Arc<dyn Store>) {
    let key = key(0);
    assert!(!store.revoke_key(&acme(), key.id, at(1)).await.unwrap());
    assert!(store.insert_key(&key, None).await.unwrap());
    assert!(store.revoke_key(&acme(), key.id, at(2)).await.unwrap());
    assert!(store.revoke_key(&acme(), key.id, at(3)).await.unwrap());
    let found = store.key_by_hash(&key.hash).await.unwrap().unwrap();
    assert_eq!(found.revoked_at, Some(at(2)));
}

pub(super) async fn the_cap_counts_live_keys(store: Arc<dyn Store>) {
    let revoked = Key { revoked_at: Some(at(1)), ..key(0) };
    let expired = Key { expires_at: Some(at(9)), ..key(0) };
    let elsewhere = Key { owner: rival(), ..key(0) };
    for other in [&revoked, &expired, &elsewhere] {
        assert!(store.insert_key(other, None).await.unwrap());
    }
    let refused = key(9);
    assert!(!store.insert_key(&refused, Some(0)).await.unwrap());
    assert_eq!(store.key_by_hash(&refused.hash).await.unwrap(), None);
    assert!(store.insert_key(&key(9), Some(1)).await.unwrap());
    assert!(!store.insert_key(&key(9), Some(1)).await.unwrap());
}

pub(super) async fn parallel_keys_stop_at_the_cap(store: Arc<dyn Store>) {
    let kept =
        at_once(&store, 100, async |store, n| store.insert_key(&key(n), Some(7)).await.unwrap());
    assert_eq!(kept.await.into_iter().filter(|kept| *kept).count(), 7);
    assert_eq!(store.keys(&acme()).await.unwrap().len(), 7);
}

pub(super) async fn another_owners_key_acts_like_a_missing_one(store: Arc<dyn Store>) {
    let key = key(0);
    assert!(store.insert_key(&key, None).await.unwrap());
    assert_eq!(store.keys(&rival()).await.unwrap(), []);
    assert!(!store.revoke_key(&rival(), key.id, at(1)).await.unwrap());
    assert_eq!(store.key_by_hash(&key.hash).await.unwrap(), Some(key));
}

pub(super) async fn a_taken_identity_is_refused(store: Arc<dyn Store>) {
    let first = key(0);
    assert!(store.insert_key(&first, None).await.unwrap());
    let same_id = Key { id: first.id, ..key(1) };
    let same_hash = Key { hash: first.hash, ..key(1) };
    for taken in [same_id, same_hash] {
        let error = store.insert_key(&taken, None).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Internal);
    }
    assert_eq!(store.keys(&acme()).await.unwrap(), [first]);
}

pub(super) async fn a_change_of_a_key_leaves_the_rest(store: Arc<dyn Store>) {
    let kept = Key { tier: Some("pro".into()), expires_at: Some(at(90)), ..key(0) };
    store.insert_key(&kept, None).await.unwrap();
    let change = |to: Change| {
        let (store, id) = (store.clone(), kept.id);
        async move { store.change_key(&acme(), id, &to).await.unwrap() }
    };
    assert_eq!(change(Change::default()).await.as_ref(), Some(&kept));
    let scopes = Scopes::parse(["github"]).unwrap();
    let (name, tier) = (Some("new".to_owned()), Some("5/min".to_owned()));
    let to = Change { name, tier, scopes: Some(scopes.clone()), expires_at: Some(None) };
    let changed = Key {
        name: "new".into(),
        tier: Some("5/min".into()),
        scopes,
        expires_at: None,
        ..kept.clone()
    };
    assert_eq!(change(to.clone()).await.as_ref(), Some(&changed));
    assert_eq!(store.key_by_hash(&kept.hash).await.unwrap(), Some(changed));
    let end = Change { expires_at: Some(Some(at(5))), ..Change::default() };
    assert_eq!(change(end).await.and_then(|key| key.expires_at), Some(at(5)));
    assert_eq!(store.change_key(&rival(), kept.id, &to).await.unwrap(), None);
}
