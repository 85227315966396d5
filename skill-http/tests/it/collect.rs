//! `collect`, and calls that name what the caller has already.

use http::Method;
use serde_json::{Value, json};
use wiremock::{Request, ResponseTemplate};

use crate::world::{TestServer, provider::json, server, setup};

const ISSUES: &str = "/repos/acme/webapp/issues";

/// Three pages of two issues each, as GitHub links them.
async fn three_pages(server: &TestServer) {
    let base = server.upstream.uri();
    server
        .reacts("GET", ISSUES, move |request: &Request| {
            let page = request.url.query_pairs().find(|(name, _)| name == "page");
            let page = page.map_or(1, |(_, text)| text.parse::<u64>().unwrap());
            let body = format!("[{{\"n\":{page}.0}},{{\"n\":{page}.5}}]");
            let next = format!("<{base}{ISSUES}?page={}&per_page=2>; rel=\"next\"", page + 1);
            match page {
                1 | 2 => json(200, &body).insert_header("link", next),
                3 => json(200, &body),
                _ => json(500, "{}"),
            }
        })
        .await;
}

async fn collect(server: &TestServer, collect: Value, params: Value) -> Value {
    let mut body = json!({"params": {"repo": "acme/webapp"}, "collect": collect});
    if let (Some(all), Some(more)) = (body["params"].as_object_mut(), params.as_object()) {
        all.extend(more.clone());
    }
    server.post("/v1/github/list_issues", &body).await.ok(200)
}

#[tokio::test]
async fn pages_come_in_one_answer_that_says_whether_there_are_more() {
    let server = server().await;
    server.with_github().await;
    three_pages(&server).await;
    let all = collect(&server, json!(true), json!({})).await;
    assert_eq!(
        (&all["status"], &all["data"]["pages"], &all["data"]["more"]),
        (&json!(200), &json!(3), &json!(false))
    );
    assert_eq!(all["data"]["items"].as_array().unwrap().len(), 6);
    assert_eq!(all["data"].get("next"), None);
    let some = collect(&server, json!({"pages": 2}), json!({})).await["data"].clone();
    assert_eq!((&some["pages"], &some["more"]), (&json!(2), &json!(true)));
    // What goes on from there.
    let next = &some["next"];
    assert_eq!(
        (&next["page"], &next["per_page"], &next["repo"]),
        (&json!(3), &json!(2), &json!("acme/webapp"))
    );
    let rest = collect(&server, json!(true), next.clone()).await["data"].clone();
    assert_eq!(rest, json!({"items": [{"n": 3.0}, {"n": 3.5}], "pages": 1, "more": false}));
    let three = collect(&server, json!({"items": 3}), json!({})).await["data"].clone();
    assert_eq!(three["items"].as_array().unwrap().len(), 4);
    // Without it a page is a page, byte for byte.
    let body = json!({"params": {"repo": "acme/webapp"}, "collect": false});
    let one = server.post("/v1/github/list_issues", &body).await;
    assert_eq!(one.text(), r#"{"status":200,"data":[{"n":1.0},{"n":1.5}]}"#);
}

#[tokio::test]
async fn a_page_that_fails_costs_nothing_of_those_before_it() {
    let server = server().await;
    server.with_github().await;
    three_pages(&server).await;
    let from = json!({"page": 9});
    // The first is what there is.
    let failed = collect(&server, json!(true), from).await;
    assert_eq!(failed, json!({"status": 500, "error": {}}));
    server.upstream.reset().await;
    server
        .reacts("GET", ISSUES, |request: &Request| {
            let is_first = request.url.query().is_none();
            let next = "<https://evil.test/x?page=2&token=t>; rel=\"next\"";
            match is_first {
                true => json(200, "[1]").insert_header("link", next),
                false => json(429, "{}"),
            }
        })
        .await;
    let all = collect(&server, json!(true), json!({})).await["data"].clone();
    assert_eq!((&all["items"], &all["more"]), (&json!([1]), &json!(true)));
    assert_eq!((&all["stopped"], &all["next"]["page"]), (&json!({"status": 429}), &json!(2)));
    let seen = server.upstream_saw().await;
    assert_eq!(seen, [format!("GET {ISSUES}"), format!("GET {ISSUES}?page=2")]);
}

#[tokio::test]
async fn what_is_gathered_keeps_to_the_deadline_and_to_the_bound_on_answers() {
    let server = setup().calls(|calls| calls.answer_bytes = 30).start().await;
    server.with_github().await;
    three_pages(&server).await;
    let all = collect(&server, json!(true), json!({})).await["data"].clone();
    assert_eq!((&all["pages"], &all["more"]), (&json!(2), &json!(true)));
}

#[tokio::test]
async fn what_cannot_be_gathered_is_refused() {
    let server = server().await;
    server.with_github().await;
    for (path, collect) in [
        ("github/get_user", json!(true)),
        ("github/list_issues", json!({"pages": 0})),
        ("github/list_issues", json!({"pages": 101})),
        ("github/list_issues", json!({"items": 10_001})),
        ("github/list_issues", json!({"page": 1})),
        ("github/list_issues", json!(5)),
        ("lab/run", json!(true)),
    ] {
        let params = json!({"repo": "acme/webapp", "do": "echo"});
        let body = json!({"params": params, "collect": collect});
        server.post(&format!("/v1/{path}"), &body).await.is_error(400, "bad_request");
    }
    let listing = server.get("/v1/skills/github/list_issues").await.ok(200);
    assert_eq!(listing["collect"], "link");
    assert_eq!(server.get("/v1/skills/github/get_user").await.ok(200)["collect"], Value::Null);
}

#[tokio::test]
async fn a_key_covers_what_was_gathered() {
    let server = server().await;
    server.with_github().await;
    three_pages(&server).await;
    let ask = |collect: Value| {
        let body = json!({"params": {"repo": "acme/webapp"}, "collect": collect});
        server
            .with_key(Method::POST, "/v1/github/list_issues")
            .header("idempotency-key", "k")
            .json(&body)
            .send()
    };
    let first = ask(json!(true)).await.ok(200);
    let again = ask(json!(true)).await;
    assert_eq!((again.header("idempotent-replayed"), again.json()), ("true", first));
    ask(json!(false)).await.is_error(422, "bad_request");
}

#[tokio::test]
async fn a_caller_that_has_an_answer_already_is_told_so() {
    let server = server().await;
    server.with_github().await;
    server.upstream.reset().await;
    server
        .reacts("GET", "/user", |request: &Request| {
            let has_it = request.headers.get("if-none-match").is_some_and(|etag| etag == "\"1\"");
            let answer = if has_it { ResponseTemplate::new(304) } else { json(200, "{}") };
            answer.insert_header("etag", "\"1\"").insert_header("last-modified", "yesterday")
        })
        .await;
    let path = "/v1/github/get_user";
    let first = server.post(path, &json!({})).await;
    assert_eq!((first.header("etag"), first.header("last-modified")), ("\"1\"", "yesterday"));
    let ask =
        |name: &str| server.with_key(Method::POST, path).header(name, "\"1\"").json(&json!({}));
    let again = ask("if-none-match").send().await;
    assert_eq!(again.ok(200), json!({"status": 304, "data": null}));
    assert_eq!(again.header("etag"), "\"1\"");
    ask("if-modified-since").send().await.ok(200);
    let sent = server.upstream.received_requests().await.unwrap().pop().unwrap();
    assert_eq!(sent.headers["if-modified-since"], "\"1\"");
    // A write is not made to depend on it, and a kept answer is whole.
    server.answers("POST", ISSUES, json(201, "{}")).await;
    let issue = json!({"params": {"repo": "acme/webapp", "title": "a"}});
    let write =
        server.with_key(Method::POST, "/v1/github/create_issue").header("if-none-match", "*");
    write.json(&issue).send().await.ok(200);
    let kept = ask("if-none-match").header("idempotency-key", "k").send().await;
    assert_eq!(kept.ok(200)["status"], 200);
    for sent in server.upstream.received_requests().await.unwrap().iter().rev().take(2) {
        assert!(!sent.headers.contains_key("if-none-match"));
    }
}
