//! The *skills* dialect: its errors. Its routes are not served yet; its paths answer in its shape.

use http::StatusCode;
use skill_core::ErrorKind;

use super::{Dialect, Facts, Shown, flat};

/// The dialect of `/api`, `/admin` and `/webhooks/{token}`.
#[derive(Debug)]
pub(super) struct Skills;

impl Dialect for Skills {
    fn name(&self) -> &'static str {
        "skills"
    }

    fn show(&self, facts: &Facts<'_>) -> Shown {
        let (status, code) = match (facts.kind, facts.status) {
            (Some(kind), _) => of(kind),
            (None, Some(StatusCode::CONFLICT)) => (409, "conflict"),
            (None, status) => (status.map_or(500, |s| s.as_u16()), "validation_error"),
        };
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Shown { status, body: flat(code, facts) }
    }
}

fn of(kind: ErrorKind) -> (u16, &'static str) {
    match kind {
        ErrorKind::InvalidInput => (400, "validation_error"),
        ErrorKind::Unauthenticated => (401, "authentication_required"),
        ErrorKind::ScopeMissing => (403, "insufficient_scope"),
        ErrorKind::NotConnected => (403, "integration_not_connected"),
        ErrorKind::TokenExpired => (401, "token_expired"),
        ErrorKind::PlanLimit => (403, "plan_limit_reached"),
        ErrorKind::NotFound => (404, "skill_not_found"),
        ErrorKind::Conflict | ErrorKind::ChooseConnection => (409, "conflict"),
        ErrorKind::IdempotencyMismatch => (422, "validation_error"),
        ErrorKind::RateLimited | ErrorKind::DailyLimit => (429, "rate_limit_exceeded"),
        ErrorKind::TooLarge => (413, "validation_error"),
        ErrorKind::UpstreamInvalid | ErrorKind::ActionFailed => (502, "upstream_error"),
        ErrorKind::UpstreamUnreachable => (502, "upstream_unavailable"),
        ErrorKind::Timeout => (504, "upstream_timeout"),
        ErrorKind::OutcomeUnknown => (502, "outcome_unknown"),
        ErrorKind::ToolUnavailable => (500, "tool_unavailable"),
        ErrorKind::ApprovalRequired => (403, "approval_required"),
        ErrorKind::Unavailable => (503, "service_unavailable"),
        ErrorKind::Internal => (500, "internal_error"),
    }
}
