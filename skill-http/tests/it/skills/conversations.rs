//! `/api/conversations`: listing, one of them, and its messages.

use http::Method;
use serde_json::{Value, json};

use super::{conversation, ended, job};
use crate::world::{TestServer, provider::json, server, setup};

/// The ids of a listing.
async fn listed(server: &TestServer, query: &str) -> Vec<String> {
    let all = server.get(&format!("/api/conversations{query}")).await.ok(200);
    let ids = all.as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap().to_owned());
    ids.collect()
}

fn id(job: &str) -> String {
    job.replace("job_", "conv_")
}

#[tokio::test]
async fn a_job_is_a_conversation_that_is_listed_and_shown() {
    for server in [server().await, setup().on_disk().start().await] {
        let done = job(&server, &json!({"do": "echo", "note": "hi"})).await;
        ended(&server, &done).await;
        server.advance(1);
        let failed = job(&server, &json!({"do": "fail"})).await;
        ended(&server, &failed).await;
        server.advance(1);
        let active = job(&server, &json!({"do": "wait"})).await;
        assert_eq!(listed(&server, "").await, [id(&active), id(&failed), id(&done)]);
        assert_eq!(listed(&server, "?status=active").await, [id(&active)]);
        assert_eq!(listed(&server, "?status=completed&trigger_type=api").await, [id(&done)]);
        assert_eq!(listed(&server, "?status=failed&agent_id=default").await, [id(&failed)]);
        assert_eq!(listed(&server, "?limit=1&offset=1").await, [id(&failed)]);
        for none in ["?status=cancelled", "?trigger_type=webhook", "?agent_id=x", "?user_id=ann"] {
            assert!(listed(&server, none).await.is_empty(), "{none}");
        }
        let row = server.get("/api/conversations?limit=1").await.ok(200)[0].clone();
        let members =
            ["agent_id", "created_at", "id", "status", "trigger_type", "updated_at", "user_id"];
        let mut names = row.as_object().unwrap().keys().collect::<Vec<_>>();
        names.sort();
        assert_eq!(names, members);
        assert_eq!((&row["agent_id"], &row["user_id"]), (&json!("default"), &Value::Null));
        let shown = server.get(&conversation(&done)).await.ok(200);
        assert_eq!(shown["input"], json!({"do": "echo", "note": "hi"}));
        assert_eq!((&shown["category"], &shown["version"]), (&json!("lab"), &json!("v1.0")));
        assert_eq!((&shown["progress"], &shown["jobs"]), (&json!(100), &json!([done])));
        assert_eq!(shown["result"], json!({"do": "echo", "note": "hi"}));
    }
}

#[tokio::test]
async fn what_a_run_says_and_calls_are_its_messages() {
    for server in [server().await, setup().on_disk().start().await] {
        server.answers("GET", "/items/1", json(200, r#"{"name": "one"}"#)).await;
        let job = job(&server, &json!({"do": "talk"})).await;
        ended(&server, &job).await;
        let path = format!("{}/messages", conversation(&job));
        let all = server.get(&path).await.ok(200);
        let line = |message: &Value| {
            let text = |name: &str| message[name].as_str().unwrap().to_owned();
            assert_eq!(message["job_id"], job, "{message}");
            format!("{} {}", text("role"), text("type"))
        };
        let mut lines = all.as_array().unwrap().iter().map(line).collect::<Vec<_>>();
        let expected = ["user input", "assistant text", "assistant text", "tool call"];
        lines[1..4].sort();
        assert_eq!(lines, [&expected[..], &["assistant result"]].concat());
        let said = all.as_array().unwrap().iter().filter(|one| one["type"] == "text");
        let said = said.map(|one| &one["content"]).collect::<Vec<_>>();
        assert_eq!(said, ["Looking it up.", "Found it."]);
        assert_eq!(all[0]["content"], json!({"do": "talk"}));
        assert_eq!(all[4]["content"], json!({"name": "one"}));
        let page = server.get(&format!("{path}?limit=2&offset=3")).await.ok(200);
        assert_eq!(page, json!([all[3], all[4]]));
        let shown = server.get(&conversation(&job)).await.ok(200);
        assert_eq!(shown["calls"][0]["skill_name"], "get-item", "{shown}");
        assert_eq!(shown["calls"][0]["upstream_status"], 200);
    }
}

#[tokio::test]
async fn a_run_that_goes_on_tells_how_far_it_is() {
    let server = server().await;
    server.lab.say(40);
    let job = job(&server, &json!({"do": "wait"})).await;
    let path = format!("{}/messages", conversation(&job));
    loop {
        let all = server.get(&path).await.ok(200);
        assert_eq!(
            (&all[1]["type"], &all[1]["content"]["status"]),
            (&json!("progress"), &json!("active"))
        );
        if all[1]["content"]["progress"] == 40 {
            break;
        }
        tokio::task::yield_now().await;
    }
    server.lab.say(100);
    ended(&server, &job).await;
}

#[tokio::test]
async fn a_run_may_follow_in_a_conversation() {
    for server in [server().await, setup().on_disk().start().await] {
        let first = job(&server, &json!({"do": "echo"})).await;
        ended(&server, &first).await;
        server.advance(1);
        let follow = |what: &str, name: &str| {
            let ask = server.with_key(Method::POST, "/api/lab/v1/run");
            ask.header("skill-conversation", name).json(&json!({"do": what})).send()
        };
        let second = follow("wait", &id(&first)).await.ok(202);
        let second = second["job_id"].as_str().unwrap().to_owned();
        assert_eq!(listed(&server, "").await, [id(&first)]);
        let shown = server.get(&conversation(&first)).await.ok(200);
        assert_eq!(shown["status"], "active");
        assert_eq!(shown["jobs"], json!([first, second]));
        server.get(&conversation(&second)).await.is_error(404, "not_found");
        server.lab.say(100);
        server.ended(&second.replace("job_", "exec_")).await;
        let shown = server.get(&conversation(&first)).await.ok(200);
        assert_eq!(shown["status"], "completed");
        let messages = server.get(&format!("{}/messages", conversation(&first))).await.ok(200);
        assert_eq!(messages.as_array().unwrap().len(), 4);
        let unknown = format!("conv_{}", "0".repeat(36));
        for name in [&id(&second), &unknown, "conv_x", "job_x"] {
            assert_eq!(follow("echo", name).await.status.as_u16(), 404, "{name}");
        }
    }
}

#[tokio::test]
async fn nobody_sees_a_conversation_that_is_none_of_theirs() {
    let server = server().await;
    let job = job(&server, &json!({"do": "echo"})).await;
    ended(&server, &job).await;
    let rival = server.key_of("rival", "*").await;
    let other = server.key_of("default", "conversations,open").await;
    for key in [&rival, &other] {
        let get = |path: &str| server.ask(Method::GET, path).key(key).send();
        assert_eq!(get("/api/conversations").await.ok(200), json!([]));
        get(&conversation(&job)).await.is_error(404, "not_found");
        get(&format!("{}/messages", conversation(&job))).await.is_error(404, "not_found");
    }
    let narrow = server.key_of("default", "lab").await;
    let answer = server.ask(Method::GET, "/api/conversations").key(&narrow).send().await;
    assert!(
        answer.is_error(403, "insufficient_scope")["message"]
            .as_str()
            .is_some_and(|text| text.contains("'conversations'"))
    );
    let both = server.key_of("default", "conversations,lab/run").await;
    let answer = server.ask(Method::GET, &conversation(&job)).key(&both).send().await;
    assert_eq!(answer.ok(200)["status"], "completed");
}

#[tokio::test]
async fn a_user_sees_its_own_conversations() {
    let server = server().await;
    let submit = |user: &str| {
        let ask = server.with_key(Method::POST, "/api/lab/v1/run").header("skill-user", user);
        ask.json(&json!({"do": "echo"})).send()
    };
    let ann = submit("ann").await.ok(202)["job_id"].as_str().unwrap().to_owned();
    let bob = submit("bob").await.ok(202)["job_id"].as_str().unwrap().to_owned();
    assert_eq!(listed(&server, "?user_id=ann").await, [id(&ann)]);
    let ask = server.with_key(Method::GET, "/api/conversations").header("skill-user", "bob");
    let seen = ask.send().await.ok(200);
    assert_eq!((seen.as_array().unwrap().len(), &seen[0]["id"]), (1, &json!(id(&bob))));
    let ask = server.with_key(Method::GET, &conversation(&ann)).header("skill-user", "bob");
    ask.send().await.is_error(404, "not_found");
}

#[tokio::test]
async fn runs_of_other_doors_are_no_conversations() {
    let server = server().await;
    let id = server.queued("lab-run", &json!({"do": "echo"})).await;
    server.ended(&id).await;
    assert!(listed(&server, "").await.is_empty());
    let path = format!("/api/conversations/{}", id.replace("exec_", "conv_"));
    server.get(&path).await.is_error(404, "not_found");
}

#[tokio::test]
async fn the_bounds_of_listings_are_strict() {
    let server = server().await;
    for query in [
        "limit=0",
        "limit=201",
        "limit=a",
        "offset=-1",
        "offset=9223372036854775808",
        "status=done",
        "trigger_type=cron",
        "agent_id=A",
        "user_id=a%20b",
        "status=active&status=failed",
    ] {
        let answer = server.get(&format!("/api/conversations?{query}")).await;
        answer.is_error(400, "validation_error");
    }
    assert!(listed(&server, "?limit=200&offset=9223372036854775807&unknown=1").await.is_empty());
    for path in ["conv_x", "exec_x", "x"] {
        let answer = server.get(&format!("/api/conversations/{path}")).await;
        answer.is_error(404, "not_found");
    }
}
