//! Facts of a connection: who fills them in, where they go, and where they cannot go.

use skill_core::integration::{Overrides, declared};

use super::*;

const SHOP: &str = r#"
name = "Shop"
description = "For tests."
base_url = "https://{shop}.shop.test/{region}"
headers = { x-tenant = "{tenant}" }

[fields.shop]
label = "Shop"
pattern = "^[a-z0-9-]+$"
example = "acme"

[fields.region]
enum = ["eu", "us"]
default = "eu"

[fields.tenant]
hosts = ["*.tenants.test"]

[auth]
scheme = "oauth2"
authorize_url = "https://{shop}.shop.test/authorize"
token_url = "https://{shop}.shop.test/token"
issuer = "https://shop.test"
issuer_check = "if_present"
answer = { capture = { tenant = "/tenant_url" } }

[endpoints.get_orders]
summary = "List the orders"
method = "GET"
path = "/orders"
"#;

const KEYED: &str = r#"
name = "Desk of a tenant"
description = "For tests."
base_url = "https://{tenant}.desk.test"
auth = { scheme = "basic", username = "{credential.email}/token", password = "{credential.key}", fields = { email = { secret = false }, key = { label = "Key" } } }
fields = { tenant = { label = "Tenant" } }

[endpoints.get_me]
summary = "Tell who I am"
method = "GET"
path = "/me"

[verify]
endpoint = "get_me"
account = "/login"
"#;

async fn world() -> World {
    let more = [("shop.toml", SHOP), ("tenant_desk.toml", KEYED)]
        .map(|(file, text)| declared(file, text, &Overrides::default()).unwrap());
    let store = Arc::new(MemoryStore::new());
    let world = World::with(store, |builder| builder.integrations(more.clone())).await;
    let system = skill_core::record::app::Holder::System;
    world.engine.apps().put(system, &slug("shop"), "client-2", None).await.unwrap();
    world.script.on(|sent| match sent.url.path() {
        "/token" => answer(200, r#"{"access_token":"a","tenant_url":"https://acme.tenants.test"}"#),
        _ => me(),
    });
    world
}

async fn begun(world: &World, fields: serde_json::Value) -> SecretString {
    let wanted = ConnectRequest { fields: members(fields), ..ConnectRequest::new("shop").unwrap() };
    let (_, link) = world.engine.connector().begin(&world.caller, wanted).await.unwrap();
    token(link.as_str())
}

fn home(leaving: &Leaving) -> Return {
    let (state, code) = (query(leaving)["state"].as_str().into(), Some("code-1".into()));
    Return { state, code, ..Return::default() }
}

#[tokio::test]
async fn the_page_asks_for_what_is_not_known_and_nobody_has_to_say_what_the_service_says() {
    let world = world().await;
    let connector = world.engine.connector();
    let link = begun(&world, json!({})).await;
    let visit = connector.open(&link).await.unwrap();
    let asked = visit.fields.iter().map(|field| field.name.as_str()).collect::<Vec<_>>();
    assert!(visit.leaves);
    assert_eq!(asked, ["region", "shop"]);
    let too_early = connector.depart(&link, None).await.err().unwrap();
    assert_eq!(too_early.kind(), ErrorKind::InvalidInput);
    for wrong in [json!({}), json!({"shop": "a.b"}), json!({"shop": "x", "tenant": "y"})] {
        let refused = connector.fill(&link, &members(wrong)).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    }
    connector.fill(&link, &members(json!({"shop": "acme"}))).await.unwrap();
    assert!(connector.open(&link).await.unwrap().fields.is_empty());
    let leaving = connector.depart(&link, None).await.unwrap();
    assert!(leaving.url.as_str().starts_with("https://acme.shop.test/authorize?"));
    // An answer without an issuer is good enough here, another issuer is not.
    let (connection, _) = connector.arrive(&home(&leaving), &leaving.browser).await.unwrap();
    assert_eq!(connection.fields["tenant"], "acme.tenants.test");
    world.script.forget();
    world.engine.call(&world.caller, call("shop", "get_orders")).await.unwrap();
    let [sent] = &world.script.sent()[..] else { panic!("one request") };
    assert_eq!(sent.url.as_str(), "https://acme.shop.test/eu/orders");
    assert_eq!(sent.header("x-tenant"), Some("acme.tenants.test"));
}

#[tokio::test]
async fn what_is_given_at_the_start_is_not_asked_for_and_another_issuer_is_refused() {
    let world = world().await;
    let connector = world.engine.connector();
    let wrong = ConnectRequest {
        fields: members(json!({"shop": "evil.test/"})),
        ..ConnectRequest::new("shop").unwrap()
    };
    let refused = connector.begin(&world.caller, wrong).await.unwrap_err();
    assert_eq!(refused.field_details()[0].field, "shop");
    assert!(!refused.log_line().contains("evil"));
    let link = begun(&world, json!({"shop": "acme", "region": "us"})).await;
    assert!(connector.open(&link).await.unwrap().fields.is_empty());
    let leaving = connector.depart(&link, None).await.unwrap();
    let other = Return { issuer: Some("https://evil.test".into()), ..home(&leaving) };
    let refused = connector.arrive(&other, &leaving.browser).await.err().unwrap();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    assert!(world.script.sent().is_empty());
}

#[tokio::test]
async fn a_service_that_sends_the_connection_elsewhere_is_not_followed() {
    let world = world().await;
    let connector = world.engine.connector();
    let link = begun(&world, json!({"shop": "acme"})).await;
    let leaving = connector.depart(&link, None).await.unwrap();
    world.script.on(|_| answer(200, r#"{"access_token":"a","tenant_url":"https://evil.test"}"#));
    let refused = connector.arrive(&home(&leaving), &leaving.browser).await.err().unwrap();
    assert_eq!(refused.kind(), ErrorKind::UpstreamUnreachable);
    let link = begun(&world, json!({"shop": "acme"})).await;
    let leaving = connector.depart(&link, None).await.unwrap();
    world.script.on(|_| answer(200, r#"{"access_token":"a"}"#));
    let refused = connector.arrive(&home(&leaving), &leaving.browser).await.err().unwrap();
    assert_eq!(refused.field_details()[0].field, "tenant");
}

#[tokio::test]
async fn facts_and_secrets_are_handed_over_together_and_kept_apart() {
    let world = world().await;
    let connector = world.engine.connector();
    let desk = slug("tenant_desk");
    let given = json!({"tenant": "acme", "email": "me@x.test", "key": "K"});
    let made = connector.hand_over(&world.caller, &desk, &members(given), None).await.unwrap();
    assert_eq!(made.fields.into_iter().collect::<Vec<_>>(), [("tenant".into(), "acme".into())]);
    assert_eq!(made.account.as_deref(), Some("ada"));
    let [verified] = &world.script.sent()[..] else { panic!("one request") };
    assert_eq!(verified.url.as_str(), "https://acme.desk.test/me");
    let pair = base64::engine::general_purpose::STANDARD.encode("me@x.test/token:K");
    assert_eq!(verified.header("authorization"), Some(&*format!("Basic {pair}")));
    for (wrong, field) in [
        (json!({"email": "me@x.test", "key": "K"}), "tenant"),
        (json!({"tenant": "acme", "email": "me@x.test"}), "key"),
        (json!({"tenant": "acme", "email": "me@x.test", "key": "K", "shop": "x"}), "shop"),
    ] {
        let refused =
            connector.hand_over(&world.caller, &desk, &members(wrong), None).await.unwrap_err();
        assert_eq!(refused.field_details()[0].field, field);
    }
    // A label with a dot is another host: it is refused before anything is sent.
    world.script.forget();
    let evil = json!({"tenant": "evil.test/x", "email": "me@x.test", "key": "K"});
    assert!(connector.hand_over(&world.caller, &desk, &members(evil), None).await.is_err());
    assert!(world.script.sent().is_empty());
}
