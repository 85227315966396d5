//! `/api/triggers`: addresses whose requests make runs, and `/webhooks/{token}`, the addresses.

use std::time::Duration;

use http::{Method, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use skill_core::{
    Error,
    clock::Deadline,
    id::TriggerId,
    name::{ActionName, AgentId, Slug},
    record::{
        scope::Scope,
        trigger::{Target, Trigger},
    },
    trigger::{Made, Opened, Order, Wanted},
};

use super::{
    execute::{accepted, accepted_schema, ended_schema},
    run,
    schedules::{agent, replayed, scopes, scopes_schema, slug, version, wrong},
};
use crate::{
    app::Context,
    app::route::{Access, Operation, Route},
    dialect::headers::idempotency_key,
    reply::{Failure, Reply},
};

/// The longest that a request waits for its run.
const LONGEST: Duration = Duration::from_secs(300);
const ERRORS: &[u16] = &[400, 401, 403, 404, 408, 413, 415, 429, 500, 503];

/// What opens the routes that manage triggers.
fn key() -> Access {
    Access::Key(Slug::parse("webhooks").ok().map(Scope::Namespace))
}

pub(super) fn routes() -> Vec<Route> {
    let many = json!({"type": "array", "items": schema()});
    let listing = Operation::new("list_triggers", "List the triggers")
        .answer(200, "All of them, the newest first", many)
        .errors(&[400, 401, 403, 429, 500, 503]);
    let making = Operation::new("create_trigger", "Make an address whose requests run skills")
        .body(wanted_schema())
        .answer(201, "The trigger, with its address and secret this once", made_schema())
        .errors(ERRORS);
    let showing = Operation::new("show_trigger", "Show a trigger")
        .answer(200, "The trigger", schema())
        .errors(&[400, 401, 403, 404, 429, 500, 503]);
    let removing = Operation::new("delete_trigger", "Close an address")
        .answer(204, "It is closed at once; runs that it made go on", Value::Null)
        .errors(ERRORS);
    let flag = json!({"type": "boolean", "default": false});
    let calling = Operation::new("call_trigger", "Run a skill through an address")
        .body(order_schema())
        .query("synchronous", flag)
        .query("callback_url", json!({"type": "string", "format": "uri", "maxLength": 2048}))
        .header("Idempotency-Key", json!({"type": "string", "minLength": 1, "maxLength": 255}))
        .header("webhook-id", json!({"type": "string", "minLength": 1, "maxLength": 512}))
        .answer(200, "It ran while the request waited", ended_schema())
        .answer(202, "It is queued", accepted_schema())
        .errors(&[400, 401, 403, 404, 408, 409, 413, 415, 422, 429, 500, 503]);
    let (all, one) = ("/api/triggers", "/api/triggers/{trigger_id}");
    vec![
        Route::new(Method::GET, all, key(), listing, |cx| Box::pin(list(cx))),
        Route::new(Method::POST, all, key(), making, |cx| Box::pin(create(cx))),
        Route::new(Method::GET, one, key(), showing, |cx| Box::pin(show(cx))),
        Route::new(Method::DELETE, one, key(), removing, |cx| Box::pin(remove(cx))),
        Route::new(Method::POST, "/webhooks/{token}", Access::Open, calling, |cx| {
            Box::pin(call(cx))
        }),
    ]
}

fn wanted_schema() -> Value {
    let text = || json!({"type": "string"});
    json!({
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "agent_id": {"type": "string", "default": "default"},
            "name": {"type": "string", "maxLength": 200},
            "category": text(), "skill": text(),
            "version": {"type": "string", "pattern": "^v\\d+(\\.\\d+)?$", "default": "v1"},
            "skills": {
                "type": "array", "minItems": 1, "maxItems": 100, "items": text(),
                "description": "Several of them, as `category/version/skill`, in place of `category` \
                                and `skill`: then a request says which one.",
            },
            "signed": {
                "type": "boolean", "default": false,
                "description": "Whether a request has to be signed with the secret, beside its token.",
            },
            "secret": {
                "type": "string", "minLength": 8,
                "description": "`whsec_` and the base64 of 24 to 64 bytes, or any text of 8 to 256 \
                                bytes; made when it is missing.",
            },
            "dedup_header": {
                "type": "string",
                "description": "A header that names a message, beside `webhook-id`.",
            },
            "scopes": scopes_schema(),
        },
        "examples": [{"category": "web", "skill": "retrieve-site"}],
    })
}

fn order_schema() -> Value {
    json!({
        "type": "object",
        "description": "What to run. A trigger for a single skill takes its input bare; then \
                        `synchronous` and `callback_url` stand in the query.",
        "examples": [{
            "category": "quickbooks",
            "version": "v1",
            "skill": "profit-and-loss-report",
            "input": {"start_date": "2026-01-01", "end_date": "2026-03-31"},
            "callback_url": "https://example.com/callback",
        }],
    })
}

fn schema() -> Value {
    let text = || json!({"type": "string"});
    let may_lack = || json!({"type": ["string", "null"]});
    json!({
        "type": "object",
        "required": ["id", "agent_id", "skills", "signed", "token_prefix", "created_at"],
        "properties": {
            "id": text(), "agent_id": text(), "name": may_lack(),
            "skills": {"type": "array", "items": text()},
            "signed": {"type": "boolean"}, "dedup_header": may_lack(), "token_prefix": text(),
            "scopes": {"type": "array", "items": text()},
            "created_at": {"type": "string", "format": "date-time"},
        },
    })
}

fn made_schema() -> Value {
    let mut schema = schema();
    for (name, what) in [
        ("token", "Shown this once."),
        ("url", "Where to send: it holds the token, and is shown this once."),
        ("secret", "What requests and callbacks are signed with; shown this once."),
    ] {
        schema["properties"][name] = json!({"type": "string", "description": what});
    }
    schema
}

fn shown(trigger: &Trigger) -> Value {
    json!({
        "id": trigger.id.to_string(),
        "agent_id": trigger.agent.as_str(),
        "name": trigger.name,
        "skills": trigger.targets.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "signed": trigger.is_signed,
        "dedup_header": trigger.dedup_header,
        "token_prefix": trigger.shown,
        "scopes": trigger.scopes.texts(),
        "created_at": trigger.created_at.to_string(),
    })
}

async fn list(cx: Context) -> Result<Reply, Failure> {
    let all = cx.app.engine.triggers().list(cx.caller()?).await?;
    Ok(Reply::json(StatusCode::OK, &all.iter().map(shown).collect()))
}

async fn create(cx: Context) -> Result<Reply, Failure> {
    let mut body = cx.members()?;
    let (agent_id, name) = (body.text("agent_id"), body.text("name"));
    let (category, skill) = (body.text("category"), body.text("skill"));
    let (version, skills) = (body.text("version"), body.list("skills"));
    let (signed, secret) = (body.flag("signed"), body.text("secret"));
    let (dedup_header, texts) = (body.text("dedup_header"), body.texts("scopes"));
    body.end()?;
    let wanted = Wanted {
        name,
        scopes: scopes(texts)?,
        is_signed: signed.unwrap_or(false),
        secret: secret.map(SecretString::from),
        dedup_header,
        agent: agent(&cx, agent_id).await?.unwrap_or_else(AgentId::standard),
        ..Wanted::new(targets((category, version, skill), skills)?)
    };
    let made = cx.app.engine.triggers().create(cx.caller()?, wanted).await?;
    Ok(Reply::json(StatusCode::CREATED, &shown_once(&cx, &made)))
}

/// A trigger whose token is new.
fn shown_once(cx: &Context, made: &Made) -> Value {
    let mut answer = shown(&made.trigger);
    let (base, token) = (cx.app.public_url.as_str(), made.token.expose_secret());
    answer["token"] = token.into();
    answer["url"] = format!("{}/webhooks/{token}", base.trim_end_matches('/')).into();
    answer["secret"] = made.secret.expose_secret().into();
    answer
}

/// The skills that a body names, in either of the two ways.
fn targets(
    (category, version, skill): (Option<String>, Option<String>, Option<String>),
    skills: Option<Vec<String>>,
) -> Result<Vec<Target>, Error> {
    match (category, skill, skills) {
        (Some(category), Some(skill), None) => {
            let version = version.unwrap_or_else(|| "v1".into());
            Ok(vec![target(("category", &category), ("version", &version), ("skill", &skill))?])
        }
        (None, None, Some(texts)) if version.is_none() => {
            texts.iter().map(|text| named_target(text)).collect()
        }
        (_, _, Some(_)) => {
            let issue = "expected it without `category`, `version` and `skill`";
            Err(wrong("skills", issue))
        }
        (None, None, None) => Err(wrong("skills", "expected `category` and `skill`, or `skills`")),
        (None, Some(_), None) => Err(wrong("category", "expected it beside `skill`")),
        (Some(_), None, None) => Err(wrong("skill", "expected it beside `category`")),
    }
}

/// A skill as a list names it.
fn named_target(text: &str) -> Result<Target, Error> {
    let parts = text.split('/').collect::<Vec<_>>();
    let [category, version, skill] = parts[..] else {
        return Err(wrong("skills", "expected `category/version/skill`"));
    };
    target(("skills", category), ("skills", version), ("skills", skill))
}

/// A skill of three parts, each with the member that it stands in.
fn target(
    category: (&str, &str),
    number: (&str, &str),
    skill: (&str, &str),
) -> Result<Target, Error> {
    let (namespace, name) = (slug(category.0, category.1)?, slug(skill.0, skill.1)?);
    let version = version(number.0, number.1)?;
    Ok(Target { action: ActionName { namespace, name }, version })
}

async fn show(cx: Context) -> Result<Reply, Failure> {
    let trigger = cx.app.engine.triggers().get(cx.caller()?, named(&cx)?).await?;
    Ok(Reply::json(StatusCode::OK, &shown(&trigger)))
}

async fn remove(cx: Context) -> Result<Reply, Failure> {
    cx.app.engine.triggers().delete(cx.caller()?, named(&cx)?).await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

/// The trigger that the path names.
fn named(cx: &Context) -> Result<TriggerId, Error> {
    let unknown = || Error::not_found("there is no trigger with this id");
    TriggerId::parse(cx.value(0)).ok_or_else(unknown)
}

async fn call(cx: Context) -> Result<Reply, Failure> {
    let triggers = cx.app.engine.triggers();
    let opened = triggers.open(cx.value(0), cx.address).await?;
    let id = triggers.verify(&opened, (&cx.headers, &cx.body), cx.address)?;
    let given = idempotency_key(&cx.headers)?;
    let (mut order, waits) = order(&cx, &opened)?;
    order.idempotency_key = given.or(id);
    let caller = opened.admitted.caller();
    // Taken before there is a run, so that nothing runs for whoever is turned away.
    let _place = waits.then(|| cx.app.events.open(&caller.owner)).transpose()?;
    let submitted = triggers.run(&opened, order).await?;
    if waits {
        let deadline = Deadline::after(LONGEST);
        let stopping = cx.app.stopping.clone();
        let waiting = cx.app.engine.runs().wait(caller, submitted.id, deadline);
        if let Some(run) = stopping.run_until_cancelled(waiting).await {
            let run = run?;
            if run.execution.state.is_final() {
                let reply = Reply::raw_json(StatusCode::OK, run::ended(&cx, &run));
                return Ok(replayed(reply, submitted.is_replay));
            }
        }
    }
    Ok(replayed(accepted(submitted.id.raw()), submitted.is_replay))
}

/// What a request asks for, and whether it waits for it.
fn order(cx: &Context, opened: &Opened) -> Result<(Order, bool), Failure> {
    let query = cx.query();
    let (waits, url) = (query.flag("synchronous")?, query.text("callback_url")?);
    let idempotency_key = None;
    if let [target] = &opened.trigger.targets[..] {
        let (target, input) = (target.clone(), cx.object()?);
        let order = Order { target, input, callback_url: url, idempotency_key };
        return Ok((order, waits.unwrap_or(false)));
    }
    let mut body = cx.members()?;
    let (category, skill) = (body.required_text("category"), body.required_text("skill"));
    let (number, input) = (body.text("version"), body.object("input"));
    let (asked, callback_url) = (body.flag("synchronous"), body.text("callback_url"));
    body.end()?;
    let action =
        ActionName { namespace: slug("category", &category)?, name: slug("skill", &skill)? };
    let known = opened.trigger.targets.iter().find(|target| target.action == action);
    let version = match (number, known) {
        (Some(text), _) => version("version", &text)?,
        (None, Some(target)) => target.version,
        (None, None) => version("version", "v1")?,
    };
    let target = Target { action, version };
    let callback_url = callback_url.or(url);
    let input = input.unwrap_or_default();
    Ok((Order { target, input, callback_url, idempotency_key }, asked.or(waits).unwrap_or(false)))
}
