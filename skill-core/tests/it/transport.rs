//! The real transport over real sockets: where it goes, what it says, and when it stops.

use std::{
    net::SocketAddr,
    process::Command,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use http::Method;
use skill_core::{
    ErrorKind, Result,
    clock::Deadline,
    error::Retry,
    transport::{
        Outgoing, Payload, ReqwestTransport, Response, Transport,
        egress::{Egress, HostPort},
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::sleep,
};

/// Names the port to a child that sends one request.
const CHILD: &str = "SKILL_TEST_SEND";

/// A listener that notes the head of every request.
struct Server {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Serves every connection as `serve` says.
    async fn start<F>(serve: impl Fn(TcpStream) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let noted = heads.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let head = head(&mut stream).await;
                noted.lock().unwrap().push(head);
                tokio::spawn(serve(stream));
            }
        });
        Self { address, heads }
    }

    /// Gives every connection these bytes and closes it.
    async fn says(answer: impl Into<Vec<u8>>) -> Self {
        let answer = Arc::new(answer.into());
        Self::start(move |mut stream| {
            let answer = answer.clone();
            async move { drop(stream.write_all(&answer).await) }
        })
        .await
    }

    fn url(&self) -> String {
        format!("http://{}/a", self.address)
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }

    /// A transport that may go here.
    fn transport(&self) -> ReqwestTransport {
        transport(&[&self.address.to_string()])
    }
}

async fn head(stream: &mut TcpStream) -> String {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).await.is_ok_and(|n| n == 1) {
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

fn transport(listed: &[&str]) -> ReqwestTransport {
    let listed = listed.iter().map(|place| HostPort::parse(place).unwrap()).collect();
    ReqwestTransport::new(Egress::new(listed)).unwrap()
}

fn get(url: &str) -> Outgoing {
    Outgoing::get(url.parse().unwrap())
}

async fn send(transport: &ReqwestTransport, request: Outgoing) -> Result<Response> {
    transport.send(request, Deadline::after(Duration::from_secs(5))).await
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let canary = Server::says(ok("caught")).await;
    for status in [301, 302, 303, 307, 308] {
        let place = canary.url();
        let answer =
            format!("HTTP/1.1 {status} Go\r\nlocation: {place}\r\ncontent-length: 0\r\n\r\n");
        let server = Server::says(answer).await;
        let listed = [server.address.to_string(), canary.address.to_string()];
        let transport = transport(&listed.each_ref().map(String::as_str));
        let mut post = get(&server.url());
        (post.method, post.body) = (Method::POST, Payload::Bytes("secret".into()));
        for request in [get(&server.url()), post] {
            assert_eq!(send(&transport, request).await.unwrap().status, status);
        }
    }
    assert!(canary.heads().is_empty());
}

#[tokio::test]
async fn a_request_says_no_more_than_it_was_told() {
    let cookie =
        "HTTP/1.1 200 OK\r\nset-cookie: a=b\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    let server = Server::says(cookie).await;
    let transport = server.transport();
    for _ in 0..2 {
        let url = format!("{}?key=secret", server.url());
        send(&transport, get(&url)).await.unwrap();
    }
    for head in server.heads() {
        let mut lines = head.trim_end().split("\r\n").collect::<Vec<_>>();
        assert_eq!(lines.remove(0), "GET /a?key=secret HTTP/1.1");
        lines.sort_unstable();
        let host = format!("host: {}", server.address);
        assert_eq!(lines, ["accept-encoding: gzip", "accept: */*", &host]);
    }
}

#[tokio::test]
async fn addresses_that_are_not_listed_are_not_reached() {
    let server = Server::says(ok("caught")).await;
    let port = server.address.port();
    let listed = transport(&["192.0.2.1:80", &format!("127.0.0.1:{}", port ^ 1)]);
    for host in "127.0.0.1 localhost LOCALHOST. api.localhost 2130706433 0x7f.1 127.1 [::1] \
        [::ffff:127.0.0.1] 169.254.169.254 10.0.0.1 [fd00::1] 0.0.0.0"
        .split_whitespace()
    {
        for scheme in ["http", "https"] {
            let url = format!("{scheme}://{host}:{port}/");
            let error = send(&listed, get(&url)).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::UpstreamUnreachable, "{url}");
            assert_eq!(error.retry_state(), Retry::Never, "{url}");
            assert!(!error.message().contains(host), "{}", error.message());
        }
    }
    assert!(server.heads().is_empty());
}

#[tokio::test]
async fn names_of_private_addresses_are_not_reached() {
    // This machine's own names resolve to it, whatever DNS says.
    let hosts = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
    let names = hosts.lines().filter(|line| line.starts_with("127.")).flat_map(|line| {
        let names = line.split('#').next().unwrap_or_default();
        names.split_whitespace().skip(1).filter(|name| !name.contains("localhost"))
    });
    let server = Server::says(ok("caught")).await;
    for name in names {
        let url = format!("https://{name}:{}/", server.address.port());
        let error = send(&transport(&[]), get(&url)).await.unwrap_err();
        assert_eq!(error.message(), "the service cannot be reached: the address is not public");
        assert_eq!(error.retry_state(), Retry::Never);
    }
    assert!(server.heads().is_empty());
}

#[tokio::test]
async fn the_list_is_of_exact_hosts_and_ports() {
    let server = Server::says(ok("hello")).await;
    let port = server.address.port();
    let by_address = server.transport();
    let by_name = transport(&[&format!("localhost:{port}")]);
    let (address, name) =
        (format!("http://127.0.0.1:{port}/"), format!("http://localhost:{port}/"));
    send(&by_address, get(&address)).await.unwrap();
    send(&by_name, get(&name)).await.unwrap();
    for (transport, url) in [(&by_address, &name), (&by_name, &address)] {
        let error = send(transport, get(url)).await.unwrap_err();
        assert_eq!(error.retry_state(), Retry::Never);
    }
    assert_eq!(server.heads().len(), 2);
}

/// Not a test of its own: the process to which the next one gives another environment.
#[tokio::test]
async fn a_child_sends_one_request() {
    let Some(url) = std::env::var_os(CHILD) else { return };
    let url = url.into_string().unwrap();
    let place = url.trim_start_matches("http://").trim_end_matches("/a");
    let answer = send(&transport(&[place]), get(&url)).await.unwrap();
    assert_eq!(answer.body.collect(64).await.unwrap(), "direct");
}

#[tokio::test]
async fn a_proxy_in_the_environment_is_ignored() {
    let (server, proxy) = (Server::says(ok("direct")).await, Server::says(ok("proxied")).await);
    let name = format!("{}::a_child_sends_one_request", module_path!());
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args([name.split_once("::").unwrap().1, "--exact"]).env(CHILD, server.url());
    for name in ["http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"] {
        child.env(name, format!("http://{}", proxy.address));
    }
    let child = tokio::task::spawn_blocking(move || child.output().unwrap()).await.unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));
    assert_eq!((server.heads().len(), proxy.heads().len()), (1, 0));
}

/// Zeros, packed by hand (RFC 1951 section 3.2.6): 258 of them in each 13 bits.
fn bomb(megabytes: usize) -> Vec<u8> {
    let mut bytes = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
    let (mut held, mut count) = (0_u32, 0);
    let mut put = |bits: u32, length: u32| {
        held |= bits << count;
        count += length;
        while count >= 8 {
            bytes.push(held as u8);
            held >>= 8;
            count -= 8;
        }
    };
    put(0b011, 3);
    // The literal 0, then copies of the byte before: codes go out with their first bit first.
    put(0b0000_1100, 8);
    for _ in 0..megabytes * (1 << 20) / 258 {
        put(0b1010_0011, 8);
        put(0, 5);
    }
    put(0, 7);
    put(0, 7);
    bytes
}

#[tokio::test]
async fn a_bomb_is_cut_at_the_bound() {
    let packed = bomb(256);
    assert!(packed.len() < 2 << 20);
    let head = "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\nconnection: close\r\n\r\n";
    let server = Server::says([head.as_bytes(), &packed].concat()).await;
    let answer = send(&server.transport(), get(&server.url())).await.unwrap();
    let error = answer.body.collect(10 << 20).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UpstreamInvalid, "{error:?}");
    assert!(error.message().contains("10485760"), "{error:?}");
    // What is small is unpacked.
    let small = Server::says([head.as_bytes(), &bomb(1)].concat()).await;
    let answer = send(&small.transport(), get(&small.url())).await.unwrap();
    let error = answer.body.collect(100).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UpstreamInvalid);
}

#[tokio::test]
async fn the_deadline_covers_head_and_body() {
    let drip = Server::start(|mut stream| async move {
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n").await.unwrap();
        while stream.write_all(b"x").await.is_ok() {
            sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    let silent = Server::start(|stream| async move {
        sleep(Duration::from_secs(60)).await;
        drop(stream);
    })
    .await;
    let (to_drip, to_silent) = (drip.transport(), silent.transport());
    let started = Instant::now();
    let deadline = Deadline::after(Duration::from_secs(1));
    let answer = to_drip.send(get(&drip.url()), deadline).await.unwrap();
    let error = answer.body.collect(10_000).await.unwrap_err();
    assert_eq!((error.kind(), error.retry_state()), (ErrorKind::Timeout, Retry::IfIdempotent));
    let deadline = Deadline::after(Duration::from_millis(300));
    let error = to_silent.send(get(&silent.url()), deadline).await.unwrap_err();
    assert_eq!((error.kind(), error.retry_state()), (ErrorKind::Timeout, Retry::IfIdempotent));
    assert!(started.elapsed() < Duration::from_secs(4));
}

#[tokio::test]
async fn a_closed_port_is_safe_to_try_again_and_a_cut_is_not() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let place = closed.local_addr().unwrap().to_string();
    drop(closed);
    let error = send(&transport(&[&place]), get(&format!("http://{place}/"))).await.unwrap_err();
    let kind = ErrorKind::UpstreamUnreachable;
    assert_eq!((error.kind(), error.retry_state()), (kind, Retry::Safe));
    assert!(!error.message().contains(&place));
    for answer in ["", "HTTP/1.1 200 OK\r\ncontent-le"] {
        let server = Server::says(answer).await;
        let error = send(&server.transport(), get(&server.url())).await.unwrap_err();
        assert_eq!((error.kind(), error.retry_state()), (kind, Retry::IfIdempotent), "{answer}");
        assert_eq!(server.heads().len(), 1);
    }
}

#[tokio::test]
async fn what_is_no_http_is_no_answer() {
    let flood = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(2 << 20));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(5000));
    for answer in ["SSH-2.0-x\r\n\r\n", "HTTP/1.1 abc\r\n\r\n", &flood, &many] {
        let server = Server::says(answer).await;
        let error = send(&server.transport(), get(&server.url())).await.unwrap_err();
        assert_eq!(error.retry_state(), Retry::IfIdempotent, "{error:?}");
        // reqwest does not say whether it was cut or no HTTP.
        let kinds = [ErrorKind::UpstreamInvalid, ErrorKind::UpstreamUnreachable];
        assert!(kinds.contains(&error.kind()), "{error:?}");
    }
}

#[tokio::test]
async fn half_an_answer_is_none() {
    let short = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"a\":1}";
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n7\r\n{\"a\":1}\r\n";
    let packed =
        "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 3\r\n\r\n\x1f\x0b\x08";
    for answer in [short, chunked, packed] {
        let server = Server::says(answer).await;
        let answer = send(&server.transport(), get(&server.url())).await.unwrap();
        let error = answer.body.collect(1000).await.unwrap_err();
        assert_eq!(error.retry_state(), Retry::IfIdempotent, "{error:?}");
    }
}

#[tokio::test]
async fn a_dropped_request_ends_its_connection() {
    let (gone, mut is_gone) = tokio::sync::mpsc::channel(1);
    let server = Server::start(move |mut stream| {
        let gone = gone.clone();
        async move {
            let ended = stream.read(&mut [0; 16]).await;
            gone.send(ended.is_err() || ended.is_ok_and(|n| n == 0)).await.unwrap();
        }
    })
    .await;
    let transport = server.transport();
    let sending = transport.send(get(&server.url()), Deadline::after(Duration::from_secs(60)));
    assert!(tokio::time::timeout(Duration::from_millis(200), sending).await.is_err());
    let ended = tokio::time::timeout(Duration::from_secs(2), is_gone.recv()).await;
    assert_eq!(ended, Ok(Some(true)));
}

#[tokio::test]
async fn what_is_sent_alone_shares_no_connection() {
    let server = Server::start(|mut stream| async move {
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
        while stream.write_all(answer).await.is_ok() && !head(&mut stream).await.is_empty() {}
    })
    .await;
    let transport = server.transport();
    send(&transport, get(&server.url())).await.unwrap();
    let before = server.heads().len();
    for number in 1..=3 {
        let deadline = Deadline::after(Duration::from_secs(5));
        let answer = transport.send_alone(get(&server.url()), deadline).await.unwrap();
        assert_eq!(answer.status, 200);
        assert_eq!(server.heads().len(), before + number);
    }
}
