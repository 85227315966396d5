//! `/api/conversations`: what was asked of skills, and what became of it.

use http::{Method, StatusCode};
use serde_json::{Value, json};
use skill_core::{
    Error,
    id::{ExecutionId, Raw},
    name::{AgentId, Slug, UserId, Version},
    record::{
        conversation::{Conversation, Filter},
        execution::{Execution, Trigger},
        scope::Scope,
    },
};

use super::run;
use crate::{
    app::Context,
    app::route::{Access, Operation, Route},
    reply::{Failure, Reply},
};

/// How many are listed when nobody says, and at most.
pub(super) const USUAL: u64 = 50;
pub(super) const MOST: u64 = 200;
pub(super) const READING: &[u16] = &[400, 401, 403, 404, 429, 500, 503];

/// What opens the routes.
pub(super) fn key() -> Access {
    Access::Key(Slug::parse("conversations").ok().map(Scope::Namespace))
}

pub(super) fn routes() -> Vec<Route> {
    let text = || json!({"type": "string"});
    let listing = Operation::new("list_conversations", "List the conversations")
        .query("agent_id", text())
        .query("user_id", text())
        .query("status", json!({"enum": run::STATUSES}))
        .query("trigger_type", json!({"enum": Trigger::ALL.map(Trigger::as_str)}));
    let listing = bounded(listing)
        .answer(200, "Those that began last first", json!({"type": "array", "items": row_schema()}))
        .errors(&[400, 401, 403, 429, 500, 503]);
    let showing = Operation::new("show_conversation", "Tell how a conversation goes")
        .answer(200, "What was asked, how it goes and what came of it", schema())
        .errors(READING);
    let one = "/api/conversations/{conversation_id}";
    vec![
        Route::new(Method::GET, "/api/conversations", key(), listing, |cx| Box::pin(list(cx))),
        Route::new(Method::GET, one, key(), showing, |cx| Box::pin(show(cx))),
    ]
}

/// Documents the bounds of a listing.
pub(super) fn bounded(operation: Operation) -> Operation {
    let limit = json!({"type": "integer", "minimum": 1, "maximum": MOST, "default": USUAL});
    let offset = json!({"type": "integer", "minimum": 0, "default": 0});
    operation.query("limit", limit).query("offset", offset)
}

/// Reads them.
pub(super) fn bounds(cx: &Context) -> Result<(u64, u64), Error> {
    let limit = cx.query().number("limit", 1, MOST)?.unwrap_or(USUAL);
    let offset = cx.query().number("offset", 0, i64::MAX as u64)?.unwrap_or(0);
    Ok((limit, offset))
}

fn row_schema() -> Value {
    let time = || json!({"type": "string", "format": "date-time"});
    json!({
        "type": "object",
        "required": [
            "id", "agent_id", "user_id", "status", "trigger_type", "created_at", "updated_at",
        ],
        "properties": {
            "id": {"type": "string"}, "agent_id": {"type": "string"},
            "user_id": {"type": ["string", "null"]},
            "status": {"enum": run::STATUSES},
            "trigger_type": {"enum": Trigger::ALL.map(Trigger::as_str)},
            "created_at": time(), "updated_at": time(),
        },
    })
}

fn schema() -> Value {
    let mut schema = row_schema();
    let outcome = run::outcome_schema();
    let (text, count) = (|| json!({"type": "string"}), || json!({"type": "integer"}));
    let call = json!({
        "type": "object",
        "properties": {
            "job_id": text(), "category": text(), "skill_name": text(),
            "version": text(), "status": {"enum": run::STATUSES},
            "upstream_status": {"type": ["integer", "null"]}, "created_at": text(),
        },
    });
    let run = json!({
        "job_id": text(), "category": text(), "skill_name": text(), "version": text(),
        "progress": count(), "attempts": count(),
        "input": {"type": ["object", "null"]},
        "calls": {"type": "array", "items": call},
        "jobs": {"type": "array", "items": text(), "description": "Every run, the oldest first."},
    });
    for (name, one) in
        run.as_object().into_iter().chain(outcome["properties"].as_object()).flatten()
    {
        schema["properties"][name.as_str()] = one.clone();
    }
    schema
}

fn row(one: &Conversation) -> Value {
    let origin = one.start.origin.as_ref();
    json!({
        "id": format!("conv_{}", one.start.id.raw()),
        "agent_id": origin.map(|origin| origin.agent.as_str()),
        "user_id": one.start.user.as_ref().map(UserId::as_str),
        "status": run::status(one.state),
        "trigger_type": origin.map(|origin| origin.trigger.as_str()),
        "created_at": one.start.created_at.to_string(),
        "updated_at": one.updated_at.to_string(),
    })
}

/// What was run, in which version.
pub(super) fn skill(run: &Execution) -> Value {
    json!({
        "job_id": run::job(run),
        "category": run.action.namespace.canonical(),
        "skill_name": run.action.name.canonical(),
        "version": run.version.as_ref().map_or_else(|| "v1".to_owned(), Version::to_string),
        "status": run::status(run.state),
        "upstream_status": run.upstream_status,
        "created_at": run.created_at.to_string(),
    })
}

/// The run that began the conversation that the path names.
pub(super) fn named(cx: &Context) -> Result<ExecutionId, Error> {
    let id = cx.value(0).strip_prefix("conv_").and_then(Raw::parse).map(ExecutionId::from_raw);
    id.ok_or_else(|| Error::not_found("there is no conversation with this id"))
}

async fn list(cx: Context) -> Result<Reply, Failure> {
    let ((limit, offset), query) = (bounds(&cx)?, cx.query());
    let triggers = "api, webhook or scheduled";
    let statuses = "active, completed, failed or cancelled";
    let filter = Filter {
        agent: query.one_of("agent_id", |text| AgentId::parse(text).ok(), "an agent's id")?,
        user: query.one_of("user_id", |text| UserId::parse(text).ok(), "a user's id")?,
        trigger: query.one_of("trigger_type", Trigger::parse, triggers)?,
        states: query.one_of("status", run::states, statuses)?.unwrap_or_default(),
        limit: u32::try_from(limit).unwrap_or(u32::MAX),
        offset,
        ..Filter::default()
    };
    let found = cx.app.engine.runs().conversations(cx.caller()?, filter).await?;
    Ok(Reply::json(StatusCode::OK, &found.iter().map(row).collect()))
}

async fn show(cx: Context) -> Result<Reply, Failure> {
    let (caller, runs) = (cx.caller()?, cx.app.engine.runs());
    let (found, all) = runs.conversation(caller, named(&cx)?).await?;
    let start = runs.get(caller, found.start.id).await?;
    let calls = runs.calls(caller, found.start.id).await?;
    let mut shown = row(&found);
    let of = skill(&start.execution);
    for name in ["job_id", "category", "skill_name", "version"] {
        shown[name] = of[name].clone();
    }
    shown["progress"] = start.execution.progress.into();
    shown["attempts"] = start.execution.attempts.into();
    shown["input"] = start.input.clone().unwrap_or_default();
    shown["calls"] = calls.iter().map(skill).collect();
    shown["jobs"] = all.iter().map(run::job).collect();
    Ok(Reply::raw_json(StatusCode::OK, run::with_outcome(&cx, shown, &start)))
}
