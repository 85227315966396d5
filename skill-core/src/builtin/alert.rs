//! `alert-trigger`: somebody is told that something happened.

use std::{sync::Arc, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{form, reach, webhook};
use crate::{
    call::CallRequest,
    error::{Error, ErrorKind, Result},
    record::execution::Class,
    skill::{Skill, SkillContext, from_fn},
    tool::Category,
};

/// How bad it is.
#[derive(Clone, Copy, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Severity {
    Info,
    Warning,
    Error,
    Critical,
}

impl Severity {
    fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Critical => "critical",
        }
    }
}

/// Who is told.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Target {
    Slack,
    Webhook,
}

#[derive(Deserialize, JsonSchema)]
struct Input {
    /// What happened, in one line.
    #[schemars(length(min = 1, max = 300))]
    title: String,
    /// How bad it is.
    severity: Severity,
    /// More about it: text, or an object.
    #[serde(default)]
    details: Option<Value>,
    /// Who is told: a conversation of Slack, or a URL.
    target: Target,
    /// With `slack`: the conversation, by name or identifier.
    #[serde(default)]
    channel: Option<String>,
    /// With `webhook`: where it goes, a public address.
    #[serde(default)]
    url: Option<String>,
    /// With `webhook`: what it is signed with, `whsec_` and the base64 of 24 to 64 bytes.
    #[serde(default)]
    secret: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct Output {
    /// Whether it was taken.
    delivered: bool,
    /// What it is called where it went: the `ts` of the message, or the identifier of the webhook.
    id: String,
}

pub(super) fn skill() -> Result<Arc<dyn Skill>> {
    from_fn("monitoring", "v1.0", "alert-trigger", run)
        .summary("Tell a Slack conversation or a URL that something happened")
        .class(Class::Write)
        .timeout(Duration::from_secs(180))
        .tool(form("alert-trigger", Category::Monitoring)?)
        .build()
}

async fn run(context: SkillContext, input: Input) -> Result<Output> {
    match input.target {
        Target::Slack => slack(&context, &input).await,
        Target::Webhook => webhook(&context, input).await,
    }
}

fn needed<'a>(value: Option<&'a str>, field: &str) -> Result<&'a str> {
    value.filter(|text| !text.is_empty()).ok_or_else(|| {
        let issue = format!("expected `{field}` with this target");
        Error::invalid("the alert has no receiver").detail(field, issue)
    })
}

async fn slack(context: &SkillContext, input: &Input) -> Result<Output> {
    let channel = needed(input.channel.as_deref(), "channel")?;
    let details = match &input.details {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => format!("\n{}", plain(text)),
        Some(other) => format!("\n```{}```", plain(&format!("{other:#}"))),
    };
    let (severity, title) = (input.severity.as_str(), plain(&input.title));
    let call = CallRequest::new("slack", "post_message")?
        .param("channel", channel)
        .param("text", format!("[{severity}] {title}{details}"));
    let answer = context.call(call).await?.data.json()?;
    match answer.get("ts").and_then(Value::as_str) {
        Some(ts) if answer.get("ok") == Some(&Value::Bool(true)) => {
            Ok(Output { delivered: true, id: ts.to_owned() })
        }
        Some(_) | None => {
            let why = answer.get("error").and_then(Value::as_str).unwrap_or("no reason");
            let message = format!("Slack did not take the alert: {why}");
            Err(Error::new(ErrorKind::ActionFailed, message))
        }
    }
}

/// Slack reads these as markup.
fn plain(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

async fn webhook(context: &SkillContext, input: Input) -> Result<Output> {
    let url = reach::address("url", needed(input.url.as_deref(), "url")?)?;
    let secret = webhook::secret(input.secret)?;
    let id = webhook::message(context);
    let alert = json!({
        "id": id,
        "type": "alert",
        "title": input.title,
        "severity": input.severity,
        "details": input.details,
    });
    let body = serde_json::to_vec(&alert).map_err(Error::internal)?.into();
    let delivered = webhook::deliver(context, (&url, body), secret.as_ref()).await?;
    if delivered.delivered {
        return Ok(Output { delivered: true, id });
    }
    let message = format!("the receiver did not take the alert: status {}", delivered.status);
    Err(Error::new(ErrorKind::ActionFailed, message))
}
