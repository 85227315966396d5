//! Bodies: what is taken, what is refused, and when.

use std::{io::Read, time::Duration};

use http::Method;
use serde_json::json;
use tokio::{io::AsyncWriteExt, net::TcpStream};

use crate::world::{TestServer, client, provider::json, server, setup};

const CALL: &str = "/v1/open/search";

/// A call with exactly this body.
async fn body(server: &TestServer, body: impl Into<bytes::Bytes>) -> client::Answer {
    server.with_key(Method::POST, CALL).body(body).send().await
}

#[tokio::test]
async fn only_json_in_utf_8_is_taken() {
    let server = server().await;
    server.answers("GET", "/search", json(200, "{}")).await;
    for kind in [
        "application/json",
        "Application/JSON; charset=UTF-8",
        "application/json;charset=\"utf-8\"",
    ] {
        let ask = server.with_key(Method::POST, CALL).header("content-type", kind);
        ask.body("{}").send().await.ok(200);
    }
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/json; charset=latin1",
        "application/jsonx",
        "multipart/form-data; boundary=x",
        "",
    ] {
        let ask = server.with_key(Method::POST, CALL).header("content-type", kind);
        ask.body("{}").send().await.is_error(415, "bad_request");
    }
    for encoding in ["gzip", "identity", "br"] {
        let ask = server.with_key(Method::POST, CALL).header("content-encoding", encoding);
        ask.body("{}").send().await.is_error(415, "bad_request");
    }
}

#[tokio::test]
async fn what_is_no_json_object_is_400() {
    let server = server().await;
    let deep = |levels: usize| {
        format!("{{\"params\":{{\"q\":{}{}}}}}", "[".repeat(levels), "]".repeat(levels))
    };
    let many = format!("{{\"params\":{{\"q\":[{}0]}}}}", "0,".repeat(20_000));
    let bodies: [&[u8]; 20] = [
        b"{not json",
        b"[1]",
        b"null",
        b"5",
        b"\"text\"",
        b" ",
        b"{} x",
        b"{}{}",
        b"\xef\xbb\xbf{}",
        b"{\"params\":{\"q\":\"\xff\"}}",
        b"{\"params\":{\"q\":\"\xc0\xae\"}}",
        br#"{"params":{"q":"\ud800"}}"#,
        br#"{"params":{"q":"a","q":"b"}}"#,
        br#"{"params":{},"params":{}}"#,
        br#"{"params":{"q":"a","\u0071":"b"}}"#,
        b"{\"params\":{\"q\":\"a\nb\"}}",
        b"{\"params\":{\"q\":1e999}}",
        b"{\"params\":{\"q\":NaN}}",
        deep(100_000).leak().as_bytes(),
        many.leak().as_bytes(),
    ];
    for text in bodies {
        let answer = body(&server, text).await;
        answer.is_error(400, "bad_request");
        assert!(answer.body.len() < 1000, "{}", answer.text());
    }
    body(&server, deep(70)).await.is_error(400, "bad_request");
    assert!(server.upstream_saw().await.is_empty());
}

#[tokio::test]
async fn management_bodies_are_read_as_strictly() {
    let server = server().await;
    for path in ["/api-keys", "/v1/connect"] {
        for text in ["{\"name\":\"a\",\"name\":\"b\"}", "[]", "{", "{\"\\ud800\":1}"] {
            let ask = server.with_key(Method::POST, path).body(text.to_owned());
            ask.send().await.is_error(400, "bad_request");
        }
        let ask = server.with_key(Method::POST, path).header("content-type", "text/plain");
        ask.body("{}").send().await.is_error(415, "bad_request");
    }
}

#[tokio::test]
async fn a_body_past_the_limit_is_413_declared_or_not() {
    let server = setup().settings(|settings| settings.body_bytes = 1000).start().await;
    server.answers("GET", "/search", json(200, "{}")).await;
    let fits = format!("{{\"params\":{{\"q\":\"{}\"}}}}", "x".repeat(1000 - 19));
    assert_eq!(fits.len(), 1000);
    body(&server, fits.clone()).await.ok(200);
    body(&server, format!("{fits} ")).await.is_error(413, "bad_request");
    let head = format!(
        "POST {CALL} HTTP/1.1\r\nHost: {}\r\nX-Api-Key: {}\r\n",
        server.address, server.key
    );
    // Refused by what it says of itself, before any of it arrives.
    let declared = format!("{head}Content-Length: 1001\r\n\r\n");
    let answer = server.raw(declared).await;
    assert_eq!(client::status(&answer), 413, "{answer}");
    let chunk = "8\r\n        \r\n".repeat(126);
    let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n{chunk}");
    let answer = server.raw(chunked).await;
    assert_eq!(client::status(&answer), 413, "{answer}");
    assert!(client::body(&answer).contains("at most 1000 bytes"), "{answer}");
}

#[tokio::test]
async fn a_large_body_is_not_read_without_a_key() {
    let server = server().await;
    let head = format!("POST {CALL} HTTP/1.1\r\nHost: {}\r\n", server.address);
    let answer = server.raw(format!("{head}Content-Length: 100000000\r\n\r\n")).await;
    assert_eq!(client::status(&answer), 401, "{answer}");
}

#[tokio::test]
async fn a_slow_body_is_408() {
    let quick = |settings: &mut skill_http::Settings| {
        settings.body_timeout = Duration::from_millis(100);
    };
    let server = setup().settings(quick).start().await;
    let head = format!(
        "POST {CALL} HTTP/1.1\r\nHost: {}\r\nX-Api-Key: {}\r\nContent-Length: 10\r\n\r\n{{",
        server.address, server.key
    );
    let answer = server.raw(head).await;
    assert_eq!(client::status(&answer), 408, "{answer}");
    assert!(client::body(&answer).contains("\"error\":\"bad_request\""), "{answer}");
}

#[tokio::test]
async fn a_slow_head_is_cut() {
    let quick = |settings: &mut skill_http::Settings| {
        settings.header_timeout = Duration::from_millis(100);
    };
    let server = setup().settings(quick).start().await;
    let answer = server.raw("GET /healthz HTTP/1.1\r\nHost: ").await;
    assert!(answer.is_empty() || client::status(&answer) == 408, "{answer}");
}

#[tokio::test]
async fn a_body_that_is_cut_short_is_no_call() {
    let server = server().await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let head = format!(
        "POST {CALL} HTTP/1.1\r\nHost: {}\r\nX-Api-Key: {}\r\nContent-Length: 10\r\n\r\n{{}}",
        server.address, server.key
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let answer = client::read_to_close(&mut stream).await;
    assert!(answer.is_empty() || client::status(&answer) == 400, "{answer}");
    assert!(server.upstream_saw().await.is_empty());
}

#[tokio::test]
async fn bad_framing_is_400_in_the_shape_of_the_path_and_closes() {
    let server = server().await;
    let host = server.address;
    let post = |path: &str, fields: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n{{}}GET /healthz HTTP/1.1\r\n\r\n"
        )
    };
    for fields in [
        "Content-Length: 2\r\nContent-Length: 3\r\n",
        "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Content-Length: +2\r\n",
        "X-A: b\r\n continued\r\n",
        "X A: b\r\n",
    ] {
        let answer = server.raw(post("/v1/tools/x/invoke", fields)).await;
        assert_eq!(client::status(&answer), 400, "{fields:?} {answer}");
        assert!(answer.contains("\"code\":\"INVALID_REQUEST\""), "{answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
        let answer = server.raw(post(CALL, fields)).await;
        assert!(answer.contains("\"error\":\"bad_request\""), "{answer}");
    }
    let answer = server.raw(post("/api/x", "Content-Length: x\r\n")).await;
    assert!(answer.contains("\"error\":\"validation_error\""), "{answer}");
}

#[tokio::test]
async fn a_long_target_is_414_and_a_large_head_431() {
    let server = server().await;
    let host = server.address.to_string();
    let answer = server.raw_head(&format!("GET /{}", "a".repeat(8200)), &host, "").await;
    assert_eq!(client::status(&answer), 414, "{}", &answer[..200]);
    let many = "X-A: b\r\n".repeat(100);
    let large = format!("X-A: {}\r\n", "b".repeat(33_000));
    for fields in [many, large] {
        let answer = server.raw_head("GET /v1/connections", &host, &fields).await;
        assert_eq!(client::status(&answer), 431, "{answer}");
        assert!(client::body(&answer).contains("\"error\":\"bad_request\""), "{answer}");
    }
}

#[tokio::test]
async fn gzip_is_used_above_1_kib_when_it_is_accepted_and_only_then() {
    let server = server().await;
    let data = format!("\"{}\"", "abcdefgh".repeat(200));
    server.answers("GET", "/search", json(200, &data)).await;
    server.answers("GET", "/items/1", json(200, "{}")).await;
    let plain = format!("{{\"status\":200,\"data\":{data}}}");
    let ask = |accept: &str| {
        let ask = server.with_key(Method::POST, CALL).body("{}");
        ask.header("accept-encoding", accept)
    };
    for accept in ["gzip", "br, gzip;q=0.5", "GZIP"] {
        let answer = ask(accept).send().await;
        assert_eq!(answer.header("content-encoding"), "gzip", "{accept}");
        assert_eq!(answer.header("vary"), "accept-encoding");
        assert_eq!(answer.header("content-length"), answer.body.len().to_string());
        let mut text = String::new();
        flate2::read::GzDecoder::new(&answer.body[..]).read_to_string(&mut text).unwrap();
        assert_eq!(text, plain);
    }
    for accept in ["", "br", "identity", "gzip;q=0", "gzip; q=0.0"] {
        let answer = ask(accept).send().await;
        assert_eq!(
            (answer.header("content-encoding"), answer.text()),
            ("", plain.clone()),
            "{accept}"
        );
    }
    let small = server.with_key(Method::POST, "/v1/open/get_item");
    let small = small.json(&json!({"params": {"item": "1"}})).header("accept-encoding", "gzip");
    assert_eq!(small.send().await.header("content-encoding"), "");
}

#[tokio::test]
async fn one_connection_takes_many_requests() {
    let server = server().await;
    let one = format!("GET /healthz HTTP/1.1\r\nHost: {}\r\n\r\n", server.address);
    let last = one.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
    let answer = server.raw(format!("{one}{one}{last}")).await;
    assert_eq!(answer.matches("HTTP/1.1 200").count(), 3, "{answer}");
}
