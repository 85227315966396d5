//! Runs as this dialect shows them: where they stand, and what they came to.

use serde_json::{Value, json};
use skill_core::{
    call::Outcome,
    queue::Run,
    record::execution::{Execution, State},
};

use super::code;
use crate::{
    app::Context,
    dialect::{Facts, failure, flat, tools::result},
    reply::Pieces,
};

/// What a conversation may be.
pub(super) const STATUSES: [&str; 4] = ["active", "completed", "failed", "cancelled"];

/// How a state is called.
pub(super) fn status(state: State) -> &'static str {
    match state {
        State::Queued | State::Running | State::Held => "active",
        State::Success => "completed",
        State::Error => "failed",
        State::Cancelled => "cancelled",
    }
}

/// The states that are called so.
pub(super) fn states(status: &str) -> Option<Vec<State>> {
    Some(match status {
        "active" => vec![State::Queued, State::Running, State::Held],
        "completed" => vec![State::Success],
        "failed" => vec![State::Error],
        "cancelled" => vec![State::Cancelled],
        _ => return None,
    })
}

/// The run as a job.
pub(super) fn job(run: &Execution) -> String {
    format!("job_{}", run.id.raw())
}

/// The schema of what a run came to.
pub(super) fn outcome_schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "status": {"enum": STATUSES},
            "result": {"description": "What it answered, when it completed."},
            "result_bytes": {"type": "integer", "description": "Of a result too large to stand here."},
            "result_url": {"type": "string", "description": "Where such a result is read by parts."},
            "error": {"type": "string", "description": "The code of what it failed in."},
            "message": {"type": "string", "description": "Why it failed."},
            "action_url": {"type": "string", "description": "The page where a person can mend it."},
        },
    })
}

/// Puts the error in which a run failed beside other members.
pub(super) fn put_error(cx: &Context, shown: &mut Value, run: &Run) {
    let Some(error) = failure::of(run) else { return };
    let limits = cx.app.engine.pages().limits.as_str();
    let (_, code) = code(error.kind());
    let said = flat(code, &Facts::of_error(&error, limits));
    let members = said.as_object().into_iter().flatten();
    members.for_each(|(name, value)| shown[name.as_str()] = value.clone());
}

/// The members of `shown`, and what the run came to behind them.
pub(super) fn with_outcome(cx: &Context, mut shown: Value, run: &Run) -> Pieces {
    put_error(cx, &mut shown, run);
    match &run.outcome {
        Some(Outcome::Answer { data, .. })
            if run.execution.state == State::Success && !result::is_large(run) =>
        {
            result::beside(&shown, data)
        }
        Some(_) | None => {
            result::note_elsewhere(&mut shown, run);
            shown.to_string().into_bytes().into()
        }
    }
}

/// A run that ended while its request waited.
pub(super) fn ended(cx: &Context, run: &Run) -> Pieces {
    let execution = &run.execution;
    let conversation = execution.conversation().unwrap_or(execution.id);
    let shown = json!({
        "status": status(execution.state),
        "job_id": job(execution),
        "conversation_id": format!("conv_{}", conversation.raw()),
    });
    with_outcome(cx, shown, run)
}
