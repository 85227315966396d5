//! Cases: grants.

use std::sync::Arc;

use super::fixture::{acme, at_once, connection, kept_connection, rival, sealed, user};
use crate::{
    record::connection::{Connection, ConnectionRef, Revision},
    store::Store,
};

pub(super) async fn a_grant_is_written_at_the_revision_seen_only(store: Arc<dyn Store>) {
    let at = kept_connection(&*store, 0).await.at();
    assert_eq!(store.grant(&at).await.unwrap(), None);
    assert_eq!(store.replace_grant(&at, &sealed("0"), Some(Revision(1))).await.unwrap(), None);
    let first = store.replace_grant(&at, &sealed("1"), None).await.unwrap().unwrap();
    assert_eq!(store.grant(&at).await.unwrap(), Some((sealed("1"), first)));
    assert_eq!(store.replace_grant(&at, &sealed("2"), None).await.unwrap(), None);
    let second = store.replace_grant(&at, &sealed("2"), Some(first)).await.unwrap().unwrap();
    assert!(second > first);
    assert_eq!(store.replace_grant(&at, &sealed("3"), Some(first)).await.unwrap(), None);
    assert_eq!(store.grant(&at).await.unwrap(), Some((sealed("2"), second)));
}

pub(super) async fn parallel_replacements_at_one_revision_let_one_win(store: Arc<dyn Store>) {
    let at = kept_connection(&*store, 0).await.at();
    let mut seen = None;
    for _ in 0..2 {
        let place = at.clone();
        let won = at_once(&store, 50, move |store, n| {
            let place = place.clone();
            async move {
                let new = sealed(&n.to_string());
                (n, store.replace_grant(&place, &new, seen).await.unwrap())
            }
        });
        let won: Vec<_> = won.await.into_iter().filter(|(_, won)| won.is_some()).collect();
        assert_eq!(won.len(), 1);
        let (winner, revision) = won[0];
        let kept = store.grant(&at).await.unwrap().unwrap();
        assert_eq!(kept, (sealed(&winner.to_string()), revision.unwrap()));
        seen = revision;
    }
}

pub(super) async fn a_grant_needs_its_connection(store: Arc<dyn Store>) {
    let at = connection(0).at();
    assert_eq!(store.replace_grant(&at, &sealed("1"), None).await.unwrap(), None);
    assert_eq!(store.grant(&at).await.unwrap(), None);
    store.forget_grant(&at).await.unwrap();
}

pub(super) async fn a_destroyed_grants_revision_never_comes_back(store: Arc<dyn Store>) {
    let at = kept_connection(&*store, 0).await.at();
    let first = store.replace_grant(&at, &sealed("1"), None).await.unwrap().unwrap();
    store.forget_grant(&at).await.unwrap();
    assert_eq!(store.grant(&at).await.unwrap(), None);
    assert_eq!(store.grants_after(None, 9).await.unwrap(), []);
    assert_eq!(store.replace_grant(&at, &sealed("2"), Some(first)).await.unwrap(), None);
    let second = store.replace_grant(&at, &sealed("2"), None).await.unwrap().unwrap();
    assert!(second > first);
}

pub(super) async fn another_owner_or_user_finds_no_grant(store: Arc<dyn Store>) {
    let anns = Connection { user: user("ann"), ..connection(0) };
    assert!(store.insert_connection(&anns, None).await.unwrap());
    let right = anns.at();
    let revision = store.replace_grant(&right, &sealed("1"), None).await.unwrap();
    let wrong = [
        ConnectionRef { owner: rival(), ..right.clone() },
        ConnectionRef { user: user("bob"), ..right.clone() },
        ConnectionRef { user: None, ..right.clone() },
    ];
    for at in wrong {
        assert_eq!(store.grant(&at).await.unwrap(), None);
        assert_eq!(store.replace_grant(&at, &sealed("2"), revision).await.unwrap(), None);
        assert_eq!(store.replace_grant(&at, &sealed("2"), None).await.unwrap(), None);
        store.forget_grant(&at).await.unwrap();
    }
    let kept = store.grant(&right).await.unwrap();
    assert_eq!(kept, Some((sealed("1"), revision.unwrap())));
}

pub(super) async fn pages_show_every_grant_once(store: Arc<dyn Store>) {
    let mut expected = Vec::new();
    for n in 0..7 {
        let owner = if n % 2 == 0 { acme() } else { rival() };
        let connection = Connection { owner, user: user("ann"), ..connection(n) };
        assert!(store.insert_connection(&connection, None).await.unwrap());
        if n == 3 {
            continue;
        }
        let grant = sealed(&n.to_string());
        let revision = store.replace_grant(&connection.at(), &grant, None).await.unwrap();
        expected.push((connection.at(), grant, revision.unwrap()));
    }
    let (mut pages, mut after) = (Vec::new(), None);
    loop {
        let page = store.grants_after(after, 2).await.unwrap();
        assert!(page.len() <= 2);
        let Some((last, ..)) = page.last() else { break };
        after = Some(last.id);
        pages.extend(page);
    }
    assert_eq!(pages, expected);
}
