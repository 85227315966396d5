//! `/api/scheduled-jobs`.

use http::Method;
use serde_json::{Value, json};

use crate::world::{TestServer, client::SOON, golden::golden, server, setup};

/// A job that lets the skill `lab/run` give its input back.
fn job(cron: &str) -> Value {
    json!({
        "agent_id": "default",
        "skill_category": "lab",
        "skill_name": "run",
        "cron_expression": cron,
        "input": {"do": "echo"},
    })
}

async fn make(server: &TestServer, cron: &str) -> Value {
    server.post("/api/scheduled-jobs", &job(cron)).await.ok(201)
}

fn of(job: &Value, rest: &str) -> String {
    format!("/api/scheduled-jobs/{}{rest}", job["id"].as_str().unwrap())
}

/// The run of this `job_id`, once it has ended.
async fn ended(server: &TestServer, job: &Value) -> Value {
    server.ended(&job.as_str().unwrap().replace("job_", "exec_")).await
}

#[tokio::test]
async fn a_scheduled_job_is_made_shown_and_removed() {
    for server in [server().await, setup().on_disk().start().await] {
        let answer = server.post("/api/scheduled-jobs", &job("30 9 * * MON-FRI")).await;
        let made = answer.ok(201);
        insta::allow_duplicates!(insta::assert_snapshot!(golden(&server, &answer)));
        assert_eq!(made["next_run_at"], "2026-01-02T09:30:00Z");
        assert_eq!((&made["skill_version"], &made["enabled"]), (&json!("v1.0"), &json!(true)));
        assert_eq!(server.get(&of(&made, "")).await.ok(200), made);
        assert_eq!(server.get("/api/scheduled-jobs").await.ok(200), json!([made]));
        assert_eq!(server.delete(&of(&made, "")).await.status.as_u16(), 204);
        server.delete(&of(&made, "")).await.is_error(404, "not_found");
        assert_eq!(server.get("/api/scheduled-jobs").await.ok(200), json!([]));
    }
}

#[tokio::test]
async fn a_scheduled_job_runs_when_its_time_comes() {
    let server = setup().on_disk().start().await;
    let made = make(&server, "* * * * *").await;
    assert_eq!(made["next_run_at"], "2026-01-01T12:01:00Z");
    server.advance(61);
    let look = async {
        loop {
            let stands = server.get(&of(&made, "")).await.ok(200);
            if stands["last_job_id"].is_string() {
                return stands;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let stands = tokio::time::timeout(SOON, look).await.expect("it happens soon");
    assert_eq!(stands["next_run_at"], "2026-01-01T12:02:00Z");
    assert_eq!(stands["last_due_at"], "2026-01-01T12:01:00Z");
    let run = ended(&server, &stands["last_job_id"]).await;
    assert_eq!((&run["status"], &run["result"]), (&json!("success"), &json!({"do": "echo"})));
}

#[tokio::test]
async fn a_scheduled_job_is_run_by_hand_and_repeated_by_its_key() {
    let server = server().await;
    let made = make(&server, "0 0 1 1 *").await;
    let answer = server.post(&of(&made, "/run"), &json!({})).await;
    let accepted = answer.ok(202);
    assert_eq!(accepted["status"], "accepted");
    assert_eq!(ended(&server, &accepted["job_id"]).await["status"], "success");
    let again = || server.with_key(Method::POST, &of(&made, "/run")).header("idempotency-key", "k");
    let first = again().send().await.ok(202);
    let second = again().send().await;
    assert_eq!(second.header("idempotent-replayed"), "true");
    assert_eq!(second.ok(202), first);
    assert_ne!(first["job_id"], accepted["job_id"]);
    assert_eq!(server.get(&of(&made, "")).await.ok(200)["last_job_id"], Value::Null);
}

#[tokio::test]
async fn what_is_changed_is_changed_and_nothing_else() {
    let server = server().await;
    let made = make(&server, "0 * * * *").await;
    let patch =
        async |body: Value| server.with_key(Method::PATCH, &of(&made, "")).json(&body).send().await;
    let off = patch(json!({"enabled": false})).await.ok(200);
    assert_eq!((&off["enabled"], &off["next_run_at"]), (&json!(false), &Value::Null));
    assert_eq!(off["input"], made["input"]);
    let on = patch(json!({"enabled": true, "cron_expression": "15 * * * *"})).await.ok(200);
    assert_eq!(on["next_run_at"], "2026-01-01T12:15:00Z");
    let other = patch(json!({"input": {"do": "fail"}})).await.ok(200);
    assert_eq!(
        (&other["input"], &other["next_run_at"]),
        (&json!({"do": "fail"}), &on["next_run_at"])
    );
    for (body, field) in [
        (json!({"cron_expression": "nope"}), "cron_expression"),
        (json!({"skill_version": "v1"}), "skill_version"),
        (json!({"skill_name": "run"}), "skill_category"),
        (json!({"skill_category": "lab"}), "skill_name"),
        (json!({"agent_id": "A B"}), "agent_id"),
        (json!({"owner": "x"}), "owner"),
        (json!({"scopes": []}), "scopes"),
    ] {
        let error = patch(body).await.is_error(400, "validation_error");
        assert_eq!(error["details"][0]["field"], field, "{error}");
    }
    assert_eq!(server.get(&of(&made, "")).await.ok(200), other);
}

#[tokio::test]
async fn what_cannot_be_scheduled_is_refused_with_its_field() {
    let server = server().await;
    let mut cases = Vec::new();
    for (field, value) in [
        ("cron_expression", json!("* * * * * *")),
        ("cron_expression", json!("0 0 30 2 *")),
        ("skill_category", json!("A")),
        ("skill_name", json!("a b")),
        ("skill_version", json!("1.0")),
        ("agent_id", json!("")),
        ("input", json!([])),
        ("enabled", json!("yes")),
        ("every", json!("day")),
    ] {
        let mut body = job("* * * * *");
        body[field] = value;
        cases.push((body, field));
    }
    for field in ["skill_category", "skill_name", "cron_expression"] {
        let mut body = job("* * * * *");
        body.as_object_mut().unwrap().remove(field);
        cases.push((body, field));
    }
    for (body, field) in cases {
        let error =
            server.post("/api/scheduled-jobs", &body).await.is_error(400, "validation_error");
        assert_eq!(error["details"][0]["field"], field, "{error}");
    }
    for (field, value) in
        [("skill_name", "nothing"), ("skill_version", "v9"), ("agent_id", "nobody")]
    {
        let mut body = job("* * * * *");
        body[field] = value.into();
        server.post("/api/scheduled-jobs", &body).await.is_error(404, "not_found");
    }
}

#[tokio::test]
async fn scheduling_takes_its_scope_and_that_of_the_skill() {
    let server = server().await;
    let ask = async |key: &str, body: &Value| {
        server.ask(Method::POST, "/api/scheduled-jobs").key(key).json(body).send().await
    };
    for scopes in ["lab", "webhooks", "scheduler"] {
        let key = server.key_of("default", scopes).await;
        ask(&key, &job("* * * * *")).await.is_error(403, "insufficient_scope");
    }
    let key = server.key_of("default", "lab,scheduler").await;
    let made = ask(&key, &job("0 0 1 1 *")).await.ok(201);
    assert_eq!(made["scopes"], json!(["lab", "scheduler"]));
    let mut wider = job("* * * * *");
    wider["scopes"] = json!(["*"]);
    ask(&key, &wider).await.is_error(403, "insufficient_scope");
    let stranger = server.key_of("acme", "*").await;
    let foreign = server.ask(Method::GET, &of(&made, "")).key(&stranger).send().await;
    foreign.is_error(404, "not_found");
    let missing = server.get("/api/scheduled-jobs/nonsense").await;
    assert_eq!(missing.body, foreign.body);
}
