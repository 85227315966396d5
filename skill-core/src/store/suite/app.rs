//! Cases: apps.

use std::sync::Arc;

use super::fixture::{acme, at, connection, rival, sealed, slug};
use crate::{
    ErrorKind,
    id::AppId,
    record::{
        app::{App, Holder, Removal},
        connection::Connection,
    },
    store::Store,
};

/// An app of acme for a CRM, added at `seconds`.
fn app(seconds: i64) -> App {
    App {
        id: AppId::fresh(at(seconds)).unwrap(),
        holder: Holder::Owner(acme()),
        integration: slug("my_crm"),
        client_id: "client".into(),
        client_secret: Some(sealed("secret")),
        created_at: at(seconds),
    }
}

pub(super) async fn an_app_reads_back_as_it_was_kept(store: Arc<dyn Store>) {
    let public = App { client_secret: None, holder: Holder::System, ..app(1) };
    for kept in [app(0), public] {
        store.put_app(&kept).await.unwrap();
        assert_eq!(store.app(&acme(), kept.id).await.unwrap(), Some(kept));
    }
    assert_eq!(store.app(&acme(), AppId::fresh(at(0)).unwrap()).await.unwrap(), None);
}

pub(super) async fn a_replaced_app_is_the_later_one(store: Arc<dyn Store>) {
    let old = app(0);
    store.put_app(&old).await.unwrap();
    let new = App {
        client_id: "another".into(),
        client_secret: None,
        integration: slug("crm"),
        created_at: at(5),
        ..old
    };
    store.put_app(&new).await.unwrap();
    assert_eq!(store.app(&acme(), new.id).await.unwrap(), Some(new));
    assert_eq!(store.apps(&Holder::Owner(acme()), Some(&slug("my_crm"))).await.unwrap(), []);
}

pub(super) async fn every_owner_may_use_the_systems_apps(store: Arc<dyn Store>) {
    let system = App { holder: Holder::System, ..app(0) };
    store.put_app(&system).await.unwrap();
    for owner in [acme(), rival()] {
        assert_eq!(store.app(&owner, system.id).await.unwrap(), Some(system.clone()));
        assert_eq!(store.apps(&Holder::Owner(owner), Some(&system.integration)).await.unwrap(), []);
    }
}

pub(super) async fn another_owners_app_acts_like_a_missing_one(store: Arc<dyn Store>) {
    let mine = app(0);
    store.put_app(&mine).await.unwrap();
    assert_eq!(store.app(&rival(), mine.id).await.unwrap(), None);
    for holder in [Holder::Owner(rival()), Holder::System] {
        assert_eq!(store.apps(&holder, Some(&mine.integration)).await.unwrap(), []);
        let stolen = App { holder, client_id: "theirs".into(), ..mine.clone() };
        let error = store.put_app(&stolen).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }
    assert_eq!(store.app(&acme(), mine.id).await.unwrap(), Some(mine));
}

pub(super) async fn apps_are_listed_the_newest_first(store: Arc<dyn Store>) {
    let (first, second, third) = (app(0), app(1), app(2));
    let elsewhere = App { integration: slug("github"), ..app(3) };
    let system = App { holder: Holder::System, ..app(4) };
    for new in [&second, &third, &elsewhere, &first, &system] {
        store.put_app(new).await.unwrap();
    }
    let listed = store.apps(&Holder::Owner(acme()), Some(&slug("my-crm"))).await.unwrap();
    assert_eq!(listed, [third, second, first]);
    let ours = store.apps(&Holder::System, Some(&slug("my_crm"))).await.unwrap();
    assert_eq!(ours.first(), Some(&system));
    assert_eq!(store.apps(&Holder::Owner(acme()), None).await.unwrap()[0], elsewhere);
    assert_eq!(store.apps(&Holder::System, None).await.unwrap(), [system]);
}

pub(super) async fn an_app_that_is_in_use_is_spared(store: Arc<dyn Store>) {
    let (used, system) = (app(0), App { holder: Holder::System, ..app(1) });
    for app in [&used, &system] {
        store.put_app(app).await.unwrap();
    }
    let through = Connection { app: Some(used.id), ..connection(0) };
    assert!(store.insert_connection(&through, None).await.unwrap());
    let mine = Holder::Owner(acme());
    for holder in [Holder::Owner(rival()), Holder::System] {
        let removal = store.remove_app(&holder, used.id, false).await.unwrap();
        assert_eq!(removal, Removal::Unknown);
    }
    assert_eq!(store.remove_app(&mine, used.id, true).await.unwrap(), Removal::InUse(1));
    assert_eq!(store.app(&acme(), used.id).await.unwrap(), Some(used.clone()));
    assert_eq!(store.remove_app(&mine, used.id, false).await.unwrap(), Removal::Done);
    assert_eq!(store.app(&acme(), used.id).await.unwrap(), None);
    let removal = store.remove_app(&Holder::System, system.id, true).await.unwrap();
    assert_eq!(removal, Removal::Done);
}
