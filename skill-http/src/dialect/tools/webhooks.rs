//! `/v1/webhooks`: who wants to be told how runs end. A subscription is kept; delivering is not
//! done here yet.

use http::{Method, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use skill_core::{
    Error,
    id::WebhookId,
    name::Slug,
    record::{
        scope::Scope,
        webhook::{Event, Subscription},
    },
    webhooks::NewWebhook,
};

use super::page::{self, Page};
use crate::{
    app::Context,
    app::route::{Access, Operation, Route},
    reply::{Failure, Reply},
};

/// What this dialect tells about.
const EVENTS: [Event; 2] = [Event::ExecutionCompleted, Event::ExecutionFailed];

const ERRORS: &[u16] = &[400, 401, 403, 404, 408, 413, 415, 429, 500, 503];

pub(super) fn routes() -> Vec<Route> {
    let key = || Access::Key(Slug::parse("webhooks").ok().map(Scope::Namespace));
    let text = || json!({"type": "string"});
    let body = json!({
        "type": "object",
        "required": ["url", "events"],
        "additionalProperties": false,
        "properties": {
            "url": {"type": "string", "format": "uri", "maxLength": 2048},
            "events": {
                "type": "array", "minItems": 1, "uniqueItems": true,
                "items": {"enum": EVENTS.map(Event::as_str)},
            },
            "tool_ids": {
                "type": "array", "maxItems": 100, "uniqueItems": true, "items": text(),
                "description": "Runs of these tools only; all of them without it.",
            },
            "secret": {
                "type": "string",
                "description": "`whsec_` and the base64 of 24 to 64 bytes; made when it is missing.",
            },
        },
        "examples": [{
            "url": "https://example.com/callback",
            "events": ["execution.completed", "execution.failed"],
            "tool_ids": ["github-list-prs"],
        }],
    });
    let listing = page::query(Operation::new("tools_list_webhooks", "List the subscriptions"))
        .answer(200, "A page of them, the newest first", page::schema("items", &schema()))
        .errors(&[400, 401, 403, 429, 500, 503]);
    let making = Operation::new("tools_create_webhook", "Keep a subscription")
        .body(body)
        .answer(201, "The subscription, with its secret this once", made_schema())
        .errors(ERRORS);
    let removing = Operation::new("tools_delete_webhook", "Remove a subscription")
        .answer(204, "It is gone", Value::Null)
        .errors(ERRORS);
    let one = "/v1/webhooks/{webhook_id}";
    vec![
        Route::new(Method::GET, "/v1/webhooks", key(), listing, |cx| Box::pin(list(cx))),
        Route::new(Method::POST, "/v1/webhooks", key(), making, |cx| Box::pin(create(cx))),
        Route::new(Method::DELETE, one, key(), removing, |cx| Box::pin(remove(cx))),
    ]
}

/// The schema of a subscription in listings.
fn schema() -> Value {
    let texts = || json!({"type": "array", "items": {"type": "string"}});
    json!({
        "type": "object",
        "required": ["id", "url", "events", "tool_ids", "created_at"],
        "properties": {
            "id": {"type": "string"}, "url": {"type": "string"}, "events": texts(),
            "tool_ids": texts(), "created_at": {"type": "string", "format": "date-time"},
        },
    })
}

fn made_schema() -> Value {
    let mut schema = schema();
    schema["properties"]["secret"] = json!({"type": "string", "description": "Shown this once."});
    schema
}

fn shown(webhook: &Subscription) -> Value {
    json!({
        "id": webhook.id.to_string(),
        "url": webhook.url,
        "events": webhook.events.iter().map(|event| event.as_str()).collect::<Vec<_>>(),
        "tool_ids": webhook.tool_ids,
        "created_at": webhook.created_at.to_string(),
    })
}

async fn list(cx: Context) -> Result<Reply, Failure> {
    let bounds = page::bounds(&cx)?;
    let webhooks = cx.app.engine.webhooks().list(cx.caller()?).await?;
    let page = Page::cut(&webhooks, bounds, shown);
    Ok(Reply::json(StatusCode::OK, &page.named("items")))
}

async fn create(cx: Context) -> Result<Reply, Failure> {
    let mut body = cx.members()?;
    let (url, events) = (body.required_text("url"), body.list("events"));
    let (tool_ids, secret) = (body.list("tool_ids"), body.text("secret"));
    body.end()?;
    let wanted = NewWebhook {
        tool_ids: tool_ids.unwrap_or_default(),
        secret: secret.map(SecretString::from),
        ..NewWebhook::new(&url, known(&events.unwrap_or_default())?)
    };
    let catalog = cx.app.engine.catalog();
    let made = cx.app.engine.webhooks().create(cx.caller()?, wanted, &catalog).await?;
    let (webhook, secret) = made;
    let mut answer = shown(&webhook);
    answer["secret"] = secret.expose_secret().into();
    Ok(Reply::json(StatusCode::CREATED, &answer))
}

/// The events that this dialect knows.
fn known(names: &[String]) -> Result<Vec<Event>, Error> {
    let known = |name: &String| EVENTS.into_iter().find(|event| event.as_str() == name);
    let events = names.iter().map(known).collect::<Option<Vec<_>>>();
    events.ok_or_else(|| {
        let issue = "expected `execution.completed` or `execution.failed`";
        Error::invalid(format!("`events`: {issue}")).detail("events", issue)
    })
}

async fn remove(cx: Context) -> Result<Reply, Failure> {
    let unknown = || Error::not_found("there is no webhook with this id");
    let id = WebhookId::parse(cx.value(0)).ok_or_else(unknown)?;
    cx.app.engine.webhooks().delete(cx.caller()?, id).await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}
