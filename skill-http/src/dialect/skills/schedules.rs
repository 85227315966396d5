//! `/api/scheduled-jobs`: runs that the clock asks for.

use http::{Method, StatusCode};
use serde_json::{Value, json};
use skill_core::{
    Error,
    id::ScheduleId,
    name::{ActionName, AgentId, Slug, Version},
    record::{
        schedule::Schedule,
        scope::{Scope, Scopes},
    },
    schedule::{Edit, Wanted},
};

use super::execute::{accepted, accepted_schema};
use crate::{
    app::Context,
    app::route::{Access, Operation, Route},
    dialect::headers::{REPLAYED, idempotency_key},
    reply::{Failure, Reply},
    request::Members,
};

const ERRORS: &[u16] = &[400, 401, 403, 404, 408, 409, 413, 415, 429, 500, 503];

/// What opens the routes.
fn key() -> Access {
    Access::Key(Slug::parse("scheduler").ok().map(Scope::Namespace))
}

pub(super) fn routes() -> Vec<Route> {
    let many = json!({"type": "array", "items": schema()});
    let listing = Operation::new("list_scheduled_jobs", "List the scheduled jobs")
        .answer(200, "All of them, the newest first", many)
        .errors(&[400, 401, 403, 429, 500, 503]);
    let making = Operation::new("create_scheduled_job", "Let a skill run again and again")
        .body(wanted_schema(&["skill_category", "skill_name", "cron_expression"]))
        .answer(201, "The scheduled job", schema())
        .errors(ERRORS);
    let showing = Operation::new("show_scheduled_job", "Show a scheduled job")
        .answer(200, "The scheduled job", schema())
        .errors(&[400, 401, 403, 404, 429, 500, 503]);
    let changing = Operation::new("change_scheduled_job", "Change a scheduled job")
        .body(wanted_schema(&[]))
        .answer(200, "The scheduled job, which has this key's scopes from now on", schema())
        .errors(ERRORS);
    let removing = Operation::new("delete_scheduled_job", "Remove a scheduled job")
        .answer(204, "It is gone; runs that it made go on", Value::Null)
        .errors(ERRORS);
    let running = Operation::new("run_scheduled_job", "Run a scheduled job at once")
        .header("Idempotency-Key", json!({"type": "string", "minLength": 1, "maxLength": 255}))
        .answer(202, "It is queued, beside the times of its schedule", accepted_schema())
        .errors(&[400, 401, 403, 404, 408, 409, 413, 415, 422, 429, 500, 503]);
    let (all, one) = ("/api/scheduled-jobs", "/api/scheduled-jobs/{job_id}");
    let run = "/api/scheduled-jobs/{job_id}/run";
    vec![
        Route::new(Method::GET, all, key(), listing, |cx| Box::pin(list(cx))),
        Route::new(Method::POST, all, key(), making, |cx| Box::pin(create(cx))),
        Route::new(Method::GET, one, key(), showing, |cx| Box::pin(show(cx))),
        Route::new(Method::PATCH, one, key(), changing, |cx| Box::pin(change(cx))),
        Route::new(Method::DELETE, one, key(), removing, |cx| Box::pin(remove(cx))),
        Route::new(Method::POST, run, key(), running, |cx| Box::pin(run_now(cx))),
    ]
}

fn wanted_schema(required: &[&str]) -> Value {
    let text = || json!({"type": "string"});
    json!({
        "type": "object",
        "required": required,
        "additionalProperties": false,
        "properties": {
            "agent_id": {"type": "string", "default": "default"},
            "skill_category": text(), "skill_name": text(),
            "skill_version": {"type": "string", "pattern": "^v\\d+(\\.\\d+)?$", "default": "v1.0"},
            "cron_expression": {
                "type": "string", "maxLength": 256,
                "description": "Minute, hour, day of the month, month, day of the week, in UTC.",
            },
            "input": {"type": "object", "description": "As the skill's `parameters_schema` says."},
            "enabled": {"type": "boolean", "default": true},
            "scopes": scopes_schema(),
        },
        "examples": [{
            "agent_id": "default",
            "skill_category": "quickbooks",
            "skill_name": "profit-and-loss-report",
            "cron_expression": "0 9 1 * *",
            "input": {"accounting_method": "Accrual"},
        }],
    })
}

/// The member `scopes` of what somebody makes.
pub(super) fn scopes_schema() -> Value {
    json!({
        "type": "array", "minItems": 1, "maxItems": 100, "items": {"type": "string"},
        "description": "What its runs may do: no more than this key, and as much when it is missing.",
    })
}

fn schema() -> Value {
    let text = || json!({"type": "string"});
    let may_lack = || json!({"type": ["string", "null"]});
    let time = || json!({"type": ["string", "null"], "format": "date-time"});
    json!({
        "type": "object",
        "required": [
            "id", "agent_id", "skill_category", "skill_name", "skill_version", "cron_expression",
            "input", "enabled", "next_run_at", "created_at", "updated_at",
        ],
        "properties": {
            "id": text(), "agent_id": text(), "skill_category": text(), "skill_name": text(),
            "skill_version": text(), "cron_expression": text(), "input": {"type": "object"},
            "enabled": {"type": "boolean"},
            "disabled_reason": {
                "type": ["string", "null"], "description": "Why the server disabled it.",
            },
            "scopes": {"type": "array", "items": text()},
            "next_run_at": time(), "last_due_at": time(),
            "last_job_id": may_lack(),
            "last_error": {
                "type": ["string", "null"], "description": "Why its last time made no run.",
            },
            "missed_runs": {
                "type": "integer", "minimum": 0,
                "description": "How many times went by while no server ran, and were not caught up with.",
            },
            "created_at": {"type": "string", "format": "date-time"},
            "updated_at": {"type": "string", "format": "date-time"},
        },
    })
}

fn shown(cx: &Context, schedule: &Schedule) -> Result<Value, Error> {
    Ok(json!({
        "id": schedule.id.to_string(),
        "agent_id": schedule.agent.as_str(),
        "skill_category": schedule.action.namespace.as_str(),
        "skill_name": schedule.action.name.as_str(),
        "skill_version": schedule.version.to_string(),
        "cron_expression": schedule.cron,
        "input": cx.app.engine.schedules().input(schedule)?,
        "enabled": schedule.next_run_at.is_some(),
        "disabled_reason": schedule.stopped,
        "scopes": schedule.scopes.texts(),
        "next_run_at": schedule.next_run_at.map(|at| at.to_string()),
        "last_due_at": schedule.last_due_at.map(|at| at.to_string()),
        "last_job_id": schedule.last_run.map(|id| format!("job_{}", id.raw())),
        "last_error": schedule.last_error,
        "missed_runs": schedule.missed,
        "created_at": schedule.created_at.to_string(),
        "updated_at": schedule.updated_at.to_string(),
    }))
}

async fn list(cx: Context) -> Result<Reply, Failure> {
    let all = cx.app.engine.schedules().list(cx.caller()?).await?;
    let all = all.iter().map(|schedule| shown(&cx, schedule)).collect::<Result<Vec<_>, _>>()?;
    Ok(Reply::json(StatusCode::OK, &Value::Array(all)))
}

/// The error of one member.
pub(super) fn wrong(field: &str, issue: &str) -> Error {
    Error::invalid(format!("`{field}`: {issue}")).detail(field, issue)
}

/// The slug that a member holds.
pub(super) fn slug(field: &str, text: &str) -> Result<Slug, Error> {
    Slug::parse(text).map_err(|error| wrong(field, error.message()))
}

/// The version that a member holds.
pub(super) fn version(field: &str, text: &str) -> Result<Version, Error> {
    Version::parse(text).map_err(|error| wrong(field, error.message()))
}

/// The agent that the member `agent_id` names, which has to be there.
pub(super) async fn agent(cx: &Context, text: Option<String>) -> Result<Option<AgentId>, Error> {
    let Some(text) = text else { return Ok(None) };
    let id = AgentId::parse(&text).map_err(|error| wrong("agent_id", error.message()))?;
    cx.app.engine.agents().get(cx.caller()?, &id).await?;
    Ok(Some(id))
}

/// The scopes that the member `scopes` lists.
pub(super) fn scopes(texts: Option<Vec<String>>) -> Result<Option<Scopes>, Error> {
    let parsed = texts.map(|texts| Scopes::parse(texts.iter().map(String::as_str)));
    parsed.transpose().map_err(|error| wrong("scopes", error.message()))
}

/// What a body says of a scheduled job.
async fn edit(cx: &Context, mut body: Members, is_new: bool) -> Result<Edit, Failure> {
    let agent_id = body.text("agent_id");
    let (category, name) = match is_new {
        true => {
            (Some(body.required_text("skill_category")), Some(body.required_text("skill_name")))
        }
        false => (body.text("skill_category"), body.text("skill_name")),
    };
    let skill_version = body.text("skill_version");
    let cron = match is_new {
        true => Some(body.required_text("cron_expression")),
        false => body.text("cron_expression"),
    };
    let (input, is_enabled) = (body.object("input"), body.flag("enabled"));
    let texts = body.texts("scopes");
    body.end()?;
    let version = skill_version.map(|text| version("skill_version", &text)).transpose()?;
    let action = match (category, name) {
        (Some(category), Some(name)) => {
            let namespace = slug("skill_category", &category)?;
            let name = slug("skill_name", &name)?;
            let first = Version { major: 1, minor: Some(0) };
            Some((ActionName { namespace, name }, version.unwrap_or(first)))
        }
        (None, None) if version.is_none() => None,
        (None, None) => {
            let issue = "expected skill_category and skill_name beside it";
            return Err(wrong("skill_version", issue).into());
        }
        (Some(_), None) => {
            return Err(wrong("skill_name", "expected it beside skill_category").into());
        }
        (None, Some(_)) => {
            return Err(wrong("skill_category", "expected it beside skill_name").into());
        }
    };
    let agent = agent(cx, agent_id).await?;
    Ok(Edit { agent, action, cron, input, scopes: scopes(texts)?, is_enabled })
}

async fn create(cx: Context) -> Result<Reply, Failure> {
    let asked = edit(&cx, cx.members()?, true).await?;
    let (Some((action, version)), Some(cron)) = (asked.action, asked.cron) else {
        return Err(Error::internal("a scheduled job without a skill").into());
    };
    let new = Wanted::new(action, &cron);
    let wanted = Wanted {
        agent: asked.agent.unwrap_or_else(AgentId::standard),
        version,
        input: asked.input.unwrap_or_default(),
        scopes: asked.scopes,
        is_enabled: asked.is_enabled.unwrap_or(true),
        ..new
    };
    let schedule = cx.app.engine.schedules().create(cx.caller()?, wanted).await?;
    Ok(Reply::json(StatusCode::CREATED, &shown(&cx, &schedule)?))
}

async fn show(cx: Context) -> Result<Reply, Failure> {
    let schedule = cx.app.engine.schedules().get(cx.caller()?, named(&cx)?).await?;
    Ok(Reply::json(StatusCode::OK, &shown(&cx, &schedule)?))
}

async fn change(cx: Context) -> Result<Reply, Failure> {
    let id = named(&cx)?;
    let edit = edit(&cx, cx.members()?, false).await?;
    let schedule = cx.app.engine.schedules().change(cx.caller()?, id, edit).await?;
    Ok(Reply::json(StatusCode::OK, &shown(&cx, &schedule)?))
}

async fn remove(cx: Context) -> Result<Reply, Failure> {
    cx.app.engine.schedules().delete(cx.caller()?, named(&cx)?).await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

async fn run_now(cx: Context) -> Result<Reply, Failure> {
    let id = named(&cx)?;
    cx.members()?.end()?;
    let key = idempotency_key(&cx.headers)?;
    let submitted = cx.app.engine.schedules().run(cx.caller()?, id, key).await?;
    Ok(replayed(accepted(submitted.id.raw()), submitted.is_replay))
}

/// An answer that may have been given before.
pub(super) fn replayed(reply: Reply, is_replay: bool) -> Reply {
    if is_replay { reply.with(REPLAYED, "true") } else { reply }
}

/// The scheduled job that the path names.
fn named(cx: &Context) -> Result<ScheduleId, Error> {
    let unknown = || Error::not_found("there is no scheduled job with this id");
    ScheduleId::parse(cx.value(0)).ok_or_else(unknown)
}
