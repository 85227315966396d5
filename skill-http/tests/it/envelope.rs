//! The envelope around a service's answer.

use http::Method;
use serde_json::json;
use wiremock::ResponseTemplate;

use crate::world::{
    TestServer, declarations,
    provider::{json, typed},
    server, setup,
};

async fn body_of(server: &TestServer) -> String {
    let ask = server.with_key(Method::POST, "/v1/open/search").body("{}");
    ask.send().await.text()
}

#[tokio::test]
async fn json_comes_byte_for_byte() {
    let text =
        " {\"n\": 123456789012345678901234567890.10, \"a\":1, \"a\":2,\n \"u\":\"\\u00e9é\"} ";
    let server = server().await;
    server.answers("GET", "/search", json(200, text)).await;
    assert_eq!(body_of(&server).await, format!("{{\"status\":200,\"data\":{text}}}"));
}

#[tokio::test]
async fn an_error_of_the_service_comes_byte_for_byte_too() {
    let server = server().await;
    server.answers("GET", "/search", json(404, "{\"message\" : \"Not Found\"}")).await;
    assert_eq!(body_of(&server).await, "{\"status\":404,\"error\":{\"message\" : \"Not Found\"}}");
}

#[tokio::test]
async fn text_comes_as_a_string() {
    let server = server().await;
    server.answers("GET", "/search", typed(200, b"a \"b\"\n\x01", "text/html")).await;
    assert_eq!(body_of(&server).await, r#"{"status":200,"data":"a \"b\"\n\u0001"}"#);
}

#[tokio::test]
async fn binary_comes_as_base64_with_its_type() {
    let server = server().await;
    server.answers("GET", "/search", typed(200, b"\x89PNG\xff", "image/png")).await;
    let expected =
        r#"{"status":200,"data":"iVBOR/8=","encoding":"base64","content_type":"image/png"}"#;
    assert_eq!(body_of(&server).await, expected);
}

#[tokio::test]
async fn an_empty_body_is_null() {
    let server = server().await;
    server.answers("GET", "/search", ResponseTemplate::new(204)).await;
    assert_eq!(body_of(&server).await, r#"{"status":204,"data":null}"#);
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_names_no_place() {
    let server = server().await;
    let elsewhere = ResponseTemplate::new(302).insert_header("location", "http://evil.test/");
    server.answers("GET", "/search", elsewhere.set_body_raw("moved", "text/plain")).await;
    let answer = server.call("open/search", json!({})).await;
    assert_eq!(answer.ok(200), json!({"status": 302, "data": "moved"}));
    assert_eq!(answer.header("location"), "");
    assert_eq!(server.upstream_saw().await.len(), 1);
}

#[tokio::test]
async fn headers_of_the_service_stay_behind() {
    let server = server().await;
    let template = json(200, "{}")
        .insert_header("set-cookie", "a=b")
        .insert_header("x-frame-options", "ALLOWALL")
        .insert_header("access-control-allow-origin", "*");
    server.answers("GET", "/search", template).await;
    let answer = server.call("open/search", json!({})).await;
    for name in ["set-cookie", "x-frame-options", "access-control-allow-origin"] {
        assert_eq!(answer.header(name), "", "{name}");
    }
    assert_eq!(answer.header("content-type"), "application/json");
}

#[tokio::test]
async fn what_is_called_json_and_is_none_is_an_upstream_error() {
    for body in [&b"<html>"[..], b"{", b"\xff", b"{} x", &[b'['; 10_000]] {
        let server = server().await;
        server.answers("GET", "/search", typed(200, body, "application/json")).await;
        server.call("open/search", json!({})).await.is_error(502, "upstream_error");
    }
}

#[tokio::test]
async fn an_answer_past_its_bound_is_an_upstream_error() {
    let server = setup().calls(|calls| calls.answer_bytes = 1000).start().await;
    server.answers("GET", "/search", typed(200, &[b'a'; 1001], "text/plain")).await;
    server.call("open/search", json!({})).await.is_error(502, "upstream_error");
}

#[tokio::test]
async fn a_mirrored_status_is_the_status_of_the_answer() {
    let server = setup().settings(|settings| settings.mirror_status = true).start().await;
    for (item, status) in [("a", 201), ("b", 404), ("c", 500)] {
        server.answers("GET", &format!("/items/{item}"), json(status, "{}")).await;
        let answer = server.call("open/get_item", json!({"item": item})).await.ok(status);
        assert_eq!(answer["status"], status);
    }
}

#[tokio::test]
async fn a_mirrored_redirect_stays_in_the_envelope() {
    let server = setup().settings(|settings| settings.mirror_status = true).start().await;
    let elsewhere = ResponseTemplate::new(302).insert_header("location", "http://evil.test/");
    server.answers("GET", "/search", elsewhere).await;
    let answer = server.call("open/search", json!({})).await;
    assert_eq!(answer.ok(200)["status"], 302);
    assert_eq!(answer.header("location"), "");
}

#[tokio::test]
async fn a_mirrored_status_without_a_body_has_none() {
    let server = setup().settings(|settings| settings.mirror_status = true).start().await;
    for (item, status) in [("a", 204), ("b", 205)] {
        server.answers("GET", &format!("/items/{item}"), ResponseTemplate::new(status)).await;
        let answer = server.call("open/get_item", json!({"item": item})).await;
        assert_eq!((answer.status.as_u16(), answer.body.len()), (status, 0));
        assert_eq!(answer.header("content-type"), "");
    }
}

#[tokio::test]
async fn a_mirrored_refusal_says_when_to_come_back() {
    let server = setup().settings(|settings| settings.mirror_status = true).start().await;
    let busy = json(429, "{}").insert_header("retry-after", "7000");
    server.answers("GET", "/items/a", busy).await;
    server.answers("GET", "/items/b", json(503, "{}")).await;
    for (item, status, after) in [("a", 429, "7000"), ("b", 503, "1")] {
        let answer = server.call("open/get_item", json!({"item": item})).await;
        assert_eq!(answer.status.as_u16(), status);
        assert_eq!(answer.header("retry-after"), after);
    }
}

#[tokio::test]
async fn a_large_answer_keeps_every_byte() {
    let server = server().await;
    let text = format!("[{}]", "1234567890,".repeat(40_000).trim_end_matches(','));
    server.answers("GET", "/search", json(200, &text)).await;
    assert_eq!(body_of(&server).await, format!("{{\"status\":200,\"data\":{text}}}"));
}

#[tokio::test]
async fn a_service_outside_the_allow_list_is_never_called() {
    let place = "127.0.0.1:9".parse().unwrap();
    let text = format!(
        "{}{}",
        declarations::head("Inner", "http://127.0.0.1:10", r#"scheme = "none""#),
        declarations::OPEN
    );
    let server = setup().declare("inner", place, text).start().await;
    let body = server.call("inner/search", json!({})).await.is_error(502, "upstream_unavailable");
    assert!(!body.to_string().contains("127.0.0.1"), "{body}");
}
