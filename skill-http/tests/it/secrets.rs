//! No secret anywhere: not in an answer, not in the figures, not in the log of everything.

use std::{
    io::Write,
    sync::{Arc, Mutex},
};

use http::Method;
use serde_json::json;
use tracing_subscriber::{filter::LevelFilter, fmt::MakeWriter};

use crate::world::{
    ADMIN, CLIENT_SECRET, TestServer, client::Answer, provider::json, server, setup,
};

/// Everything that is logged.
#[derive(Debug, Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Captures all that this thread logs; the runtime of a test has one thread.
fn capture() -> (Log, tracing::subscriber::DefaultGuard) {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE)
        .with_writer(log.clone())
        .with_ansi(false)
        .finish();
    let guard = tracing::subscriber::set_default(subscriber);
    (log, guard)
}

/// Secrets that no text of ours may hold.
const CANARIES: [&str; 9] = [
    "access-canary",
    "refresh-canary",
    "rotated-canary",
    "code-canary",
    "typed-canary",
    "password-canary",
    "body-canary",
    CLIENT_SECRET,
    ADMIN,
];

/// Goes through OAuth with secrets on every side; returns every answer.
async fn sign_in(server: &TestServer) -> Vec<Answer> {
    let tokens = r#"{"access_token":"access-canary","refresh_token":"refresh-canary"}"#;
    server.answers("POST", "/token", json(200, tokens)).await;
    let begun = server.post("/v1/connect", &json!({"integration": "honest"})).await;
    let url = begun.json()["oauth_url"].as_str().unwrap().to_owned();
    let path = url.strip_prefix(&server.public).unwrap();
    let page = server.ask(Method::GET, path).send().await;
    let away = server.ask(Method::POST, path).send().await;
    let location = away.header("location").parse::<url::Url>().unwrap();
    let state = location.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
    let cookie = away.header("set-cookie").split(';').next().unwrap().to_owned();
    let back = |query: String| {
        let ask = server.ask(Method::GET, &format!("/oauth/callback?{query}"));
        ask.header("cookie", &cookie).send()
    };
    let wrong = back("code=code-canary&state=body-canary".to_owned()).await;
    let query = format!("code=code-canary&state={state}&iss=https://honest.example");
    let done = back(query).await;
    done.ok_page();
    vec![begun, page, away, wrong, done]
}

/// Calls that end in every way, with secrets in them.
async fn calls(server: &TestServer) -> Vec<Answer> {
    let mut answers = Vec::new();
    let hand = |integration: &str, credentials: serde_json::Value| json!({"integration": integration, "credentials": credentials});
    for body in [
        hand("keyed", json!({"api_key": "typed-canary"})),
        hand("queried", json!({"api_key": "typed-canary"})),
        hand("basic", json!({"username": "u", "password": "password-canary"})),
        hand("basic", json!({"username": "a:b", "password": "password-canary"})),
        hand("tokened", json!({"token": "typed-canary\n"})),
        hand("tokened", json!({"more": "typed-canary", "token": ["password-canary"]})),
    ] {
        answers.push(server.post("/v1/connect", &body).await);
    }
    for integration in ["keyed", "queried", "basic", "honest"] {
        let action = format!("{integration}/get_item");
        answers.push(server.call(&action, json!({"item": "gone"})).await);
        answers.push(server.call(&action, json!({"item": ["body-canary"]})).await);
        answers.push(server.call(&action, json!({"item": "../body-canary"})).await);
    }
    let path = "/v1/open/search?token=body-canary";
    answers.push(server.ask(Method::POST, path).key("sk_typed-canary").send().await);
    answers.push(server.ask(Method::GET, "/metrics").key(ADMIN).send().await);
    answers.push(server.with_key(Method::POST, path).body("{\"body-canary").send().await);
    answers
}

#[tokio::test]
async fn no_answer_and_no_log_line_holds_a_secret() {
    let (log, _guard) = capture();
    let server = server().await;
    server.knows_everybody().await;
    let mut answers = sign_in(&server).await;
    answers.extend(calls(&server).await);
    // The grant is refused, renewed, and refused for good.
    server.upstream.reset().await;
    server.answers("GET", "/items/1", json(401, r#"{"hint":"upstream"}"#)).await;
    let rotated =
        json(200, r#"{"access_token":"rotated-canary","refresh_token":"refresh-canary"}"#);
    server.answers("POST", "/token", rotated).await;
    answers.push(server.call("honest/get_item", json!({"item": "1"})).await);
    server.upstream.reset().await;
    server.answers("GET", "/items/1", json(401, "{}")).await;
    let refused = json(400, r#"{"error":"invalid_grant","error_description":"body-canary"}"#);
    server.answers("POST", "/token", refused).await;
    answers.push(server.call("honest/get_item", json!({"item": "1"})).await);
    answers.push(server.get("/v1/connections").await);
    answers.push(server.get("/api-keys").await);
    answers.push(server.ask(Method::GET, "/metrics").send().await);
    let mut shown = answers.iter().map(|answer| format!("{answer:?}")).collect::<Vec<_>>();
    shown.push(log.text());
    for canary in CANARIES.iter().copied().chain([server.key.as_str()]) {
        for text in &shown {
            assert!(!text.contains(canary), "{canary} in {}", around(text, canary));
        }
    }
    assert!(log.text().contains("answered"), "the log was captured");
}

/// Where a secret stands.
fn around(text: &str, canary: &str) -> String {
    let at = text.find(canary).unwrap_or_default();
    let start = text[..at].rfind('\n').unwrap_or(0);
    text[start..].chars().take(600).collect()
}

#[tokio::test]
async fn the_verifier_goes_to_the_token_endpoint_only() {
    let (log, _guard) = capture();
    let server = server().await;
    server.knows_everybody().await;
    let answers = sign_in(&server).await;
    let seen = server.upstream.received_requests().await.unwrap();
    let exchange = seen.iter().find(|request| request.url.path() == "/token").unwrap();
    let form = url::form_urlencoded::parse(&exchange.body);
    let verifier = form.into_iter().find(|(name, _)| name == "code_verifier").unwrap().1;
    assert!(answers.iter().all(|answer| !format!("{answer:?}").contains(&*verifier)));
    assert!(!log.text().contains(&*verifier));
}

#[tokio::test]
async fn a_link_and_a_state_are_not_logged() {
    let (log, _guard) = capture();
    let server = server().await;
    let begun = server.post("/v1/connect", &json!({"integration": "honest"})).await.ok(200);
    let url = begun["oauth_url"].as_str().unwrap().to_owned();
    let path = url.strip_prefix(&server.public).unwrap();
    server.ask(Method::GET, path).send().await.ok_page();
    let away = server.ask(Method::POST, path).send().await;
    let location = away.header("location").parse::<url::Url>().unwrap();
    let state = location.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
    let cookie = away.header("set-cookie").split(['=', ';']).nth(1).unwrap().to_owned();
    let token = path.rsplit('/').next().unwrap();
    // The clients of the test log what they send.
    let ours = log.text();
    let ours = ours.lines().filter(|line| line.contains(" skill_")).collect::<Vec<_>>().join("\n");
    for secret in [token, &state, &cookie] {
        assert!(!ours.contains(secret), "{}", around(&ours, secret));
    }
}

#[tokio::test]
async fn the_file_on_disk_holds_no_secret() {
    let server = setup().on_disk().start().await;
    server.knows_everybody().await;
    sign_in(&server).await;
    calls(&server).await;
    let body = json!({"params": {"note": "n"}});
    let ask = server.with_key(Method::POST, "/v1/open/create").json(&body);
    ask.header("idempotency-key", "k").send().await;
    server.engine.stop().await;
    let directory = server.directory.as_ref().unwrap().path();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        for canary in CANARIES.iter().copied().chain([server.key.as_str()]) {
            let is_there = bytes.windows(canary.len()).any(|part| part == canary.as_bytes());
            assert!(!is_there, "{canary} in {}", path.display());
        }
    }
}
