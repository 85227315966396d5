//! `/api/agents`, and what they let their runs do.

use http::Method;
use serde_json::{Value, json};

use super::ended;
use crate::world::{TestServer, provider::json, server, setup};

async fn run_as(server: &TestServer, agent: &str, path: &str, input: &Value) -> Value {
    let ask = server.with_key(Method::POST, path).header("skill-agent", agent);
    let answer = ask.header("prefer", "wait=9").json(input).send().await;
    answer.ok(200)
}

#[tokio::test]
async fn an_agent_is_made_changed_and_removed() {
    for server in [server().await, setup().on_disk().start().await] {
        let body = json!({"id": "bookkeeper", "name": "Bookkeeper", "scopes": ["quickbooks"]});
        let made = server.post("/api/agents", &body).await.ok(201);
        assert_eq!((&made["id"], &made["scopes"]), (&json!("bookkeeper"), &json!(["quickbooks"])));
        assert_eq!((&made["connections"], &made["is_default"]), (&Value::Null, &json!(false)));
        server.post("/api/agents", &body).await.is_error(409, "conflict");
        let unnamed = server.post("/api/agents", &json!({"name": "x"})).await.ok(201);
        assert!(unnamed["id"].as_str().unwrap().starts_with("agent_"));
        assert_eq!(unnamed["scopes"], json!(["*"]));
        let path = "/api/agents/bookkeeper";
        assert_eq!(server.get(path).await.ok(200), made);
        server.advance(5);
        let patch = |body: Value| server.with_key(Method::PATCH, path).json(&body).send();
        let changed = patch(json!({"description": "closes the month", "connections": []})).await;
        let changed = changed.ok(200);
        assert_eq!((&changed["name"], &changed["connections"]), (&json!("Bookkeeper"), &json!([])));
        assert_ne!(changed["updated_at"], made["updated_at"]);
        let back = patch(json!({"description": null, "connections": null})).await.ok(200);
        assert_eq!((&back["description"], &back["connections"]), (&Value::Null, &Value::Null));
        let all = server.get("/api/agents").await.ok(200);
        let ids = all["data"].as_array().unwrap().iter().map(|one| &one["id"]).collect::<Vec<_>>();
        assert_eq!(ids[0], "default");
        assert_eq!((ids.len(), &all["total"]), (3, &json!(3)));
        assert_eq!(server.delete(path).await.status.as_u16(), 204);
        server.get(path).await.is_error(404, "not_found");
        server.delete(path).await.is_error(404, "not_found");
    }
}

#[tokio::test]
async fn the_standard_agent_is_always_there_and_stays_as_it_is() {
    let server = server().await;
    let path = "/api/agents/default";
    let agent = server.get(path).await.ok(200);
    assert_eq!((&agent["scopes"], &agent["is_default"]), (&json!(["*"]), &json!(true)));
    server.delete(path).await.is_error(409, "conflict");
    let ask = server.with_key(Method::PATCH, path).json(&json!({"name": "mine"}));
    ask.send().await.is_error(409, "conflict");
    let body = json!({"id": "default", "name": "another"});
    server.post("/api/agents", &body).await.is_error(409, "conflict");
}

#[tokio::test]
async fn what_an_agent_must_not_be_is_said_member_by_member() {
    let server = server().await;
    let unknown = format!("conn_{}", "0".repeat(36));
    for (body, field) in [
        (json!({}), "name"),
        (json!({"name": ""}), "name"),
        (json!({"name": "a", "connections": [unknown]}), "connections"),
        (json!({"name": "a", "connections": ["x"]}), "connections"),
        (json!({"name": "a", "color": "red"}), "color"),
        (json!({"name": "a", "description": "x".repeat(2001)}), "description"),
    ] {
        let answer = server.post("/api/agents", &body).await;
        let answer = answer.is_error(400, "validation_error");
        assert_eq!(answer["details"][0]["field"], field, "{answer}");
    }
    for body in [json!({"name": "a", "id": "A b"}), json!({"name": "a", "scopes": ["Git Hub"]})] {
        server.post("/api/agents", &body).await.is_error(400, "validation_error");
    }
    let narrow = server.key_of("default", "keys,github").await;
    let make =
        |body: Value| server.ask(Method::POST, "/api/agents").key(&narrow).json(&body).send();
    let wide = make(json!({"name": "a", "scopes": ["*"]})).await;
    wide.is_error(403, "insufficient_scope");
    let made = make(json!({"name": "a"})).await.ok(201);
    assert_eq!(made["scopes"], json!(["github", "keys"]));
    let no_keys = server.key_of("default", "github").await;
    let ask = server.ask(Method::POST, "/api/agents").key(&no_keys).json(&json!({"name": "a"}));
    ask.send().await.is_error(403, "insufficient_scope");
}

#[tokio::test]
async fn an_agent_runs_what_it_may_and_nothing_else() {
    for server in [server().await, setup().on_disk().start().await] {
        server.answers("GET", "/items/1", json(200, "1")).await;
        let body = json!({"id": "narrow", "name": "x", "scopes": ["lab"]});
        server.post("/api/agents", &body).await.ok(201);
        let echo = run_as(&server, "narrow", "/api/lab/v1/run", &json!({"do": "echo"})).await;
        assert_eq!(echo["status"], "completed");
        let ask = server.with_key(Method::POST, "/api/open/v1/get-item");
        let ask = ask.header("skill-agent", "narrow").json(&json!({"item": "1"}));
        ask.send().await.is_error(403, "insufficient_scope");
        // What its skills call is bounded as well.
        let talk = run_as(&server, "narrow", "/api/lab/v1/run", &json!({"do": "talk"})).await;
        assert_eq!(
            (&talk["status"], &talk["error"]),
            (&json!("failed"), &json!("insufficient_scope"))
        );
        assert!(server.upstream_saw().await.is_empty());
        let found = server.get("/api/conversations?agent_id=narrow").await.ok(200);
        assert_eq!(found.as_array().unwrap().len(), 2);
        assert_eq!(found[0]["agent_id"], "narrow");
        let ask = server.with_key(Method::POST, "/api/lab/v1/run").header("skill-agent", "nobody");
        ask.json(&json!({"do": "echo"})).send().await.is_error(404, "skill_not_found");
    }
}

#[tokio::test]
async fn an_agent_uses_its_own_connections_only() {
    let server = server().await;
    server.answers("GET", "/whoami", json(200, r#"{"login": "ann"}"#)).await;
    let mut ids = Vec::new();
    for label in ["one", "two"] {
        let body =
            json!({"integration": "keyed", "credentials": {"api_key": label}, "label": label});
        let made = server.post("/v1/connect", &body).await.ok(200);
        ids.push(made["connection_id"].as_str().unwrap().to_owned());
    }
    for (agent, few) in [("second", vec![ids[1].clone()]), ("none", vec![])] {
        let body = json!({"id": agent, "name": agent, "connections": few});
        server.post("/api/agents", &body).await.ok(201);
    }
    let path = "/api/keyed/v1/whoami";
    let both = run_as(&server, "default", path, &json!({})).await;
    assert_eq!(both["error"], "choose_connection");
    let one = run_as(&server, "second", path, &json!({})).await;
    assert_eq!(one["status"], "completed", "{one}");
    let none = run_as(&server, "none", path, &json!({})).await;
    assert_eq!(
        (&none["error"], &none["action_url"]),
        (&json!("integration_not_connected"), &Value::Null)
    );
    let ask = server.with_key(Method::POST, path).header("skill-agent", "second");
    let ask = ask.header("prefer", "wait=9").header("skill-connection", "one");
    assert_eq!(ask.send().await.ok(200)["error"], "not_found");
}

#[tokio::test]
async fn a_run_of_an_agent_that_is_gone_fails() {
    let server = setup().runs(|runs| runs.slots = 1).start().await;
    server.post("/api/agents", &json!({"id": "brief", "name": "x"})).await.ok(201);
    let first = server.post("/api/lab/v1/run", &json!({"do": "wait"})).await.ok(202);
    let ask = server.with_key(Method::POST, "/api/lab/v1/run").header("skill-agent", "brief");
    let waits = ask.json(&json!({"do": "echo"})).send().await.ok(202);
    assert_eq!(server.delete("/api/agents/brief").await.status.as_u16(), 204);
    server.lab.say(100);
    ended(&server, first["job_id"].as_str().unwrap()).await;
    let run = ended(&server, waits["job_id"].as_str().unwrap()).await;
    assert_eq!((&run["status"], &run["error"]), (&json!("failed"), &json!("not_found")));
}

#[tokio::test]
async fn another_owners_agent_is_not_there() {
    let server = server().await;
    server.post("/api/agents", &json!({"id": "mine", "name": "x"})).await.ok(201);
    let rival = server.key_of("rival", "*").await;
    for method in [Method::GET, Method::DELETE] {
        let ask = server.ask(method, "/api/agents/mine").key(&rival);
        ask.send().await.is_error(404, "not_found");
    }
    let ask = server.ask(Method::PATCH, "/api/agents/mine").key(&rival).json(&json!({"name": "y"}));
    ask.send().await.is_error(404, "not_found");
    let all = server.ask(Method::GET, "/api/agents").key(&rival).send().await.ok(200);
    assert_eq!(all["total"], 1);
    for odd in ["Mine", "a b", "%2e", "_raw"] {
        let answer = server.get(&format!("/api/agents/{odd}")).await;
        assert!([400, 404].contains(&answer.status.as_u16()), "{odd}");
    }
}
