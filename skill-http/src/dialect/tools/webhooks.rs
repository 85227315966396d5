//! `/v1/webhooks`: who wants to be told how runs end, and what becomes of connections.

use std::time::Duration;

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
    webhook::NewWebhook,
};

use super::page::{self, Page};
use crate::{
    app::Context,
    app::route::{Access, Operation, Route},
    reply::{Failure, Reply},
};

const ERRORS: &[u16] = &[400, 401, 403, 404, 408, 413, 415, 429, 500, 503];
/// Of routes that need a subscription that is enabled.
pub(super) const CHANGING: &[u16] = &[400, 401, 403, 404, 408, 409, 413, 415, 429, 500, 503];

/// What opens the routes.
pub(super) fn key() -> Access {
    Access::Key(Slug::parse("webhooks").ok().map(Scope::Namespace))
}

pub(super) fn routes() -> Vec<Route> {
    let listing = page::query(Operation::new("tools_list_webhooks", "List the subscriptions"))
        .answer(200, "A page of them, the newest first", page::schema("items", &schema()))
        .errors(&[400, 401, 403, 429, 500, 503]);
    let making = Operation::new("tools_create_webhook", "Subscribe to events")
        .body(wanted_schema())
        .answer(201, "The subscription, with its secret this once", made_schema())
        .errors(ERRORS);
    let showing = Operation::new("tools_show_webhook", "Show a subscription")
        .answer(200, "The subscription, and why nothing is sent to it", schema())
        .errors(&[400, 401, 403, 404, 429, 500, 503]);
    let body = json!({
        "type": "object", "required": ["enabled"], "additionalProperties": false,
        "properties": {"enabled": {
            "type": "boolean",
            "description": "One that is enabled again tells of what this key may use.",
        }},
    });
    let changing = Operation::new("tools_change_webhook", "Disable a subscription, or enable it")
        .body(body)
        .answer(200, "The subscription", schema())
        .errors(CHANGING);
    let removing = Operation::new("tools_delete_webhook", "Remove a subscription")
        .answer(204, "It is gone, and what was on its way to it", Value::Null)
        .errors(ERRORS);
    let rotating = Operation::new("tools_rotate_webhook_secret", "Replace the secret")
        .body(rotation_schema())
        .answer(201, "The subscription, with its new secret this once", made_schema())
        .errors(ERRORS);
    let (all, one) = ("/v1/webhooks", "/v1/webhooks/{webhook_id}");
    let rotation = "/v1/webhooks/{webhook_id}/rotate";
    vec![
        Route::new(Method::GET, all, key(), listing, |cx| Box::pin(list(cx))),
        Route::new(Method::POST, all, key(), making, |cx| Box::pin(create(cx))),
        Route::new(Method::GET, one, key(), showing, |cx| Box::pin(show(cx))),
        Route::new(Method::PATCH, one, key(), changing, |cx| Box::pin(change(cx))),
        Route::new(Method::DELETE, one, key(), removing, |cx| Box::pin(remove(cx))),
        Route::new(Method::POST, rotation, key(), rotating, |cx| Box::pin(rotate(cx))),
    ]
}

fn wanted_schema() -> Value {
    json!({
        "type": "object",
        "required": ["url", "events"],
        "additionalProperties": false,
        "properties": {
            "url": {"type": "string", "format": "uri", "maxLength": 2048},
            "events": {
                "type": "array", "minItems": 1, "uniqueItems": true,
                "items": {"enum": Event::ALL.map(Event::as_str)},
            },
            "tool_ids": {
                "type": "array", "maxItems": 100, "uniqueItems": true,
                "items": {"type": "string"},
                "description": "Runs of these tools only; all of them without it.",
            },
            "secret": secret_schema(),
        },
        "examples": [{
            "url": "https://example.com/callback",
            "events": ["execution.completed", "execution.failed"],
            "tool_ids": ["github-list-prs"],
        }],
    })
}

fn rotation_schema() -> Value {
    json!({
        "type": "object", "additionalProperties": false,
        "properties": {
            "secret": secret_schema(),
            "overlap": {
                "type": "integer", "minimum": 0, "maximum": 604_800, "default": 86_400,
                "description": "How long the old secret signs as well, in seconds.",
            },
        },
    })
}

fn secret_schema() -> Value {
    json!({
        "type": "string",
        "pattern": "^whsec_[A-Za-z0-9+/]{32,86}={0,2}$",
        "description": "`whsec_` and the base64 of 24 to 64 bytes; made when it is missing.",
    })
}

/// The schema of a subscription in listings.
fn schema() -> Value {
    let texts = || json!({"type": "array", "items": {"type": "string"}});
    let time = || json!({"type": ["string", "null"], "format": "date-time"});
    json!({
        "type": "object",
        "required": ["id", "url", "events", "tool_ids", "status", "created_at"],
        "properties": {
            "id": {"type": "string"}, "url": {"type": "string"}, "events": texts(),
            "tool_ids": texts(),
            "status": {"enum": ["enabled", "disabled"]},
            "disabled_reason": {"type": ["string", "null"]},
            "disabled_at": time(),
            "created_at": {"type": "string", "format": "date-time"},
        },
    })
}

fn made_schema() -> Value {
    let mut schema = schema();
    schema["properties"]["secret"] = json!({"type": "string", "description": "Shown this once."});
    schema
}

fn shown(webhook: &Subscription) -> Value {
    let disabled = webhook.disabled.as_ref();
    json!({
        "id": webhook.id.to_string(),
        "url": webhook.url,
        "events": webhook.events.iter().map(|event| event.as_str()).collect::<Vec<_>>(),
        "tool_ids": webhook.tool_ids,
        "status": if disabled.is_some() { "disabled" } else { "enabled" },
        "disabled_reason": disabled.map(|disabled| &disabled.reason),
        "disabled_at": disabled.map(|disabled| disabled.at.to_string()),
        "created_at": webhook.created_at.to_string(),
    })
}

/// A subscription whose secret is new.
fn shown_once((webhook, secret): &(Subscription, SecretString)) -> Reply {
    let mut answer = shown(webhook);
    answer["secret"] = secret.expose_secret().into();
    Reply::json(StatusCode::CREATED, &answer)
}

async fn list(cx: Context) -> Result<Reply, Failure> {
    let bounds = page::bounds(&cx)?;
    let mut webhooks = cx.app.engine.webhooks().list(cx.caller()?).await?;
    // Those to agents are shown with the events of agents, elsewhere.
    webhooks.retain(|webhook| webhook.agent.is_none());
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
    Ok(shown_once(&made))
}

/// The events of these names.
fn known(names: &[String]) -> Result<Vec<Event>, Error> {
    let known = |name: &String| Event::ALL.into_iter().find(|event| event.as_str() == name);
    let events = names.iter().map(known).collect::<Option<Vec<_>>>();
    events.ok_or_else(|| {
        let issue = format!("expected any of `{}`", Event::ALL.map(Event::as_str).join("`, `"));
        Error::invalid(format!("`events`: {issue}")).detail("events", issue)
    })
}

async fn show(cx: Context) -> Result<Reply, Failure> {
    let webhook = cx.app.engine.webhooks().get(cx.caller()?, named(&cx)?).await?;
    Ok(Reply::json(StatusCode::OK, &shown(&webhook)))
}

async fn change(cx: Context) -> Result<Reply, Failure> {
    let id = named(&cx)?;
    let mut body = cx.members()?;
    let enabled = body.flag("enabled");
    body.end()?;
    let (webhooks, caller) = (cx.app.engine.webhooks(), cx.caller()?);
    let webhook = match enabled {
        Some(true) => webhooks.enable(caller, id, &cx.app.engine.catalog()).await?,
        Some(false) => webhooks.disable(caller, id).await?,
        None => {
            let issue = "expected true or false, got nothing";
            return Err(Error::invalid(format!("`enabled`: {issue}"))
                .detail("enabled", issue)
                .into());
        }
    };
    Ok(Reply::json(StatusCode::OK, &shown(&webhook)))
}

async fn remove(cx: Context) -> Result<Reply, Failure> {
    cx.app.engine.webhooks().delete(cx.caller()?, named(&cx)?).await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

async fn rotate(cx: Context) -> Result<Reply, Failure> {
    let id = named(&cx)?;
    let mut body = cx.members()?;
    let (secret, overlap) = (body.text("secret"), body.count("overlap"));
    body.end()?;
    let wanted = (secret.map(SecretString::from), overlap.map(Duration::from_secs));
    let made = cx.app.engine.webhooks().rotate(cx.caller()?, id, wanted).await?;
    Ok(shown_once(&made))
}

/// The subscription that the path names.
pub(super) fn named(cx: &Context) -> Result<WebhookId, Error> {
    let unknown = || Error::not_found("there is no webhook with this id");
    WebhookId::parse(cx.value(0)).ok_or_else(unknown)
}
