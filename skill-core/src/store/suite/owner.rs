//! Cases: owners.

use std::sync::Arc;

use super::fixture::{acme, at, at_once, rival};
use crate::{record::owner::Owner, store::Store};

pub(super) async fn an_owner_is_made_on_first_use(store: Arc<dyn Store>) {
    assert_eq!(store.owner(&acme()).await.unwrap(), None);
    let first = Owner { plan: Some("team".into()), ..Owner::new(acme(), at(1)) };
    assert_eq!(store.ensure_owner(&first).await.unwrap(), first);
    assert_eq!(store.ensure_owner(&Owner::new(acme(), at(2))).await.unwrap(), first);
    assert_eq!(store.owner(&acme()).await.unwrap(), Some(first));
    assert_eq!(store.owner(&rival()).await.unwrap(), None);
}

pub(super) async fn parallel_first_uses_make_one_owner(store: Arc<dyn Store>) {
    let made = at_once(&store, 50, async |store, n| {
        store.ensure_owner(&Owner::new(acme(), at(n))).await.unwrap()
    });
    let made = made.await;
    let kept = store.owner(&acme()).await.unwrap().unwrap();
    assert!(made.iter().all(|owner| *owner == kept));
}

pub(super) async fn a_plan_is_set_and_taken_back(store: Arc<dyn Store>) {
    assert!(!store.set_plan(&acme(), Some("team")).await.unwrap());
    assert_eq!(store.owner(&acme()).await.unwrap(), None);
    store.ensure_owner(&Owner::new(acme(), at(0))).await.unwrap();
    assert!(store.set_plan(&acme(), Some("team")).await.unwrap());
    let plan = store.owner(&acme()).await.unwrap().unwrap().plan;
    assert_eq!(plan.as_deref(), Some("team"));
    assert!(store.set_plan(&acme(), None).await.unwrap());
    assert_eq!(store.owner(&acme()).await.unwrap().unwrap().plan, None);
}

pub(super) async fn an_owners_return_urls_are_its_own(store: Arc<dyn Store>) {
    assert!(store.return_urls(&acme()).await.unwrap().is_empty());
    for url in ["https://b.example/", "https://a.example/", "https://a.example/"] {
        assert!(store.allow_return(&acme(), url, 2).await.unwrap());
    }
    assert!(!store.allow_return(&acme(), "https://c.example/", 2).await.unwrap());
    assert!(store.allow_return(&acme(), "https://a.example/", 2).await.unwrap());
    let urls = store.return_urls(&acme()).await.unwrap();
    assert_eq!(urls, ["https://a.example/", "https://b.example/"]);
    assert!(store.return_urls(&rival()).await.unwrap().is_empty());
    assert!(!store.forbid_return(&rival(), "https://a.example/").await.unwrap());
    assert!(store.forbid_return(&acme(), "https://a.example/").await.unwrap());
    assert!(!store.forbid_return(&acme(), "https://a.example/").await.unwrap());
    assert_eq!(store.return_urls(&acme()).await.unwrap(), ["https://b.example/"]);
}
