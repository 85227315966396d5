//! `/v1/tools`: what can be invoked.

use http::Method;
use serde_json::{Value, json};

use crate::world::{golden::golden, server, setup};

fn ids(page: &Value) -> Vec<&str> {
    page["tools"].as_array().unwrap().iter().map(|tool| tool["id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn the_tool_of_the_products_page_is_there_in_its_form() {
    let server = server().await;
    let tool = server.get("/v1/tools/github-list-prs").await;
    let body = tool.ok(200);
    assert_eq!(body["category"], "integration");
    assert_eq!(body["status"], "ready");
    for (input, required) in [("owner", true), ("repo", true), ("state", false)] {
        assert_eq!(body["inputs"][input]["type"], "string", "{body}");
        assert_eq!(body["inputs"][input]["required"], required, "{body}");
        assert!(body["inputs"][input]["description"].is_string(), "{body}");
    }
    assert_eq!(body["inputs"]["state"]["enum"], json!(["open", "closed", "all"]));
    assert_eq!(body["outputs"]["prs"]["type"], "array");
    assert_eq!(body["outputs"]["count"]["type"], "number");
    assert_eq!(body["rate_limit"], "100 calls/min");
    assert_eq!(body["timeout"], "5s");
    assert!(body["examples"].is_array());
    assert!(body["documentation"].as_str().unwrap().starts_with("https://"), "{body}");
    insta::assert_snapshot!(golden(&server, &tool));
}

#[tokio::test]
async fn a_skill_is_a_tool_as_well() {
    let server = server().await;
    let tool = server.get("/v1/tools/lab-run").await.ok(200);
    assert_eq!(tool["category"], "automation");
    assert_eq!(tool["timeout"], "60s");
    assert_eq!(tool["inputs"]["do"]["type"], "string");
    assert_eq!(tool["inputs"]["size"]["default"], 1);
    assert_eq!(server.get("/v1/tools/lab_run").await.ok(200)["id"], "lab-run");
}

#[tokio::test]
async fn a_listing_is_cut_into_pages() {
    let server = server().await;
    let all = server.get("/v1/tools?limit=100").await.ok(200);
    let total = all["total"].as_u64().unwrap();
    assert_eq!(all["has_more"], false);
    assert_eq!(ids(&all).len() as u64, total);
    let usual = server.get("/v1/tools").await.ok(200);
    assert_eq!((&usual["limit"], &usual["offset"]), (&json!(50), &json!(0)));
    let mut found = Vec::new();
    for offset in (0..total).step_by(7) {
        let page = server.get(&format!("/v1/tools?limit=7&offset={offset}")).await.ok(200);
        assert_eq!(page["total"], total);
        assert_eq!(page["has_more"], offset + 7 < total, "{offset}");
        found.extend(ids(&page).into_iter().map(str::to_owned));
    }
    assert_eq!(found, ids(&all));
    let past = server.get("/v1/tools?offset=9223372036854775807").await.ok(200);
    assert_eq!((&past["tools"], &past["has_more"]), (&json!([]), &json!(false)));
}

#[tokio::test]
async fn tools_are_found_by_category_status_and_words() {
    let server = server().await;
    let find = async |query: &str| server.get(&format!("/v1/tools?{query}")).await.ok(200);
    assert_eq!(ids(&find("category=automation").await), ["lab-run"]);
    assert_eq!(find("category=security").await["total"], 0);
    assert_eq!(find("status=deprecated").await["total"], 0);
    assert_eq!(ids(&find("search=what+a+test").await), ["lab-run"]);
    assert!(ids(&find("search=list+PRs").await).contains(&"github-list-prs"));
    assert_eq!(find("search=%27%20OR%201%3D1--%25_").await["total"], 0);
    assert_eq!(find("search=list&category=automation").await["total"], 0);
}

#[tokio::test]
async fn the_query_of_a_listing_is_strict() {
    let server = server().await;
    for query in [
        "category=cooking",
        "category=",
        "status=bogus",
        "status=Ready",
        "limit=0",
        "limit=101",
        "limit=abc",
        "offset=-1",
        "limit=1&limit=1",
        "category=security&category=security",
        &format!("search={}", "x".repeat(201)),
    ] {
        let answer = server.get(&format!("/v1/tools?{query}")).await;
        let error = answer.is_tools_error(400, "INVALID_REQUEST");
        assert_eq!(error["details"].as_object().unwrap().len(), 1, "{query} {error}");
    }
    server.get("/v1/tools?colour=red&colour=blue").await.ok(200);
}

#[tokio::test]
async fn what_is_no_tool_is_not_found() {
    let server = server().await;
    for id in ["nope", "GitHub-list-prs", "github%2dlist-prs", "..", "github-list-prs%00"] {
        let (line, host) = (format!("GET /v1/tools/{id}"), server.address.to_string());
        let key = format!("Authorization: Bearer {}\r\n", server.key);
        let answer = server.raw_head(&line, &host, &key).await;
        assert!(answer.contains("NOT_FOUND"), "{id}");
    }
}

#[tokio::test]
async fn nobody_lists_tools_without_a_key() {
    let server = server().await;
    let answer = server.ask(Method::GET, "/v1/tools?api_key=x").send().await;
    answer.is_tools_error(401, "UNAUTHORIZED");
    assert_eq!(answer.header("www-authenticate"), "Bearer");
    insta::assert_snapshot!(golden(&server, &answer));
}

#[tokio::test]
async fn every_answer_has_the_figures_of_the_limit() {
    let server = setup().plan("tiny").start().await;
    for left in ["2", "1", "0"] {
        let answer = server.get("/v1/tools").await;
        assert_eq!(answer.header("x-ratelimit-limit"), "3");
        assert_eq!(answer.header("x-ratelimit-remaining"), left);
    }
    let refused = server.get("/v1/tools").await;
    let error = refused.is_tools_error(429, "RATE_LIMITED");
    assert_eq!(error["retry_after"].to_string(), refused.header("retry-after"));
    assert_eq!(error["retryable"], true);
}
