//! Under which names the server answers.

use http::Method;
use serde_json::json;

use crate::world::{client, client::Ask, server, setup};

#[tokio::test]
async fn a_foreign_host_is_421() {
    let server = server().await;
    let port = server.address.port();
    let foreign = [
        "evil.test".to_owned(),
        format!("evil.test:{port}"),
        format!("127.0.0.1.evil.test:{port}"),
        "127.0.0.1:1".to_owned(),
        "127.0.0.1".to_owned(),
        format!("localhost.:{port}"),
        format!("127.1:{port}"),
    ];
    for host in &foreign {
        let key = format!("X-Api-Key: {}\r\n", server.key);
        let answer = server.raw_head("GET /v1/connections", host, &key).await;
        assert_eq!(client::status(&answer), 421, "{host} {answer}");
        assert!(client::body(&answer).contains("\"error\":\"bad_request\""), "{answer}");
    }
    let answer = server.raw_head("GET /v1/tools", "evil.test", "").await;
    assert!(client::body(&answer).contains("\"code\":\"INVALID_REQUEST\""), "{answer}");
    let answer = server.raw_head("POST /connect/x", "evil.test", "").await;
    assert_eq!(client::status(&answer), 421, "a form is not redirected");
}

#[tokio::test]
async fn our_names_are_the_public_one_further_ones_and_loopback() {
    let more = |settings: &mut skill_http::Settings| settings.hosts = vec!["inner:81".to_owned()];
    let server = setup().public_url("https://skill.example.com").settings(more).start().await;
    let port = server.address.port();
    for host in [
        "skill.example.com",
        "SKILL.example.com:443",
        "inner:81",
        &format!("localhost:{port}"),
        &format!("[::1]:{port}"),
    ] {
        let key = format!("X-Api-Key: {}\r\n", server.key);
        let answer = server.raw_head("GET /v1/connections", host, &key).await;
        assert_eq!(client::status(&answer), 200, "{host} {answer}");
    }
}

#[tokio::test]
async fn a_missing_double_or_malformed_host_is_400() {
    let server = server().await;
    let host = format!("Host: {}\r\n", server.address);
    for fields in [
        String::new(),
        format!("{host}{host}"),
        format!("{host}Host: evil.test\r\n"),
        "Host: \r\n".to_owned(),
        "Host: a b\r\n".to_owned(),
        "Host: http://127.0.0.1/\r\n".to_owned(),
        "Host: me@127.0.0.1\r\n".to_owned(),
        "Host: a:99999\r\n".to_owned(),
    ] {
        let head = format!("GET /v1/connections HTTP/1.1\r\n{fields}\r\n");
        let answer = server.raw(head).await;
        assert_eq!(client::status(&answer), 400, "{fields:?} {answer}");
        assert!(client::body(&answer).contains("\"error\":\"bad_request\""), "{answer}");
        assert_eq!(client::header(&answer, "connection"), "close");
    }
    let answer = server.raw("GET /v1/connections HTTP/1.0\r\n\r\n").await;
    assert_eq!(client::status(&answer), 400, "{answer}");
}

#[tokio::test]
async fn whoever_watches_may_use_any_name() {
    let server = server().await;
    for path in ["/healthz", "/readyz"] {
        let answer = server.raw_head(&format!("GET {path}"), "10.0.0.7:8080", "").await;
        assert_eq!(client::status(&answer), 200, "{answer}");
    }
}

#[tokio::test]
async fn a_page_under_a_foreign_name_is_redirected_without_a_cookie() {
    let server = server().await;
    let port = server.address.port();
    for host in ["evil.test".to_owned(), format!("localhost:{port}"), format!("[::1]:{port}")] {
        for path in ["/connect/abc", "/oauth/callback?state=a&code=b", "/limits"] {
            let answer = server.raw_head(&format!("GET {path}"), &host, "").await;
            assert_eq!(client::status(&answer), 303, "{host} {answer}");
            assert_eq!(client::header(&answer, "location"), format!("{}{path}", server.public));
            assert_eq!(client::header(&answer, "set-cookie"), "");
        }
    }
}

#[tokio::test]
async fn a_proxy_that_passes_its_own_name_is_not_redirected() {
    let server = setup().public_url("https://skill.example.com").start().await;
    let answer = server.ask(Method::GET, "/limits").send().await;
    assert_eq!(answer.status.as_u16(), 200);
}

#[tokio::test]
async fn a_public_url_with_a_path_stands_in_links_and_forms() {
    let server = setup().public_url("https://a.example/skill/").start().await;
    let begun = server.post("/v1/connect", &json!({"integration": "honest"})).await.ok(200);
    let url = begun["oauth_url"].as_str().unwrap();
    let path = url.strip_prefix("https://a.example/skill").unwrap();
    let page = server.ask(Method::GET, path).send().await.text();
    assert!(page.contains(&format!("action=\"/skill{path}\"")), "{page}");
    let answer = server.raw_head(&format!("GET {path}"), "evil.test", "").await;
    assert_eq!(client::header(&answer, "location"), url);
}

#[tokio::test]
async fn a_target_in_absolute_form_names_the_host() {
    let server = server().await;
    let address = server.address;
    let get = |target: &str| format!("GET {target}");
    let own = address.to_string();
    let answer = server.raw_head(&get(&format!("http://{address}/healthz")), &own, "").await;
    assert_eq!(client::status(&answer), 200, "{answer}");
    let answer = server.raw_head(&get("http://evil.test/v1/connections"), "evil.test", "").await;
    assert_eq!(client::status(&answer), 421, "{answer}");
    for (target, host) in [
        ("http://evil.test/v1/connections".to_owned(), own.clone()),
        (format!("http://{address}/v1/connections"), "evil.test".to_owned()),
    ] {
        let answer = server.raw_head(&get(&target), &host, "").await;
        assert_eq!(client::status(&answer), 400, "{target} {host}");
    }
}

#[tokio::test]
async fn http_2_speaks_the_same_api() {
    let server = server().await;
    let http = client::http2();
    let ask = |path: &str| Ask(http.get(format!("http://{}{path}", server.address)));
    let answer = ask("/v1/connections").key(&server.key).send().await;
    assert_eq!(answer.ok(200)["total"], 0);
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    ask("/v1/connections").send().await.is_error(401, "unauthorized");
    ask("/v1/nope").send().await.is_error(404, "not_found");
    let call = Ask(http.post(format!("http://{}/v1/open/create", server.address)));
    let answer = call.key(&server.key).json(&json!({"params": {"note": "a"}})).send().await;
    assert_eq!(answer.ok(200)["status"], 404);
}

#[tokio::test]
async fn over_http_2_the_authority_is_the_host() {
    let server = setup().public_url("https://skill.example.com").start().await;
    // The name is one that only the public URL has; it leads to the listener.
    let resolved = ["skill.example.com", "evil.test"].map(|name| (name, server.address));
    let mut builder = reqwest::Client::builder().no_proxy().http2_prior_knowledge();
    for (name, address) in resolved {
        builder = builder.resolve(name, address);
    }
    let http = builder.build().unwrap();
    let port = server.address.port();
    for (name, status) in [("evil.test", 421), ("skill.example.com", 421), ("localhost", 401)] {
        let ask = Ask(http.get(format!("http://{name}:{port}/v1/connections")));
        assert_eq!(ask.send().await.status.as_u16(), status, "{name}");
    }
    let ask = Ask(http.get(format!("http://localhost:{port}/v1/connections")));
    ask.header("host", "evil.test").send().await.is_error(400, "bad_request");
}

#[tokio::test]
async fn a_browser_under_a_further_name_is_sent_to_the_public_one_once() {
    let more = |settings: &mut skill_http::Settings| settings.hosts = vec!["inner:81".to_owned()];
    let server = setup().public_url("https://skill.example.com").settings(more).start().await;
    for path in ["/connect/x", "/auth/device", "/limits"] {
        let answer = server.raw_head(&format!("GET {path}"), "inner:81", "").await;
        assert_eq!(client::status(&answer), 303, "{answer}");
        let to = format!("location: https://skill.example.com{path}?sent=1\r\n");
        assert!(answer.contains(&to), "{answer}");
        assert!(!answer.contains("set-cookie"), "{answer}");
        // Behind a proxy that calls us so, everybody comes under this name: once is enough.
        let back = server.raw_head(&format!("GET {path}?sent=1"), "inner:81", "").await;
        assert_ne!(client::status(&back), 303, "{back}");
    }
    let call = server.raw_head("GET /v1/connections", "inner:81", "").await;
    assert_eq!(client::status(&call), 401, "a call is answered under every name of ours");
}
