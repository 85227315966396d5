//! What whoever asks for a run is answered: that it is queued, or how it ended.

use http::{StatusCode, header};
use serde_json::{Value, json};
use skill_core::{id::ExecutionId, queue::Run};

use super::run;
use crate::{app::Context, dialect::headers::REPLAYED, reply::Reply};

/// The schema of [`accepted`].
pub(super) fn accepted_schema() -> Value {
    json!({
        "type": "object",
        "required": ["status", "message", "job_id"],
        "properties": {
            "status": {"const": "accepted"}, "message": {"type": "string"},
            "job_id": {"type": "string"},
        },
    })
}

/// A run that is queued.
pub(super) fn accepted(id: ExecutionId, is_replay: bool) -> Reply {
    let id = id.raw();
    let answer = json!({
        "status": "accepted",
        "message": "Skill execution queued",
        "job_id": format!("job_{id}"),
    });
    let place = format!("/api/conversations/conv_{id}");
    replayed(Reply::json(StatusCode::ACCEPTED, &answer).with(header::LOCATION, &place), is_replay)
}

/// The schema of [`ended`].
pub(super) fn ended_schema() -> Value {
    let mut schema = run::outcome_schema();
    schema["required"] = json!(["status", "job_id", "conversation_id"]);
    for name in ["job_id", "conversation_id"] {
        schema["properties"][name] = json!({"type": "string"});
    }
    schema
}

/// A run that ended while its request waited.
pub(super) fn ended(cx: &Context, run: &Run, is_replay: bool) -> Reply {
    replayed(Reply::raw_json(StatusCode::OK, run::ended(cx, run)), is_replay)
}

fn replayed(reply: Reply, is_replay: bool) -> Reply {
    if is_replay { reply.with(REPLAYED, "true") } else { reply }
}
