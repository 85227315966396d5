//! `/v1/keys`: typed keys.

use http::Method;
use serde_json::{Value, json};

use crate::world::{TestServer, client::Answer, golden::golden, server, setup};

async fn make(server: &TestServer, kind: &str) -> Value {
    server.post("/v1/keys", &json!({"name": "a", "type": kind})).await.ok(201)
}

fn text<'a>(made: &'a Value, member: &str) -> &'a str {
    made[member].as_str().unwrap()
}

async fn opens(server: &TestServer, key: &str) -> bool {
    server.ask(Method::GET, "/v1/tools").key(key).send().await.status.is_success()
}

#[tokio::test]
async fn the_example_of_the_product_makes_a_key() {
    let server = server().await;
    let answer =
        server.post("/v1/keys", &json!({"name": "My Integration", "type": "service"})).await;
    let made = answer.ok(201);
    let key = text(&made, "key");
    let shape = golden(&server, &answer).replace(key, "FULL");
    insta::assert_snapshot!(shape.replace(text(&made, "key_prefix"), "PREFIX"));
    assert!(key.starts_with("sk_svc_"));
    assert!(opens(&server, key).await);
}

#[tokio::test]
async fn every_type_has_its_form_and_its_life() {
    let server = server().await;
    server.advance(1);
    for (kind, prefix, end) in [
        ("user", "sk_user_", Value::Null),
        ("service", "sk_svc_", Value::Null),
        ("temporary", "sk_temp_", json!("2026-01-02T12:00:01Z")),
    ] {
        let made = make(&server, kind).await;
        assert!(text(&made, "key").starts_with(prefix), "{kind}");
        assert_eq!((&made["type"], &made["expires_at"]), (&json!(kind), &end));
        assert_eq!(made["scopes"], json!(["*"]));
    }
}

#[tokio::test]
async fn a_temporary_key_ends_and_lives_a_day_at_most() {
    let server = server().await;
    let body = json!({"name": "a", "type": "temporary", "expires_in": 60});
    let made = server.post("/v1/keys", &body).await.ok(201);
    assert!(opens(&server, text(&made, "key")).await);
    server.advance(60);
    assert!(!opens(&server, text(&made, "key")).await);
    for expires_in in [json!(86_401), json!(0), json!(-1), json!("60"), json!(1.5)] {
        let body = json!({"name": "a", "type": "temporary", "expires_in": expires_in});
        server.post("/v1/keys", &body).await.is_tools_error(400, "INVALID_REQUEST");
    }
}

#[tokio::test]
async fn what_is_missing_wrong_or_unknown_is_named() {
    let server = server().await;
    for (body, fields) in [
        (json!({}), &["name", "type"][..]),
        (json!({"name": "a"}), &["type"]),
        (json!({"name": "a", "type": "api"}), &["type"]),
        (json!({"name": "a", "type": "admin"}), &["type"]),
        (json!({"name": "", "type": "user"}), &["name"]),
        (json!({"name": "a\nb", "type": "user"}), &["name"]),
        (
            json!({"name": "a", "type": "user", "tenant_id": "x", "is_admin": true}),
            &["tenant_id", "is_admin"],
        ),
    ] {
        let error = server.post("/v1/keys", &body).await.is_tools_error(400, "INVALID_REQUEST");
        for field in fields {
            assert!(error["details"][field].is_string(), "{body} {error}");
        }
    }
    let odd = json!({"name": "a", "type": "user", "scopes": ["GitHub"]});
    server.post("/v1/keys", &odd).await.is_tools_error(400, "INVALID_REQUEST");
}

#[tokio::test]
async fn managing_keys_takes_its_scope_and_no_key_makes_a_stronger_one() {
    let server = server().await;
    let plain = server.key_of("default", "github").await;
    let manager = server.key_of("default", "keys,github").await;
    let ask =
        |key: &str, body: Value| server.ask(Method::POST, "/v1/keys").key(key).json(&body).send();
    let wanted = |scopes: Value| json!({"name": "a", "type": "service", "scopes": scopes});
    // Refused before its body is looked at.
    ask(&plain, json!({"nonsense": 1})).await.is_tools_error(403, "FORBIDDEN");
    server.ask(Method::GET, "/v1/keys").key(&plain).send().await.is_tools_error(403, "FORBIDDEN");
    for scopes in [json!(["*"]), json!(["gmail"]), json!("github,gmail")] {
        ask(&manager, wanted(scopes)).await.is_tools_error(403, "FORBIDDEN");
    }
    // Without scopes it would be `*`.
    ask(&manager, json!({"name": "a", "type": "user"})).await.is_tools_error(403, "FORBIDDEN");
    for scopes in [json!(["github"]), json!("keys"), json!(["github/get_repo"])] {
        ask(&manager, wanted(scopes)).await.ok(201);
    }
}

#[tokio::test]
async fn keys_are_listed_by_pages_and_without_themselves() {
    let server = server().await;
    let mut secrets = Vec::new();
    for _ in 0..4 {
        server.advance(1);
        secrets.push(text(&make(&server, "service").await, "key").to_owned());
    }
    let answer = server.get("/v1/keys?limit=2&offset=1").await;
    let page = answer.ok(200);
    assert_eq!((&page["total"], &page["has_more"]), (&json!(5), &json!(true)));
    assert_eq!(page["items"].as_array().unwrap().len(), 2);
    assert_eq!(page["items"][0]["type"], "service");
    let all = server.get("/v1/keys").await;
    assert!(secrets.iter().all(|key| !all.text().contains(key)));
    assert_eq!(all.ok(200)["items"][4]["type"], "api");
    server.get("/v1/keys?limit=0").await.is_tools_error(400, "INVALID_REQUEST");
}

#[tokio::test]
async fn a_revoked_key_opens_nothing_at_once_and_a_temporary_one_is_not_revoked_here() {
    let server = server().await;
    for kind in ["user", "service"] {
        let made = make(&server, kind).await;
        let gone = server.delete(&format!("/v1/keys/{}", text(&made, "id"))).await;
        assert_eq!((gone.status.as_u16(), gone.body.len()), (204, 0));
        assert!(!opens(&server, text(&made, "key")).await);
    }
    let made = make(&server, "temporary").await;
    let path = format!("/v1/keys/{}", text(&made, "id"));
    server.delete(&path).await.is_tools_error(403, "FORBIDDEN");
    assert!(opens(&server, text(&made, "key")).await);
}

async fn rotate(server: &TestServer, made: &Value, body: Value) -> Answer {
    server.post(&format!("/v1/keys/{}/rotate", text(made, "id")), &body).await
}

#[tokio::test]
async fn a_service_key_is_rotated_with_an_overlap() {
    let server = server().await;
    let old = make(&server, "service").await;
    let new = rotate(&server, &old, json!({"overlap": 120})).await.ok(201);
    assert_ne!((&new["id"], &new["key"]), (&old["id"], &old["key"]));
    assert_eq!((&new["name"], &new["type"]), (&old["name"], &old["type"]));
    assert!(opens(&server, text(&old, "key")).await && opens(&server, text(&new, "key")).await);
    server.advance(120);
    assert!(!opens(&server, text(&old, "key")).await && opens(&server, text(&new, "key")).await);
}

#[tokio::test]
async fn a_user_key_ends_when_it_is_rotated_and_a_temporary_one_is_not() {
    let server = server().await;
    let old = make(&server, "user").await;
    let new = rotate(&server, &old, json!({})).await.ok(201);
    assert!(!opens(&server, text(&old, "key")).await && opens(&server, text(&new, "key")).await);
    rotate(&server, &old, json!({})).await.is_tools_error(409, "INVALID_REQUEST");
    let temporary = make(&server, "temporary").await;
    rotate(&server, &temporary, json!({})).await.is_tools_error(403, "FORBIDDEN");
}

#[tokio::test]
async fn a_rotation_is_strict() {
    let server = server().await;
    let made = make(&server, "service").await;
    for body in [
        json!({"overlap": -1}),
        json!({"overlap": "1"}),
        json!({"x": 1}),
        json!({"overlap": 604_801}),
    ] {
        rotate(&server, &made, body).await.is_tools_error(400, "INVALID_REQUEST");
    }
    let manager = server.key_of("default", "keys").await;
    let path = format!("/v1/keys/{}/rotate", text(&made, "id"));
    let ask = server.ask(Method::POST, &path).key(&manager).json(&json!({}));
    ask.send().await.is_tools_error(403, "FORBIDDEN");
}

#[tokio::test]
async fn another_owners_key_is_like_one_that_does_not_exist() {
    let server = server().await;
    let made = make(&server, "service").await;
    let stranger = server.key_of("acme", "*").await;
    let id = text(&made, "id");
    let missing = format!("key_{}", "0".repeat(id.len() - 4));
    for (method, rest) in [(Method::DELETE, ""), (Method::POST, "/rotate")] {
        let ask = async |id: &str| {
            let path = format!("/v1/keys/{id}{rest}");
            server.ask(method.clone(), &path).key(&stranger).send().await
        };
        let unknown = ask(&missing).await;
        unknown.is_tools_error(404, "NOT_FOUND");
        for other in [id, "nonsense", "hook_x"] {
            assert_eq!(ask(other).await.body, unknown.body, "{other}");
        }
    }
    assert!(opens(&server, text(&made, "key")).await);
}

#[tokio::test]
async fn a_plan_may_allow_no_more_keys() {
    let server = setup().plan("free").start().await;
    let answer = server.post("/v1/keys", &json!({"name": "a", "type": "user"})).await;
    let error = answer.is_tools_error(403, "FORBIDDEN");
    assert_eq!(error["details"]["reason"], "plan_limit_reached");
    assert!(error["details"]["action_url"].as_str().unwrap().ends_with("/limits"));
}
