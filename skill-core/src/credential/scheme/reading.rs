//! Reading the answers of token endpoints and logins (RFC 6749 section 5), strictly about what is
//! dangerous and leniently about what providers get wrong.

use std::time::Duration;

use http::{HeaderMap, HeaderName, StatusCode, header};
use jiff::Timestamp;
use serde_json::{Map, Value};
use url::form_urlencoded;

use crate::{
    credential::{Answer, Credential, Field, Step, span::Unit},
    declaration::Table,
    error::{Error, ErrorKind, Result, Retry},
};

/// What stands before the name of a header where a pointer would stand.
const HEADER: &str = "header:";
/// The largest answer that is read.
const LARGEST: usize = 64 * 1024;
/// The longest life that is believed.
const LONGEST_LIFE: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// Error codes that say that a grant is gone. The second is GitHub's.
const GONE: [&str; 2] = ["invalid_grant", "bad_refresh_token"];

/// Where the parts of an answer stand, as JSON Pointers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reading {
    /// Secrets: the name, where it stands, whether it must be there.
    keep: Vec<(String, String, bool)>,
    /// Facts of the connection.
    capture: Vec<(Field, String)>,
    expires: Option<String>,
    unit: Unit,
    /// How long the access lives when the answer does not say.
    lifetime: Option<Duration>,
    scope: Option<String>,
    error: String,
    /// Further error codes that say that the grant is gone.
    gone: Vec<String>,
}

impl Reading {
    /// Reads the table of a token endpoint's answer; what it does not name stands where RFC 6749
    /// says.
    pub(super) fn token(table: Option<&Table<'_>>, fields: &[Field]) -> Self {
        let text = |key, standard: &str| {
            table.and_then(|table| pointer(table, key)).unwrap_or_else(|| standard.to_owned())
        };
        let mut reading = table.map_or_else(Self::nothing, |table| Self::declare(table, fields));
        let access = ("access_token".to_owned(), text("access_token", "/access_token"), true);
        let refresh = ("refresh_token".to_owned(), text("refresh_token", "/refresh_token"), false);
        reading.keep.extend([access, refresh]);
        reading.expires.get_or_insert_with(|| "/expires_in".to_owned());
        reading.scope = Some(text("scope", "/scope"));
        if let Some(table) = table {
            table.end();
        }
        reading
    }

    fn nothing() -> Self {
        Self {
            keep: Vec::new(),
            capture: Vec::new(),
            expires: None,
            unit: Unit::Milliseconds(1000),
            lifetime: None,
            scope: None,
            error: "/error".to_owned(),
            gone: Vec::new(),
        }
    }

    /// Reads the members of a table that say what is in an answer.
    pub(super) fn declare(table: &Table<'_>, fields: &[Field]) -> Self {
        let mut reading = Self::nothing();
        if let Some(keep) = table.table("keep") {
            let all =
                keep.keys().filter_map(|key| Some((key.to_owned(), place(&keep, key)?, true)));
            reading.keep = all.collect();
        }
        if let Some(capture) = table.table("capture") {
            for key in capture.keys() {
                let field = fields.iter().find(|field| field.name == key);
                match (field, pointer(&capture, key)) {
                    (Some(field), Some(at)) => reading.capture.push((field.clone(), at)),
                    (None, _) => capture.problem(key, format!("there is no field `{key}`")),
                    (Some(_), None) => {}
                }
            }
        }
        reading.expires = pointer(table, "expires");
        reading.unit = Unit::declare(table, "expires_unit");
        let lifetime = table.count("lifetime_s");
        reading.lifetime = lifetime.map(|seconds| Duration::from_secs(u64::from(seconds)));
        if let Some(at) = pointer(table, "error") {
            reading.error = at;
        }
        reading.gone = table.texts("gone").into_iter().map(str::to_owned).collect();
        reading
    }

    /// The names of the secrets that it keeps.
    pub(super) fn kept(&self) -> impl Iterator<Item = &str> {
        self.keep.iter().map(|(name, _, _)| name.as_str())
    }

    /// The names of the facts that it finds out.
    pub(super) fn captured(&self) -> impl Iterator<Item = &str> {
        self.capture.iter().map(|(field, _)| field.name.as_str())
    }

    /// Says what the answer means. What it leaves out stays as it is in `known`: the refresh token,
    /// the scopes and the lifetime.
    pub(super) fn read(&self, answer: &Answer, now: Timestamp, known: &Credential) -> Result<Step> {
        if answer.status.is_server_error() || answer.body.len() > LARGEST {
            return Err(unusable("a server error or an oversized answer", answer.status));
        }
        let in_headers =
            self.capture.is_empty() && self.keep.iter().all(|(_, at, _)| at.starts_with(HEADER));
        let said = match said(answer) {
            Some(said) => said,
            None if in_headers && answer.status.is_success() => Value::Null,
            None => {
                let what = "an answer that is neither JSON nor a form";
                return Err(unusable(what, answer.status));
            }
        };
        // Some providers say no with status 200.
        if let Some(code) = said.pointer(&self.error).and_then(error_code) {
            return self.refusal(&code, answer.status);
        }
        if !answer.status.is_success() {
            return Err(unusable("a refusal without a reason", answer.status));
        }
        let mut credential = known.clone();
        for (name, at, is_required) in &self.keep {
            let token = match at.strip_prefix(HEADER) {
                Some(name) => headed(&answer.headers, name),
                None => said.pointer(at).and_then(Value::as_str).map(str::to_owned),
            };
            match token.filter(|text| !text.is_empty()) {
                Some(token) if is_token(&token) => credential.put(name, token.into()),
                None if !is_required => {}
                Some(_) | None => {
                    return Err(unusable("an answer without a usable token", answer.status));
                }
            }
        }
        for (field, at) in &self.capture {
            let value = said.pointer(at).and_then(text).map(|text| field.normal(&text));
            match value {
                Some(Ok(value)) => _ = credential.facts.insert(field.name.clone(), value),
                Some(Err(_)) => {
                    return Err(unusable("a fact that does not fit its field", answer.status));
                }
                None => {}
            }
        }
        self.end(&said, now, &mut credential);
        if let Some(text) = self.scope.as_ref().and_then(|at| said.pointer(at)).and_then(text) {
            credential.scopes = scopes(&text);
        }
        Ok(Step::Done(credential))
    }

    /// Notes when the access ends. An answer that has nothing to do with it changes nothing.
    fn end(&self, said: &Value, now: Timestamp, credential: &mut Credential) {
        if self.expires.is_none() && self.lifetime.is_none() && self.keep.is_empty() {
            return;
        }
        let told = self.expires.as_ref().and_then(|at| self.life(said.pointer(at)?, now));
        let life = told.or(self.lifetime).or(credential.lifetime);
        credential.lifetime = life;
        credential.expires_at = life.and_then(|life| now.checked_add(life).ok());
    }

    /// How long the access lives.
    fn life(&self, value: &Value, now: Timestamp) -> Option<Duration> {
        let text = match value {
            Value::Number(number) => number.to_string(),
            Value::String(text) => text.clone(),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
        };
        let life = match (self.unit.span(&text, now)?, self.unit) {
            // What is over already is over, and not unlimited.
            (Duration::ZERO, Unit::Time) => Duration::from_millis(1),
            (life, _) => life,
        };
        // Zero means "does not end" where providers send it at all.
        (!life.is_zero()).then(|| life.min(LONGEST_LIFE))
    }

    /// What an error code of RFC 6749 section 5.2 means for the connection.
    fn refusal(&self, code: &str, status: StatusCode) -> Result<Step> {
        if GONE.contains(&code) || self.gone.iter().any(|gone| gone == code) {
            return Ok(Step::Reconnect("the provider no longer accepts this grant"));
        }
        match code {
            "invalid_client" | "unauthorized_client" | "incorrect_client_credentials" => {
                Err(unusable("a refusal of our OAuth client: check its id and secret", status))
            }
            _ => Err(unusable("a refusal", status)),
        }
    }
}

/// A JSON Pointer under a key, or the name of a header.
fn place(table: &Table<'_>, key: &str) -> Option<String> {
    let text = table.text(key)?;
    let Some(name) = text.strip_prefix(HEADER) else { return pointer(table, key) };
    let name = HeaderName::try_from(name);
    let name = name.map_err(|_| table.problem(key, format!("`{key}`: `{text}` is no header")));
    name.ok().map(|name| format!("{HEADER}{name}"))
}

/// What a header says; of cookies the names and values, as they go back (RFC 6265 section 5.4).
fn headed(headers: &HeaderMap, name: &str) -> Option<String> {
    let texts = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    if name != header::SET_COOKIE.as_str() {
        return texts.into_iter().next().map(str::to_owned);
    }
    let pairs = texts.filter_map(|text| text.split(';').next()).map(str::trim);
    let pairs = pairs.collect::<Vec<_>>();
    (!pairs.is_empty()).then(|| pairs.join("; "))
}

/// A JSON Pointer under a key.
fn pointer(table: &Table<'_>, key: &str) -> Option<String> {
    let text = table.text(key)?;
    if !text.starts_with('/') {
        table.problem(key, format!("`{key}`: expected a JSON Pointer such as `/data/token`"));
    }
    Some(text.to_owned())
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

/// What the answer says: JSON, or a form as some providers send.
fn said(answer: &Answer) -> Option<Value> {
    if let Ok(said @ (Value::Object(_) | Value::Array(_))) = serde_json::from_slice(&answer.body) {
        return Some(said);
    }
    let kind = answer.headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    if !kind.starts_with("application/x-www-form-urlencoded") {
        return None;
    }
    let pairs = form_urlencoded::parse(&answer.body);
    let pairs = pairs.map(|(name, value)| (name.into_owned(), value.into_owned().into()));
    Some(Value::Object(pairs.collect::<Map<_, _>>()))
}

/// The error that an answer names; what stands for "none" is none.
fn error_code(value: &Value) -> Option<String> {
    match value {
        Value::Null | Value::Bool(false) => None,
        Value::Number(number) if number.as_i64() == Some(0) => None,
        Value::String(code) if code.is_empty() || code == "0" => None,
        Value::String(code) => Some(code.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(true) | Value::Array(_) | Value::Object(_) => Some(String::new()),
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()).filter(|text| !text.is_empty()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Scopes between spaces (RFC 6749 section 3.3) or commas.
pub(super) fn scopes(text: &str) -> Vec<String> {
    text.split([' ', ',']).filter(|scope| !scope.is_empty()).map(str::to_owned).collect()
}

/// Whether a token holds only the characters of RFC 6749 appendix A.12, and is not endless.
fn is_token(token: &str) -> bool {
    token.len() <= 16 * 1024 && token.bytes().all(|byte| (0x20..=0x7e).contains(&byte))
}
