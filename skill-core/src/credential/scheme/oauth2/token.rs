//! Reading the answer of a token endpoint (RFC 6749 section 5), strictly about what is dangerous
//! and leniently about what providers get wrong.

use std::time::Duration;

use http::{StatusCode, header};
use jiff::Timestamp;
use serde_json::{Map, Value};
use url::form_urlencoded;

use crate::{
    credential::{Answer, Credential, Step},
    error::{Error, ErrorKind, Result, Retry},
};

/// The largest answer that is read.
const LARGEST: usize = 64 * 1024;
/// The longest life that is believed.
const LONGEST_LIFE: u64 = 10 * 365 * 24 * 3600;

/// Says what the answer means. A renewal keeps from `old` what the answer leaves out: the refresh
/// token, the scopes and the lifetime.
pub(super) fn read(answer: &Answer, now: Timestamp, old: Option<&Credential>) -> Result<Step> {
    if answer.status.is_server_error() || answer.body.len() > LARGEST {
        return Err(unusable("a server error or an oversized answer", answer.status));
    }
    let Some(members) = members(answer) else {
        return Err(unusable("an answer that is neither JSON nor a form", answer.status));
    };
    // Some providers say no with status 200.
    if let Some(error) = members.get("error") {
        return refusal(error.as_str().unwrap_or_default(), answer.status);
    }
    if !answer.status.is_success() {
        return Err(unusable("a refusal without a reason", answer.status));
    }
    let Some(access) = text(&members, "access_token").filter(|token| is_token(token)) else {
        return Err(unusable("an answer without a usable access token", answer.status));
    };
    let refresh = match text(&members, "refresh_token") {
        Some(token) if !is_token(token) => {
            return Err(unusable("an unusable refresh token", answer.status));
        }
        Some(token) => Some(token),
        None => old.and_then(|old| old.find("refresh_token")),
    };
    let mut credential = Credential::new([("access_token", access.into())]);
    if let Some(refresh) = refresh {
        credential.put("refresh_token", refresh.into());
    }
    credential.lifetime = life(&members).or_else(|| old.and_then(|old| old.lifetime));
    credential.expires_at = credential.lifetime.and_then(|life| now.checked_add(life).ok());
    credential.scopes = match text(&members, "scope") {
        Some(text) => scopes(text),
        None => old.map(|old| old.scopes.clone()).unwrap_or_default(),
    };
    Ok(Step::Done(credential))
}

/// What an error code of RFC 6749 section 5.2 means for the connection.
fn refusal(code: &str, status: StatusCode) -> Result<Step> {
    match code {
        // The second is GitHub's name for it.
        "invalid_grant" | "bad_refresh_token" => {
            Ok(Step::Reconnect("the provider no longer accepts this grant"))
        }
        "invalid_client" | "unauthorized_client" | "incorrect_client_credentials" => {
            Err(unusable("a refusal of our OAuth client: check its id and secret", status))
        }
        _ => Err(unusable("a refusal", status)),
    }
}

/// Says whether the token is revoked: RFC 7009 section 2.2 has 200 for one that was unknown, too.
pub(super) fn revoked(answer: &Answer) -> Result<Step> {
    if answer.status.is_success() {
        return Ok(Step::Done(Credential::default()));
    }
    Err(unusable("a refusal to revoke", answer.status))
}

/// The token endpoint's trouble, which is not the connection's: the grant stays.
fn unusable(what: &'static str, status: StatusCode) -> Error {
    let message = "the service's token endpoint gave no usable answer";
    Error::new(ErrorKind::UpstreamUnreachable, message)
        .retry(Retry::Never)
        .with("token_endpoint", what)
        .with("status", status)
}

/// The members of the answer: a JSON object, or a form as some providers send.
fn members(answer: &Answer) -> Option<Map<String, Value>> {
    if let Ok(Value::Object(members)) = serde_json::from_slice(&answer.body) {
        return Some(members);
    }
    let kind = answer.headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    if !kind.starts_with("application/x-www-form-urlencoded") {
        return None;
    }
    let pairs = form_urlencoded::parse(&answer.body);
    Some(
        pairs.map(|(name, value)| (name.into_owned(), Value::String(value.into_owned()))).collect(),
    )
}

fn text<'a>(members: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    members.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())
}

/// `expires_in`, in seconds, as a number or as text.
fn life(members: &Map<String, Value>) -> Option<Duration> {
    let seconds = match members.get("expires_in")? {
        Value::Number(number) => number.as_u64().or_else(|| number.as_f64().map(|n| n as u64))?,
        Value::String(text) => text.trim().parse().ok()?,
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
    };
    // Zero means "does not end" where providers send it at all.
    (seconds > 0).then(|| Duration::from_secs(seconds.min(LONGEST_LIFE)))
}

/// Scopes between spaces (RFC 6749 section 3.3) or commas.
pub(super) fn scopes(text: &str) -> Vec<String> {
    text.split([' ', ',']).filter(|scope| !scope.is_empty()).map(str::to_owned).collect()
}

/// Whether a token holds only the characters of RFC 6749 appendix A.12, and is not endless.
fn is_token(token: &str) -> bool {
    token.len() <= 16 * 1024 && token.bytes().all(|byte| (0x20..=0x7e).contains(&byte))
}
