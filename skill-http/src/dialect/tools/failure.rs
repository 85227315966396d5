//! How a run failed, as the error that this dialect shows.

use serde_json::Value;
use skill_core::Error;

use crate::dialect::Facts;
pub(super) use crate::dialect::failure::of;

/// The member `error` of a run.
pub(super) fn shown(error: &Error, limits: &str) -> Value {
    let facts = Facts::of_error(error, limits);
    let (_, code, reason) = super::of(error.kind());
    super::error(code, reason, &facts)
}
