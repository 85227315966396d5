//! `Idempotency-Key`: the same key gives the same answer, once.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use crate::world::{
    TestServer,
    client::{Answer, Ask},
    provider::{issue, json},
    server, setup,
};

/// A service that counts what it makes.
async fn counting(server: &TestServer) -> Arc<AtomicU32> {
    let made = Arc::new(AtomicU32::new(0));
    let count = made.clone();
    server
        .reacts("POST", "/create", move |_| {
            let number = count.fetch_add(1, Ordering::SeqCst) + 1;
            json(201, &format!("{{\"made\":{number}}}"))
        })
        .await;
    made
}

fn create(server: &TestServer, params: &Value) -> Ask {
    server.with_key(Method::POST, "/v1/open/create").json(&json!({ "params": params }))
}

async fn keyed(server: &TestServer, key: &str) -> Answer {
    create(server, &json!({"note": "n"})).header("idempotency-key", key).send().await
}

#[tokio::test]
async fn the_same_key_gives_the_first_answer_again() {
    let server = server().await;
    let made = counting(&server).await;
    let first = keyed(&server, "k1").await;
    assert_eq!(first.header("idempotent-replayed"), "");
    let again = keyed(&server, "k1").await;
    assert_eq!((again.status, &again.body), (first.status, &first.body));
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_eq!(made.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn an_error_that_is_given_again_says_so_too() {
    let server = server().await;
    server.answers("POST", "/create", json(200, "{")).await;
    let first = keyed(&server, "k1").await;
    first.is_error(502, "upstream_error");
    assert_eq!(first.header("idempotent-replayed"), "");
    let again = keyed(&server, "k1").await;
    assert_eq!(again.body, first.body);
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_eq!(server.upstream_saw().await.len(), 1);
}

#[tokio::test]
async fn quotes_and_the_other_header_make_no_difference() {
    let server = server().await;
    let made = counting(&server).await;
    keyed(&server, "\"k1\"").await.ok(200);
    keyed(&server, "k1").await.ok(200);
    let other = create(&server, &json!({"note": "n"})).header("x-idempotency-key", "k1");
    assert_eq!(other.send().await.header("idempotent-replayed"), "true");
    let both = create(&server, &json!({"note": "n"}))
        .header("x-idempotency-key", "k1")
        .header("idempotency-key", "\"k1\"");
    both.send().await.ok(200);
    assert_eq!(made.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn the_order_of_members_makes_no_difference() {
    let server = server().await;
    let made = counting(&server).await;
    for text in [r#"{"note":"n","count":1}"#, r#"{"count": 1, "note": "n"}"#] {
        let ask = server.with_key(Method::POST, "/v1/open/create").header("idempotency-key", "k");
        ask.body(format!("{{\"params\":{text}}}")).send().await.ok(200);
    }
    assert_eq!(made.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn other_inputs_under_the_same_key_are_refused() {
    let server = server().await;
    let made = counting(&server).await;
    keyed(&server, "k1").await.ok(200);
    let other = create(&server, &json!({"note": "other"})).header("idempotency-key", "k1");
    other.send().await.is_error(422, "bad_request");
    assert_eq!(made.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn keys_that_are_none_are_refused() {
    let server = server().await;
    let made = counting(&server).await;
    for key in ["", "\"\"", "a b", &"k".repeat(256)] {
        keyed(&server, key).await.is_error(400, "bad_request");
    }
    let twice = create(&server, &json!({"note": "n"}))
        .header("idempotency-key", "a")
        .header("idempotency-key", "a");
    twice.send().await.is_error(400, "bad_request");
    let differ = create(&server, &json!({"note": "n"}))
        .header("idempotency-key", "a")
        .header("x-idempotency-key", "b");
    differ.send().await.is_error(400, "bad_request");
    assert_eq!(made.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_call_that_still_runs_is_a_conflict() {
    let server = setup().start().await;
    let slow = json(201, "{}").set_delay(Duration::from_millis(600));
    server.answers("POST", "/create", slow).await;
    let first = keyed(&server, "k1");
    let second = async {
        while server.upstream_saw().await.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        keyed(&server, "k1").await.is_error(409, "conflict");
    };
    let (first, ()) = tokio::join!(first, second);
    first.ok(200);
}

#[tokio::test]
async fn a_refusal_is_not_recorded() {
    let server = server().await;
    let made = counting(&server).await;
    let bad = create(&server, &json!({"note": 5})).header("idempotency-key", "k1");
    bad.send().await.is_error(400, "bad_request");
    keyed(&server, "k1").await.ok(200);
    assert_eq!(made.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn keys_belong_to_an_owner_and_an_action() {
    let server = server().await;
    let made = counting(&server).await;
    server.answers("GET", "/search", json(200, "{}")).await;
    keyed(&server, "k1").await.ok(200);
    // Another key of the same owner: the same call.
    let sibling = server.key_of("default", "*").await;
    let ask = server.ask(Method::POST, "/v1/open/create").key(&sibling);
    let ask = ask.json(&json!({"params": {"note": "n"}})).header("idempotency-key", "k1");
    assert_eq!(ask.send().await.header("idempotent-replayed"), "true");
    // Another owner: another call.
    let stranger = server.key_of("acme", "*").await;
    let ask = server.ask(Method::POST, "/v1/open/create").key(&stranger);
    let ask = ask.json(&json!({"params": {"note": "n"}})).header("idempotency-key", "k1");
    assert_eq!(ask.send().await.header("idempotent-replayed"), "");
    // Another action: another call.
    let ask = server.with_key(Method::POST, "/v1/open/search").header("idempotency-key", "k1");
    assert_eq!(ask.send().await.header("idempotent-replayed"), "");
    assert_eq!(made.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_key_is_free_again_after_a_day() {
    let server = server().await;
    let made = counting(&server).await;
    keyed(&server, "k1").await.ok(200);
    server.advance(24 * 3600 - 1);
    keyed(&server, "k1").await.ok(200);
    assert_eq!(made.load(Ordering::SeqCst), 1);
    server.advance(2);
    keyed(&server, "k1").await.ok(200);
    assert_eq!(made.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_store_on_disk_remembers_as_well() {
    let server = setup().on_disk().start().await;
    let made = counting(&server).await;
    let first = keyed(&server, "k1").await;
    assert_eq!(keyed(&server, "k1").await.body, first.body);
    assert_eq!(made.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn an_answer_is_given_again_whatever_became_of_the_connection() {
    let server = server().await;
    let id = server.with_github().await;
    server.answers("POST", "/repos/acme/webapp/issues", json(201, "{}")).await;
    let ask = || {
        let body = json!({ "params": issue() });
        let ask = server.with_key(Method::POST, "/v1/github/create_issue").json(&body);
        ask.header("idempotency-key", "k1").send()
    };
    let first = ask().await;
    first.ok(200);
    server.delete(&format!("/v1/connections/{id}")).await.ok(204);
    let again = ask().await;
    assert_eq!(again.body, first.body);
    assert_eq!(again.header("idempotent-replayed"), "true");
}
