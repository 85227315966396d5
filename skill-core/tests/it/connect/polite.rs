//! Services that say no with status 200.

use skill_core::integration::{Overrides, declared};

use super::*;

const POLITE: &str = r#"
name = "Polite"
description = "For tests."
base_url = "https://polite.test"

[auth]
scheme = "oauth2"
authorize_url = "https://polite.test/authorize"
token_url = "https://polite.test/token"

[[expired]]
status = 200
at = "/error"
is = ["token_expired"]

[verify]
endpoint = "get_me"
account = "/login"

[endpoints.get_me]
summary = "Tell who I am"
method = "GET"
path = "/me"
"#;

async fn world() -> World {
    world_of(POLITE).await
}

async fn world_of(text: &str) -> World {
    let polite = declared("polite.toml", text, &Overrides::default()).unwrap();
    let store = Arc::new(MemoryStore::new());
    let world = World::with(store, |builder| builder.integrations([polite.clone()])).await;
    let system = skill_core::record::app::Holder::System;
    world.engine.apps().put(system, &slug("polite"), "client-2", None).await.unwrap();
    world.script.on(|sent| match (sent.url.path(), sent.header("authorization")) {
        ("/token", _) => answer(200, r#"{"access_token":"new","refresh_token":"r2"}"#),
        (_, Some("Bearer new" | "Bearer first")) => me(),
        _ => answer(200, r#"{"ok":false,"error":"token_expired"}"#),
    });
    world
}

#[tokio::test]
async fn an_answer_whose_body_says_that_access_ended_renews_it_once() {
    let world = world().await;
    world.hand_over("polite", json!({"access_token": "first", "refresh_token": "r"})).await;
    // From here the service no longer takes the first one.
    world.script.on(|sent| match (sent.url.path(), sent.header("authorization")) {
        ("/token", _) => answer(200, r#"{"access_token":"new","refresh_token":"r2"}"#),
        (_, Some("Bearer new")) => me(),
        _ => answer(200, r#"{"ok":false,"error":"token_expired"}"#),
    });
    let reply = world.engine.call(&world.caller, call("polite", "get_me")).await.unwrap();
    assert_eq!(reply.data.json().unwrap()["login"], "ada");
    let places = world.script.sent().iter().map(Sent::place).collect::<Vec<_>>();
    assert_eq!(places, ["polite.test/me", "polite.test/token", "polite.test/me"]);
}

#[tokio::test]
async fn a_credential_that_is_refused_with_status_200_is_not_taken() {
    let world = world().await;
    let given = members(json!({"access_token": "wrong"}));
    let connector = world.engine.connector();
    let refused = connector.hand_over(&world.caller, &slug("polite"), &given, None).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[tokio::test]
async fn another_call_may_tell_whose_account_it_is_and_refuses_nothing() {
    let text =
        POLITE.replace("account = \"/login\"", "profile = \"get_profile\"\naccount = \"/name\"");
    let text = format!(
        "{text}\n[endpoints.get_profile]\nsummary = \"Tell my name\"\nmethod = \"GET\"\n\
         path = \"/profile\"\n"
    );
    for (status, body, name) in
        [(200, r#"{"name":"Ada"}"#, Some("Ada")), (403, r#"{"message":"no"}"#, None)]
    {
        let world = world_of(&text).await;
        world.script.on(move |sent| match sent.url.path() {
            "/profile" => answer(status, body),
            _ => me(),
        });
        let given = members(json!({"access_token": "first"}));
        let connector = world.engine.connector();
        let made = connector.hand_over(&world.caller, &slug("polite"), &given, None).await.unwrap();
        assert_eq!(made.account.as_deref(), name);
    }
}
