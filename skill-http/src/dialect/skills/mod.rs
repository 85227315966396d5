//! The *skills* dialect: versioned skills, asynchronous by default, and the conversations that they
//! make.

mod admin;
mod agent_webhooks;
mod agents;
mod conversations;
mod execute;
mod memories;
mod messages;
mod registry;
mod run;
mod schedules;
mod triggers;

use http::StatusCode;
use skill_core::{ErrorKind, name::Slug};

use super::{Dialect, Facts, Shown, flat, page};
use crate::app::route::Route;

/// The dialect of `/api`, `/admin` and `/webhooks/{token}`.
#[derive(Debug)]
pub(super) struct Skills {
    /// What is not found here.
    missing: &'static str,
}

/// The dialect of a path: where a skill is named, the skill is what is not found.
pub(super) fn of(path: &str) -> &'static Skills {
    let parts = path.split('/').collect::<Vec<_>>();
    let is_skill = match parts[..] {
        ["", "api", "skills", _, _, _] => true,
        ["", "api", category, _, _] => Slug::parse(category).is_ok_and(|slug| !slug.is_reserved()),
        _ => false,
    };
    match is_skill {
        true => &Skills { missing: "skill_not_found" },
        false => &Skills { missing: "not_found" },
    }
}

/// Its routes.
pub(crate) fn routes() -> impl Iterator<Item = Route> {
    [
        execute::routes(),
        registry::routes(),
        conversations::routes(),
        messages::routes(),
        agents::routes(),
        memories::routes(),
        admin::routes(),
        schedules::routes(),
        triggers::routes(),
        agent_webhooks::routes(),
    ]
    .into_iter()
    .flatten()
}

impl Dialect for Skills {
    fn name(&self) -> &'static str {
        "skills"
    }

    fn show(&self, facts: &Facts<'_>) -> Shown {
        let (status, code) = match (facts.kind, facts.status) {
            (Some(ErrorKind::NotFound), _) => (404, self.missing),
            (Some(kind), _) => code(kind),
            (None, Some(StatusCode::CONFLICT)) => (409, "conflict"),
            (None, status) => (status.map_or(500, |s| s.as_u16()), "validation_error"),
        };
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Shown { status, body: flat(code, facts) }
    }
}

fn code(kind: ErrorKind) -> (u16, &'static str) {
    match kind {
        ErrorKind::InvalidInput => (400, "validation_error"),
        ErrorKind::Unauthenticated => (401, "authentication_required"),
        ErrorKind::ScopeMissing => (403, "insufficient_scope"),
        ErrorKind::NotConnected => (403, "integration_not_connected"),
        ErrorKind::TokenExpired => (401, "token_expired"),
        ErrorKind::PlanLimit => (403, "plan_limit_reached"),
        ErrorKind::NotFound => (404, "not_found"),
        ErrorKind::Conflict => (409, "conflict"),
        ErrorKind::ChooseConnection => (409, "choose_connection"),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_depends_on_the_path() {
        for path in ["/api/github/v1/list-prs", "/api/a/b/c", "/api/skills/a/v1/b"] {
            assert_eq!(of(path).missing, "skill_not_found", "{path}");
        }
        let others = ["/api", "/api/agents/a/memories", "/api/conversations/conv_x/messages"];
        for path in others.into_iter().chain(["/api/skills", "/admin/api-keys/k", "/api/A/v1/b"]) {
            assert_eq!(of(path).missing, "not_found", "{path}");
        }
    }
}
