//! `webhook-trigger`: a message to somebody's address, as Standard Webhooks has them.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use super::{form, reach};
use crate::{
    error::{Error, Result, Retry},
    record::execution::Class,
    skill::{Skill, SkillContext, from_fn},
    tool::Category,
    webhook::sign,
};

/// How long a receiver may take.
const TIMEOUT: Duration = Duration::from_secs(15);
/// The most bytes of its answer that are read.
const ANSWER: usize = 64 << 10;
/// The pauses between attempts, in seconds: there is one attempt more.
const PAUSES: [u64; 3] = [2, 10, 60];

#[derive(Deserialize, JsonSchema)]
struct Input {
    /// Where it goes: a public address.
    url: String,
    /// What is sent, as JSON.
    payload: Value,
    /// What it is signed with: `whsec_` and the base64 of 24 to 64 bytes.
    #[serde(default)]
    secret: Option<String>,
}

/// How a delivery ended.
#[derive(Serialize, JsonSchema)]
pub(super) struct Delivered {
    /// The status of the receiver's last answer.
    pub(super) status: u16,
    /// How often it was sent.
    pub(super) attempts: u32,
    /// Whether the receiver took it.
    pub(super) delivered: bool,
}

pub(super) fn skill() -> Result<Arc<dyn Skill>> {
    from_fn("automation", "v1.0", "webhook-trigger", run)
        .summary("Send a signed message to a URL, several times if need be")
        .class(Class::Write)
        .timeout(Duration::from_secs(180))
        .tool(form("webhook-trigger", Category::Automation)?)
        .build()
}

async fn run(context: SkillContext, input: Input) -> Result<Delivered> {
    let url = reach::address("url", &input.url)?;
    let body = serde_json::to_vec(&input.payload).map_err(Error::internal)?.into();
    let secret = secret(input.secret)?;
    deliver(&context, (&url, body), secret.as_ref()).await
}

/// The secret that `secret` is.
pub(super) fn secret(text: Option<String>) -> Result<Option<SecretString>> {
    let Some(secret) = text.map(SecretString::from) else { return Ok(None) };
    let checked = sign::check_secret(&secret);
    let wrong = |issue| Error::invalid("the secret cannot be used").detail("secret", issue);
    checked.map_err(wrong).map(|()| Some(secret))
}

/// The identifier of the message, the same over all attempts.
pub(super) fn message(context: &SkillContext) -> String {
    format!("msg_{}", context.run().id)
}

/// Sends a message until the receiver says what it makes of it. What was cut after it had gone out
/// is not sent again.
pub(super) async fn deliver(
    context: &SkillContext,
    (url, body): (&Url, Bytes),
    secret: Option<&SecretString>,
) -> Result<Delivered> {
    let mut attempt = 1;
    loop {
        let send = || send(context, (url, body.clone()), secret);
        let sent = context.once(&format!("send {attempt}"), send).await;
        let pause = usize::try_from(attempt - 1).ok().and_then(|at| PAUSES.get(at));
        match (sent, pause) {
            (Ok(status), Some(_)) if asks_again(status) => {}
            (Ok(status), _) => {
                let delivered = (200..300).contains(&status);
                return Ok(Delivered { status, attempts: attempt, delivered });
            }
            (Err(error), Some(_)) if error.retry_state() == Retry::Safe => {}
            (Err(error), _) => return Err(error),
        }
        context.sleep(Duration::from_secs(*pause.unwrap_or(&0))).await?;
        attempt += 1;
    }
}

/// Whether a receiver did not take a message that it may take later.
fn asks_again(status: u16) -> bool {
    matches!(status, 408 | 425 | 429 | 500..=599)
}

async fn send(
    context: &SkillContext,
    (url, body): (&Url, Bytes),
    secret: Option<&SecretString>,
) -> Result<u16> {
    let moment = context.now().as_second();
    let headers = match secret {
        Some(secret) => {
            sign::headers((&message(context), moment), &body, std::slice::from_ref(secret))?
        }
        None => unsigned(&message(context), moment)?,
    };
    let request = reach::post(url.clone(), headers, body);
    let limits = (TIMEOUT, ANSWER);
    let answer = context.fetch(request, limits.0).await.map_err(|e| reach::refused("url", e))?;
    let status = answer.status.as_u16();
    // What it says beside is nobody's business, and its length no reason to fail.
    drop(answer.body.collect(limits.1).await);
    Ok(status)
}

fn unsigned(id: &str, moment: i64) -> Result<HeaderMap> {
    let moment = moment.to_string();
    let pairs =
        [("content-type", "application/json"), ("webhook-id", id), ("webhook-timestamp", &moment)];
    let pairs = pairs.map(|(name, value)| {
        Ok((HeaderName::from_static(name), HeaderValue::try_from(value).map_err(Error::internal)?))
    });
    pairs.into_iter().collect()
}
