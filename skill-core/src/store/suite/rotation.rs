//! Cases: keys that are replaced.

use std::sync::Arc;

use super::fixture::{acme, at, at_once, key, rival};
use crate::{
    ErrorKind, Result,
    id::KeyId,
    record::key::{Key, Rotate, Rotation},
    store::Store,
};

async fn kept(store: &dyn Store, key: Key) -> Key {
    assert!(store.insert_key(&key, None).await.unwrap());
    key
}

/// Replaces a key of acme: the old one ends at `end`.
async fn rotate(
    store: &dyn Store,
    old: KeyId,
    successor: &Key,
    (end, most): (i64, Option<u32>),
) -> Result<Rotation> {
    let rotate = Rotate { old, successor: successor.clone(), end: at(end), most };
    store.rotate_key(&acme(), &rotate).await
}

async fn now(store: &dyn Store, key: &Key) -> Key {
    store.key_by_hash(&key.hash).await.unwrap().unwrap()
}

pub(super) async fn a_replaced_key_goes_on_until_its_end(store: Arc<dyn Store>) {
    let (old, new) = (kept(&*store, key(0)).await, key(10));
    let done = rotate(&*store, old.id, &new, (70, None)).await.unwrap();
    assert_eq!(done, Rotation::Done);
    assert_eq!(now(&*store, &new).await, new);
    assert_eq!(now(&*store, &old).await, Key { expires_at: Some(at(70)), ..old });
}

pub(super) async fn a_replaced_key_ends_no_later_than_it_would(store: Arc<dyn Store>) {
    let old = kept(&*store, Key { expires_at: Some(at(60)), ..key(0) }).await;
    rotate(&*store, old.id, &key(10), (70, None)).await.unwrap();
    assert_eq!(now(&*store, &old).await, old);
    rotate(&*store, old.id, &key(11), (20, None)).await.unwrap();
    assert_eq!(now(&*store, &old).await.expires_at, Some(at(20)));
}

pub(super) async fn a_key_that_is_replaced_at_once_is_revoked(store: Arc<dyn Store>) {
    for end in [10, 3] {
        let (old, new) = (kept(&*store, key(0)).await, key(10));
        let done = rotate(&*store, old.id, &new, (end, Some(1))).await.unwrap();
        assert_eq!(done, Rotation::Done);
        assert_eq!(now(&*store, &old).await, Key { revoked_at: Some(at(10)), ..old });
        assert!(store.revoke_key(&acme(), new.id, at(10)).await.unwrap());
    }
}

pub(super) async fn a_key_that_ended_is_not_replaced(store: Arc<dyn Store>) {
    let revoked = kept(&*store, Key { revoked_at: Some(at(1)), ..key(0) }).await;
    let expired = kept(&*store, Key { expires_at: Some(at(10)), ..key(0) }).await;
    let foreign = kept(&*store, Key { owner: rival(), ..key(0) }).await;
    for old in [revoked, expired, foreign, key(5)] {
        let new = key(10);
        for (end, most) in [(70, None), (10, None), (70, Some(0))] {
            let done = rotate(&*store, old.id, &new, (end, most)).await.unwrap();
            assert_eq!(done, Rotation::Ended);
        }
        assert_eq!(store.key_by_hash(&new.hash).await.unwrap(), None);
        let found = store.key_by_hash(&old.hash).await.unwrap();
        assert!(found.is_none_or(|found| found == old));
    }
}

pub(super) async fn a_replaced_key_does_not_count_against_its_successor(store: Arc<dyn Store>) {
    let (old, new) = (kept(&*store, key(0)).await, key(10));
    let done = rotate(&*store, old.id, &new, (70, Some(1))).await.unwrap();
    assert_eq!(done, Rotation::Done);
    let third = key(20);
    for id in [old.id, new.id] {
        let done = rotate(&*store, id, &third, (70, Some(1))).await.unwrap();
        assert_eq!(done, Rotation::Full);
        assert_eq!(store.key_by_hash(&third.hash).await.unwrap(), None);
    }
    assert_eq!(now(&*store, &new).await, new);
    let later = Key { created_at: at(70), ..key(70) };
    let done = rotate(&*store, new.id, &later, (80, Some(1))).await.unwrap();
    assert_eq!(done, Rotation::Done);
}

pub(super) async fn a_rotation_that_fails_changes_nothing(store: Arc<dyn Store>) {
    let (old, other) = (kept(&*store, key(0)).await, kept(&*store, key(1)).await);
    let taken = Key { hash: other.hash, ..key(10) };
    for end in [10, 70] {
        let failed = rotate(&*store, old.id, &taken, (end, None)).await;
        assert_eq!(failed.unwrap_err().kind(), ErrorKind::Internal);
        assert_eq!(now(&*store, &old).await, old);
    }
}

pub(super) async fn parallel_rotations_at_once_let_one_win(store: Arc<dyn Store>) {
    let old = kept(&*store, key(0)).await;
    let id = old.id;
    let done = at_once(&store, 20, move |store, n| async move {
        rotate(&*store, id, &key(10 + n), (10, None)).await.unwrap()
    });
    let done = done.await.into_iter().filter(|done| *done == Rotation::Done);
    assert_eq!(done.count(), 1);
    assert_eq!(store.keys(&acme()).await.unwrap().len(), 2);
}
