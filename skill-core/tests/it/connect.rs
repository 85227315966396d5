//! Connecting an account: from the link to the grant, and nothing for anybody else.

mod fields;
mod hang_up;
mod manage;
mod mend;
mod oauth1;
mod polite;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use sha2::{Digest, Sha256};
use skill_core::{
    ErrorKind,
    connect::{ConnectRequest, Leaving, Return},
    record::connection::{Connection, Status},
    store::{MemoryStore, Store, sqlite::SqliteStore},
};

use super::{
    fixture::{World, call, members, owner, page, read, slug, token},
    script::{Sent, json as answer, me, unreachable},
};

fn request() -> ConnectRequest {
    ConnectRequest::new("desk").unwrap()
}

/// Begins, and opens the link up to the provider.
async fn left(world: &World) -> (Connection, Leaving) {
    let connector = world.engine.connector();
    let (connection, link) = connector.begin(&world.caller, request()).await.unwrap();
    let leaving = connector.depart(&token(link.as_str()), None).await.unwrap();
    (connection, leaving)
}

fn query(leaving: &Leaving) -> BTreeMap<String, String> {
    leaving.url.query_pairs().into_owned().collect()
}

/// What an honest provider sends back.
fn back(leaving: &Leaving) -> Return {
    Return {
        state: query(leaving)["state"].as_str().into(),
        code: Some("code-1".into()),
        issuer: Some("https://auth.test".into()),
        ..Return::default()
    }
}

/// A provider that gives a grant for any code.
fn generous(world: &World) {
    world.script.on(|sent| match sent.place().as_str() {
        "auth.test/token" => answer(
            200,
            r#"{"access_token":"a","refresh_token":"r","expires_in":3600,"scope":"read"}"#,
        ),
        _ => me(),
    });
}

fn codes(world: &World) -> Vec<Sent> {
    world.script.sent().into_iter().filter(|sent| sent.place() == "auth.test/token").collect()
}

async fn arrive(
    world: &World,
    back: &Return,
    browser: &SecretString,
) -> Result<Connection, ErrorKind> {
    let arrived = world.engine.connector().arrive(back, browser).await;
    arrived.map(|(connection, _)| connection).map_err(|error| error.kind())
}

#[tokio::test]
async fn a_person_goes_to_the_provider_and_comes_back_connected() {
    let dir = tempfile::tempdir().unwrap();
    let file = SqliteStore::open(&dir.path().join("skill.db")).unwrap();
    for store in [Arc::new(MemoryStore::new()) as Arc<dyn Store>, Arc::new(file)] {
        let world = World::over(store).await;
        generous(&world);
        let (connection, leaving) = left(&world).await;
        assert_eq!(connection.status, Status::Pending);
        let asked = query(&leaving);
        assert!(leaving.url.as_str().starts_with("https://auth.test/authorize?"));
        for (name, value) in [
            ("response_type", "code"),
            ("client_id", "client-1"),
            ("redirect_uri", "https://skill.test/oauth/callback"),
            ("scope", "read write"),
            ("code_challenge_method", "S256"),
        ] {
            assert_eq!(asked[name], value);
        }
        let arrived = arrive(&world, &back(&leaving), &leaving.browser).await.unwrap();
        assert_eq!((arrived.id, arrived.status), (connection.id, Status::Connected));
        assert_eq!(arrived.account.as_deref(), Some("ada"));
        assert_eq!(arrived.scopes, ["read"]);
        let end = super::fixture::noon() + Duration::from_secs(3600);
        assert_eq!(arrived.expires_at, Some(end));
        let [code] = &codes(&world)[..] else { panic!("one exchange") };
        let hash = Sha256::digest(code.field("code_verifier").unwrap().as_bytes());
        assert_eq!(URL_SAFE_NO_PAD.encode(hash), asked["code_challenge"]);
        assert_eq!(code.field("code").as_deref(), Some("code-1"));
        assert_eq!(code.field("redirect_uri").as_deref(), Some(&*asked["redirect_uri"]));
        world.engine.call(&world.caller, read()).await.unwrap();
        let events = world.events().await;
        assert_eq!(events, ["connection.connected", "connection.created"]);
        world.engine.stop().await;
    }
}

#[tokio::test]
async fn a_state_is_good_once() {
    let world = World::new().await;
    generous(&world);
    let (_, leaving) = left(&world).await;
    arrive(&world, &back(&leaving), &leaving.browser).await.unwrap();
    let again = arrive(&world, &back(&leaving), &leaving.browser).await;
    assert_eq!(again.unwrap_err(), ErrorKind::InvalidInput);
    assert_eq!(codes(&world).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_is_good_once_even_for_two_at_the_same_time() {
    let dir = tempfile::tempdir().unwrap();
    let file = SqliteStore::open(&dir.path().join("skill.db")).unwrap();
    for store in [Arc::new(MemoryStore::new()) as Arc<dyn Store>, Arc::new(file)] {
        let world = World::over(store).await;
        generous(&world);
        let (_, leaving) = left(&world).await;
        let mut arriving = tokio::task::JoinSet::new();
        for _ in 0..10 {
            let (engine, back) = (world.engine.clone(), back(&leaving));
            let browser = leaving.browser.clone();
            arriving.spawn(async move { engine.connector().arrive(&back, &browser).await.is_ok() });
        }
        let arrived = arriving.join_all().await.into_iter().filter(|is_in| *is_in).count();
        assert_eq!((arrived, codes(&world).len()), (1, 1));
        world.engine.stop().await;
    }
}

#[tokio::test]
async fn nobody_arrives_in_another_browser() {
    let world = World::new().await;
    generous(&world);
    let (_, leaving) = left(&world).await;
    let (_, other) = left(&world).await;
    for browser in ["", "made up", other.browser.expose_secret()] {
        let refused = arrive(&world, &back(&leaving), &browser.into()).await;
        assert_eq!(refused.unwrap_err(), ErrorKind::InvalidInput);
    }
    for state in ["", "made up"] {
        let back = Return { state: state.into(), ..back(&leaving) };
        let refused = arrive(&world, &back, &leaving.browser).await;
        assert_eq!(refused.unwrap_err(), ErrorKind::InvalidInput);
    }
    assert!(codes(&world).is_empty());
    // The attempts of others used nothing up.
    arrive(&world, &back(&leaving), &leaving.browser).await.unwrap();
}

#[tokio::test]
async fn one_browser_may_be_on_its_way_twice() {
    let world = World::new().await;
    generous(&world);
    let (_, first) = left(&world).await;
    let connector = world.engine.connector();
    let (_, link) = connector.begin(&world.caller, request()).await.unwrap();
    let carried = Some(first.browser.clone());
    let second = connector.depart(&token(link.as_str()), carried).await.unwrap();
    assert_eq!(first.browser.expose_secret(), second.browser.expose_secret());
    arrive(&world, &back(&second), &second.browser).await.unwrap();
    arrive(&world, &back(&first), &first.browser).await.unwrap();
}

#[tokio::test]
async fn a_state_ends_after_ten_minutes() {
    let world = World::new().await;
    generous(&world);
    let (_, leaving) = left(&world).await;
    let (_, late) = left(&world).await;
    world.clock.advance(Duration::from_secs(599));
    arrive(&world, &back(&leaving), &leaving.browser).await.unwrap();
    world.clock.advance(Duration::from_secs(1));
    let refused = arrive(&world, &back(&late), &late.browser).await;
    assert_eq!(refused.unwrap_err(), ErrorKind::InvalidInput);
    assert_eq!(codes(&world).len(), 1);
}

#[tokio::test]
async fn a_person_may_take_ten_minutes_from_the_last_moment_of_the_link() {
    let world = World::new().await;
    generous(&world);
    let connector = world.engine.connector();
    let (_, link) = connector.begin(&world.caller, request()).await.unwrap();
    world.clock.advance(Duration::from_secs(1799));
    let leaving = connector.depart(&token(link.as_str()), None).await.unwrap();
    world.clock.advance(Duration::from_secs(300));
    // Another link sweeps what has ended.
    connector.begin(&world.caller, request()).await.unwrap();
    arrive(&world, &back(&leaving), &leaving.browser).await.unwrap();
}

#[tokio::test]
async fn another_issuer_gets_no_code() {
    let world = World::new().await;
    generous(&world);
    for issuer in [None, Some(""), Some("https://auth.test/"), Some("https://evil.test")] {
        let (connection, leaving) = left(&world).await;
        let back = Return { issuer: issuer.map(str::to_owned), ..back(&leaving) };
        let refused = arrive(&world, &back, &leaving.browser).await;
        assert_eq!(refused.unwrap_err(), ErrorKind::InvalidInput, "{issuer:?}");
        // The link is used up: whoever asks how it goes is not told to wait.
        let kept = world.engine.connections().get(&world.caller, connection.id).await.unwrap();
        assert_eq!(kept.status, Status::Error);
    }
    assert!(codes(&world).is_empty());
}

#[tokio::test]
async fn a_person_who_says_no_is_asked_nothing_more() {
    let world = World::new().await;
    generous(&world);
    for error in ["access_denied", "server_error"] {
        for code in [None, Some(SecretString::from("code"))] {
            let (connection, leaving) = left(&world).await;
            let back = Return { code, error: Some(error.into()), ..back(&leaving) };
            let refused = arrive(&world, &back, &leaving.browser).await;
            assert_eq!(refused.unwrap_err(), ErrorKind::InvalidInput);
            let kept = world.engine.connections().get(&world.caller, connection.id).await.unwrap();
            assert_eq!(kept.status, Status::Error);
            assert!(kept.last_error.is_some());
        }
    }
    assert!(codes(&world).is_empty());
    let error = world.engine.call(&world.caller, read()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotConnected);
}

#[tokio::test]
async fn a_failed_attempt_leaves_a_working_connection_alone() {
    let world = World::new().await;
    let connection = world.connect_desk().await;
    world.script.on(|_| answer(401, "{}"));
    world.engine.call(&world.caller, read()).await.unwrap_err();
    let error = {
        world.script.on(|sent| match sent.place().as_str() {
            "auth.test/token" => answer(200, r#"{"access_token":"b"}"#),
            _ => answer(401, "{}"),
        });
        world.engine.call(&world.caller, read()).await.unwrap_err()
    };
    let connector = world.engine.connector();
    let leaving = connector.depart(&page(&error), None).await.unwrap();
    let refused = Return { error: Some("access_denied".into()), code: None, ..back(&leaving) };
    arrive(&world, &refused, &leaving.browser).await.unwrap_err();
    let kept = world.engine.connections().get(&world.caller, connection.id).await.unwrap();
    assert_eq!(kept.status, Status::Connected);
}

#[tokio::test]
async fn a_code_that_the_provider_refuses_connects_nothing() {
    let world = World::new().await;
    for (status, body, kind) in [
        (400, r#"{"error":"invalid_grant"}"#, ErrorKind::InvalidInput),
        (500, "", ErrorKind::UpstreamUnreachable),
        (200, r#"{"access_token":"a b\u0000"}"#, ErrorKind::UpstreamUnreachable),
    ] {
        world.script.on(move |_| answer(status, body));
        let (connection, leaving) = left(&world).await;
        assert_eq!(arrive(&world, &back(&leaving), &leaving.browser).await.unwrap_err(), kind);
        let kept = world.engine.connections().get(&world.caller, connection.id).await.unwrap();
        assert_eq!(kept.status, Status::Error);
    }
}

#[tokio::test]
async fn a_link_is_good_once_and_for_half_an_hour() {
    let world = World::new().await;
    let connector = world.engine.connector();
    let (_, link) = connector.begin(&world.caller, request()).await.unwrap();
    let link = token(link.as_str());
    for _ in 0..3 {
        let visit = connector.open(&link).await.unwrap();
        assert_eq!((visit.integration.as_str(), visit.owner.as_str()), ("The desk", "default"));
    }
    connector.depart(&link, None).await.unwrap();
    let gone = ErrorKind::NotFound;
    assert_eq!(connector.open(&link).await.unwrap_err().kind(), gone);
    assert_eq!(connector.depart(&link, None).await.err().unwrap().kind(), gone);
    let (_, link) = connector.begin(&world.caller, request()).await.unwrap();
    let link = token(link.as_str());
    world.clock.advance(Duration::from_secs(1799));
    connector.open(&link).await.unwrap();
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(connector.open(&link).await.unwrap_err().kind(), gone);
    assert_eq!(connector.depart(&link, None).await.err().unwrap().kind(), gone);
    for unknown in ["", "x", &"a".repeat(43)] {
        assert_eq!(connector.open(&unknown.into()).await.unwrap_err().kind(), gone);
    }
}

#[tokio::test]
async fn a_key_is_typed_into_the_page_once() {
    let world = World::new().await;
    world.script.on(|sent| match sent.header("x-api-key") {
        Some("good") => me(),
        _ => answer(401, "{}"),
    });
    let connector = world.engine.connector();
    let get = || call("keyed", "get_item").param("id", "7");
    let error = world.engine.call(&world.caller, get()).await.unwrap_err();
    let link = page(&error);
    assert_eq!(connector.open(&link).await.unwrap().fields[0].name, "api_key");
    for bad in [json!({}), json!({"api_key": 7}), json!({"api_key": "bad"}), json!({"x": "y"})] {
        let refused = connector.submit(&link, &members(bad)).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    }
    let connection = connector.submit(&link, &members(json!({"api_key": "good"}))).await.unwrap();
    assert_eq!(
        (connection.status, connection.account.as_deref()),
        (Status::Connected, Some("ada"))
    );
    let again = connector.submit(&link, &members(json!({"api_key": "good"}))).await;
    assert_eq!(again.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(world.engine.call(&world.caller, get()).await.unwrap().status, 200);
    // A person who is asked does not type, and who types is not asked.
    let error = world.engine.call(&owner("rival"), get()).await.unwrap_err();
    assert_eq!(
        connector.depart(&page(&error), None).await.err().unwrap().kind(),
        ErrorKind::InvalidInput
    );
    let error = world.engine.call(&world.caller, read()).await.unwrap_err();
    let typed = connector.submit(&page(&error), &members(json!({"access_token": "t"}))).await;
    assert_eq!(typed.unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[tokio::test]
async fn a_credential_is_tried_out_before_it_is_stored() {
    let world = World::new().await;
    let connector = world.engine.connector();
    let given = members(json!({"api_key": "k"}));
    for status in [401, 403, 404, 302, 500, 503] {
        world.script.on(move |_| answer(status, "{}"));
        let refused = connector.hand_over(&world.caller, &slug("keyed"), &given, None).await;
        let kind = refused.unwrap_err().kind();
        let is_refusal = matches!(status, 302 | 401 | 403 | 404);
        assert_eq!(kind == ErrorKind::InvalidInput, is_refusal, "{status}");
    }
    world.script.on(|_| Err(unreachable()));
    let refused = connector.hand_over(&world.caller, &slug("keyed"), &given, None).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::UpstreamUnreachable);
    assert!(world.engine.connections().list(&world.caller).await.unwrap().is_empty());
    assert!(world.events().await.is_empty());
}

#[tokio::test]
async fn an_ended_grant_that_is_handed_over_is_renewed_first() {
    let world = World::new().await;
    generous(&world);
    let given = json!({
        "access_token": "old", "refresh_token": "r0", "expires_at": "2026-03-01T11:59:59Z",
        "scopes": ["read"],
    });
    let connection = world.hand_over("desk", given).await;
    assert_eq!(connection.status, Status::Connected);
    world.engine.call(&world.caller, read()).await.unwrap();
    assert_eq!(world.script.sent()[0].header("authorization"), Some("Bearer a"));
}
