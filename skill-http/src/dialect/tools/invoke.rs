//! `POST /v1/tools/{id}/invoke`: a tool runs, now or by and by.

use std::time::Duration;

use http::{Method, StatusCode, header};
use serde_json::{Map, Value, json};
use skill_core::{
    Error,
    access::{Intent, authorize},
    call::{CallRequest, Known},
    catalog::Tool,
    id::ExecutionId,
    queue::{Invoked, OnDeadline, Run, Submission},
    record::{execution::Timing, scope::Scope},
};

use super::{catalog, failure, result};
use crate::{
    app::Context,
    app::route::{Access, Operation, Route},
    dialect::headers::{REPLAYED, idempotency_key, named_connection},
    reply::{Failure, Reply},
    request::Members,
};

/// The longest `timeout`, `delay` and `deadline`, in seconds.
const LONGEST: u64 = 300;
const DELAY: u64 = 30 * 24 * 3600;
const DEADLINE: u64 = 24 * 3600;
/// The highest `priority`, and with a sign the lowest.
const PRIORITY: i16 = 100;

pub(super) fn routes() -> Vec<Route> {
    let body = json!({
        "type": "object",
        "description": "The tool's inputs: bare, or under `inputs` with `options` beside them.",
        "examples": [{"owner": "acme", "repo": "webapp", "state": "open"}],
    });
    let text = || json!({"type": "string"});
    let operation = Operation::new("invoke_tool", "Run a tool")
        .body(body)
        .query("async", json!({"type": "boolean", "default": false}))
        .query("timeout", json!({"type": "integer", "minimum": 1, "maximum": LONGEST}))
        .query("on_deadline", json!({"enum": ["abort", "continue"], "default": "abort"}))
        .query("delay", json!({"type": "integer", "minimum": 0, "maximum": DELAY}))
        .query("deadline", json!({"type": "integer", "minimum": 1, "maximum": DEADLINE}))
        .query(
            "priority",
            json!({
                "type": "integer", "minimum": -PRIORITY, "maximum": PRIORITY, "default": 0,
            }),
        )
        .header("Idempotency-Key", json!({"type": "string", "minLength": 1, "maxLength": 255}))
        .header("Skill-Connection", text())
        .answer(200, "It ran, and this is what it answered", done_schema())
        .answer(202, "It is queued: its inputs are on disk", queued_schema())
        .errors(&[400, 401, 403, 404, 408, 409, 413, 415, 422, 429, 500, 503, 504]);
    let path = "/v1/tools/{tool_id}/invoke";
    vec![Route::new(Method::POST, path, Access::Key(None), operation, |cx| Box::pin(invoke(cx)))]
}

fn done_schema() -> Value {
    let count = || json!({"type": "integer", "minimum": 0});
    json!({
        "type": "object",
        "required": ["status", "execution_id", "result", "timing"],
        "properties": {
            "status": {"const": "success"},
            "execution_id": {"type": "string"},
            "result": {"description": "As the tool's `outputs` say."},
            "timing": {
                "type": "object",
                "required": ["total_ms", "execution_ms", "processing_ms"],
                "properties": {
                    "total_ms": count(), "execution_ms": count(), "processing_ms": count(),
                },
            },
        },
    })
}

fn queued_schema() -> Value {
    json!({
        "type": "object",
        "required": ["status", "execution_id", "message", "status_url"],
        "properties": {
            "status": {"const": "queued"}, "execution_id": {"type": "string"},
            "message": {"type": "string"}, "status_url": {"type": "string"},
        },
    })
}

/// How a tool is to run.
#[derive(Debug, Default, PartialEq, Eq)]
struct Options {
    is_async: Option<bool>,
    timeout: Option<u64>,
    on_deadline: Option<OnDeadline>,
}

impl Options {
    fn of_query(cx: &Context) -> Result<Self, Error> {
        let query = cx.query();
        Ok(Self {
            is_async: query.flag("async")?,
            timeout: query.number("timeout", 1, LONGEST)?,
            on_deadline: query.one_of("on_deadline", on_deadline, "abort or continue")?,
        })
    }

    /// Reads the member `options`; returns the connection that it names, too.
    fn of_body(options: Map<String, Value>) -> Result<(Self, Option<String>), Error> {
        let mut members = Members::new(options);
        let (is_async, timeout) = (members.flag("async"), members.count("timeout"));
        let (when, connection) = (members.text("on_deadline"), members.text("connection"));
        members.end()?;
        let wrong = |name: &str, issue: String| {
            Error::invalid(format!("`options.{name}`: {issue}")).detail(name, issue)
        };
        if timeout.is_some_and(|seconds| !(1..=LONGEST).contains(&seconds)) {
            let issue = format!("expected a whole number from 1 to {LONGEST}");
            return Err(wrong("timeout", issue));
        }
        let read = when.as_deref().map(|text| {
            on_deadline(text)
                .ok_or_else(|| wrong("on_deadline", "expected abort or continue".into()))
        });
        Ok((Self { is_async, timeout, on_deadline: read.transpose()? }, connection))
    }

    /// Both together, when they agree.
    fn and(&self, other: &Self) -> Result<Self, Error> {
        fn one<T: Copy + PartialEq>(
            name: &str,
            a: Option<T>,
            b: Option<T>,
        ) -> Result<Option<T>, Error> {
            if a.is_some() && b.is_some() && a != b {
                let issue = "the query and the options say different things";
                return Err(Error::invalid(format!("`{name}`: {issue}")).detail(name, issue));
            }
            Ok(a.or(b))
        }
        Ok(Self {
            is_async: one("async", self.is_async, other.is_async)?,
            timeout: one("timeout", self.timeout, other.timeout)?,
            on_deadline: one("on_deadline", self.on_deadline, other.on_deadline)?,
        })
    }
}

fn on_deadline(text: &str) -> Option<OnDeadline> {
    match text {
        "abort" => Some(OnDeadline::Abort),
        "continue" => Some(OnDeadline::Continue),
        _ => None,
    }
}

/// Queues a call as the query wants it.
pub(crate) async fn submit(cx: &Context, mut call: CallRequest) -> Result<Reply, Failure> {
    call.timeout = cx.query().number("timeout", 1, LONGEST)?.map(Duration::from_secs);
    let submission = submission(cx, call)?;
    let submitted = cx.app.engine.runs().submit(cx.admitted()?, submission).await?;
    Ok(queued(submitted.id, submitted.is_replay))
}

/// The run of `call` as the query wants it queued.
fn submission(cx: &Context, call: CallRequest) -> Result<Submission, Error> {
    let (query, expected) = (cx.query(), format!("a whole number from -{PRIORITY} to {PRIORITY}"));
    let is_fit = |priority: &i16| (-PRIORITY..=PRIORITY).contains(priority);
    let priority = query.one_of("priority", |text| text.parse().ok().filter(is_fit), &expected)?;
    let delay = query.number("delay", 0, DELAY)?.filter(|delay| *delay > 0);
    let deadline = query.number("deadline", 1, DEADLINE)?;
    Ok(Submission {
        priority: priority.unwrap_or(0),
        delay: delay.map(Duration::from_secs),
        deadline: deadline.map(Duration::from_secs),
        ..Submission::new(call)
    })
}

/// The inputs, and the options beside them.
type Unwrapped = (Map<String, Value>, Map<String, Value>);

/// Takes the inputs out of their wrapping, when that is what it is.
fn unwrap(mut body: Map<String, Value>, tool: &Tool) -> Result<Unwrapped, Error> {
    let is_wrapped = body.contains_key("inputs")
        && body.keys().all(|name| matches!(name.as_str(), "inputs" | "options"))
        && tool.inputs()["properties"].get("inputs").is_none();
    if !is_wrapped {
        return Ok((body, Map::new()));
    }
    let mut take = |name: &str| match body.remove(name) {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(Value::Object(members)) => Ok(members),
        Some(_) => {
            let issue = "expected an object";
            Err(Error::invalid(format!("`{name}`: {issue}")).detail(name, issue))
        }
    };
    Ok((take("inputs")?, take("options")?))
}

async fn invoke(cx: Context) -> Result<Reply, Failure> {
    let tool = catalog::find(&cx)?;
    let scope = Scope::Action(tool.action.clone());
    authorize(cx.caller()?, &Intent { scope, class: None }).allowed()?;
    let options = Options::of_query(&cx)?;
    let idempotency_key = idempotency_key(&cx.headers)?;
    let (inputs, wrapped) = unwrap(cx.object()?, &tool)?;
    let (wrapped, connection) = Options::of_body(wrapped)?;
    let options = options.and(&wrapped)?;
    let call = CallRequest {
        action: tool.action.clone(),
        params: tool.call(inputs)?,
        connection: named_connection(connection, &cx.headers)?,
        idempotency_key,
        timeout: options.timeout.map(Duration::from_secs),
        keeps_bodies: true,
        collect: None,
        known: Known::default(),
    };
    let submission = submission(&cx, call)?;
    let (runs, admitted) = (cx.app.engine.runs(), cx.admitted()?);
    if options.is_async == Some(true) {
        let submitted = runs.submit(admitted, submission).await?;
        return Ok(queued(submitted.id, submitted.is_replay));
    }
    let on_deadline = options.on_deadline.unwrap_or(OnDeadline::Abort);
    match runs.invoke(admitted, submission, on_deadline).await? {
        Invoked::Continues(id) => Ok(queued(id, false)),
        Invoked::Ended(run) => ended(&cx, &run),
    }
}

fn queued(id: ExecutionId, is_replay: bool) -> Reply {
    let answer = json!({
        "status": "queued",
        "execution_id": id.to_string(),
        "message": "Tool execution queued. Check status for results.",
        "status_url": format!("/executions/{id}"),
    });
    let reply = Reply::json(StatusCode::ACCEPTED, &answer)
        .with(header::LOCATION, &format!("/v1/executions/{id}"));
    if is_replay { reply.with(REPLAYED, "true") } else { reply }
}

fn ended(cx: &Context, run: &Run) -> Result<Reply, Failure> {
    let execution = &run.execution;
    if let Some(error) = failure::of(run) {
        let error = error.of_run(execution.id);
        return Err(if run.is_replay { error.replayed() } else { error }.into());
    }
    let mut shown = json!({
        "status": "success",
        "execution_id": execution.id.to_string(),
        "timing": timing(execution.timing),
    });
    let body = match result::of(run, &cx.app.engine.catalog()) {
        Some(data) => result::beside(&shown, &data),
        None => {
            result::note_elsewhere(&mut shown, run);
            shown.to_string().into_bytes().into()
        }
    };
    let reply = Reply::raw_json(StatusCode::OK, body);
    Ok(if run.is_replay { reply.with(REPLAYED, "true") } else { reply })
}

/// Whole milliseconds that add up.
fn timing(timing: Timing) -> Value {
    let total = timing.total.as_millis();
    let execution = timing.upstream.as_millis().min(total);
    let number = |millis: u128| u64::try_from(millis).unwrap_or(u64::MAX);
    json!({
        "total_ms": number(total),
        "execution_ms": number(execution),
        "processing_ms": number(total - execution),
    })
}
