//! `/api-keys`: making, listing and revoking keys.

use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::{Value, json};
use skill_core::{
    Error,
    access::NewKey,
    id::KeyId,
    name::Slug,
    record::{
        key::{Key, Kind},
        scope::{Scope, Scopes},
    },
};

use crate::{
    app::Context,
    app::route::{Access, Operation, Route},
    reply::{Failure, Reply},
};

const ERRORS: &[u16] = &[400, 401, 403, 404, 413, 415, 429, 503];

/// The schema of a key in answers.
fn schema() -> Value {
    let time = || json!({"type": ["string", "null"], "format": "date-time"});
    json!({
        "type": "object",
        "properties": {
            "id": {"type": "string"}, "name": {"type": "string"},
            "key_prefix": {"type": "string"},
            "scopes": {"type": "array", "items": {"type": "string"}},
            "last_used_at": time(), "expires_at": time(), "revoked_at": time(),
            "created_at": time(),
        },
    })
}

pub(super) fn routes() -> Vec<Route> {
    // The word is a scope of management; no integration can be called so.
    let key = || Access::Key(Slug::parse("keys").ok().map(Scope::Namespace));
    let body = json!({
        "type": "object",
        "required": ["name"],
        "additionalProperties": false,
        "properties": {
            "name": {"type": "string", "minLength": 1, "maxLength": 200},
            "scopes": {"type": ["array", "string"], "items": {"type": "string"}, "default": ["*"]},
            "expires_in": {"type": "integer", "minimum": 1, "description": "In seconds."},
        },
    });
    let made = json!({
        "type": "object",
        "properties": {"api_key": schema(), "full_key": {"type": "string"}},
    });
    let listing = Operation::new("list_keys", "List the owner's keys")
        .answer(
            200,
            "Every key, revoked ones included",
            json!({"type": "array", "items": schema()}),
        )
        .errors(ERRORS);
    let making = Operation::new("create_key", "Make a key")
        .body(body)
        .answer(201, "The key, which is shown this once", made)
        .errors(ERRORS);
    let revoking = Operation::new("revoke_key", "Revoke a key, at once")
        .answer(204, "It opens nothing any more", Value::Null)
        .errors(ERRORS);
    vec![
        Route::new(Method::GET, "/api-keys", key(), listing, |cx| Box::pin(list(cx))),
        Route::new(Method::POST, "/api-keys", key(), making, |cx| Box::pin(create(cx))),
        Route::new(Method::DELETE, "/api-keys/{key_id}", key(), revoking, |cx| {
            Box::pin(revoke(cx))
        }),
    ]
}

/// A key in answers.
pub(super) fn shown_key(key: &Key) -> Value {
    json!({
        "id": key.id.to_string(),
        "name": key.name,
        "key_prefix": key.shown,
        "scopes": key.scopes.texts(),
        "last_used_at": key.last_used_at.map(|at| at.to_string()),
        "expires_at": key.expires_at.map(|at| at.to_string()),
        "revoked_at": key.revoked_at.map(|at| at.to_string()),
        "created_at": key.created_at.to_string(),
    })
}

/// Makes a key and answers with it, in plain text this once.
pub(crate) async fn create_key(cx: &Context, wanted: NewKey) -> Result<Reply, Failure> {
    let (key, plain) = cx.app.engine.keys().create(cx.caller()?, wanted).await?;
    let answer = json!({"api_key": shown_key(&key), "full_key": plain.expose()});
    Ok(Reply::json(StatusCode::CREATED, &answer))
}

async fn list(cx: Context) -> Result<Reply, Failure> {
    let keys = cx.app.engine.keys().list(cx.caller()?).await?;
    Ok(Reply::json(StatusCode::OK, &keys.iter().map(shown_key).collect()))
}

async fn create(cx: Context) -> Result<Reply, Failure> {
    let mut body = cx.members()?;
    let name = body.required_text("name");
    let (scopes, expires_in) = (body.texts("scopes"), body.count("expires_in"));
    body.end()?;
    let mut wanted = NewKey::new(&name, Kind::Api);
    if let Some(scopes) = scopes {
        wanted.scopes = Scopes::parse(scopes.iter().map(String::as_str))?;
    }
    wanted.expires_in = expires_in.map(Duration::from_secs);
    create_key(&cx, wanted).await
}

async fn revoke(cx: Context) -> Result<Reply, Failure> {
    let unknown = || Error::not_found("there is no key with this id");
    let id = KeyId::parse(cx.value(0)).ok_or_else(unknown)?;
    cx.app.engine.keys().revoke(cx.caller()?, id).await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}
