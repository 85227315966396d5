//! `/api/agent-webhooks`.

use http::Method;
use serde_json::{Value, json};
use wiremock::{Mock, ResponseTemplate, matchers::path};

use crate::world::{TestServer, client::SOON, golden::golden, server, setup};

fn wanted(url: &str) -> Value {
    json!({"agent_id": "default", "url": url, "events": ["skill.completed", "skill.failed"]})
}

/// A receiver at the upstream's address, and a subscription to these events.
async fn subscribed(server: &TestServer, events: &[&str]) -> Value {
    let answer = ResponseTemplate::new(204);
    Mock::given(path("/hook")).respond_with(answer).with_priority(1).mount(&server.upstream).await;
    let mut body = wanted(&format!("{}/hook", server.upstream.uri()));
    body["events"] = json!(events);
    body["secret"] = "any text will do".into();
    server.post("/api/agent-webhooks", &body).await.ok(201)
}

fn of(webhook: &Value, rest: &str) -> String {
    format!("/api/agent-webhooks/{}{rest}", webhook["id"].as_str().unwrap())
}

/// The messages to a subscription, once so many were delivered: by event.
async fn told(server: &TestServer, count: usize) -> Vec<Value> {
    let look = async {
        loop {
            let mut all = server.upstream.received_requests().await.unwrap();
            all.retain(|request| request.url.path() == "/hook");
            if all.len() >= count {
                return all.iter().map(|request| request.body_json().unwrap()).collect();
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(SOON, look).await.expect("it comes soon")
}

#[tokio::test]
async fn a_subscription_is_made_changed_and_removed() {
    for server in [server().await, setup().on_disk().start().await] {
        let answer =
            server.post("/api/agent-webhooks", &wanted("https://example.com/callback")).await;
        let mut made = answer.ok(201);
        let secret = made["secret"].as_str().unwrap().to_owned();
        assert!(secret.starts_with("whsec_"));
        let shape = golden(&server, &answer).replace(&secret, "SECRET");
        insta::allow_duplicates!(insta::assert_snapshot!(shape));
        made.as_object_mut().unwrap().remove("secret");
        assert_eq!(server.get(&of(&made, "")).await.ok(200), made);
        assert_eq!(server.get("/api/agent-webhooks").await.ok(200), json!([made]));
        // The two kinds of subscriptions are shown apart.
        assert_eq!(server.get("/v1/webhooks").await.ok(200)["total"], 0);
        let patch = async |body: Value| {
            server.with_key(Method::PATCH, &of(&made, "")).json(&body).send().await
        };
        let changed = json!({"url": "https://b.example.com/", "events": ["agent.error"]});
        let stands = patch(changed).await.ok(200);
        assert_eq!(
            (&stands["url"], &stands["events"]),
            (&json!("https://b.example.com/"), &json!(["agent.error"]))
        );
        assert_eq!(patch(json!({"enabled": false})).await.ok(200)["enabled"], false);
        assert_eq!(patch(json!({"enabled": true})).await.ok(200)["enabled"], true);
        patch(json!({"secret": "another text"})).await.ok(200);
        for (body, field) in [
            (json!({"url": "http://example.com/"}), "url"),
            (json!({"events": []}), "events"),
            (json!({"events": ["execution.completed"]}), "events"),
            (json!({"secret": "short"}), "secret"),
            (json!({"agent_id": "default"}), "agent_id"),
        ] {
            let error = patch(body).await.is_error(400, "validation_error");
            assert_eq!(error["details"][0]["field"], field, "{error}");
        }
        assert_eq!(server.delete(&of(&made, "")).await.status.as_u16(), 204);
        server.get(&of(&made, "")).await.is_error(404, "not_found");
    }
}

#[tokio::test]
async fn what_an_agent_does_is_told_as_documented() {
    let server = server().await;
    let events = ["skill.completed", "skill.failed", "agent.error", "conversation.created"];
    let webhook = subscribed(&server, &events).await;
    let trigger = json!({"skills": ["lab/v1/run", "github/v1/get_repo"]});
    let trigger = server.post("/api/triggers", &trigger).await.ok(201);
    let path = format!("/webhooks/{}", trigger["token"].as_str().unwrap());
    for (category, skill, input) in [
        ("lab", "run", json!({"do": "echo"})),
        ("github", "get_repo", json!({"repo": "acme/webapp"})),
    ] {
        let body = json!({
            "category": category, "skill": skill, "input": input, "synchronous": category == "lab",
        });
        let answer = server.ask(Method::POST, &path).json(&body).send().await;
        assert!(answer.status.is_success(), "{}", answer.text());
    }
    // A run of no agent is told to nobody here.
    let plain = server.queued("lab-run", &json!({"do": "echo"})).await;
    server.ended(&plain).await;
    let patience = std::time::Duration::from_millis(300);
    let mut said = told(&server, 3).await;
    tokio::time::sleep(patience).await;
    said = told(&server, said.len()).await;
    let document = server.ask(Method::GET, "/openapi.json").send().await.ok(200);
    for said in &said {
        let event = said["event"].as_str().unwrap();
        let post = &document["webhooks"][event]["post"];
        let schema = &post["requestBody"]["content"]["application/json"]["schema"];
        skill_core::schema::Schema::compile(schema.clone()).unwrap().check(said).unwrap();
        assert_ne!(said["data"]["execution_id"], json!(plain));
        assert_eq!(said["data"]["agent_id"], "default");
        assert_eq!(said["data"]["trigger_type"], "webhook");
        assert!(said["data"]["conversation_id"].as_str().unwrap().starts_with("conv_"));
    }
    let count = |event: &str| said.iter().filter(|said| said["event"] == event).count();
    assert_eq!((count("conversation.created"), count("skill.completed")), (2, 1));
    let listed = server.get(&of(&webhook, "/deliveries")).await.ok(200);
    assert!(listed.as_array().unwrap().len() >= 3, "{listed}");
}

#[tokio::test]
async fn a_test_is_sent_and_a_message_sent_again() {
    let server = server().await;
    let webhook = subscribed(&server, &["skill.completed"]).await;
    let sent = server.post(&of(&webhook, "/test"), &json!({})).await.ok(202);
    let said = told(&server, 1).await.remove(0);
    assert_eq!(said["event"], "webhook.test");
    let again = format!("/deliveries/{}/replay", sent["id"].as_str().unwrap());
    server.post(&of(&webhook, &again), &json!({})).await.ok(202);
    assert_eq!(told(&server, 2).await[1], said);
    for query in ["?limit=0", "?limit=201", "?status=sent", "?offset=-1"] {
        let path = of(&webhook, &format!("/deliveries{query}"));
        server.get(&path).await.is_error(400, "validation_error");
    }
    let missing = of(&webhook, "/deliveries/msg_1/replay");
    server.post(&missing, &json!({})).await.is_error(404, "not_found");
}

#[tokio::test]
async fn a_subscription_to_tools_is_no_subscription_to_an_agent() {
    let server = server().await;
    let body = json!({"url": "https://example.com/", "events": ["execution.completed"]});
    let tools = server.post("/v1/webhooks", &body).await.ok(201);
    server.get(&of(&tools, "")).await.is_error(404, "not_found");
    let mut unknown = wanted("https://example.com/");
    unknown["agent_id"] = "nobody".into();
    server.post("/api/agent-webhooks", &unknown).await.is_error(404, "not_found");
    let plain = server.key_of("default", "github").await;
    let ask = server.ask(Method::POST, "/api/agent-webhooks").key(&plain);
    ask.json(&wanted("https://example.com/")).send().await.is_error(403, "insufficient_scope");
}

#[tokio::test]
async fn an_agent_that_is_removed_is_told_of() {
    let server = server().await;
    let agent = json!({"id": "bookkeeper", "name": "Bookkeeper"});
    server.post("/api/agents", &agent).await.ok(201);
    let answer = ResponseTemplate::new(204);
    Mock::given(path("/hook")).respond_with(answer).with_priority(1).mount(&server.upstream).await;
    let mut body = wanted(&format!("{}/hook", server.upstream.uri()));
    (body["agent_id"], body["events"]) = ("bookkeeper".into(), json!(["agent.status_changed"]));
    server.post("/api/agent-webhooks", &body).await.ok(201);
    assert_eq!(server.delete("/api/agents/bookkeeper").await.status.as_u16(), 204);
    let said = told(&server, 1).await.remove(0);
    assert_eq!(said["event"], "agent.status_changed");
    assert_eq!(said["data"], json!({"agent_id": "bookkeeper", "status": "deleted"}));
}
