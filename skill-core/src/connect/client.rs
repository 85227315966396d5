//! Trying an OAuth client out before anybody connects through it.

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value;
use url::form_urlencoded;

use super::Connector;
use crate::{
    clock::Deadline,
    credential::{Client, Exchange, Purpose, Step},
    error::Result,
    name::Slug,
    record::connection::Fields,
};

/// How long the provider may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The largest answer that is read.
const ANSWER: usize = 64 * 1024;
/// What is handed in as code: no provider gave it to anybody.
const CODE: &str = "skill-setup-tries-the-client";
/// As long as a PKCE verifier has to be.
const VERIFIER: &str = "skill-setup-tries-the-client-skill-setup-tries-the-client";

/// What providers say about a client that they do not know, RFC 6749's word first.
const UNKNOWN: [&str; 7] = [
    "invalid_client",
    "unauthorized_client",
    "incorrect_client_credentials",
    "invalid_client_id",
    "invalid_client_secret",
    "bad_client_secret",
    "bad_client_id",
];
/// What they say when the client is right and the code is not.
const KNOWN: [&str; 4] = ["invalid_grant", "bad_verification_code", "invalid_code", "bad_code"];

/// What a provider makes of a client.
///
/// ```
/// assert_ne!(skill_core::connect::Tried::Known, skill_core::connect::Tried::Unclear);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tried {
    /// The provider knows it, with this secret.
    Known,
    /// The provider does not know it, or its secret is another.
    Unknown,
    /// The provider does not say, or was not reached: connecting will tell.
    Unclear,
}

impl Connector {
    /// Asks the provider for access with a code that nobody has: a provider that follows RFC 6749
    /// looks at the client first, and says which of the two is wrong. Nothing can come of it.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) for an unknown integration.
    pub async fn try_client(&self, slug: &Slug, client: &Client) -> Result<Tried> {
        let integration = self.known(slug)?;
        let (fields, returned) = (Fields::new(), BTreeMap::new());
        let exchange = Exchange {
            client: Some(client),
            fields: &fields,
            scopes: &[],
            redirect_url: self.links.pages().callback.as_str(),
            purpose: Purpose::Code { code: CODE, verifier: VERIFIER, returned: &returned },
            at: self.moment()?,
        };
        // A token endpoint that needs fields of a connection cannot be asked without one.
        let Ok(Step::Send(request, _)) = integration.auth().next(&exchange, None) else {
            return Ok(Tried::Unclear);
        };
        let sent = self.executor.transport.send(request, Deadline::after(PATIENCE)).await;
        let Ok(answer) = sent else { return Ok(Tried::Unclear) };
        let body = answer.body.collect(ANSWER).await.unwrap_or_default();
        Ok(judge(&body))
    }
}

/// Finds a known word in an answer, wherever the provider puts it.
fn judge(body: &[u8]) -> Tried {
    let mut words = Vec::new();
    match serde_json::from_slice::<Value>(body) {
        Ok(Value::Object(said)) => {
            let texts = said.into_iter().flat_map(|(_, value)| match value {
                Value::String(text) => vec![text],
                Value::Object(inner) => {
                    inner.into_iter().filter_map(|(_, v)| v.as_str().map(str::to_owned)).collect()
                }
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => Vec::new(),
            });
            words.extend(texts);
        }
        Ok(_) => {}
        Err(_) => words.extend(form_urlencoded::parse(body).map(|(_, value)| value.into_owned())),
    }
    let says = |known: &[&str]| words.iter().any(|word| known.contains(&word.as_str()));
    match (says(&UNKNOWN), says(&KNOWN)) {
        (true, _) => Tried::Unknown,
        (false, true) => Tried::Known,
        (false, false) => Tried::Unclear,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_providers_are_understood() {
        for (body, means) in [
            (r#"{"error":"invalid_client"}"#, Tried::Unknown),
            (r#"{"error":"invalid_grant","error_description":"x"}"#, Tried::Known),
            (r#"{"ok":false,"error":"bad_client_secret"}"#, Tried::Unknown),
            (r#"{"error":{"type":"invalid_client"}}"#, Tried::Unknown),
            ("error=bad_verification_code&error_description=y", Tried::Known),
            ("<html>", Tried::Unclear),
            ("[1]", Tried::Unclear),
            ("", Tried::Unclear),
        ] {
            assert_eq!(judge(body.as_bytes()), means, "{body}");
        }
    }
}
