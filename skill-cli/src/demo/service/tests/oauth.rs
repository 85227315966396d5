//! Consent, tokens, rotation and revocation.

use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use serde_json::Value;

use super::*;

/// Returns the one-time id in a consent page.
fn consent_in(page: &str) -> String {
    let rest = page.split("name=\"consent\" value=\"").nth(1).unwrap();
    rest.split('"').next().unwrap().to_owned()
}

#[tokio::test]
async fn consent_returns_code_state_and_issuer() {
    let fixture = Fixture::new().await;
    let back = returned(&fixture.authorize(&[]).await);
    assert!(back["code"].starts_with("trk_code_"));
    assert_eq!(back["state"], "s&1");
    assert_eq!(back["iss"], fixture.service.base_url());
}

#[tokio::test]
async fn a_redirect_uri_keeps_its_query() {
    let fixture = Fixture::new().await;
    let reply = fixture.authorize(&[("redirect_uri", "http://127.0.0.1:7/other?x=1")]).await;
    assert_eq!(returned(&reply)["x"], "1");
}

#[tokio::test]
async fn a_redirect_uri_is_compared_exactly() {
    let fixture = Fixture::new().await;
    for uri in ["http://127.0.0.1:8/callback", "http://127.0.0.1:7/callback/", "http://x.test/"] {
        let reply = fixture.authorize(&[("redirect_uri", uri)]).await;
        assert_eq!(reply.status(), 400);
        assert!(!reply.headers().contains_key("location"));
    }
    assert_eq!(fixture.authorize(&[("client_id", "nobody")]).await.status(), 400);
    assert_eq!(fixture.authorize(&[("redirect_uri", "")]).await.status(), 400);
}

#[tokio::test]
async fn errors_go_back_once_the_redirect_uri_is_known() {
    let fixture = Fixture::new().await;
    let cases = [
        (("code_challenge", ""), "invalid_request"),
        (("code_challenge", "short"), "invalid_request"),
        (("code_challenge_method", "plain"), "invalid_request"),
        (("code_challenge_method", ""), "invalid_request"),
        (("response_type", ""), "invalid_request"),
        (("response_type", "token"), "unsupported_response_type"),
        (("scope", "issues:read admin"), "invalid_scope"),
    ];
    for (change, error) in cases {
        let back = returned(&fixture.authorize(&[change]).await);
        assert_eq!(back["error"], error, "{change:?}");
        assert_eq!(back["state"], "s&1");
        assert_eq!(back["iss"], fixture.service.base_url());
        assert!(!back.contains_key("code"));
    }
}

#[tokio::test]
async fn a_repeated_parameter_is_refused() {
    let fixture = Fixture::new().await;
    let url = fixture.authorize(&[]).await.url().to_string();
    let reply = fixture.http.get(format!("{url}&client_id=app")).send().await.unwrap();
    assert_eq!(reply.status(), 400);
    let reply = fixture.http.get(format!("{url}&state=two")).send().await.unwrap();
    let back = returned(&reply);
    assert_eq!(back["error"], "invalid_request");
    assert!(!back.contains_key("state"));
}

#[tokio::test]
async fn a_person_approves_once() {
    let fixture = Fixture::with(|_| ()).await;
    let page = fixture.authorize(&[]).await;
    assert_eq!(page.status(), 200);
    let policy = page.headers()["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"));
    let consent = consent_in(&page.text().await.unwrap());
    let form = [("consent", consent.as_str()), ("decision", "approve")];
    let back = returned(&fixture.post("/oauth/authorize", &form).await);
    assert_eq!(back["state"], "s&1");
    assert_eq!(fixture.exchange(&back["code"]).await.status(), 200);
    assert_eq!(fixture.post("/oauth/authorize", &form).await.status(), 400);
}

#[tokio::test]
async fn a_person_may_deny() {
    let fixture = Fixture::with(|_| ()).await;
    let consent = consent_in(&fixture.authorize(&[]).await.text().await.unwrap());
    let form = [("consent", consent.as_str()), ("decision", "deny")];
    assert_eq!(returned(&fixture.post("/oauth/authorize", &form).await)["error"], "access_denied");
}

#[tokio::test]
async fn a_question_is_forgotten_after_ten_minutes() {
    let fixture = Fixture::with(|_| ()).await;
    let consent = consent_in(&fixture.authorize(&[]).await.text().await.unwrap());
    pass(Duration::from_secs(601)).await;
    let form = [("consent", consent.as_str()), ("decision", "approve")];
    assert_eq!(fixture.post("/oauth/authorize", &form).await.status(), 400);
}

#[tokio::test]
async fn a_redirect_uri_with_a_fragment_cannot_be_registered() {
    for uri in ["http://127.0.0.1:7/#x", "/callback"] {
        let mut settings = Settings::new(client("app", "Application"));
        settings.clients[0].redirect_uris.push(uri.to_owned());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        assert!(DemoService::start(listener, settings).is_err(), "{uri}");
    }
}

#[tokio::test]
async fn another_site_cannot_press_the_button() {
    let fixture = Fixture::with(|_| ()).await;
    let consent = consent_in(&fixture.authorize(&[]).await.text().await.unwrap());
    let form = [("consent", consent.as_str()), ("decision", "approve")];
    let request = fixture
        .http
        .post(fixture.url("/oauth/authorize"))
        .header(CONTENT_TYPE, FORM)
        .body(encode(&form));
    let reply = request.header("sec-fetch-site", "cross-site").send().await.unwrap();
    assert_eq!(reply.status(), 400);
}

#[tokio::test]
async fn a_consent_page_escapes_what_it_shows() {
    let fixture = Fixture::with(|settings| {
        settings.clients[0].name = "<script>\"'&".to_owned();
    })
    .await;
    let page = fixture.authorize(&[]).await.text().await.unwrap();
    assert!(page.contains("&lt;script&gt;&quot;&#39;&amp;"));
    assert!(!page.contains("<script"));
}

#[tokio::test]
async fn a_code_works_once() {
    let fixture = Fixture::new().await;
    let code = fixture.code().await;
    let tokens = Tokens::of(fixture.exchange(&code).await).await;
    assert_eq!(fixture.status(&tokens.access).await, 200);
    refused(fixture.exchange(&code).await, 400, "invalid_grant").await;
    assert_eq!(fixture.status(&tokens.access).await, 401);
    refused(fixture.refresh(&tokens.refresh).await, 400, "invalid_grant").await;
}

#[tokio::test]
async fn a_code_lives_a_minute() {
    let fixture = Fixture::new().await;
    let code = fixture.code().await;
    pass(Duration::from_secs(61)).await;
    refused(fixture.exchange(&code).await, 400, "invalid_grant").await;
}

#[tokio::test]
async fn a_code_is_bound_to_verifier_redirect_uri_and_client() {
    let fixture = Fixture::new().await;
    let wrong = "w".repeat(43);
    let reply = fixture.exchange_with(&fixture.code().await, REDIRECT, &wrong).await;
    refused(reply, 400, "invalid_grant").await;
    let other = "http://127.0.0.1:7/other?x=1";
    let reply = fixture.exchange_with(&fixture.code().await, other, VERIFIER).await;
    refused(reply, 400, "invalid_grant").await;
    let code = fixture.code().await;
    let form = [
        ("grant_type", "authorization_code"),
        ("code", code.as_str()),
        ("redirect_uri", REDIRECT),
        ("code_verifier", VERIFIER),
        ("client_id", "other"),
        ("client_secret", "other-secret"),
    ];
    let request = fixture
        .http
        .post(fixture.url("/oauth/token"))
        .header(CONTENT_TYPE, FORM)
        .body(encode(&form));
    refused(request.send().await.unwrap(), 400, "invalid_grant").await;
    assert_eq!(fixture.exchange(&code).await.status(), 200);
}

#[tokio::test]
async fn a_token_answer_has_every_field() {
    let fixture = Fixture::new().await;
    let reply = fixture.exchange(&fixture.code().await).await;
    assert_eq!(reply.headers()["cache-control"], "no-store");
    let body: Value = reply.json().await.unwrap();
    assert_eq!(body["token_type"], "Bearer");
    assert_eq!(body["expires_in"], 5);
    assert_eq!(body["scope"], "issues:read issues:write");
}

#[tokio::test]
async fn an_access_token_expires() {
    let fixture = Fixture::new().await;
    let tokens = fixture.tokens().await;
    pass(Duration::from_secs(6)).await;
    let call = fixture.http.get(fixture.url("/user")).bearer_auth(&tokens.access);
    let reply = call.send().await.unwrap();
    assert_eq!(reply.status(), 401);
    assert_eq!(reply.headers()[WWW_AUTHENTICATE], "Bearer error=\"invalid_token\"");
    let body: Value = reply.json().await.unwrap();
    assert_eq!(body["message"], "Bad credentials");
}

#[tokio::test]
async fn a_refresh_gives_the_next_refresh_token() {
    let fixture = Fixture::new().await;
    let first = fixture.tokens().await;
    let second = Tokens::of(fixture.refresh(&first.refresh).await).await;
    assert_ne!(first.refresh, second.refresh);
    assert_eq!(fixture.status(&second.access).await, 200);
    let third = Tokens::of(fixture.refresh(&second.refresh).await).await;
    assert_eq!(fixture.status(&third.access).await, 200);
    assert_eq!((fixture.service.refreshes(), fixture.service.tokens_issued()), (2, 3));
}

#[tokio::test]
async fn an_old_refresh_token_revokes_the_grant() {
    let fixture = Fixture::new().await;
    let first = fixture.tokens().await;
    let second = Tokens::of(fixture.refresh(&first.refresh).await).await;
    refused(fixture.refresh(&first.refresh).await, 400, "invalid_grant").await;
    assert_eq!(fixture.status(&second.access).await, 401);
    refused(fixture.refresh(&second.refresh).await, 400, "invalid_grant").await;
}

#[tokio::test]
async fn a_refresh_cannot_widen_the_scope() {
    let fixture = Fixture::new().await;
    let tokens = fixture.tokens_for("issues:read").await;
    let form = [
        ("grant_type", "refresh_token"),
        ("refresh_token", tokens.refresh.as_str()),
        ("scope", "issues:write"),
    ];
    refused(fixture.post("/oauth/token", &form).await, 400, "invalid_scope").await;
    assert_eq!(fixture.refresh(&tokens.refresh).await.status(), 200);
}

#[tokio::test]
async fn a_refresh_token_is_bound_to_its_client() {
    let fixture = Fixture::new().await;
    let tokens = fixture.tokens().await;
    let form = [("grant_type", "refresh_token"), ("refresh_token", tokens.refresh.as_str())];
    let foreign = fixture.http.post(fixture.url("/oauth/token")).header(CONTENT_TYPE, FORM);
    let foreign = foreign.basic_auth("other", Some("other-secret")).body(encode(&form));
    refused(foreign.send().await.unwrap(), 400, "invalid_grant").await;
    assert_eq!(fixture.refresh(&tokens.refresh).await.status(), 200);
}

#[tokio::test]
async fn a_client_has_one_name() {
    let fixture = Fixture::new().await;
    let form = [("client_id", "other"), ("token", "unknown")];
    refused(fixture.post("/oauth/revoke", &form).await, 401, "invalid_client").await;
    let form = [("client_id", "app"), ("token", "unknown")];
    assert_eq!(fixture.post("/oauth/revoke", &form).await.status(), 200);
}

#[tokio::test]
async fn a_client_must_prove_itself() {
    let fixture = Fixture::new().await;
    let url = fixture.url("/oauth/token");
    let form = [("grant_type", "refresh_token"), ("refresh_token", "x")];
    let none = fixture.http.post(&url).header(CONTENT_TYPE, FORM).body(encode(&form));
    let wrong = fixture
        .http
        .post(&url)
        .header(CONTENT_TYPE, FORM)
        .body(encode(&form))
        .basic_auth("app", Some("wrong"));
    let unknown = fixture
        .http
        .post(&url)
        .header(CONTENT_TYPE, FORM)
        .body(encode(&form))
        .basic_auth("nobody", Some("app-secret"));
    let bearer = fixture
        .http
        .post(&url)
        .header(CONTENT_TYPE, FORM)
        .body(encode(&form))
        .header(AUTHORIZATION, "Bearer app-secret");
    for request in [none, wrong, unknown, bearer] {
        let reply = request.send().await.unwrap();
        assert!(reply.headers()[WWW_AUTHENTICATE].to_str().unwrap().starts_with("Basic "));
        refused(reply, 401, "invalid_client").await;
    }
}

#[tokio::test]
async fn a_client_proves_itself_in_one_way() {
    let fixture = Fixture::new().await;
    let code = fixture.code().await;
    let both = [("grant_type", "x"), ("client_id", "app"), ("client_secret", "app-secret")];
    refused(fixture.post("/oauth/token", &both).await, 400, "invalid_request").await;
    let form = [
        ("grant_type", "authorization_code"),
        ("code", code.as_str()),
        ("redirect_uri", REDIRECT),
        ("code_verifier", VERIFIER),
        ("client_id", "app"),
        ("client_secret", "app-secret"),
    ];
    let request = fixture
        .http
        .post(fixture.url("/oauth/token"))
        .header(CONTENT_TYPE, FORM)
        .body(encode(&form));
    assert_eq!(request.send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn basic_credentials_are_form_encoded() {
    let fixture = Fixture::with(|settings| {
        settings.clients[0].secret = "a b:%".to_owned().into();
    })
    .await;
    let request = fixture
        .http
        .post(fixture.url("/oauth/revoke"))
        .header(CONTENT_TYPE, FORM)
        .body(encode(&[("token", "unknown")]));
    let reply = request.basic_auth("app", Some("a+b%3A%25")).send().await.unwrap();
    assert_eq!(reply.status(), 200);
}

#[tokio::test]
async fn the_token_endpoint_names_what_is_wrong() {
    let fixture = Fixture::new().await;
    let cases: [(&[(&str, &str)], &str); 4] = [
        (&[], "invalid_request"),
        (&[("grant_type", "password")], "unsupported_grant_type"),
        (&[("grant_type", "refresh_token")], "invalid_request"),
        (&[("grant_type", "refresh_token"), ("grant_type", "x")], "invalid_request"),
    ];
    for (form, error) in cases {
        refused(fixture.post("/oauth/token", form).await, 400, error).await;
    }
    let json = fixture.http.post(fixture.url("/oauth/token")).json(&Value::Null);
    refused(json.send().await.unwrap(), 400, "invalid_request").await;
    let reply = fixture.http.get(fixture.url("/oauth/token")).send().await.unwrap();
    assert_eq!(
        (reply.status().as_u16(), &reply.headers()["allow"]),
        (405, &"POST".parse().unwrap())
    );
}

#[tokio::test]
async fn revoking_a_refresh_token_ends_the_grant() {
    let fixture = Fixture::new().await;
    let tokens = fixture.tokens().await;
    let form = [("token", tokens.refresh.as_str()), ("token_type_hint", "access_token")];
    assert_eq!(fixture.post("/oauth/revoke", &form).await.status(), 200);
    assert_eq!(fixture.status(&tokens.access).await, 401);
    refused(fixture.refresh(&tokens.refresh).await, 400, "invalid_grant").await;
    assert_eq!(fixture.post("/oauth/revoke", &form).await.status(), 200);
}

#[tokio::test]
async fn revoking_an_access_token_keeps_the_grant() {
    let fixture = Fixture::new().await;
    let tokens = fixture.tokens().await;
    let form = [("token", tokens.access.as_str())];
    let foreign = fixture
        .http
        .post(fixture.url("/oauth/revoke"))
        .header(CONTENT_TYPE, FORM)
        .body(encode(&form));
    let reply = foreign.basic_auth("other", Some("other-secret")).send().await.unwrap();
    refused(reply, 400, "invalid_grant").await;
    assert_eq!(fixture.status(&tokens.access).await, 200);
    assert_eq!(fixture.post("/oauth/revoke", &form).await.status(), 200);
    assert_eq!(fixture.status(&tokens.access).await, 401);
    assert_eq!(fixture.refresh(&tokens.refresh).await.status(), 200);
}

#[tokio::test]
async fn a_dropped_service_answers_no_more() {
    let fixture = Fixture::new().await;
    let url = fixture.url("/user");
    drop(fixture.service);
    tokio::task::yield_now().await;
    assert!(fixture.http.get(url).send().await.is_err());
}
