//! `/api/agent-webhooks`: who is told what an agent does.

use http::{Method, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use skill_core::{
    Error,
    id::{DeliveryId, WebhookId},
    name::{AgentId, Slug},
    record::{
        delivery::State,
        scope::Scope,
        webhook::{Event, Subscription},
    },
    store::DeliveryFilter,
    webhook::NewWebhook,
};

use super::schedules::{agent, wrong};
use crate::{
    app::Context,
    app::route::{Access, Operation, Route},
    dialect::tools::deliveries,
    reply::{Failure, Reply},
};

const ERRORS: &[u16] = &[400, 401, 403, 404, 408, 409, 413, 415, 429, 500, 503];
/// How many deliveries a page holds, when nobody says and at most.
const USUAL: u64 = 50;
const MOST: u64 = 200;

/// What opens the routes.
fn key() -> Access {
    Access::Key(Slug::parse("webhooks").ok().map(Scope::Namespace))
}

pub(super) fn routes() -> Vec<Route> {
    managing().into_iter().chain(looking()).collect()
}

fn managing() -> Vec<Route> {
    let many = json!({"type": "array", "items": schema()});
    let listing = Operation::new("list_agent_webhooks", "List who is told what agents do")
        .answer(200, "All of them, the newest first", many)
        .errors(&[400, 401, 403, 429, 500, 503]);
    let making = Operation::new("create_agent_webhook", "Be told what an agent does")
        .body(wanted_schema(&["agent_id", "url", "events"], false))
        .answer(201, "The subscription, with its secret this once", made_schema())
        .errors(ERRORS);
    let showing = Operation::new("show_agent_webhook", "Show a subscription to an agent")
        .answer(200, "The subscription, and why nothing is sent to it", schema())
        .errors(&[400, 401, 403, 404, 429, 500, 503]);
    let changing = Operation::new("change_agent_webhook", "Change a subscription to an agent")
        .body(wanted_schema(&[], true))
        .answer(200, "The subscription", schema())
        .errors(ERRORS);
    let removing = Operation::new("delete_agent_webhook", "Remove a subscription to an agent")
        .answer(204, "It is gone, and what was on its way to it", Value::Null)
        .errors(ERRORS);
    let (all, one) = ("/api/agent-webhooks", "/api/agent-webhooks/{webhook_id}");
    vec![
        Route::new(Method::GET, all, key(), listing, |cx| Box::pin(list(cx))),
        Route::new(Method::POST, all, key(), making, |cx| Box::pin(create(cx))),
        Route::new(Method::GET, one, key(), showing, |cx| Box::pin(show(cx))),
        Route::new(Method::PATCH, one, key(), changing, |cx| Box::pin(change(cx))),
        Route::new(Method::DELETE, one, key(), removing, |cx| Box::pin(remove(cx))),
    ]
}

fn looking() -> Vec<Route> {
    let many = json!({"type": "array", "items": deliveries::schema()});
    let listing = Operation::new("list_agent_deliveries", "List the messages about an agent")
        .query("status", json!({"enum": State::ALL.map(State::as_str)}))
        .query("limit", json!({"type": "integer", "minimum": 1, "maximum": MOST, "default": USUAL}))
        .query("offset", json!({"type": "integer", "minimum": 0, "default": 0}))
        .answer(200, "A page of them, the newest first", many)
        .errors(&[400, 401, 403, 404, 429, 500, 503]);
    let replaying = Operation::new("replay_agent_delivery", "Send a message again")
        .answer(202, "It is on its way, under the same id", deliveries::schema())
        .errors(ERRORS);
    let testing = Operation::new("test_agent_webhook", "Send a message that says nothing")
        .answer(202, "It is on its way", deliveries::schema())
        .errors(ERRORS);
    let sent = "/api/agent-webhooks/{webhook_id}/deliveries";
    let replay = "/api/agent-webhooks/{webhook_id}/deliveries/{delivery_id}/replay";
    let test = "/api/agent-webhooks/{webhook_id}/test";
    vec![
        Route::new(Method::GET, sent, key(), listing, |cx| Box::pin(list_sent(cx))),
        Route::new(Method::POST, replay, key(), replaying, |cx| Box::pin(send_again(cx))),
        Route::new(Method::POST, test, key(), testing, |cx| Box::pin(send_test(cx))),
    ]
}

fn wanted_schema(required: &[&str], is_change: bool) -> Value {
    let mut schema = json!({
        "type": "object",
        "required": required,
        "additionalProperties": false,
        "properties": {
            "url": {"type": "string", "format": "uri", "maxLength": 2048},
            "events": {
                "type": "array", "minItems": 1, "uniqueItems": true,
                "items": {"enum": Event::OF_AGENTS.map(Event::as_str)},
            },
            "secret": {
                "type": "string", "minLength": 8,
                "description": "`whsec_` and the base64 of 24 to 64 bytes, or any text of 8 to 256 \
                                bytes, which signs as it stands.",
            },
        },
    });
    if is_change {
        schema["properties"]["enabled"] = json!({
            "type": "boolean",
            "description": "One that is enabled again tells of what this key may use.",
        });
    } else {
        schema["properties"]["agent_id"] = json!({"type": "string"});
        schema["examples"] = json!([{
            "agent_id": "default",
            "url": "https://example.com/callback",
            "events": ["skill.completed", "skill.failed"],
        }]);
    }
    schema
}

fn schema() -> Value {
    let text = || json!({"type": "string"});
    json!({
        "type": "object",
        "required": ["id", "agent_id", "url", "events", "enabled", "created_at"],
        "properties": {
            "id": text(), "agent_id": text(), "url": text(),
            "events": {"type": "array", "items": text()},
            "enabled": {"type": "boolean"},
            "disabled_reason": {"type": ["string", "null"]},
            "disabled_at": {"type": ["string", "null"], "format": "date-time"},
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
        "agent_id": webhook.agent.as_ref().map(AgentId::as_str),
        "url": webhook.url,
        "events": webhook.events.iter().map(|event| event.as_str()).collect::<Vec<_>>(),
        "enabled": disabled.is_none(),
        "disabled_reason": disabled.map(|disabled| &disabled.reason),
        "disabled_at": disabled.map(|disabled| disabled.at.to_string()),
        "created_at": webhook.created_at.to_string(),
    })
}

async fn list(cx: Context) -> Result<Reply, Failure> {
    let all = cx.app.engine.webhooks().list(cx.caller()?).await?;
    let of_agents = all.iter().filter(|webhook| webhook.agent.is_some());
    Ok(Reply::json(StatusCode::OK, &of_agents.map(shown).collect()))
}

async fn create(cx: Context) -> Result<Reply, Failure> {
    let mut body = cx.members()?;
    let (agent_id, url) = (body.required_text("agent_id"), body.required_text("url"));
    let (events, secret) = (body.list("events"), body.text("secret"));
    body.end()?;
    let events = known(&events.unwrap_or_default())?;
    let wanted = NewWebhook {
        agent: agent(&cx, Some(agent_id)).await?,
        secret: secret.map(SecretString::from),
        ..NewWebhook::new(&url, events)
    };
    let catalog = cx.app.engine.catalog();
    let (webhook, secret) = cx.app.engine.webhooks().create(cx.caller()?, wanted, &catalog).await?;
    let mut answer = shown(&webhook);
    answer["secret"] = secret.expose_secret().into();
    Ok(Reply::json(StatusCode::CREATED, &answer))
}

/// The events of these names.
fn known(names: &[String]) -> Result<Vec<Event>, Error> {
    let known = |name: &String| Event::OF_AGENTS.into_iter().find(|event| event.as_str() == name);
    let events = names.iter().map(known).collect::<Option<Vec<_>>>();
    events.ok_or_else(|| {
        let names = Event::OF_AGENTS.map(Event::as_str).join("`, `");
        wrong("events", &format!("expected any of `{names}`"))
    })
}

async fn show(cx: Context) -> Result<Reply, Failure> {
    Ok(Reply::json(StatusCode::OK, &shown(&named(&cx).await?)))
}

async fn change(cx: Context) -> Result<Reply, Failure> {
    let mut webhook = named(&cx).await?;
    let mut body = cx.members()?;
    let (url, events) = (body.text("url"), body.list("events"));
    let (secret, enabled) = (body.text("secret"), body.flag("enabled"));
    body.end()?;
    let (webhooks, caller) = (cx.app.engine.webhooks(), cx.caller()?);
    if url.is_some() || events.is_some() || secret.is_some() {
        let events = events.map(|names| known(&names)).transpose()?;
        let url = url.unwrap_or_else(|| webhook.url.clone());
        let events = events.unwrap_or_else(|| webhook.events.clone());
        let edit = (url, events, secret.map(SecretString::from));
        webhook = webhooks.edit(caller, webhook.id, edit).await?;
    }
    webhook = match enabled {
        Some(true) => webhooks.enable(caller, webhook.id, &cx.app.engine.catalog()).await?,
        Some(false) => webhooks.disable(caller, webhook.id).await?,
        None => webhook,
    };
    Ok(Reply::json(StatusCode::OK, &shown(&webhook)))
}

async fn remove(cx: Context) -> Result<Reply, Failure> {
    let webhook = named(&cx).await?;
    cx.app.engine.webhooks().delete(cx.caller()?, webhook.id).await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

async fn list_sent(cx: Context) -> Result<Reply, Failure> {
    let webhook = named(&cx).await?;
    let query = cx.query();
    let limit = query.number("limit", 1, MOST)?.unwrap_or(USUAL);
    let filter = DeliveryFilter {
        state: query.one_of("status", State::parse, "waiting, delivered or dead")?,
        limit: u32::try_from(limit).unwrap_or(u32::MAX),
        offset: query.number("offset", 0, i64::MAX as u64)?.unwrap_or(0),
    };
    let webhooks = cx.app.engine.webhooks();
    let (sent, _) = webhooks.deliveries(cx.caller()?, webhook.id, &filter).await?;
    Ok(Reply::json(StatusCode::OK, &sent.iter().map(deliveries::shown).collect()))
}

async fn send_again(cx: Context) -> Result<Reply, Failure> {
    let webhook = named(&cx).await?;
    cx.members()?.end()?;
    let unknown = || Error::not_found("there is no delivery with this id");
    let message = DeliveryId::parse(cx.value(1)).ok_or_else(unknown)?;
    let webhooks = cx.app.engine.webhooks();
    let delivery = webhooks.replay(cx.caller()?, webhook.id, message).await?;
    Ok(Reply::json(StatusCode::ACCEPTED, &deliveries::shown(&delivery)))
}

async fn send_test(cx: Context) -> Result<Reply, Failure> {
    let webhook = named(&cx).await?;
    cx.members()?.end()?;
    let delivery = cx.app.engine.webhooks().test(cx.caller()?, webhook.id).await?;
    Ok(Reply::json(StatusCode::ACCEPTED, &deliveries::shown(&delivery)))
}

/// The subscription to an agent that the path names.
async fn named(cx: &Context) -> Result<Subscription, Error> {
    let unknown = || Error::not_found("there is no webhook with this id");
    let id = WebhookId::parse(cx.value(0)).ok_or_else(unknown)?;
    let webhook = cx.app.engine.webhooks().get(cx.caller()?, id).await?;
    Some(webhook).filter(|webhook| webhook.agent.is_some()).ok_or_else(unknown)
}
