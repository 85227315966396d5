//! Which paths there are: methods, unknown paths, spellings, reserved words.

use http::Method;
use serde_json::{Value, json};

use crate::world::{TestServer, client, server};

/// Every path of the public door, and the methods that it allows.
const PATHS: [(&str, &str); 31] = [
    ("/v1/github/create_issue", "POST"),
    ("/v1/connect", "POST"),
    ("/v1/connect/conn_x", "GET, HEAD"),
    ("/v1/connections", "GET, HEAD"),
    ("/v1/connections/conn_x", "DELETE, GET, HEAD, PATCH"),
    ("/api-keys", "GET, HEAD, POST"),
    ("/api-keys/key_x", "DELETE"),
    ("/v1/tools", "GET, HEAD"),
    ("/v1/tools/x", "GET, HEAD"),
    ("/v1/tools/x/invoke", "POST"),
    ("/v1/executions", "GET, HEAD"),
    ("/v1/executions/exec_x", "DELETE, GET, HEAD"),
    ("/executions/exec_x", "DELETE, GET, HEAD"),
    ("/v1/executions/exec_x/events", "GET, HEAD"),
    ("/v1/executions/exec_x/result", "GET, HEAD"),
    ("/v1/executions/exec_x/calls", "GET, HEAD"),
    ("/v1/keys", "GET, HEAD, POST"),
    ("/v1/keys/rotate", "DELETE"),
    ("/v1/keys/key_x/rotate", "POST"),
    ("/v1/webhooks/x", "DELETE, GET, HEAD, PATCH"),
    ("/v1/webhooks/x/rotate", "POST"),
    ("/v1/webhooks/x/test", "POST"),
    ("/v1/webhooks/x/deliveries", "GET, HEAD"),
    ("/v1/webhooks/x/deliveries/y/replay", "POST"),
    ("/v1/quotas", "GET, HEAD"),
    ("/connect/token", "GET, HEAD, POST"),
    ("/oauth/callback", "GET, HEAD"),
    ("/limits", "GET, HEAD"),
    ("/healthz", "GET, HEAD"),
    ("/readyz", "GET, HEAD"),
    ("/openapi.json", "GET, HEAD"),
];

const METHODS: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"];

#[tokio::test]
async fn a_wrong_method_is_405_with_allow_and_without_a_key() {
    let server = server().await;
    for (path, allowed) in PATHS {
        for method in METHODS.iter().filter(|method| !allowed.contains(*method)) {
            let answer = server.ask(method.parse().unwrap(), path).send().await;
            assert_eq!(answer.status.as_u16(), 405, "{method} {path}");
            assert_eq!(answer.header("allow"), allowed, "{method} {path}");
            assert_eq!(answer.header("access-control-allow-origin"), "");
        }
    }
}

#[tokio::test]
async fn metrics_allow_get_only() {
    let server = server().await;
    let answer = server.ask(Method::POST, "/metrics").send().await;
    assert_eq!((answer.status.as_u16(), answer.header("allow")), (405, "GET, HEAD"));
}

#[tokio::test]
async fn a_405_has_the_shape_of_its_dialect() {
    let server = server().await;
    let answer = server.ask(Method::PUT, "/v1/connect").send().await;
    answer.is_error(405, "bad_request");
}

#[tokio::test]
async fn trace_and_connect_are_405_whatever_the_path() {
    let server = server().await;
    let host = server.address.to_string();
    for target in ["/", "/v1/tools", "/nowhere"] {
        let answer = server.raw_head(&format!("TRACE {target}"), &host, "X-Secret: s\r\n").await;
        assert_eq!(client::status(&answer), 405, "{answer}");
        assert!(!answer.contains("X-Secret"), "{answer}");
    }
    let answer = server.raw_head("CONNECT 127.0.0.1:1", "127.0.0.1:1", "").await;
    assert_eq!(client::status(&answer), 405, "{answer}");
}

/// Checks an unknown path, with and without a key.
async fn unknown(server: &TestServer, path: &str) -> Value {
    let without = server.ask(Method::GET, path).send().await;
    let with = server.get(path).await;
    assert_eq!((without.status.as_u16(), with.status.as_u16()), (404, 404), "{path}");
    assert_eq!(without.body, with.body, "{path}");
    without.json()
}

#[tokio::test]
async fn unknown_paths_answer_in_the_shape_of_their_dialect() {
    let server = server().await;
    for path in
        ["/", "/nope", "/v1", "/v1/nope", "/v1/a/b/c", "/auth/nope", "/api-keys/a/b", "/x/y"]
    {
        assert_eq!(unknown(&server, path).await["error"], "not_found", "{path}");
    }
    for path in ["/api/nope", "/admin/nope", "/webhooks/nope/more"] {
        let error = unknown(&server, path).await["error"].as_str().unwrap().to_owned();
        assert!(error == "skill_not_found" || error == "not_found", "{path} {error}");
    }
    for path in [
        "/v1/tools/a/b/c",
        "/v1/executions/a/b",
        "/v1/keys/a/b/c",
        "/v1/webhooks/a/b/c",
        "/v1/quotas/a",
        "/executions/a/b",
    ] {
        let body = unknown(&server, path).await;
        let error = &body["error"];
        assert_eq!(error["code"], "NOT_FOUND", "{path}");
        assert_eq!(error["retryable"], false, "{path}");
        for member in ["message", "suggestion", "support"] {
            assert!(error[member].is_string(), "{path} {member}");
        }
        assert!(error["details"].is_object(), "{path}");
    }
}

#[tokio::test]
async fn unknown_pages_answer_as_pages() {
    let server = server().await;
    for path in ["/connect/nope", "/connect/a/b"] {
        let answer = server.ask(Method::GET, path).send().await;
        assert_eq!(answer.status.as_u16(), 404, "{path}");
        assert!(answer.header("content-type").starts_with("text/html"), "{path}");
        assert!(answer.header("content-security-policy").contains("frame-ancestors 'none'"));
    }
}

#[tokio::test]
async fn no_spelling_of_a_path_is_normalised() {
    let server = server().await;
    let host = server.address.to_string();
    for path in [
        "/v1/connect/",
        "//v1/connect",
        "/v1//connect",
        "/v1/./connect",
        "/v1/x/../connect",
        "/v1/%63onnect",
        "/v1/open/%2e%2e",
        "/v1/open/get%5fitem",
        "/v1/open/Get_item",
        "/v1/Open/get_item",
        "/V1/open/get_item",
        "/v1/open/get_item/",
        "/v1/open/get_item;x",
        "/v1/open/..",
        "/v1/open/_x",
        "/Api-Keys",
        "/api-keys/",
        "/healthz/",
        "/healthz%00",
        "/connect/",
    ] {
        for key in [String::new(), format!("Authorization: Bearer {}\r\n", server.key)] {
            let answer = server.raw_head(&format!("POST {path}"), &host, &key).await;
            assert_eq!(client::status(&answer), 404, "{path} {answer}");
        }
    }
}

#[tokio::test]
async fn a_target_that_is_no_url_is_answered_like_anything_else() {
    let server = server().await;
    let host = server.address.to_string();
    for target in ["/connect/<b>", "/v1/open/<", "/v1/connect?a=<"] {
        let answer = server.raw_head(&format!("GET {target}"), &host, "").await;
        assert_eq!(client::status(&answer), 400, "{target} {answer}");
        assert!(client::header(&answer, "x-request-id").starts_with("req_"), "{answer}");
        assert!(client::body(&answer).contains("bad_request"), "{answer}");
    }
}

#[tokio::test]
async fn reserved_words_never_reach_an_integration() {
    let server = server().await;
    for word in [
        "admin",
        "agent-webhooks",
        "agents",
        "api-keys",
        "api_keys",
        "approvals",
        "apps",
        "artifacts",
        "audit",
        "auth",
        "connect",
        "connections",
        "conversations",
        "executions",
        "keys",
        "mcp",
        "memories",
        "quotas",
        "scheduled-jobs",
        "sessions",
        "skills",
        "tools",
        "triggers",
        "users",
        "webhooks",
        ".well-known",
        "_operator",
    ] {
        let answer = server.post(&format!("/v1/{word}/run"), &json!({})).await;
        let status = answer.status.as_u16();
        assert!(status == 404 || status == 405, "{word} {status}");
        assert!(!answer.text().contains("action"), "{word} {}", answer.text());
    }
}

#[tokio::test]
async fn unknown_query_parameters_are_ignored_and_never_forwarded() {
    let server = server().await;
    server.answers("GET", "/search", crate::world::provider::json(200, "[]")).await;
    let path = "/v1/open/search?admin=1&admin=2&q=x";
    server.post(path, &json!({})).await.ok(200);
    assert_eq!(server.upstream_saw().await, ["GET /search"]);
}

#[tokio::test]
async fn query_parameters_are_strict() {
    let server = server().await;
    for query in [
        "limit=0",
        "limit=101",
        "limit=-1",
        "limit=abc",
        "limit=",
        "limit=1&limit=1",
        "offset=-5",
        "offset=9223372036854775808",
        "limit=1e1",
        "offset=1.0",
    ] {
        let answer = server.get(&format!("/v1/connections?{query}")).await;
        answer.is_error(400, "bad_request");
    }
    let far = "/v1/connections?limit=100&offset=9223372036854775807&cursor=x";
    let page = server.get(far).await.ok(200);
    assert_eq!(page["items"], json!([]));
    assert_eq!(page["has_more"], false);
}

#[tokio::test]
async fn head_is_get_without_its_body() {
    let server = server().await;
    for path in ["/healthz", "/openapi.json", "/v1/connections", "/limits"] {
        let (get, head) =
            (server.get(path).await, server.with_key(Method::HEAD, path).send().await);
        assert_eq!(head.status, get.status, "{path}");
        assert!(head.body.is_empty(), "{path}");
        assert_eq!(head.header("content-type"), get.header("content-type"), "{path}");
        assert_eq!(head.header("content-length"), get.header("content-length"), "{path}");
    }
}
