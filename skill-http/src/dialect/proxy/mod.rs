//! The *proxy* dialect: one call to one endpoint of a connected integration, answered at once.

mod connect;
mod connections;
mod device;
mod download;
mod execute;
mod file;
mod keys;
mod manual;
mod raw;
mod skills;

use http::StatusCode;
use skill_core::ErrorKind;

pub(crate) use self::keys::create_key;
use super::{Dialect, Facts, Shown, flat};
use crate::app::route::Route;

/// The dialect of `/v1/{integration}/{endpoint}` and everything around it.
#[derive(Debug)]
pub(super) struct Proxy;

/// Its routes.
pub(crate) fn routes() -> impl Iterator<Item = Route> {
    let found = [skills::routes(), download::routes()];
    let used = [execute::routes(), connect::routes(), connections::routes(), keys::routes()];
    found.into_iter().chain(used).flatten().chain(device::routes()).chain(raw_routes())
}

/// The routes of its raw door.
pub(crate) fn raw_routes() -> impl Iterator<Item = Route> {
    raw::routes().into_iter()
}

impl Dialect for Proxy {
    fn name(&self) -> &'static str {
        "proxy"
    }

    fn show(&self, facts: &Facts<'_>) -> Shown {
        let (status, code) = match (facts.kind, facts.status) {
            (Some(kind), _) => of(kind),
            (None, Some(StatusCode::CONFLICT)) => (409, "conflict"),
            (None, status) => (status.map_or(500, |s| s.as_u16()), "bad_request"),
        };
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Shown { status, body: flat(code, facts) }
    }
}

fn of(kind: ErrorKind) -> (u16, &'static str) {
    match kind {
        ErrorKind::InvalidInput => (400, "bad_request"),
        ErrorKind::Unauthenticated => (401, "unauthorized"),
        ErrorKind::ScopeMissing => (403, "scope_not_allowed"),
        ErrorKind::NotConnected => (403, "integration_not_connected"),
        ErrorKind::TokenExpired => (401, "token_expired"),
        ErrorKind::PlanLimit => (403, "plan_limit_reached"),
        ErrorKind::NotFound => (404, "not_found"),
        ErrorKind::Conflict => (409, "conflict"),
        ErrorKind::IdempotencyMismatch => (422, "bad_request"),
        ErrorKind::ChooseConnection => (409, "choose_connection"),
        ErrorKind::RateLimited => (429, "rate_limit_exceeded"),
        ErrorKind::DailyLimit => (429, "daily_limit_reached"),
        ErrorKind::TooLarge => (413, "bad_request"),
        ErrorKind::UpstreamInvalid | ErrorKind::ActionFailed => (502, "upstream_error"),
        ErrorKind::UpstreamUnreachable => (502, "upstream_unavailable"),
        ErrorKind::Timeout => (504, "upstream_timeout"),
        ErrorKind::OutcomeUnknown => (502, "outcome_unknown"),
        ErrorKind::ToolUnavailable | ErrorKind::Unavailable => (503, "service_unavailable"),
        ErrorKind::ApprovalRequired => (403, "approval_required"),
        ErrorKind::Internal => (500, "internal_error"),
    }
}
