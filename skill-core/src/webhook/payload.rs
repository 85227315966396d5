//! What a message says.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::{
    call::{Data, Outcome},
    catalog::Catalog,
    error::ErrorKind,
    id::WebhookId,
    name::{AgentId, UserId},
    queue::Run,
    record::{
        delivery::{ConnectionFacts, Delivery, FiringFacts},
        execution::{Execution, State},
        trigger::Source,
    },
};

/// The longest result that a message holds; a longer one is read where the run is.
const RESULT: usize = 256 * 1024;
/// The most bytes of a service's answer that an error shows.
const SHOWN: usize = 4096;

/// A message as it is sent: what happened is its `event` when it is told as an agent's.
pub(super) fn message(delivery: &Delivery, data: &str, is_agents: bool) -> Bytes {
    let mut head = json!({ "timestamp": delivery.created_at.to_string() });
    head[if is_agents { "event" } else { "type" }] = delivery.event.as_str().into();
    with_member(&head, "data", data).into()
}

/// What is said of a run beside its end, to whoever hears of agents.
pub(super) fn of_agent(run: &Execution, source: &Source) -> Map<String, Value> {
    let version = run.version.map_or_else(|| "v1.0".to_owned(), |version| version.to_string());
    let mut said = Map::from_iter([
        ("execution_id".to_owned(), Value::from(run.id.to_string())),
        ("job_id".to_owned(), format!("job_{}", run.id.raw()).into()),
        ("user_id".to_owned(), run.user.as_ref().map(UserId::as_str).into()),
        ("skill_category".to_owned(), run.action.namespace.as_str().into()),
        ("skill_name".to_owned(), run.action.name.as_str().into()),
        ("skill_version".to_owned(), version.into()),
    ]);
    if let Some(origin) = &run.origin {
        let conversation = origin.conversation.unwrap_or(run.id);
        said.insert("agent_id".into(), origin.agent.as_str().into());
        said.insert("conversation_id".into(), format!("conv_{}", conversation.raw()).into());
        said.insert("trigger_type".into(), origin.trigger.as_str().into());
    }
    if let Some(id) = source.schedule {
        said.insert("scheduled_job_id".into(), id.to_string().into());
    }
    if let Some(id) = source.trigger {
        said.insert("trigger_id".into(), id.to_string().into());
    }
    said
}

/// What is said of an agent that was removed.
pub(super) fn of_removed(agent: &AgentId) -> String {
    json!({ "agent_id": agent.as_str(), "status": "deleted" }).to_string()
}

/// What is said of a due time that no run could be made of.
pub(super) fn of_firing(known: &FiringFacts) -> String {
    json!({
        "scheduled_job_id": known.schedule.to_string(),
        "agent_id": known.agent.as_str(),
        "skill_category": known.action.namespace.as_str(),
        "skill_name": known.action.name.as_str(),
        "due_at": known.due_at.to_string(),
        "status": State::Error.as_str(),
        "error": { "code": "not_started", "message": known.error, "details": {} },
    })
    .to_string()
}

/// What is said of a run that ended, with what stands `beside` it.
pub(super) fn of_run(run: &Run, catalog: &Catalog, beside: Map<String, Value>) -> String {
    let execution = &run.execution;
    let action = &execution.action;
    let derived = || format!("{}-{}", action.namespace.canonical(), action.name.canonical());
    let tool = catalog.tool_of(action);
    let mut said = json!({
        "execution_id": execution.id.to_string(),
        "job_id": format!("job_{}", execution.id.raw()),
        "tool_id": tool.map_or_else(derived, |tool| tool.id.clone()),
        "status": execution.state.as_str(),
    });
    for (name, value) in beside {
        said[name] = value;
    }
    if execution.state != State::Success {
        said["error"] = error(run);
        return said.to_string();
    }
    if let Some(Outcome::Answer { data, .. }) = &run.outcome {
        let data = tool.map_or_else(|| data.clone(), |tool| tool.project(data));
        if let Some(text) = result(&data, &mut said).filter(|text| text.len() <= RESULT) {
            return with_member(&said, "result", &text);
        }
    }
    if let Some(bytes) = run.result_bytes {
        said["result_bytes"] = bytes.into();
    }
    with_member(&said, "result", "null")
}

/// What is said of a connection.
pub(super) fn of_connection(known: &ConnectionFacts) -> String {
    json!({
        "connection_id": known.id.to_string(),
        "integration": known.integration.as_str(),
        "label": known.label,
        "user": known.user.as_ref().map(UserId::as_str),
    })
    .to_string()
}

/// What is said when a subscription is tried out.
pub(super) fn of_test(id: WebhookId) -> String {
    json!({ "webhook_id": id.to_string() }).to_string()
}

/// The object with one more member, whose value is JSON already.
fn with_member(object: &Value, name: &str, text: &str) -> String {
    let object = object.to_string();
    format!("{},\"{name}\":{text}}}", object.strip_suffix('}').unwrap_or(&object))
}

/// A result as JSON; what else there is to say of it is added to `said`.
fn result(data: &Data, said: &mut Value) -> Option<String> {
    Some(match data {
        Data::Empty => "null".into(),
        Data::Json(bytes) => String::from_utf8(bytes.to_vec()).ok()?,
        Data::Text(text) => Value::String(text.clone()).to_string(),
        Data::Binary { content_type, bytes } => {
            said["encoding"] = "base64".into();
            said["content_type"] = content_type.clone().into();
            Value::String(STANDARD.encode(bytes)).to_string()
        }
    })
}

/// Why a run ended other than well.
fn error(run: &Run) -> Value {
    let execution = &run.execution;
    let failed = |kind: ErrorKind, message: &str, details: Value| json!({ "code": kind.as_str(), "message": message, "details": details });
    match &run.outcome {
        _ if execution.state == State::Cancelled => {
            json!({ "code": "cancelled", "message": "the run was cancelled", "details": {} })
        }
        Some(Outcome::Failed(failure)) => {
            let details = failure.details.iter();
            let details = details.map(|it| (it.field.clone(), Value::from(it.issue.clone())));
            let mut said = failed(failure.kind, &failure.message, details.collect());
            if let Some(url) = &failure.action_url {
                said["action_url"] = url.clone().into();
            }
            said
        }
        Some(Outcome::Answer { status, data }) => {
            let message = format!("the service answered with status {}", status.as_u16());
            let mut details = json!({ "upstream_status": status.as_u16().to_string() });
            match data {
                Data::Text(text) => details["upstream_body"] = cut(text).into(),
                Data::Json(bytes) => {
                    details["upstream_body"] = cut(&String::from_utf8_lossy(bytes)).into();
                }
                Data::Empty | Data::Binary { .. } => {}
            }
            failed(ErrorKind::ActionFailed, &message, details)
        }
        None => {
            let kind = execution.error.unwrap_or(ErrorKind::ActionFailed);
            match execution.upstream_status.filter(|_| execution.error.is_none()) {
                Some(status) => {
                    let message = format!("the service answered with status {status}");
                    let details = json!({ "upstream_status": status.to_string() });
                    failed(kind, &message, details)
                }
                None => failed(kind, "the run ended in an error that was not kept", json!({})),
            }
        }
    }
}

fn cut(text: &str) -> String {
    let end = text.floor_char_boundary(SHOWN);
    if end == text.len() { text.to_owned() } else { format!("{}…", &text[..end]) }
}
