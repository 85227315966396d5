//! `/v1/connections`: what is connected. No answer ever holds a secret.

use http::{Method, StatusCode};
use serde_json::{Value, json};
use skill_core::{
    Error,
    access::{Caller, Intent, authorize},
    connect::Change,
    id::ConnectionId,
    record::{connection::Connection, scope::Scope},
};

use crate::{
    app::Context,
    app::route::{Access, Operation, Route},
    reply::{Failure, Reply},
};

const ERRORS: &[u16] = &[400, 401, 403, 404, 409, 413, 415, 429, 503];
const ONE: &str = "/v1/connections/{connection_id}";

pub(super) fn routes() -> Vec<Route> {
    let key = || Access::Key(None);
    let item = || {
        let text = || json!({"type": ["string", "null"]});
        json!({
            "type": "object",
            "properties": {
                "id": {"type": "string"}, "integration": {"type": "string"},
                "label": text(), "account": text(), "default": {"type": "boolean"},
                "status": {"enum": ["pending", "connected", "expired", "error"]},
                "last_error": text(),
                "scopes": {"type": "array", "items": {"type": "string"}},
                "created_at": {"type": "string", "format": "date-time"},
                "last_used_at": text(), "expires_at": text(), "action_url": {"type": "string"},
            },
        })
    };
    let page = json!({
        "type": "object",
        "properties": {
            "items": {"type": "array", "items": item()},
            "total": {"type": "integer"}, "limit": {"type": "integer"},
            "offset": {"type": "integer"}, "has_more": {"type": "boolean"},
        },
    });
    let change = json!({
        "type": "object",
        "additionalProperties": false,
        "properties": {"label": {"type": "string"}, "default": {"type": "boolean"}},
    });
    let listing = Operation::new("list_connections", "List what is connected")
        .query("limit", json!({"type": "integer", "minimum": 1, "maximum": 100, "default": 50}))
        .query("offset", json!({"type": "integer", "minimum": 0, "default": 0}))
        .answer(200, "A page of connections, the oldest first", page)
        .errors(ERRORS);
    let showing = Operation::new("show_connection", "Show one connection")
        .answer(200, "The connection", item())
        .errors(ERRORS);
    let changing = Operation::new("change_connection", "Rename it, or make it the default one")
        .body(change)
        .answer(200, "The connection as it is now", item())
        .errors(ERRORS);
    let removing = Operation::new("delete_connection", "Disconnect, and revoke where possible")
        .answer(204, "It is gone", Value::Null)
        .errors(ERRORS);
    vec![
        Route::new(Method::GET, "/v1/connections", key(), listing, |cx| Box::pin(list(cx))),
        Route::new(Method::GET, ONE, key(), showing, |cx| Box::pin(show(cx))),
        Route::new(Method::PATCH, ONE, key(), changing, |cx| Box::pin(change_one(cx))),
        Route::new(Method::DELETE, ONE, key(), removing, |cx| Box::pin(remove(cx))),
    ]
}

fn shown(connection: &Connection) -> Value {
    json!({
        "id": connection.id.to_string(),
        "integration": connection.integration.as_str(),
        "label": connection.label,
        "account": connection.account,
        "default": connection.is_default,
        "status": connection.status.as_str(),
        "last_error": connection.last_error,
        "scopes": connection.scopes,
        "created_at": connection.created_at.to_string(),
        "last_used_at": connection.last_used_at.map(|at| at.to_string()),
        "expires_at": connection.expires_at.map(|at| at.to_string()),
    })
}

/// Whether the key may know of this connection at all.
pub(super) fn may_see(caller: &Caller, connection: &Connection) -> bool {
    let scope = Scope::Namespace(connection.integration.clone());
    authorize(caller, &Intent { scope, class: None }).allowed().is_ok()
}

async fn list(cx: Context) -> Result<Reply, Failure> {
    let limit = cx.query().number("limit", 1, 100)?.unwrap_or(50);
    let offset = cx.query().number("offset", 0, i64::MAX as u64)?.unwrap_or(0);
    let caller = cx.caller()?;
    let mut all = cx.app.engine.connections().list(caller).await?;
    all.retain(|connection| may_see(caller, connection));
    let total = all.len() as u64;
    let skip = usize::try_from(offset).unwrap_or(usize::MAX);
    let most = usize::try_from(limit).unwrap_or(usize::MAX);
    let items = all.iter().skip(skip).take(most).map(shown).collect::<Vec<_>>();
    let has_more = offset.saturating_add(items.len() as u64) < total;
    let page = json!({
        "items": items, "total": total, "limit": limit, "offset": offset, "has_more": has_more,
    });
    Ok(Reply::json(StatusCode::OK, &page))
}

/// The connection that the path names, if the caller may see it.
async fn find(cx: &Context) -> Result<Connection, Error> {
    let unknown = || Error::not_found("there is no connection with this id");
    let id = ConnectionId::parse(cx.value(0)).ok_or_else(unknown)?;
    let caller = cx.caller()?;
    let connection = cx.app.engine.connections().get(caller, id).await?;
    if may_see(caller, &connection) { Ok(connection) } else { Err(unknown()) }
}

/// One connection; one that cannot be used comes with the page where a person mends it.
async fn show(cx: Context) -> Result<Reply, Failure> {
    let connection = find(&cx).await?;
    let mut answer = shown(&connection);
    if let Some(page) = cx.app.engine.connector().mending_page(&connection).await? {
        answer["action_url"] = page.as_str().into();
    }
    Ok(Reply::json(StatusCode::OK, &answer))
}

async fn change_one(cx: Context) -> Result<Reply, Failure> {
    let connection = find(&cx).await?;
    let mut body = cx.members()?;
    let change = Change { label: body.text("label"), is_default: body.flag("default") };
    body.end()?;
    let changed = cx.app.engine.connector().change(cx.caller()?, connection.id, change).await?;
    Ok(Reply::json(StatusCode::OK, &shown(&changed)))
}

async fn remove(cx: Context) -> Result<Reply, Failure> {
    let connection = find(&cx).await?;
    cx.app.engine.connector().disconnect(cx.caller()?, connection.id).await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}
