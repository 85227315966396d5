//! The service through real HTTP, with tokio's clock moved by hand.

mod issues;
mod oauth;

use std::collections::HashMap;
use std::time::Duration;

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use reqwest::Response;
use reqwest::header::{CONTENT_TYPE, LOCATION};
use reqwest::redirect::Policy;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;
use url::{Url, form_urlencoded};

use super::{Client, DemoService, Settings};

const REDIRECT: &str = "http://127.0.0.1:7/callback";
const FORM: &str = "application/x-www-form-urlencoded";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

/// A running service and a browser that follows no redirect.
struct Fixture {
    service: DemoService,
    http: reqwest::Client,
}

impl Fixture {
    /// Starts a service that approves at once.
    async fn new() -> Self {
        Self::with(|settings| settings.auto_approve = true).await
    }

    async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings::new(client("app", "Application"));
        settings.clients.push(client("other", "Other"));
        settings.repositories.push("acme/api".to_owned());
        change(&mut settings);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let service = DemoService::start(listener, settings).unwrap();
        let http = reqwest::Client::builder()
            .redirect(Policy::none())
            .pool_max_idle_per_host(0)
            .no_proxy()
            .build()
            .unwrap();
        Self { service, http }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.service.base_url())
    }

    /// Sends an authorization request that is right except for `changes`; empty leaves out.
    async fn authorize(&self, changes: &[(&str, &str)]) -> Response {
        let challenge = challenge();
        let mut query = HashMap::from([
            ("response_type", "code"),
            ("client_id", "app"),
            ("redirect_uri", REDIRECT),
            ("code_challenge", challenge.as_str()),
            ("code_challenge_method", "S256"),
            ("state", "s&1"),
        ]);
        query.extend(changes.iter().copied());
        query.retain(|_, value| !value.is_empty());
        let mut url = Url::parse(&self.url("/oauth/authorize")).unwrap();
        url.query_pairs_mut().extend_pairs(query);
        self.http.get(url).send().await.unwrap()
    }

    async fn code(&self) -> String {
        returned(&self.authorize(&[]).await)["code"].clone()
    }

    /// Posts a form as the client `app`.
    async fn post(&self, path: &str, form: &[(&str, &str)]) -> Response {
        let request = self.http.post(self.url(path)).basic_auth("app", Some("app-secret"));
        request.header(CONTENT_TYPE, FORM).body(encode(form)).send().await.unwrap()
    }

    async fn exchange(&self, code: &str) -> Response {
        self.exchange_with(code, REDIRECT, VERIFIER).await
    }

    async fn exchange_with(&self, code: &str, redirect_uri: &str, verifier: &str) -> Response {
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", redirect_uri),
            ("code_verifier", verifier),
        ];
        self.post("/oauth/token", &form).await
    }

    async fn refresh(&self, token: &str) -> Response {
        let form = [("grant_type", "refresh_token"), ("refresh_token", token)];
        self.post("/oauth/token", &form).await
    }

    /// Walks through consent and returns the tokens.
    async fn tokens(&self) -> Tokens {
        self.tokens_for("").await
    }

    async fn tokens_for(&self, scope: &str) -> Tokens {
        let code = returned(&self.authorize(&[("scope", scope)]).await)["code"].clone();
        Tokens::of(self.exchange(&code).await).await
    }

    /// Returns the status of a call with an access token.
    async fn status(&self, access: &str) -> u16 {
        let call = self.http.get(self.url("/user")).bearer_auth(access);
        call.send().await.unwrap().status().as_u16()
    }
}

struct Tokens {
    access: String,
    refresh: String,
}

impl Tokens {
    async fn of(response: Response) -> Self {
        assert_eq!(response.status(), 200);
        let body: Value = response.json().await.unwrap();
        let token = |name: &str| body[name].as_str().unwrap().to_owned();
        Self { access: token("access_token"), refresh: token("refresh_token") }
    }
}

fn client(id: &str, name: &str) -> Client {
    Client {
        id: id.to_owned(),
        secret: format!("{id}-secret").into(),
        name: name.to_owned(),
        redirect_uris: vec![REDIRECT.to_owned(), "http://127.0.0.1:7/other?x=1".to_owned()],
    }
}

fn challenge() -> String {
    BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER))
}

fn encode(form: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish()
}

/// Returns the parameters a redirect carries back to the client.
fn returned(response: &Response) -> HashMap<String, String> {
    assert_eq!(response.status(), 303);
    let location = response.headers()[LOCATION].to_str().unwrap();
    assert!(location.starts_with("http://127.0.0.1:7/"));
    Url::parse(location).unwrap().query_pairs().into_owned().collect()
}

/// Checks status and `error` of an OAuth error.
async fn refused(response: Response, status: u16, error: &str) {
    assert_eq!(response.status(), status);
    assert_eq!(response.headers()["cache-control"], "no-store");
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["error"], error);
    assert!(body["error_description"].is_string());
}

/// Moves the clock without sleeping.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}
