//! Every error that the *proxy* dialect can give: status, code, shape.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use http::Method;
use serde_json::json;
use skill_core::{
    credential::AuthScheme,
    endpoint::Endpoint,
    integration::{Integration, IntegrationInfo, Overrides, declared},
    record::connection::Fields,
};
use tokio::{io::AsyncReadExt, net::TcpListener};

use crate::world::{TestServer, declarations, provider::json, server, setup};

#[tokio::test]
async fn invalid_input_is_400_with_details() {
    let server = server().await;
    let body = server.call("open/create", json!({"count": "x"})).await.is_error(400, "bad_request");
    let fields = body["details"].as_array().unwrap();
    assert_eq!(fields.len(), 2, "{body}");
    assert!(fields.iter().all(|detail| detail["field"].is_string() && detail["issue"].is_string()));
}

#[tokio::test]
async fn no_bad_or_expired_key_is_401_with_a_challenge() {
    let server = server().await;
    let expiring = server.post("/api-keys", &json!({"name": "short", "expires_in": 5})).await;
    let expiring = expiring.ok(201)["full_key"].as_str().unwrap().to_owned();
    server.advance(6);
    let path = "/v1/open/search";
    let mut mistyped = server.key.clone();
    let last = if mistyped.pop() == Some('a') { 'b' } else { 'a' };
    mistyped.push(last);
    let asks = [
        server.ask(Method::POST, path),
        server.ask(Method::POST, path).header("authorization", "Bearer "),
        server.ask(Method::POST, path).header("authorization", "Basic YTpi"),
        server.ask(Method::POST, path).key(&mistyped),
        server.ask(Method::POST, path).key(&expiring),
        server.ask(Method::POST, path).key("nonsense"),
    ];
    let mut bodies = Vec::new();
    for ask in asks {
        let answer = ask.send().await;
        answer.is_error(401, "unauthorized");
        assert_eq!(answer.header("www-authenticate"), "Bearer");
        bodies.push(answer.body);
    }
    assert!(bodies.iter().all(|body| *body == bodies[0]), "every cause looks the same");
}

#[tokio::test]
async fn a_401_has_the_shape_of_its_dialect_already() {
    let server = server().await;
    for (path, method) in [("/api-keys", Method::GET), ("/v1/connections", Method::GET)] {
        server.ask(method, path).send().await.is_error(401, "unauthorized");
    }
}

#[tokio::test]
async fn a_missing_scope_is_403() {
    let server = server().await;
    let key = server.key_of("default", "github").await;
    let answer = server.ask(Method::POST, "/v1/open/search").key(&key).send().await;
    let body = answer.is_error(403, "scope_not_allowed");
    assert!(body["message"].as_str().unwrap().contains("'open'"), "{body}");
    let answer = server.ask(Method::GET, "/api-keys").key(&key).send().await;
    answer.is_error(403, "scope_not_allowed");
}

#[tokio::test]
async fn a_plan_limit_is_403_with_a_page() {
    let server = setup().plan("tiny").start().await;
    server.knows_everybody().await;
    server.connected("keyed", json!({"api_key": "k"})).await;
    let body = json!({"integration": "tokened"});
    let answer = server.post("/v1/connect", &body).await.is_error(403, "plan_limit_reached");
    opens(&server, &answer).await;
    // The one key of the test counts: the second is the last.
    server.post("/api-keys", &json!({"name": "b"})).await.ok(201);
    server.advance(61);
    let answer = server.post("/api-keys", &json!({"name": "c"})).await;
    opens(&server, &answer.is_error(403, "plan_limit_reached")).await;
}

#[tokio::test]
async fn several_connections_and_none_named_is_409_with_details() {
    let server = server().await;
    server.knows_everybody().await;
    let credentials = json!({"api_key": "k"});
    let mut ids = Vec::new();
    for label in ["home", "work"] {
        let body = json!({"integration": "keyed", "credentials": credentials, "label": label});
        let made = server.post("/v1/connect", &body).await.ok(200);
        ids.push(made["connection_id"].as_str().unwrap().to_owned());
        server.advance(1);
    }
    let answer = server.call("keyed/get_item", json!({"item": "1"})).await;
    let body = answer.is_error(409, "choose_connection");
    let details = body["details"].as_array().unwrap();
    let issues = details.iter().map(|detail| detail["issue"].as_str().unwrap()).collect::<Vec<_>>();
    assert_eq!(issues, ["home", "work"]);
    assert!(details.iter().all(|detail| ids.iter().any(|id| detail["field"] == **id)), "{body}");
}

#[tokio::test]
async fn a_taken_label_is_a_conflict() {
    let server = server().await;
    let body = json!({"integration": "keyed", "label": "home"});
    server.post("/v1/connect", &body).await.ok(200);
    server.post("/v1/connect", &body).await.is_error(409, "conflict");
}

#[tokio::test]
async fn the_limit_of_a_minute_is_429() {
    let server = setup().plan("tiny").start().await;
    for _ in 0..3 {
        server.get("/v1/connections").await.ok(200);
    }
    let answer = server.get("/v1/connections").await;
    let body = answer.is_error(429, "rate_limit_exceeded");
    assert_eq!(answer.header("retry-after"), body["retry_after"].to_string());
}

#[tokio::test]
async fn the_limit_of_a_day_is_429_with_a_page() {
    let server = setup().plan("daily").start().await;
    for _ in 0..2 {
        server.get("/v1/connections").await.ok(200);
    }
    let answer = server.get("/v1/connections").await;
    let body = answer.is_error(429, "daily_limit_reached");
    assert_eq!(body["retry_after"], 12 * 3600);
    assert_eq!(answer.header("retry-after"), "43200");
    opens(&server, &body).await;
}

#[tokio::test]
async fn a_service_that_does_not_answer_in_time_is_504() {
    let server = setup().calls(|calls| calls.timeout = Duration::from_secs(1)).start().await;
    let slow = || json(200, "{}").set_delay(Duration::from_secs(3));
    server.answers("GET", "/search", slow()).await;
    server.answers("POST", "/create", slow()).await;
    let body = server.call("open/search", json!({})).await.is_error(504, "upstream_timeout");
    assert!(body.get("details").is_none(), "reading may be repeated: {body}");
    let answer = server.call("open/create", json!({"note": "n"})).await;
    let body = answer.is_error(504, "upstream_timeout");
    assert_eq!(body["details"][0], json!({"field": "reason", "issue": "outcome_unknown"}));
}

#[tokio::test]
async fn a_service_that_is_not_there_is_502() {
    // Nothing listens there, and nothing that a test starts ever will.
    let (place, text) = elsewhere("127.0.0.1:1".parse().unwrap());
    let server = setup().declare("gone", place, text).start().await;
    let answer = server.call("gone/create", json!({"note": "n"})).await;
    let body = answer.is_error(502, "upstream_unavailable");
    assert!(!body.to_string().contains("127.0.0.1"), "{body}");
}

#[tokio::test]
async fn a_cut_after_the_request_went_out_is_an_unknown_outcome() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (place, text) = elsewhere(listener.local_addr().unwrap());
    let server = setup().declare("cut", place, text).start().await;
    let cutting = tokio::spawn(async move {
        let mut taken = 0;
        while let Ok((mut stream, _)) = listener.accept().await {
            taken += 1;
            let mut seen = Vec::new();
            while !seen.ends_with(b"}") {
                if stream.read_buf(&mut seen).await.unwrap_or(0) == 0 {
                    break;
                }
            }
            assert_eq!(taken, 1, "a second request");
        }
    });
    let answer = server.call("cut/create", json!({"note": "n"})).await;
    let body = answer.is_error(502, "outcome_unknown");
    assert_eq!(body["details"][0]["field"], "reason");
    assert!(!cutting.is_finished(), "nothing was sent twice");
    cutting.abort();
}

#[tokio::test]
async fn a_token_endpoint_in_trouble_is_502_and_the_connection_stays() {
    let server = server().await;
    let id = server.with_github().await;
    server.answers("POST", "/repos/acme/webapp/issues", json(401, "{}")).await;
    server.answers("POST", "/login/oauth/access_token", json(500, "{}")).await;
    server.create_issue().await.is_error(502, "upstream_unavailable");
    let shown = server.get(&format!("/v1/connections/{id}")).await.ok(200);
    assert_eq!(shown["status"], "connected");
}

#[tokio::test]
async fn an_operator_who_has_set_up_no_client_is_503() {
    let auth = "scheme = \"oauth2\"\nauthorize_url = \"https://a.test/\"\n\
                token_url = \"https://a.test/\"";
    let text =
        format!("{}{}", declarations::head("Bare", "https://a.test", auth), declarations::OPEN);
    let server = setup().declare("bare", "127.0.0.1:9".parse().unwrap(), text).start().await;
    let answer = server.post("/v1/connect", &json!({"integration": "bare"})).await;
    answer.is_error(503, "service_unavailable");
    assert_eq!(answer.header("retry-after"), "1");
}

/// An integration with a bug.
#[derive(Debug)]
struct Broken(Arc<dyn Integration>);

impl Integration for Broken {
    fn info(&self) -> &IntegrationInfo {
        self.0.info()
    }

    fn base(&self, _: &Fields) -> skill_core::Result<url::Url> {
        panic!("panic-canary")
    }

    fn auth(&self) -> &dyn AuthScheme {
        self.0.auth()
    }

    fn endpoint(&self, canonical: &str) -> Option<Arc<dyn Endpoint>> {
        self.0.endpoint(canonical)
    }

    fn endpoints(&self) -> Box<dyn Iterator<Item = Arc<dyn Endpoint>> + '_> {
        self.0.endpoints()
    }
}

#[tokio::test]
async fn a_bug_of_ours_is_500_and_the_server_goes_on() {
    let head = declarations::head("Broken", "https://a.test", r#"scheme = "none""#);
    let text = format!("{head}{}", declarations::OPEN);
    let inner = declared("broken.toml", &text, &Overrides::default()).unwrap();
    let server = setup().integration(Arc::new(Broken(inner))).start().await;
    for _ in 0..3 {
        let answer = server.call("broken/search", json!({})).await;
        let body = answer.is_error(500, "internal_error");
        assert!(!body.to_string().contains("canary"), "{body}");
    }
    server.get("/v1/connections").await.ok(200);
}

#[tokio::test]
async fn every_error_is_json_with_the_headers_of_every_answer() {
    let server = server().await;
    for answer in [
        server.get("/nope").await,
        server.ask(Method::POST, "/v1/open/search").send().await,
        server.call("open/create", json!({})).await,
        server.call("nope/nope", json!({})).await,
    ] {
        assert_eq!(answer.header("content-type"), "application/json");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("cache-control"), "no-store");
        assert!(answer.header("x-request-id").starts_with("req_"));
        assert!(!answer.header("x-ratelimit-limit").is_empty());
    }
}

/// Where an integration lies that has a place of its own, and its declaration.
fn elsewhere(place: SocketAddr) -> (SocketAddr, String) {
    let base = format!("http://{place}");
    let head = declarations::head("Elsewhere", &base, r#"scheme = "none""#);
    (place, format!("{head}{}", declarations::OPEN))
}

/// The page of an error answers.
pub(crate) async fn opens(server: &TestServer, body: &serde_json::Value) {
    let url = body["action_url"].as_str().unwrap_or_else(|| panic!("no page: {body}"));
    let path = url.strip_prefix(&server.public).expect("a page of this server");
    let page = server.ask(Method::GET, path).send().await;
    assert_eq!(page.status.as_u16(), 200, "{}", page.text());
    assert!(page.header("content-type").starts_with("text/html"));
}
