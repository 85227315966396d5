//! Cases: leases for renewing a grant.

use std::{sync::Arc, time::Duration};

use super::fixture::{at, at_once, connection, kept_connection, rival, user};
use crate::{record::connection::ConnectionRef, store::Store};

const HOLD: Duration = Duration::from_secs(30);

pub(super) async fn a_lease_lapses(store: Arc<dyn Store>) {
    let place = kept_connection(&*store, 0).await.at();
    assert!(store.lease_renewal(&place, "one", at(0), HOLD).await.unwrap());
    assert!(!store.lease_renewal(&place, "two", at(0), HOLD).await.unwrap());
    assert!(!store.lease_renewal(&place, "two", at(29), HOLD).await.unwrap());
    assert!(store.lease_renewal(&place, "two", at(30), HOLD).await.unwrap());
    assert!(!store.lease_renewal(&place, "one", at(31), HOLD).await.unwrap());
}

pub(super) async fn the_holder_takes_a_lease_again(store: Arc<dyn Store>) {
    let place = kept_connection(&*store, 0).await.at();
    assert!(store.lease_renewal(&place, "one", at(0), HOLD).await.unwrap());
    assert!(store.lease_renewal(&place, "one", at(20), HOLD).await.unwrap());
    assert!(!store.lease_renewal(&place, "two", at(49), HOLD).await.unwrap());
    assert!(store.lease_renewal(&place, "two", at(50), HOLD).await.unwrap());
}

pub(super) async fn only_the_holder_gives_a_lease_back(store: Arc<dyn Store>) {
    let place = kept_connection(&*store, 0).await.at();
    store.release_renewal(&place, "one").await.unwrap();
    assert!(store.lease_renewal(&place, "one", at(0), HOLD).await.unwrap());
    store.release_renewal(&place, "two").await.unwrap();
    assert!(!store.lease_renewal(&place, "two", at(1), HOLD).await.unwrap());
    store.release_renewal(&place, "one").await.unwrap();
    assert!(store.lease_renewal(&place, "two", at(1), HOLD).await.unwrap());
}

pub(super) async fn a_lease_needs_no_grant(store: Arc<dyn Store>) {
    let place = kept_connection(&*store, 0).await.at();
    assert_eq!(store.grant(&place).await.unwrap(), None);
    assert!(store.lease_renewal(&place, "one", at(0), HOLD).await.unwrap());
    let unknown = connection(1).at();
    assert!(store.lease_renewal(&unknown, "one", at(0), HOLD).await.unwrap());
    assert!(!store.lease_renewal(&unknown, "two", at(0), HOLD).await.unwrap());
}

pub(super) async fn a_lease_is_one_owners_and_users(store: Arc<dyn Store>) {
    let place = kept_connection(&*store, 0).await.at();
    let others = [
        ConnectionRef { owner: rival(), ..place.clone() },
        ConnectionRef { user: user("ann"), ..place.clone() },
    ];
    for (other, token) in others.iter().zip(["two", "three"]) {
        assert!(store.lease_renewal(other, token, at(0), HOLD).await.unwrap());
    }
    assert!(store.lease_renewal(&place, "one", at(0), HOLD).await.unwrap());
    store.release_renewal(&others[0], "one").await.unwrap();
    assert!(!store.lease_renewal(&place, "two", at(1), HOLD).await.unwrap());
}

pub(super) async fn parallel_claims_let_one_hold_the_lease(store: Arc<dyn Store>) {
    let place = kept_connection(&*store, 0).await.at();
    let taken = at_once(&store, 50, move |store, n| {
        let place = place.clone();
        async move { store.lease_renewal(&place, &n.to_string(), at(0), HOLD).await.unwrap() }
    });
    assert_eq!(taken.await.into_iter().filter(|taken| *taken).count(), 1);
}
