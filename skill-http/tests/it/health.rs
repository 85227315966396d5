//! `/healthz`, `/readyz` and `/metrics`.

use http::{Method, Request};
use serde_json::json;

use crate::world::{ADMIN, TestServer, provider::json, server};

#[tokio::test]
async fn alive_and_ready_are_told_to_anybody() {
    let server = server().await;
    for path in ["/healthz", "/readyz"] {
        let answer = server.ask(Method::GET, path).send().await;
        assert_eq!(answer.ok(200), json!({"status": "ok"}));
    }
}

#[tokio::test]
async fn a_stopping_server_is_alive_and_not_ready() {
    let server = server().await;
    server.shutdown.cancel();
    let ask = |path: &'static str| {
        let request = Request::get(path).body(bytes::Bytes::new()).unwrap();
        server.server.operator(request)
    };
    // The listener's task has to hear of it first.
    tokio::task::yield_now().await;
    let mut ready = ask("/readyz").await;
    while ready.status().is_success() {
        tokio::task::yield_now().await;
        ready = ask("/readyz").await;
    }
    assert_eq!(ready.status().as_u16(), 503);
    assert_eq!(ready.headers()["retry-after"], "1");
    let body: serde_json::Value = serde_json::from_slice(ready.body()).unwrap();
    assert_eq!(body["error"], "service_unavailable");
    assert_eq!(ask("/healthz").await.status().as_u16(), 200);
}

#[tokio::test]
async fn a_request_under_way_is_answered_while_the_server_stops() {
    let server = crate::world::setup()
        .settings(|settings| settings.drain = std::time::Duration::from_secs(5))
        .start()
        .await;
    let slow = json(200, "[1]").set_delay(std::time::Duration::from_millis(300));
    server.answers("GET", "/search", slow).await;
    let stopping = async {
        while server.upstream_saw().await.is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        server.shutdown.cancel();
    };
    let (answer, ()) = tokio::join!(server.call("open/search", json!({})), stopping);
    assert_eq!(answer.ok(200)["data"], json!([1]));
    let refused = server.http.get(format!("http://{}/healthz", server.address)).send().await;
    assert!(refused.is_err(), "nothing new is taken");
}

/// Makes figures of every kind.
async fn busy(server: &TestServer) {
    server.knows_everybody().await;
    server.answers("GET", "/items/1", json(200, "{}")).await;
    let tokens = json!({"access_token": "secret-canary"});
    let id = server.connected("honest", tokens).await;
    let call = json!({"params": {"item": "1"}, "connection": id});
    let ask = server.with_key(Method::POST, "/v1/honest/get_item").json(&call);
    ask.header("idempotency-key", "key-canary").send().await.ok(200);
    server.call("open/get_item", json!({"item": "param-canary"})).await;
    server.call("nope-canary/x", json!({})).await.is_error(404, "not_found");
    server.get("/path-canary?query-canary=1").await.is_error(404, "not_found");
    let stranger = server.key_of("owner-canary", "*").await;
    server.ask(Method::GET, &format!("/v1/connections/{id}")).key(&stranger).send().await;
}

#[tokio::test]
async fn metrics_name_routes_and_integrations_and_nothing_of_callers() {
    let server = server().await;
    busy(&server).await;
    let answer = server.ask(Method::GET, "/metrics").send().await;
    assert_eq!(answer.status.as_u16(), 200);
    assert!(answer.header("content-type").starts_with("text/plain; version=0.0.4"));
    let text = answer.text();
    for line in [
        "skill_http_requests_total{route=\"/v1/{integration}/{endpoint}\",status=\"2xx\"} 2",
        "skill_http_requests_total{route=\"none\",status=\"4xx\"} 1",
        "skill_calls_total{integration=\"honest\",outcome=\"success\"} 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in {text}");
    }
    for secret in ["canary", "conn_", "key_", "exec_", "sk_", "default", "127.0.0.1"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}

#[tokio::test]
async fn metrics_count_what_happens_to_queued_runs() {
    let server = server().await;
    for what in ["echo", "fail"] {
        let id = server.queued("lab-run", &json!({"do": what})).await;
        server.ended(&id).await;
    }
    let text = server.ask(Method::GET, "/metrics").send().await.text();
    for line in [
        "skill_run_events_total{integration=\"lab\",event=\"submitted\"} 2",
        "skill_run_events_total{integration=\"lab\",event=\"started\"} 2",
        "skill_run_wait_seconds_count{integration=\"lab\"} 2",
        "skill_calls_total{integration=\"lab\",outcome=\"success\"} 1",
        "skill_calls_total{integration=\"lab\",outcome=\"action_failed\"} 1",
        "skill_http_requests_total{route=\"/v1/tools/{tool_id}/invoke\",status=\"2xx\"} 2",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in {text}");
    }
    assert!(!text.contains("exec_"), "{text}");
}

#[tokio::test]
async fn metrics_are_for_this_machine_and_for_the_admin() {
    let server = server().await;
    let ask = || server.ask(Method::GET, "/metrics");
    assert_eq!(ask().send().await.status.as_u16(), 200);
    for name in ["x-forwarded-for", "forwarded", "x-real-ip"] {
        let answer = ask().header(name, "127.0.0.1").send().await;
        answer.is_error(401, "unauthorized");
        assert_eq!(answer.header("www-authenticate"), "Bearer");
        let right = ask().header(name, "x").header("x-admin-secret", ADMIN).send().await;
        assert_eq!(right.status.as_u16(), 200);
        let right = ask().header(name, "x").key(ADMIN).send().await;
        assert_eq!(right.status.as_u16(), 200);
        for ask in [
            ask().header(name, "x").header("x-admin-secret", "wrong"),
            ask().header(name, "x").header("x-admin-secret", ""),
            ask().header(name, "x").key(&server.key),
        ] {
            ask.send().await.is_error(401, "unauthorized");
        }
    }
}

#[tokio::test]
async fn the_admin_secret_is_no_api_key() {
    let server = server().await;
    let ask = server.ask(Method::GET, "/v1/connections").key(ADMIN);
    ask.header("x-admin-secret", ADMIN).send().await.is_error(401, "unauthorized");
}
