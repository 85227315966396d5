//! Headers of requests that run something, the same in every dialect.

use http::{HeaderMap, HeaderName};
use skill_core::Error;

/// Says that an answer was given before.
pub(crate) const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// Says at the raw door whose answer it is: the service's, or ours.
pub(crate) const ANSWERED_BY: HeaderName = HeaderName::from_static("skill-answered-by");
/// An answer of the service.
pub(crate) const SERVICE: &str = "service";
/// An answer of ours.
pub(crate) const OURS: &str = "skill";
/// The run that an answer belongs to, where no body of ours can say it.
pub(crate) const EXECUTION: HeaderName = HeaderName::from_static("skill-execution");

/// The parameters of a call whose body is a file, as JSON.
pub(crate) const PARAMS: HeaderName = HeaderName::from_static("skill-params");
/// What that file is called, percent-encoded where it is not ASCII.
pub(crate) const FILE_NAME: HeaderName = HeaderName::from_static("skill-filename");

/// Names the connection of a call, by id or label.
const CONNECTION: HeaderName = HeaderName::from_static("skill-connection");
const KEYS: [HeaderName; 2] =
    [HeaderName::from_static("idempotency-key"), HeaderName::from_static("x-idempotency-key")];

/// The connection that the body or the header names; both may, if they agree.
pub(crate) fn named_connection(
    body: Option<String>,
    headers: &HeaderMap,
) -> Result<Option<String>, Error> {
    let header = single(headers, &CONNECTION)?;
    match (body, header) {
        (Some(body), Some(header)) if body != header => {
            let message = "the body and the header Skill-Connection name different connections";
            Err(Error::invalid(message))
        }
        (body, header) => Ok(body.or(header)),
    }
}

pub(crate) fn single(headers: &HeaderMap, name: &HeaderName) -> Result<Option<String>, Error> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(Error::invalid(format!("expected the header {name} once")));
    }
    let text = |value: &http::HeaderValue| {
        let text = value.to_str().map(str::to_owned);
        text.map_err(|_| Error::invalid(format!("expected visible ASCII in the header {name}")))
    };
    first.map(text).transpose()
}

/// The idempotency key, from either header. `"k"` and `k` are the same.
pub(crate) fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Error> {
    let mut found = None;
    for name in &KEYS {
        let Some(text) = single(headers, name)? else { continue };
        let text = text.trim();
        let bare = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text);
        let fits = (1..=255).contains(&bare.len()) && bare.bytes().all(|b| b.is_ascii_graphic());
        if !fits {
            let message = "expected an idempotency key of 1 to 255 visible ASCII characters";
            return Err(Error::invalid(message));
        }
        if found.as_deref().is_some_and(|other| other != bare) {
            return Err(Error::invalid("the two idempotency headers differ"));
        }
        found = Some(bare.to_owned());
    }
    Ok(found)
}
