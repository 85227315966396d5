//! `/admin/api-keys`: keys for clients, made by whoever has the admin secret.

use std::time::Duration;

use http::{Method, StatusCode};
use jiff::Timestamp;
use serde_json::{Value, json};
use skill_core::{
    Error,
    access::{Caller, NewKey},
    id::KeyId,
    name::OwnerId,
    record::{
        key::{Change, Key, Kind, limit_of, own_limit},
        scope::Scopes,
    },
};

use super::{page, page::Page};
use crate::{
    app::Context,
    app::route::{Access, Operation, Route},
    reply::{Failure, Reply},
};

/// How many requests of a key count in any 60 seconds when nobody says, and at most.
const USUAL: u32 = 100;
const MOST: u64 = 1_000_000;

const READING: &[u16] = &[400, 401, 404, 429, 500, 503];
const CHANGING: &[u16] = &[400, 401, 403, 404, 408, 413, 415, 429, 500, 503];

pub(super) fn routes() -> Vec<Route> {
    let owner = || json!({"type": "string", "default": "default"});
    let op = |id, summary| Operation::new(id, summary).query("owner", owner());
    let listing = page::query(op("admin_list_keys", "List the keys of an owner"))
        .answer(200, "A page of them, the newest first", page::schema("data", &schema()))
        .errors(&[400, 401, 429, 500, 503]);
    let mut body = wanted_schema();
    body["required"] = json!(["client_name", "scopes"]);
    body["properties"]["owner"] = owner();
    body["properties"]["rate_limit"]["default"] = USUAL.into();
    let making = Operation::new("admin_create_key", "Make a key for a client")
        .body(body)
        .answer(201, "The key, with its plain text this once", made_schema())
        .errors(&[400, 401, 403, 408, 413, 415, 429, 500, 503]);
    let showing =
        op("admin_show_key", "Show a key").answer(200, "The key", schema()).errors(READING);
    let changing = op("admin_change_key", "Change a key, at once")
        .body(wanted_schema())
        .answer(200, "The key", schema())
        .errors(CHANGING);
    let revoking = op("admin_revoke_key", "Revoke a key, at once")
        .answer(204, "It opens nothing any more", Value::Null)
        .errors(CHANGING);
    let (all, one) = ("/admin/api-keys", "/admin/api-keys/{key_id}");
    vec![
        Route::new(Method::GET, all, Access::Admin, listing, |cx| Box::pin(list(cx))),
        Route::new(Method::POST, all, Access::Admin, making, |cx| Box::pin(create(cx))),
        Route::new(Method::GET, one, Access::Admin, showing, |cx| Box::pin(show(cx))),
        Route::new(Method::PATCH, one, Access::Admin, changing, |cx| Box::pin(change(cx))),
        Route::new(Method::DELETE, one, Access::Admin, revoking, |cx| Box::pin(revoke(cx))),
    ]
}

fn wanted_schema() -> Value {
    json!({
        "type": "object", "additionalProperties": false,
        "properties": {
            "client_name": {"type": "string", "minLength": 1, "maxLength": 200},
            "scopes": {"type": ["array", "string"], "items": {"type": "string"}},
            "rate_limit": {
                "type": "integer", "minimum": 1, "maximum": MOST,
                "description": "Requests in any 60 seconds.",
            },
            "expires_at": {"type": ["string", "null"], "format": "date-time"},
        },
    })
}

fn schema() -> Value {
    let time = || json!({"type": ["string", "null"], "format": "date-time"});
    json!({
        "type": "object",
        "required": ["id", "client_name", "scopes", "rate_limit", "expires_at", "created_at"],
        "properties": {
            "id": {"type": "string"}, "client_name": {"type": "string"},
            "owner": {"type": "string"},
            "type": {"enum": Kind::ALL.map(Kind::as_str)},
            "key_prefix": {"type": "string"},
            "scopes": {"type": "array", "items": {"type": "string"}},
            "rate_limit": {
                "type": ["integer", "null"],
                "description": "Null: as its tier or its owner's plan says.",
            },
            "is_active": {"type": "boolean"},
            "expires_at": time(), "created_at": time(), "last_used_at": time(),
            "revoked_at": time(),
        },
    })
}

fn made_schema() -> Value {
    let mut schema = schema();
    schema["properties"]["plaintext_key"] =
        json!({"type": "string", "description": "Shown this once."});
    schema
}

fn shown(key: &Key, now: Timestamp) -> Value {
    json!({
        "id": key.id.to_string(),
        "client_name": key.name,
        "owner": key.owner.as_str(),
        "type": key.kind.as_str(),
        "key_prefix": key.shown,
        "scopes": key.scopes.texts(),
        "rate_limit": key.tier.as_deref().and_then(limit_of),
        "is_active": key.is_live(now),
        "expires_at": key.expires_at.map(|at| at.to_string()),
        "created_at": key.created_at.to_string(),
        "last_used_at": key.last_used_at.map(|at| at.to_string()),
        "revoked_at": key.revoked_at.map(|at| at.to_string()),
    })
}

/// Whoever has the admin secret, acting for this owner.
fn acting(owner: Option<String>) -> Result<Caller, Error> {
    let owner = owner.map(|name| OwnerId::parse(&name)).transpose()?;
    Ok(Caller::operator(owner.unwrap_or_else(OwnerId::standard)))
}

/// The same for the owner that the query names.
fn asking(cx: &Context) -> Result<Caller, Error> {
    acting(cx.query().text("owner")?)
}

fn now(cx: &Context) -> Timestamp {
    cx.app.engine.clock().now()
}

/// Reads a time of a body.
fn time(name: &str, text: &str) -> Result<Timestamp, Error> {
    text.parse().map_err(|_| {
        let issue = "expected a time such as 2026-12-31T00:00:00Z";
        Error::invalid(format!("`{name}`: {issue}")).detail(name, issue)
    })
}

/// Reads a limit of a body.
fn limit(asked: Option<u64>) -> Result<Option<u32>, Error> {
    let Some(asked) = asked else { return Ok(None) };
    let fits = u32::try_from(asked).ok().filter(|_| (1..=MOST).contains(&asked));
    fits.map(Some).ok_or_else(|| {
        let issue = format!("expected a whole number from 1 to {MOST}");
        Error::invalid(format!("`rate_limit`: {issue}")).detail("rate_limit", issue)
    })
}

async fn list(cx: Context) -> Result<Reply, Failure> {
    let (bounds, now) = (page::bounds(&cx)?, now(&cx));
    let keys = cx.app.engine.keys().list(&asking(&cx)?).await?;
    let page = Page::cut(&keys, bounds, |key| shown(key, now));
    Ok(Reply::json(StatusCode::OK, &page.named("data")))
}

async fn create(cx: Context) -> Result<Reply, Failure> {
    let mut body = cx.members()?;
    let (name, scopes) = (body.required_text("client_name"), body.texts("scopes"));
    let (rate_limit, end) = (body.count("rate_limit"), body.text("expires_at"));
    let owner = body.text("owner");
    body.end()?;
    let Some(scopes) = scopes else {
        let issue = "expected a list of scopes";
        return Err(Error::invalid(format!("`scopes`: {issue}")).detail("scopes", issue).into());
    };
    let now = now(&cx);
    let mut wanted = NewKey::new(&name, Kind::Admin);
    wanted.scopes = Scopes::parse(scopes.iter().map(String::as_str))?;
    wanted.tier = Some(own_limit(limit(rate_limit)?.unwrap_or(USUAL)));
    if let Some(end) = end {
        let left = time("expires_at", &end)?.duration_since(now);
        let left = Duration::try_from(left).ok().filter(|left| !left.is_zero());
        wanted.expires_in = Some(left.ok_or_else(|| {
            let issue = "expected a time that has not passed";
            Error::invalid(format!("`expires_at`: {issue}")).detail("expires_at", issue)
        })?);
    }
    let (key, plain) = cx.app.engine.keys().create(&acting(owner)?, wanted).await?;
    let mut answer = shown(&key, now);
    answer["plaintext_key"] = plain.expose().into();
    Ok(Reply::json(StatusCode::CREATED, &answer))
}

async fn show(cx: Context) -> Result<Reply, Failure> {
    let key = cx.app.engine.keys().get(&asking(&cx)?, named(&cx)?).await?;
    Ok(Reply::json(StatusCode::OK, &shown(&key, now(&cx))))
}

async fn change(cx: Context) -> Result<Reply, Failure> {
    let (id, caller) = (named(&cx)?, asking(&cx)?);
    let mut body = cx.members()?;
    let is_endless = body.is_null("expires_at");
    let (name, scopes) = (body.text("client_name"), body.texts("scopes"));
    let (rate_limit, end) = (body.count("rate_limit"), body.text("expires_at"));
    body.end()?;
    let scopes = scopes.map(|texts| Scopes::parse(texts.iter().map(String::as_str))).transpose()?;
    let end = end.map(|text| time("expires_at", &text)).transpose()?;
    let to = Change {
        name,
        scopes,
        tier: limit(rate_limit)?.map(own_limit),
        expires_at: if is_endless { Some(None) } else { end.map(Some) },
    };
    let key = cx.app.engine.keys().change(&caller, id, &to).await?;
    Ok(Reply::json(StatusCode::OK, &shown(&key, now(&cx))))
}

async fn revoke(cx: Context) -> Result<Reply, Failure> {
    cx.app.engine.keys().revoke(&asking(&cx)?, named(&cx)?).await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

/// The key that the path names.
fn named(cx: &Context) -> Result<KeyId, Error> {
    KeyId::parse(cx.value(0)).ok_or_else(|| Error::not_found("there is no key with this id"))
}
