//! Limits, and the headers of every answer.

use http::Method;
use serde_json::json;

use crate::world::{TestServer, client::Answer, server, setup};

/// Limit, remaining and seconds until the reset, which all the headers agree on.
#[track_caller]
fn figures(server: &TestServer, answer: &Answer) -> (u64, u64, u64) {
    let number = |name: &str| answer.header(name).parse::<u64>().unwrap();
    let (limit, left) = (number("x-ratelimit-limit"), number("x-ratelimit-remaining"));
    let reset = number("x-ratelimit-reset") - u64::try_from(server.now()).unwrap();
    assert_eq!(answer.header("ratelimit"), format!("\"default\";r={left};t={reset}"));
    let policy = answer.header("ratelimit-policy");
    assert!(policy.starts_with(&format!("\"default\";q={limit};w=")), "{policy}");
    (limit, left, reset)
}

#[tokio::test]
async fn every_answer_has_the_headers() {
    let server = server().await;
    let answers = [
        server.get("/v1/connections").await,
        server.get("/nope").await,
        server.ask(Method::GET, "/v1/connections").send().await,
        server.ask(Method::GET, "/healthz").send().await,
        server.ask(Method::GET, "/openapi.json").send().await,
        server.ask(Method::GET, "/limits").send().await,
        server.ask(Method::GET, "/connect/nope").send().await,
        server.ask(Method::GET, "/metrics").send().await,
        server.ask(Method::DELETE, "/v1/connect").send().await,
        server.post("/v1/connect", &json!([])).await,
    ];
    for answer in &answers {
        figures(&server, answer);
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("cache-control"), "no-store");
        assert!(answer.header("x-request-id").starts_with("req_"));
    }
}

#[tokio::test]
async fn a_well_formed_request_id_comes_back_and_no_other() {
    let server = server().await;
    let ask = |id: &str| server.ask(Method::GET, "/healthz").header("x-request-id", id);
    for id in ["a", "trace-1.2_3", &"x".repeat(128)] {
        assert_eq!(ask(id).send().await.header("x-request-id"), id);
    }
    for id in ["", "a b", "a\"b", "<b>", &"x".repeat(129)] {
        let answer = ask(id).send().await;
        assert!(answer.header("x-request-id").starts_with("req_"), "{id}");
    }
}

#[tokio::test]
async fn the_figures_count_down_to_a_refusal_and_recover() {
    let server = setup().plan("tiny").start().await;
    for (left, reset) in [(2, 60), (1, 50), (0, 40)] {
        let answer = server.get("/v1/connections").await;
        answer.ok(200);
        assert_eq!(figures(&server, &answer), (3, left, reset));
        server.advance(10);
    }
    let refused = server.get("/v1/connections").await;
    let body = refused.is_error(429, "rate_limit_exceeded");
    assert_eq!(figures(&server, &refused), (3, 0, 30));
    assert_eq!(body["retry_after"], 30);
    assert_eq!(refused.header("retry-after"), "30");
    // A refusal does not count.
    server.get("/v1/connections").await.is_error(429, "rate_limit_exceeded");
    server.advance(29);
    server.get("/v1/connections").await.is_error(429, "rate_limit_exceeded");
    server.advance(1);
    server.get("/v1/connections").await.ok(200);
    server.get("/v1/connections").await.is_error(429, "rate_limit_exceeded");
}

#[tokio::test]
async fn never_more_than_the_limit_in_any_60_seconds() {
    let server = setup().plan("free").start().await;
    let mut accepted = Vec::new();
    for second in 0..130 {
        for _ in 0..2 {
            if server.get("/v1/connections").await.status.is_success() {
                accepted.push(second);
            }
        }
        server.advance(1);
    }
    for start in 0..130 {
        let count = accepted.iter().filter(|at| (start..start + 60).contains(*at)).count();
        assert!(count <= 30, "{count} from {start}");
    }
    assert!(accepted.len() >= 60, "{}", accepted.len());
}

#[tokio::test]
async fn keys_of_one_owner_have_their_own_minutes_and_one_day() {
    let server = setup().plan("daily").start().await;
    let sibling = server.key_of("default", "*").await;
    server.get("/v1/connections").await.ok(200);
    let ask = || server.ask(Method::GET, "/v1/connections").key(&sibling);
    let second = ask().send().await;
    second.ok(200);
    assert_eq!(figures(&server, &second), (2, 0, 43_200));
    assert!(second.header("ratelimit-policy").ends_with("w=86400"));
    ask().send().await.is_error(429, "daily_limit_reached");
    let stranger = server.key_of("acme", "*").await;
    server.ask(Method::GET, "/v1/connections").key(&stranger).send().await.ok(200);
    // Midnight UTC.
    server.advance(12 * 3600);
    ask().send().await.ok(200);
}

#[tokio::test]
async fn a_premium_key_has_the_limit_of_its_tier() {
    let server = server().await;
    let body = json!({"name": "big", "tier": "premium"});
    let request = http::Request::post("/_operator/keys").body(body.to_string().into()).unwrap();
    let made = server.server.operator(request).await;
    let made: serde_json::Value = serde_json::from_slice(made.body()).unwrap();
    let key = made["full_key"].as_str().unwrap();
    let answer = server.ask(Method::GET, "/v1/connections").key(key).send().await;
    assert_eq!(answer.header("x-ratelimit-limit"), "1000");
}

#[tokio::test]
async fn whoever_shows_no_good_key_sees_the_figures_of_its_address() {
    let server = setup().wrong_keys(7).start().await;
    let answer = server.ask(Method::GET, "/v1/connections").send().await;
    assert_eq!(figures(&server, &answer), (7, 7, 60));
    let answer = server.ask(Method::GET, "/v1/connections").key("sk_wrong").send().await;
    assert_eq!(figures(&server, &answer), (7, 6, 60));
    server.advance(20);
    let answer = server.ask(Method::GET, "/nope").send().await;
    assert_eq!(figures(&server, &answer), (7, 6, 40));
}

#[tokio::test]
async fn refusals_after_authentication_count_and_replays_do() {
    let server = server().await;
    server.answers("POST", "/create", crate::world::provider::json(200, "{}")).await;
    let left = |answer: &Answer| answer.header("x-ratelimit-remaining").parse::<u64>().unwrap();
    assert_eq!(left(&server.call("nope/nope", json!({})).await), 99);
    assert_eq!(left(&server.call("open/create", json!({})).await), 98);
    for expected in [97, 96] {
        let body = json!({"params": {"note": "n"}});
        let ask = server.with_key(Method::POST, "/v1/open/create").json(&body);
        assert_eq!(left(&ask.header("idempotency-key", "k").send().await), expected);
    }
    let ask = server.with_key(Method::GET, "/v1/connections").header("skill-user", "a b");
    assert_eq!(left(&ask.send().await), 95);
}
