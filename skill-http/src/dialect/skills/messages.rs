//! `/api/conversations/{id}/messages`: a conversation line by line.

use http::{Method, StatusCode};
use jiff::Timestamp;
use serde_json::{Value, json};
use skill_core::{
    Error,
    call::Outcome,
    queue::Run,
    record::execution::{Execution, State},
};

use super::{conversations, run};
use crate::{
    app::Context,
    app::route::{Operation, Route},
    reply::{Failure, Reply},
};

/// The most bytes of an input or a result that stand in a message: a page holds many of them.
const BYTES: usize = 64 << 10;

pub(super) fn routes() -> Vec<Route> {
    let listing = Operation::new("list_messages", "Read a conversation");
    let listing = conversations::bounded(listing)
        .answer(200, "Its messages, the oldest first", schema())
        .errors(conversations::READING);
    let path = "/api/conversations/{conversation_id}/messages";
    vec![Route::new(Method::GET, path, conversations::key(), listing, |cx| Box::pin(list(cx)))]
}

fn schema() -> Value {
    let roles = json!({"enum": ["user", "assistant", "tool"]});
    let kinds = json!({"enum": ["input", "text", "call", "progress", "result", "error"]});
    let message = json!({
        "type": "object",
        "required": ["role", "type", "job_id", "content", "created_at"],
        "properties": {
            "role": roles, "type": kinds, "job_id": {"type": "string"},
            "content": {"description": "Null where `content_bytes` says that it is too large."},
            "content_bytes": {"type": "integer"},
            "created_at": {"type": "string", "format": "date-time"},
        },
    });
    json!({"type": "array", "items": message})
}

/// A page of messages while it is filled.
struct Page {
    left_out: u64,
    room: usize,
    lines: Vec<Value>,
}

impl Page {
    fn is_full(&self) -> bool {
        self.lines.len() >= self.room
    }

    fn push(&mut self, line: Value) {
        if self.left_out > 0 {
            self.left_out -= 1;
        } else if !self.is_full() {
            self.lines.push(line);
        }
    }
}

async fn list(cx: Context) -> Result<Reply, Failure> {
    let (limit, offset) = conversations::bounds(&cx)?;
    let start = conversations::named(&cx)?;
    let (_, runs) = cx.app.engine.runs().conversation(cx.caller()?, start).await?;
    let room = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut page = Page { left_out: offset, room, lines: Vec::new() };
    for run in &runs {
        if page.is_full() {
            break;
        }
        for line in of_run(&cx, run).await? {
            page.push(line);
        }
    }
    Ok(Reply::json(StatusCode::OK, &Value::from(page.lines)))
}

/// The messages of one run, the oldest first.
async fn of_run(cx: &Context, execution: &Execution) -> Result<Vec<Value>, Error> {
    let (caller, runs) = (cx.caller()?, cx.app.engine.runs());
    let run = runs.get(caller, execution.id).await?;
    let job = run::job(&run.execution);
    let line = |role: &str, kind: &str, content: Value, at: Timestamp| {
        let mut line = json!({"role": role, "type": kind, "job_id": job});
        put_content(&mut line, content);
        line["created_at"] = at.to_string().into();
        (at, line)
    };
    let calls = runs.calls(caller, execution.id).await?;
    let said = runs.said(caller, execution.id).await?;
    let calls =
        calls.iter().map(|call| line("tool", "call", conversations::skill(call), call.created_at));
    let said = said.into_iter().map(|(at, text)| line("assistant", "text", text.into(), at));
    let mut between = calls.chain(said).collect::<Vec<_>>();
    between.sort_by_key(|(at, _)| *at);
    let input = run.input.clone().unwrap_or_default();
    let input = line("user", "input", input, run.execution.created_at);
    let last = last(cx, &run).map(|(kind, content, at)| line("assistant", kind, content, at));
    let all = std::iter::once(input).chain(between).chain(last);
    Ok(all.map(|(_, line)| line).collect())
}

/// How the run ended, or how far it is.
fn last(cx: &Context, run: &Run) -> Option<(&'static str, Value, Timestamp)> {
    let execution = &run.execution;
    let at = execution.ended_at.or(execution.started_at).unwrap_or(execution.created_at);
    match (execution.state, &run.outcome) {
        (State::Success, Some(Outcome::Answer { data, .. })) => {
            Some(("result", data.json().unwrap_or_default(), at))
        }
        (State::Success, _) => Some(("result", Value::Null, at)),
        (State::Error, _) => {
            let mut said = json!({});
            run::put_error(cx, &mut said, run);
            Some(("error", said, at))
        }
        (State::Cancelled, _) => {
            Some(("error", json!({"error": "cancelled", "message": "the run was cancelled"}), at))
        }
        (State::Queued | State::Running | State::Held, _) => {
            let progress = json!({"status": "active", "progress": execution.progress});
            Some(("progress", progress, at))
        }
    }
}

/// Puts what a message says, or how large it is.
fn put_content(line: &mut Value, content: Value) {
    let bytes = content.to_string().len();
    if bytes > BYTES {
        line["content"] = Value::Null;
        line["content_bytes"] = bytes.into();
    } else {
        line["content"] = content;
    }
}
