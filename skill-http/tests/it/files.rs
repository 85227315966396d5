//! Calls that carry a file, and answers that are one.

use bytes::Bytes;
use http::Method;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use wiremock::MockServer;

use crate::world::{
    Setup, TestServer,
    client::{self, Ask},
    declarations::head,
    provider::{json, typed},
    setup,
};

const FILES: &str = r#"
[endpoints.whole]
summary = "Take a file"
method = "PUT"
path = "/whole/{id}"
body = "file"
tool = false
params = { id = { in = "path", type = "string" } }

[endpoints.form]
summary = "Take a form with a file"
method = "POST"
path = "/form"
body = "multipart"
file = "upload"
tool = false
params = { title = { type = "string", required = true }, tags = { type = "array" } }

[endpoints.related]
summary = "Take what a file is, and the file"
method = "POST"
base_url = "/upload"
path = "/related"
body = "related"
tool = false
params = { title = { type = "string" } }

[endpoints.get]
summary = "Give a file"
method = "GET"
path = "/file"
answer = "file"
"#;

async fn server() -> TestServer {
    of(setup()).await
}

async fn of(setup: Setup) -> TestServer {
    let service = MockServer::start().await;
    let base = format!("{}/v1", service.uri());
    let text = format!("{}{FILES}", head("Files", &base, r#"scheme = "none""#));
    let mut server = setup.declare("files", *service.address(), text).start().await;
    server.upstream = service;
    server
}

fn upload(server: &TestServer, endpoint: &str, params: &str, file: &Bytes) -> Ask {
    let ask = server.with_key(Method::POST, &format!("/v1/files/{endpoint}"));
    let ask = ask.header("skill-params", params).header("skill-filename", "a%22b%20%C3%BC.bin");
    ask.header("content-type", "application/x-own").body(file.clone())
}

/// Opens a request for `path` with these headers, without a body yet.
async fn opened(server: &TestServer, path: &str, headers: &str) -> TcpStream {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let (host, key) = (server.address, &server.key);
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\n{headers}\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

#[tokio::test]
async fn a_file_goes_out_in_the_form_that_its_service_takes() {
    let server = server().await;
    for (verb, at) in [("PUT", "/v1/whole/7"), ("POST", "/v1/form"), ("POST", "/upload/related")] {
        server.answers(verb, at, json(201, r#"{"id":1.0}"#)).await;
    }
    for size in [5, 3 << 20] {
        let file = Bytes::from(vec![b'x'; size]);
        let answer = upload(&server, "whole", r#"{"id":"7"}"#, &file).send().await;
        assert_eq!(answer.text(), r#"{"status":201,"data":{"id":1.0}}"#);
        upload(&server, "form", r#"{"title":"\u00fc","tags":[1]}"#, &file).send().await.ok(200);
        upload(&server, "related", r#"{"title":"t"}"#, &file).send().await.ok(200);
        let sent = server.upstream.received_requests().await.unwrap();
        let [whole, form, related] = &sent[sent.len() - 3..] else { panic!("three requests") };
        assert_eq!(
            (&whole.body, &whole.headers["content-type"]),
            (&file.to_vec(), &"application/x-own".parse().unwrap())
        );
        for (sent, parts) in [
            (
                form,
                vec![
                    "Content-Disposition: form-data; name=\"title\"\r\n\r\nü\r\n",
                    "Content-Disposition: form-data; name=\"tags\"\r\n\r\n[1]\r\n",
                    "Content-Disposition: form-data; name=\"upload\"; filename=\"a%22b ü.bin\"\r\nContent-Type: application/x-own\r\n\r\nx",
                ],
            ),
            (
                related,
                vec![
                    "Content-Type: application/json; charset=UTF-8\r\n\r\n{\"title\":\"t\"}\r\n",
                    "Content-Type: application/x-own\r\n\r\nx",
                ],
            ),
        ] {
            assert_eq!(sent.headers["content-length"], sent.body.len().to_string());
            let kind = sent.headers["content-type"].to_str().unwrap();
            let boundary = kind.split_once("boundary=").unwrap().1;
            let text = String::from_utf8(sent.body.clone()).unwrap();
            let found = text.split(&format!("--{boundary}")).collect::<Vec<_>>();
            assert_eq!((found.len(), found.last()), (parts.len() + 2, Some(&"--\r\n")), "{kind}");
            for part in parts {
                assert!(found.iter().any(|found| found.contains(part)), "{part}");
            }
            let rest = text.replace(boundary, "");
            assert_eq!(rest.matches('x').count() - rest.matches("x-own").count(), size);
        }
    }
}

#[tokio::test]
async fn an_upload_that_makes_no_sense_is_refused() {
    let server = server().await;
    let file = Bytes::from_static(b"x");
    for (endpoint, params) in [
        ("form", "{}"),
        ("form", "not json"),
        ("form", "[1]"),
        ("form", r#"{"title":"a","title":"b"}"#),
        ("get", "{}"),
        ("whole", r#"{"id":".."}"#),
    ] {
        let answer = upload(&server, endpoint, params, &file).send().await;
        answer.is_error(400, "bad_request");
    }
    let params = r#"{"title":"a"}"#;
    let keyed = upload(&server, "form", params, &file).header("idempotency-key", "k");
    keyed.send().await.is_error(400, "bad_request");
    for name in ["..", "a%2Fb", "%2e%2e%5cx", "a%0d%0ab", "%ff", ""] {
        let ask = server.with_key(Method::POST, "/v1/files/form").header("skill-params", params);
        let answer = ask.header("skill-filename", name).body("x").send().await;
        answer.is_error(400, "bad_request");
    }
    let twice = upload(&server, "form", params, &file).header("skill-params", params);
    twice.send().await.is_error(400, "bad_request");
    upload(&server, "nowhere", params, &file).send().await.is_error(404, "not_found");
    // Without the header it is a call like any other, which has to be JSON.
    let plain =
        server.with_key(Method::POST, "/v1/files/form").header("content-type", "text/plain");
    plain.body("x").send().await.is_error(415, "bad_request");
    server.call("files/form", json!({"title": "a"})).await.is_error(400, "bad_request");
    assert!(server.upstream_saw().await.is_empty());
    let described = server.get("/openapi.json").await.ok(200);
    let form = &described["paths"]["/v1/files/form"]["post"];
    assert!(form["requestBody"]["content"]["application/octet-stream"].is_object());
    let params = &form["parameters"][0]["content"]["application/json"]["schema"];
    assert_eq!(params["required"], json!(["title"]));
    let given = &described["paths"]["/v1/files/get"]["post"]["responses"]["200"]["content"];
    assert!(given["application/octet-stream"].is_object() && given["application/json"].is_object());
    let folder = server.get("/v1/files/download").await.ok(200).to_string();
    assert!(folder.contains("Skill-Params: {") && folder.contains("--data-binary @a.bin"));
    let shown = server.get("/v1/skills/files/form").await.ok(200);
    assert_eq!((&shown["takes_file"], &shown["answers_file"]), (&json!(true), &json!(false)));
}

#[tokio::test]
async fn a_file_comes_as_it_is_where_it_is_asked_for_so() {
    let server = server().await;
    let large = vec![7; 12 << 20];
    server
        .answers(
            "GET",
            "/v1/file",
            typed(200, &large, "image/png").insert_header("set-cookie", "a=b"),
        )
        .await;
    let ask = || server.with_key(Method::POST, "/v1/files/get");
    let answer = ask().header("accept", "application/octet-stream").send().await;
    assert_eq!((answer.status.as_u16(), answer.body.len()), (200, large.len()));
    assert_eq!((answer.header("content-type"), answer.header("set-cookie")), ("image/png", ""));
    assert_eq!(answer.header("skill-answered-by"), "service");
    let run = answer.header("skill-execution");
    assert_eq!(server.get(&format!("/v1/executions/{run}")).await.ok(200)["status"], "success");
    // In an envelope it has to keep to the bound.
    ask().header("accept", "*/*").send().await.is_error(502, "upstream_error");
    server.upstream.reset().await;
    server.answers("GET", "/v1/file", json(404, r#"{"message":"none"}"#)).await;
    let refused = ask().header("accept", "image/*").send().await;
    assert_eq!(refused.ok(200), json!({"status": 404, "error": {"message": "none"}}));
}

#[tokio::test]
async fn a_refusal_comes_before_the_file_is_read() {
    let server = server().await;
    let length = "Content-Length: 99999999\r\nConnection: close\r\n";
    for params in ["{}", "{", r#"{"title":7}"#] {
        let headers = format!("{length}Skill-Params: {params}\r\n");
        let mut stream = opened(&server, "/v1/files/form", &headers).await;
        let answer = client::read_to_close(&mut stream).await;
        assert_eq!(client::status(&answer), 400, "{params}: {answer}");
    }
    assert!(server.upstream_saw().await.is_empty());
}

#[tokio::test]
async fn a_file_over_the_bound_is_refused() {
    let server = of(setup().settings(|settings| settings.upload_bytes = 1 << 20)).await;
    let file = Bytes::from(vec![0; (1 << 20) + 1]);
    let answer = upload(&server, "whole", r#"{"id":"7"}"#, &file).send().await;
    answer.is_error(413, "bad_request");
    assert!(server.upstream_saw().await.is_empty());
}

#[tokio::test]
async fn a_refused_credential_is_the_answer_to_a_streamed_file() {
    let service = MockServer::start().await;
    let text = format!("{}{FILES}", head("Files", &service.uri(), r#"scheme = "bearer""#));
    let mut server = setup().declare("files", *service.address(), text).start().await;
    server.upstream = service;
    let body = json!({"integration": "files", "credentials": {"token": "canary"}});
    server.post("/v1/connect", &body).await.ok(200);
    server.answers("PUT", "/whole/7", json(401, r#"{"message":"no"}"#)).await;
    let file = Bytes::from(vec![b'x'; 3 << 20]);
    let answer = upload(&server, "whole", r#"{"id":"7"}"#, &file).send().await;
    assert_eq!(answer.ok(200), json!({"status": 401, "error": {"message": "no"}}));
    assert_eq!(server.upstream_saw().await.len(), 1);
}

#[tokio::test]
async fn a_file_that_is_cut_ends_the_connection() {
    let service = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let place = service.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = service.accept().await {
            let _ = stream.read(&mut [0; 4096]).await;
            let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n";
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    let base = format!("http://{place}");
    let text = format!("{}{FILES}", head("Cut", &base, r#"scheme = "none""#));
    let server = setup().declare("cut", place, text).start().await;
    let headers = "Accept: image/*\r\nContent-Length: 2\r\nContent-Type: application/json\r\n";
    let mut stream = opened(&server, "/v1/cut/get", headers).await;
    stream.write_all(b"{}").await.unwrap();
    let answer = client::read_to_close(&mut stream).await;
    assert_eq!(client::status(&answer), 200, "{answer}");
    assert!(answer.contains("first") && !answer.ends_with("0\r\n\r\n"), "{answer}");
    let id = client::header(&answer, "skill-execution").to_owned();
    let run = server.get(&format!("/v1/executions/{id}")).await.ok(200);
    assert_eq!((&run["status"], &run["tool_id"]), (&json!("error"), &json!("cut-get")));
}
