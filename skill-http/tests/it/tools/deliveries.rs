//! Messages to subscribers: what arrives at a real receiver, and the routes that show it.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use wiremock::{Mock, ResponseTemplate, matchers::path};

use crate::world::{TestServer, client::SOON, server, setup};

/// A receiver at the upstream's address that answers so, and a subscription to everything.
async fn subscribed(server: &TestServer, status: u16) -> Value {
    let answer = ResponseTemplate::new(status);
    Mock::given(path("/hook")).respond_with(answer).with_priority(1).mount(&server.upstream).await;
    let url = format!("{}/hook", server.upstream.uri());
    let events = ["execution.completed", "execution.failed", "connection.created"];
    server.post("/v1/webhooks", &json!({"url": url, "events": events})).await.ok(201)
}

fn of(webhook: &Value, rest: &str) -> String {
    format!("/v1/webhooks/{}{rest}", webhook["id"].as_str().unwrap())
}

/// The deliveries of a subscription, once the newest one satisfies `is_done`.
async fn until(server: &TestServer, webhook: &Value, is_done: impl Fn(&Value) -> bool) -> Value {
    let look = async {
        loop {
            let page = server.get(&of(webhook, "/deliveries")).await.ok(200);
            if is_done(&page["items"][0]) {
                return page;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(SOON, look).await.expect("it happens soon")
}

async fn received(server: &TestServer) -> Vec<wiremock::Request> {
    let mut all = server.upstream.received_requests().await.unwrap();
    all.retain(|request| request.url.path() == "/hook");
    all
}

#[tokio::test]
async fn a_run_that_ends_reaches_its_subscriber() {
    for server in [server().await, setup().on_disk().start().await] {
        let webhook = subscribed(&server, 204).await;
        assert_eq!(
            (&webhook["status"], &webhook["disabled_reason"]),
            (&json!("enabled"), &Value::Null)
        );
        let queued = server.queued("lab-run", &json!({"do": "echo"})).await;
        server.ended(&queued).await;
        let page = until(&server, &webhook, |newest| newest["status"] == "delivered").await;
        let delivery = &page["items"][0];
        assert_eq!((&page["total"], &delivery["attempts"]), (&json!(1), &json!(1)));
        assert_eq!(delivery["execution_id"], json!(queued));
        assert_eq!(delivery["response_status"], 204);
        let [request] = <[wiremock::Request; 1]>::try_from(received(&server).await).unwrap();
        assert_eq!(request.headers["webhook-id"].to_str().unwrap(), delivery["id"]);
        let said = request.body_json::<Value>().unwrap();
        assert_eq!(said["data"]["result"], json!({"do": "echo"}));
        assert_eq!(said["data"]["job_id"], json!(queued.replace("exec_", "job_")));
        let document = server.ask(Method::GET, "/openapi.json").send().await.ok(200);
        let post = &document["webhooks"]["execution.completed"]["post"];
        let schema = &post["requestBody"]["content"]["application/json"]["schema"];
        let schema = skill_core::schema::Schema::compile(schema.clone()).unwrap();
        schema.check(&said).unwrap();
        for header in post["parameters"].as_array().unwrap() {
            let name = header["name"].as_str().unwrap().to_ascii_lowercase();
            assert!(request.headers.contains_key(&*name), "{name}");
        }
    }
}

#[tokio::test]
async fn what_a_failed_run_is_said_to_be_is_as_documented() {
    let server = server().await;
    let webhook = subscribed(&server, 200).await;
    let queued = server.queued("lab-run", &json!({"do": "fail"})).await;
    server.ended(&queued).await;
    until(&server, &webhook, |newest| newest["status"] == "delivered").await;
    let said = received(&server).await.pop().unwrap().body_json::<Value>().unwrap();
    assert_eq!(said["data"]["error"]["message"], "it did not work");
    let document = server.ask(Method::GET, "/openapi.json").send().await.ok(200);
    let schema = &document["webhooks"]["execution.failed"]["post"]["requestBody"]["content"]["application/json"]
        ["schema"];
    skill_core::schema::Schema::compile(schema.clone()).unwrap().check(&said).unwrap();
}

#[tokio::test]
async fn a_message_that_was_not_taken_waits_and_is_sent_again_by_hand() {
    let server = server().await;
    let webhook = subscribed(&server, 500).await;
    let sent = server.post(&of(&webhook, "/test"), &json!({})).await.ok(202);
    assert_eq!((&sent["event"], &sent["status"]), (&json!("webhook.test"), &json!("waiting")));
    let page = until(&server, &webhook, |newest| newest["last_attempt_at"].is_string()).await;
    let failed = &page["items"][0];
    assert_eq!((&failed["status"], &failed["response_status"]), (&json!("waiting"), &json!(500)));
    assert_eq!(failed["error"], "the receiver answered 500");
    assert!(failed["next_attempt_at"].as_str() > failed["last_attempt_at"].as_str());
    let replay = of(&webhook, &format!("/deliveries/{}/replay", sent["id"].as_str().unwrap()));
    let again = server.post(&replay, &json!({})).await.ok(202);
    assert_eq!(again["id"], sent["id"]);
    until(&server, &webhook, |newest| newest["attempts"] == 2).await;
    let dead = server.get(&of(&webhook, "/deliveries?status=dead")).await.ok(200);
    assert_eq!((&dead["total"], &dead["items"]), (&json!(0), &json!([])));
    for (answer, status) in [
        (server.post(&replay, &json!({"x": 1})).await, 400),
        (server.post(&of(&webhook, "/deliveries/msg_1/replay"), &json!({})).await, 404),
        (server.post("/v1/webhooks/hook_1/test", &json!({})).await, 404),
        (server.get(&of(&webhook, "/deliveries?status=lost")).await, 400),
        (server.get(&of(&webhook, "/deliveries?limit=101")).await, 400),
    ] {
        assert_eq!(answer.status.as_u16(), status, "{}", answer.text());
    }
}

#[tokio::test]
async fn a_receiver_that_is_gone_disables_its_subscription() {
    let server = server().await;
    let webhook = subscribed(&server, 410).await;
    server.post(&of(&webhook, "/test"), &json!({})).await.ok(202);
    until(&server, &webhook, |newest| newest["status"] == "dead").await;
    let shown = server.get(&of(&webhook, "")).await.ok(200);
    assert_eq!(shown["status"], "disabled");
    assert_eq!(shown["disabled_reason"], "the receiver answered 410 Gone");
    assert!(shown["disabled_at"].is_string() && shown.get("secret").is_none());
    let refused = server.post(&of(&webhook, "/test"), &json!({})).await;
    refused.is_tools_error(409, "INVALID_REQUEST");
    let enable = |body: Value| server.with_key(Method::PATCH, &of(&webhook, "")).json(&body).send();
    enable(json!({})).await.is_tools_error(400, "INVALID_REQUEST");
    enable(json!({"enabled": true, "url": "https://example.com"}))
        .await
        .is_tools_error(400, "INVALID_REQUEST");
    let enabled = enable(json!({"enabled": true})).await.ok(200);
    assert_eq!(
        (&enabled["status"], &enabled["disabled_reason"]),
        (&json!("enabled"), &Value::Null)
    );
    let disabled = enable(json!({"enabled": false})).await.ok(200);
    assert_eq!(disabled["disabled_reason"], "it was disabled by hand");
}

#[tokio::test]
async fn a_replaced_secret_is_shown_once_and_signs_beside_the_old_one() {
    let server = server().await;
    let webhook = subscribed(&server, 204).await;
    let rotated = server.post(&of(&webhook, "/rotate"), &json!({"overlap": 600})).await.ok(201);
    assert_eq!(rotated["id"], webhook["id"]);
    assert_ne!(rotated["secret"], webhook["secret"]);
    server.post(&of(&webhook, "/test"), &json!({})).await.ok(202);
    until(&server, &webhook, |newest| newest["status"] == "delivered").await;
    let signatures = received(&server).await[0].headers["webhook-signature"].clone();
    assert_eq!(signatures.to_str().unwrap().split(' ').count(), 2);
    for body in [
        json!({"overlap": 604_801}),
        json!({"overlap": -1}),
        json!({"secret": "short"}),
        json!({"id": "hook_2"}),
    ] {
        let answer = server.post(&of(&webhook, "/rotate"), &body).await;
        answer.is_tools_error(400, "INVALID_REQUEST");
    }
}

#[tokio::test]
async fn a_strangers_subscription_cannot_be_looked_at_or_touched() {
    let server = server().await;
    let webhook = subscribed(&server, 204).await;
    let sent = server.post(&of(&webhook, "/test"), &json!({})).await.ok(202);
    let replay = format!("/deliveries/{}/replay", sent["id"].as_str().unwrap());
    let stranger = server.key_of("acme", "*").await;
    let plain = server.key_of("default", "github,keys").await;
    for (method, rest) in [
        (Method::GET, ""),
        (Method::PATCH, ""),
        (Method::POST, "/rotate"),
        (Method::POST, "/test"),
        (Method::GET, "/deliveries"),
        (Method::POST, replay.as_str()),
    ] {
        let body = if method == Method::PATCH { json!({"enabled": true}) } else { json!({}) };
        let ask = |key: &str| {
            let ask = server.ask(method.clone(), &of(&webhook, rest)).key(key);
            if method == Method::GET { ask } else { ask.json(&body) }
        };
        ask(&stranger).send().await.is_tools_error(404, "NOT_FOUND");
        ask(&plain).send().await.is_tools_error(403, "FORBIDDEN");
    }
}
