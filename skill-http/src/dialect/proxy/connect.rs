//! `/v1/connect`: connecting an account, and asking how that goes.

use http::{Method, StatusCode};
use serde_json::{Map, Value, json};
use skill_core::{
    Error,
    connect::ConnectRequest,
    id::ConnectionId,
    name::Slug,
    record::connection::{Connection, Status},
};

use super::connections::may_see;
use crate::{
    app::Context,
    app::route::{Access, Operation, Route},
    reply::{Failure, Reply},
};

const ERRORS: &[u16] = &[400, 401, 403, 404, 409, 413, 415, 429, 502, 503];

pub(super) fn routes() -> Vec<Route> {
    let begun = json!({
        "type": "object",
        "required": ["connection_id"],
        "properties": {
            "oauth_url": {"type": "string", "format": "uri"},
            "connection_id": {"type": "string"},
            "status": {"enum": ["connected"]},
        },
    });
    let status = json!({
        "type": "object",
        "required": ["status", "integration"],
        "properties": {
            "status": {"enum": ["pending", "connected", "error"]},
            "integration": {"type": "string"},
        },
    });
    let begin = Operation::new("connect", "Connect an account, or hand a credential over")
        .body(wanted())
        .answer(200, "Where a person goes, or the connection that stands", begun)
        .errors(ERRORS);
    let poll = Operation::new("connect_status", "Tell how connecting goes")
        .answer(200, "Where it stands", status)
        .errors(&[401, 403, 404, 429, 503]);
    let key = || Access::Key(None);
    vec![
        Route::new(Method::POST, "/v1/connect", key(), begin, |cx| Box::pin(connect(cx))),
        Route::new(Method::GET, "/v1/connect/{connection_id}", key(), poll, |cx| {
            Box::pin(tell(cx))
        }),
    ]
}

/// The schema of what a caller wants to connect.
fn wanted() -> Value {
    json!({
        "type": "object",
        "required": ["integration"],
        "additionalProperties": false,
        "properties": {
            "integration": {"type": "string"},
            "connection": {
                "type": "string",
                "description": "The id or label of a connection to mend; without it a new one.",
            },
            "label": {"type": "string", "minLength": 1, "maxLength": 200},
            "return_url": {"type": "string", "format": "uri"},
            "scopes": {"type": "array", "items": {"type": "string"}},
            "fields": {
                "type": "object",
                "description": "Facts of the connection that the integration asks for, such as a shop.",
            },
            "credentials": {
                "type": "object",
                "description": "A credential at hand, in the fields of the integration's scheme.",
            },
        },
    })
}

async fn connect(cx: Context) -> Result<Reply, Failure> {
    let mut body = cx.members()?;
    let (integration, label) = (body.required_text("integration"), body.text("label"));
    let connection = body.text("connection");
    let (credentials, fields) = (body.object("credentials"), body.object("fields"));
    let fields = fields.unwrap_or_default();
    if let Some(mut credentials) = credentials {
        body.end()?;
        credentials.extend(fields);
        return match connection {
            None => hand_over(&cx, &integration, &credentials, label).await,
            Some(named) => replace(&cx, &integration, (&named, &credentials), label).await,
        };
    }
    let (return_url, scopes) = (body.text("return_url"), body.texts("scopes"));
    body.end()?;
    let wanted = ConnectRequest {
        integration: slug(&integration)?,
        connection,
        label,
        scopes: scopes.unwrap_or_default(),
        return_url,
        fields,
    };
    let (connection, page) = cx.app.engine.connector().begin(cx.caller()?, wanted).await?;
    let answer = json!({"oauth_url": page, "connection_id": connection.id.to_string()});
    Ok(Reply::json(StatusCode::OK, &answer))
}

async fn hand_over(
    cx: &Context,
    integration: &str,
    credentials: &Map<String, Value>,
    label: Option<String>,
) -> Result<Reply, Failure> {
    let (caller, slug) = (cx.caller()?, slug(integration)?);
    let connector = cx.app.engine.connector();
    Ok(standing(&connector.hand_over(caller, &slug, credentials, label).await?))
}

async fn replace(
    cx: &Context,
    integration: &str,
    (named, credentials): (&str, &Map<String, Value>),
    label: Option<String>,
) -> Result<Reply, Failure> {
    if label.is_some() {
        return Err(Error::invalid("a connection that is mended keeps its label").into());
    }
    let (caller, slug) = (cx.caller()?, slug(integration)?);
    let connector = cx.app.engine.connector();
    Ok(standing(&connector.hand_over_again(caller, &slug, (named, credentials)).await?))
}

fn standing(connection: &Connection) -> Reply {
    let (id, status) = (connection.id.to_string(), connection.status.as_str());
    Reply::json(StatusCode::OK, &json!({"connection_id": id, "status": status}))
}

/// An integration's name in a body; what is no name is no integration.
fn slug(text: &str) -> Result<Slug, Error> {
    Slug::parse(text).map_err(|_| Error::not_found("there is no integration with this name"))
}

async fn tell(cx: Context) -> Result<Reply, Failure> {
    let unknown = || Error::not_found("there is no connection with this id");
    let id = ConnectionId::parse(cx.value(0)).ok_or_else(unknown)?;
    let caller = cx.caller()?;
    let connection = cx.app.engine.connections().get(caller, id).await?;
    if !may_see(caller, &connection) {
        return Err(unknown().into());
    }
    let status = match connection.status {
        Status::Pending => "pending",
        Status::Connected => "connected",
        Status::Expired | Status::Error => "error",
    };
    let answer = json!({"status": status, "integration": connection.integration.as_str()});
    Ok(Reply::json(StatusCode::OK, &answer))
}
