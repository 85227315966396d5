//! Logging a program in: the three routes, and the page where a person does it.

use http::Method;
use serde_json::{Value, json};

use crate::world::{TestServer, client::Answer, golden::golden, server, setup};

async fn ask(server: &TestServer, path: &str, body: Value) -> Answer {
    server.ask(Method::POST, &format!("/auth/device/{path}")).json(&body).send().await
}

async fn begin(server: &TestServer, body: Value) -> (String, String) {
    let begun = ask(server, "code", body).await.ok(200);
    let text = |name: &str| begun[name].as_str().unwrap().to_owned();
    (text("device_code"), text("user_code"))
}

async fn poll(server: &TestServer, device: &str) -> Answer {
    ask(server, "token", json!({ "device_code": device })).await
}

async fn type_in(server: &TestServer, code: &str, fields: &[(&str, &str)]) -> Answer {
    let path = format!("/auth/device?user_code={code}");
    server.ask(Method::POST, &path).form(fields).send().await
}

#[tokio::test]
async fn a_program_begins_and_is_told_where_a_person_goes() {
    let server = setup().public_url("https://skill.example.com/base").start().await;
    let begun = ask(&server, "code", json!({})).await.ok(200);
    let code = begun["user_code"].as_str().unwrap();
    let page = "https://skill.example.com/base/auth/device";
    assert_eq!(begun["verification_uri"], page);
    assert_eq!(begun["verification_uri_complete"], format!("{page}?user_code={code}"));
    assert_eq!((&begun["expires_in"], &begun["interval"]), (&json!(900), &json!(5)));
    let device = begun["device_code"].as_str().unwrap();
    assert!(device.len() == 40 && device.bytes().all(|b| b.is_ascii_hexdigit()), "{device}");
    let (first, last) = code.split_once('-').unwrap();
    let is_part = |part: &str| part.len() == 4 && part.bytes().all(|b| b.is_ascii_uppercase());
    assert!(is_part(first) && is_part(last), "{code}");
}

#[tokio::test]
async fn a_key_says_yes_and_the_program_learns_it_once() {
    let server = server().await;
    let (device, code) = begin(&server, json!({"name": "laptop"})).await;
    let pending = json!({"status": "pending", "error": "authorization_pending", "interval": 5});
    assert_eq!(poll(&server, &device).await.ok(200), pending);
    let hasty = json!({"status": "pending", "error": "slow_down", "interval": 10});
    assert_eq!(poll(&server, &device).await.ok(200), hasty);
    let answer = json!({ "user_code": code });
    ask(&server, "authorize", answer.clone()).await.is_error(401, "unauthorized");
    let said = server.post("/auth/device/authorize", &answer).await.ok(200);
    assert_eq!(said, json!({"status": "authorized"}));
    server.post("/auth/device/authorize", &answer).await.is_error(404, "not_found");
    let complete = json!({
        "status": "complete",
        "user": {"id": "default", "owner": "default"},
        "api_keys_url": format!("{}/api-keys", server.public),
    });
    assert_eq!(poll(&server, &device).await.ok(200), complete);
    let over = poll(&server, &device).await.is_error(400, "expired_token");
    assert_eq!(over["status"], "expired");
}

#[tokio::test]
async fn a_key_is_made_for_a_program_that_asks_for_one() {
    let server = server().await;
    let (device, code) = begin(&server, json!({"name": "laptop", "scopes": "open"})).await;
    server.post("/auth/device/authorize", &json!({ "user_code": code })).await.ok(200);
    let done = poll(&server, &device).await.ok(200);
    assert_eq!(done["api_key"]["name"], "laptop");
    assert_eq!(done["api_key"]["scopes"], json!(["open"]));
    let key = done["full_key"].as_str().unwrap();
    let listed = server.ask(Method::GET, "/v1/connections").key(key).send().await;
    listed.ok(200);
    let refused = server.ask(Method::GET, "/api-keys").key(key).send().await;
    refused.is_error(403, "scope_not_allowed");
}

#[tokio::test]
async fn a_no_ends_it() {
    let server = server().await;
    let (device, code) = begin(&server, json!({})).await;
    let no = json!({"user_code": code, "approve": false});
    assert_eq!(server.post("/auth/device/authorize", &no).await.ok(200)["status"], "denied");
    let denied = poll(&server, &device).await.is_error(400, "access_denied");
    assert_eq!(denied["status"], "denied");
    poll(&server, &device).await.is_error(400, "expired_token");
}

#[tokio::test]
async fn what_makes_no_sense_is_refused() {
    let server = server().await;
    for (path, body) in [
        ("code", json!({"name": ""})),
        ("code", json!({"name": "a\u{7}b"})),
        ("code", json!({"scopes": ["not a scope!"]})),
        ("code", json!({"owner": "acme"})),
        ("token", json!({})),
        ("token", json!({"device_code": 7})),
    ] {
        ask(&server, path, body).await.is_error(400, "bad_request");
    }
    for code in ["", "nonsense", &"f".repeat(40), &"f".repeat(100_000)] {
        poll(&server, code).await.is_error(400, "expired_token");
    }
    let get = server.ask(Method::GET, "/auth/device/token").send().await;
    get.is_error(405, "bad_request");
}

#[tokio::test]
async fn a_person_types_the_code_and_a_key_into_the_page() {
    let server = server().await;
    let (device, code) = begin(&server, json!({"name": "<b>laptop</b>", "scopes": "open"})).await;
    let page = server.ask(Method::GET, "/auth/device").send().await;
    insta::assert_snapshot!("the_page_for_a_code", golden(&server, &page));
    let typed = server.ask(Method::POST, "/auth/device").form(&[("user_code", "bcdf ghjk")]);
    let sent = typed.send().await;
    assert_eq!(sent.status.as_u16(), 303);
    let to = format!("{}/auth/device?user_code=bcdf+ghjk", server.public);
    assert_eq!(sent.header("location"), to);
    server.ask(Method::GET, "/auth/device?user_code=bcdf+ghjk").send().await.is_page(404);
    let path = format!("/auth/device?user_code={code}");
    let asked = server.ask(Method::GET, &path).send().await;
    asked.ok_page();
    let text = asked.text();
    assert!(
        text.contains("&#60;b&#62;laptop&#60;/b&#62;") && text.contains("good for: open"),
        "{text}"
    );
    assert!(!text.contains("<b>") && text.contains(&code), "{text}");
    let yes = ("answer", "Log it in");
    type_in(&server, &code, &[yes, ("api_key", "sk_wrong")]).await.is_page(403);
    type_in(&server, &code, &[("api_key", &server.key)]).await.is_page(400);
    let weak = server.key_of("default", "open").await;
    type_in(&server, &code, &[yes, ("api_key", &weak)]).await.is_page(403);
    let done = type_in(&server, &code, &[yes, ("api_key", &server.key)]).await;
    done.ok_page();
    assert!(!done.text().contains(&server.key));
    assert_eq!(done.header("set-cookie"), "");
    type_in(&server, &code, &[yes, ("api_key", &server.key)]).await.is_page(404);
    assert_eq!(poll(&server, &device).await.ok(200)["status"], "complete");
}

#[tokio::test]
async fn another_sites_form_logs_nobody_in() {
    let server = server().await;
    let (device, code) = begin(&server, json!({})).await;
    let fields = [("answer", "Log it in"), ("api_key", &*server.key)];
    for (name, value) in [("origin", "https://evil.test"), ("sec-fetch-site", "cross-site")] {
        let path = format!("/auth/device?user_code={code}");
        let sent = server.ask(Method::POST, &path).header(name, value).form(&fields).send().await;
        sent.is_page(403);
    }
    assert_eq!(poll(&server, &device).await.ok(200)["status"], "pending");
}

#[tokio::test]
async fn guessing_codes_is_refused_after_a_while() {
    let server = setup().wrong_keys(3).start().await;
    let (_, code) = begin(&server, json!({})).await;
    for _ in 0..3 {
        server.ask(Method::GET, "/auth/device?user_code=BBBB-BBBB").send().await.is_page(404);
    }
    let path = format!("/auth/device?user_code={code}");
    let held = server.ask(Method::GET, &path).send().await;
    held.is_page(429);
    assert_ne!(held.header("retry-after"), "");
    server.advance(60);
    server.ask(Method::GET, &path).send().await.ok_page();
}

#[tokio::test]
async fn no_code_is_kept_or_logged_in_plain_text() {
    let server = setup().on_disk().start().await;
    let (device, code) = begin(&server, json!({"name": "laptop"})).await;
    let bare = code.replace('-', "");
    let directory = server.directory.as_ref().unwrap().path();
    for file in std::fs::read_dir(directory).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        for secret in [&device, &code, &bare] {
            let is_there = bytes.windows(secret.len()).any(|part| part == secret.as_bytes());
            assert!(!is_there);
        }
    }
}
