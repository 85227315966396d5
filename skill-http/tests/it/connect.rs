//! Connecting an account with OAuth, from the link to the grant.

use std::collections::HashMap;

use http::Method;
use serde_json::json;
use url::Url;

use crate::world::{
    CLIENT_SECRET, TestServer,
    client::{self, Answer},
    golden::{golden, redact},
    provider::json,
    server, setup,
};

/// A person on the way to the provider.
struct Away {
    id: String,
    query: HashMap<String, String>,
    cookie: String,
    answer: Answer,
}

/// Makes a link; returns the connection and the path of the page.
async fn link(server: &TestServer, integration: &str) -> (String, String) {
    let begun = server.post("/v1/connect", &json!({"integration": integration})).await.ok(200);
    let url = begun["oauth_url"].as_str().unwrap();
    let path = url.strip_prefix(&server.public).expect("a page of this server").to_owned();
    (begun["connection_id"].as_str().unwrap().to_owned(), path)
}

/// Presses the button of the page.
async fn leave(server: &TestServer, integration: &str) -> Away {
    let (id, path) = link(server, integration).await;
    away(id, server.ask(Method::POST, &path).send().await)
}

fn away(id: String, answer: Answer) -> Away {
    assert_eq!(answer.status.as_u16(), 303, "{}", answer.text());
    let url = answer.header("location").parse::<Url>().unwrap();
    let query = url.query_pairs().into_owned().collect();
    let cookie = answer.header("set-cookie").split(';').next().unwrap().to_owned();
    Away { id, query, cookie, answer }
}

/// Comes back with a query and a cookie.
async fn back(server: &TestServer, query: &str, cookie: &str) -> Answer {
    let ask = server.ask(Method::GET, &format!("/oauth/callback?{query}"));
    ask.header("cookie", cookie).send().await
}

/// How connecting goes.
async fn status(server: &TestServer, id: &str) -> String {
    let answer = server.get(&format!("/v1/connect/{id}")).await.ok(200);
    answer["status"].as_str().unwrap().to_owned()
}

/// A provider that gives out tokens.
async fn gives(server: &TestServer) {
    server.knows_everybody().await;
    let tokens = r#"{"access_token":"access-canary","refresh_token":"r","expires_in":3600,
                     "scope":"read"}"#;
    for at in ["/token", "/login/oauth/access_token"] {
        server.answers("POST", at, json(200, tokens)).await;
    }
}

/// Whether the provider was asked for a token.
async fn was_asked(server: &TestServer) -> bool {
    server.upstream_saw().await.iter().any(|line| line.starts_with("POST"))
}

#[tokio::test]
async fn a_link_leads_to_the_provider_and_back() {
    let server = server().await;
    gives(&server).await;
    let away = leave(&server, "honest").await;
    assert_eq!(status(&server, &away.id).await, "pending");
    let query = format!("code=c1&state={}&iss=https://honest.example", away.query["state"]);
    let page = back(&server, &query, &away.cookie).await;
    insta::assert_snapshot!(golden(&server, &page));
    assert_eq!(status(&server, &away.id).await, "connected");
    let shown = server.get(&format!("/v1/connections/{}", away.id)).await;
    insta::assert_snapshot!("a_connected_account", golden(&server, &shown));
}

#[tokio::test]
async fn the_page_says_what_is_connected_to_whom() {
    let server = server().await;
    let (_, path) = link(&server, "github").await;
    for _ in 0..2 {
        let page = server.ask(Method::GET, &path).send().await;
        insta::assert_snapshot!("the_page_of_a_link", golden(&server, &page));
        assert_eq!(page.header("set-cookie"), "");
        assert_eq!(page.header("x-frame-options"), "DENY");
    }
}

#[tokio::test]
async fn the_provider_is_asked_with_state_pkce_and_the_public_callback() {
    let server = server().await;
    let away = leave(&server, "honest").await;
    let query = &away.query;
    assert!(away.answer.header("location").starts_with(&server.upstream.uri()));
    assert_eq!(query["response_type"], "code");
    assert_eq!(query["client_id"], "client-id");
    assert_eq!(query["scope"], "read");
    assert_eq!(query["redirect_uri"], format!("{}/oauth/callback", server.public));
    assert_eq!(query["code_challenge_method"], "S256");
    assert_eq!((query["state"].len(), query["code_challenge"].len()), (43, 43));
    assert_eq!(away.answer.header("referrer-policy"), "no-referrer");
    let cookie = away.answer.header("set-cookie");
    assert!(cookie.starts_with("skill-connect="), "{cookie}");
    for part in ["; Path=/", "; HttpOnly", "; SameSite=Lax", "; Max-Age=600"] {
        assert!(cookie.contains(part), "{cookie}");
    }
}

#[tokio::test]
async fn on_https_the_cookie_is_bound_to_the_host() {
    let server = setup().public_url("https://skill.example.com").start().await;
    let begun = server.post("/v1/connect", &json!({"integration": "honest"})).await.ok(200);
    let url = begun["oauth_url"].as_str().unwrap();
    let path = url.strip_prefix("https://skill.example.com").unwrap();
    let ask = server.ask(Method::POST, path).header("host", "skill.example.com");
    let answer = ask.send().await;
    let cookie = answer.header("set-cookie");
    assert!(
        cookie.starts_with("__Host-skill-connect=") && cookie.ends_with("; Secure"),
        "{cookie}"
    );
    let redirect = "redirect_uri=https%3A%2F%2Fskill.example.com%2Foauth%2Fcallback";
    assert!(answer.header("location").contains(redirect));
}

#[tokio::test]
async fn the_token_endpoint_gets_code_verifier_and_client() {
    let server = server().await;
    gives(&server).await;
    let away = leave(&server, "honest").await;
    let query = format!("code=c%201&state={}&iss=https://honest.example", away.query["state"]);
    back(&server, &query, &away.cookie).await.ok_page();
    let seen = server.upstream.received_requests().await.unwrap();
    let request = seen.iter().find(|request| request.url.path() == "/token").unwrap();
    let form = url::form_urlencoded::parse(&request.body).collect::<HashMap<_, _>>();
    assert_eq!(form["grant_type"], "authorization_code");
    assert_eq!(form["code"], "c 1");
    assert_eq!(form["redirect_uri"], format!("{}/oauth/callback", server.public));
    let verifier = &form["code_verifier"];
    assert_eq!(challenge(verifier), away.query["code_challenge"]);
    let basic = request.headers["authorization"].to_str().unwrap();
    assert!(basic.starts_with("Basic ") && !basic.contains(CLIENT_SECRET));
    assert!(!away.answer.header("location").contains(&**verifier));
}

fn challenge(verifier: &str) -> String {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    use sha2::{Digest, Sha256};
    URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()))
}

#[tokio::test]
async fn a_state_works_once() {
    let server = server().await;
    gives(&server).await;
    let away = leave(&server, "honest").await;
    let query = format!("code=c&state={}&iss=https://honest.example", away.query["state"]);
    back(&server, &query, &away.cookie).await.ok_page();
    let before = server.upstream_saw().await.len();
    let again = back(&server, &query, &away.cookie).await;
    again.is_page(400);
    insta::assert_snapshot!(golden(&server, &again));
    assert_eq!(server.upstream_saw().await.len(), before);
    assert_eq!(status(&server, &away.id).await, "connected");
}

#[tokio::test]
async fn another_browser_cannot_come_back() {
    let server = server().await;
    gives(&server).await;
    let away = leave(&server, "honest").await;
    let query = format!("code=c&state={}&iss=https://honest.example", away.query["state"]);
    for cookie in ["", "skill-connect=", "skill-connect=other", "other=1"] {
        back(&server, &query, cookie).await.is_page(400);
    }
    let other = leave(&server, "honest").await;
    back(&server, &query, &other.cookie).await.is_page(400);
    assert!(!was_asked(&server).await);
    assert_eq!(status(&server, &away.id).await, "pending");
}

#[tokio::test]
async fn one_browser_may_be_away_twice() {
    let server = server().await;
    gives(&server).await;
    let first = leave(&server, "honest").await;
    let (id, path) = link(&server, "github").await;
    let ask = server.ask(Method::POST, &path).header("cookie", &first.cookie);
    let second = away(id, ask.send().await);
    assert_eq!(second.cookie, first.cookie);
    let query = format!("code=c&state={}", second.query["state"]);
    back(&server, &query, &first.cookie).await.ok_page();
    let query = format!("code=c&state={}&iss=https://honest.example", first.query["state"]);
    back(&server, &query, &first.cookie).await.ok_page();
}

#[tokio::test]
async fn a_state_ends_after_ten_minutes_and_a_link_after_thirty() {
    let server = server().await;
    gives(&server).await;
    let (_, path) = link(&server, "honest").await;
    let away = leave(&server, "honest").await;
    server.advance(601);
    let query = format!("code=c&state={}&iss=https://honest.example", away.query["state"]);
    back(&server, &query, &away.cookie).await.is_page(400);
    assert!(!was_asked(&server).await);
    server.ask(Method::GET, &path).send().await.ok_page();
    server.advance(1200);
    for method in [Method::GET, Method::POST] {
        server.ask(method, &path).send().await.is_page(404);
    }
}

#[tokio::test]
async fn a_link_works_once() {
    let server = server().await;
    let (_, path) = link(&server, "honest").await;
    assert_eq!(server.ask(Method::POST, &path).send().await.status.as_u16(), 303);
    let again = server.ask(Method::POST, &path).send().await;
    again.is_page(404);
    insta::assert_snapshot!(golden(&server, &again));
    server.ask(Method::GET, &path).send().await.is_page(404);
}

#[tokio::test]
async fn another_issuer_or_none_is_refused_before_anything_is_sent() {
    let server = server().await;
    gives(&server).await;
    for iss in ["", "&iss=https://evil.test", "&iss=", "&iss=https://honest.example/"] {
        let away = leave(&server, "honest").await;
        let query = format!("code=c&state={}{iss}", away.query["state"]);
        back(&server, &query, &away.cookie).await.is_page(400);
    }
    assert!(!was_asked(&server).await);
}

#[tokio::test]
async fn a_person_who_says_no_ends_the_flow() {
    let server = server().await;
    let away = leave(&server, "honest").await;
    let text = "%3Cscript%3Ealert(1)%3C/script%3E";
    let query = format!(
        "error=access_denied&error_description={text}&state={}&iss=https://honest.example",
        away.query["state"]
    );
    let page = back(&server, &query, &away.cookie).await;
    page.is_page(400);
    insta::assert_snapshot!(golden(&server, &page));
    assert_eq!(status(&server, &away.id).await, "error");
}

#[tokio::test]
async fn nothing_of_the_query_is_shown() {
    let server = server().await;
    for error in ["%3Cscript%3Ealert(1)%3C/script%3E", "%22onload=", "server_error"] {
        let away = leave(&server, "honest").await;
        let state = &away.query["state"];
        let query = format!("error={error}&state={state}&iss=https://honest.example");
        let page = back(&server, &query, &away.cookie).await;
        page.is_page(400);
        for bad in ["<script", "alert", "onload", "server_error", state] {
            assert!(!page.text().contains(bad), "{bad} {}", page.text());
        }
    }
}

#[tokio::test]
async fn a_parameter_given_twice_is_refused() {
    let server = server().await;
    gives(&server).await;
    let away = leave(&server, "honest").await;
    let state = &away.query["state"];
    let iss = "iss=https://honest.example";
    for query in [
        format!("code=c&state={state}&state={state}&{iss}"),
        format!("code=c&code=d&state={state}&{iss}"),
        format!("code=c&state={state}&{iss}&{iss}"),
        format!("error=a&error=b&state={state}&{iss}"),
    ] {
        back(&server, &query, &away.cookie).await.is_page(400);
    }
    assert!(!was_asked(&server).await);
    for query in ["", "code=c", "state=", "state=%FF&code=c"] {
        back(&server, query, &away.cookie).await.is_page(400);
    }
}

#[tokio::test]
async fn a_code_that_the_provider_refuses_is_an_error_of_the_connection() {
    let server = server().await;
    server.answers("POST", "/token", json(400, r#"{"error":"invalid_grant"}"#)).await;
    let away = leave(&server, "honest").await;
    let query = format!("code=c&state={}&iss=https://honest.example", away.query["state"]);
    back(&server, &query, &away.cookie).await.is_page(400);
    assert_eq!(status(&server, &away.id).await, "error");
}

#[tokio::test]
async fn a_provider_in_trouble_is_a_502_page() {
    let server = server().await;
    server.answers("POST", "/token", json(500, "{}")).await;
    let away = leave(&server, "honest").await;
    let query = format!("code=c&state={}&iss=https://honest.example", away.query["state"]);
    back(&server, &query, &away.cookie).await.is_page(502);
}

#[tokio::test]
async fn a_form_of_another_site_is_refused() {
    let server = server().await;
    let (_, path) = link(&server, "honest").await;
    let own = server.public.clone();
    for (name, value) in [
        ("origin", "https://evil.test"),
        ("origin", "null"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("sec-fetch-site", "none"),
    ] {
        let answer = server.ask(Method::POST, &path).header(name, value).send().await;
        answer.is_page(403);
    }
    let both = server.ask(Method::POST, &path).header("origin", &own);
    both.header("sec-fetch-site", "cross-site").send().await.is_page(403);
    let own = server.ask(Method::POST, &path).header("origin", &own);
    assert_eq!(own.send().await.status.as_u16(), 303, "the link was not used up");
}

#[tokio::test]
async fn our_own_page_sends_its_form_with_an_origin() {
    let server = server().await;
    let (_, path) = link(&server, "honest").await;
    let page = server.ask(Method::GET, &path).send().await;
    // With `no-referrer` browsers send `Origin: null`, also to the same origin.
    assert_eq!(page.header("referrer-policy"), "same-origin");
}

#[tokio::test]
async fn the_host_header_moves_no_url() {
    let server = server().await;
    let host = server.address.to_string();
    let fields = format!(
        "Authorization: Bearer {}\r\nX-Forwarded-Host: evil.test\r\nForwarded: host=evil.test\r\n\
         X-Forwarded-Proto: https\r\nContent-Length: 24\r\nConnection: close\r\n\r\n\
         {{\"integration\":\"honest\"}}",
        server.key
    );
    let port = server.address.port();
    let answer = server
        .raw(format!("POST /v1/connect HTTP/1.1\r\nHost: localhost:{port}\r\n{fields}"))
        .await;
    assert_eq!(client::status(&answer), 200, "{answer}");
    let begun = serde_json::from_str::<serde_json::Value>(client::body(&answer)).unwrap();
    let url = begun["oauth_url"].as_str().unwrap();
    let path = url.strip_prefix(&server.public).expect("the public URL");
    let line = format!("POST {path}");
    let answer = server.raw_head(&line, &host, "X-Forwarded-Host: evil.test\r\n").await;
    assert!(!answer.contains("evil.test"), "{answer}");
    assert!(redact(&server, &answer).contains("redirect_uri=http%3A%2F%2F127.0.0.1"), "{answer}");
}

#[tokio::test]
async fn a_person_goes_on_to_an_allowed_return_url_only() {
    let server = server().await;
    gives(&server).await;
    for url in ["https://evil.test/", "https://app.example.com/done/", "https://app.example.com/"] {
        let body = json!({"integration": "honest", "return_url": url});
        server.post("/v1/connect", &body).await.is_error(400, "bad_request");
    }
    let body = json!({"integration": "honest", "return_url": "https://app.example.com/done"});
    let begun = server.post("/v1/connect", &body).await.ok(200);
    let path = begun["oauth_url"].as_str().unwrap().strip_prefix(&server.public).unwrap();
    let away = away(String::new(), server.ask(Method::POST, path).send().await);
    let query = format!("code=c&state={}&iss=https://honest.example", away.query["state"]);
    let answer = back(&server, &query, &away.cookie).await;
    assert_eq!(answer.status.as_u16(), 303);
    assert_eq!(answer.header("location"), "https://app.example.com/done");
}

#[tokio::test]
async fn scopes_that_are_asked_for_go_to_the_provider() {
    let server = server().await;
    let body = json!({"integration": "honest", "scopes": ["a", "b"]});
    let begun = server.post("/v1/connect", &body).await.ok(200);
    let path = begun["oauth_url"].as_str().unwrap().strip_prefix(&server.public).unwrap();
    let away = away(String::new(), server.ask(Method::POST, path).send().await);
    assert_eq!(away.query["scope"], "a b");
}

#[tokio::test]
async fn reconnecting_mends_a_connection_under_its_id() {
    let server = server().await;
    let id = server.with_github().await;
    server.answers("POST", "/repos/acme/webapp/issues", json(401, "{}")).await;
    let refused = json(400, r#"{"error":"invalid_grant"}"#);
    server.answers("POST", "/login/oauth/access_token", refused).await;
    let body = server.create_issue().await.is_error(401, "token_expired");
    assert_eq!(status(&server, &id).await, "error");
    server.upstream.reset().await;
    gives(&server).await;
    let path = body["action_url"].as_str().unwrap().strip_prefix(&server.public).unwrap();
    let away = away(id.clone(), server.ask(Method::POST, path).send().await);
    let query = format!("code=c&state={}", away.query["state"]);
    back(&server, &query, &away.cookie).await.ok_page();
    assert_eq!(status(&server, &id).await, "connected");
    assert_eq!(server.get("/v1/connections").await.ok(200)["total"], 1);
}
