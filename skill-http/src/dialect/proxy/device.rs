//! `/auth/device`: logging in a program that has no browser (RFC 8628, as *proxy* speaks it).

use http::{Method, StatusCode};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use skill_core::{
    Error, ErrorKind,
    login::{Asked, INTERVAL, LIFE, Standing, Word},
    record::{login::Consent, scope::Scopes},
};

use super::keys::shown_key;
use crate::{
    app::Context,
    app::route::{Access, Operation, Route},
    reply::{Failure, Reply},
};

const ERRORS: &[u16] = &[400, 403, 404, 413, 415, 429, 503];

pub(super) fn routes() -> [Route; 3] {
    let text = || json!({"type": "string"});
    let answer = json!({
        "type": "object",
        "required": ["user_code"],
        "additionalProperties": false,
        "properties": {
            "user_code": {"type": "string", "examples": ["BCDF-GHJK"]},
            "approve": {"type": "boolean", "default": true},
        },
    });
    let begin = Operation::new("device_code", "Begin to log a program in")
        .body(wanted())
        .answer(200, "The program's code, and the one for a person", codes())
        .errors(ERRORS);
    let decide = Operation::new("device_authorize", "Say yes or no to a program")
        .body(answer)
        .answer(200, "What was said", json!({"type": "object", "properties": {"status": text()}}))
        .errors(&[400, 401, 403, 404, 413, 415, 429, 503]);
    let poll = Operation::new("device_token", "Ask whether somebody has said yes")
        .body(json!({
            "type": "object",
            "required": ["device_code"],
            "additionalProperties": false,
            "properties": {"device_code": text(), "grant_type": text(), "client_id": text()},
        }))
        .answer(200, "Where it stands: `pending` or `complete`", standing())
        .errors(ERRORS);
    [
        Route::new(Method::POST, "/auth/device/code", Access::Open, begin, |cx| Box::pin(code(cx))),
        Route::new(Method::POST, "/auth/device/authorize", Access::Key(None), decide, |cx| {
            Box::pin(authorize(cx))
        }),
        Route::new(Method::POST, "/auth/device/token", Access::Open, poll, |cx| {
            Box::pin(token(cx))
        }),
    ]
}

/// The schema of what a program asks for.
fn wanted() -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "name": {"type": "string", "minLength": 1, "maxLength": 100, "default": "a program"},
            "scopes": {
                "type": ["array", "string"],
                "items": {"type": "string"},
                "description": "What a key that is wanted may do; without it none is made.",
            },
        },
    })
}

/// The schema of both codes.
fn codes() -> Value {
    let text = || json!({"type": "string"});
    json!({
        "type": "object",
        "properties": {
            "device_code": text(), "user_code": text(), "verification_uri": text(),
            "verification_uri_complete": text(),
            "expires_in": {"type": "integer"}, "interval": {"type": "integer"},
        },
    })
}

/// The schema of where a login stands.
fn standing() -> Value {
    json!({
        "type": "object",
        "required": ["status"],
        "properties": {
            "status": {"enum": ["pending", "complete"]},
            "error": {"enum": ["authorization_pending", "slow_down"]},
            "interval": {"type": "integer"},
            "user": {
                "type": "object",
                "properties": {"id": {"type": "string"}, "owner": {"type": "string"}},
            },
            "api_keys_url": {"type": "string", "format": "uri"},
            "api_key": {"type": "object"},
            "full_key": {"type": "string"},
        },
    })
}

async fn code(cx: Context) -> Result<Reply, Failure> {
    let mut body = cx.members()?;
    let (name, scopes) = (body.text("name"), body.texts("scopes"));
    body.end()?;
    let parse = |scopes: Vec<String>| Scopes::parse(scopes.iter().map(String::as_str));
    let scopes = scopes.map(parse).transpose()?;
    let asked = Asked { name: name.unwrap_or_else(|| "a program".to_owned()), scopes };
    let codes = cx.app.engine.logins().begin(asked, cx.address).await?;
    let pages = cx.app.engine.pages();
    let answer = json!({
        "device_code": codes.device.expose_secret(),
        "user_code": codes.person,
        "verification_uri": pages.device,
        "verification_uri_complete": pages.device_of(&codes.person),
        "expires_in": LIFE.as_secs(),
        "interval": INTERVAL.as_secs(),
    });
    Ok(Reply::json(StatusCode::OK, &answer))
}

async fn authorize(cx: Context) -> Result<Reply, Failure> {
    let mut body = cx.members()?;
    let (code, approve) = (body.required_text("user_code"), body.flag("approve"));
    body.end()?;
    let (word, status) = match approve {
        Some(false) => (Word::No, "denied"),
        Some(true) | None => (Word::Yes, "authorized"),
    };
    cx.app.engine.logins().answer(cx.caller()?, (&code, word), cx.address).await?;
    Ok(Reply::json(StatusCode::OK, &json!({ "status": status })))
}

async fn token(cx: Context) -> Result<Reply, Failure> {
    let mut body = cx.members()?;
    let device = body.required_text("device_code");
    // What a client of RFC 8628 sends besides is the same for everybody.
    let _ = (body.text("grant_type"), body.text("client_id"));
    body.end()?;
    match cx.app.engine.logins().poll(&device).await {
        Ok(Standing::Pending { interval, is_hasty }) => {
            let error = if is_hasty { "slow_down" } else { "authorization_pending" };
            let interval = interval.as_secs();
            let answer = json!({"status": "pending", "error": error, "interval": interval});
            Ok(Reply::json(StatusCode::OK, &answer))
        }
        Ok(Standing::Denied) => {
            Ok(over("denied", "access_denied", "the person did not log this program in"))
        }
        Ok(Standing::Complete { by, key }) => {
            let mut answer = complete(&cx, &by);
            if let Some(made) = key {
                let (key, plain) = &*made;
                answer["api_key"] = shown_key(key);
                answer["full_key"] = plain.expose().into();
            }
            Ok(Reply::json(StatusCode::OK, &answer))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(expired(&error)),
        Err(error) => Err(error.into()),
    }
}

fn complete(cx: &Context, by: &Consent) -> Value {
    let id = by.user.as_ref().map_or_else(|| by.owner.to_string(), ToString::to_string);
    let keys = format!("{}/api-keys", cx.app.public_url.as_str().trim_end_matches('/'));
    json!({
        "status": "complete",
        "user": {"id": id, "owner": by.owner.as_str()},
        "api_keys_url": keys,
    })
}

fn expired(error: &Error) -> Reply {
    over("expired", "expired_token", error.message())
}

/// The end of a login without a yes: the codes of RFC 8628 in the shape of the dialect.
fn over(status: &str, error: &str, message: &str) -> Reply {
    let answer = json!({"status": status, "error": error, "message": message});
    Reply::json(StatusCode::BAD_REQUEST, &answer)
}
