//! Peers that are slow.

use std::time::Instant;

use super::*;

const BRIEF: Duration = Duration::from_millis(400);

/// How late a busy machine may be: far less than any limit that a test does not set.
const LATE: Duration = Duration::from_secs(3);

/// Asserts that the server closes, not before `least` and soon after.
async fn assert_closes_after(stream: &mut TcpStream, start: Instant, least: Duration) {
    let mut rest = Vec::new();
    let _ = timeout(SOON, stream.read_to_end(&mut rest)).await.expect("the server closes");
    let took = start.elapsed();
    let slack = Duration::from_millis(50);
    assert!(took + slack >= least && took < least + LATE, "closed after {took:?}");
}

#[tokio::test]
async fn a_connection_without_a_request_is_closed_on_time() {
    let server = Server::start(Limits { header_timeout: BRIEF, ..Limits::default() }).await;
    let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let tests = ["", "G", "\r\n", "PRI * HTTP/2", preface, "GET / HTTP/1.1\r\nHost: a\r\n"];
    let tests = tests.map(|text| async {
        let start = Instant::now();
        let mut stream = server.connect().await;
        stream.write_all(text.as_bytes()).await.unwrap();
        assert_closes_after(&mut stream, start, BRIEF).await;
    });
    futures_util::future::join_all(tests).await;
}

#[tokio::test]
async fn a_trickled_head_gains_no_time() {
    let server = Server::start(Limits { header_timeout: BRIEF, ..Limits::default() }).await;
    let (mut reader, mut writer) = server.connect().await.into_split();
    let trickle = tokio::spawn(async move {
        let mut head = b"GET / HTTP/1.1\r\nHost: a\r\nX: ".iter().chain(std::iter::repeat(&b'y'));
        while writer.write_all(&[*head.next().unwrap()]).await.is_ok() {
            sleep(Duration::from_millis(20)).await;
        }
    });
    let _ = timeout(SOON, reader.read_to_end(&mut Vec::new())).await.expect("the server closes");
    trickle.await.unwrap();
}

#[tokio::test]
async fn a_later_head_is_timed_too() {
    let server = Server::start(Limits { header_timeout: BRIEF, ..Limits::default() }).await;
    let mut stream = server.connect().await;
    stream.write_all(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    read_until(&mut stream, "127.0.0.1").await;
    sleep(BRIEF).await;
    let start = Instant::now();
    stream.write_all(b"GET /a HTT").await.unwrap();
    assert_closes_after(&mut stream, start, BRIEF).await;
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_a_busy_one_is_not() {
    let limits = Limits { keep_alive: BRIEF / 2, ..Limits::default() };
    let server = Server::start(limits).await;
    let mut stream = server.connect().await;
    stream.write_all(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    read_until(&mut stream, "127.0.0.1").await;
    assert_closes_after(&mut stream, Instant::now(), BRIEF / 2).await;
}

#[tokio::test]
async fn an_idle_http2_connection_is_closed() {
    let limits = Limits { keep_alive: BRIEF / 2, connections: 1, ..Limits::default() };
    let server = Server::start(limits).await;
    let builder = || reqwest::Client::builder().no_proxy();
    let client = builder().http2_prior_knowledge().build().unwrap();
    let url = format!("http://{}/slow", server.address);
    client.get(&url).send().await.unwrap();
    // There is one slot: the second client is served because the first connection has ended.
    let second = builder().build().unwrap().get(&url).send();
    assert!(timeout(SOON, second).await.expect("a slot is free").is_ok());
}

#[tokio::test]
async fn a_peer_that_stops_reading_is_cut() {
    let limits = Limits { write_stall: BRIEF, connections: 1, ..Limits::default() };
    let server = Server::start(limits).await;
    let mut deaf = server.connect().await;
    deaf.write_all(b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let start = Instant::now();
    let answer =
        server.exchange(&["GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"]).await;
    assert_eq!(statuses(&answer), [200]);
    assert!(start.elapsed() >= BRIEF / 2);
}

#[tokio::test]
async fn an_http2_peer_with_a_closed_window_is_cut() {
    let server = Server::start(Limits { write_stall: BRIEF, ..Limits::default() }).await;
    let start = Instant::now();
    let mut stream = server.connect().await;
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    // SETTINGS with an initial window of 0, then HEADERS: GET http://a/.
    bytes.extend(b"\0\0\x06\x04\0\0\0\0\0\0\x04\0\0\0\0");
    bytes.extend(b"\0\0\x06\x01\x05\0\0\0\x01\x82\x86\x84\x41\x01a");
    stream.write_all(&bytes).await.unwrap();
    assert_closes_after(&mut stream, start, BRIEF).await;
    assert_eq!(server.echo.seen(), ["GET / 0"]);
}

#[tokio::test]
async fn a_large_http2_answer_arrives_whole() {
    let server = Server::start(Limits::default()).await;
    let client = reqwest::Client::builder().http2_prior_knowledge().no_proxy().build().unwrap();
    let answer = client.get(format!("http://{}/big", server.address)).send().await.unwrap();
    assert_eq!(answer.content_length(), Some(32 << 20));
    assert_eq!(answer.bytes().await.unwrap().len(), 32 << 20);
}

#[tokio::test]
async fn a_slow_peer_that_reads_outlives_the_idle_timeout() {
    let brief = Duration::from_millis(200);
    let limits = Limits { keep_alive: brief, drain: brief, write_stall: SOON, ..Limits::default() };
    let server = Server::start(limits).await;
    let mut stream = server.connect().await;
    stream.write_all(b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let (mut total, mut buf) = (0, vec![0; 1 << 20]);
    while total < 32 << 20 {
        let count = stream.read(&mut buf).await.expect("the answer goes on");
        assert!(count > 0, "closed after {total} bytes");
        total += count;
        sleep(Duration::from_millis(20)).await;
    }
}
