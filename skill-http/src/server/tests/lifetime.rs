//! How connections and the server begin and end.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use tokio::io::DuplexStream;

use super::*;

const CLOSE: &str = "GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

#[tokio::test]
async fn a_panic_costs_one_connection() {
    let server = Server::start(Limits { connections: 1, ..Limits::default() }).await;
    let answer = server.exchange(&["GET /panic HTTP/1.1\r\nHost: a\r\n\r\n"]).await;
    assert_eq!(answer, "");
    assert_eq!(statuses(&server.exchange(&[CLOSE]).await), [200]);
}

#[tokio::test]
async fn a_panic_on_http2_costs_one_request() {
    let server = Server::start(Limits::default()).await;
    let client = reqwest::Client::builder().http2_prior_knowledge().no_proxy().build().unwrap();
    let url = |path| format!("http://{}{path}", server.address);
    assert!(client.get(url("/panic")).send().await.is_err());
    assert!(client.get(url("/a")).send().await.is_ok());
}

#[tokio::test]
async fn connections_past_the_cap_wait() {
    let server = Server::start(Limits { connections: 2, ..Limits::default() }).await;
    let (first, _second) = (server.connect().await, server.connect().await);
    let mut third = server.connect().await;
    third.write_all(CLOSE.as_bytes()).await.unwrap();
    let mut byte = [0];
    assert!(timeout(Duration::from_millis(200), third.read(&mut byte)).await.is_err());
    drop(first);
    assert_eq!(statuses(&read_to_close(&mut third).await), [200]);
}

#[tokio::test]
async fn a_request_in_flight_ends_before_the_server() {
    let server = Server::start(Limits::default()).await;
    let (mut busy, mut idle) = (server.connect().await, server.connect().await);
    busy.write_all(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    idle.write_all(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    read_until(&mut idle, "127.0.0.1").await;
    let _untouched = server.connect().await;
    sleep(Duration::from_millis(50)).await;
    server.shutdown.cancel();
    assert_eq!(read_to_close(&mut idle).await, "");
    assert_eq!(statuses(&read_to_close(&mut busy).await), [200]);
    timeout(SOON, server.task).await.expect("the server ends").unwrap();
    assert!(TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn a_request_that_never_ends_is_aborted() {
    let drain = Duration::from_millis(300);
    let server = Server::start(Limits { drain, ..Limits::default() }).await;
    let mut stream = server.connect().await;
    stream.write_all(b"GET /never HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let client = reqwest::Client::builder().http2_prior_knowledge().no_proxy().build().unwrap();
    let never = tokio::spawn(client.get(format!("http://{}/never", server.address)).send());
    sleep(Duration::from_millis(100)).await;
    let start = Instant::now();
    server.shutdown.cancel();
    timeout(SOON, server.task).await.expect("the server ends").unwrap();
    assert!(start.elapsed() >= drain && start.elapsed() < SOON);
    assert_eq!(read_to_close(&mut stream).await, "");
    assert!(never.await.unwrap().is_err());
    assert_eq!(Arc::strong_count(&server.echo), 1, "no task is left");
}

#[tokio::test]
async fn a_dropped_server_takes_its_connections_with_it() {
    let server = Server::start(Limits::default()).await;
    let mut stream = server.connect().await;
    stream.write_all(b"GET /never HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    sleep(Duration::from_millis(50)).await;
    server.task.abort();
    assert_eq!(read_to_close(&mut stream).await, "");
}

/// Has no descriptor left, ever.
#[derive(Debug, Default)]
struct Full {
    attempts: AtomicUsize,
}

impl Listener for Arc<Full> {
    type Io = DuplexStream;

    async fn accept(&self) -> io::Result<(DuplexStream, Option<IpAddr>)> {
        self.attempts.fetch_add(1, Ordering::Relaxed);
        const EMFILE: i32 = 24;
        Err(io::Error::from_raw_os_error(EMFILE))
    }
}

#[tokio::test(start_paused = true)]
async fn accept_backs_off_when_there_is_no_room() {
    let (full, shutdown) = (Arc::new(Full::default()), CancellationToken::new());
    let echo = Arc::new(Echo::default());
    let task = tokio::spawn(serve(Arc::clone(&full), Limits::default(), echo, shutdown.clone()));
    sleep(Duration::from_secs(60)).await;
    let attempts = full.attempts.load(Ordering::Relaxed);
    assert!((50..70).contains(&attempts), "{attempts} attempts");
    shutdown.cancel();
    task.await.unwrap();
}
