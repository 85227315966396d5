//! Headers of requests that run something, the same in every dialect.

use http::{HeaderMap, HeaderName};
use skill_core::{
    Error,
    id::{ExecutionId, Raw},
    name::AgentId,
};

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

/// Says which of its preferences a request was given (RFC 7240 section 3).
pub(crate) const APPLIED: HeaderName = HeaderName::from_static("preference-applied");
const PREFER: HeaderName = HeaderName::from_static("prefer");
/// Names the agent that acts.
const AGENT: HeaderName = HeaderName::from_static("skill-agent");
/// Names the conversation in which a run follows.
const CONVERSATION: HeaderName = HeaderName::from_static("skill-conversation");

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

/// The agent that the header names.
pub(crate) fn named_agent(headers: &HeaderMap) -> Result<Option<AgentId>, Error> {
    single(headers, &AGENT)?.map(|name| AgentId::parse(&name)).transpose()
}

/// The conversation that the header names, by the run that began it.
pub(crate) fn named_conversation(headers: &HeaderMap) -> Result<Option<ExecutionId>, Error> {
    let Some(named) = single(headers, &CONVERSATION)? else { return Ok(None) };
    let id = named.strip_prefix("conv_").and_then(Raw::parse).map(ExecutionId::from_raw);
    let unknown = || Error::not_found("there is no conversation with this id");
    id.map(Some).ok_or_else(unknown)
}

/// How many seconds the request would wait for an answer, as `Prefer: wait=N`. What cannot be read
/// is no preference, and of several the first counts (RFC 7240 section 2).
pub(crate) fn preferred_wait(headers: &HeaderMap) -> Option<u64> {
    let values = headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
    let wishes = values.flat_map(|value| value.split(','));
    let mut waits = wishes.filter_map(|wish| {
        let (name, value) = wish.split(';').next()?.split_once('=')?;
        name.trim().eq_ignore_ascii_case("wait").then(|| value.trim().trim_matches('"'))
    });
    let wait = waits.next()?;
    wait.bytes().all(|byte| byte.is_ascii_digit()).then(|| wait.parse().ok())?
}

fn single(headers: &HeaderMap, name: &HeaderName) -> Result<Option<String>, Error> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_one_wish_among_others() {
        let wait = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            values.iter().for_each(|value| drop(headers.append(PREFER, value.parse().unwrap())));
            preferred_wait(&headers)
        };
        assert_eq!(wait(&[]), None);
        assert_eq!(wait(&["wait=10"]), Some(10));
        assert_eq!(wait(&["respond-async, Wait = 10; foo=bar"]), Some(10));
        assert_eq!(wait(&["handling=lenient", "wait=\"3\""]), Some(3));
        assert_eq!(wait(&["wait=5, wait=9"]), Some(5));
        for none in ["wait", "wait=", "wait=-1", "wait=1s", "waits=4", "wait=99999999999999999999"]
        {
            assert_eq!(wait(&[none]), None, "{none}");
        }
    }
}
