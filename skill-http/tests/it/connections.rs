//! `/v1/connections`, polling and the hand-over of credentials; nobody sees another owner's.

use http::Method;
use serde_json::{Value, json};

use crate::world::{
    TestServer,
    client::Answer,
    golden::golden,
    provider::{json, typed},
    server,
};

fn at(id: &str) -> String {
    format!("/v1/connections/{id}")
}

async fn total(server: &TestServer) -> Value {
    server.get("/v1/connections").await.ok(200)["total"].clone()
}

#[tokio::test]
async fn a_credential_that_the_service_refuses_is_not_stored() {
    let server = server().await;
    for status in [401, 403, 400, 404, 302] {
        server.answers("GET", "/whoami", typed(status, b"no", "text/plain")).await;
        let body = json!({"integration": "keyed", "credentials": {"api_key": "wrong"}});
        server.post("/v1/connect", &body).await.is_error(400, "bad_request");
        server.upstream.reset().await;
    }
    for status in [500, 503] {
        server.answers("GET", "/whoami", typed(status, b"no", "text/plain")).await;
        let body = json!({"integration": "keyed", "credentials": {"api_key": "wrong"}});
        server.post("/v1/connect", &body).await.is_error(502, "upstream_unavailable");
        server.upstream.reset().await;
    }
    assert_eq!(total(&server).await, 0);
}

#[tokio::test]
async fn a_hand_over_answers_with_the_connection() {
    let server = server().await;
    server.knows_everybody().await;
    let body = json!({
        "integration": "keyed", "credentials": {"api_key": "secret-canary"}, "label": "work",
    });
    let answer = server.post("/v1/connect", &body).await;
    insta::assert_snapshot!(golden(&server, &answer));
    let id = answer.json()["connection_id"].as_str().unwrap().to_owned();
    insta::assert_snapshot!("a_shown_connection", golden(&server, &server.get(&at(&id)).await));
}

#[tokio::test]
async fn credentials_are_those_of_the_scheme() {
    let server = server().await;
    server.knows_everybody().await;
    for (integration, credentials) in [
        ("keyed", json!({})),
        ("keyed", json!({"api_key": 5})),
        ("keyed", json!({"api_key": ""})),
        ("keyed", json!({"api_key": "a", "more": "b"})),
        ("keyed", json!({"api_key": "a\nb"})),
        ("keyed", json!("text")),
        ("tokened", json!({"token": "é\u{0}"})),
        ("github", json!({"access_token": "a", "expires_at": "tomorrow"})),
        ("open", json!({})),
    ] {
        let body = json!({"integration": integration, "credentials": credentials});
        let answer = server.post("/v1/connect", &body).await;
        answer.is_error(400, "bad_request");
    }
    let body = json!({"integration": "nope", "credentials": {}});
    server.post("/v1/connect", &body).await.is_error(404, "not_found");
    let both = json!({
        "integration": "keyed", "credentials": {"api_key": "a"}, "return_url": "https://a.test",
    });
    server.post("/v1/connect", &both).await.is_error(400, "bad_request");
    assert_eq!(total(&server).await, 0);
}

#[tokio::test]
async fn a_grant_that_has_ended_is_renewed_on_the_way_in() {
    let server = server().await;
    server
        .reacts("GET", "/whoami", |request| {
            let is_fresh = request.headers["authorization"] == "Bearer fresh";
            if is_fresh { json(200, r#"{"login":"ann"}"#) } else { json(401, "{}") }
        })
        .await;
    server.answers("POST", "/token", json(200, r#"{"access_token":"fresh"}"#)).await;
    let tokens = json!({
        "access_token": "old", "refresh_token": "r", "expires_at": "2026-01-01T11:00:00Z",
    });
    let id = server.connected("honest", tokens).await;
    assert_eq!(server.get(&at(&id)).await.ok(200)["account"], "ann");
}

#[tokio::test]
async fn pages_of_connections_follow_one_another() {
    let server = server().await;
    server.knows_everybody().await;
    let mut ids = Vec::new();
    for label in ["a", "b", "c"] {
        server.advance(1);
        let body = json!({"integration": "keyed", "label": label});
        let made = server.post("/v1/connect", &body).await.ok(200);
        ids.push(made["connection_id"].clone());
    }
    let page = server.get("/v1/connections?limit=2").await.ok(200);
    let of = |page: &Value| {
        let items = page["items"].as_array().unwrap().clone();
        items.iter().map(|item| item["id"].clone()).collect::<Vec<_>>()
    };
    assert_eq!((of(&page), &page["has_more"]), (ids[..2].to_vec(), &json!(true)));
    let page = server.get("/v1/connections?limit=2&offset=2").await.ok(200);
    assert_eq!((of(&page), &page["has_more"]), (ids[2..].to_vec(), &json!(false)));
    assert_eq!(
        (&page["total"], &page["limit"], &page["offset"]),
        (&json!(3), &json!(2), &json!(2))
    );
}

#[tokio::test]
async fn a_call_names_its_connection_in_the_body_or_in_a_header() {
    let server = server().await;
    server.knows_everybody().await;
    server.answers("GET", "/items/1", json(200, "{}")).await;
    let mut ids = Vec::new();
    for label in ["home", "work"] {
        let credentials = json!({"api_key": label});
        let body = json!({"integration": "keyed", "credentials": credentials, "label": label});
        let made = server.post("/v1/connect", &body).await.ok(200);
        ids.push(made["connection_id"].as_str().unwrap().to_owned());
    }
    let path = "/v1/keyed/get_item";
    let body = |named: &str| json!({"params": {"item": "1"}, "connection": named});
    for (named, sent) in [("home", "home"), (ids[1].as_str(), "work")] {
        server.post(path, &body(named)).await.ok(200);
        assert_eq!(used(&server).await, sent);
        let ask = server.with_key(Method::POST, path).header("skill-connection", named);
        ask.json(&json!({"params": {"item": "1"}})).send().await.ok(200);
        assert_eq!(used(&server).await, sent);
    }
    let both = server.with_key(Method::POST, path).json(&body("home"));
    both.header("skill-connection", "work").send().await.is_error(400, "bad_request");
    let both = server.with_key(Method::POST, path).json(&body("home"));
    both.header("skill-connection", "home").send().await.ok(200);
    server.post(path, &body("nope")).await.is_error(404, "not_found");
    // The default one needs no name.
    server
        .with_key(Method::PATCH, &at(&ids[1]))
        .json(&json!({"default": true}))
        .send()
        .await
        .ok(200);
    server.call("keyed/get_item", json!({"item": "1"})).await.ok(200);
    assert_eq!(used(&server).await, "work");
}

/// The key that the last request carried.
async fn used(server: &TestServer) -> String {
    let seen = server.upstream.received_requests().await.unwrap();
    seen.last().unwrap().headers["x-key"].to_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_connection_can_be_renamed_and_no_more() {
    let server = server().await;
    server.knows_everybody().await;
    let id = server.connected("keyed", json!({"api_key": "k"})).await;
    let patch = |body: Value| server.with_key(Method::PATCH, &at(&id)).json(&body);
    let shown = patch(json!({"label": "a", "default": true})).send().await.ok(200);
    assert_eq!((&shown["label"], &shown["default"]), (&json!("a"), &json!(true)));
    let shown = patch(json!({"default": false})).send().await.ok(200);
    assert_eq!((&shown["label"], &shown["default"]), (&json!("a"), &json!(false)));
    for body in [
        json!({"label": ""}),
        json!({"label": "a\nb"}),
        json!({"label": 5}),
        json!({"default": "yes"}),
        json!({"status": "expired"}),
        json!({"owner": "acme"}),
        json!({"integration": "github"}),
    ] {
        patch(body).send().await.is_error(400, "bad_request");
    }
}

#[tokio::test]
async fn a_deleted_connection_is_revoked_and_gone() {
    let server = server().await;
    server.knows_everybody().await;
    server.answers("POST", "/revoke", json(200, "{}")).await;
    let tokens = json!({"access_token": "a", "refresh_token": "refresh-canary"});
    let id = server.connected("honest", tokens).await;
    let gone = server.delete(&at(&id)).await;
    assert_eq!((gone.status.as_u16(), gone.body.len()), (204, 0));
    let seen = server.upstream.received_requests().await.unwrap();
    let revoked = String::from_utf8(seen.last().unwrap().body.clone()).unwrap();
    assert_eq!(revoked, "token=refresh-canary&token_type_hint=refresh_token");
    for answer in [server.get(&at(&id)).await, server.delete(&at(&id)).await] {
        answer.is_error(404, "not_found");
    }
    let call = server.call("honest/get_item", json!({"item": "1"})).await;
    call.is_error(403, "integration_not_connected");
}

#[tokio::test]
async fn a_connection_that_cannot_be_revoked_goes_all_the_same() {
    let server = server().await;
    server.knows_everybody().await;
    server.answers("POST", "/revoke", json(500, "{}")).await;
    let id = server.connected("honest", json!({"access_token": "a"})).await;
    assert_eq!(server.delete(&at(&id)).await.status.as_u16(), 204);
    assert_eq!(total(&server).await, 0);
}

#[tokio::test]
async fn the_last_use_shows() {
    let server = server().await;
    server.knows_everybody().await;
    server.answers("GET", "/items/1", json(200, "{}")).await;
    let id = server.connected("keyed", json!({"api_key": "k"})).await;
    assert_eq!(server.get(&at(&id)).await.ok(200)["last_used_at"], Value::Null);
    server.advance(5);
    server.call("keyed/get_item", json!({"item": "1"})).await.ok(200);
    server.engine.stop().await;
    let shown = server.get(&at(&id)).await.ok(200);
    assert_eq!(shown["last_used_at"], "2026-01-01T12:00:05Z");
    assert_eq!(server.get("/api-keys").await.ok(200)[0]["last_used_at"], "2026-01-01T12:00:05Z");
}

/// Every route that takes a connection's id, with a key.
async fn everywhere(server: &TestServer, key: &str, id: &str) -> Vec<Answer> {
    let ask = |method: Method, path: &str| server.ask(method, path).key(key);
    let call = json!({"params": {"item": "1"}, "connection": id});
    vec![
        ask(Method::GET, &at(id)).send().await,
        ask(Method::PATCH, &at(id)).json(&json!({"label": "mine"})).send().await,
        ask(Method::DELETE, &at(id)).send().await,
        ask(Method::GET, &format!("/v1/connect/{id}")).send().await,
        ask(Method::POST, "/v1/keyed/get_item").json(&call).send().await,
        ask(Method::POST, "/v1/keyed/get_item")
            .header("skill-connection", id)
            .json(&json!({"params": {"item": "1"}}))
            .send()
            .await,
    ]
}

#[tokio::test]
async fn another_owners_connection_is_like_one_that_does_not_exist() {
    let server = server().await;
    server.knows_everybody().await;
    let id = server.connected("keyed", json!({"api_key": "k"})).await;
    let missing = format!("conn_{}", "0".repeat(id.len() - 5));
    let stranger = server.key_of("acme", "*").await;
    let foreign = everywhere(&server, &stranger, &id).await;
    for other in [missing.as_str(), "conn_", "nonsense", "key_x"] {
        let others = everywhere(&server, &stranger, other).await;
        for (one, other) in foreign.iter().zip(&others) {
            one.is_error(404, "not_found");
            assert_eq!(one.body, other.body);
        }
    }
    let list = server.ask(Method::GET, "/v1/connections").key(&stranger).send().await;
    assert_eq!(list.ok(200)["items"], json!([]));
    assert_eq!(server.get(&at(&id)).await.ok(200)["label"], Value::Null, "nothing was changed");
}

#[tokio::test]
async fn a_key_without_the_scope_does_not_know_of_the_connection() {
    let server = server().await;
    server.knows_everybody().await;
    let id = server.connected("keyed", json!({"api_key": "k"})).await;
    let narrow = server.key_of("default", "github").await;
    for answer in &everywhere(&server, &narrow, &id).await[..4] {
        answer.is_error(404, "not_found");
    }
    let list = server.ask(Method::GET, "/v1/connections").key(&narrow).send().await.ok(200);
    assert_eq!((&list["items"], &list["total"]), (&json!([]), &json!(0)));
    let body = json!({"integration": "keyed"});
    let ask = server.ask(Method::POST, "/v1/connect").key(&narrow).json(&body);
    ask.send().await.is_error(403, "scope_not_allowed");
}

#[tokio::test]
async fn one_that_cannot_be_used_comes_with_the_page_that_mends_it() {
    let server = server().await;
    server.answers("GET", "/whoami", json(200, r#"{"login":"octocat"}"#)).await;
    let begun = server.post("/v1/connect", &json!({"integration": "keyed"})).await.ok(200);
    let path = format!("/v1/connections/{}", begun["connection_id"].as_str().unwrap());
    let shown = server.get(&path).await.ok(200);
    assert_eq!(shown["status"], "pending");
    let page = shown["action_url"].as_str().unwrap().strip_prefix(&server.public).unwrap();
    server.ask(Method::GET, page).send().await.ok_page();
    server.ask(Method::POST, page).form(&[("api_key", "k")]).send().await.ok_page();
    let shown = server.get(&path).await.ok(200);
    assert_eq!((&shown["status"], shown.get("action_url")), (&json!("connected"), None));
}

#[tokio::test]
async fn a_connection_is_mended_under_its_id() {
    let server = server().await;
    server.answers("GET", "/whoami", json(200, r#"{"login":"octocat"}"#)).await;
    let id = server.connected("keyed", json!({"api_key": "old"})).await;
    let mend = |more: Value| {
        let mut body = json!({"integration": "keyed", "connection": id});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let begun = server.post("/v1/connect", &mend(json!({}))).await.ok(200);
    assert_eq!(begun["connection_id"], id);
    let body = mend(json!({"credentials": {"api_key": "new"}}));
    let done = server.post("/v1/connect", &body).await.ok(200);
    assert_eq!(done, json!({"connection_id": id, "status": "connected"}));
    for wrong in [json!({"label": "x"}), json!({"label": "x", "credentials": {"api_key": "k"}})] {
        server.post("/v1/connect", &mend(wrong)).await.is_error(400, "bad_request");
    }
    let key = server.key_of("rival", "*").await;
    let stolen = server.ask(Method::POST, "/v1/connect").key(&key);
    stolen.json(&mend(json!({}))).send().await.is_error(404, "not_found");
    assert_eq!(server.get("/v1/connections").await.ok(200)["total"], 1);
}
