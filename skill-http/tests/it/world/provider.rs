//! The service behind the server: what it answers.

use serde_json::{Value, json};
use wiremock::{
    Mock, Request, ResponseTemplate,
    matchers::{method, path},
};

use super::{TestServer, client::Answer};

/// The issue of the product's example.
pub(crate) const ISSUE: &str = r#"{
  "id": 42,
  "number": 7,
  "title": "Bug report",
  "state": "open",
  "html_url": "https://github.com/acme/webapp/issues/7"
}"#;

impl TestServer {
    /// Answers `GET /whoami` and GitHub's `GET /user` with a name.
    pub(crate) async fn knows_everybody(&self) {
        for at in ["/whoami", "/user"] {
            self.answers("GET", at, json(200, r#"{"login":"octocat"}"#)).await;
        }
    }

    /// Answers a request.
    pub(crate) async fn answers(&self, verb: &str, at: &str, answer: ResponseTemplate) {
        let mock = Mock::given(method(verb)).and(path(at)).respond_with(answer);
        mock.mount(&self.upstream).await;
    }

    /// Answers a request as `answer` says.
    pub(crate) async fn reacts(
        &self,
        verb: &str,
        at: &str,
        answer: impl Fn(&Request) -> ResponseTemplate + Send + Sync + 'static,
    ) {
        let mock = Mock::given(method(verb)).and(path(at)).respond_with(answer);
        mock.mount(&self.upstream).await;
    }

    /// Hands a credential over; returns the connection's id.
    pub(crate) async fn connected(&self, integration: &str, credentials: Value) -> String {
        let body = json!({"integration": integration, "credentials": credentials});
        let answer = self.post("/v1/connect", &body).await.ok(200);
        assert_eq!(answer["status"], "connected", "{answer}");
        answer["connection_id"].as_str().unwrap().to_owned()
    }

    /// Connects GitHub with a token that can be renewed.
    pub(crate) async fn with_github(&self) -> String {
        self.knows_everybody().await;
        let tokens = json!({"access_token": "access-canary", "refresh_token": "refresh-canary"});
        self.connected("github", tokens).await
    }

    /// The product's own example.
    pub(crate) async fn create_issue(&self) -> Answer {
        self.call("github/create_issue", issue()).await
    }
}

/// The parameters of the product's own example.
pub(crate) fn issue() -> Value {
    json!({
        "repo": "acme/webapp",
        "title": "Bug report",
        "body": "Steps to reproduce...",
        "labels": ["bug", "priority"],
    })
}

/// An answer in JSON.
pub(crate) fn json(status: u16, body: &str) -> ResponseTemplate {
    typed(status, body.as_bytes(), "application/json; charset=utf-8")
}

/// An answer of any type.
pub(crate) fn typed(status: u16, body: &[u8], kind: &str) -> ResponseTemplate {
    ResponseTemplate::new(status).set_body_raw(body, kind)
}
