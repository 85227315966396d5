//! `POST /api/{category}/{version}/{skill-name}`: a skill is queued; whoever likes waits for it.

use std::time::Duration;

use http::{Method, StatusCode, header};
use serde_json::{Value, json};
use skill_core::{
    Error,
    access::{Intent, authorize},
    call::{CallRequest, Known},
    catalog::{Action, Catalog},
    clock::Deadline,
    name::{ActionName, Slug, Version},
    queue::{Run, Submission},
    record::{
        execution::{Origin, Trigger},
        scope::Scope,
    },
};

use super::run;
use crate::{
    app::Context,
    app::route::{Access, Operation, Route, SKILL},
    dialect::headers::{
        APPLIED, REPLAYED, idempotency_key, named_agent, named_connection, named_conversation,
        preferred_wait,
    },
    reply::{Failure, Reply},
};

/// The longest that a request waits, in seconds.
const WAIT: u64 = 300;

pub(super) fn routes() -> Vec<Route> {
    let body = json!({
        "type": "object",
        "description": "The skill's own parameters: its `parameters_schema` says which.",
        "examples": [{"start_date": "2026-01-01", "end_date": "2026-03-31"}],
    });
    let text = |what: &str| json!({"type": "string", "description": what});
    let wait = "`wait=N` waits up to N seconds, 300 at most, for the run to end: then the answer \
                is a 200 with its outcome, whatever that is, and `Preference-Applied`; a 202 \
                otherwise.";
    let operation = Operation::new("run_skill", "Run a skill")
        .body(body)
        .header("Prefer", text(wait))
        .header("Idempotency-Key", json!({"type": "string", "minLength": 1, "maxLength": 255}))
        .header("Skill-Connection", text("The connection to use, by id or label."))
        .header("Skill-Agent", text("The agent that acts; `default` without it."))
        .header("Skill-Conversation", text("The conversation in which the run follows."))
        .answer(202, "It is queued: its parameters are on disk", accepted_schema())
        .answer(200, "It ended while the request waited for it", ended_schema())
        .errors(&[400, 401, 403, 404, 408, 409, 413, 415, 422, 429, 500, 503]);
    vec![Route::new(Method::POST, SKILL, Access::Key(None), operation, |cx| Box::pin(execute(cx)))]
}

/// The schema of a run that is queued.
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

/// The schema of a run that ended while its request waited.
pub(super) fn ended_schema() -> Value {
    let mut schema = run::outcome_schema();
    schema["required"] = json!(["status", "job_id", "conversation_id"]);
    for name in ["job_id", "conversation_id"] {
        schema["properties"][name] = json!({"type": "string"});
    }
    schema
}

async fn execute(cx: Context) -> Result<Reply, Failure> {
    let action =
        ActionName { namespace: Slug::parse(cx.value(0))?, name: Slug::parse(cx.value(2))? };
    let scope = Scope::Action(action.clone());
    authorize(cx.caller()?, &Intent { scope, class: None }).allowed()?;
    let version = find(&cx.app.engine.catalog(), &action, cx.value(1))?;
    let call = CallRequest {
        action,
        connection: named_connection(None, &cx.headers)?,
        idempotency_key: idempotency_key(&cx.headers)?,
        params: cx.object()?,
        timeout: None,
        keeps_bodies: true,
        collect: None,
        known: Known::default(),
    };
    let submission = Submission { version, origin: Some(origin(&cx)?), ..Submission::new(call) };
    let submitted = cx.app.engine.runs().submit(cx.admitted()?, submission).await?;
    let wait = preferred_wait(&cx.headers).unwrap_or(0).min(WAIT);
    let ended = match wait {
        0 => None,
        _ => waited(&cx, submitted.id, wait).await?,
    };
    let reply = match &ended {
        Some(run) => {
            let body = run::ended(&cx, run);
            Reply::raw_json(StatusCode::OK, body).with(APPLIED, &format!("wait={wait}"))
        }
        None => accepted(submitted.id.raw()),
    };
    Ok(if submitted.is_replay { reply.with(REPLAYED, "true") } else { reply })
}

/// Who acts, and in which conversation.
fn origin(cx: &Context) -> Result<Origin, Error> {
    let (agent, conversation) = (named_agent(&cx.headers)?, named_conversation(&cx.headers)?);
    if agent.is_some() && conversation.is_some() {
        let message = "a run that follows in a conversation is its agent's: leave Skill-Agent out";
        return Err(Error::invalid(message));
    }
    let origin = Origin::new(Trigger::Api);
    Ok(Origin { agent: agent.unwrap_or(origin.agent), conversation, ..origin })
}

/// The version to run of an action: exactly this one, where `v1` stands for the newest active
/// `v1.x`. An endpoint has the one version 1, which takes no name in the queue.
pub(super) fn find(
    catalog: &Catalog,
    action: &ActionName,
    version: &str,
) -> Result<Option<Version>, Error> {
    let unknown = || Error::not_found(format!("there is no skill `{action}` in this version"));
    let version = Version::parse(version).map_err(|_| unknown())?;
    if catalog.find(action).is_some() {
        let is_first = version.major == 1 && version.minor.unwrap_or(0) == 0;
        return if is_first { Ok(None) } else { Err(unknown()) };
    }
    let skill = catalog.skill(&action.namespace, version, &action.name);
    skill.map(|_| Some(version)).ok_or_else(unknown)
}

/// The action that a path names in its version.
pub(super) fn named(catalog: &Catalog, values: [&str; 3]) -> Result<Action, Error> {
    let [category, version, name] = values;
    let unknown = || Error::not_found("there is no skill of this name in this version");
    let slug = |text| Slug::parse(text).map_err(|_| unknown());
    let action = ActionName { namespace: slug(category)?, name: slug(name)? };
    let found = match find(catalog, &action, version)? {
        None => catalog.find(&action).map(Action::Endpoint),
        Some(version) => {
            let skill = catalog.skill(&action.namespace, version, &action.name);
            skill.cloned().map(Action::Skill)
        }
    };
    found.ok_or_else(unknown)
}

/// The run, when it ends within so many seconds.
async fn waited(
    cx: &Context,
    id: skill_core::id::ExecutionId,
    wait: u64,
) -> Result<Option<Run>, Failure> {
    let caller = cx.caller()?;
    // Who finds no place to wait is answered as if it had not asked to: the run is on its way.
    let Ok(_place) = cx.app.events.open(&caller.owner) else { return Ok(None) };
    let deadline = Deadline::after(Duration::from_secs(wait));
    let waited = cx.app.engine.runs().wait(caller, id, deadline);
    // A server that stops keeps nobody waiting. What goes wrong here does not undo the submit.
    let run = cx.app.stopping.run_until_cancelled(waited).await.and_then(Result::ok);
    Ok(run.filter(|run| run.execution.state.is_final()))
}

/// A run that is queued.
pub(super) fn accepted(id: skill_core::id::Raw) -> Reply {
    let answer = json!({
        "status": "accepted",
        "message": "Skill execution queued",
        "job_id": format!("job_{id}"),
    });
    Reply::json(StatusCode::ACCEPTED, &answer)
        .with(header::LOCATION, &format!("/api/conversations/conv_{id}"))
}
