//! `GET /v1/quotas`: how much of every limit is used.

use http::Method;
use serde_json::{Value, json};

use crate::world::{server, setup};

#[tokio::test]
async fn every_window_tells_what_is_used_and_what_is_left() {
    let server = setup().plan("free").start().await;
    server.knows_everybody().await;
    server.connected("keyed", json!({"api_key": "k"})).await;
    server.advance(10);
    let answer = server.get("/v1/quotas").await;
    let quotas = answer.ok(200);
    let expected = json!({
        "minute": {"used": 2, "limit": 30, "remaining": 28, "reset": "2026-01-01T12:01:00Z"},
        "day": {"used": 2, "limit": 10_000, "remaining": 9_998, "reset": "2026-01-02T00:00:00Z"},
        "connections": {"used": 1, "limit": 3, "remaining": 2, "reset": null},
        "keys": {"used": 1, "limit": 1, "remaining": 0, "reset": null},
        "queued_runs": {"used": 0, "limit": 100_000, "remaining": 100_000, "reset": null},
    });
    assert_eq!(quotas, expected);
    assert_eq!(answer.header("x-ratelimit-remaining"), "28");
}

#[tokio::test]
async fn where_there_is_no_limit_there_is_null() {
    let server = server().await;
    let quotas = server.get("/v1/quotas").await.ok(200);
    assert_eq!(quotas["minute"]["limit"], 100);
    assert_eq!(
        quotas["day"],
        json!({"used": null, "limit": null, "remaining": null, "reset": null})
    );
    assert_eq!(quotas["keys"], json!({"used": 1, "limit": null, "remaining": null, "reset": null}));
}

#[tokio::test]
async fn any_key_may_ask() {
    let server = server().await;
    let key = server.key_of("default", "github").await;
    let quotas = server.ask(Method::GET, "/v1/quotas").key(&key).send().await.ok(200);
    assert_eq!(quotas["minute"]["used"], 1);
    assert_ne!(quotas["queued_runs"], Value::Null);
}
