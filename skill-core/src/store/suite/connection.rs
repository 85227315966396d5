//! Cases: connections.

use std::{sync::Arc, time::Duration};

use super::fixture::{
    acme, at, at_once, connection, departure, flow, kept_connection, rival, sealed, slug, user,
};
use crate::{
    id::{AppId, ConnectionId},
    record::connection::{Connection, Status},
    store::Store,
};

/// A connection in which nothing is empty.
fn full(seconds: i64) -> Connection {
    Connection {
        user: user("ann"),
        label: Some("work".into()),
        is_default: true,
        app: Some(AppId::fresh(at(0)).unwrap()),
        fields: [("shop".into(), "é'\"".into()), ("tenant".into(), "7".into())].into(),
        account: Some("octocat".into()),
        status: Status::Expired,
        last_error: Some("the provider took the grant back".into()),
        scopes: vec!["repo".into(), "read:user".into()],
        updated_at: at(seconds + 1),
        last_used_at: Some(at(seconds + 2)),
        expires_at: Some(at(seconds + 3)),
        rests_since: Some(at(seconds + 4)),
        ..connection(seconds)
    }
}

async fn ids(store: &dyn Store, integration: Option<&str>) -> Vec<ConnectionId> {
    let wanted = integration.map(slug);
    let listed = store.connections(&acme(), wanted.as_ref()).await.unwrap();
    listed.into_iter().map(|connection| connection.id).collect()
}

async fn default_ids(store: &dyn Store) -> Vec<ConnectionId> {
    let listed = store.connections(&acme(), None).await.unwrap();
    listed.into_iter().filter(|c| c.is_default).map(|c| c.id).collect()
}

pub(super) async fn a_connection_reads_back_as_it_was_kept(store: Arc<dyn Store>) {
    let plain = Connection { is_default: true, integration: slug("my_crm"), ..connection(0) };
    for kept in [plain, full(1)] {
        assert!(store.insert_connection(&kept, None).await.unwrap());
        let found = store.connection(&acme(), kept.id).await.unwrap().unwrap();
        assert_eq!(found, kept);
        assert_eq!(found.integration.as_str(), kept.integration.as_str());
        assert!(store.connections(&acme(), None).await.unwrap().contains(&kept));
    }
    let missing = ConnectionId::fresh(at(0)).unwrap();
    assert_eq!(store.connection(&acme(), missing).await.unwrap(), None);
}

pub(super) async fn connections_are_listed_the_oldest_first(store: Arc<dyn Store>) {
    let crm = Connection { integration: slug("my_crm"), ..connection(1) };
    let all = [connection(0), crm, connection(2)];
    for n in [2, 0, 1] {
        assert!(store.insert_connection(&all[n], None).await.unwrap());
    }
    let [first, crm, last] = all.map(|connection| connection.id);
    assert_eq!(ids(&*store, None).await, [first, crm, last]);
    assert_eq!(ids(&*store, Some("github")).await, [first, last]);
    assert_eq!(ids(&*store, Some("my-crm")).await, [crm]);
    assert_eq!(ids(&*store, Some("crm")).await, []);
}

pub(super) async fn no_connection_is_the_default_by_itself(store: Arc<dyn Store>) {
    let first = kept_connection(&*store, 0).await;
    kept_connection(&*store, 1).await;
    assert_eq!(default_ids(&*store).await, []);
    let wanted = Connection { is_default: true, ..first.clone() };
    assert!(store.update_connection(&wanted).await.unwrap());
    assert!(store.delete_connection(&acme(), first.id, at(9)).await.unwrap());
    assert_eq!(default_ids(&*store).await, []);
}

pub(super) async fn one_connection_is_the_default(store: Arc<dyn Store>) {
    let first = kept_connection(&*store, 0).await;
    let anns = Connection { user: user("ann"), ..connection(1) };
    assert!(store.insert_connection(&anns, None).await.unwrap());
    let second = kept_connection(&*store, 2).await;
    let wanted = Connection { is_default: true, ..second.clone() };
    assert!(store.update_connection(&wanted).await.unwrap());
    assert_eq!(default_ids(&*store).await, [second.id]);
    let third = Connection { is_default: true, ..connection(3) };
    assert!(store.insert_connection(&third, None).await.unwrap());
    assert_eq!(default_ids(&*store).await, [third.id]);
    assert!(!store.connection(&acme(), first.id).await.unwrap().unwrap().is_default);
}

pub(super) async fn an_update_changes_what_may_change_and_nothing_else(store: Arc<dyn Store>) {
    let old = kept_connection(&*store, 0).await;
    let new = Connection {
        id: old.id,
        user: user("eve"),
        integration: slug("gitlab"),
        created_at: at(77),
        ..full(5)
    };
    assert!(store.update_connection(&new).await.unwrap());
    let expected = Connection {
        user: None,
        integration: old.integration.clone(),
        created_at: old.created_at,
        last_used_at: old.last_used_at,
        ..new
    };
    assert_eq!(store.connection(&acme(), old.id).await.unwrap(), Some(expected));
    assert!(store.update_connection(&old).await.unwrap());
    assert_eq!(store.connection(&acme(), old.id).await.unwrap(), Some(old));
    assert!(!store.update_connection(&connection(9)).await.unwrap());
}

pub(super) async fn deleting_a_connection_deletes_what_belongs_to_it(store: Arc<dyn Store>) {
    let gone = kept_connection(&*store, 0).await;
    let (open, left) = (flow(&gone, 0), flow(&gone, 1));
    let leaving = departure(600);
    store.insert_flow(&open, at(1)).await.unwrap();
    store.insert_flow(&left, at(1)).await.unwrap();
    assert!(store.depart(&left.link, Some(&leaving), at(2)).await.unwrap());
    store.replace_grant(&gone.at(), &sealed("grant"), None).await.unwrap().unwrap();
    let hold = Duration::from_secs(60);
    assert!(store.lease_renewal(&gone.at(), "one", at(2), hold).await.unwrap());
    assert!(store.delete_connection(&acme(), gone.id, at(9)).await.unwrap());
    assert!(store.lease_renewal(&gone.at(), "two", at(3), hold).await.unwrap());
    assert_eq!(store.connection(&acme(), gone.id).await.unwrap(), None);
    assert_eq!(store.grant(&gone.at()).await.unwrap(), None);
    assert_eq!(store.grants_after(None, 9).await.unwrap(), []);
    assert_eq!(store.flow_by_link(&open.link, at(2)).await.unwrap(), None);
    let arrived = store.arrive(&leaving.state, &leaving.browser, at(3)).await.unwrap();
    assert_eq!(arrived, None);
    assert!(!store.delete_connection(&acme(), gone.id, at(9)).await.unwrap());
}

pub(super) async fn connections_are_capped(store: Arc<dyn Store>) {
    let foreign = Connection { owner: rival(), ..connection(0) };
    assert!(store.insert_connection(&foreign, None).await.unwrap());
    assert!(!store.insert_connection(&connection(1), Some(0)).await.unwrap());
    let first = connection(2);
    assert!(store.insert_connection(&first, Some(1)).await.unwrap());
    let other_slug = Connection { integration: slug("gitlab"), ..connection(3) };
    assert!(!store.insert_connection(&other_slug, Some(1)).await.unwrap());
    assert_eq!(ids(&*store, None).await, [first.id]);
}

pub(super) async fn parallel_connections_stop_at_the_cap(store: Arc<dyn Store>) {
    let kept = at_once(&store, 100, async |store, n| {
        store.insert_connection(&connection(n), Some(5)).await.unwrap()
    });
    assert_eq!(kept.await.into_iter().filter(|kept| *kept).count(), 5);
    assert_eq!(ids(&*store, None).await.len(), 5);
}

pub(super) async fn another_owners_connection_acts_like_a_missing_one(store: Arc<dyn Store>) {
    let mine = kept_connection(&*store, 0).await;
    assert_eq!(store.connection(&rival(), mine.id).await.unwrap(), None);
    assert_eq!(store.connections(&rival(), None).await.unwrap(), []);
    assert_eq!(store.connections(&rival(), Some(&slug("github"))).await.unwrap(), []);
    let stolen = Connection { owner: rival(), label: Some("mine".into()), ..mine.clone() };
    assert!(!store.update_connection(&stolen).await.unwrap());
    assert!(!store.delete_connection(&rival(), mine.id, at(9)).await.unwrap());
    assert_eq!(store.connection(&acme(), mine.id).await.unwrap(), Some(mine));
}

pub(super) async fn an_abandoned_connection_gives_its_place_back(store: Arc<dyn Store>) {
    let pending = |n| Connection { status: Status::Pending, ..connection(n) };
    let (old, young, next) = (pending(0), pending(60), pending(3600));
    assert!(store.insert_connection(&old, Some(2)).await.unwrap());
    assert!(store.insert_connection(&young, Some(2)).await.unwrap());
    assert!(store.insert_connection(&next, Some(2)).await.unwrap());
    assert_eq!(ids(&*store, None).await, [young.id, next.id]);
    let used = Connection { status: Status::Connected, ..young.clone() };
    assert!(store.update_connection(&used).await.unwrap());
    assert!(store.insert_connection(&pending(7200), Some(2)).await.unwrap());
    assert!(ids(&*store, None).await.contains(&young.id));
}

pub(super) async fn resting_connections_are_found_the_longest_first(store: Arc<dyn Store>) {
    let resting = |seconds, since| Connection {
        status: Status::Connected,
        rests_since: Some(at(since)),
        ..connection(seconds)
    };
    let (young, old, older) = (resting(1, 50), resting(2, 20), resting(3, 10));
    let rivals = Connection { owner: rival(), ..resting(4, 15) };
    let expired = Connection { status: Status::Expired, ..resting(5, 1) };
    let elsewhere = Connection { integration: slug("my_crm"), ..resting(6, 1) };
    let never = Connection { rests_since: None, ..resting(7, 0) };
    for new in [&young, &old, &older, &rivals, &expired, &elsewhere, &never] {
        assert!(store.insert_connection(new, None).await.unwrap());
    }
    let github = slug("github");
    let ids = async |before, most| {
        let found = store.resting_connections(&github, at(before), most).await.unwrap();
        found.into_iter().map(|connection| connection.id).collect::<Vec<_>>()
    };
    assert_eq!(ids(20, 9).await, [older.id, rivals.id, old.id]);
    assert_eq!(ids(50, 2).await, [older.id, rivals.id]);
    assert_eq!(ids(9, 9).await, []);
    let renewed = Connection { rests_since: Some(at(60)), ..older };
    assert!(store.update_connection(&renewed).await.unwrap());
    assert_eq!(ids(20, 9).await, [rivals.id, old.id]);
}
