//! What a message says.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde_json::{Value, json};

use crate::{
    call::{Data, Outcome},
    catalog::Catalog,
    error::ErrorKind,
    id::WebhookId,
    name::UserId,
    queue::Run,
    record::{
        delivery::{ConnectionFacts, Delivery},
        execution::State,
    },
};

/// The longest result that a message holds; a longer one is read where the run is.
const RESULT: usize = 256 * 1024;
/// The most bytes of a service's answer that an error shows.
const SHOWN: usize = 4096;

/// A message as it is sent.
pub(super) fn message(delivery: &Delivery, data: &str) -> Bytes {
    let head = json!({
        "type": delivery.event.as_str(),
        "timestamp": delivery.created_at.to_string(),
    });
    with_member(&head, "data", data).into()
}

/// What is said of a run that ended.
pub(super) fn of_run(run: &Run, catalog: &Catalog) -> String {
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
