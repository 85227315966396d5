//! The messages that subscribers are sent, as the document's `webhooks`.

use serde_json::{Map, Value, json};
use skill_core::record::webhook::Event;

/// Every message by its event.
pub(super) fn all() -> Map<String, Value> {
    let events = Event::ALL.into_iter().chain([Event::Test]);
    events.map(|event| (event.as_str().to_owned(), json!({ "post": message(event) }))).collect()
}

fn message(event: Event) -> Value {
    let name = event.as_str();
    let payload = json!({
        "type": "object",
        "required": ["type", "timestamp", "data"],
        "properties": {
            "type": {"const": name},
            "timestamp": {
                "type": "string", "format": "date-time",
                "description": "When it happened; the same in every attempt.",
            },
            "data": data(event),
        },
    });
    json!({
        "operationId": format!("webhook_{}", name.replace('.', "_")),
        "summary": summary(event),
        "description": "Sent at least once, and again with the same `webhook-id` until the receiver \
                        answers 2xx within the time it has; redirects are not followed. 410 \
                        disables the subscription.",
        "parameters": headers(),
        "requestBody": {"required": true, "content": {"application/json": {"schema": payload}}},
        "responses": {
            "2XX": {"description": "It has arrived"},
            "410": {"description": "Nothing is to be sent here any more"},
            "default": {"description": "It is sent again later, not before `Retry-After`"},
        },
    })
}

fn summary(event: Event) -> &'static str {
    match event {
        Event::ExecutionCompleted => "A run ended well",
        Event::ExecutionFailed => "A run ended in an error, or was cancelled",
        Event::ConnectionCreated => "An account was connected",
        Event::ConnectionExpired => "A connection's access ended: a person has to reconnect it",
        Event::ConnectionDeleted => "A connection was removed",
        Event::Test => "Somebody tries the subscription out",
    }
}

/// What Standard Webhooks 1.0.0 asks for, and the signature of the body alone.
fn headers() -> Vec<Value> {
    let headers = [
        ("webhook-id", "Names the message: it comes twice only as a repeat.", "msg_…"),
        ("webhook-timestamp", "When this attempt began, in seconds since 1970.", "1767225600"),
        (
            "webhook-signature",
            "`v1,` and the base64 HMAC-SHA256 of `id.timestamp.body`, keyed with the base64-decoded \
             rest of the secret behind `whsec_`; one for each secret while it is being replaced, \
             with a space between them.",
            "v1,…",
        ),
        (
            "X-Webhook-Signature",
            "`sha256=` and the hexadecimal HMAC-SHA256 of the body, with the present secret.",
            "sha256=…",
        ),
    ];
    let header = |(name, what, example): (&str, &str, &str)| {
        json!({
            "name": name, "in": "header", "required": true, "description": what,
            "schema": {"type": "string"}, "example": example,
        })
    };
    headers.map(header).to_vec()
}

fn data(event: Event) -> Value {
    match event {
        Event::ExecutionCompleted => run(&["success"], "result", result()),
        Event::ExecutionFailed => run(&["error", "cancelled"], "error", error()),
        Event::ConnectionCreated | Event::ConnectionExpired | Event::ConnectionDeleted => {
            let may_lack = || json!({"type": ["string", "null"]});
            json!({
                "type": "object",
                "required": ["connection_id", "integration", "label", "user"],
                "properties": {
                    "connection_id": {"type": "string"}, "integration": {"type": "string"},
                    "label": may_lack(), "user": may_lack(),
                },
            })
        }
        Event::Test => json!({
            "type": "object", "required": ["webhook_id"],
            "properties": {"webhook_id": {"type": "string"}},
        }),
    }
}

fn run(states: &[&str], outcome: &str, schema: Value) -> Value {
    let text = || json!({"type": "string"});
    let mut data = json!({
        "type": "object",
        "required": ["execution_id", "job_id", "tool_id", "status", outcome],
        "properties": {
            "execution_id": text(), "job_id": text(), "tool_id": text(),
            "status": {"enum": states},
        },
    });
    data["properties"][outcome] = schema;
    if outcome == "result" {
        data["properties"]["result_bytes"] = json!({
            "type": "integer",
            "description": "How long the result is, where one is kept; read it at the run.",
        });
        data["properties"]["encoding"] = json!({"const": "base64"});
        data["properties"]["content_type"] = json!({"type": "string"});
    }
    data
}

fn result() -> Value {
    json!({
        "description": "As the tool's `outputs` say. Null when it is longer than 256 KiB, and for \
                        calls whose answers are not kept.",
    })
}

fn error() -> Value {
    json!({
        "type": "object",
        "required": ["code", "message", "details"],
        "properties": {
            "code": {"type": "string", "examples": ["action_failed", "timeout", "outcome_unknown", "cancelled"]},
            "message": {"type": "string"},
            "details": {"type": "object", "additionalProperties": {"type": "string"}},
            "action_url": {"type": "string", "description": "The page where a person can mend it."},
        },
    })
}
