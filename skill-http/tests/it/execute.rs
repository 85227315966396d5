//! `POST /v1/{integration}/{endpoint}`: the product's own example, as golden files.

use serde_json::json;

use crate::errors::opens;
use crate::world::{
    golden::golden,
    provider::{ISSUE, issue, json, typed},
    server, setup,
};

const ISSUES: &str = "/repos/acme/webapp/issues";

#[tokio::test]
async fn the_example_of_the_product_comes_out() {
    let server = server().await;
    server.with_github().await;
    server.answers("POST", ISSUES, json(201, ISSUE)).await;
    let answer = server.create_issue().await;
    insta::assert_snapshot!(golden(&server, &answer));
    let seen = server.upstream.received_requests().await.unwrap();
    let sent = seen.last().unwrap();
    assert_eq!(sent.headers["authorization"], "Bearer access-canary");
    let body = json!({
        "title": "Bug report", "body": "Steps to reproduce...", "labels": ["bug", "priority"],
    });
    assert_eq!(sent.body_json::<serde_json::Value>().unwrap(), body);
}

#[tokio::test]
async fn an_error_of_the_service_comes_in_the_envelope() {
    let server = server().await;
    server.with_github().await;
    let body = r#"{"message":"Validation Failed","errors":[{"code":"missing_field"}]}"#;
    server.answers("POST", ISSUES, json(422, body)).await;
    insta::assert_snapshot!(golden(&server, &server.create_issue().await));
}

#[tokio::test]
async fn without_a_connection_there_is_a_page_to_make_one() {
    let server = server().await;
    let answer = server.create_issue().await;
    insta::assert_snapshot!(golden(&server, &answer));
    opens(&server, &answer.json()).await;
    assert!(server.upstream_saw().await.is_empty());
}

#[tokio::test]
async fn a_dead_grant_ends_in_a_page_to_mend_it() {
    let server = server().await;
    let id = server.with_github().await;
    server.answers("POST", ISSUES, json(401, r#"{"message":"Bad credentials"}"#)).await;
    let refused = json(200, r#"{"error":"bad_refresh_token"}"#);
    server.answers("POST", "/login/oauth/access_token", refused).await;
    let answer = server.create_issue().await;
    insta::assert_snapshot!(golden(&server, &answer));
    opens(&server, &answer.json()).await;
    let status = server.get(&format!("/v1/connections/{id}")).await.ok(200);
    assert_eq!(status["status"], "expired");
    // Nothing is sent any more until a person has mended it.
    let before = server.upstream_saw().await.len();
    server.create_issue().await.is_error(401, "token_expired");
    assert_eq!(server.upstream_saw().await.len(), before);
}

#[tokio::test]
async fn a_second_401_leaves_the_connection_as_it_is() {
    let server = server().await;
    let id = server.with_github().await;
    server.answers("POST", ISSUES, json(401, "{}")).await;
    let fresh = json(200, r#"{"access_token":"fresh","token_type":"bearer"}"#);
    server.answers("POST", "/login/oauth/access_token", fresh).await;
    let body = server.create_issue().await.is_error(401, "token_expired");
    opens(&server, &body).await;
    let seen = server.upstream_saw().await;
    assert_eq!(seen.iter().filter(|line| line.ends_with(ISSUES)).count(), 2, "{seen:?}");
    let status = server.get(&format!("/v1/connections/{id}")).await.ok(200);
    assert_eq!(status["status"], "connected");
}

#[tokio::test]
async fn an_expired_token_is_renewed_once_and_the_call_repeated() {
    let server = server().await;
    server.with_github().await;
    server
        .reacts("POST", ISSUES, |request| {
            let is_fresh = request.headers["authorization"] == "Bearer fresh";
            if is_fresh { json(201, ISSUE) } else { json(401, "{}") }
        })
        .await;
    let fresh = json(200, r#"{"access_token":"fresh","refresh_token":"next"}"#);
    server.answers("POST", "/login/oauth/access_token", fresh).await;
    assert_eq!(server.create_issue().await.ok(200)["status"], 201);
    assert_eq!(server.create_issue().await.ok(200)["status"], 201);
    let seen = server.upstream_saw().await;
    let renewals = seen.iter().filter(|line| line.ends_with("access_token")).count();
    assert_eq!(renewals, 1, "{seen:?}");
}

#[tokio::test]
async fn an_unknown_integration_and_an_unknown_endpoint_are_not_found() {
    let server = server().await;
    insta::assert_snapshot!(golden(&server, &server.call("nope/create_issue", json!({})).await));
    server.call("github/nope", json!({})).await.is_error(404, "not_found");
    server.call("nope/nope", json!({"anything": [1]})).await.is_error(404, "not_found");
}

#[tokio::test]
async fn bad_parameters_are_named_one_by_one() {
    let server = server().await;
    server.with_github().await;
    let before = server.upstream_saw().await.len();
    let params = json!({"repo": "../../user", "labels": "bug"});
    insta::assert_snapshot!(golden(&server, &server.call("github/create_issue", params).await));
    assert_eq!(server.upstream_saw().await.len(), before, "nothing was sent");
}

#[tokio::test]
async fn a_key_without_the_scope_is_refused_before_anything_is_looked_up() {
    let server = server().await;
    let key = server.key_of("default", "open,honest/get_item").await;
    for path in ["/v1/github/create_issue", "/v1/github/nope", "/v1/unknown/x", "/v1/honest/whoami"]
    {
        let ask = server.ask(http::Method::POST, path).key(&key).json(&json!({}));
        ask.send().await.is_error(403, "scope_not_allowed");
    }
    let ask = server.ask(http::Method::POST, "/v1/honest/get-item").key(&key);
    let body = ask.json(&json!({"params": {"item": "1"}})).send().await;
    body.is_error(403, "integration_not_connected");
}

#[tokio::test]
async fn hyphens_and_underscores_are_alike() {
    let server = server().await;
    server.answers("GET", "/items/1", json(200, "1")).await;
    for action in ["open/get_item", "open/get-item"] {
        let answer = server.call(action, json!({"item": "1"})).await.ok(200);
        assert_eq!(answer, json!({"status": 200, "data": 1}));
    }
}

#[tokio::test]
async fn undeclared_parameters_are_ignored_and_never_forwarded() {
    let server = server().await;
    server.answers("GET", "/items/1", json(200, "{}")).await;
    let params = json!({
        "item": "1", "Authorization": "Bearer evil", "base_url": "http://evil.test", "x": [1],
    });
    server.call("open/get_item", params).await.ok(200);
    assert_eq!(server.upstream_saw().await, ["GET /items/1"]);
    let seen = server.upstream.received_requests().await.unwrap();
    assert!(!seen[0].headers.contains_key("authorization"));
}

#[tokio::test]
async fn unknown_members_of_the_envelope_are_refused() {
    let server = server().await;
    for body in [
        json!({"params": {"item": "1"}, "extra": 1}),
        json!({"item": "1"}),
        json!({"params": []}),
        json!({"params": {"item": "1"}, "connection": 5}),
    ] {
        let answer = server.post("/v1/open/get_item", &body).await;
        answer.is_error(400, "bad_request");
    }
    assert!(server.upstream_saw().await.is_empty());
}

#[tokio::test]
async fn a_body_or_params_that_are_missing_mean_no_parameters() {
    let server = server().await;
    server.answers("GET", "/search", json(200, "[]")).await;
    for body in ["", "{}", r#"{"params":null}"#, r#"{"params":{}}"#] {
        let ask = server.with_key(http::Method::POST, "/v1/open/search").body(body);
        assert_eq!(ask.send().await.ok(200)["data"], json!([]), "{body}");
    }
}

#[tokio::test]
async fn a_value_stays_in_its_place() {
    let server = server().await;
    server.answers("GET", "/search", json(200, "[]")).await;
    server.call("open/search", json!({"q": "a&admin=true#x"})).await.ok(200);
    for params in [
        json!({"item": ".."}),
        json!({"item": "."}),
        json!({"item": ""}),
        json!({"item": "1", "tag": "v\r\nEvil: 1"}),
        json!({"item": "1", "tag": "x".repeat(9000)}),
        json!({"item": "x".repeat(9000)}),
    ] {
        server.call("open/get_item", params).await.is_error(400, "bad_request");
    }
    assert_eq!(server.upstream_saw().await, ["GET /search?q=a%26admin%3Dtrue%23x"]);
}

#[tokio::test]
async fn every_scheme_signs_in_its_own_place() {
    let server = server().await;
    server.knows_everybody().await;
    server.answers("GET", "/items/1", json(200, "{}")).await;
    server.connected("keyed", json!({"api_key": "k1"})).await;
    server.connected("queried", json!({"api_key": "k 2"})).await;
    server.connected("tokened", json!({"token": "t3"})).await;
    server.connected("basic", json!({"username": "u", "password": "p"})).await;
    let mut signed = Vec::new();
    for integration in ["keyed", "queried", "tokened", "basic"] {
        server.call(&format!("{integration}/get_item"), json!({"item": "1"})).await.ok(200);
        let seen = server.upstream.received_requests().await.unwrap();
        let last = seen.last().unwrap();
        let header = |name: &str| last.headers.get(name).map_or("", |v| v.to_str().unwrap());
        let query = last.url.query().unwrap_or_default();
        signed.push(format!("{}|{}|{query}", header("x-key"), header("authorization")));
    }
    assert_eq!(signed, ["k1||", "||key=k+2", "|Bearer t3|", "|Basic dTpw|"]);
}

#[tokio::test]
async fn a_401_that_cannot_be_renewed_comes_in_the_envelope_and_is_noted() {
    let server = server().await;
    server.knows_everybody().await;
    let id = server.connected("keyed", json!({"api_key": "k1"})).await;
    server.answers("GET", "/items/1", typed(401, b"no", "text/plain")).await;
    let answer = server.call("keyed/get_item", json!({"item": "1"})).await.ok(200);
    assert_eq!(answer, json!({"status": 401, "error": "no"}));
    let shown = server.get(&format!("/v1/connections/{id}")).await.ok(200);
    assert_eq!(shown["status"], "connected");
    assert!(shown["last_error"].as_str().unwrap().contains("401"), "{shown}");
}

#[tokio::test]
async fn a_call_works_the_same_over_a_store_on_disk() {
    let server = setup().on_disk().start().await;
    server.with_github().await;
    server.answers("POST", ISSUES, json(201, ISSUE)).await;
    assert_eq!(server.create_issue().await.ok(200)["status"], 201);
    let file = std::fs::read(server.directory.as_ref().unwrap().path().join("skill.db")).unwrap();
    let holds = |text: &str| file.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(!holds("access-canary") && !holds(&server.key));
    assert_eq!(issue()["title"], "Bug report");
}
