//! `POST /v1/{integration}/{endpoint}`: one call, answered at once.

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, header};
use serde_json::{Value, json};
use skill_core::{
    Error,
    call::{CallRequest, Data, Known, Reply as Answer},
    name::{ActionName, Slug},
    pages::Collect,
};

use super::file;
use crate::{
    app::Context,
    app::route::{Access, CALL, Operation, Route},
    dialect::headers::{PARAMS, REPLAYED, idempotency_key, named_connection},
    reply::{Failure, Pieces, Reply},
    request::{Either, Members},
};

pub(super) fn routes() -> Vec<Route> {
    let body = json!({
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "params": {"type": "object", "description": "The inputs; other members are ignored."},
            "connection": {"type": "string", "description": "A connection's id or label."},
            "collect": {
                "description": "Gathers the pages of a list: data is {items, pages, more, next?, stopped?}.",
                "anyOf": [{"type": "boolean"}, {
                    "type": "object",
                    "additionalProperties": false,
                    "properties": {
                        "pages": {"type": "integer", "minimum": 1, "maximum": 100, "default": 10},
                        "items": {"type": "integer", "minimum": 1, "maximum": 10000, "default": 1000},
                    },
                }],
            },
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
    let text = |what: &str| json!({"type": "string", "description": what});
    let operation = Operation::new("call", "Call one endpoint of a connected integration")
        .body(body)
        .header("Skill-Params", text("The parameters as JSON, where the body is a file."))
        .header("Skill-Filename", text("What that file is called, percent-encoded."))
        .header("If-None-Match", json!({"type": "string"}))
        .header("If-Modified-Since", json!({"type": "string"}))
        .answer(200, "The upstream's answer, whatever its status", answer)
        .errors(&[400, 401, 403, 404, 408, 409, 413, 415, 422, 429, 500, 502, 503, 504]);
    // The scope is the action's: the engine checks it, on the canonical name.
    let route =
        Route::new(Method::POST, CALL, Access::Key(None), operation, |cx| Box::pin(call(cx)));
    vec![route.taking_files()]
}

async fn call(cx: Context) -> Result<Reply, Failure> {
    let no_slug = |_| Failure::no_such_path();
    let namespace = Slug::parse(cx.value(0)).map_err(no_slug)?;
    let name = Slug::parse(cx.value(1)).map_err(no_slug)?;
    let action = ActionName { namespace, name };
    if cx.headers.contains_key(&PARAMS) {
        return file::upload(cx, action).await;
    }
    let mut body = cx.members()?;
    let (params, named) = (body.object("params"), body.text("connection"));
    let collect = body.either("collect");
    body.end()?;
    let call = CallRequest {
        action,
        params: params.unwrap_or_default(),
        connection: named_connection(named, &cx.headers)?,
        idempotency_key: idempotency_key(&cx.headers)?,
        timeout: None,
        keeps_bodies: false,
        collect: collect.map(bounds).transpose()?.flatten(),
        known: known(&cx.headers),
    };
    if file::is_wanted(&cx, &call.action) {
        return file::download(&cx, call).await;
    }
    let answer = cx.app.engine.execute(cx.admitted()?, call).await?;
    Ok(render(&answer, cx.app.mirror_status))
}

/// What the caller has already.
fn known(headers: &HeaderMap) -> Known {
    Known {
        etag: headers.get(header::IF_NONE_MATCH).cloned(),
        modified: headers.get(header::IF_MODIFIED_SINCE).cloned(),
    }
}

/// `true`, or `{"pages": …, "items": …}`.
fn bounds(collect: Either) -> Result<Option<Collect>, Error> {
    let members = match collect {
        Either::Flag(is_wanted) => return Ok(is_wanted.then(Collect::default)),
        Either::Object(members) => members,
    };
    let mut members = Members::new(members);
    let count = |given: Option<u64>, standard| {
        given.map_or(standard, |count| u32::try_from(count).unwrap_or(u32::MAX))
    };
    let standard = Collect::default();
    let pages = count(members.count("pages"), standard.pages);
    let items = count(members.count("items"), standard.items);
    members.end()?;
    Ok(Some(Collect { pages, items }))
}

/// The envelope around the upstream's body, which is not copied.
pub(super) fn render(answer: &Answer, mirror_status: bool) -> Reply {
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
    // What a caller names when it asks again.
    let reply = [header::ETAG, header::LAST_MODIFIED].into_iter().fold(reply, |reply, name| {
        match answer.headers.get(&name).and_then(|value| value.to_str().ok()) {
            Some(value) => reply.with(name, value),
            None => reply,
        }
    });
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
