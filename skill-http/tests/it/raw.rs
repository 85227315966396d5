//! `ANY /v1/{integration}/_raw/…`: what passes, what does not, and that it streams.

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use wiremock::{Request, ResponseTemplate};

use crate::world::{
    TestServer,
    client::{self, Answer},
    declarations::{OPEN, head},
    provider::{json, typed},
    server, setup,
};

const DOOR: &str = "/v1/github/_raw";
const LARGE: usize = 12 << 20;

/// An answer of the service, however it went.
#[track_caller]
fn of_service(answer: &Answer, status: u16) {
    let found = (answer.status.as_u16(), answer.header("skill-answered-by"));
    assert_eq!(found, (status, "service"), "{}", answer.text());
}

/// An error of ours.
#[track_caller]
fn of_ours(answer: &Answer, status: u16, code: &str) {
    answer.is_error(status, code);
    assert_eq!(answer.header("skill-answered-by"), "skill");
}

async fn last(server: &TestServer) -> Request {
    server.upstream.received_requests().await.unwrap().pop().unwrap()
}

#[tokio::test]
async fn a_request_and_its_answer_pass_as_they_are() {
    let server = server().await;
    server.with_github().await;
    let answer = typed(418, b"{not json", "application/json")
        .insert_header("etag", "\"1\"")
        .insert_header("x-github-request-id", "A:1")
        .insert_header("x-ratelimit-limit", "5000")
        .insert_header("x-ratelimit-remaining", "4999")
        .insert_header("cache-control", "public, max-age=60")
        .insert_header("set-cookie", "session=1");
    server.answers("PUT", "/repos/a%2Fb/contents/x:y", answer).await;
    let path = format!("{DOOR}/repos/a%2Fb/contents/x:y?ref=a%20b&x[]=1");
    let ask = server.with_key(Method::PUT, &path).header("x-github-api-version", "2022-11-28");
    let ask = ask.header("user-agent", "octokit").header("content-type", "text/x-own");
    let ask = ask.header("cookie", "a=b").header("x-http-method-override", "DELETE");
    let ask = ask.header("x-forwarded-for", "10.0.0.1").header("idempotency-key", "theirs");
    let answer = ask.body(&b"\x00\xffbody"[..]).send().await;
    of_service(&answer, 418);
    assert_eq!(answer.body, "{not json");
    for (name, value) in [
        ("content-type", "application/json"),
        ("etag", "\"1\""),
        ("x-github-request-id", "A:1"),
        ("x-ratelimit-limit", "5000"),
        ("x-ratelimit-remaining", "4999"),
        ("cache-control", "no-store"),
        ("set-cookie", ""),
        ("x-content-type-options", "nosniff"),
    ] {
        assert_eq!(answer.header(name), value, "{name}");
    }
    let sent = last(&server).await;
    let target = &sent.url[url::Position::BeforePath..];
    assert_eq!(target, "/repos/a%2Fb/contents/x:y?ref=a%20b&x[]=1");
    assert_eq!(sent.body, b"\x00\xffbody");
    for (name, value) in [
        ("authorization", "Bearer access-canary"),
        ("x-github-api-version", "2022-11-28"),
        ("user-agent", "octokit"),
        ("content-type", "text/x-own"),
        ("idempotency-key", "theirs"),
        // What the declaration sends, where the client says nothing.
        ("accept", "application/vnd.github+json"),
    ] {
        let found = sent.headers.get(name).map(|value| value.to_str().unwrap());
        assert!(found == Some(value) || name == "accept", "{name}: {found:?}");
    }
    for name in ["cookie", "x-http-method-override", "x-forwarded-for", "x-api-key"] {
        assert!(!sent.headers.contains_key(name), "{name}");
    }
    assert_eq!(sent.headers["host"], server.upstream.address().to_string());
}

#[tokio::test]
async fn clients_present_the_key_where_they_present_their_own() {
    let server = server().await;
    server.with_github().await;
    let path = format!("{DOOR}/user");
    let basic = |pair: String| {
        use base64::{Engine, engine::general_purpose::STANDARD};
        format!("Basic {}", STANDARD.encode(pair))
    };
    let key = &server.key;
    for value in [format!("token {key}"), basic(format!("{key}:")), basic(format!("a@b:{key}"))] {
        let answer = server.ask(Method::GET, &path).header("authorization", &value).send().await;
        of_service(&answer, 200);
        // Nowhere else: there the forms of keys are what they were.
        let call = server.ask(Method::POST, "/v1/github/get_user").header("authorization", &value);
        call.body("{}").send().await.is_error(401, "unauthorized");
    }
    let answer = server.ask(Method::GET, &path).send().await;
    of_ours(&answer, 401, "unauthorized");
    let wrong = server.ask(Method::GET, &path).header("authorization", &basic("a:b".into()));
    of_ours(&wrong.send().await, 401, "unauthorized");
}

#[tokio::test]
async fn the_door_takes_a_scope_of_its_own() {
    let server = server().await;
    server.with_github().await;
    let before = server.upstream_saw().await.len();
    let path = format!("{DOOR}/user");
    for scopes in ["github", "github/get_user", "slack/_raw"] {
        let key = server.key_of("default", scopes).await;
        let answer = server.ask(Method::GET, &path).key(&key).send().await;
        of_ours(&answer, 403, "scope_not_allowed");
        assert!(answer.text().contains("github/_raw"), "{}", answer.text());
    }
    assert_eq!(server.upstream_saw().await.len(), before);
    let key = server.key_of("default", "github/_raw").await;
    of_service(&server.ask(Method::GET, &path).key(&key).send().await, 200);
    let call = server.ask(Method::POST, "/v1/github/get_user").key(&key).json(&json!({}));
    call.send().await.is_error(403, "scope_not_allowed");
    // Another owner's connection is none.
    let foreign = server.key_of("acme", "*").await;
    let answer = server.ask(Method::GET, &path).key(&foreign).send().await;
    of_ours(&answer, 403, "integration_not_connected");
}

#[tokio::test]
async fn a_header_picks_the_connection() {
    let server = server().await;
    let one = server.with_github().await;
    let two = json!({"access_token": "second-canary", "refresh_token": "r"});
    let body = json!({"integration": "github", "credentials": two, "label": "second"});
    server.post("/v1/connect", &body).await.ok(200);
    let path = format!("{DOOR}/user");
    of_ours(&server.get(&path).await, 409, "choose_connection");
    let by = |name: &str| server.with_key(Method::GET, &path).header("skill-connection", name);
    of_service(&by("second").send().await, 200);
    assert_eq!(last(&server).await.headers["authorization"], "Bearer second-canary");
    of_service(&by(&one).send().await, 200);
    assert_eq!(last(&server).await.headers["authorization"], "Bearer access-canary");
    of_ours(&by("third").send().await, 404, "not_found");
    let foreign = server.key_of("acme", "*").await;
    let ask = server.ask(Method::GET, &path).key(&foreign).header("skill-connection", &one);
    of_ours(&ask.send().await, 404, "not_found");
}

#[tokio::test]
async fn a_path_that_could_lead_elsewhere_is_refused() {
    let server = server().await;
    server.with_github().await;
    let before = server.upstream_saw().await.len();
    let key = format!("Authorization: Bearer {}\r\n", server.key);
    let host = server.address.to_string();
    for path in [
        "..",
        "../x",
        "a/../../x",
        "%2e%2e/x",
        "%2E%2e",
        ".%2e/x",
        "%252e%252e/x",
        "./x",
        "a//b",
        "/evil.test/x",
        "a\\b",
        "a%5cb",
        "..;/x",
        "a%00",
        "a%0d%0ab",
        "http://evil.test/",
        "a%",
    ] {
        let answer = server.raw_head(&format!("GET {DOOR}/{path}"), &host, &key).await;
        assert_eq!(client::status(&answer), 400, "{path}: {answer}");
    }
    for path in ["/v1/github/_raw", "/v1/github/_raw/", "/v1/GitHub/_raw/user", "/v1/tools/_raw/x"]
    {
        let answer = server.raw_head(&format!("GET {path}"), &host, &key).await;
        assert!([404, 405].contains(&client::status(&answer)), "{path}: {answer}");
    }
    for method in ["OPTIONS", "TRACE", "CONNECT", "FOO"] {
        let answer = server.raw_head(&format!("{method} {DOOR}/user"), &host, &key).await;
        assert_eq!(client::status(&answer), 405, "{method}: {answer}");
    }
    assert_eq!(server.upstream_saw().await.len(), before);
}

/// Lets only the renewed token in.
async fn renews(server: &TestServer) {
    server
        .reacts("POST", "/upload", |request: &Request| {
            let is_fresh = request.headers["authorization"] == "Bearer fresh";
            if is_fresh { json(200, "{}") } else { json(401, r#"{"message":"Bad credentials"}"#) }
        })
        .await;
    let fresh = json(200, r#"{"access_token":"fresh","token_type":"bearer"}"#);
    server.answers("POST", "/login/oauth/access_token", fresh).await;
}

#[tokio::test]
async fn after_a_401_a_short_body_is_sent_once_more() {
    let server = server().await;
    server.with_github().await;
    renews(&server).await;
    let path = format!("{DOOR}/upload");
    of_service(&server.with_key(Method::POST, &path).body("short").send().await, 200);
    assert_eq!(last(&server).await.body, b"short");
}

#[tokio::test]
async fn a_streamed_body_is_sent_once_and_its_401_is_answered() {
    let server = server().await;
    server.with_github().await;
    renews(&server).await;
    let path = format!("{DOOR}/upload");
    let body = Bytes::from(vec![b'x'; 3 << 20]);
    let answer = server.with_key(Method::POST, &path).body(body.clone()).send().await;
    of_service(&answer, 401);
    assert!(answer.text().contains("Bad credentials"));
    // It was renewed meanwhile: the client's own second try goes through.
    of_service(&server.with_key(Method::POST, &path).body(body.clone()).send().await, 200);
    let sent = last(&server).await;
    assert_eq!(sent.body.len(), body.len());
    assert_eq!(sent.headers["content-length"], body.len().to_string());
    let uploads = server.upstream_saw().await;
    assert_eq!(uploads.iter().filter(|line| line.ends_with("/upload")).count(), 2);
}

#[tokio::test]
async fn what_is_larger_than_any_bound_on_a_call_streams_through() {
    let server = server().await;
    server.with_github().await;
    server.answers("GET", "/large", typed(200, &vec![7; LARGE], "image/png")).await;
    let answer = server.get(&format!("{DOOR}/large")).await;
    assert_eq!((answer.status.as_u16(), answer.body.len()), (200, LARGE));
    assert_eq!(answer.header("content-length"), LARGE.to_string());
    assert!(answer.body.iter().all(|byte| *byte == 7));
    let run = server.get(&format!("/v1/executions/{}", answer.header("skill-execution"))).await;
    let run = run.ok(200);
    assert_eq!((&run["status"], &run["tool_id"]), (&json!("success"), &json!("github-_raw")));
}

#[tokio::test]
async fn a_larger_upload_than_the_bound_is_refused() {
    let server = setup().settings(|settings| settings.upload_bytes = 1 << 20).start().await;
    server.with_github().await;
    let path = format!("{DOOR}/upload");
    let body = Bytes::from(vec![0; (1 << 20) + 1]);
    of_ours(&server.with_key(Method::POST, &path).body(body).send().await, 413, "bad_request");
    // Without a length it shows while it goes on.
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let (host, key) = (server.address, &server.key);
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\n\
         Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let chunk = [format!("{:x}\r\n", 1 << 16).into_bytes(), vec![0; 1 << 16], b"\r\n".to_vec()];
    for _ in 0..20 {
        if stream.write_all(&chunk.concat()).await.is_err() {
            break;
        }
    }
    let answer = client::read_to_close(&mut stream).await;
    assert_eq!(client::status(&answer), 413, "{answer}");
}

#[tokio::test]
async fn a_body_that_is_cut_ends_the_connection() {
    let service = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let place = service.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = service.accept().await {
            let _ = stream.read(&mut [0; 4096]).await;
            let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n";
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    let text = format!("{}{OPEN}", head("Cut", &format!("http://{place}"), r#"scheme = "none""#));
    let server = setup().declare("cut", place, text).start().await;
    let key = format!("Authorization: Bearer {}\r\n", server.key);
    let host = server.address.to_string();
    let answer = server.raw_head("GET /v1/cut/_raw/x", &host, &key).await;
    assert_eq!(client::status(&answer), 200);
    // The last chunk, which would say that this was all, never comes.
    assert!(answer.contains("first") && !answer.ends_with("0\r\n\r\n"), "{answer}");
    let id = client::header(&answer, "skill-execution").to_owned();
    assert_eq!(server.get(&format!("/v1/executions/{id}")).await.ok(200)["status"], "error");
}

#[tokio::test]
async fn addresses_of_the_service_lead_back_through_the_door() {
    let server = server().await;
    server.with_github().await;
    let base = server.upstream.uri();
    let answer = ResponseTemplate::new(301)
        .insert_header("location", format!("{base}/repositories/1?a=b"))
        .insert_header("link", format!("<{base}/user?page=2>; rel=\"next\""));
    server.answers("GET", "/moved", answer).await;
    let answer = server.get(&format!("{DOOR}/moved")).await;
    of_service(&answer, 301);
    let door = format!("{}{DOOR}", server.public);
    assert_eq!(answer.header("location"), format!("{door}/repositories/1?a=b"));
    assert_eq!(answer.header("link"), format!("<{door}/user?page=2>; rel=\"next\""));
    assert_eq!(
        server.upstream_saw().await.iter().filter(|l| l.contains("repositories")).count(),
        0
    );
}

#[tokio::test]
async fn heads_and_conditions_pass() {
    let server = server().await;
    server.with_github().await;
    server
        .answers("HEAD", "/file", ResponseTemplate::new(200).insert_header("etag", "\"1\""))
        .await;
    server.answers("GET", "/file", ResponseTemplate::new(304).insert_header("etag", "\"1\"")).await;
    let path = format!("{DOOR}/file");
    let answer = server.with_key(Method::HEAD, &path).send().await;
    assert_eq!((answer.status.as_u16(), answer.header("etag")), (200, "\"1\""));
    let ask = server.with_key(Method::GET, &path).header("if-none-match", "\"1\"");
    let answer = ask.send().await;
    of_service(&answer, 304);
    assert_eq!(last(&server).await.headers["if-none-match"], "\"1\"");
    let run = answer.header("skill-execution");
    assert_eq!(server.get(&format!("/v1/executions/{run}")).await.ok(200)["status"], "success");
}

#[tokio::test]
async fn our_own_idempotency_key_is_refused_because_no_answer_is_kept() {
    let server = server().await;
    server.with_github().await;
    let ask = server.with_key(Method::POST, &format!("{DOOR}/user"));
    of_ours(&ask.header("x-idempotency-key", "k").send().await, 400, "bad_request");
}

#[tokio::test]
async fn a_door_can_be_shut() {
    let server = setup().settings(|settings| settings.dialects.raw = false).start().await;
    server.with_github().await;
    server.get(&format!("{DOOR}/user")).await.is_error(404, "not_found");
    let place = server.upstream.address();
    let shut =
        format!("{}raw = {{ shut = true }}\n", "name = \"Shut\"\ndescription = \"A test.\"\n");
    let rest = format!("base_url = \"http://{place}\"\n\n[auth]\nscheme = \"none\"\n{OPEN}");
    let other = setup().declare("shut", *place, format!("{shut}{rest}")).start().await;
    of_ours(&other.get("/v1/shut/_raw/x").await, 404, "not_found");
}

#[tokio::test]
async fn a_service_that_stands_still_is_given_up() {
    let server = setup().calls(|calls| calls.timeout = Duration::from_millis(300)).start().await;
    server.with_github().await;
    let late = json(200, "{}").set_delay(Duration::from_secs(5));
    server.answers("GET", "/late", late).await;
    of_ours(&server.get(&format!("{DOOR}/late")).await, 504, "upstream_timeout");
}
