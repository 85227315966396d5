//! `/v1/keys`: typed keys.

use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::{Value, json};
use skill_core::{
    Error,
    access::NewKey,
    id::KeyId,
    name::Slug,
    record::{
        key::{Key, Kind, PlainKey},
        scope::{Scope, Scopes},
    },
};

use super::page::{Page, bounds};
use crate::{
    app::Context,
    app::route::{Access, Operation, Route},
    reply::{Failure, Reply},
};

const ERRORS: &[u16] = &[400, 401, 403, 404, 408, 413, 415, 429, 500, 503];

pub(super) fn routes() -> Vec<Route> {
    let key = || Access::Key(Slug::parse("keys").ok().map(Scope::Namespace));
    let body = json!({
        "type": "object",
        "required": ["name", "type"],
        "additionalProperties": false,
        "properties": {
            "name": {"type": "string", "minLength": 1, "maxLength": 200},
            "type": {"enum": ["user", "service", "temporary"]},
            "scopes": {"type": ["array", "string"], "items": {"type": "string"}, "default": ["*"]},
            "expires_in": {
                "type": "integer", "minimum": 1,
                "description": "In seconds; of a temporary key at most 86400, which is its default.",
            },
        },
        "examples": [{"name": "My Integration", "type": "service"}],
    });
    let listing = Operation::new("tools_list_keys", "List the owner's keys");
    let listing = super::page::query(listing)
        .answer(200, "A page of keys, the newest first", super::page::schema("items", &schema()))
        .errors(&[400, 401, 403, 429, 500, 503]);
    let making = Operation::new("tools_create_key", "Make a key")
        .body(body)
        .answer(201, "The key, which is shown this once", made_schema())
        .errors(ERRORS);
    let revoking = Operation::new("tools_revoke_key", "Revoke a key, at once")
        .answer(204, "It opens nothing any more", Value::Null)
        .errors(ERRORS);
    let overlap = json!({
        "type": "integer", "minimum": 0, "maximum": 604_800,
        "description": "How long the old key goes on, in seconds: 3600 when nobody says; a user's \
                        key ends at once.",
    });
    let rotating = Operation::new("tools_rotate_key", "Replace a key by a fresh one")
        .body(json!({
            "type": "object", "additionalProperties": false, "properties": {"overlap": overlap},
        }))
        .answer(201, "The new key, which is shown this once", made_schema())
        .errors(&[400, 401, 403, 404, 408, 409, 413, 415, 429, 500, 503]);
    let (one, rotation) = ("/v1/keys/{key_id}", "/v1/keys/{key_id}/rotate");
    vec![
        Route::new(Method::GET, "/v1/keys", key(), listing, |cx| Box::pin(list(cx))),
        Route::new(Method::POST, "/v1/keys", key(), making, |cx| Box::pin(create(cx))),
        Route::new(Method::DELETE, one, key(), revoking, |cx| Box::pin(revoke(cx))),
        Route::new(Method::POST, rotation, key(), rotating, |cx| Box::pin(rotate(cx))),
    ]
}

/// The schema of a key in listings.
fn schema() -> Value {
    let time = || json!({"type": ["string", "null"], "format": "date-time"});
    json!({
        "type": "object",
        "properties": {
            "id": {"type": "string"}, "name": {"type": "string"},
            "type": {"enum": ["api", "admin", "user", "service", "temporary"]},
            "key_prefix": {"type": "string"},
            "scopes": {"type": "array", "items": {"type": "string"}},
            "created_at": time(), "last_used_at": time(), "expires_at": time(),
            "revoked_at": time(),
        },
    })
}

/// The schema of a key when it was made.
fn made_schema() -> Value {
    let mut schema = schema();
    schema["properties"]["key"] = json!({"type": "string", "description": "Shown this once."});
    schema["required"] = json!(["id", "key", "name", "type"]);
    schema
}

fn shown(key: &Key) -> Value {
    json!({
        "id": key.id.to_string(),
        "name": key.name,
        "type": key.kind.as_str(),
        "key_prefix": key.shown,
        "scopes": key.scopes.texts(),
        "created_at": key.created_at.to_string(),
        "last_used_at": key.last_used_at.map(|at| at.to_string()),
        "expires_at": key.expires_at.map(|at| at.to_string()),
        "revoked_at": key.revoked_at.map(|at| at.to_string()),
    })
}

async fn list(cx: Context) -> Result<Reply, Failure> {
    let bounds = bounds(&cx)?;
    let keys = cx.app.engine.keys().list(cx.caller()?).await?;
    let page = Page::cut(&keys, bounds, shown);
    Ok(Reply::json(StatusCode::OK, &page.named("items")))
}

async fn create(cx: Context) -> Result<Reply, Failure> {
    let mut body = cx.members()?;
    let (name, kind) = (body.required_text("name"), body.required_text("type"));
    let (scopes, expires_in) = (body.texts("scopes"), body.count("expires_in"));
    body.end()?;
    let mut wanted = NewKey::new(&name, kind_of(&kind)?);
    if let Some(scopes) = scopes {
        wanted.scopes = Scopes::parse(scopes.iter().map(String::as_str))?;
    }
    wanted.expires_in = expires_in.map(Duration::from_secs);
    let (key, plain) = cx.app.engine.keys().create(cx.caller()?, wanted).await?;
    Ok(Reply::json(StatusCode::CREATED, &shown_once(&key, &plain)))
}

/// A key when it was made.
fn shown_once(key: &Key, plain: &PlainKey) -> Value {
    let mut answer = shown(key);
    answer["key"] = plain.expose().into();
    answer
}

/// The kinds that this route makes.
fn kind_of(text: &str) -> Result<Kind, Error> {
    match Kind::parse(text) {
        Some(kind @ (Kind::User | Kind::Service | Kind::Temporary)) => Ok(kind),
        Some(Kind::Api | Kind::Admin) | None => {
            let issue = "expected `user`, `service` or `temporary`";
            Err(Error::invalid(format!("`type`: {issue}")).detail("type", issue))
        }
    }
}

async fn revoke(cx: Context) -> Result<Reply, Failure> {
    cx.app.engine.keys().revoke_lasting(cx.caller()?, named(&cx)?).await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

async fn rotate(cx: Context) -> Result<Reply, Failure> {
    let id = named(&cx)?;
    let mut body = cx.members()?;
    let overlap = body.count("overlap");
    body.end()?;
    let overlap = overlap.map(Duration::from_secs);
    let (key, plain) = cx.app.engine.keys().rotate(cx.caller()?, id, overlap).await?;
    Ok(Reply::json(StatusCode::CREATED, &shown_once(&key, &plain)))
}

/// The key that the path names.
fn named(cx: &Context) -> Result<KeyId, Error> {
    KeyId::parse(cx.value(0)).ok_or_else(|| Error::not_found("there is no key with this id"))
}
