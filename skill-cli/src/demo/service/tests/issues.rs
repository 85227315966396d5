//! Issues, validation, idempotency and limits.

use std::time::Duration;

use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};

use super::*;

const ISSUES: &str = "/repos/acme/website/issues";

/// A fixture with an access token that outlives the test.
struct Session {
    fixture: Fixture,
    access: String,
}

impl Session {
    async fn new() -> Self {
        Self::with("", |_| ()).await
    }

    async fn with(scope: &str, change: impl FnOnce(&mut Settings)) -> Self {
        let fixture = Fixture::with(|settings| {
            settings.auto_approve = true;
            settings.access_token_life = Duration::from_secs(100_000);
            change(settings);
        })
        .await;
        let access = fixture.tokens_for(scope).await.access;
        Self { fixture, access }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.fixture.http.request(method, self.fixture.url(path)).bearer_auth(&self.access)
    }

    async fn get(&self, path: &str) -> Response {
        self.request(Method::GET, path).send().await.unwrap()
    }

    async fn post(&self, path: &str, body: &Value) -> Response {
        self.request(Method::POST, path).json(body).send().await.unwrap()
    }

    async fn keyed(&self, key: &str, body: &Value) -> Response {
        let request = self.request(Method::POST, ISSUES).header("Idempotency-Key", key);
        request.json(body).send().await.unwrap()
    }

    async fn numbers(&self, query: &str) -> Vec<u64> {
        let reply = self.get(&format!("{ISSUES}?{query}")).await;
        let issues: Vec<Value> = reply.json().await.unwrap();
        issues.iter().map(|issue| issue["number"].as_u64().unwrap()).collect()
    }
}

/// Returns the `errors` of a 422.
async fn errors(response: Response) -> Value {
    assert_eq!(response.status(), 422);
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["message"], "Validation Failed");
    body["errors"].clone()
}

#[tokio::test]
async fn a_token_tells_whose_it_is() {
    let session = Session::new().await;
    let user: Value = session.get("/user").await.json().await.unwrap();
    assert_eq!(user, json!({ "login": "ada", "name": "Ada Lovelace" }));
}

#[tokio::test]
async fn a_call_without_a_token_is_refused() {
    let fixture = Fixture::new().await;
    for path in ["/user", ISSUES, "/elsewhere"] {
        let reply = fixture.http.get(fixture.url(path)).send().await.unwrap();
        assert_eq!(reply.status(), 401);
        assert_eq!(reply.headers()["www-authenticate"], "Bearer error=\"invalid_token\"");
        assert!(reply.headers().contains_key("x-request-id"));
        let body: Value = reply.json().await.unwrap();
        assert_eq!(body, json!({ "message": "Bad credentials" }));
    }
}

#[tokio::test]
async fn an_issue_is_created_and_read_back() {
    let session = Session::new().await;
    let draft = json!({ "title": "Broken link", "body": "On /about", "labels": ["bug"] });
    let reply = session.post(ISSUES, &draft).await;
    assert_eq!(reply.status(), 201);
    let location = reply.headers()["location"].to_str().unwrap().to_owned();
    assert_eq!(location, session.fixture.url("/repos/acme/website/issues/1"));
    let created: Value = reply.json().await.unwrap();
    assert_eq!((&created["number"], &created["state"]), (&json!(1), &json!("open")));
    assert_eq!(created["html_url"], session.fixture.url("/acme/website/issues/1"));
    assert_eq!(created["user"]["login"], "ada");
    let at: jiff::Timestamp = created["created_at"].as_str().unwrap().parse().unwrap();
    assert!(at <= jiff::Timestamp::now());
    let read: Value = session.get("/repos/acme/website/issues/1").await.json().await.unwrap();
    assert_eq!(read, created);
}

#[tokio::test]
async fn what_does_not_exist_is_not_found() {
    let session = Session::new().await;
    for path in ["/repos/acme/none/issues", "/repos/acme/website/issues/1", "/x", "/repos/acme"] {
        assert_eq!(session.get(path).await.status(), 404, "{path}");
    }
    assert_eq!(session.post("/repos/a/b/issues", &json!({ "title": "x" })).await.status(), 404);
    let path = "/repos/acme/website/issues/0";
    assert_eq!(session.get(path).await.status(), 404);
}

#[tokio::test]
async fn a_path_may_be_percent_encoded() {
    let session = Session::new().await;
    assert_eq!(session.get("/repos/%61cme/web%73ite/issues").await.status(), 200);
    assert_eq!(session.get("/repos/acme%2Fwebsite/issues").await.status(), 404);
}

#[tokio::test]
async fn every_wrong_field_is_named() {
    let session = Session::new().await;
    let missing = errors(session.post(ISSUES, &json!({})).await).await;
    assert_eq!(missing, json!([{ "field": "title", "code": "missing_field" }]));
    let blank = errors(session.post(ISSUES, &json!({ "title": "  " })).await).await;
    assert_eq!(blank, missing);
    let wrong = json!({ "title": "t".repeat(257), "body": 1, "labels": [2] });
    let named = errors(session.post(ISSUES, &wrong).await).await;
    assert_eq!(named.as_array().unwrap().len(), 3);
    assert!(named.as_array().unwrap().iter().all(|error| error["code"] == "invalid"));
}

#[tokio::test]
async fn a_body_must_be_a_json_object() {
    let session = Session::new().await;
    assert_eq!(session.post(ISSUES, &json!([])).await.status(), 400);
    let request = session.request(Method::POST, ISSUES).body("title=x");
    assert_eq!(request.send().await.unwrap().status(), 415);
}

#[tokio::test]
async fn a_body_is_at_most_a_mebibyte() {
    let session = Session::new().await;
    let body = json!({ "title": "x", "filler": "f".repeat(1024 * 1024) });
    assert_eq!(session.post(ISSUES, &body).await.status(), 413);
}

#[tokio::test]
async fn a_list_has_states_and_pages() {
    let session = Session::new().await;
    for title in ["one", "two", "three"] {
        session.post(ISSUES, &json!({ "title": title })).await;
    }
    let close = session.request(Method::PATCH, &format!("{ISSUES}/2"));
    let closed = close.json(&json!({ "state": "closed" })).send().await.unwrap();
    assert_eq!(closed.json::<Value>().await.unwrap()["state"], "closed");
    assert_eq!(session.numbers("").await, [3, 1]);
    assert_eq!(session.numbers("state=closed").await, [2]);
    assert_eq!(session.numbers("state=all&per_page=2").await, [3, 2]);
    let second = session.get(&format!("{ISSUES}?state=all&per_page=1&page=2")).await;
    let link = second.headers()["link"].to_str().unwrap();
    assert!(link.contains("page=1>; rel=\"prev\"") && link.contains("page=3>; rel=\"next\""));
    assert!(session.numbers("page=9").await.is_empty());
    let wrong = session.get(&format!("{ISSUES}?state=x&per_page=101&page=0")).await;
    assert_eq!(errors(wrong).await.as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn a_change_touches_only_what_it_names() {
    let session = Session::new().await;
    session.post(ISSUES, &json!({ "title": "old", "body": "kept" })).await;
    let path = format!("{ISSUES}/1");
    let request = session.request(Method::PATCH, &path).json(&json!({ "title": "fresh" }));
    let changed: Value = request.send().await.unwrap().json().await.unwrap();
    assert_eq!((&changed["title"], &changed["body"]), (&json!("fresh"), &json!("kept")));
    let wrong = session.request(Method::PATCH, &path).json(&json!({ "state": "gone" }));
    let named = errors(wrong.send().await.unwrap()).await;
    assert_eq!(named, json!([{ "field": "state", "code": "invalid" }]));
}

#[tokio::test]
async fn a_comment_is_counted() {
    let session = Session::new().await;
    session.post(ISSUES, &json!({ "title": "x" })).await;
    let path = format!("{ISSUES}/1/comments");
    let reply = session.post(&path, &json!({ "body": "seen" })).await;
    assert_eq!(reply.status(), 201);
    assert_eq!(reply.json::<Value>().await.unwrap()["body"], "seen");
    let missing = errors(session.post(&path, &json!({})).await).await;
    assert_eq!(missing, json!([{ "field": "body", "code": "missing_field" }]));
    let issue: Value = session.get(&format!("{ISSUES}/1")).await.json().await.unwrap();
    assert_eq!(issue["comments"], 1);
}

#[tokio::test]
async fn a_key_makes_one_issue() {
    let session = Session::new().await;
    let first = session.keyed("k1", &json!({ "title": "x", "body": "y" })).await;
    assert!(!first.headers().contains_key("idempotent-replayed"));
    let first: Value = first.json().await.unwrap();
    let second = session.keyed("k1", &json!({ "body": "y", "title": "x" })).await;
    assert_eq!(second.status(), 201);
    assert_eq!(second.headers()["idempotent-replayed"], "true");
    assert_eq!(second.json::<Value>().await.unwrap(), first);
    assert_eq!(session.keyed("k1", &json!({ "title": "other" })).await.status(), 422);
    assert_eq!(session.keyed("", &json!({ "title": "x" })).await.status(), 400);
    assert_eq!(session.numbers("").await, [1]);
}

#[tokio::test]
async fn a_key_is_forgotten_after_a_day() {
    let session = Session::new().await;
    session.keyed("k1", &json!({ "title": "x" })).await;
    pass(Duration::from_secs(86_401)).await;
    let again = session.keyed("k1", &json!({ "title": "x" })).await;
    assert!(!again.headers().contains_key("idempotent-replayed"));
}

#[tokio::test]
async fn a_refused_request_does_not_use_its_key() {
    let session = Session::new().await;
    assert_eq!(session.keyed("k1", &json!({})).await.status(), 422);
    assert_eq!(session.keyed("k1", &json!({ "title": "x" })).await.status(), 201);
}

#[tokio::test]
async fn a_token_for_reading_cannot_write() {
    let session = Session::with("issues:read", |_| ()).await;
    assert_eq!(session.get(ISSUES).await.status(), 200);
    let reply = session.post(ISSUES, &json!({ "title": "x" })).await;
    assert_eq!(reply.status(), 403);
    let challenge = reply.headers()["www-authenticate"].to_str().unwrap();
    assert_eq!(challenge, "Bearer error=\"insufficient_scope\", scope=\"issues:write\"");
}

#[tokio::test]
async fn the_calls_of_an_hour_are_counted() {
    let session = Session::with("", |settings| settings.calls_per_hour = 2).await;
    let first = session.get("/user").await;
    assert_eq!(first.headers()["x-ratelimit-limit"], "2");
    assert_eq!(first.headers()["x-ratelimit-remaining"], "1");
    let reset: i64 = first.headers()["x-ratelimit-reset"].to_str().unwrap().parse().unwrap();
    assert!(reset > jiff::Timestamp::now().as_second());
    assert_eq!(session.get("/elsewhere").await.headers()["x-ratelimit-remaining"], "0");
    let over = session.get("/user").await;
    assert_eq!(over.status(), 429);
    assert!(over.headers().contains_key("retry-after"));
    pass(Duration::from_secs(3601)).await;
    assert_eq!(session.get("/user").await.status(), 200);
}

#[tokio::test]
async fn a_method_that_is_not_there_lists_the_others() {
    let session = Session::new().await;
    let reply = session.request(Method::DELETE, ISSUES).send().await.unwrap();
    assert_eq!(
        (reply.status().as_u16(), &reply.headers()["allow"]),
        (405, &"GET, POST".parse().unwrap())
    );
}
