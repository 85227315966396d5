//! Fetching what a caller named.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use url::Url;

use crate::{
    error::{Error, ErrorKind, Result, Retry},
    skill::SkillContext,
    transport::{Outgoing, Payload},
};

/// The longest address, in characters.
const LONGEST: usize = 2_048;

/// An answer, read to its end.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// Reads the address that `field` holds.
pub(super) fn address(field: &str, text: &str) -> Result<Url> {
    let url = Url::parse(text).ok().filter(|_| text.chars().count() <= LONGEST);
    let url = url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    url.ok_or_else(|| {
        let expected =
            "expected a URL such as https://example.com/path, of at most 2048 characters";
        Error::invalid("the address cannot be used").detail(field, expected)
    })
}

/// A request that says who we are.
pub(super) fn request(method: Method, url: Url) -> Outgoing {
    let mut request = Outgoing::new(method, url);
    let agent = HeaderValue::from_static(concat!("skill/", env!("CARGO_PKG_VERSION")));
    request.headers.insert(header::USER_AGENT, agent);
    request
}

/// A POST of JSON.
pub(super) fn post(url: Url, headers: HeaderMap, body: Bytes) -> Outgoing {
    let mut request = request(Method::POST, url);
    request.headers.extend(headers);
    request.body = Payload::Bytes(body);
    request
}

/// Sends a request, and reads at most `most` bytes of the answer.
///
/// # Errors
/// [`ErrorKind::InvalidInput`] naming `field` for an address that may not be reached; otherwise as
/// [`SkillContext::fetch`].
pub(super) async fn fetch(
    context: &SkillContext,
    (field, request): (&str, Outgoing),
    (timeout, most): (Duration, usize),
) -> Result<Answer> {
    let answer = context.fetch(request, timeout).await.map_err(|error| refused(field, error))?;
    let (status, headers) = (answer.status, answer.headers);
    Ok(Answer { status, headers, body: answer.body.collect(most).await? })
}

/// An address that the rules forbid is a fault of whoever named it.
pub(super) fn refused(field: &str, error: Error) -> Error {
    if error.kind() != ErrorKind::UpstreamUnreachable || error.retry_state() != Retry::Never {
        return error;
    }
    let issue = error.message().trim_start_matches("the service cannot be reached: ").to_owned();
    Error::invalid("the address cannot be reached").detail(field, issue)
}
