//! Connections as their owner handles them: bounded, labelled, removed.

use std::sync::Arc;

use serde_json::json;
use skill_core::{
    ErrorKind,
    access::{Caller, Plan, Plans},
    connect::{Change, ConnectRequest},
    record::scope::Scopes,
    store::{MemoryStore, Store},
};

use super::{
    super::{
        fixture::{
            OAUTH, World, acting_for, call, members, owner, page, read, service, slug, token,
        },
        script::json as answer,
    },
    arrive, back, generous, left, request,
};

#[tokio::test]
async fn a_plan_bounds_connections() {
    let plan = Plan { connections: Some(1), ..Plan::default() };
    let plans = Plans::new("free", [("free".to_owned(), plan)], []).unwrap();
    let world = World::with(Arc::new(MemoryStore::new()), |b| b.plans(plans.clone())).await;
    let connector = world.engine.connector();
    let (connection, _) = connector.begin(&world.caller, request()).await.unwrap();
    let refused = connector.begin(&world.caller, request()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::PlanLimit);
    let get = call("keyed", "get_item").param("id", "7");
    let error = world.engine.call(&world.caller, get).await.unwrap_err();
    let typed = connector.submit(&page(&error), &members(json!({"api_key": "k"}))).await;
    assert_eq!(typed.unwrap_err().kind(), ErrorKind::PlanLimit);
    connector.begin(&owner("rival"), request()).await.unwrap();
    connector.disconnect(&world.caller, connection.id).await.unwrap();
    connector.begin(&world.caller, request()).await.unwrap();
}

#[tokio::test]
async fn a_person_goes_on_only_to_a_listed_page() {
    let world = World::new().await;
    generous(&world);
    let connector = world.engine.connector();
    for url in ["https://evil.test/", "https://app.test/done/", "https://app.test/done?x", "/"] {
        let wanted = ConnectRequest { return_url: Some(url.into()), ..request() };
        let refused = connector.begin(&world.caller, wanted).await.unwrap_err();
        assert_eq!(
            (refused.kind(), refused.field_details()[0].field.as_str()),
            (ErrorKind::InvalidInput, "return_url")
        );
    }
    assert!(world.engine.connections().list(&world.caller).await.unwrap().is_empty());
    let wanted = ConnectRequest { return_url: Some("https://app.test/done".into()), ..request() };
    let (_, link) = connector.begin(&world.caller, wanted).await.unwrap();
    let leaving = connector.depart(&token(link.as_str()), None).await.unwrap();
    let (_, next) = connector.arrive(&back(&leaving), &leaving.browser).await.unwrap();
    assert_eq!(next.as_deref(), Some("https://app.test/done"));
}

#[tokio::test]
async fn connecting_takes_the_scope_of_the_integration() {
    let world = World::new().await;
    let connector = world.engine.connector();
    let limited =
        |text: &str| Caller { scopes: Scopes::parse([text]).unwrap(), ..world.caller.clone() };
    let connection = world.connect_desk().await;
    for scopes in ["keyed", "desk/get_item"] {
        let caller = limited(scopes);
        let refused = ErrorKind::ScopeMissing;
        assert_eq!(connector.begin(&caller, request()).await.unwrap_err().kind(), refused);
        let given = members(json!({"access_token": "a"}));
        let handed = connector.hand_over(&caller, &slug("desk"), &given, None).await;
        assert_eq!(handed.unwrap_err().kind(), refused);
        let removed = connector.disconnect(&caller, connection.id).await;
        assert_eq!(removed.unwrap_err().kind(), refused);
        let changed = connector.change(&caller, connection.id, Change::default()).await;
        assert_eq!(changed.unwrap_err().kind(), refused);
    }
    connector.begin(&limited("desk"), request()).await.unwrap();
    let unknown = ConnectRequest::new("nothing").unwrap();
    let error = connector.begin(&world.caller, unknown.clone()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let error = connector.begin(&limited("desk"), unknown).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ScopeMissing);
}

#[tokio::test]
async fn labels_are_unique_for_one_integration_and_caller() {
    let world = World::new().await;
    let connector = world.engine.connector();
    let labelled = |label: &str| ConnectRequest { label: Some(label.into()), ..request() };
    connector.begin(&world.caller, labelled("work")).await.unwrap();
    let taken = connector.begin(&world.caller, labelled("work")).await.unwrap_err();
    assert_eq!(taken.kind(), ErrorKind::Conflict);
    connector.begin(&owner("rival"), labelled("work")).await.unwrap();
    connector.begin(&acting_for(&world.caller, "ann"), labelled("work")).await.unwrap();
    let (home, _) = connector.begin(&world.caller, labelled("home")).await.unwrap();
    let change = Change { label: Some("work".into()), is_default: None };
    let taken = connector.change(&world.caller, home.id, change).await.unwrap_err();
    assert_eq!(taken.kind(), ErrorKind::Conflict);
    for bad in ["", "a\u{0}", &"x".repeat(201)] {
        let refused = connector.begin(&world.caller, labelled(bad)).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    }
}

#[tokio::test]
async fn disconnecting_revokes_and_destroys() {
    let world = World::new().await;
    let connection = world.connect_desk().await;
    let connector = world.engine.connector();
    for stranger in [owner("rival"), acting_for(&world.caller, "ann")] {
        let error = connector.disconnect(&stranger, connection.id).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }
    connector.disconnect(&world.caller, connection.id).await.unwrap();
    let [revoked] = &world.script.sent()[..] else { panic!("one request") };
    assert_eq!(revoked.place(), "auth.test/revoke");
    assert_eq!(revoked.field("token").as_deref(), Some("refresh-0"));
    assert_eq!(revoked.field("token_type_hint").as_deref(), Some("refresh_token"));
    assert_eq!(world.store.grant(&connection.at()).await.unwrap(), None);
    let entry = &world.engine.audit(&world.caller.owner, 1).await.unwrap()[0];
    assert_eq!((entry.event.as_str(), entry.outcome.as_str()), ("connection.deleted", "done"));
    let error = world.engine.call(&world.caller, read()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotConnected);
    let error = connector.disconnect(&world.caller, connection.id).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_revoked_is_destroyed_all_the_same() {
    for trouble in [0, 503, 400] {
        let world = World::new().await;
        let connection = world.connect_desk().await;
        match trouble {
            0 => world.script.hang(),
            status => world.script.on(move |_| answer(status, "{}")),
        }
        world.engine.connector().disconnect(&world.caller, connection.id).await.unwrap();
        assert_eq!(world.store.grant(&connection.at()).await.unwrap(), None);
        let entry = &world.engine.audit(&world.caller.owner, 1).await.unwrap()[0];
        assert!(entry.outcome.starts_with("done, not revoked upstream"), "{trouble}: {entry:?}");
    }
}

#[tokio::test]
async fn a_link_of_a_removed_connection_leads_nowhere() {
    let world = World::new().await;
    generous(&world);
    let connector = world.engine.connector();
    let (connection, link) = connector.begin(&world.caller, request()).await.unwrap();
    let (other, leaving) = left(&world).await;
    connector.disconnect(&world.caller, connection.id).await.unwrap();
    connector.disconnect(&world.caller, other.id).await.unwrap();
    let error = connector.open(&token(link.as_str())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    arrive(&world, &back(&leaving), &leaving.browser).await.unwrap_err();
    assert!(world.engine.connections().list(&world.caller).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_link_of_one_person_connects_that_person() {
    let world = World::new().await;
    generous(&world);
    let ann = acting_for(&world.caller, "ann");
    let error = world.engine.call(&ann, read()).await.unwrap_err();
    let leaving = world.engine.connector().depart(&page(&error), None).await.unwrap();
    let arrived = arrive(&world, &back(&leaving), &leaving.browser).await.unwrap();
    assert_eq!(arrived.user, ann.user);
    world.engine.call(&ann, read()).await.unwrap();
    for other in [world.caller.clone(), acting_for(&world.caller, "bob"), owner("ann")] {
        let error = world.engine.call(&other, read()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotConnected);
    }
}

#[tokio::test]
async fn without_a_client_the_operator_is_told() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let world = World::with(store, |b| b.integrations([service("bare", OAUTH)])).await;
    let bare = ConnectRequest::new("bare").unwrap();
    let error = world.engine.connector().begin(&world.caller, bare).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.message().contains("OAuth client"));
}
