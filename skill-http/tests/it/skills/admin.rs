//! `/admin/api-keys`.

use http::Method;
use serde_json::{Value, json};

use crate::world::{
    ADMIN, TestServer,
    client::{Answer, Ask},
    server, setup,
};

const ALL: &str = "/admin/api-keys";

fn admin(server: &TestServer, method: Method, path: &str) -> Ask {
    server.ask(method, path).header("x-admin-secret", ADMIN)
}

async fn made(server: &TestServer, body: &Value) -> Value {
    admin(server, Method::POST, ALL).json(body).send().await.ok(201)
}

/// The answer to a request with the key.
async fn used(server: &TestServer, key: &Value) -> Answer {
    let ask = server.ask(Method::GET, "/api/skills?limit=1").key(key.as_str().unwrap());
    ask.send().await
}

#[tokio::test]
async fn a_key_is_made_for_a_client_and_shown_in_full_once() {
    for server in [server().await, setup().on_disk().start().await] {
        server.advance(1);
        let key = made(&server, &json!({"client_name": "Acme", "scopes": ["quickbooks"]})).await;
        let plain = &key["plaintext_key"];
        assert!(plain.as_str().unwrap().starts_with("hz_live_"), "{key}");
        assert_eq!((&key["rate_limit"], &key["owner"]), (&json!(100), &json!("default")));
        assert_eq!((&key["client_name"], &key["scopes"]), (&json!("Acme"), &json!(["quickbooks"])));
        assert_eq!((&key["expires_at"], &key["is_active"]), (&Value::Null, &json!(true)));
        let answer = used(&server, plain).await;
        answer.ok(200);
        assert_eq!(answer.header("x-ratelimit-limit"), "100");
        let path = format!("{ALL}/{}", key["id"].as_str().unwrap());
        let shown = admin(&server, Method::GET, &path).send().await.ok(200);
        assert!(shown.get("plaintext_key").is_none() && shown["client_name"] == "Acme");
        let listed = admin(&server, Method::GET, ALL).send().await;
        assert!(!listed.text().contains(plain.as_str().unwrap()));
        assert_eq!(listed.ok(200)["data"][0]["id"], key["id"]);
        assert_eq!(admin(&server, Method::DELETE, &path).send().await.status.as_u16(), 204);
        used(&server, plain).await.is_error(401, "authentication_required");
    }
}

#[tokio::test]
async fn only_the_admin_secret_opens_these_routes() {
    let server = server().await;
    let body = json!({"client_name": "x", "scopes": ["*"]});
    let ask = || server.ask(Method::POST, ALL).json(&body);
    ask().send().await.is_error(401, "authentication_required");
    ask().key(&server.key).send().await.is_error(401, "authentication_required");
    let wrong = ask().header("x-admin-secret", "admin-secret-canari").send().await;
    wrong.is_error(401, "authentication_required");
    ask().header("x-api-key", ADMIN).send().await.is_error(401, "authentication_required");
    ask().key(ADMIN).send().await.ok(201);
    let answer = server.ask(Method::GET, "/api/skills").key(ADMIN).send().await;
    answer.is_error(401, "authentication_required");
    let server = setup().settings(|settings| settings.admin_secret = None).start().await;
    for secret in [ADMIN, ""] {
        let ask = server.ask(Method::GET, ALL).header("x-admin-secret", secret);
        ask.send().await.is_error(401, "authentication_required");
    }
}

#[tokio::test]
async fn wrong_secrets_are_limited_and_the_right_one_is_not() {
    let server = setup().wrong_keys(3).start().await;
    let mut answers = Vec::new();
    for _ in 0..5 {
        let ask = server.ask(Method::GET, ALL).header("x-admin-secret", "wrong");
        answers.push(ask.send().await.status.as_u16());
    }
    assert!(answers.contains(&401) && answers.ends_with(&[429]), "{answers:?}");
    admin(&server, Method::GET, ALL).send().await.ok(200);
}

#[tokio::test]
async fn a_key_has_a_limit_and_an_end_of_its_own_and_both_can_change() {
    for server in [server().await, setup().on_disk().start().await] {
        let body = json!({
            "client_name": "x", "scopes": "lab", "rate_limit": 2,
            "expires_at": "2026-01-01T13:00:00Z",
        });
        let key = made(&server, &body).await;
        let plain = &key["plaintext_key"];
        assert_eq!(key["expires_at"], "2026-01-01T13:00:00Z");
        for status in [200, 200, 429] {
            assert_eq!(used(&server, plain).await.status.as_u16(), status);
        }
        let path = format!("{ALL}/{}", key["id"].as_str().unwrap());
        let patch = |body: Value| admin(&server, Method::PATCH, &path).json(&body).send();
        let changed = patch(json!({"rate_limit": 50, "scopes": ["open"]})).await.ok(200);
        assert_eq!((&changed["rate_limit"], &changed["scopes"]), (&json!(50), &json!(["open"])));
        assert_eq!(
            (&changed["client_name"], &changed["expires_at"]),
            (&key["client_name"], &key["expires_at"])
        );
        let answer = used(&server, plain).await;
        assert_eq!((answer.status.as_u16(), answer.header("x-ratelimit-limit")), (200, "50"));
        let ask = server.ask(Method::POST, "/api/lab/v1/run").key(plain.as_str().unwrap());
        ask.json(&json!({"do": "echo"})).send().await.is_error(403, "insufficient_scope");
        server.advance(3600);
        used(&server, plain).await.is_error(401, "authentication_required");
        patch(json!({"expires_at": null})).await.ok(200);
    }
}

#[tokio::test]
async fn an_owner_comes_to_be_with_its_first_key() {
    let server = server().await;
    let key = made(&server, &json!({"client_name": "x", "scopes": ["*"], "owner": "acme"})).await;
    assert_eq!(key["owner"], "acme");
    let path = format!("{ALL}/{}", key["id"].as_str().unwrap());
    admin(&server, Method::GET, &path).send().await.is_error(404, "not_found");
    admin(&server, Method::GET, &format!("{path}?owner=acme")).send().await.ok(200);
    let all = admin(&server, Method::GET, &format!("{ALL}?owner=acme")).send().await.ok(200);
    assert_eq!(all["total"], 1);
}

#[tokio::test]
async fn what_a_key_must_not_be_is_said_member_by_member() {
    let server = server().await;
    for (body, field) in [
        (json!({"scopes": ["*"]}), "client_name"),
        (json!({"client_name": "x"}), "scopes"),
        (json!({"client_name": "x", "scopes": ["*"], "rate_limit": 0}), "rate_limit"),
        (json!({"client_name": "x", "scopes": ["*"], "expires_at": "soon"}), "expires_at"),
        (
            json!({"client_name": "x", "scopes": ["*"], "expires_at": "2025-12-31T00:00:00Z"}),
            "expires_at",
        ),
        (json!({"client_name": "x", "scopes": ["*"], "tier": "gold"}), "tier"),
    ] {
        let answer = admin(&server, Method::POST, ALL).json(&body).send().await;
        let answer = answer.is_error(400, "validation_error");
        assert_eq!(answer["details"][0]["field"], field, "{answer}");
    }
    for body in
        [json!({"client_name": "x", "scopes": []}), json!({"client_name": "x", "scopes": ["A"]})]
    {
        let answer = admin(&server, Method::POST, ALL).json(&body).send().await;
        answer.is_error(400, "validation_error");
    }
    let none = format!("{ALL}/key_{}", "0".repeat(36));
    for method in [Method::GET, Method::PATCH, Method::DELETE] {
        admin(&server, method, &none).send().await.is_error(404, "not_found");
    }
}
