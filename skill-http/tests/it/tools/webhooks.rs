//! `/v1/webhooks`: subscriptions.

use http::Method;
use serde_json::{Value, json};

use crate::world::{TestServer, golden::golden, server, setup};

fn wanted(url: &str) -> Value {
    json!({"url": url, "events": ["execution.completed"]})
}

async fn make(server: &TestServer) -> Value {
    server.post("/v1/webhooks", &wanted("https://example.com/callback")).await.ok(201)
}

#[tokio::test]
async fn the_example_of_the_product_is_kept_and_its_secret_shown_once() {
    for server in [server().await, setup().on_disk().start().await] {
        let body = json!({
            "url": "https://example.com/callback",
            "events": ["execution.completed", "execution.failed"],
            "tool_ids": ["github-list-prs"],
        });
        let answer = server.post("/v1/webhooks", &body).await;
        let made = answer.ok(201);
        let secret = made["secret"].as_str().unwrap();
        assert!(secret.starts_with("whsec_"));
        let shape = golden(&server, &answer).replace(secret, "SECRET");
        insta::allow_duplicates!(insta::assert_snapshot!(shape));
        let listed = server.get("/v1/webhooks").await;
        assert!(!listed.text().contains("whsec_"));
        let page = listed.ok(200);
        assert_eq!((&page["total"], &page["items"][0]["id"]), (&json!(1), &made["id"]));
        assert_eq!(page["items"][0]["tool_ids"], json!(["github-list-prs"]));
    }
}

#[tokio::test]
async fn addresses_that_may_not_be_reached_are_refused() {
    let server = server().await;
    for url in [
        "https://169.254.169.254/latest/meta-data/",
        "http://127.0.0.1:9/",
        "https://127.0.0.1:9/",
        "https://[::1]:9/",
        "https://2130706433:9/",
        "https://10.0.0.1/",
        "http://example.com/",
        "file:///etc/passwd",
        "https://user:pass@example.com/",
        "not a url",
        "",
        &format!("https://example.com/{}", "x".repeat(2048)),
    ] {
        let answer = server.post("/v1/webhooks", &wanted(url)).await;
        let error = answer.is_tools_error(400, "INVALID_REQUEST");
        assert!(error["details"]["url"].is_string(), "{url} {error}");
    }
    // What the operator opened may be plain and near.
    server.post("/v1/webhooks", &wanted(&server.upstream.uri())).await.ok(201);
}

#[tokio::test]
async fn what_is_missing_wrong_or_unknown_is_named() {
    let server = server().await;
    let url = "https://example.com/";
    for body in [
        json!({}),
        json!({"url": url}),
        json!({"url": url, "events": []}),
        json!({"url": url, "events": ["execution.started"]}),
        json!({"url": url, "events": ["skill.completed"]}),
        json!({"url": url, "events": ["webhook.test"]}),
        json!({"url": url, "events": ["execution.failed", "execution.failed"]}),
        json!({"url": url, "events": ["execution.failed"], "tool_ids": ["nope"]}),
        json!({"url": url, "events": ["execution.failed"], "secret": "short"}),
        json!({"url": url, "events": ["execution.failed"], "owner": "acme"}),
    ] {
        let error = server.post("/v1/webhooks", &body).await.is_tools_error(400, "INVALID_REQUEST");
        assert!(!error["details"].as_object().unwrap().is_empty(), "{body} {error}");
    }
    assert_eq!(server.get("/v1/webhooks").await.ok(200)["total"], 0);
}

#[tokio::test]
async fn managing_webhooks_takes_its_scope() {
    let server = server().await;
    let plain = server.key_of("default", "github,keys").await;
    for method in [Method::GET, Method::POST] {
        let answer = server.ask(method, "/v1/webhooks").key(&plain).send().await;
        answer.is_tools_error(403, "FORBIDDEN");
    }
    let manager = server.key_of("default", "webhooks").await;
    let ask = server.ask(Method::POST, "/v1/webhooks").key(&manager);
    ask.json(&wanted("https://example.com/")).send().await.ok(201);
}

#[tokio::test]
async fn a_subscription_is_removed_by_its_owner_only() {
    let server = server().await;
    let made = make(&server).await;
    let path = format!("/v1/webhooks/{}", made["id"].as_str().unwrap());
    let stranger = server.key_of("acme", "*").await;
    let foreign = server.ask(Method::DELETE, &path).key(&stranger).send().await;
    foreign.is_tools_error(404, "NOT_FOUND");
    let missing = server.delete("/v1/webhooks/nonsense").await;
    assert_eq!(missing.body, foreign.body);
    assert_eq!(server.delete(&path).await.status.as_u16(), 204);
    server.delete(&path).await.is_tools_error(404, "NOT_FOUND");
    assert_eq!(server.get("/v1/webhooks").await.ok(200)["items"], json!([]));
}
