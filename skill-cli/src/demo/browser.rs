//! A browser of one tab that knows cookies and redirects, and nothing off this machine.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use tokio::net::TcpStream;
use url::{Host, Url};

use crate::wire;

/// How long one page may take.
const PAGE: Duration = Duration::from_secs(30);

/// Sends one request to a loopback address; nothing is followed.
pub(super) async fn send(
    method: Method,
    url: &Url,
    headers: HeaderMap,
    body: Bytes,
) -> anyhow::Result<Response<Bytes>> {
    let address = match (url.host(), url.port_or_known_default()) {
        (Some(Host::Ipv4(host)), Some(port)) if host.is_loopback() => (host, port),
        (_, _) => anyhow::bail!("the walk was led off this machine"),
    };
    let mut request = Request::builder()
        .method(method)
        .uri(&url[url::Position::BeforePath..url::Position::AfterQuery])
        .header(header::HOST, url.authority())
        .header(header::CONTENT_LENGTH, body.len());
    if let Some(all) = request.headers_mut() {
        all.extend(headers);
    }
    let stream = TcpStream::connect(address).await.context("nobody answers at the address")?;
    wire::exchange(stream, request.body(body)?, PAGE).await
}

/// A browser.
#[derive(Default)]
pub(super) struct Browser {
    /// `NAME=VALUE`, each with the authority that set it.
    cookies: Vec<(String, String)>,
}

impl Browser {
    /// Opens a page.
    pub(super) async fn open(&mut self, url: &Url) -> anyhow::Result<Response<Bytes>> {
        self.go(Method::GET, url).await
    }

    /// Presses the button of a page whose form has no fields and leads to the page itself; returns
    /// where the person is sent.
    pub(super) async fn press(&mut self, url: &Url) -> anyhow::Result<Url> {
        let answer = self.go(Method::POST, url).await?;
        redirect(url, &answer)
    }

    /// Opens a page that sends the person on.
    pub(super) async fn pass(&mut self, url: &Url) -> anyhow::Result<Url> {
        let answer = self.go(Method::GET, url).await?;
        redirect(url, &answer)
    }

    async fn go(&mut self, method: Method, url: &Url) -> anyhow::Result<Response<Bytes>> {
        let mut headers = HeaderMap::new();
        let mine = self.cookies.iter().filter(|(host, _)| host == url.authority());
        let cookies = mine.map(|(_, cookie)| cookie.as_str()).collect::<Vec<_>>().join("; ");
        if !cookies.is_empty() {
            headers.insert(header::COOKIE, HeaderValue::from_str(&cookies)?);
        }
        if method == Method::POST {
            let form = HeaderValue::from_static("application/x-www-form-urlencoded");
            headers.insert(header::CONTENT_TYPE, form);
        }
        let answer = send(method, url, headers, Bytes::new()).await?;
        for cookie in answer.headers().get_all(header::SET_COOKIE) {
            let pair = cookie.to_str()?.split(';').next().unwrap_or_default();
            self.cookies.push((url.authority().to_owned(), pair.trim().to_owned()));
        }
        Ok(answer)
    }
}

fn redirect(from: &Url, answer: &Response<Bytes>) -> anyhow::Result<Url> {
    let status = answer.status();
    ensure!(status == StatusCode::SEE_OTHER, "expected a redirect (303), got {status}");
    let to = answer.headers().get(header::LOCATION).context("a redirect leads nowhere")?;
    from.join(to.to_str()?).context("a redirect leads nowhere")
}
