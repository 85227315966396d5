//! `POST /v1/{integration}/{endpoint}`: one call, answered at once.

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method, StatusCode, header};
use serde_json::{Value, json};
use skill_core::{
    Error,
    call::{CallRequest, Data, Reply as Answer},
    name::{ActionName, Slug},
};

use crate::{
    app::Context,
    app::route::{Access, CALL, Operation, Route},
    reply::{Failure, Pieces, Reply},
};

/// Names the connection of a call, by id or label.
const CONNECTION: HeaderName = HeaderName::from_static("skill-connection");
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
const KEYS: [HeaderName; 2] =
    [HeaderName::from_static("idempotency-key"), HeaderName::from_static("x-idempotency-key")];

pub(super) fn routes() -> Vec<Route> {
    let body = json!({
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "params": {"type": "object", "description": "The inputs; other members are ignored."},
            "connection": {"type": "string", "description": "A connection's id or label."},
        },
    });
    let answer = json!({
        "type": "object",
        "required": ["status"],
        "properties": {
            "status": {"type": "integer", "description": "The upstream's status."},
            "data": {"description": "The upstream's body, byte for byte when it is JSON."},
            "error": {"description": "The upstream's body, when its status is 400 or more."},
            "encoding": {"const": "base64"},
            "content_type": {"type": "string"},
        },
    });
    let operation = Operation::new("call", "Call one endpoint of a connected integration")
        .body(body)
        .answer(200, "The upstream's answer, whatever its status", answer)
        .errors(&[400, 401, 403, 404, 408, 409, 413, 415, 422, 429, 500, 502, 503, 504]);
    // The scope is the action's: the engine checks it, on the canonical name.
    vec![Route::new(Method::POST, CALL, Access::Key(None), operation, |cx| Box::pin(call(cx)))]
}

async fn call(cx: Context) -> Result<Reply, Failure> {
    let no_slug = |_| Failure::no_such_path();
    let namespace = Slug::parse(cx.value(0)).map_err(no_slug)?;
    let name = Slug::parse(cx.value(1)).map_err(no_slug)?;
    let mut body = cx.members()?;
    let (params, named) = (body.object("params"), body.text("connection"));
    body.end()?;
    let call = CallRequest {
        action: ActionName { namespace, name },
        params: params.unwrap_or_default(),
        connection: named_connection(named, &cx.headers)?,
        idempotency_key: idempotency_key(&cx.headers)?,
        timeout: None,
        keeps_bodies: false,
    };
    let answer = cx.app.engine.execute(cx.admitted()?, call).await?;
    Ok(render(&answer, cx.app.mirror_status))
}

/// The connection that the body or the header names; both may, if they agree.
fn named_connection(body: Option<String>, headers: &HeaderMap) -> Result<Option<String>, Error> {
    let header = single(headers, &CONNECTION)?;
    match (body, header) {
        (Some(body), Some(header)) if body != header => {
            let message = "the body and the header Skill-Connection name different connections";
            Err(Error::invalid(message))
        }
        (body, header) => Ok(body.or(header)),
    }
}

fn single(headers: &HeaderMap, name: &HeaderName) -> Result<Option<String>, Error> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(Error::invalid(format!("expected the header {name} once")));
    }
    let text = |value: &http::HeaderValue| {
        let text = value.to_str().map(str::to_owned);
        text.map_err(|_| Error::invalid(format!("expected visible ASCII in the header {name}")))
    };
    first.map(text).transpose()
}

/// The idempotency key, from either header. `"k"` and `k` are the same.
fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Error> {
    let mut found = None;
    for name in &KEYS {
        let Some(text) = single(headers, name)? else { continue };
        let text = text.trim();
        let bare = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text);
        let fits = (1..=255).contains(&bare.len()) && bare.bytes().all(|b| b.is_ascii_graphic());
        if !fits {
            let message = "expected an idempotency key of 1 to 255 visible ASCII characters";
            return Err(Error::invalid(message));
        }
        if found.as_deref().is_some_and(|other| other != bare) {
            return Err(Error::invalid("the two idempotency headers differ"));
        }
        found = Some(bare.to_owned());
    }
    Ok(found)
}

/// The envelope around the upstream's body, which is not copied.
fn render(answer: &Answer, mirror_status: bool) -> Reply {
    let status = answer.status.as_u16();
    let member = if status >= 400 { "error" } else { "data" };
    let head = format!("{{\"status\":{status},\"{member}\":");
    let body: Pieces = match &answer.data {
        Data::Json(bytes) => {
            [Bytes::from(head), bytes.clone(), Bytes::from_static(b"}")].into_iter().collect()
        }
        Data::Empty => format!("{head}null}}").into_bytes().into(),
        Data::Text(text) => format!("{head}{}}}", Value::String(text.clone())).into_bytes().into(),
        Data::Binary { content_type, bytes } => {
            let (text, kind) = (STANDARD.encode(bytes), Value::from(content_type.clone()));
            format!("{head}\"{text}\",\"encoding\":\"base64\",\"content_type\":{kind}}}")
                .into_bytes()
                .into()
        }
    };
    let reply = Reply::raw_json(StatusCode::OK, body);
    let reply = if mirror_status { mirrored(reply, answer) } else { reply };
    if answer.is_replay { reply.with(REPLAYED, "true") } else { reply }
}

/// The answer under the upstream's own status.
fn mirrored(reply: Reply, answer: &Answer) -> Reply {
    let status = answer.status;
    // A redirect would send the caller somewhere; an informational status is no answer.
    if status.is_redirection() || status.is_informational() {
        return reply;
    }
    // These have no body: RFC 9110 sections 15.3.5 and 15.3.6.
    if matches!(status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT) {
        return Reply::empty(status);
    }
    let reply = Reply { status, ..reply };
    let after = answer.headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
    match after {
        Some(after) => reply.with(header::RETRY_AFTER, after),
        None => reply,
    }
}
