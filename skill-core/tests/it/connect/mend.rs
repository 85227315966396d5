//! Mending a connection under its id, through whichever app, and where people go then.

use secrecy::SecretString;
use serde_json::json;
use skill_core::{
    ErrorKind,
    apps::Force,
    connect::ConnectRequest,
    record::{app::Holder, connection::Status},
};

use super::{
    super::{
        fixture::{World, acting_for, call, members, owner, read, slug, token},
        provider::Provider,
        script::{json as answer, me},
    },
    arrive, back, generous, left, query, request,
};

fn mending(named: &str) -> ConnectRequest {
    ConnectRequest { connection: Some(named.into()), ..request() }
}

#[tokio::test]
async fn a_connection_is_mended_under_its_id_and_works_until_then() {
    let world = World::new().await;
    let given = json!({"access_token": "access-0", "refresh_token": "refresh-0"});
    let connection = world.hand_over_as(&world.caller, "desk", (given, Some("work"))).await;
    generous(&world);
    let connector = world.engine.connector();
    for named in [connection.id.to_string(), "work".to_owned()] {
        let (mended, link) = connector.begin(&world.caller, mending(&named)).await.unwrap();
        assert_eq!((mended.id, mended.status), (connection.id, Status::Connected));
        world.engine.call(&world.caller, read()).await.unwrap();
        let leaving = connector.depart(&token(link.as_str()), None).await.unwrap();
        let arrived = arrive(&world, &back(&leaving), &leaving.browser).await.unwrap();
        assert_eq!((arrived.id, arrived.label.as_deref()), (connection.id, Some("work")));
    }
    assert_eq!(world.engine.connections().list(&world.caller).await.unwrap().len(), 1);
    let sent = world.script.sent();
    let last = sent.iter().rev().find(|sent| sent.place() == "desk.test/me").unwrap();
    assert_eq!(last.header("authorization"), Some("Bearer a"), "the new grant");
}

#[tokio::test]
async fn only_ones_own_connection_of_this_integration_is_mended() {
    let world = World::new().await;
    let connection = world.connect_desk().await;
    let keyed = world.hand_over("keyed", json!({"api_key": "k"})).await;
    let connector = world.engine.connector();
    let id = connection.id.to_string();
    let other = keyed.id.to_string();
    let (rival, ann) = (owner("rival"), acting_for(&world.caller, "ann"));
    for (caller, named) in
        [(&rival, &id), (&ann, &id), (&world.caller, &other), (&world.caller, &"none".to_owned())]
    {
        let refused = connector.begin(caller, mending(named)).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::NotFound);
        let given = members(json!({"access_token": "stolen"}));
        let refused = connector.hand_over_again(caller, &slug("desk"), (named, &given)).await;
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::NotFound);
    }
    let renaming = ConnectRequest { label: Some("x".into()), ..mending(&id) };
    let refused = connector.begin(&world.caller, renaming).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
}

#[tokio::test]
async fn another_credential_takes_the_place_of_the_old_one_once_it_works() {
    let world = World::new().await;
    let connection = world.hand_over("keyed", json!({"api_key": "old"})).await;
    let (connector, keyed) = (world.engine.connector(), slug("keyed"));
    let id = connection.id.to_string();
    world.script.on(|_| answer(401, "{}"));
    let given = members(json!({"api_key": "wrong"}));
    let refused = connector.hand_over_again(&world.caller, &keyed, (&id, &given)).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidInput);
    world.script.on(|_| me());
    world.script.forget();
    world.engine.call(&world.caller, call("keyed", "whoami")).await.unwrap();
    let given = members(json!({"api_key": "new"}));
    let mended = connector.hand_over_again(&world.caller, &keyed, (&id, &given)).await.unwrap();
    assert_eq!((mended.id, mended.status), (connection.id, Status::Connected));
    world.engine.call(&world.caller, call("keyed", "whoami")).await.unwrap();
    let keys = world.script.sent();
    let keys = keys.iter().map(|sent| sent.header("x-api-key").unwrap()).collect::<Vec<_>>();
    assert_eq!(keys, ["old", "new", "new"]);
}

#[tokio::test]
async fn a_second_app_and_another_secret_break_no_connection() {
    let world = World::new().await;
    let connection = world.connect_desk().await;
    let provider = Provider::behind(&world.script);
    let apps = world.engine.apps();
    let own = Holder::Owner(world.caller.owner.clone());
    let secret = SecretString::from("own-secret");
    apps.put(own.clone(), &slug("desk"), "client-own", Some(&secret)).await.unwrap();
    let system = apps.list(&Holder::System).await.unwrap().remove(0);
    let another = SecretString::from("another-secret");
    apps.rotate(&Holder::System, system.id, Some(&another)).await.unwrap();
    world.engine.call(&world.caller, read()).await.unwrap();
    assert_eq!(provider.refreshes(), 1);
    let renewal = world.script.sent().into_iter().find(|sent| sent.place() == "auth.test/token");
    // client-1:another-secret
    let expected = "Basic Y2xpZW50LTE6YW5vdGhlci1zZWNyZXQ=";
    assert_eq!(renewal.unwrap().header("authorization"), Some(expected));
    // A new connection goes through the owner's own app; another owner's does not.
    let (_, leaving) = left(&world).await;
    assert_eq!(query(&leaving)["client_id"], "client-own");
    let connector = world.engine.connector();
    let (_, link) = connector.begin(&owner("rival"), request()).await.unwrap();
    let leaving = connector.depart(&token(link.as_str()), None).await.unwrap();
    assert_eq!(query(&leaving)["client_id"], "client-1");
    // The old connection is mended through the app it was made through.
    let named = connection.id.to_string();
    let (_, link) = connector.begin(&world.caller, mending(&named)).await.unwrap();
    let leaving = connector.depart(&token(link.as_str()), None).await.unwrap();
    assert_eq!(query(&leaving)["client_id"], "client-1");
}

#[tokio::test]
async fn an_app_that_is_needed_goes_only_by_force_and_mending_takes_another() {
    let world = World::new().await;
    let apps = world.engine.apps();
    let own = Holder::Owner(world.caller.owner.clone());
    let app = apps.put(own.clone(), &slug("desk"), "client-own", None).await.unwrap();
    let connection = world.connect_desk().await;
    assert_eq!(connection.app, Some(app.id));
    let spared = apps.remove(&own, app.id, Force::Unused).await.unwrap_err();
    assert_eq!(spared.kind(), ErrorKind::Conflict);
    for holder in [&Holder::System, &Holder::Owner(owner("rival").owner)] {
        let unknown = apps.remove(holder, app.id, Force::Whatever).await.unwrap_err();
        assert_eq!(unknown.kind(), ErrorKind::NotFound);
        let unknown = apps.rotate(holder, app.id, None).await.unwrap_err();
        assert_eq!(unknown.kind(), ErrorKind::NotFound);
    }
    apps.remove(&own, app.id, Force::Whatever).await.unwrap();
    let connector = world.engine.connector();
    let named = connection.id.to_string();
    let (_, link) = connector.begin(&world.caller, mending(&named)).await.unwrap();
    generous(&world);
    let leaving = connector.depart(&token(link.as_str()), None).await.unwrap();
    assert_eq!(query(&leaving)["client_id"], "client-1");
    let arrived = arrive(&world, &back(&leaving), &leaving.browser).await.unwrap();
    assert_eq!(arrived.id, connection.id);
}

#[tokio::test]
async fn an_owners_own_list_says_where_its_people_go() {
    let world = World::new().await;
    let connector = world.engine.connector();
    let acme = owner("acme");
    connector.allow_return(&acme.owner, "https://acme.test/done?a=1").await.unwrap();
    let begin = async |caller, url: &str| {
        let wanted = ConnectRequest { return_url: Some(url.into()), ..request() };
        connector.begin(caller, wanted).await.map(drop).map_err(|error| error.kind())
    };
    begin(&acme, "https://acme.test/done?a=1").await.unwrap();
    let refused = Err(ErrorKind::InvalidInput);
    for url in ["https://app.test/done", "https://acme.test/done", "https://acme.test/done?a=1#"] {
        assert_eq!(begin(&acme, url).await, refused, "{url}");
    }
    assert_eq!(begin(&world.caller, "https://acme.test/done?a=1").await, refused);
    begin(&world.caller, "https://app.test/done").await.unwrap();
    connector.forbid_return(&acme.owner, "https://acme.test/done?a=1").await.unwrap();
    begin(&acme, "https://app.test/done").await.unwrap();
    for url in [
        "javascript:alert(1)",
        "/done",
        "https://user@acme.test/",
        "https://acme.test/#x",
        "https://acme.test/a b",
        "data:text/html,x",
        "",
    ] {
        let wrong = connector.allow_return(&acme.owner, url).await.unwrap_err();
        assert_eq!(wrong.kind(), ErrorKind::InvalidInput, "{url}");
    }
}

#[tokio::test]
async fn a_label_cannot_pass_for_an_id() {
    let world = World::new().await;
    let id = world.connect_desk().await.id.to_string();
    let wanted = ConnectRequest { label: Some(id), ..request() };
    let refused = world.engine.connector().begin(&world.caller, wanted).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
}
