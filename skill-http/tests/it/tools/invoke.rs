//! `POST /v1/tools/{id}/invoke`, answered at once.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use crate::world::{
    TestServer,
    client::Answer,
    declarations,
    golden::golden,
    provider::{json, typed},
    server, setup,
};

/// An answer without what differs from run to run.
fn steady(server: &TestServer, answer: &Answer) -> String {
    let text = golden(server, answer);
    let timing = text.find("\"timing\":{").map(|at| {
        let end = at + text[at..].find('}').unwrap();
        format!("{}\"timing\":{{TIMING{}", &text[..at], &text[end..])
    });
    timing.unwrap_or(text)
}

async fn with_items(server: &TestServer) {
    server.answers("GET", "/items/1", json(200, r#"{"id": 1, "n": 1.50}"#)).await;
}

#[tokio::test]
async fn the_example_of_the_product_comes_out() {
    let server = server().await;
    server.with_github().await;
    let prs = r#"[{"id": 1, "number": 1, "title": "Add feature X", "state": "open", "body": "long",
        "user": {"login": "dev1", "id": 7}}]"#;
    server.answers("GET", "/repos/vln/vln-gg/pulls", json(200, prs)).await;
    let inputs = json!({"owner": "vln", "repo": "vln-gg", "state": "open"});
    let answer = server.invoke("github-list-prs", &inputs).await;
    let body = answer.ok(200);
    assert_eq!(body["status"], "success");
    let pr = &body["result"]["prs"][0];
    assert_eq!((&pr["title"], &pr["author"]), (&json!("Add feature X"), &json!("dev1")));
    assert!(pr.get("body").is_none(), "{pr}");
    assert_eq!(body["result"]["count"], 1);
    insta::assert_snapshot!(steady(&server, &answer));
}

#[tokio::test]
async fn times_add_up() {
    let server = server().await;
    let slow = json(200, "{}").set_delay(Duration::from_millis(30));
    server.answers("GET", "/items/1", slow).await;
    let timing =
        server.invoke("open-get-item", &json!({"item": "1"})).await.ok(200)["timing"].clone();
    let number = |name: &str| timing[name].as_u64().unwrap();
    assert!(number("execution_ms") >= 30, "{timing}");
    assert_eq!(number("total_ms"), number("execution_ms") + number("processing_ms"), "{timing}");
}

#[tokio::test]
async fn a_result_is_json_byte_for_byte() {
    let server = server().await;
    let text = "{\"n\": 123456789012345678901234567890.10, \"a\":[ ]}";
    server.answers("GET", "/search", json(200, text)).await;
    let answer = server.invoke("open-search", &json!({})).await;
    assert!(answer.text().ends_with(&format!("\"result\":{text}}}")), "{}", answer.text());
}

#[tokio::test]
async fn text_nothing_and_binary_are_results_too() {
    let server = server().await;
    for (item, kind, body, result) in [
        ("a", "text/plain", &b"a \"b\""[..], json!("a \"b\"")),
        ("b", "image/png", b"\x89PNG\xff", json!("iVBOR/8=")),
        ("c", "application/json", b"", Value::Null),
    ] {
        server.answers("GET", &format!("/items/{item}"), typed(200, body, kind)).await;
        let answer = server.invoke("open-get-item", &json!({"item": item})).await.ok(200);
        assert_eq!(answer["result"], result, "{answer}");
        let is_binary = kind == "image/png";
        assert_eq!(answer["encoding"] == "base64", is_binary, "{answer}");
        assert_eq!(answer["content_type"] == kind, is_binary, "{answer}");
    }
}

#[tokio::test]
async fn inputs_come_bare_or_wrapped() {
    let server = server().await;
    with_items(&server).await;
    for body in [
        json!({"item": "1"}),
        json!({"inputs": {"item": "1"}}),
        json!({"inputs": {"item": "1"}, "options": {}}),
        json!({"inputs": {"item": "1"}, "options": null}),
        json!({"inputs": {"item": "1"}, "options": {"async": false, "timeout": 5}}),
        // Not wrapped: an input that nobody declared is ignored.
        json!({"item": "1", "inputs": {"item": "2"}}),
        json!({"item": "1", "options": {"async": true}}),
    ] {
        let answer = server.invoke("open-get-item", &body).await.ok(200);
        assert_eq!(answer["result"]["id"], 1, "{body}");
    }
    for body in [
        json!({"inputs": ["item"]}),
        json!({"inputs": {"item": "1"}, "options": 5}),
        json!({"inputs": {"item": "1"}, "options": {"colour": "red"}}),
        json!({"inputs": {"item": "1"}, "options": {"timeout": 0}}),
        json!({"inputs": {"item": "1"}, "options": {"timeout": 301}}),
        json!({"inputs": {"item": "1"}, "options": {"async": "yes"}}),
        json!({"inputs": {"item": "1"}, "options": {"on_deadline": "hope"}}),
        json!({"options": {"async": true}}),
    ] {
        let answer = server.invoke("open-get-item", &body).await;
        answer.is_tools_error(400, "INVALID_REQUEST");
    }
    let path = "/v1/tools/open-get-item/invoke?timeout=5";
    let differs = json!({"inputs": {"item": "1"}, "options": {"timeout": 6}});
    server.post(path, &differs).await.is_tools_error(400, "INVALID_REQUEST");
}

#[tokio::test]
async fn a_tool_with_an_input_called_inputs_takes_them_bare() {
    let place = "127.0.0.1:9".parse().unwrap();
    let text = format!(
        "{}\n[endpoints.form]\nsummary = \"Form\"\nmethod = \"POST\"\npath = \"/form\"\n\
         params = {{ inputs = {{ type = \"object\" }} }}\n",
        declarations::head("Odd", "http://127.0.0.1:9", r#"scheme = "none""#)
    );
    let server = setup().declare("odd", place, text).start().await;
    // Wrapped, this would be a missing schema error or none at all; bare, it is sent.
    let answer = server.invoke("odd-form", &json!({"inputs": {"a": 1}})).await;
    let error = answer.is_tools_error(500, "TOOL_ERROR");
    assert_eq!(error["details"]["reason"], "upstream_unavailable");
    let wrong = server.invoke("odd-form", &json!({"inputs": 5})).await;
    wrong.is_tools_error(400, "INVALID_REQUEST");
}

#[tokio::test]
async fn an_empty_body_is_empty_inputs_and_the_schema_decides() {
    let server = server().await;
    server.answers("GET", "/search", json(200, "[]")).await;
    let send = async |tool: &str| {
        server.with_key(Method::POST, &format!("/v1/tools/{tool}/invoke")).send().await
    };
    send("open-search").await.ok(200);
    let error = send("open-get-item").await.is_tools_error(400, "INVALID_REQUEST");
    assert!(error["details"]["item"].is_string(), "{error}");
}

#[tokio::test]
async fn what_is_no_json_object_is_refused() {
    let server = server().await;
    let send = async |body: &str, kind: &str| {
        let ask = server.with_key(Method::POST, "/v1/tools/open-search/invoke");
        ask.header("content-type", kind).body(body.to_owned()).send().await
    };
    for body in ["{not json", "[1,2]", "{} x", r#"{"q":"1","q":"2"}"#, "\u{feff}{}", "5"] {
        send(body, "application/json").await.is_tools_error(400, "INVALID_REQUEST");
    }
    for kind in ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=x"] {
        send("{}", kind).await.is_tools_error(415, "INVALID_REQUEST");
    }
    let large = format!("{{\"q\":\"{}\"}}", "x".repeat(2 << 20));
    send(&large, "application/json").await.is_tools_error(413, "INVALID_REQUEST");
    assert!(server.upstream_saw().await.is_empty());
}

#[tokio::test]
async fn the_query_is_strict() {
    let server = server().await;
    for query in [
        "timeout=0",
        "timeout=301",
        "timeout=-1",
        "timeout=NaN",
        "timeout=1.5",
        "timeout=",
        "timeout=1&timeout=1",
        "async=maybe",
        "async=1",
        "async=",
        "async=true&async=true",
        "on_deadline=hope",
    ] {
        let answer =
            server.post(&format!("/v1/tools/open-search/invoke?{query}"), &json!({})).await;
        answer.is_tools_error(400, "INVALID_REQUEST");
    }
    assert!(server.upstream_saw().await.is_empty());
}

#[tokio::test]
async fn what_is_no_tool_is_not_found() {
    let server = server().await;
    for tool in ["nope", "open-nope", "open", "Open-search"] {
        let answer = server.invoke(tool, &json!({})).await;
        let error = answer.is_tools_error(404, "NOT_FOUND");
        assert_eq!(error["retryable"], false);
        assert!(answer.json().get("execution_id").is_none());
    }
}

#[tokio::test]
async fn a_key_without_the_scope_is_refused() {
    let server = server().await;
    with_items(&server).await;
    let key = server.key_of("default", "open/get_item").await;
    let send = async |tool: &str, rest: &str| {
        let path = format!("/v1/tools/{tool}/invoke{rest}");
        server.ask(Method::POST, &path).key(&key).json(&json!({"item": "1"})).send().await
    };
    send("open-get-item", "").await.ok(200);
    for rest in ["", "?async=true"] {
        send("open-search", rest).await.is_tools_error(403, "FORBIDDEN");
        send("lab-run", rest).await.is_tools_error(403, "FORBIDDEN");
        // Its inputs are wrong as well: nobody without the scope learns what they are.
        send("github-list-prs", rest).await.is_tools_error(403, "FORBIDDEN");
    }
}

#[tokio::test]
async fn an_error_of_the_service_is_a_tool_error_with_its_status_and_body() {
    let server = server().await;
    let body = r#"{"message":"Validation Failed"}"#;
    server.answers("GET", "/items/1", json(422, body)).await;
    let answer = server.invoke("open-get-item", &json!({"item": "1"})).await;
    let error = answer.is_tools_error(500, "TOOL_ERROR");
    assert_eq!(error["details"]["upstream_status"], "422");
    assert_eq!(error["details"]["upstream_body"], body);
    assert_eq!(error["retryable"], false);
    let whole = answer.json();
    assert_eq!(whole["status"], "error");
    let id = whole["execution_id"].as_str().unwrap();
    let run = server.get(&format!("/v1/executions/{id}")).await.ok(200);
    assert_eq!((&run["status"], &run["progress"]), (&json!("error"), &json!(100)));
    assert_eq!(run["error"], error);
    insta::assert_snapshot!(steady(&server, &answer));
}

#[tokio::test]
async fn a_refusal_that_will_pass_can_be_tried_again() {
    let server = server().await;
    server.answers("GET", "/items/1", json(503, "{}")).await;
    let answer = server.invoke("open-get-item", &json!({"item": "1"})).await;
    assert_eq!(answer.is_tools_error(500, "TOOL_ERROR")["retryable"], true);
}

#[tokio::test]
async fn a_long_answer_of_the_service_is_cut_in_the_details() {
    let server = server().await;
    server.answers("GET", "/items/1", typed(400, "é".repeat(5000).as_bytes(), "text/plain")).await;
    let answer = server.invoke("open-get-item", &json!({"item": "1"})).await;
    let error = answer.is_tools_error(500, "TOOL_ERROR");
    let shown = error["details"]["upstream_body"].as_str().unwrap();
    assert!(shown.len() < 4200 && shown.ends_with('…'), "{}", shown.len());
}

#[tokio::test]
async fn an_answer_that_cannot_be_used_is_a_tool_error() {
    let server = setup().calls(|calls| calls.answer_bytes = 100).start().await;
    server.answers("GET", "/items/1", typed(200, b"{", "application/json")).await;
    server.answers("GET", "/items/2", typed(200, &[b'a'; 101], "text/plain")).await;
    for item in ["1", "2"] {
        let answer = server.invoke("open-get-item", &json!({"item": item})).await;
        let error = answer.is_tools_error(500, "TOOL_ERROR");
        assert_eq!(error["details"]["reason"], "upstream_error");
        assert_eq!(answer.json()["status"], "error");
    }
}

#[tokio::test]
async fn without_a_connection_there_is_a_page_to_make_one() {
    let server = server().await;
    let inputs = json!({"repo": "acme/webapp", "title": "Bug report"});
    let answer = server.invoke("github-create-issue", &inputs).await;
    let error = answer.is_tools_error(403, "FORBIDDEN");
    assert_eq!(error["details"]["reason"], "integration_not_connected");
    let page = error["details"]["action_url"].as_str().unwrap();
    let path = page.strip_prefix(&server.public).unwrap();
    server.ask(Method::GET, path).send().await.ok_page();
}

#[tokio::test]
async fn a_dead_grant_is_forbidden_with_a_page_to_mend_it() {
    let server = server().await;
    server.with_github().await;
    server.answers("POST", "/repos/acme/webapp/issues", json(401, "{}")).await;
    let refused = json(200, r#"{"error":"bad_refresh_token"}"#);
    server.answers("POST", "/login/oauth/access_token", refused).await;
    let inputs = json!({"repo": "acme/webapp", "title": "Bug report"});
    let answer = server.invoke("github-create-issue", &inputs).await;
    let error = answer.is_tools_error(403, "FORBIDDEN");
    assert_eq!(error["details"]["reason"], "token_expired");
    assert!(error["details"]["action_url"].as_str().unwrap().contains("/connect/"), "{error}");
}

#[tokio::test]
async fn several_connections_and_none_named_is_409_and_the_header_names_one() {
    let server = server().await;
    server.knows_everybody().await;
    with_items(&server).await;
    for label in ["home", "work"] {
        let body = json!({
            "integration": "keyed", "credentials": {"api_key": label}, "label": label,
        });
        server.post("/v1/connect", &body).await.ok(200);
    }
    let answer = server.invoke("keyed-get-item", &json!({"item": "1"})).await;
    let error = answer.is_tools_error(409, "INVALID_REQUEST");
    assert_eq!(error["details"]["reason"], "choose_connection");
    assert_eq!(error["details"].as_object().unwrap().len(), 3, "{error}");
    let send = |label: &str| {
        let ask = server.with_key(Method::POST, "/v1/tools/keyed-get-item/invoke");
        ask.json(&json!({"item": "1"})).header("skill-connection", label).send()
    };
    send("work").await.ok(200);
    let seen = server.upstream.received_requests().await.unwrap();
    assert_eq!(seen.last().unwrap().headers["x-key"], "work");
    send("nope").await.is_tools_error(404, "NOT_FOUND");
    let wrapped = json!({"inputs": {"item": "1"}, "options": {"connection": "home"}});
    server.invoke("keyed-get-item", &wrapped).await.ok(200);
}

#[tokio::test]
async fn a_call_past_its_time_is_504_and_an_error() {
    let server = server().await;
    server.answers("GET", "/items/1", json(200, "{}").set_delay(Duration::from_secs(9))).await;
    let path = "/v1/tools/open-get-item/invoke?timeout=1";
    let answer = server.post(path, &json!({"item": "1"})).await;
    answer.is_tools_error(504, "TOOL_TIMEOUT");
    let body = answer.json();
    assert_eq!(body["status"], "error");
    let run = server.ended(body["execution_id"].as_str().unwrap()).await;
    assert_eq!(run["status"], "error");
    assert_eq!(run["error"]["code"], "TOOL_TIMEOUT");
}

#[tokio::test]
async fn a_request_that_may_have_had_an_effect_says_so() {
    let server = server().await;
    server.answers("POST", "/create", json(200, "{}").set_delay(Duration::from_secs(9))).await;
    let path = "/v1/tools/open-create/invoke?timeout=1";
    let answer = server.post(path, &json!({"note": "n"})).await;
    let error = answer.is_tools_error(504, "TOOL_TIMEOUT");
    assert_eq!(error["details"]["reason"], "outcome_unknown", "{error}");
    assert_eq!(error["retryable"], false);
}

#[tokio::test]
async fn a_skill_answers_at_once_as_well() {
    for server in [server().await, setup().on_disk().start().await] {
        let answer = server.invoke("lab-run", &json!({"do": "echo", "note": "n"})).await.ok(200);
        assert_eq!(answer["result"], json!({"do": "echo", "note": "n"}));
        assert_eq!(answer["status"], "success");
        assert!(answer["timing"]["total_ms"].is_u64());
    }
}

#[tokio::test]
async fn a_skill_that_fails_or_panics_is_a_tool_error() {
    let server = server().await;
    for what in ["fail", "panic"] {
        let answer = server.invoke("lab-run", &json!({"do": what})).await;
        let body = answer.json();
        assert_eq!(answer.status.as_u16(), 500, "{body}");
        assert_eq!(body["status"], "error", "{body}");
        let run = server.ended(body["execution_id"].as_str().unwrap()).await;
        assert_eq!(run["error"]["code"], body["error"]["code"]);
        assert!(!body.to_string().contains("panicked at"), "{body}");
    }
    let failed = server.invoke("lab-run", &json!({"do": "fail"})).await;
    assert_eq!(failed.is_tools_error(500, "TOOL_ERROR")["message"], "it did not work");
}

#[tokio::test]
async fn a_skill_past_its_time_is_stopped() {
    let server = server().await;
    for what in ["wait", "deaf"] {
        let path = "/v1/tools/lab-run/invoke?timeout=1";
        let answer = server.post(path, &json!({"do": what})).await;
        answer.is_tools_error(504, "TOOL_TIMEOUT");
        let id = answer.json()["execution_id"].as_str().unwrap().to_owned();
        server.lab.say(100);
        let run = server.ended(&id).await;
        assert_eq!(
            (&run["status"], &run["error"]["code"]),
            (&json!("error"), &json!("TOOL_TIMEOUT"))
        );
        server.lab.say(0);
    }
}

#[tokio::test]
async fn what_is_past_its_time_may_go_on() {
    let server = server().await;
    let slow = json(200, r#"{"late": true}"#).set_delay(Duration::from_millis(1500));
    server.answers("GET", "/items/1", slow).await;
    for (tool, inputs) in
        [("lab-run", json!({"do": "wait"})), ("open-get-item", json!({"item": "1"}))]
    {
        let path = format!("/v1/tools/{tool}/invoke?timeout=1&on_deadline=continue");
        let answer = server.post(&path, &inputs).await;
        let body = answer.ok(202);
        assert_eq!(body["status"], "queued");
        let id = body["execution_id"].as_str().unwrap();
        assert_eq!(answer.header("location"), format!("/v1/executions/{id}"));
        server.lab.say(100);
        assert_eq!(server.ended(id).await["status"], "success");
    }
}

#[tokio::test]
async fn nobody_waits_for_a_run_that_begins_too_late() {
    let server = server().await;
    let began = std::time::Instant::now();
    let path = "/v1/tools/lab-run/invoke?timeout=9&delay=9";
    let refused = server.post(path, &json!({"do": "echo"})).await;
    let error = refused.is_tools_error(400, "INVALID_REQUEST");
    assert!(error["details"]["delay"].is_string(), "{error}");
    assert_eq!(server.get("/v1/executions").await.ok(200)["total"], 0);
    let answer = server.post(&format!("{path}&on_deadline=continue"), &json!({"do": "echo"})).await;
    let id = answer.ok(202)["execution_id"].as_str().unwrap().to_owned();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    let run = server.get(&format!("/v1/executions/{id}")).await.ok(200);
    assert_eq!(run["status"], "queued");
}
