//! `POST /v1/tools/{id}/invoke?async=true`: runs that go on by themselves.

use http::Method;
use serde_json::{Value, json};

use crate::world::{TestServer, golden::golden, provider::json, server, setup};

#[tokio::test]
async fn a_queued_run_is_answered_at_once_and_goes_on_by_itself() {
    for server in [server().await, setup().on_disk().start().await] {
        let path = "/v1/tools/lab-run/invoke?async=true";
        let answer = server.post(path, &json!({"do": "wait"})).await;
        let body = answer.ok(202);
        let id = body["execution_id"].as_str().unwrap().to_owned();
        assert_eq!(body["status"], "queued");
        assert_eq!(body["status_url"], format!("/executions/{id}"));
        assert_eq!(answer.header("location"), format!("/v1/executions/{id}"));
        insta::allow_duplicates!(insta::assert_snapshot!(golden(&server, &answer)));
        let run = server.get(answer.header("location")).await.ok(200);
        assert!(["queued", "running"].contains(&run["status"].as_str().unwrap()), "{run}");
        assert!(run["completed_at"].is_null() && run.get("result").is_none(), "{run}");
        server.lab.say(100);
        let run = server.ended(&id).await;
        assert_eq!(run["status"], "success");
        assert_eq!(run["result"], json!({"waited": true}));
        assert_eq!(server.get(body["status_url"].as_str().unwrap()).await.ok(200), run);
    }
}

#[tokio::test]
async fn an_endpoint_can_be_queued_and_its_result_is_projected() {
    let server = server().await;
    server.with_github().await;
    let prs = r#"[{"id": 1}, {"id": 2}]"#;
    server.answers("GET", "/repos/acme/webapp/pulls", json(200, prs)).await;
    let id = server.queued("github-list-prs", &json!({"owner": "acme", "repo": "webapp"})).await;
    let run = server.ended(&id).await;
    assert_eq!(run["status"], "success", "{run}");
    assert_eq!(run["tool_id"], "github-list-prs");
    let result = &run["result"];
    let ids = result["prs"].as_array().unwrap().iter().map(|pr| pr["id"].clone());
    assert_eq!((ids.collect::<Vec<_>>(), &result["count"]), (vec![json!(1), json!(2)], &json!(2)));
}

#[tokio::test]
async fn bad_inputs_are_refused_before_anything_is_queued() {
    let server = server().await;
    for (tool, inputs) in
        [("open-get-item", json!({})), ("lab-run", json!({"do": "dance"})), ("lab-run", json!({}))]
    {
        let path = format!("/v1/tools/{tool}/invoke?async=true");
        server.post(&path, &inputs).await.is_tools_error(400, "INVALID_REQUEST");
    }
    assert_eq!(server.get("/v1/executions").await.ok(200)["total"], 0);
}

#[tokio::test]
async fn without_a_connection_the_run_fails_and_says_where_to_make_one() {
    let server = server().await;
    let inputs = json!({"repo": "acme/webapp", "title": "x"});
    let id = server.queued("github-create-issue", &inputs).await;
    let run = server.ended(&id).await;
    assert_eq!(run["status"], "error", "{run}");
    assert_eq!(run["error"]["code"], "FORBIDDEN");
    assert_eq!(run["error"]["details"]["reason"], "integration_not_connected");
    assert!(run["error"]["details"]["action_url"].is_string(), "{run}");
}

#[tokio::test]
async fn options_beside_wrapped_inputs_queue_as_well() {
    let server = server().await;
    let body = json!({"inputs": {"do": "echo"}, "options": {"async": true}});
    let answer = server.invoke("lab-run", &body).await;
    let id = answer.ok(202)["execution_id"].as_str().unwrap().to_owned();
    assert_eq!(server.ended(&id).await["result"], json!({"do": "echo"}));
}

#[tokio::test]
async fn the_same_key_gives_the_same_run_while_it_goes_on_and_afterwards() {
    for server in [server().await, setup().on_disk().start().await] {
        let send = async |inputs: Value| {
            let ask = server.with_key(Method::POST, "/v1/tools/lab-run/invoke?async=true");
            ask.json(&inputs).header("idempotency-key", "k1").send().await
        };
        let first = send(json!({"do": "wait"})).await;
        let id = first.ok(202)["execution_id"].as_str().unwrap().to_owned();
        assert_eq!(first.header("idempotent-replayed"), "");
        for percent in [0, 100] {
            server.lab.say(percent);
            let again = send(json!({"do": "wait"})).await;
            assert_eq!(again.ok(202), first.json());
            assert_eq!(again.header("idempotent-replayed"), "true");
            assert_eq!(again.header("location"), first.header("location"));
        }
        server.ended(&id).await;
        assert_eq!(send(json!({"do": "wait"})).await.header("idempotent-replayed"), "true");
        let other = send(json!({"do": "echo"})).await;
        other.is_tools_error(422, "INVALID_REQUEST");
        assert_eq!(server.get("/v1/executions").await.ok(200)["total"], 1);
        // Asked for at once, it is the outcome that comes again.
        let ask = server.with_key(Method::POST, "/v1/tools/lab-run/invoke");
        let ask = ask.json(&json!({"do": "wait"})).header("idempotency-key", "k1");
        let now = ask.send().await;
        assert_eq!(now.ok(200)["execution_id"], id);
        assert_eq!(now.header("idempotent-replayed"), "true");
    }
}

#[tokio::test]
async fn a_full_queue_is_503_with_a_time() {
    let server = setup().runs(|runs| (runs.slots, runs.depth) = (1, 2)).start().await;
    let mut refused = Vec::new();
    for _ in 0..6 {
        let path = "/v1/tools/lab-run/invoke?async=true";
        let answer = server.post(path, &json!({"do": "wait"})).await;
        if answer.status.as_u16() != 202 {
            let error = answer.is_tools_error(503, "INTERNAL_ERROR");
            assert_eq!(error["retryable"], true);
            assert_eq!(answer.header("retry-after"), error["retry_after"].to_string());
            refused.push(answer);
        }
    }
    assert!((1..=4).contains(&refused.len()), "{}", refused.len());
    let quotas = server.get("/v1/quotas").await.ok(200);
    assert_eq!(quotas["queued_runs"]["limit"], 2);
    assert_eq!(quotas["queued_runs"]["used"], 2);
    assert_eq!(quotas["queued_runs"]["remaining"], 0);
}

/// Every run of a key, whatever a restart does in between, is there: the row is on disk.
async fn states(server: &TestServer) -> Vec<String> {
    let all = server.get("/v1/executions?limit=100").await.ok(200);
    let runs = all["executions"].as_array().unwrap();
    runs.iter().map(|run| run["status"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn many_runs_all_end() {
    for server in [server().await, setup().on_disk().start().await] {
        let mut ids = Vec::new();
        for number in 0..30 {
            let inputs = json!({"do": "echo", "note": number.to_string()});
            ids.push(server.queued("lab-run", &inputs).await);
        }
        for (number, id) in ids.iter().enumerate() {
            assert_eq!(server.ended(id).await["result"]["note"], number.to_string());
        }
        assert_eq!(states(&server).await, vec!["success"; 30]);
    }
}

#[tokio::test]
async fn a_run_that_failed_or_panicked_says_so() {
    let server = server().await;
    for what in ["fail", "panic"] {
        let id = server.queued("lab-run", &json!({"do": what})).await;
        let run = server.ended(&id).await;
        assert_eq!((&run["status"], &run["progress"]), (&json!("error"), &json!(100)), "{run}");
        assert!(run["error"]["message"].is_string() && run.get("result").is_none(), "{run}");
    }
    // Nobody else is harmed by a panic.
    let id = server.queued("lab-run", &json!({"do": "echo"})).await;
    assert_eq!(server.ended(&id).await["status"], "success");
}
