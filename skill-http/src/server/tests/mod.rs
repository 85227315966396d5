//! The server over real sockets, with exact bytes.

mod framing;
mod lifetime;
mod time;

use std::future::pending;
use std::net::SocketAddr;
use std::sync::Mutex;

use http::{StatusCode, Version};
use http_body_util::{BodyExt, Full};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::*;

/// How long a test waits for what should happen at once.
const SOON: Duration = Duration::from_secs(5);

/// Answers with what it was asked, and keeps a list.
#[derive(Debug, Default)]
struct Echo {
    seen: Mutex<Vec<String>>,
}

impl Echo {
    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }

    fn note(&self, line: String) {
        self.seen.lock().unwrap().push(line);
    }
}

impl Handle for Echo {
    type Body = Full<Bytes>;

    async fn handle(&self, request: Request<Incoming>, peer: Peer) -> Response<Full<Bytes>> {
        let asked = format!("{} {}", request.method(), request.uri().path());
        let fault = |fault: Fault| {
            self.note(format!("{asked} {fault}"));
            let mut response = Response::new(Full::from(format!("{asked}: {fault}")));
            *response.status_mut() = fault.status();
            response
        };
        if let Some(found) = peer.fault() {
            return fault(found);
        }
        match request.uri().path() {
            "/panic" => panic!("a handler may panic"),
            "/slow" => sleep(Duration::from_millis(300)).await,
            "/never" => pending().await,
            "/big" => return Response::new(Full::from(vec![b'x'; 32 << 20])),
            "/early" => return Response::new(Full::from("early")),
            _ => {}
        }
        let Ok(body) = request.into_body().collect().await else {
            return fault(peer.fault().unwrap_or(Fault::Malformed("cut")));
        };
        let body = body.to_bytes();
        let who = peer.address.map_or_else(|| "unix".to_owned(), |address| address.to_string());
        self.note(format!("{asked} {}", body.len()));
        Response::new(Full::from(format!("{asked} {} from {who}", body.len())))
    }
}

/// A server on a free port.
struct Server {
    address: SocketAddr,
    echo: Arc<Echo>,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Server {
    async fn start(limits: Limits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (echo, shutdown) = (Arc::new(Echo::default()), CancellationToken::new());
        let task = tokio::spawn(serve(listener, limits, Arc::clone(&echo), shutdown.clone()));
        Self { address, echo, shutdown, task }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends the pieces, with a pause between, and returns all that comes until the close.
    async fn exchange(&self, pieces: &[&str]) -> String {
        let mut stream = self.connect().await;
        for (index, piece) in pieces.iter().enumerate() {
            if index > 0 {
                sleep(Duration::from_millis(20)).await;
            }
            // A refused request may be answered and closed before its last piece.
            let _ = stream.write_all(piece.as_bytes()).await;
        }
        read_to_close(&mut stream).await
    }
}

async fn read_to_close(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let read = timeout(SOON, stream.read_to_end(&mut answer)).await;
    read.expect("the server closes").unwrap();
    String::from_utf8(answer).unwrap()
}

/// Reads until `end` has been seen.
async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut answer = String::new();
    while !answer.contains(end) {
        let mut buf = [0; 4096];
        let count = timeout(SOON, stream.read(&mut buf)).await.expect("an answer comes").unwrap();
        assert!(count > 0, "closed after {answer:?}");
        answer.push_str(std::str::from_utf8(&buf[..count]).unwrap());
    }
    answer
}

/// The statuses of the answers in `text`.
fn statuses(text: &str) -> Vec<u16> {
    let lines = text.match_indices("HTTP/1.1 ");
    lines.filter_map(|(at, found)| text[at + found.len()..].get(..3)?.parse().ok()).collect()
}

#[tokio::test]
async fn a_unix_socket_is_served_alike() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let shutdown = CancellationToken::new();
    let echo = Arc::new(Echo::default());
    let task = tokio::spawn(serve(listener, Limits::default(), echo, shutdown.clone()));
    let mut stream = tokio::net::UnixStream::connect(&path).await.unwrap();
    let request = b"GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("GET /a 0 from unix"), "{answer}");
    shutdown.cancel();
    task.await.unwrap();
}

#[tokio::test]
async fn http2_is_served_and_held_to_the_same_rules() {
    let server = Server::start(Limits::default()).await;
    let client = reqwest::Client::builder().http2_prior_knowledge().no_proxy().build().unwrap();
    let base = format!("http://{}", server.address);
    let answer = client.post(format!("{base}/a")).body("hello").send().await.unwrap();
    assert_eq!(answer.version(), Version::HTTP_2);
    assert_eq!(answer.text().await.unwrap(), "POST /a 5 from 127.0.0.1");
    let foreign = client.get(format!("{base}/a")).header("host", "evil.test").send().await.unwrap();
    assert_eq!(foreign.status(), StatusCode::BAD_REQUEST);
    let long = format!("{base}/{}", "a".repeat(9000));
    assert_eq!(client.get(long).send().await.unwrap().status(), StatusCode::URI_TOO_LONG);
    server.shutdown.cancel();
    timeout(SOON, server.task).await.expect("the server ends").unwrap();
}
