//! `POST /api/{category}/{version}/{skill-name}`.

use http::Method;
use serde_json::{Value, json};

use super::{conversation, ended, job, reports};
use crate::world::{provider::json, server, setup};

const REPORT: &str = "/api/quickbooks/v1/profit-and-loss-report";

#[tokio::test]
async fn the_example_of_the_product_is_accepted_and_runs() {
    for server in [reports().start().await, reports().on_disk().start().await] {
        let input = json!({"start_date": "2026-01-01", "accounting_method": "Accrual"});
        let ask = server.ask(Method::POST, REPORT).header("x-api-key", &server.key);
        let answer = ask.json(&input).send().await;
        let body = answer.ok(202);
        let job = body["job_id"].as_str().unwrap();
        assert_eq!(
            body,
            json!({"status": "accepted", "message": "Skill execution queued", "job_id": job})
        );
        assert!(job.starts_with("job_"), "{job}");
        assert_eq!(answer.header("location"), conversation(job));
        let run = ended(&server, job).await;
        assert_eq!(run["status"], "completed", "{run}");
        assert_eq!(run["result"], json!({"version": "v1.10", "input": input}));
    }
}

#[tokio::test]
async fn a_version_is_exact() {
    let server = reports().start().await;
    for (version, runs) in [("v1", "v1.10"), ("v1.0", "v1.0"), ("v1.2", "v1.2"), ("v2", "v2.0")] {
        let path = format!("/api/quickbooks/{version}/profit_and_loss_report");
        let ask = server.with_key(Method::POST, &path).header("prefer", "wait=9");
        let answer = ask.send().await.ok(200);
        assert_eq!(answer["result"]["version"], runs, "{answer}");
    }
    for version in ["v99", "v1.11", "v1.1", "v3", "1", "v", "v1.", "V1", "latest", "v1.2.3"] {
        let path = format!("/api/quickbooks/{version}/profit-and-loss-report");
        server.post(&path, &json!({})).await.is_error(404, "skill_not_found");
    }
}

#[tokio::test]
async fn an_endpoint_is_a_skill_in_its_first_version() {
    let server = server().await;
    server.with_github().await;
    server.answers("GET", "/repos/acme/webapp/pulls", json(200, r#"[{"id": 1}]"#)).await;
    let input = json!({"repo": "acme/webapp"});
    for version in ["v1", "v1.0"] {
        let path = format!("/api/github/{version}/list-prs");
        let ask = server.with_key(Method::POST, &path).header("prefer", "wait=9").json(&input);
        let answer = ask.send().await.ok(200);
        assert_eq!(
            (&answer["status"], &answer["result"]),
            (&json!("completed"), &json!([{"id": 1}]))
        );
    }
    for version in ["v2", "v1.1"] {
        let path = format!("/api/github/{version}/list-prs");
        server.post(&path, &input).await.is_error(404, "skill_not_found");
    }
}

#[tokio::test]
async fn body_key_and_scope_are_checked_before_anything_is_queued() {
    let server = reports().start().await;
    server.ask(Method::POST, REPORT).send().await.is_error(401, "authentication_required");
    let narrow = server.key_of("default", "github").await;
    for path in [REPORT, "/api/quickbooks/v9/nothing"] {
        let answer = server.ask(Method::POST, path).key(&narrow).send().await;
        let body = answer.is_error(403, "insufficient_scope");
        let message =
            "The API key does not have the required scope 'quickbooks' for this operation.";
        assert_eq!(body["message"], message);
    }
    let body = server.post(REPORT, &json!({"start_date": "soon"})).await;
    assert_eq!(body.is_error(400, "validation_error")["details"][0]["field"], "start_date");
    let text = server.with_key(Method::POST, REPORT).body("{").send().await;
    text.is_error(400, "validation_error");
    let ask = server.with_key(Method::POST, REPORT).header("content-type", "text/plain");
    ask.body("{}").send().await.is_error(415, "validation_error");
    assert_eq!(server.get("/api/conversations").await.ok(200), json!([]));
}

#[tokio::test]
async fn a_reserved_word_is_no_category() {
    let server = server().await;
    for path in ["/api/conversations/v1/run", "/api/skills/v1/run", "/api/users/v1/run"] {
        server.post(path, &json!({})).await.is_error(404, "not_found");
    }
    let known = format!("/api/conversations/conv_{}/messages", "0".repeat(36));
    let answer = server.post(&known, &json!({})).await;
    answer.is_error(405, "validation_error");
    assert_eq!(answer.header("allow"), "GET, HEAD");
    for path in ["/api/Lab/v1/run", "/api/lab/v1/Run", "/api/lab/v1/run/", "/api/lab//run"] {
        assert_eq!(server.post(path, &json!({})).await.status.as_u16(), 404, "{path}");
    }
}

#[tokio::test]
async fn without_a_connection_the_run_fails_and_says_where_to_make_one() {
    let server = server().await;
    let input = json!({"repo": "acme/webapp", "title": "x"});
    let answer = server.post("/api/github/v1/create-issue", &input).await;
    let job = answer.ok(202)["job_id"].as_str().unwrap().to_owned();
    let run = ended(&server, &job).await;
    assert_eq!(
        (&run["status"], &run["error"]),
        (&json!("failed"), &json!("integration_not_connected"))
    );
    assert!(run["action_url"].as_str().is_some_and(|url| url.contains("/connect/")), "{run}");
}

#[tokio::test]
async fn whoever_waits_gets_the_outcome_or_the_usual_answer() {
    let server = server().await;
    let wait = |prefer: &str, what: &str| {
        let ask = server.with_key(Method::POST, "/api/lab/v1/run").header("prefer", prefer);
        ask.json(&json!({"do": what})).send()
    };
    let done = wait("respond-async, wait=9", "echo").await;
    let body = done.ok(200);
    assert_eq!(done.header("preference-applied"), "wait=9");
    assert_eq!((&body["status"], &body["result"]), (&json!("completed"), &json!({"do": "echo"})));
    let job = body["job_id"].as_str().unwrap();
    assert_eq!(body["conversation_id"], job.replace("job_", "conv_"));
    let failed = wait("wait=9", "fail").await.ok(200);
    assert_eq!(failed["status"], "failed");
    assert_eq!(
        (&failed["error"], &failed["message"]),
        (&json!("upstream_error"), &json!("it did not work"))
    );
    let late = wait("wait=1", "wait").await;
    assert_eq!(late.ok(202)["status"], "accepted");
    assert_eq!(late.header("preference-applied"), "");
    for none in ["wait=0", "wait", "wait=soon", "handling=strict"] {
        assert_eq!(wait(none, "wait").await.ok(202)["status"], "accepted", "{none}");
    }
}

#[tokio::test]
async fn a_key_for_repeats_gives_the_first_run_in_every_dialect() {
    for server in [server().await, setup().on_disk().start().await] {
        let send = async |path: &str, note: &str| {
            let ask = server.with_key(Method::POST, path).header("idempotency-key", "k1");
            ask.json(&json!({"do": "echo", "note": note})).send().await
        };
        let first = send("/api/lab/v1/run", "a").await;
        let job = first.ok(202)["job_id"].as_str().unwrap().to_owned();
        assert_eq!(first.header("idempotent-replayed"), "");
        let again = send("/api/lab/v1.0/run", "a").await;
        assert_eq!((again.ok(202), again.header("idempotent-replayed")), (first.json(), "true"));
        send("/api/lab/v1/run", "b").await.is_error(422, "validation_error");
        ended(&server, &job).await;
        let tool = send("/v1/tools/lab-run/invoke", "a").await;
        assert_eq!(tool.ok(200)["execution_id"], job.replace("job_", "exec_"));
    }
}

#[tokio::test]
async fn a_connection_is_named_by_a_header() {
    let server = server().await;
    let ask = server.with_key(Method::POST, "/api/keyed/v1/whoami").header("prefer", "wait=9");
    let answer = ask.header("skill-connection", "nobody").send().await.ok(200);
    assert_eq!((&answer["status"], &answer["error"]), (&json!("failed"), &json!("not_found")));
    let both = server.with_key(Method::POST, "/api/lab/v1/run").header("skill-agent", "Bad Name");
    both.json(&json!({"do": "echo"})).send().await.is_error(400, "validation_error");
}

#[tokio::test]
async fn an_unfinished_run_is_cancelled_by_its_other_name() {
    let server = server().await;
    let job = job(&server, &json!({"do": "wait"})).await;
    server.delete(&format!("/v1/executions/{job}")).await.ok(200);
    let run: Value = server.get(&conversation(&job)).await.ok(200);
    assert_eq!(run["status"], "cancelled");
}
