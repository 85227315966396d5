//! Pages with a form for a key, and what stands on pages at all.

use http::Method;
use serde_json::json;
use skill_core::{
    integration::{Overrides, declared},
    name::Slug,
    record::app::Holder,
};

use crate::world::{
    TestServer,
    client::Ask,
    golden::golden,
    provider::{json, typed},
    server, setup,
};

/// Makes a link to a page; returns the connection and the path.
async fn link(server: &TestServer, integration: &str) -> (String, String) {
    let begun = server.post("/v1/connect", &json!({"integration": integration})).await.ok(200);
    let url = begun["oauth_url"].as_str().unwrap();
    let path = url.strip_prefix(&server.public).unwrap().to_owned();
    (begun["connection_id"].as_str().unwrap().to_owned(), path)
}

fn submit(server: &TestServer, path: &str, fields: &[(&str, &str)]) -> Ask {
    server.ask(Method::POST, path).form(fields)
}

/// A service that knows one key.
async fn knows(server: &TestServer, header: &'static str, value: &'static str) {
    server
        .reacts("GET", "/whoami", move |request| {
            let is_right = request.headers.get(header).is_some_and(|given| given == value);
            if is_right { json(200, r#"{"login":"octocat"}"#) } else { json(401, "{}") }
        })
        .await;
}

#[tokio::test]
async fn a_wrong_key_comes_back_to_the_form_and_the_right_one_connects() {
    let server = server().await;
    knows(&server, "x-key", "right").await;
    let (id, path) = link(&server, "keyed").await;
    let form = server.ask(Method::GET, &path).send().await;
    insta::assert_snapshot!("the_form_for_a_key", golden(&server, &form));
    let wrong = submit(&server, &path, &[("api_key", "wrong-canary")]).send().await;
    wrong.is_page(400);
    insta::assert_snapshot!("the_form_after_a_wrong_key", golden(&server, &wrong));
    let poll = server.get(&format!("/v1/connect/{id}")).await.ok(200);
    assert_eq!(poll, json!({"status": "pending", "integration": "keyed"}));
    let right = submit(&server, &path, &[("api_key", "right")]).send().await;
    insta::assert_snapshot!("the_page_after_the_right_key", golden(&server, &right));
    let poll = server.get(&format!("/v1/connect/{id}")).await.ok(200);
    assert_eq!(poll["status"], "connected");
    submit(&server, &path, &[("api_key", "right")]).send().await.is_page(404);
}

#[tokio::test]
async fn fields_are_those_of_the_scheme() {
    let server = server().await;
    knows(&server, "authorization", "Basic dTpw").await;
    let (_, path) = link(&server, "basic").await;
    let form = server.ask(Method::GET, &path).send().await.text();
    assert!(form.contains("name=\"username\" type=\"text\" required"), "{form}");
    assert!(form.contains("name=\"password\" type=\"password\" autocomplete"), "{form}");
    for fields in [
        &[][..],
        &[("username", "")],
        &[("username", "u"), ("username", "u")],
        &[("username", "u"), ("evil", "1")],
        &[("username", "a:b")],
    ] {
        submit(&server, &path, fields).send().await.is_page(400);
    }
    let fields = [("username", "u"), ("password", "p")];
    submit(&server, &path, &fields).send().await.ok_page();
}

#[tokio::test]
async fn only_a_form_is_taken() {
    let server = server().await;
    let (_, path) = link(&server, "keyed").await;
    let ask = server.ask(Method::POST, &path).json(&json!({"api_key": "right"}));
    ask.send().await.is_page(415);
    server.ask(Method::POST, &path).body("api_key=right").send().await.is_page(415);
}

#[tokio::test]
async fn a_service_in_trouble_proves_no_key() {
    let server = server().await;
    server.answers("GET", "/whoami", typed(500, b"oops", "text/plain")).await;
    let (id, path) = link(&server, "keyed").await;
    let answer = submit(&server, &path, &[("api_key", "k")]).send().await;
    answer.is_page(502);
    let poll = server.get(&format!("/v1/connect/{id}")).await.ok(200);
    assert_eq!(poll["status"], "pending");
    server.upstream.reset().await;
    knows(&server, "x-key", "k").await;
    submit(&server, &path, &[("api_key", "k")]).send().await.ok_page();
}

#[tokio::test]
async fn names_come_out_escaped() {
    let server = server().await;
    server.answers("GET", "/whoami", json(200, r#"{"login":"<img src=x onerror=a()>"}"#)).await;
    let (_, path) = link(&server, "scripty").await;
    for page in [
        server.ask(Method::GET, &path).send().await,
        submit(&server, &path, &[("<b>", "\"><script>")]).send().await,
        submit(&server, &path, &[("token", "t")]).send().await,
        server.ask(Method::GET, "/connect/%3Cscript%3E").send().await,
    ] {
        let html = page.text();
        let bad = ["<script", "<img", "<b>", "onerror=a"];
        assert!(bad.iter().all(|bad| !html.contains(bad)), "{html}");
    }
}

#[tokio::test]
async fn a_label_with_markup_stays_data() {
    let server = server().await;
    let label = "<script>alert(1)</script>";
    let body = json!({"integration": "scripty", "label": label});
    let begun = server.post("/v1/connect", &body).await;
    let url = begun.ok(200)["oauth_url"].as_str().unwrap().to_owned();
    let page = server.ask(Method::GET, url.strip_prefix(&server.public).unwrap()).send().await;
    assert!(!page.text().contains("<script"), "{}", page.text());
    let listed = server.get("/v1/connections").await;
    assert_eq!(listed.ok(200)["items"][0]["label"], label);
    assert_eq!(listed.header("content-type"), "application/json");
}

#[tokio::test]
async fn the_page_names_the_user_it_is_for() {
    let server = server().await;
    let ask = server.with_key(Method::POST, "/v1/connect").header("skill-user", "ann");
    let begun = ask.json(&json!({"integration": "keyed"})).send().await.ok(200);
    let url = begun["oauth_url"].as_str().unwrap();
    let page = server.ask(Method::GET, url.strip_prefix(&server.public).unwrap()).send().await;
    assert!(page.text().contains("Keyed will be connected to ann."), "{}", page.text());
}

#[tokio::test]
async fn the_page_of_limits_answers_anybody() {
    let server = server().await;
    let page = server.ask(Method::GET, "/limits").send().await;
    insta::assert_snapshot!(golden(&server, &page));
}

#[tokio::test]
async fn the_policy_allows_the_style_of_the_page_and_nothing_else() {
    use base64::{Engine, engine::general_purpose::STANDARD};
    use sha2::{Digest, Sha256};
    let server = server().await;
    let page = server.ask(Method::GET, "/limits").send().await;
    let html = page.text();
    let style = html.split_once("<style>").unwrap().1.split_once("</style>").unwrap().0;
    let hash = STANDARD.encode(Sha256::digest(style.as_bytes()));
    let policy = page.header("content-security-policy");
    assert!(policy.contains(&format!("style-src 'sha256-{hash}'")), "{policy}");
    for part in ["default-src 'none'", "base-uri 'none'", "frame-ancestors 'none'"] {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
}

const SHOP: &str = r#"
name = "Shop"
description = "A test."
base_url = "https://{shop}.shop.test"
fields.shop = { label = "Store", description = "The first part <b>of</b> its address.", pattern = "^[a-z]+$", example = "acme" }
fields.region = { enum = ["eu", "us"], default = "us" }

[auth]
scheme = "oauth2"
authorize_url = "https://{shop}.shop.test/{region}/authorize"
token_url = "https://{shop}.shop.test/token"

[endpoints.get_shop]
summary = "Read the shop"
method = "GET"
path = "/shop"
"#;

#[tokio::test]
async fn facts_are_asked_for_before_a_person_leaves_for_the_service() {
    let shop = declared("shop.toml", SHOP, &Overrides::default()).unwrap();
    let server = setup().integration(shop).start().await;
    let name = Slug::parse("shop").unwrap();
    server.engine.apps().put(Holder::System, &name, "client-id", None).await.unwrap();
    let (_, path) = link(&server, "shop").await;
    let page = server.ask(Method::GET, &path).send().await.text();
    assert!(page.contains("placeholder=\"acme\" required"), "{page}");
    assert!(page.contains("<option selected>us</option>") && !page.contains("<b>"), "{page}");
    for fields in [&[("region", "us")][..], &[("shop", "a.b")], &[("shop", "x"), ("evil", "1")]] {
        submit(&server, &path, fields).send().await.is_page(400);
    }
    let left = submit(&server, &path, &[("shop", "acme"), ("region", "eu")]).send().await;
    let to = left.headers["location"].to_str().unwrap();
    assert!(to.starts_with("https://acme.shop.test/eu/authorize?"), "{to}");
    // Who knows them says so at the start; what does not fit is refused there.
    let begin = |fields| json!({"integration": "shop", "fields": fields});
    server
        .post("/v1/connect", &begin(json!({"shop": "evil.test/"})))
        .await
        .is_error(400, "bad_request");
    server.post("/v1/connect", &begin(json!({"shop": "acme", "region": "us"}))).await.ok(200);
}
