//! `/api-keys`, and which keys open what.

use http::Method;
use serde_json::{Value, json};

use crate::world::{TestServer, client, golden::golden, server, setup};

async fn make(server: &TestServer, body: Value) -> (String, String) {
    let made = server.post("/api-keys", &body).await.ok(201);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    (text(&made["api_key"]["id"]), text(&made["full_key"]))
}

/// Whether a key opens the list of connections.
async fn status_with(server: &TestServer, key: &str) -> u16 {
    server.ask(Method::GET, "/v1/connections").key(key).send().await.status.as_u16()
}

#[tokio::test]
async fn a_key_is_shown_in_full_once() {
    let server = server().await;
    server.advance(1);
    let answer = server.post("/api-keys", &json!({"name": "agent"})).await;
    let made = answer.ok(201);
    let full = made["full_key"].as_str().unwrap();
    let shape = golden(&server, &answer).replace(full, "FULL");
    let shape = shape.replace(made["api_key"]["key_prefix"].as_str().unwrap(), "PREFIX");
    insta::assert_snapshot!(shape);
    assert!(full.starts_with("sk_") && full.len() >= 3 + 32 + 6, "{full}");
    let list = server.get("/api-keys").await;
    assert!(!list.text().contains(full));
    let listed = list.ok(200);
    assert_eq!(listed[0], made["api_key"]);
    assert_eq!(listed.as_array().unwrap().len(), 2);
    assert_eq!(status_with(&server, full).await, 200);
}

#[tokio::test]
async fn scopes_come_as_a_list_or_as_text_with_commas() {
    let server = server().await;
    for scopes in [json!(["github", "gmail"]), json!("github,gmail"), json!("gmail, github")] {
        let body = json!({"name": "a", "scopes": scopes});
        let made = server.post("/api-keys", &body).await.ok(201);
        assert_eq!(made["api_key"]["scopes"], json!(["github", "gmail"]));
    }
    for scopes in
        [json!([]), json!(""), json!(["GitHub"]), json!([1]), json!({"a": 1}), json!("a b")]
    {
        let body = json!({"name": "a", "scopes": scopes});
        server.post("/api-keys", &body).await.is_error(400, "bad_request");
    }
}

#[tokio::test]
async fn a_key_makes_no_key_with_more_than_its_own_scopes() {
    let server = server().await;
    let narrow = server.key_of("default", "keys,github").await;
    let ask = |scopes: Value| {
        let body = json!({"name": "a", "scopes": scopes});
        server.ask(Method::POST, "/api-keys").key(&narrow).json(&body)
    };
    for scopes in [json!(["*"]), json!(["gmail"]), json!("github,gmail"), json!(["gmail/send"])] {
        ask(scopes).send().await.is_error(403, "scope_not_allowed");
    }
    for scopes in [json!(["github"]), json!(["github/get_repo"]), json!("keys")] {
        ask(scopes).send().await.ok(201);
    }
    // Without scopes it would be `*`.
    let body = json!({"name": "a"});
    let ask = server.ask(Method::POST, "/api-keys").key(&narrow).json(&body);
    ask.send().await.is_error(403, "scope_not_allowed");
}

#[tokio::test]
async fn names_have_1_to_200_characters_without_control_characters() {
    let server = server().await;
    for name in ["", "a\nb", "a\u{0}b", "\u{7f}", "a\u{85}b", &"x".repeat(201)] {
        let answer = server.post("/api-keys", &json!({"name": name})).await;
        let body = answer.is_error(400, "bad_request");
        assert_eq!(body["details"][0]["field"], "name");
    }
    for name in ["x", "<b>ünï</b> 'x'", &"é".repeat(200)] {
        let made = server.post("/api-keys", &json!({"name": name})).await.ok(201);
        assert_eq!(made["api_key"]["name"], name);
    }
    server.post("/api-keys", &json!({})).await.is_error(400, "bad_request");
}

#[tokio::test]
async fn unknown_members_are_refused() {
    let server = server().await;
    let body = json!({"name": "x", "tenant_id": "acme", "is_admin": true, "owner": "acme"});
    let body = server.post("/api-keys", &body).await.is_error(400, "bad_request");
    assert_eq!(body["details"].as_array().unwrap().len(), 3, "{body}");
}

#[tokio::test]
async fn a_key_ends_when_it_was_said_to() {
    let server = server().await;
    server.advance(1);
    let (_, key) = make(&server, json!({"name": "short", "expires_in": 60})).await;
    server.advance(59);
    assert_eq!(status_with(&server, &key).await, 200);
    server.advance(1);
    assert_eq!(status_with(&server, &key).await, 401);
    let listed = server.get("/api-keys").await.ok(200);
    assert_eq!(listed[0]["expires_at"], "2026-01-01T12:01:01Z");
    for expires_in in [json!(0), json!(-1), json!(1.5), json!("60"), json!(u64::MAX)] {
        let body = json!({"name": "a", "expires_in": expires_in});
        server.post("/api-keys", &body).await.is_error(400, "bad_request");
    }
}

#[tokio::test]
async fn a_revoked_key_opens_nothing_at_once() {
    let server = server().await;
    server.advance(1);
    let (id, key) = make(&server, json!({"name": "a"})).await;
    assert_eq!(status_with(&server, &key).await, 200);
    let gone = server.delete(&format!("/api-keys/{id}")).await;
    assert_eq!((gone.status.as_u16(), gone.body.len()), (204, 0));
    assert_eq!(status_with(&server, &key).await, 401);
    let listed = server.get("/api-keys").await.ok(200);
    assert_eq!(listed[0]["revoked_at"], "2026-01-01T12:00:01Z");
}

#[tokio::test]
async fn another_owners_key_is_like_one_that_does_not_exist() {
    let server = server().await;
    let (id, key) = make(&server, json!({"name": "a"})).await;
    let stranger = server.key_of("acme", "*").await;
    let delete = |id: &str| server.ask(Method::DELETE, &format!("/api-keys/{id}")).key(&stranger);
    let foreign = delete(&id).send().await;
    foreign.is_error(404, "not_found");
    let missing = format!("key_{}", "0".repeat(id.len() - 4));
    for other in [missing.as_str(), "key_", "nonsense", "conn_x"] {
        assert_eq!(delete(other).send().await.body, foreign.body, "{other}");
    }
    assert_eq!(status_with(&server, &key).await, 200);
    let list = server.ask(Method::GET, "/api-keys").key(&stranger).send().await;
    assert!(!list.text().contains(&id), "{}", list.text());
}

#[tokio::test]
async fn a_key_made_with_a_key_belongs_to_its_owner() {
    let server = server().await;
    let acme = server.key_of("acme", "*").await;
    let ask = server.ask(Method::POST, "/api-keys").key(&acme).json(&json!({"name": "b"}));
    // The header is the operator's.
    let made = ask.header("skill-owner", "default").send().await.ok(201);
    let id = made["api_key"]["id"].as_str().unwrap();
    let list = server.ask(Method::GET, "/api-keys").key(&acme).send().await;
    assert!(list.text().contains(id));
    assert!(!server.get("/api-keys").await.text().contains(id));
}

#[tokio::test]
async fn a_key_stands_in_one_of_two_headers() {
    let server = server().await;
    let path = "/v1/connections";
    let other = server.key_of("default", "*").await;
    let ask = || server.ask(Method::GET, path);
    ask().header("x-api-key", &server.key).send().await.ok(200);
    ask().header("authorization", &format!("bearer {}", server.key)).send().await.ok(200);
    ask().key(&server.key).header("x-api-key", &server.key).send().await.ok(200);
    for ask in [
        ask().key(&server.key).header("x-api-key", &other),
        ask().key(&server.key).key(&server.key),
        ask().header("x-api-key", &server.key).header("x-api-key", &server.key),
        ask().key(&server.key).header("authorization", "Basic YTpi"),
        ask().header("authorization", &server.key),
        ask().header("x-api-key", &format!("{} x", server.key)),
    ] {
        ask.send().await.is_error(401, "unauthorized");
    }
}

#[tokio::test]
async fn a_key_that_is_not_visible_ascii_is_no_key() {
    let server = server().await;
    let host = server.address.to_string();
    for field in ["X-Api-Key: sk_\u{e9}", "Authorization: Bearer sk_\u{e9}", "X-Api-Key: a\tb"] {
        let answer = server.raw_head("GET /v1/connections", &host, &format!("{field}\r\n")).await;
        assert_eq!(client::status(&answer), 401, "{field}");
    }
}

#[tokio::test]
async fn a_query_parameter_or_a_cookie_is_never_a_key() {
    let server = server().await;
    let key = &server.key;
    for name in ["api_key", "key", "access_token", "token", "x-api-key"] {
        let path = format!("/v1/connections?{name}={key}");
        server.ask(Method::GET, &path).send().await.is_error(401, "unauthorized");
        let ask = server.ask(Method::GET, "/v1/connections");
        let ask = ask.header("cookie", &format!("{name}={key}"));
        ask.send().await.is_error(401, "unauthorized");
    }
}

#[tokio::test]
async fn wrong_keys_are_limited_per_address_and_never_slow_a_good_one() {
    let server = setup().wrong_keys(3).start().await;
    for left in [2, 1, 0] {
        let ask = server.ask(Method::GET, "/v1/connections").key("sk_wrong").send().await;
        ask.is_error(401, "unauthorized");
        assert_eq!(ask.header("x-ratelimit-remaining"), left.to_string());
    }
    let refused = server.ask(Method::GET, "/v1/connections").key("sk_wrong").send().await;
    let body = refused.is_error(429, "rate_limit_exceeded");
    assert_eq!(refused.header("retry-after"), body["retry_after"].to_string());
    server.get("/v1/connections").await.ok(200);
    // Whoever shows no key guesses nothing.
    server.ask(Method::GET, "/v1/connections").send().await.is_error(401, "unauthorized");
    server.advance(body["retry_after"].as_u64().unwrap());
    assert_eq!(status_with(&server, "sk_wrong").await, 401);
}

#[tokio::test]
async fn a_key_acts_for_the_user_that_is_named_and_for_no_other() {
    let server = server().await;
    server.knows_everybody().await;
    let hand = json!({"integration": "keyed", "credentials": {"api_key": "k"}});
    let ask = server.with_key(Method::POST, "/v1/connect").header("skill-user", "ann");
    let made = ask.json(&hand).send().await.ok(200);
    let path = format!("/v1/connections/{}", made["connection_id"].as_str().unwrap());
    let get = |user: &str| server.with_key(Method::GET, &path).header("skill-user", user);
    get("ann").send().await.ok(200);
    let other = get("bob").send().await;
    other.is_error(404, "not_found");
    assert_eq!(server.get(&path).await.body, other.body);
    get("a b").send().await.is_error(400, "bad_request");
    get("ann").header("skill-user", "bob").send().await.is_error(400, "bad_request");
}
