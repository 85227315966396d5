//! Requests that two parsers could read differently.

use super::*;

const HOST: &str = "Host: a.test\r\n";
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n";

/// Headers and bodies that leave open where a message ends, or whose host it is.
const FRAMINGS: &[&str] = &[
    "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\n",
    "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    "Content-Length: 5, 5\r\n\r\nhello",
    "Content-Length: +5\r\n\r\nhello",
    "Content-Length: -5\r\n\r\nhello",
    "Content-Length: 0x5\r\n\r\nhello",
    "Content-Length: 18446744073709551616\r\n\r\nhello",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding\n: chunked\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding: chunked\n\r\n0\r\n\r\n",
    "X: y\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "X: y\0\r\n\r\n",
    "X: y\r\n z\r\n\r\n",
    "X: y\n\n",
    "Host: a.test\r\n\r\n",
    "Host: evil.test\r\n\r\n",
];

/// Chunked bodies that are not.
const CHUNKS: &[&str] = &[
    "0x5\r\nhello\r\n0\r\n\r\n",
    "-1\r\nhello\r\n0\r\n\r\n",
    "+5\r\nhello\r\n0\r\n\r\n",
    "5 \r\nhello\r\n0\r\n\r\n",
    "fffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    "5\nhello\r\n0\r\n\r\n",
    "5\r\nhello0\r\n\r\n",
    "5\r\nhello\r\nx\r\n\r\n",
    "5;a\nb\r\nhello\r\n0\r\n\r\n",
    "0\r\nX: y\n\r\n",
    "\r\n",
];

/// Whole heads.
const HEADS: &[&str] = &[
    "POST /a HTTP/1.0\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "GET /a HTTP/1.1\r\n\r\n",
    "GET /a HTTP/1.1\r\nHost: \r\n\r\n",
    "GET /a HTTP/1.1\r\nHost: a.test:99999\r\n\r\n",
    "GET /a HTTP/1.1\nHost: a.test\n\n",
    "get /a HTTP/1.1\r\nHost: a.test\r\n\r\n",
    "GET  /a HTTP/1.1\r\nHost: a.test\r\n\r\n",
    "GET http://evil.test/a HTTP/1.1\r\nHost: a.test\r\n\r\n",
    "GET evil.test:80 HTTP/1.1\r\nHost: a.test\r\n\r\n",
    "GET /a\r\n\r\n",
    "GET /a HTTP/2.0\r\nHost: a.test\r\n\r\n",
    "\x16\x03\x01\x02\x00",
];

/// Every one is refused, whatever it arrives with.
fn malformed() -> Vec<String> {
    let post = |fields: &str| format!("POST /a HTTP/1.1\r\n{HOST}{fields}");
    let framings = FRAMINGS.iter().map(|fields| post(fields));
    let chunked = |body: &str| post(&format!("Transfer-Encoding: chunked\r\n\r\n{body}"));
    let chunks = CHUNKS.iter().map(|body| chunked(body));
    framings.chain(chunks).chain(HEADS.iter().map(|head| (*head).to_owned())).collect()
}

fn assert_one_refusal(server: &Server, answer: &str, sent: &str) {
    assert_eq!(statuses(answer), [400], "{sent:?} gave {answer:?}");
    assert!(answer.contains("connection: close\r\n"), "{sent:?} gave {answer:?}");
    assert!(!server.echo.seen().join(",").contains("smuggled"), "{sent:?}");
}

#[tokio::test]
async fn a_malformed_request_has_exactly_one_answer() {
    let server = Server::start(Limits::default()).await;
    for bad in malformed() {
        let answer = server.exchange(&[&format!("{bad}{SMUGGLED}{SMUGGLED}")]).await;
        assert_one_refusal(&server, &answer, &bad);
    }
    assert_eq!(server.echo.seen().len(), malformed().len());
}

#[tokio::test]
async fn pieces_do_not_help_a_malformed_request() {
    let server = Server::start(Limits::default()).await;
    let server = &server;
    let tests = malformed().into_iter().map(|bad| async move {
        let text = format!("{bad}{SMUGGLED}");
        // After the head, and in the middle of its first lines.
        let cuts = [bad.len(), bad.find("\r\n\r\n").map_or(3, |at| at + 4), 20.min(bad.len())];
        for cut in cuts {
            let answer = server.exchange(&[&text[..cut], &text[cut..]]).await;
            assert_one_refusal(server, &answer, &bad);
        }
    });
    futures_util::future::join_all(tests).await;
}

#[tokio::test]
async fn good_requests_before_a_bad_one_are_answered_in_order() {
    let server = Server::start(Limits::default()).await;
    let good = format!("POST /good HTTP/1.1\r\n{HOST}Content-Length: 2\r\n\r\nhi");
    for bad in malformed() {
        let answer = server.exchange(&[&format!("{good}{good}{bad}{SMUGGLED}")]).await;
        assert_eq!(statuses(&answer), [200, 200, 400], "{bad:?} gave {answer:?}");
    }
    assert!(!server.echo.seen().join(",").contains("smuggled"));
}

#[tokio::test]
async fn a_slow_handler_does_not_lose_the_refusal_behind_it() {
    let server = Server::start(Limits::default()).await;
    let text = format!("GET /slow HTTP/1.1\r\n{HOST}\r\nget /a HTTP/1.1\r\n{HOST}\r\n{SMUGGLED}");
    let answer = server.exchange(&[&text]).await;
    assert_eq!(statuses(&answer), [200, 400], "{answer}");
}

#[tokio::test]
async fn the_handler_learns_the_path_of_a_refused_request() {
    let server = Server::start(Limits::default()).await;
    let answer = server.exchange(&["POST /api/x?key=secret HTTP/1.1\r\nX: y\r\n\r\n"]).await;
    assert!(answer.ends_with("/api/x: there must be one host header"), "{answer}");
    let answer = server.exchange(&["HEAD /api/x HTTP/1.1\r\nX: y\r\n\r\n"]).await;
    assert!(answer.starts_with("HTTP/1.1 400") && answer.ends_with("\r\n\r\n"), "{answer}");
}

#[tokio::test]
async fn good_messages_pass_in_any_pieces() {
    let server = Server::start(Limits::default()).await;
    let text = format!(
        "GET /1 HTTP/1.1\r\n{HOST}\r\n\r\nPOST /2 HTTP/1.1\r\n{HOST}Content-Length: 5\r\n\r\nhello\
         POST /3 HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n3\r\nyou\r\n\
         0\r\nX: y\r\n\r\nGET http://A.test/4 HTTP/1.1\r\n{HOST}Connection: close\r\n\r\n"
    );
    let wanted = ["GET /1 0", "POST /2 5", "POST /3 8", "GET /4 0"];
    for size in [1, 7, 50, text.len()] {
        let mut stream = server.connect().await;
        stream.set_nodelay(true).unwrap();
        for piece in text.as_bytes().chunks(size) {
            stream.write_all(piece).await.unwrap();
            tokio::task::yield_now().await;
        }
        assert_eq!(statuses(&read_to_close(&mut stream).await), [200; 4]);
        assert_eq!(server.echo.seen().split_off(server.echo.seen().len() - 4), wanted);
    }
}

#[tokio::test]
async fn a_large_body_arrives_whole() {
    let server = Server::start(Limits::default()).await;
    let body = "0123456789abcdef".repeat(1 << 16);
    let close = "Connection: close\r\n";
    let counted =
        format!("POST /a HTTP/1.1\r\n{HOST}{close}Content-Length: {}\r\n\r\n{body}", body.len());
    let chunk = format!("{:x}\r\n{body}\r\n", body.len());
    let chunked = format!(
        "POST /a HTTP/1.1\r\n{HOST}{close}Transfer-Encoding: chunked\r\n\r\n{chunk}{chunk}0\r\n\r\n"
    );
    assert!(server.exchange(&[&counted]).await.contains("POST /a 1048576 "));
    assert!(server.exchange(&[&chunked]).await.contains("POST /a 2097152 "));
}

#[tokio::test]
async fn sizes_have_their_own_statuses() {
    let server = Server::start(Limits::default()).await;
    let uri = format!("GET /{} HTTP/1.1\r\n{HOST}\r\n", "a".repeat(8192));
    let many = format!("GET /a HTTP/1.1\r\n{HOST}{}\r\n", "X: y\r\n".repeat(100));
    let large = format!("GET /a HTTP/1.1\r\n{HOST}X: {}\r\n\r\n", "y".repeat(32 * 1024));
    for (text, status) in [(&uri, 414), (&many, 431), (&large, 431)] {
        let answer = server.exchange(&[&format!("{text}{SMUGGLED}")]).await;
        assert_eq!(statuses(&answer), [status]);
    }
    let fits = format!(
        "GET /{} HTTP/1.1\r\n{HOST}Connection: close\r\n{}X: {}\r\n\r\n",
        "a".repeat(8191),
        "X: y\r\n".repeat(97),
        "y".repeat(23 * 1024)
    );
    assert_eq!(statuses(&server.exchange(&[&fits]).await), [200]);
}

#[tokio::test]
async fn trace_and_connect_reach_the_handler() {
    let server = Server::start(Limits::default()).await;
    let trace = format!("TRACE / HTTP/1.1\r\n{HOST}Connection: close\r\n\r\n");
    assert!(server.exchange(&[&trace]).await.contains("TRACE / 0"));
    let connect = format!("CONNECT 127.0.0.1:1 HTTP/1.1\r\n{HOST}\r\n{SMUGGLED}");
    assert_eq!(statuses(&server.exchange(&[&connect]).await).len(), 1);
    assert!(server.echo.seen().iter().all(|seen| !seen.contains("smuggled")));
}

#[tokio::test]
async fn an_answer_overtakes_the_rest_of_a_refused_body() {
    let server = Server::start(Limits::default()).await;
    let body = "x".repeat(600_000);
    for start in [
        format!("POST /a HTTP/1.1\r\n{HOST}{HOST}Content-Length: 600000\r\n\r\n"),
        format!(
            "POST /early HTTP/1.1\r\n{HOST}Connection: close\r\nContent-Length: 600000\r\n\r\n"
        ),
    ] {
        let mut stream = server.connect().await;
        stream.write_all(format!("{start}{body}").as_bytes()).await.unwrap();
        sleep(Duration::from_millis(50)).await;
        assert_eq!(statuses(&read_to_close(&mut stream).await).len(), 1);
    }
}
