//! Dialects: the shapes in which one engine speaks.
//!
//! The path alone decides the dialect, before anybody is asked for a key, so that even a refusal
//! has the right shape. To add a dialect: one file and one line in [`of`].

pub(crate) mod failure;
pub(crate) mod headers;
pub(crate) mod page;
pub(crate) mod proxy;
pub(crate) mod skills;
pub(crate) mod tools;

use http::StatusCode;
use serde_json::{Map, Value, json};
use skill_core::{Error, ErrorKind, error::Detail};

use crate::reply::Failure;

/// What a failure looks like to a caller.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) status: StatusCode,
    pub(crate) body: Value,
}

/// The facts of a failure, before a dialect gives them a shape.
#[derive(Debug)]
pub(crate) struct Facts<'a> {
    /// What went wrong; `None` for a request that is refused for its form.
    pub(crate) kind: Option<ErrorKind>,
    /// The status of such a refusal.
    pub(crate) status: Option<StatusCode>,
    pub(crate) message: &'a str,
    pub(crate) details: &'a [Detail],
    pub(crate) action_url: Option<&'a str>,
    /// In seconds, rounded up.
    pub(crate) retry_after: Option<u64>,
    pub(crate) is_retryable: bool,
    /// The run that ended so.
    pub(crate) execution: Option<&'a str>,
    /// Whether it was said before.
    pub(crate) is_replay: bool,
}

impl<'a> Facts<'a> {
    /// `limits` is the page that explains a plan's limits.
    pub(crate) fn of(failure: &'a Failure, limits: &'a str) -> Self {
        match failure {
            Failure::Request(refusal) => Self {
                kind: None,
                status: Some(refusal.status),
                message: &refusal.message,
                details: &[],
                action_url: None,
                retry_after: None,
                is_retryable: false,
                execution: None,
                is_replay: false,
            },
            Failure::Engine(error) => Self::of_error(error, limits),
        }
    }

    /// The facts of what the engine says.
    pub(crate) fn of_error(error: &'a Error, limits: &'a str) -> Self {
        let explained = matches!(error.kind(), ErrorKind::PlanLimit | ErrorKind::DailyLimit);
        Self {
            kind: Some(error.kind()),
            status: None,
            message: error.message(),
            details: error.field_details(),
            action_url: error.action_page().or_else(|| explained.then_some(limits)),
            retry_after: error.retry_delay().map(seconds),
            is_retryable: error.is_retryable(),
            execution: error.execution(),
            is_replay: error.is_replay(),
        }
    }
}

fn seconds(delay: std::time::Duration) -> u64 {
    delay.as_secs() + u64::from(delay.subsec_nanos() > 0)
}

/// One way of speaking.
pub(crate) trait Dialect: std::fmt::Debug + Sync {
    /// Its name in the configuration, logs and metrics.
    fn name(&self) -> &'static str;
    /// Gives a failure its shape.
    fn show(&self, facts: &Facts<'_>) -> Shown;
    /// The name and the schema of that shape.
    fn shape(&self) -> (&'static str, Value) {
        ("Error", flat_schema())
    }
}

/// The dialect that a path speaks. It goes by the path alone, known or not.
pub(crate) fn of(path: &str) -> &'static dyn Dialect {
    let mut parts = path.strip_prefix('/').unwrap_or(path).split('/');
    match (parts.next(), parts.next()) {
        (Some("v1"), Some("tools" | "executions" | "keys" | "webhooks" | "quotas"))
        | (Some("executions"), _) => &tools::Tools,
        (Some("api" | "admin"), _) | (Some("webhooks"), Some(_)) => skills::of(path),
        _ => &proxy::Proxy,
    }
}

/// The flat shape that *proxy* and *skills* share.
fn flat(code: &str, facts: &Facts<'_>) -> Value {
    let mut body = Map::new();
    body.insert("error".into(), code.into());
    body.insert("message".into(), facts.message.into());
    if let Some(url) = facts.action_url {
        body.insert("action_url".into(), url.into());
    }
    if let Some(after) = facts.retry_after {
        body.insert("retry_after".into(), after.into());
    }
    if !facts.details.is_empty() {
        let detail = |detail: &Detail| {
            Value::from(Map::from_iter([
                ("field".to_owned(), detail.field.clone().into()),
                ("issue".to_owned(), detail.issue.clone().into()),
            ]))
        };
        body.insert("details".into(), facts.details.iter().map(detail).collect());
    }
    Value::Object(body)
}

fn flat_schema() -> Value {
    json!({
        "type": "object",
        "required": ["error", "message"],
        "properties": {
            "error": {"type": "string"},
            "message": {"type": "string"},
            "action_url": {"type": "string", "format": "uri"},
            "retry_after": {"type": "integer", "description": "In seconds."},
            "details": {"type": "array", "items": {
                "type": "object",
                "properties": {"field": {"type": "string"}, "issue": {"type": "string"}},
            }},
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_decides_the_dialect() {
        for (path, name) in [
            ("/v1/github/create_issue", "proxy"),
            ("/v1/tools", "tools"),
            ("/v1/tools/a/invoke", "tools"),
            ("/executions/exec_1", "tools"),
            ("/v1/toolsmith/x", "proxy"),
            ("/api/quickbooks/v1/report", "skills"),
            ("/api/agents", "skills"),
            ("/admin/api-keys", "skills"),
            ("/webhooks/abc", "skills"),
            ("/api-keys", "proxy"),
            ("/auth/device/code", "proxy"),
            ("/", "proxy"),
            ("//v1/tools", "proxy"),
        ] {
            assert_eq!(of(path).name(), name, "{path}");
        }
    }
}
