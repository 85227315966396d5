//! Idempotency keys of invocations.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use crate::world::{
    provider::{ISSUE, json, typed},
    server, setup,
};

#[tokio::test]
async fn the_same_key_gives_the_first_answer_again() {
    for server in [server().await, setup().on_disk().start().await] {
        server.answers("POST", "/create", json(201, r#"{"made": 1}"#)).await;
        for (tool, inputs) in
            [("open-create", json!({"note": "n"})), ("lab-run", json!({"do": "echo"}))]
        {
            let send = async |inputs: &Value, header: &str| {
                let ask = server.with_key(Method::POST, &format!("/v1/tools/{tool}/invoke"));
                ask.json(inputs).header(header, "k1").send().await
            };
            let first = send(&inputs, "idempotency-key").await;
            let again = send(&inputs, "x-idempotency-key").await;
            assert_eq!(first.header("idempotent-replayed"), "");
            assert_eq!(again.header("idempotent-replayed"), "true");
            assert_eq!(first.ok(200)["result"], again.ok(200)["result"]);
            assert_eq!(first.json()["execution_id"], again.json()["execution_id"]);
            let wrapped = json!({"inputs": inputs});
            assert_eq!(
                send(&wrapped, "idempotency-key").await.header("idempotent-replayed"),
                "true"
            );
            let mut other = inputs.clone();
            other["note"] = "other".into();
            let differs = send(&other, "idempotency-key").await;
            differs.is_tools_error(422, "INVALID_REQUEST");
        }
        assert_eq!(server.upstream_saw().await.len(), 1);
    }
}

#[tokio::test]
async fn a_replay_is_rendered_in_the_dialect_that_asks() {
    let server = server().await;
    server.with_github().await;
    server.answers("POST", "/repos/acme/webapp/issues", json(201, ISSUE)).await;
    let body = json!({ "params": {"repo": "acme/webapp", "title": "Bug report"} });
    let ask = server.with_key(Method::POST, "/v1/github/create_issue").json(&body);
    ask.header("idempotency-key", "k1").send().await.ok(200);
    let inputs = json!({"repo": "acme/webapp", "title": "Bug report"});
    let ask = server.with_key(Method::POST, "/v1/tools/github-create-issue/invoke").json(&inputs);
    let again = ask.header("idempotency-key", "k1").send().await;
    assert_eq!(again.ok(200)["status"], "success");
    assert_eq!(again.header("idempotent-replayed"), "true");
}

#[tokio::test]
async fn an_error_is_given_again_as_well() {
    let server = server().await;
    server.answers("POST", "/create", json(500, r#"{"message":"no"}"#)).await;
    server.answers("GET", "/search", typed(200, b"{", "application/json")).await;
    let cases = [
        ("open-create", json!({"note": "n"}), 500, "TOOL_ERROR"),
        ("lab-run", json!({"do": "fail"}), 500, "TOOL_ERROR"),
        ("open-search", json!({}), 500, "TOOL_ERROR"),
    ];
    for (tool, inputs, status, code) in cases {
        let send = async || {
            let ask = server.with_key(Method::POST, &format!("/v1/tools/{tool}/invoke"));
            ask.json(&inputs).header("idempotency-key", "k1").send().await
        };
        let (first, again) = (send().await, send().await);
        assert_eq!(first.header("idempotent-replayed"), "", "{tool}");
        assert_eq!(again.header("idempotent-replayed"), "true", "{tool}");
        assert_eq!(first.is_tools_error(status, code), again.is_tools_error(status, code));
        assert_eq!(first.json()["execution_id"], again.json()["execution_id"], "{tool}");
    }
    let seen = server.upstream_saw().await;
    assert_eq!(seen.iter().filter(|line| line.starts_with("POST")).count(), 1, "{seen:?}");
}

#[tokio::test]
async fn a_run_that_has_not_ended_is_a_conflict() {
    let server = server().await;
    let ask = || {
        let ask = server.with_key(Method::POST, "/v1/tools/lab-run/invoke?timeout=9");
        ask.json(&json!({"do": "wait"})).header("idempotency-key", "k1").send()
    };
    let second = async {
        while server.get("/v1/executions").await.ok(200)["total"] == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let refused = ask().await;
        let error = refused.is_tools_error(409, "INVALID_REQUEST");
        assert_eq!(error["details"]["reason"], "conflict");
        server.lab.say(100);
    };
    let (first, ()) = tokio::join!(ask(), second);
    first.ok(200);
}

#[tokio::test]
async fn keys_that_are_none_are_refused() {
    let server = server().await;
    for header in ["idempotency-key", "x-idempotency-key"] {
        for key in ["", "\"\"", "a b", &"k".repeat(256)] {
            let ask = server.with_key(Method::POST, "/v1/tools/open-search/invoke");
            let answer = ask.json(&json!({})).header(header, key).send().await;
            answer.is_tools_error(400, "INVALID_REQUEST");
        }
    }
    let ask = server.with_key(Method::POST, "/v1/tools/open-search/invoke").json(&json!({}));
    let ask = ask.header("idempotency-key", "a").header("x-idempotency-key", "b");
    ask.send().await.is_tools_error(400, "INVALID_REQUEST");
    assert!(server.upstream_saw().await.is_empty());
}
