//! `/v1/executions`: how runs go on and how they ended.

use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::{Value, json};
use skill_core::{
    Error, ErrorKind,
    catalog::Catalog,
    clock::Deadline,
    id::{ExecutionId, Raw},
    queue::Run,
    record::execution::{Execution, State, Trigger},
    store::ExecutionFilter,
};

use super::{
    catalog::tool_id,
    failure,
    page::{self, Page},
    result,
};
use crate::{
    app::Context,
    app::route::{Access, Operation, Route},
    reply::{Failure, Pieces, Reply},
};

/// The longest `wait`, in seconds.
const WAIT: u64 = 300;

/// Where a run may stand. One is held when its store was restored from a backup.
const STATES: [&str; 6] = ["queued", "running", "held", "success", "error", "cancelled"];

pub(super) const READING: &[u16] = &[400, 401, 403, 404, 429, 500, 503];
const CHANGING: &[u16] = &[400, 401, 403, 404, 408, 413, 429, 500, 503];

pub(super) fn routes() -> Vec<Route> {
    let key = || Access::Key(None);
    let calls = Operation::new("execution_calls", "List the calls that a run made")
        .answer(200, "The calls, the oldest first", calls_schema())
        .errors(READING);
    let mut all = vec![
        Route::new(Method::GET, "/v1/executions", key(), listing(), |cx| Box::pin(list(cx))),
        Route::new(Method::GET, "/v1/executions/{execution_id}/calls", key(), calls, |cx| {
            Box::pin(list_calls(cx))
        }),
    ];
    // The second path is the one that `status_url` shows, as the product does.
    for (path, show_id, cancel_id) in [
        ("/v1/executions/{execution_id}", "show_execution", "cancel_execution"),
        ("/executions/{execution_id}", "show_execution_short", "cancel_execution_short"),
    ] {
        let showing = Operation::new(show_id, "Tell how a run goes, or how it ended")
            .query("wait", json!({"type": "integer", "minimum": 0, "maximum": WAIT, "default": 0}))
            .answer(200, "The run", schema())
            .errors(READING);
        let cancelling = Operation::new(cancel_id, "Cancel a run that has not ended")
            .answer(200, "It never ends otherwise", cancelled_schema())
            .errors(CHANGING);
        all.push(Route::new(Method::GET, path, key(), showing, |cx| Box::pin(show(cx))));
        all.push(Route::new(Method::DELETE, path, key(), cancelling, |cx| Box::pin(cancel(cx))));
    }
    all
}

fn listing() -> Operation {
    let states = json!({"enum": STATES});
    let operation = Operation::new("list_executions", "List the owner's runs")
        .query("status", states)
        .query("tool_id", json!({"type": "string"}))
        .query("after", json!({"type": "string", "description": "Older than this run only."}));
    page::query(operation)
        .answer(200, "A page of runs, the newest first", page::schema("executions", &row_schema()))
        .errors(&[400, 401, 403, 429, 500, 503])
}

/// The schema of a run in listings.
fn row_schema() -> Value {
    let time = || json!({"type": ["string", "null"], "format": "date-time"});
    json!({
        "type": "object",
        "required": ["id", "tool_id", "status", "progress"],
        "properties": {
            "id": {"type": "string"}, "tool_id": {"type": "string"},
            "status": {"enum": STATES},
            "progress": {"type": "integer", "minimum": 0, "maximum": 100},
            "attempts": {"type": "integer"},
            "created_at": time(), "started_at": time(), "completed_at": time(),
            "duration_ms": {"type": ["integer", "null"]},
            "agent_id": {"type": "string", "description": "Of a run of a conversation."},
            "trigger_type": {"enum": Trigger::ALL.map(Trigger::as_str)},
        },
    })
}

/// The schema of a run with its outcome.
pub(super) fn schema() -> Value {
    let mut schema = row_schema();
    schema["properties"]["result"] = json!({"description": "What it answered."});
    schema["properties"]["error"] = super::error_schema()["properties"]["error"].clone();
    schema["properties"]["result_bytes"] =
        json!({"type": "integer", "description": "Of a result too large to stand here."});
    schema["properties"]["result_url"] = json!({"type": "string", "description": "Where it is."});
    schema
}

fn cancelled_schema() -> Value {
    json!({
        "type": "object",
        "required": ["status", "execution_id", "message"],
        "properties": {
            "status": {"const": "cancelled"},
            "execution_id": {"type": "string"}, "message": {"type": "string"},
        },
    })
}

fn calls_schema() -> Value {
    let items = json!({"type": "array", "items": row_schema()});
    json!({
        "type": "object",
        "required": ["executions", "total"],
        "properties": {"executions": items, "total": {"type": "integer"}},
    })
}

/// A run in listings.
pub(super) fn row(run: &Execution, catalog: &Catalog) -> Value {
    let mut row = json!({
        "id": run.id.to_string(),
        "tool_id": tool_id(catalog, &run.action),
        "status": run.state.as_str(),
        "progress": run.progress,
        "attempts": run.attempts,
        "created_at": run.created_at.to_string(),
        "started_at": run.started_at.map(|at| at.to_string()),
        "completed_at": run.ended_at.map(|at| at.to_string()),
        "duration_ms": duration(run),
    });
    if let Some(origin) = &run.origin {
        row["agent_id"] = origin.agent.as_str().into();
        row["trigger_type"] = origin.trigger.as_str().into();
    }
    row
}

fn duration(run: &Execution) -> Option<i64> {
    let (start, end) = (run.started_at?, run.ended_at?);
    Some(end.duration_since(start).as_millis().try_into().unwrap_or(i64::MAX).max(0))
}

/// A run with its outcome.
pub(super) fn full(cx: &Context, run: &Run) -> Pieces {
    let catalog = cx.app.engine.catalog();
    let mut shown = row(&run.execution, &catalog);
    if let Some(error) = failure::of(run) {
        shown["error"] = failure::shown(&error, cx.app.engine.pages().limits.as_str());
        return shown.to_string().into_bytes().into();
    }
    match result::of(run, &catalog).filter(|_| !result::is_large(run)) {
        Some(data) => result::beside(&shown, &data),
        None => {
            result::note_elsewhere(&mut shown, run);
            shown.to_string().into_bytes().into()
        }
    }
}

/// The run that the path names, if the caller may see it.
pub(super) async fn find(cx: &Context) -> Result<Execution, Error> {
    let caller = cx.caller()?;
    let unknown = || Error::not_found("there is no execution with this id");
    let id = spelled(cx.value(0)).ok_or_else(unknown)?;
    cx.app.engine.runs().execution(caller, id).await
}

/// The run of an id, which may be spelled as that of a job.
fn spelled(id: &str) -> Option<ExecutionId> {
    let job = || id.strip_prefix("job_").and_then(Raw::parse).map(ExecutionId::from_raw);
    ExecutionId::parse(id).or_else(job)
}

async fn show(cx: Context) -> Result<Reply, Failure> {
    let wait = cx.query().number("wait", 0, WAIT)?.unwrap_or(0);
    let (found, caller, runs) = (find(&cx).await?, cx.caller()?, cx.app.engine.runs());
    let id = found.id;
    let will_wait = wait > 0 && !found.state.is_final();
    let _place = will_wait.then(|| cx.app.events.open(&caller.owner)).transpose()?;
    let waited = runs.wait(caller, id, Deadline::after(Duration::from_secs(wait)));
    // A server that stops keeps nobody waiting.
    let run = match cx.app.stopping.run_until_cancelled(waited).await {
        Some(run) => run?,
        None => runs.get(caller, id).await?,
    };
    Ok(Reply::raw_json(StatusCode::OK, full(&cx, &run)))
}

async fn cancel(cx: Context) -> Result<Reply, Failure> {
    let id = find(&cx).await?.id;
    let cancelled = cx.app.engine.runs().cancel(cx.caller()?, id).await;
    if let Err(error) = cancelled {
        // The product's status for this is that of a bad request.
        let has_ended = error.kind() == ErrorKind::Conflict;
        return Err(
            if has_ended { Error::invalid(error.message().to_owned()) } else { error }.into()
        );
    }
    let answer = json!({
        "status": "cancelled",
        "execution_id": id.to_string(),
        "message": "Execution cancelled successfully",
    });
    Ok(Reply::json(StatusCode::OK, &answer))
}

async fn list(cx: Context) -> Result<Reply, Failure> {
    let (bounds, query) = (page::bounds(&cx)?, cx.query());
    let state = query.one_of(
        "status",
        State::parse,
        "queued, running, held, success, error or cancelled",
    )?;
    let after = query.one_of("after", ExecutionId::parse, "the id of an execution")?;
    let catalog = cx.app.engine.catalog();
    let action = match query.text("tool_id")? {
        None => None,
        Some(id) => match catalog.tool(&id) {
            Some(tool) => Some(tool.action.clone()),
            // Nothing ran of what there is not.
            None => {
                let page = Page { items: Vec::new(), total: 0, bounds, has_more: false };
                return Ok(Reply::json(StatusCode::OK, &page.named("executions")));
            }
        },
    };
    let (namespace, name) = action.map(|action| (action.namespace, action.name)).unzip();
    let filter = ExecutionFilter {
        state,
        namespace,
        name,
        after,
        // One more than is shown: behind a cursor, the total does not say whether there is more.
        limit: u32::try_from(bounds.limit).unwrap_or(u32::MAX).saturating_add(1),
        offset: bounds.offset,
        ..Default::default()
    };
    let (runs, total) = cx.app.engine.runs().list(cx.caller()?, &filter).await?;
    let shown = usize::try_from(bounds.limit).unwrap_or(usize::MAX);
    let has_more = shown < runs.len();
    let items = runs.iter().take(shown).map(|run| row(run, &catalog)).collect();
    let page = Page { items, total, bounds, has_more };
    Ok(Reply::json(StatusCode::OK, &page.named("executions")))
}

async fn list_calls(cx: Context) -> Result<Reply, Failure> {
    let id = find(&cx).await?.id;
    let calls = cx.app.engine.runs().calls(cx.caller()?, id).await?;
    let catalog = cx.app.engine.catalog();
    let items = calls.iter().map(|run| row(run, &catalog)).collect::<Vec<_>>();
    Ok(Reply::json(StatusCode::OK, &json!({"total": items.len(), "executions": items})))
}
