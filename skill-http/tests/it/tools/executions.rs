//! `/v1/executions`: how runs go on and how they ended.

use std::time::{Duration, Instant};

use http::Method;
use serde_json::{Value, json};

use crate::world::{
    TestServer,
    golden::{golden, redact},
    provider::json,
    server, setup,
};

async fn with_items(server: &TestServer) {
    server.answers("GET", "/items/1", json(200, r#"{"id":1}"#)).await;
}

/// A call at once; returns its run's id.
async fn call(server: &TestServer) -> String {
    let answer = server.invoke("open-get-item", &json!({"item": "1"})).await.ok(200);
    answer["execution_id"].as_str().unwrap().to_owned()
}

fn ids(page: &Value) -> Vec<String> {
    let runs = page["executions"].as_array().unwrap();
    runs.iter().map(|run| run["id"].as_str().unwrap().to_owned()).collect()
}

/// Waits until a run says that it is so far.
async fn until(server: &TestServer, id: &str, percent: u64) -> Value {
    loop {
        let run = server.get(&format!("/v1/executions/{id}")).await.ok(200);
        if run["progress"] == percent {
            return run;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_run_that_ended_is_shown_with_its_result() {
    for server in [server().await, setup().on_disk().start().await] {
        with_items(&server).await;
        let id = call(&server).await;
        for path in [format!("/v1/executions/{id}"), format!("/executions/{id}")] {
            let answer = server.get(&path).await;
            assert_eq!(answer.ok(200)["result"], json!({"id": 1}));
            let shape = redact(&server, &answer.text());
            insta::allow_duplicates!(insta::assert_snapshot!(shape));
        }
    }
}

#[tokio::test]
async fn the_id_of_a_job_is_another_spelling_of_its_run() {
    let server = server().await;
    with_items(&server).await;
    let id = call(&server).await;
    let raw = id.strip_prefix("exec_").unwrap();
    let run = server.get(&format!("/v1/executions/{id}")).await.ok(200);
    for path in ["/v1/executions/job_", "/executions/job_"] {
        assert_eq!(server.get(&format!("{path}{raw}")).await.ok(200), run);
    }
    for other in ["conv_", "job_job_", "exec_job_", "JOB_", ""] {
        let answer = server.get(&format!("/v1/executions/{other}{raw}")).await;
        answer.is_tools_error(404, "NOT_FOUND");
    }
}

#[tokio::test]
async fn a_call_of_another_dialect_is_a_run_without_bodies() {
    let server = server().await;
    with_items(&server).await;
    server.call("open/get_item", json!({"item": "1"})).await.ok(200);
    let listed = server.get("/v1/executions").await.ok(200);
    assert_eq!(listed["executions"][0]["tool_id"], "open-get-item");
    let id = &ids(&listed)[0];
    let run = server.get(&format!("/v1/executions/{id}")).await.ok(200);
    assert_eq!((&run["status"], &run["result"]), (&json!("success"), &Value::Null));
}

#[tokio::test]
async fn progress_is_0_queued_below_100_running_and_100_at_the_end() {
    let server = server().await;
    let id = server.queued("lab-run", &json!({"do": "wait"})).await;
    for percent in [10, 55, 99] {
        server.lab.say(percent);
        let run = until(&server, &id, percent.into()).await;
        assert_eq!(run["status"], "running");
        assert!(run["started_at"].is_string() && run["duration_ms"].is_null(), "{run}");
    }
    server.lab.say(100);
    let run = server.ended(&id).await;
    assert_eq!((&run["status"], &run["progress"]), (&json!("success"), &json!(100)));
    assert!(run["duration_ms"].is_u64(), "{run}");
}

#[tokio::test]
async fn wait_comes_back_at_the_end_or_when_it_is_over() {
    let server = server().await;
    let id = server.queued("lab-run", &json!({"do": "wait"})).await;
    let began = Instant::now();
    let run = server.get(&format!("/v1/executions/{id}?wait=1")).await.ok(200);
    assert!(began.elapsed() >= Duration::from_millis(900), "{:?}", began.elapsed());
    assert_eq!(run["status"], "running");
    let path = format!("/v1/executions/{id}?wait=300");
    let waiting = server.get(&path);
    let saying = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        server.lab.say(100);
    };
    let began = Instant::now();
    let (run, ()) = tokio::join!(waiting, saying);
    assert_eq!(run.ok(200)["status"], "success");
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
    // Of a run that has ended nobody waits for anything.
    let began = Instant::now();
    server.get(&format!("/executions/{id}?wait=300")).await.ok(200);
    assert!(began.elapsed() < Duration::from_secs(60));
}

#[tokio::test]
async fn wait_is_strict() {
    let server = server().await;
    let id = server.queued("lab-run", &json!({"do": "echo"})).await;
    for wait in ["301", "-1", "1.5", "abc", "", "1&wait=1"] {
        let answer = server.get(&format!("/v1/executions/{id}?wait={wait}")).await;
        answer.is_tools_error(400, "INVALID_REQUEST");
    }
    server.get(&format!("/v1/executions/{id}?wait=0")).await.ok(200);
}

#[tokio::test]
async fn cancelling_is_final_at_once() {
    for server in [server().await, setup().on_disk().start().await] {
        for what in ["wait", "deaf"] {
            server.lab.say(10);
            let id = server.queued("lab-run", &json!({"do": what})).await;
            until(&server, &id, 10).await;
            let path = format!("/v1/executions/{id}");
            let answer = server.delete(&path).await;
            let expected = json!({
                "status": "cancelled", "execution_id": id,
                "message": "Execution cancelled successfully",
            });
            assert_eq!(answer.ok(200), expected);
            // Whatever the worker comes up with now is too late.
            server.lab.say(100);
            let run = server.ended(&id).await;
            assert_eq!((&run["status"], &run["progress"]), (&json!("cancelled"), &json!(100)));
            assert!(run.get("result").is_none() && run.get("error").is_none(), "{run}");
            tokio::time::sleep(Duration::from_millis(50)).await;
            assert_eq!(server.get(&path).await.ok(200), run);
            let again = server.delete(&path).await;
            again.is_tools_error(400, "INVALID_REQUEST");
        }
    }
}

#[tokio::test]
async fn a_run_that_waits_is_cancelled_before_it_begins() {
    let server = setup().runs(|runs| runs.slots = 1).start().await;
    let first = server.queued("lab-run", &json!({"do": "wait"})).await;
    let second = server.queued("lab-run", &json!({"do": "echo"})).await;
    server.delete(&format!("/executions/{second}")).await.ok(200);
    server.lab.say(100);
    server.ended(&first).await;
    let run = server.ended(&second).await;
    assert_eq!((&run["status"], &run["started_at"]), (&json!("cancelled"), &Value::Null));
}

#[tokio::test]
async fn cancelling_cuts_the_request_under_way() {
    let server = server().await;
    server.answers("GET", "/items/1", json(200, "{}").set_delay(Duration::from_secs(20))).await;
    let id = server.queued("open-get-item", &json!({"item": "1"})).await;
    while server.upstream_saw().await.is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    server.delete(&format!("/v1/executions/{id}")).await.ok(200);
    assert_eq!(server.ended(&id).await["status"], "cancelled");
}

#[tokio::test]
async fn what_has_ended_cannot_be_cancelled() {
    let server = server().await;
    with_items(&server).await;
    let id = call(&server).await;
    let answer = server.delete(&format!("/v1/executions/{id}")).await;
    answer.is_tools_error(400, "INVALID_REQUEST");
    insta::assert_snapshot!(golden(&server, &answer));
}

#[tokio::test]
async fn nobody_sees_another_owners_run() {
    let server = server().await;
    with_items(&server).await;
    let id = call(&server).await;
    let stranger = server.key_of("acme", "*").await;
    let narrow = server.key_of("default", "github").await;
    let missing = format!("exec_{}", "0".repeat(id.len() - 5));
    for key in [&stranger, &narrow] {
        let ask =
            async |method: Method, path: String| server.ask(method, &path).key(key).send().await;
        let unknown = ask(Method::GET, format!("/v1/executions/{missing}")).await;
        unknown.is_tools_error(404, "NOT_FOUND");
        for rest in ["", "/events", "/result", "/calls"] {
            let foreign = ask(Method::GET, format!("/v1/executions/{id}{rest}")).await;
            assert_eq!((foreign.status, &foreign.body), (unknown.status, &unknown.body), "{rest}");
        }
        let foreign = ask(Method::DELETE, format!("/v1/executions/{id}")).await;
        assert_eq!((foreign.status, &foreign.body), (unknown.status, &unknown.body));
        let listed = ask(Method::GET, "/v1/executions".to_owned()).await.ok(200);
        assert_eq!((&listed["total"], &listed["executions"]), (&json!(0), &json!([])));
    }
    server.get(&format!("/v1/executions/{id}")).await.ok(200);
}

#[tokio::test]
async fn a_run_belongs_to_the_user_it_was_made_for() {
    let server = server().await;
    let path = "/v1/tools/lab-run/invoke";
    let ask = server.with_key(Method::POST, path).json(&json!({"do": "echo"}));
    let made = ask.header("skill-user", "ann").send().await.ok(200);
    let path = format!("/v1/executions/{}", made["execution_id"].as_str().unwrap());
    let get = |user: &str| server.with_key(Method::GET, &path).header("skill-user", user).send();
    get("ann").await.ok(200);
    get("bob").await.is_tools_error(404, "NOT_FOUND");
    // The owner's key sees everybody's.
    server.get(&path).await.ok(200);
}

#[tokio::test]
async fn other_spellings_of_an_id_are_not_found() {
    let server = server().await;
    with_items(&server).await;
    let id = call(&server).await;
    let bare = id.strip_prefix("exec_").unwrap();
    for other in [format!("conv_{bare}"), bare.to_owned(), id.to_uppercase(), "x".into()] {
        for path in [format!("/v1/executions/{other}"), format!("/executions/{other}")] {
            server.get(&path).await.is_tools_error(404, "NOT_FOUND");
            server.delete(&path).await.is_tools_error(404, "NOT_FOUND");
        }
    }
}

#[tokio::test]
async fn a_listing_has_pages_and_filters() {
    for server in [server().await, setup().on_disk().start().await] {
        with_items(&server).await;
        server.lab.say(100);
        let mut made = Vec::new();
        for _ in 0..5 {
            made.push(call(&server).await);
            server.advance(1);
            let id = server.queued("lab-run", &json!({"do": "fail"})).await;
            server.ended(&id).await;
            made.push(id);
            server.advance(1);
        }
        made.reverse();
        let get = async |query: &str| server.get(&format!("/v1/executions?{query}")).await.ok(200);
        let all = get("").await;
        assert_eq!(ids(&all), made);
        assert_eq!(
            (&all["total"], &all["limit"], &all["offset"]),
            (&json!(10), &json!(50), &json!(0))
        );
        assert_eq!(all["has_more"], false);
        assert!(all["executions"][0].get("result").is_none());
        let page = get("limit=3&offset=3").await;
        assert_eq!((ids(&page), &page["has_more"]), (made[3..6].to_vec(), &json!(true)));
        assert_eq!(get("limit=3&offset=9").await["has_more"], false);
        // Behind a cursor, `total` says nothing of what is left.
        for (cursor, has_more) in [(4, true), (7, false)] {
            let page = get(&format!("after={}&limit=2", made[cursor])).await;
            assert_eq!(ids(&page), made[cursor + 1..cursor + 3]);
            assert_eq!(page["has_more"], has_more);
        }
        assert_eq!(get("status=success").await["total"], 5);
        assert_eq!(get("status=error&tool_id=lab-run").await["total"], 5);
        assert_eq!(get("status=success&tool_id=lab-run").await["total"], 0);
        assert_eq!(get("tool_id=open_get_item").await["total"], 5);
        assert_eq!(get("tool_id=nope").await["total"], 0);
        assert_eq!(get("status=queued").await["total"], 0);
    }
}

#[tokio::test]
async fn a_walk_by_cursor_meets_every_run_once_whatever_comes_in() {
    let server = server().await;
    with_items(&server).await;
    let mut made = Vec::new();
    for _ in 0..7 {
        made.push(call(&server).await);
        server.advance(1);
    }
    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let page = server.get(&format!("/v1/executions?limit=2{after}")).await.ok(200);
        let ids = ids(&page);
        let Some(last) = ids.last() else { break };
        after = format!("&after={last}");
        found.extend(ids);
        call(&server).await;
        server.advance(1);
    }
    made.reverse();
    assert_eq!(found, made);
}

#[tokio::test]
async fn the_query_of_a_listing_is_strict() {
    let server = server().await;
    for query in [
        "limit=101",
        "limit=0",
        "limit=-1",
        "limit=abc",
        "offset=-5",
        "offset=9223372036854775808",
        "status=bogus",
        "status=",
        "limit=1&limit=2",
        "after=nope",
        "after=",
        "after=conn_0",
    ] {
        let answer = server.get(&format!("/v1/executions?{query}")).await;
        answer.is_tools_error(400, "INVALID_REQUEST");
    }
    server.get("/v1/executions?offset=9223372036854775807&colour=red").await.ok(200);
}

#[tokio::test]
async fn a_large_result_is_read_by_parts() {
    for server in [server().await, setup().on_disk().start().await] {
        for size in [10_u64, 1_000_000] {
            let id = server.queued("lab-run", &json!({"do": "big", "size": size})).await;
            let run = server.ended(&id).await;
            let expected = Value::from("é".repeat(usize::try_from(size).unwrap())).to_string();
            if size == 10 {
                assert_eq!(run["result"].to_string(), expected);
            } else {
                assert_eq!(run["result"], Value::Null);
                assert_eq!(run["result_bytes"], expected.len());
                assert_eq!(run["result_url"], format!("/v1/executions/{id}/result"));
            }
            let (mut text, mut offset, mut parts) = (String::new(), json!(0), 0);
            while !offset.is_null() {
                let path = format!("/v1/executions/{id}/result?limit=300001&offset={offset}");
                let part = server.get(&path).await.ok(200);
                assert_eq!((&part["encoding"], &part["offset"]), (&json!("utf-8"), &offset));
                assert_eq!(part["total"], expected.len());
                text.push_str(part["data"].as_str().unwrap());
                offset = part["next_offset"].clone();
                parts += 1;
            }
            assert_eq!(parts, if size == 10 { 1 } else { 7 });
            assert!(text == expected, "{size}");
        }
    }
}

#[tokio::test]
async fn parts_of_a_result_have_bounds() {
    let server = server().await;
    let id = server.queued("lab-run", &json!({"do": "big", "size": 10})).await;
    server.ended(&id).await;
    let get = async |query: &str| server.get(&format!("/v1/executions/{id}/result?{query}")).await;
    for query in ["limit=0", "limit=1048577", "offset=-1", "limit=x"] {
        get(query).await.is_tools_error(400, "INVALID_REQUEST");
    }
    let past = get("offset=9223372036854775807").await.ok(200);
    assert_eq!((&past["bytes"], &past["next_offset"]), (&json!(0), &Value::Null));
    // From the middle of a character on there is no text.
    let part = get("offset=2&limit=1").await.ok(200);
    assert_eq!((&part["encoding"], &part["data"]), (&json!("base64"), &json!("qQ==")));
    let waits = server.queued("lab-run", &json!({"do": "wait"})).await;
    let early = server.get(&format!("/v1/executions/{waits}/result")).await;
    early.is_tools_error(409, "INVALID_REQUEST");
    let failed = server.queued("lab-run", &json!({"do": "fail"})).await;
    server.ended(&failed).await;
    let none = server.get(&format!("/v1/executions/{failed}/result")).await;
    none.is_tools_error(404, "NOT_FOUND");
}

#[tokio::test]
async fn the_calls_of_a_run_are_listed_with_it_and_nowhere_else() {
    let server = server().await;
    with_items(&server).await;
    server.answers("GET", "/items/2", json(404, r#"{"no":2}"#)).await;
    let id = server.queued("lab-run", &json!({"do": "call"})).await;
    let run = server.ended(&id).await;
    assert_eq!(run["result"], json!([{"id": 1}, {"no": 2}]), "{run}");
    let calls = server.get(&format!("/v1/executions/{id}/calls")).await.ok(200);
    let calls_made = calls["executions"].as_array().unwrap();
    assert!(calls_made.iter().all(|call| call["tool_id"] == "open-get-item"), "{calls}");
    // The clock of the test stands still: their order is anybody's guess.
    for status in ["success", "error"] {
        assert_eq!(calls_made.iter().filter(|call| call["status"] == status).count(), 1, "{calls}");
    }
    assert_eq!(calls["total"], 2);
    assert_eq!(server.get("/v1/executions").await.ok(200)["total"], 1);
}
