//! Clients: an ordinary one, and one that sends exact bytes.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::TestServer;

/// How long a test waits for what should happen at once.
pub(crate) const SOON: Duration = Duration::from_secs(10);

/// A client that follows nothing and decodes nothing.
pub(crate) fn plain() -> reqwest::Client {
    builder().build().unwrap()
}

/// A client that speaks HTTP/2 from the first byte.
pub(crate) fn http2() -> reqwest::Client {
    builder().http2_prior_knowledge().build().unwrap()
}

fn builder() -> reqwest::ClientBuilder {
    let none = reqwest::redirect::Policy::none();
    reqwest::Client::builder().redirect(none).no_proxy().gzip(false).timeout(SOON)
}

/// A request that is being put together.
#[must_use]
pub(crate) struct Ask(pub(crate) reqwest::RequestBuilder);

impl Ask {
    pub(crate) fn key(self, key: &str) -> Self {
        self.header("authorization", &format!("Bearer {key}"))
    }

    pub(crate) fn header(self, name: &str, value: &str) -> Self {
        Self(self.0.header(name, value))
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.header("content-type", "application/json").body(body.to_string())
    }

    pub(crate) fn form(self, fields: &[(&str, &str)]) -> Self {
        let body =
            url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        self.header("content-type", "application/x-www-form-urlencoded").body(body)
    }

    pub(crate) fn body(self, body: impl Into<Bytes>) -> Self {
        Self(self.0.body(body.into()))
    }

    pub(crate) async fn send(self) -> Answer {
        let answer = self.0.send().await.unwrap();
        let (status, headers) = (answer.status(), answer.headers().clone());
        Answer { status, headers, body: answer.bytes().await.unwrap() }
    }
}

impl Ask {
    /// Sends, and reads server-sent events as they come.
    pub(crate) async fn follow(self) -> Events {
        let answer = self.0.send().await.unwrap();
        let (status, headers) = (answer.status(), answer.headers().clone());
        Events { status, headers, answer, text: String::new() }
    }
}

/// Server-sent events while they come.
pub(crate) struct Events {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    answer: reqwest::Response,
    text: String,
}

impl Events {
    /// What comes next, an event or a comment, without the empty line behind it; `None` at the end.
    pub(crate) async fn next_block(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.text = rest;
                return Some(block);
            }
            let chunk = timeout(SOON, self.answer.chunk()).await.expect("something comes");
            self.text.push_str(std::str::from_utf8(&chunk.unwrap()?).unwrap());
        }
    }

    /// The next event: its name and its data. Comments are left out.
    pub(crate) async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            let block = self.next_block().await?;
            let Some(rest) = block.strip_prefix("event: ") else { continue };
            let (name, data) = rest.split_once('\n').unwrap();
            let data = data.lines().map(|line| line.strip_prefix("data: ").unwrap());
            let data = data.collect::<Vec<_>>().join("\n");
            return Some((name.to_owned(), serde_json::from_str(&data).unwrap()));
        }
    }
}

/// An answer, read to its end.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.text()))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.to_vec()).unwrap()
    }

    /// A header; empty when there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Checks status and error code.
    #[track_caller]
    pub(crate) fn is_error(&self, status: u16, code: &str) -> Value {
        let body = self.json();
        assert_eq!((self.status.as_u16(), body["error"].as_str()), (status, Some(code)), "{body}");
        assert!(body["message"].as_str().is_some_and(|text| !text.is_empty()), "{body}");
        body
    }

    /// Checks status and error code in the shape of *tools*; returns the member `error`.
    #[track_caller]
    pub(crate) fn is_tools_error(&self, status: u16, code: &str) -> Value {
        let body = self.json();
        let error = body["error"].clone();
        let found = (self.status.as_u16(), error["code"].as_str());
        assert_eq!(found, (status, Some(code)), "{body}");
        for member in ["message", "suggestion", "support"] {
            assert!(error[member].as_str().is_some_and(|text| !text.is_empty()), "{body}");
        }
        assert!(error["details"].is_object() && error["retryable"].is_boolean(), "{body}");
        error
    }

    /// A page that says yes.
    #[track_caller]
    pub(crate) fn ok_page(&self) {
        assert_eq!(self.status.as_u16(), 200, "{}", self.text());
        assert!(self.header("content-type").starts_with("text/html"));
    }

    /// A page that says no.
    #[track_caller]
    pub(crate) fn is_page(&self, status: u16) {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        assert!(self.header("content-type").starts_with("text/html"));
        assert!(self.header("content-security-policy").contains("frame-ancestors 'none'"));
        assert_eq!(self.header("set-cookie"), "");
    }

    /// Checks the status and returns the body.
    #[track_caller]
    pub(crate) fn ok(&self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        if self.body.is_empty() { Value::Null } else { self.json() }
    }
}

impl TestServer {
    /// Sends exactly these bytes and returns all that comes until the close.
    pub(crate) async fn raw(&self, bytes: impl AsRef<[u8]>) -> String {
        self.raw_pieces(&[bytes.as_ref()]).await
    }

    /// Sends pieces one after the other.
    pub(crate) async fn raw_pieces(&self, pieces: &[&[u8]]) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        for piece in pieces {
            // A refused request may be answered and closed before its last piece.
            let _ = stream.write_all(piece).await;
        }
        read_to_close(&mut stream).await
    }

    /// Sends one request with this host and these further header lines, and closes.
    pub(crate) async fn raw_head(&self, line: &str, host: &str, fields: &str) -> String {
        let head = format!("{line} HTTP/1.1\r\nHost: {host}\r\n{fields}Connection: close\r\n\r\n");
        self.raw(head).await
    }
}

/// Reads until the server closes.
pub(crate) async fn read_to_close(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut answer = Vec::new();
    let read = timeout(SOON, stream.read_to_end(&mut answer)).await;
    read.expect("the server closes").unwrap();
    String::from_utf8(answer).unwrap()
}

/// The status of an answer in text.
#[track_caller]
pub(crate) fn status(answer: &str) -> u16 {
    let word = answer.split(' ').nth(1).unwrap_or_else(|| panic!("no answer: {answer:?}"));
    word.parse().unwrap()
}

/// The body of an answer in text.
pub(crate) fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").map_or("", |(_, body)| body)
}

/// A header of an answer in text; empty when there is none.
pub(crate) fn header<'a>(answer: &'a str, name: &str) -> &'a str {
    let head = answer.split("\r\n\r\n").next().unwrap_or_default();
    let mut pairs = head.lines().filter_map(|line| line.split_once(": "));
    pairs.find(|(key, _)| key.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value)
}
