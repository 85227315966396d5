//! `/api/triggers` and `/webhooks/{token}`.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use http::Method;
use serde_json::{Value, json};
use sha2::Sha256;
use wiremock::{Mock, ResponseTemplate, matchers::path};

use crate::world::{
    TestServer,
    client::{Answer, SOON},
    server, setup,
};

/// A trigger for the skill `lab/run` alone.
fn bare() -> Value {
    json!({"category": "lab", "skill": "run"})
}

/// A trigger for a skill and an endpoint.
fn several() -> Value {
    json!({"skills": ["lab/v1/run", "open/v1/get-item"]})
}

async fn make(server: &TestServer, body: &Value) -> Value {
    server.post("/api/triggers", body).await.ok(201)
}

/// A request to a trigger's address, without a key.
async fn send(server: &TestServer, trigger: &Value, rest: &str, body: &Value) -> Answer {
    let path = format!("/webhooks/{}{rest}", trigger["token"].as_str().unwrap());
    server.ask(Method::POST, &path).json(body).send().await
}

/// The run of an answer, once it has ended.
async fn ended(server: &TestServer, answer: &Answer) -> Value {
    let job = answer.ok(202)["job_id"].as_str().unwrap().replace("job_", "exec_");
    server.ended(&job).await
}

#[tokio::test]
async fn a_trigger_for_one_skill_takes_its_input_bare() {
    for server in [server().await, setup().on_disk().start().await] {
        let made = make(&server, &bare()).await;
        assert!(made["secret"].as_str().unwrap().starts_with("whsec_"));
        let url = format!("{}/webhooks/{}", server.public, made["token"].as_str().unwrap());
        assert_eq!((&made["url"], &made["skills"]), (&json!(url), &json!(["lab/v1/run"])));
        let answer = send(&server, &made, "", &json!({"do": "echo"})).await;
        assert_eq!(answer.ok(202)["status"], "accepted");
        let run = ended(&server, &answer).await;
        assert_eq!((&run["status"], &run["result"]), (&json!("success"), &json!({"do": "echo"})));
        // Nothing shows the token or the secret again.
        for path in ["/api/triggers", &format!("/api/triggers/{}", made["id"].as_str().unwrap())] {
            let shown = server.get(path).await;
            assert_eq!(shown.status.as_u16(), 200);
            for secret in ["token", "secret"] {
                assert!(!shown.text().contains(made[secret].as_str().unwrap()), "{path}");
            }
        }
    }
}

#[tokio::test]
async fn a_trigger_for_several_is_told_which() {
    let server = server().await;
    let made = make(&server, &several()).await;
    let body = json!({"category": "lab", "version": "v1", "skill": "run", "input": {"do": "echo"}});
    let run = ended(&server, &send(&server, &made, "", &body).await).await;
    assert_eq!(run["status"], "success");
    let body = json!({"category": "open", "skill": "get_item", "input": {"item": "7"}});
    ended(&server, &send(&server, &made, "", &body).await).await;
    assert_eq!(server.upstream_saw().await, ["GET /items/7"]);
    let elsewhere = json!({"category": "open", "skill": "search", "input": {}});
    send(&server, &made, "", &elsewhere).await.is_error(403, "insufficient_scope");
    let newer = json!({"category": "lab", "version": "v2", "skill": "run", "input": {}});
    send(&server, &made, "", &newer).await.is_error(403, "insufficient_scope");
    for (body, field) in [
        (json!({}), "category"),
        (json!({"category": "lab"}), "skill"),
        (json!({"category": "lab", "skill": "run", "version": "1"}), "version"),
        (json!({"category": "lab", "skill": "run", "input": 7}), "input"),
        (json!({"category": "lab", "skill": "run", "synchronous": "yes"}), "synchronous"),
        (json!({"category": "lab", "skill": "run", "agent": "x"}), "agent"),
    ] {
        let error = send(&server, &made, "", &body).await.is_error(400, "validation_error");
        assert_eq!(error["details"][0]["field"], field, "{error}");
    }
}

#[tokio::test]
async fn a_synchronous_request_is_answered_with_the_result() {
    let server = server().await;
    let (one, many) = (make(&server, &bare()).await, make(&server, &several()).await);
    let answer = send(&server, &one, "?synchronous=true", &json!({"do": "echo"})).await;
    let said = answer.ok(200);
    assert_eq!((&said["status"], &said["result"]), (&json!("completed"), &json!({"do": "echo"})));
    assert!(said["job_id"].as_str().unwrap().starts_with("job_"));
    let body = json!({
        "category": "lab", "skill": "run", "input": {"do": "fail"}, "synchronous": true,
    });
    let failed = send(&server, &many, "", &body).await.ok(200);
    assert_eq!(failed["status"], "failed", "{failed}");
    assert!(failed["error"].is_object() || failed["error"].is_string(), "{failed}");
}

#[tokio::test]
async fn unknown_and_revoked_tokens_are_like_paths_that_are_not_there() {
    let server = setup().wrong_keys(4).start().await;
    let made = make(&server, &bare()).await;
    let unknown = json!({"token": "A".repeat(43)});
    let answer = send(&server, &unknown, "", &json!({})).await;
    answer.is_error(404, "not_found");
    let short = send(&server, &json!({"token": "short"}), "", &json!({})).await;
    assert_eq!(short.body, answer.body);
    let path = format!("/api/triggers/{}", made["id"].as_str().unwrap());
    assert_eq!(server.delete(&path).await.status.as_u16(), 204);
    assert_eq!(send(&server, &made, "", &json!({"do": "echo"})).await.body, answer.body);
    // Of a key that is revoked as well.
    let maker = server.key_of("default", "lab,webhooks,keys").await;
    let ask = server.ask(Method::POST, "/api/triggers").key(&maker).json(&bare());
    let theirs = ask.send().await.ok(201);
    send(&server, &theirs, "", &json!({"do": "echo"})).await.ok(202);
    let keys = server.get("/api-keys").await.ok(200);
    let id = keys.as_array().unwrap().iter().find(|key| key["scopes"] != json!(["*"])).unwrap();
    let id = id["id"].as_str().unwrap();
    assert_eq!(server.delete(&format!("/api-keys/{id}")).await.status.as_u16(), 204);
    assert_eq!(send(&server, &theirs, "", &json!({"do": "echo"})).await.body, answer.body);
    // Who guesses is slowed down; a good address from there is not.
    let good = make(&server, &bare()).await;
    let mut last = answer;
    for _ in 0..4 {
        last = send(&server, &unknown, "", &json!({})).await;
    }
    last.is_error(429, "rate_limit_exceeded");
    assert_ne!(last.header("retry-after"), "");
    send(&server, &good, "", &json!({"do": "echo"})).await.ok(202);
}

#[tokio::test]
async fn a_trigger_is_limited_as_the_key_that_made_it() {
    let server = setup().plan("tiny").start().await;
    let made = make(&server, &bare()).await;
    send(&server, &made, "", &json!({"do": "echo"})).await.ok(202);
    send(&server, &made, "", &json!({"do": "echo"})).await.ok(202);
    let refused = send(&server, &made, "", &json!({"do": "echo"})).await;
    refused.is_error(429, "rate_limit_exceeded");
    server.advance(61);
    send(&server, &made, "", &json!({"do": "echo"})).await.ok(202);
}

fn mac(secret: &str, text: &[u8]) -> Vec<u8> {
    let key = match secret.strip_prefix("whsec_") {
        Some(encoded) => STANDARD.decode(encoded).unwrap(),
        None => secret.as_bytes().to_vec(),
    };
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn a_signed_trigger_takes_both_signatures_and_nothing_else() {
    let server = server().await;
    for secret in [None, Some("It's a Secret to Everybody")] {
        let mut wanted = bare();
        wanted["signed"] = true.into();
        wanted["secret"] = secret.into();
        let made = make(&server, &wanted).await;
        let secret = made["secret"].as_str().unwrap();
        let path = format!("/webhooks/{}", made["token"].as_str().unwrap());
        let body = json!({"do": "echo"}).to_string();
        let sign = |id: &str, at: i64, body: &str| {
            let text = format!("{id}.{at}.{body}");
            let signature = format!("v1,{}", STANDARD.encode(mac(secret, text.as_bytes())));
            let ask = server.ask(Method::POST, &path).header("webhook-id", id);
            let ask = ask.header("webhook-timestamp", &at.to_string());
            ask.header("webhook-signature", &signature)
        };
        let now = server.now();
        sign("a", now, &body).body(body.clone()).send().await.ok(202);
        let plain = format!("sha256={}", hex(&mac(secret, body.as_bytes())));
        let ask = server.ask(Method::POST, &path).header("x-webhook-signature", &plain);
        ask.body(body.clone()).send().await.ok(202);
        for refused in [
            server.ask(Method::POST, &path).body(body.clone()),
            sign("b", now, &body).body("{\"do\":\"fail\"}"),
            sign("c", now - 301, &body).body(body.clone()),
            sign("d", now + 301, &body).body(body.clone()),
            server
                .ask(Method::POST, &path)
                .header("x-webhook-signature", "sha256=00")
                .body(body.clone()),
        ] {
            refused.send().await.is_error(401, "authentication_required");
        }
    }
}

#[tokio::test]
async fn a_message_that_comes_twice_makes_one_run() {
    let server = server().await;
    let mut wanted = bare();
    wanted["dedup_header"] = "X-GitHub-Delivery".into();
    let (made, other) = (make(&server, &wanted).await, make(&server, &wanted).await);
    let send = async |trigger: &Value, name: &str, value: &str| {
        let path = format!("/webhooks/{}", trigger["token"].as_str().unwrap());
        let ask = server.ask(Method::POST, &path).header(name, value);
        ask.json(&json!({"do": "echo"})).send().await
    };
    for name in ["webhook-id", "x-github-delivery", "idempotency-key"] {
        let (one, two) = (format!("{name}-1"), format!("{name}-2"));
        let first = send(&made, name, &one).await;
        assert_eq!(first.header("idempotent-replayed"), "");
        let again = send(&made, name, &one).await;
        assert_eq!(again.header("idempotent-replayed"), "true");
        assert_eq!(again.ok(202), first.ok(202));
        assert_ne!(send(&made, name, &two).await.ok(202), first.ok(202));
        if name != "idempotency-key" {
            let elsewhere = send(&other, name, &one).await;
            assert_ne!(elsewhere.ok(202), first.ok(202), "its sender is another one");
        }
    }
    send(&made, "webhook-id", &"x".repeat(513)).await.is_error(400, "validation_error");
}

#[tokio::test]
async fn the_result_comes_to_the_callback_signed_with_the_triggers_secret() {
    for server in [server().await, setup().on_disk().start().await] {
        let answer = ResponseTemplate::new(204);
        let mock = Mock::given(path("/callback")).respond_with(answer).with_priority(1);
        mock.mount(&server.upstream).await;
        let made = make(&server, &several()).await;
        let url = format!("{}/callback", server.upstream.uri());
        let order = |kind: &str| {
            json!({
                "category": "lab", "skill": "run", "input": {"do": kind}, "callback_url": url,
            })
        };
        let (good, bad) = (
            send(&server, &made, "", &order("echo")).await.ok(202),
            send(&server, &made, "", &order("fail")).await.ok(202),
        );
        let received = tokio::time::timeout(SOON, called_back(&server, 2));
        let received = received.await.expect("it comes soon");
        let secret = made["secret"].as_str().unwrap();
        let document = server.ask(Method::GET, "/openapi.json").send().await.ok(200);
        let mut told = Vec::new();
        for request in received {
            let header = |name: &str| request.headers[name].to_str().unwrap();
            let head = format!("{}.{}.", header("webhook-id"), header("webhook-timestamp"));
            let text = [head.as_bytes(), &request.body[..]].concat();
            let expected = format!("v1,{}", STANDARD.encode(mac(secret, &text)));
            assert_eq!(header("webhook-signature"), expected);
            let plain = format!("sha256={}", hex(&mac(secret, &request.body)));
            assert_eq!(header("x-webhook-signature"), plain);
            let said = request.body_json::<Value>().unwrap();
            let event = said["event"].as_str().unwrap();
            let post = &document["webhooks"][event]["post"];
            let schema = &post["requestBody"]["content"]["application/json"]["schema"];
            let schema = skill_core::schema::Schema::compile(schema.clone()).unwrap();
            schema.check(&said).unwrap();
            assert_eq!(said["data"]["trigger_id"], made["id"]);
            told.push((event.to_owned(), said["data"]["job_id"].clone()));
        }
        told.sort_by(|a, b| a.0.cmp(&b.0));
        let expected = [("skill.completed", &good), ("skill.failed", &bad)];
        let expected = expected.map(|(event, run)| (event.to_owned(), run["job_id"].clone()));
        assert_eq!(told, expected);
    }
}

/// What came to the callback, when it is so much.
async fn called_back(server: &TestServer, times: usize) -> Vec<wiremock::Request> {
    loop {
        let mut all = server.upstream.received_requests().await.unwrap();
        all.retain(|request| request.url.path() == "/callback");
        if all.len() == times {
            return all;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_callback_leads_to_public_https_only() {
    let server = server().await;
    let (one, many) = (make(&server, &bare()).await, make(&server, &several()).await);
    for url in [
        "http://example.com/",
        "https://169.254.169.254/",
        "https://127.0.0.1:9/",
        "https://[::1]/",
        "https://user:pass@example.com/",
        "nonsense",
        "",
    ] {
        let body = json!({"category": "lab", "skill": "run", "callback_url": url});
        let error = send(&server, &many, "", &body).await.is_error(400, "validation_error");
        assert_eq!(error["details"][0]["field"], "callback_url", "{url} {error}");
    }
    let query = "?callback_url=https%3A%2F%2F10.0.0.1%2F";
    let error = send(&server, &one, query, &json!({"do": "echo"})).await;
    error.is_error(400, "validation_error");
    assert_eq!(server.get("/v1/executions").await.ok(200)["total"], 0, "nothing ran");
}

#[tokio::test]
async fn what_cannot_be_triggered_is_refused_with_its_field() {
    let server = server().await;
    for (body, field) in [
        (json!({}), "skills"),
        (json!({"category": "lab"}), "skill"),
        (json!({"skill": "run"}), "category"),
        (json!({"skills": []}), "skills"),
        (json!({"skills": ["lab/run"]}), "skills"),
        (json!({"skills": ["lab/v1/run", "lab/v1.0/run"]}), "skills"),
        (json!({"skills": ["lab/v1/run"], "category": "lab", "skill": "run"}), "skills"),
        (json!({"category": "LAB", "skill": "run"}), "category"),
        (json!({"category": "lab", "skill": "run", "version": "1"}), "version"),
        (json!({"category": "lab", "skill": "run", "name": "x".repeat(201)}), "name"),
        (json!({"category": "lab", "skill": "run", "secret": "short"}), "secret"),
        (json!({"category": "lab", "skill": "run", "dedup_header": "a b"}), "dedup_header"),
        (json!({"category": "lab", "skill": "run", "dedup_header": "Cookie"}), "dedup_header"),
        (json!({"category": "lab", "skill": "run", "token": "mine"}), "token"),
    ] {
        let error = server.post("/api/triggers", &body).await.is_error(400, "validation_error");
        assert_eq!(error["details"][0]["field"], field, "{error}");
    }
    let unknown = json!({"category": "lab", "skill": "nothing"});
    server.post("/api/triggers", &unknown).await.is_error(404, "not_found");
    assert_eq!(server.get("/api/triggers").await.ok(200), json!([]));
}

#[tokio::test]
async fn a_trigger_may_do_no_more_than_its_maker() {
    let server = server().await;
    let ask = async |key: &str, body: &Value| {
        server.ask(Method::POST, "/api/triggers").key(key).json(body).send().await
    };
    for scopes in ["lab", "scheduler", "webhooks"] {
        let key = server.key_of("default", scopes).await;
        ask(&key, &bare()).await.is_error(403, "insufficient_scope");
    }
    let key = server.key_of("default", "lab,webhooks").await;
    ask(&key, &several()).await.is_error(403, "insufficient_scope");
    let mut wider = bare();
    wider["scopes"] = json!(["lab", "open"]);
    ask(&key, &wider).await.is_error(403, "insufficient_scope");
    let made = ask(&key, &bare()).await.ok(201);
    assert_eq!(made["scopes"], json!(["lab", "webhooks"]));
    let stranger = server.key_of("acme", "*").await;
    let path = format!("/api/triggers/{}", made["id"].as_str().unwrap());
    let foreign = server.ask(Method::DELETE, &path).key(&stranger).send().await;
    foreign.is_error(404, "not_found");
    send(&server, &made, "", &json!({"do": "echo"})).await.ok(202);
}
