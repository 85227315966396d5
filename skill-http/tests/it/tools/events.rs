//! `GET /v1/executions/{id}/events`: a run while it goes on.

use std::time::Duration;

use http::Method;
use serde_json::json;
use tokio::{io::AsyncWriteExt, net::TcpStream};

use crate::world::{
    TestServer,
    client::{Events, SOON, http2},
    server, setup,
};

async fn follow(server: &TestServer, id: &str) -> Events {
    server.with_key(Method::GET, &format!("/v1/executions/{id}/events")).follow().await
}

async fn wait(server: &TestServer) -> String {
    server.queued("lab-run", &json!({"do": "wait"})).await
}

/// Reads events until one says so far.
async fn until(events: &mut Events, percent: u64) {
    loop {
        let (name, run) = events.next().await.expect("an event");
        assert_eq!(name, "progress", "{run}");
        if run["progress"] == percent {
            return;
        }
    }
}

#[tokio::test]
async fn a_run_is_followed_to_its_end() {
    for server in [server().await, setup().on_disk().start().await] {
        let id = wait(&server).await;
        let mut events = follow(&server, &id).await;
        assert_eq!(events.status, 200);
        assert_eq!(events.headers["content-type"], "text/event-stream");
        assert_eq!(events.headers["cache-control"], "no-store");
        assert!(events.headers.contains_key("x-ratelimit-limit"));
        let (name, first) = events.next().await.unwrap();
        assert_eq!((name.as_str(), &first["id"]), ("progress", &json!(id)));
        for percent in [30, 60] {
            server.lab.say(percent);
            until(&mut events, percent.into()).await;
        }
        server.lab.say(100);
        let (mut name, mut last) = events.next().await.unwrap();
        if name == "progress" {
            // It has said so, and its end is not on disk yet.
            assert_eq!(last["progress"], 99, "{last}");
            (name, last) = events.next().await.unwrap();
        }
        assert_eq!((name.as_str(), &last["status"]), ("end", &json!("success")));
        assert_eq!(last, server.get(&format!("/v1/executions/{id}")).await.ok(200));
        assert!(events.next_block().await.is_none(), "the stream ends");
    }
}

#[tokio::test]
async fn of_a_run_that_has_ended_the_end_comes_at_once() {
    let server = server().await;
    let id = server.queued("lab-run", &json!({"do": "fail"})).await;
    server.ended(&id).await;
    let ask = server.with_key(Method::GET, &format!("/v1/executions/{id}/events"));
    let mut events = ask.header("last-event-id", "no such event").follow().await;
    let (name, run) = events.next().await.unwrap();
    assert_eq!((name.as_str(), &run["status"]), ("end", &json!("error")));
    assert_eq!(run["error"]["message"], "it did not work");
    assert!(events.next_block().await.is_none());
}

#[tokio::test]
async fn a_cancelled_run_ends_its_streams() {
    let server = server().await;
    let id = wait(&server).await;
    let (mut one, mut other) = (follow(&server, &id).await, follow(&server, &id).await);
    one.next().await.unwrap();
    other.next().await.unwrap();
    server.delete(&format!("/v1/executions/{id}")).await.ok(200);
    for events in [&mut one, &mut other] {
        let last = loop {
            let (name, run) = events.next().await.unwrap();
            if name == "end" {
                break run;
            }
        };
        assert_eq!(last["status"], "cancelled");
        assert!(events.next_block().await.is_none());
    }
}

#[tokio::test]
async fn comments_say_that_a_quiet_stream_is_alive() {
    let quick = |settings: &mut skill_http::Settings| {
        settings.events_keep_alive = Duration::from_millis(20);
    };
    let server = setup().settings(quick).start().await;
    let id = wait(&server).await;
    let mut events = follow(&server, &id).await;
    while events.next_block().await.unwrap() != ": still here" {}
    while events.next_block().await.unwrap() != ": still here" {}
    server.lab.say(100);
    while let Some(block) = events.next_block().await {
        assert!(!block.contains("\"running\"") || block.starts_with("event: progress"));
    }
}

#[tokio::test]
async fn a_stream_ends_with_the_key_that_opened_it() {
    let quick = |settings: &mut skill_http::Settings| {
        settings.events_keep_alive = Duration::from_millis(20);
    };
    let server = setup().settings(quick).start().await;
    let id = wait(&server).await;
    let body = json!({"name": "short", "type": "user", "expires_in": 60});
    let short = server.post("/v1/keys", &body).await.ok(201);
    let other = server.post("/v1/keys", &json!({"name": "b", "type": "user"})).await.ok(201);
    let path = format!("/v1/executions/{id}/events");
    let open = async |made: &serde_json::Value| {
        let key = made["key"].as_str().unwrap();
        let mut events = server.ask(Method::GET, &path).key(key).follow().await;
        events.next().await.unwrap();
        events
    };
    let (mut expired, mut revoked) = (open(&short).await, open(&other).await);
    server.delete(&format!("/v1/keys/{}", other["id"].as_str().unwrap())).await.ok(204);
    server.advance(60);
    for events in [&mut expired, &mut revoked] {
        let mut last = String::new();
        while let Some(block) = events.next_block().await {
            last = block;
        }
        assert_eq!(last, ": the key ended");
    }
}

#[tokio::test]
async fn a_stream_works_over_http_2_and_through_gzip() {
    let server = server().await;
    let id = wait(&server).await;
    let url = format!("http://{}/v1/executions/{id}/events", server.address);
    let answer = http2().get(url).bearer_auth(&server.key).header("accept-encoding", "gzip");
    let mut answer = answer.send().await.unwrap();
    assert!(!answer.headers().contains_key("content-encoding"));
    let first = answer.chunk().await.unwrap().unwrap();
    assert!(first.starts_with(b"event: progress\n"), "{first:?}");
    server.lab.say(100);
    let mut rest = Vec::new();
    while let Some(chunk) = answer.chunk().await.unwrap() {
        rest.extend_from_slice(&chunk);
    }
    assert!(String::from_utf8(rest).unwrap().contains("event: end\n"));
}

#[tokio::test]
async fn an_owner_has_so_many_streams_and_no_more() {
    let few = |settings: &mut skill_http::Settings| settings.events_per_owner = 2;
    let server = setup().settings(few).start().await;
    let id = wait(&server).await;
    let mut open = Vec::new();
    for _ in 0..2 {
        let mut events = follow(&server, &id).await;
        events.next().await.unwrap();
        open.push(events);
    }
    let path = format!("/v1/executions/{id}/events");
    let refused = server.get(&path).await;
    let error = refused.is_tools_error(429, "RATE_LIMITED");
    assert_eq!(refused.header("retry-after"), error["retry_after"].to_string());
    // Another owner has its own, and one that is closed makes room.
    let stranger = server.key_of("acme", "*").await;
    let ask = server.ask(Method::POST, "/v1/tools/lab-run/invoke?async=true").key(&stranger);
    let theirs = ask.json(&json!({"do": "wait"})).send().await.ok(202)["execution_id"].clone();
    let path = format!("/v1/executions/{}/events", theirs.as_str().unwrap());
    assert_eq!(server.ask(Method::GET, &path).key(&stranger).follow().await.status, 200);
    drop(open);
    let until = tokio::time::Instant::now() + SOON;
    while follow(&server, &id).await.status != 200 {
        assert!(tokio::time::Instant::now() < until, "a closed stream gives its place back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_reader_that_does_not_read_harms_nobody() {
    let server = server().await;
    let id = wait(&server).await;
    let mut deaf = TcpStream::connect(server.address).await.unwrap();
    let head = format!(
        "GET /v1/executions/{id}/events HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n\r\n",
        server.address, server.key
    );
    deaf.write_all(head.as_bytes()).await.unwrap();
    let mut events = follow(&server, &id).await;
    for percent in 1..=99 {
        server.lab.say(percent);
        if percent % 33 == 0 {
            until(&mut events, percent.into()).await;
        }
    }
    server.lab.say(100);
    while events.next_block().await.is_some() {}
    assert_eq!(server.ended(&id).await["status"], "success");
    drop(deaf);
}

#[tokio::test]
async fn a_server_that_stops_ends_its_streams() {
    let server = server().await;
    let id = wait(&server).await;
    let mut events = follow(&server, &id).await;
    events.next().await.unwrap();
    server.shutdown.cancel();
    let mut last = String::new();
    while let Some(block) = events.next_block().await {
        last = block;
    }
    assert_eq!(last, ": the server stops");
}

#[tokio::test]
async fn head_of_a_stream_has_no_body_and_ends() {
    let server = server().await;
    let id = wait(&server).await;
    let path = format!("/v1/executions/{id}/events");
    let answer = server.with_key(Method::HEAD, &path).send().await;
    assert_eq!((answer.status.as_u16(), answer.body.len()), (200, 0));
    assert_eq!(answer.header("content-type"), "text/event-stream");
}

#[tokio::test]
async fn who_waits_for_a_run_counts_as_a_stream_does() {
    let few = |settings: &mut skill_http::Settings| settings.events_per_owner = 1;
    let server = setup().settings(few).start().await;
    let id = wait(&server).await;
    let mut events = follow(&server, &id).await;
    events.next().await.unwrap();
    let waiting = format!("/v1/executions/{id}?wait=9");
    let refused = server.get(&waiting).await;
    refused.is_tools_error(429, "RATE_LIMITED");
    assert_ne!(refused.header("retry-after"), "");
    // To look is always allowed, and what has ended is not waited for.
    server.get(&format!("/v1/executions/{id}?wait=0")).await.ok(200);
    server.delete(&format!("/v1/executions/{id}")).await.ok(200);
    assert_eq!(server.get(&waiting).await.ok(200)["status"], "cancelled");
    // A place is free again with its answer, whatever it was.
    while events.next_block().await.is_some() {}
    let next = wait(&server).await;
    for _ in 0..2 {
        let until = tokio::time::Instant::now() + SOON;
        let path = format!("/v1/executions/{next}?wait=1");
        while server.get(&path).await.status != 200 {
            assert!(tokio::time::Instant::now() < until, "an answer gives its place back");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}
