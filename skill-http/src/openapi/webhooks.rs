//! The messages that subscribers are sent, as the document's `webhooks`.

use serde_json::{Map, Value, json};
use skill_core::record::webhook::Event;

/// To whom messages go: the two name what happened differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Audience {
    /// Subscribers of `/v1/webhooks`.
    Tools,
    /// Subscribers of `/api/agent-webhooks`, and callbacks.
    Agents,
}

/// Every message by its event.
pub(super) fn all(audience: Audience) -> Map<String, Value> {
    let events = match audience {
        Audience::Tools => &Event::ALL[..],
        Audience::Agents => &Event::OF_AGENTS[..],
    };
    let events = events.iter().copied().chain([Event::Test]);
    events
        .map(|event| (key(event, audience), json!({ "post": message(event, audience) })))
        .collect()
}

/// Under which a message stands in the document: some are told to both.
fn key(event: Event, audience: Audience) -> String {
    match audience {
        Audience::Agents if Event::ALL.contains(&event) || event == Event::Test => {
            format!("{} (agent)", event.as_str())
        }
        Audience::Agents | Audience::Tools => event.as_str().to_owned(),
    }
}

fn message(event: Event, audience: Audience) -> Value {
    let name = event.as_str();
    let (member, kind) = match audience {
        Audience::Tools => ("type", "webhook"),
        Audience::Agents => ("event", "agent_webhook"),
    };
    let payload = json!({
        "type": "object",
        "required": [member, "timestamp", "data"],
        "properties": {
            member: {"const": name},
            "timestamp": {
                "type": "string", "format": "date-time",
                "description": "When it happened; the same in every attempt.",
            },
            "data": data(event, audience),
        },
    });
    json!({
        "operationId": format!("{kind}_{}", name.replace('.', "_")),
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
        Event::SkillCompleted => "A run of an agent ended well; also sent to its `callback_url`",
        Event::SkillFailed => {
            "A run of an agent ended in an error after all its attempts, or was cancelled; also sent \
             to its `callback_url`"
        }
        Event::AgentError => {
            "A run ended because an account has to be connected, or connected anew"
        }
        Event::AgentStatusChanged => "An agent was removed",
        Event::ConversationCreated => "A run was asked for that begins a conversation",
        Event::ScheduledJobCompleted => "A run of a scheduled job ended well",
        Event::ScheduledJobFailed => {
            "A run of a scheduled job ended in an error or was cancelled, or could not be made"
        }
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

fn data(event: Event, audience: Audience) -> Value {
    let mut data = said(event);
    let is_of_agent = matches!(
        event,
        Event::SkillCompleted
            | Event::SkillFailed
            | Event::AgentError
            | Event::ConversationCreated
            | Event::ScheduledJobCompleted
            | Event::ScheduledJobFailed
    );
    if audience == Audience::Agents && is_of_agent {
        let text = || json!({"type": "string"});
        for name in ["agent_id", "skill_category", "skill_name", "skill_version"] {
            data["properties"][name] = text();
        }
        for name in ["conversation_id", "trigger_type", "scheduled_job_id", "trigger_id"] {
            data["properties"][name] = text();
        }
        data["properties"]["user_id"] = json!({"type": ["string", "null"]});
    }
    data
}

fn said(event: Event) -> Value {
    let ends_badly = &["error", "cancelled"];
    match event {
        Event::SkillCompleted | Event::ScheduledJobCompleted => {
            run(&["success"], "result", result())
        }
        Event::SkillFailed => run(ends_badly, "error", error()),
        Event::AgentError => run(&["error"], "error", error()),
        Event::ScheduledJobFailed => {
            let mut data = run(ends_badly, "error", error());
            data["required"] = json!(["scheduled_job_id", "status", "error"]);
            data["properties"]["due_at"] = json!({
                "type": "string", "format": "date-time",
                "description": "Where there is no run: the time that none could be made of.",
            });
            data
        }
        Event::ConversationCreated => json!({
            "type": "object", "required": ["conversation_id", "execution_id", "job_id"],
            "properties": {"execution_id": {"type": "string"}, "job_id": {"type": "string"}},
        }),
        Event::AgentStatusChanged => json!({
            "type": "object", "required": ["agent_id", "status"],
            "properties": {"agent_id": {"type": "string"}, "status": {"const": "deleted"}},
        }),
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
