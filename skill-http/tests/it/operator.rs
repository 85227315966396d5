//! The operator's routes: at the operator's door, and nowhere else.

use bytes::Bytes;
use http::{Method, Request};
use serde_json::{Value, json};
use tokio::{
    io::AsyncWriteExt,
    net::{UnixListener, UnixStream},
};
use tokio_util::sync::CancellationToken;

use crate::world::{TestServer, client, provider::json, server};

/// Asks at the operator's door, for an owner.
async fn operate(
    server: &TestServer,
    method: Method,
    path: &str,
    owner: &str,
    body: Value,
) -> (u16, Value) {
    let body = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
    let request = Request::builder().method(method).uri(path).header("skill-owner", owner);
    let answer = server.server.operator(request.body(body).unwrap()).await;
    let value = serde_json::from_slice(answer.body()).unwrap_or(Value::Null);
    (answer.status().as_u16(), value)
}

const ROUTES: [(&str, &str); 16] = [
    ("GET", "/_operator/seal"),
    ("POST", "/_operator/seal/rotate"),
    ("POST", "/_operator/revoke"),
    ("POST", "/_operator/held"),
    ("POST", "/_operator/held/exec_x"),
    ("GET", "/_operator/checkup"),
    ("POST", "/_operator/apps/try"),
    ("POST", "/_operator/runs/open/search"),
    ("GET", "/_operator/status"),
    ("POST", "/_operator/apps"),
    ("DELETE", "/_operator/apps/app_1"),
    ("PUT", "/_operator/apps/app_1/secret"),
    ("GET", "/_operator/return-urls"),
    ("POST", "/_operator/keys"),
    ("PUT", "/_operator/plan"),
    ("GET", "/_operator/audit"),
];

#[tokio::test]
async fn at_the_public_door_the_operators_routes_do_not_exist() {
    let server = server().await;
    let nowhere = server.get("/_operator/nowhere").await;
    for (_, path) in ROUTES {
        for method in ["GET", "POST", "PUT", "DELETE", "OPTIONS"] {
            let ask = server.with_key(method.parse().unwrap(), path);
            let answer = ask.header("x-admin-secret", crate::world::ADMIN).send().await;
            assert_eq!(answer.status.as_u16(), 404, "{method} {path}");
            assert_eq!(answer.body, nowhere.body, "{method} {path}");
            assert_eq!(answer.header("allow"), "");
        }
    }
    assert!(!server.get("/openapi.json").await.text().contains("_operator"));
}

#[tokio::test]
async fn status_tells_what_runs() {
    let server = server().await;
    let (status, body) =
        operate(&server, Method::GET, "/_operator/status", "default", Value::Null).await;
    assert_eq!(status, 200);
    assert_eq!(body["public_url"], format!("{}/", server.public));
    assert!(body["integrations"].as_array().unwrap().contains(&json!("github")));
}

#[tokio::test]
async fn the_operator_needs_no_key_and_names_the_owner() {
    let server = server().await;
    let body = json!({"name": "agent", "type": "service", "scopes": ["github"], "tier": "premium"});
    let (status, made) = operate(&server, Method::POST, "/_operator/keys", "acme", body).await;
    assert_eq!(status, 201, "{made}");
    let key = made["full_key"].as_str().unwrap();
    assert!(key.starts_with("sk_svc_"), "{key}");
    let (_, listed) = operate(&server, Method::GET, "/api-keys", "acme", Value::Null).await;
    assert_eq!(listed[0], made["api_key"]);
    let (_, listed) = operate(&server, Method::GET, "/api-keys", "other", Value::Null).await;
    assert_eq!(listed, json!([]));
    for (kind, prefix) in [("api", "sk_"), ("admin", "hz_live_"), ("temporary", "sk_temp_")] {
        let body = json!({"name": "a", "type": kind});
        let (_, made) = operate(&server, Method::POST, "/_operator/keys", "acme", body).await;
        assert!(made["full_key"].as_str().unwrap().starts_with(prefix), "{made}");
    }
    let (status, _) = operate(&server, Method::GET, "/api-keys", "a b", Value::Null).await;
    assert_eq!(status, 400);
}

#[tokio::test]
async fn bad_orders_are_refused() {
    let server = server().await;
    for (path, method, body, status) in [
        ("/_operator/keys", Method::POST, json!({"name": "a", "type": "royal"}), 400),
        ("/_operator/keys", Method::POST, json!({"name": "a", "more": 1}), 400),
        (
            "/_operator/keys",
            Method::POST,
            json!({"name": "a", "type": "temporary", "expires_in": 86_401}),
            400,
        ),
        ("/_operator/plan", Method::PUT, json!({"plan": "nope"}), 400),
        ("/_operator/apps", Method::POST, json!({"integration": "nope", "client_id": "a"}), 404),
        ("/_operator/apps", Method::POST, json!({"integration": "github", "client_id": ""}), 400),
        ("/_operator/audit?limit=0", Method::GET, Value::Null, 400),
        ("/_operator/audit", Method::POST, Value::Null, 405),
        ("/_operator/nope", Method::GET, Value::Null, 404),
    ] {
        let (given, answer) = operate(&server, method, path, "default", body).await;
        assert_eq!(given, status, "{path} {answer}");
    }
}

#[tokio::test]
async fn an_app_of_the_operator_serves_every_owner() {
    let server = server().await;
    let app = json!({
        "integration": "github", "client_id": "new-client", "client_secret": "app-secret-canary",
        "owner": "acme",
    });
    let (status, made) = operate(&server, Method::POST, "/_operator/apps", "default", app).await;
    assert_eq!((status, &made["holder"]), (201, &json!("acme")));
    assert!(!made.to_string().contains("canary"), "{made}");
    // An owner's own app goes before the operator's.
    for (owner, client) in [("acme", "client_id=new-client"), ("other", "client_id=client-id")] {
        let key = server.key_of(owner, "*").await;
        let ask = server.ask(Method::POST, "/v1/connect").key(&key);
        let begun = ask.json(&json!({"integration": "github"})).send().await.ok(200);
        let url = begun["oauth_url"].as_str().unwrap();
        let path = url.strip_prefix(&server.public).unwrap();
        let away = server.ask(Method::POST, path).send().await;
        assert!(away.header("location").contains(client), "{owner}");
    }
}

#[tokio::test]
async fn a_plan_holds_from_the_next_second_on() {
    let server = server().await;
    server.get("/v1/connections").await.ok(200);
    let (status, _) =
        operate(&server, Method::PUT, "/_operator/plan", "default", json!({"plan": "tiny"})).await;
    assert_eq!(status, 204);
    server.advance(1);
    let answer = server.get("/v1/connections").await;
    assert_eq!(answer.header("x-ratelimit-limit"), "3");
}

#[tokio::test]
async fn the_audit_tells_who_did_what_and_no_secret() {
    let server = server().await;
    server.knows_everybody().await;
    server.answers("POST", "/revoke", json(200, "{}")).await;
    let id = server.connected("honest", json!({"access_token": "secret-canary"})).await;
    server.advance(1);
    server.delete(&format!("/v1/connections/{id}")).await.ok(204);
    let (status, lines) =
        operate(&server, Method::GET, "/_operator/audit?limit=10", "default", Value::Null).await;
    assert_eq!(status, 200);
    let newest = &lines[0];
    assert_eq!(newest["event"], "connection.deleted");
    assert_eq!(newest["target"], id);
    assert_eq!(newest["at"], "2026-01-01T12:00:01Z");
    assert!(newest["actor"].as_str().unwrap().contains("key_"), "{newest}");
    assert!(!lines.to_string().contains("canary"), "{lines}");
    let (_, others) = operate(&server, Method::GET, "/_operator/audit", "acme", Value::Null).await;
    assert_eq!(others, json!([]));
}

#[tokio::test]
async fn the_operator_calls_and_connects_without_limits() {
    let server = server().await;
    server.answers("GET", "/search", json(200, "[1]")).await;
    for _ in 0..150 {
        let (status, _) =
            operate(&server, Method::GET, "/v1/connections", "default", Value::Null).await;
        assert_eq!(status, 200);
    }
    let (_, answer) = operate(&server, Method::POST, "/v1/open/search", "default", json!({})).await;
    assert_eq!(answer, json!({"status": 200, "data": [1]}));
}

#[tokio::test]
async fn the_same_door_opens_over_a_unix_socket() {
    let server = server().await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("operator.sock");
    let (listener, stop) = (UnixListener::bind(&path).unwrap(), CancellationToken::new());
    let (door, until) = (server.server.clone(), stop.clone());
    let serving = tokio::spawn(async move { door.serve_operator(listener, until).await });
    let ask = |line: &'static str, fields: &'static str| {
        let path = path.clone();
        async move {
            let mut stream = UnixStream::connect(path).await.unwrap();
            let head = format!("{line} HTTP/1.1\r\nHost: any\r\n{fields}Connection: close\r\n\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            client::read_to_close(&mut stream).await
        }
    };
    let answer = ask("GET /_operator/status", "").await;
    assert_eq!(client::status(&answer), 200, "{answer}");
    let answer = ask("GET /api-keys", "Skill-Owner: acme\r\n").await;
    assert_eq!(client::body(&answer), "[]");
    let answer = ask("GET /metrics", "").await;
    assert_eq!(client::status(&answer), 200, "{answer}");
    stop.cancel();
    tokio::time::timeout(client::SOON, serving).await.expect("it stops").unwrap();
}

#[tokio::test]
async fn a_run_is_queued_under_the_name_and_with_the_parameters_of_its_action() {
    let server = server().await;
    let path = "/_operator/runs/open/search?delay=3600&priority=-100&deadline=60&timeout=5";
    let (status, queued) = operate(&server, Method::POST, path, "acme", json!({"q": "x"})).await;
    assert_eq!((status, &queued["status"]), (202, &json!("queued")), "{queued}");
    let path = format!("/v1/executions/{}", queued["execution_id"].as_str().unwrap());
    let (status, run) = operate(&server, Method::GET, &path, "acme", Value::Null).await;
    assert_eq!(
        (status, &run["status"], &run["tool_id"]),
        (200, &json!("queued"), &json!("open-search"))
    );
    assert_eq!(operate(&server, Method::GET, &path, "default", Value::Null).await.0, 404);
    let wrong =
        ["delay=-1", "delay=2592001", "priority=101", "priority=x", "deadline=0", "timeout=301"];
    for wrong in wrong {
        for path in ["/_operator/runs/open/search", "/v1/tools/open-search/invoke"] {
            let path = format!("{path}?async=true&{wrong}");
            let (status, body) =
                operate(&server, Method::POST, &path, "acme", json!({"q": "x"})).await;
            assert_eq!(status, 400, "{path}: {body}");
        }
    }
    for nothing in ["open/nothing", "nothing/search", "Open/search"] {
        let path = format!("/_operator/runs/{nothing}");
        assert_eq!(
            operate(&server, Method::POST, &path, "acme", json!({})).await.0,
            404,
            "{nothing}"
        );
    }
}
