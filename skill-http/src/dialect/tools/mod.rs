//! The *tools* dialect: a catalogue of tools that are invoked at once or queued, and their runs.

mod catalog;
pub(crate) mod deliveries;
mod events;
mod executions;
mod failure;
mod invoke;
mod keys;
mod quotas;
pub(crate) mod result;
mod webhooks;

pub(crate) use self::invoke::submit;
use http::StatusCode;
use serde_json::{Map, Value, json};
use skill_core::ErrorKind;

use super::{Dialect, Facts, Shown, page};
use crate::app::route::Route;

/// The dialect of `/v1/tools`, `/v1/executions`, `/v1/keys`, `/v1/webhooks` and `/v1/quotas`.
#[derive(Debug)]
pub(super) struct Tools;

/// Its routes.
pub(crate) fn routes() -> impl Iterator<Item = Route> {
    [
        catalog::routes(),
        invoke::routes(),
        executions::routes(),
        events::routes(),
        result::routes(),
        keys::routes(),
        webhooks::routes(),
        deliveries::routes(),
        quotas::routes(),
    ]
    .into_iter()
    .flatten()
}

impl Dialect for Tools {
    fn name(&self) -> &'static str {
        "tools"
    }

    fn show(&self, facts: &Facts<'_>) -> Shown {
        let (status, code, reason) = match facts.kind {
            Some(kind) => of(kind),
            None => (facts.status.map_or(500, |s| s.as_u16()), "INVALID_REQUEST", None),
        };
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut body = json!({ "error": error(code, reason, facts) });
        if let Some(execution) = facts.execution {
            body["status"] = "error".into();
            body["execution_id"] = execution.into();
        }
        Shown { status, body }
    }

    fn shape(&self) -> (&'static str, Value) {
        ("ToolsError", error_schema())
    }
}

/// What the member `error` says.
fn error(code: &str, reason: Option<&str>, facts: &Facts<'_>) -> Value {
    let mut details = facts
        .details
        .iter()
        .map(|detail| (detail.field.clone(), Value::from(detail.issue.clone())))
        .collect::<Map<_, _>>();
    details.extend(reason.map(|reason| ("reason".to_owned(), reason.into())));
    details.extend(facts.action_url.map(|url| ("action_url".to_owned(), url.into())));
    let mut error = json!({
        "code": code,
        "message": facts.message,
        "details": details,
        "suggestion": suggestion(code),
        "support": "see the documentation of this server's operator",
        "retryable": facts.is_retryable,
    });
    if let Some(after) = facts.retry_after {
        error["retry_after"] = after.into();
    }
    if let Some(page) = facts.action_url {
        error["action_url"] = page.into();
    }
    error
}

fn error_schema() -> Value {
    let text = || json!({"type": "string"});
    let error = json!({
        "type": "object",
        "required": ["code", "message", "details", "suggestion", "support", "retryable"],
        "properties": {
            "code": {"enum": [
                "UNAUTHORIZED", "FORBIDDEN", "NOT_FOUND", "INVALID_REQUEST", "RATE_LIMITED",
                "TOOL_TIMEOUT", "TOOL_ERROR", "INTERNAL_ERROR",
            ]},
            "message": text(),
            "details": {"type": "object", "additionalProperties": {"type": "string"}},
            "suggestion": text(), "support": text(), "retryable": {"type": "boolean"},
            "retry_after": {"type": "integer", "description": "In seconds."},
            "action_url": {"type": "string", "description": "The page where a person can mend it."},
        },
    });
    json!({
        "type": "object",
        "required": ["error"],
        "properties": {
            "error": error,
            "status": {"const": "error", "description": "Where there is a run."},
            "execution_id": {"type": "string", "description": "The run that ended so."},
        },
    })
}

fn of(kind: ErrorKind) -> (u16, &'static str, Option<&'static str>) {
    match kind {
        ErrorKind::InvalidInput => (400, "INVALID_REQUEST", None),
        ErrorKind::Unauthenticated => (401, "UNAUTHORIZED", None),
        ErrorKind::ScopeMissing => (403, "FORBIDDEN", None),
        ErrorKind::NotConnected => (403, "FORBIDDEN", Some("integration_not_connected")),
        ErrorKind::TokenExpired => (403, "FORBIDDEN", Some("token_expired")),
        ErrorKind::PlanLimit => (403, "FORBIDDEN", Some("plan_limit_reached")),
        ErrorKind::NotFound => (404, "NOT_FOUND", None),
        ErrorKind::Conflict => (409, "INVALID_REQUEST", Some("conflict")),
        ErrorKind::ChooseConnection => (409, "INVALID_REQUEST", Some("choose_connection")),
        ErrorKind::IdempotencyMismatch => (422, "INVALID_REQUEST", None),
        ErrorKind::RateLimited => (429, "RATE_LIMITED", None),
        ErrorKind::DailyLimit => (429, "RATE_LIMITED", Some("daily_limit_reached")),
        ErrorKind::TooLarge => (413, "INVALID_REQUEST", None),
        ErrorKind::UpstreamInvalid => (500, "TOOL_ERROR", Some("upstream_error")),
        ErrorKind::UpstreamUnreachable => (500, "TOOL_ERROR", Some("upstream_unavailable")),
        ErrorKind::Timeout => (504, "TOOL_TIMEOUT", None),
        ErrorKind::OutcomeUnknown => (500, "TOOL_ERROR", Some("outcome_unknown")),
        ErrorKind::ActionFailed => (500, "TOOL_ERROR", None),
        ErrorKind::ToolUnavailable => (500, "TOOL_ERROR", Some("tool_unavailable")),
        ErrorKind::ApprovalRequired => (403, "FORBIDDEN", Some("approval_required")),
        ErrorKind::Unavailable => (503, "INTERNAL_ERROR", None),
        ErrorKind::Internal => (500, "INTERNAL_ERROR", None),
    }
}

fn suggestion(code: &str) -> &'static str {
    match code {
        "INVALID_REQUEST" => "Correct the request as the message says.",
        "UNAUTHORIZED" => "Send a valid key as `Authorization: Bearer`.",
        "FORBIDDEN" => "Use a key with this scope, or open the action URL.",
        "NOT_FOUND" => "Check the path and the id.",
        "RATE_LIMITED" => "Wait as long as `retry_after` says.",
        "TOOL_TIMEOUT" => "Ask for less, or for more time.",
        "TOOL_ERROR" => "Read the details, and try again when `retryable` is true.",
        _ => "Try again later; give the request id to whoever runs this server.",
    }
}
