//! What a run answered: in the answer about it while it is small, by parts when it is large.

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use skill_core::{
    call::{Data, Outcome},
    catalog::Catalog,
    queue::Run,
    record::execution::State,
};

use super::executions::find;
use crate::{
    app::Context,
    app::route::{Access, Operation, Route},
    reply::{Failure, Pieces, Reply},
};

/// The most bytes of one part, and how many there are when nobody says.
const MOST: u64 = 1 << 20;
const USUAL: u64 = 256 << 10;

pub(super) fn routes() -> Vec<Route> {
    let limit = json!({"type": "integer", "minimum": 1, "maximum": MOST, "default": USUAL});
    let operation = Operation::new("execution_result", "Read a part of what a run answered")
        .query("offset", json!({"type": "integer", "minimum": 0, "default": 0}))
        .query("limit", limit)
        .answer(200, "A part of the result's bytes", schema())
        .errors(&[400, 401, 403, 404, 409, 429, 500, 503]);
    let path = "/v1/executions/{execution_id}/result";
    vec![Route::new(Method::GET, path, Access::Key(None), operation, |cx| Box::pin(show(cx)))]
}

fn schema() -> Value {
    let count = || json!({"type": "integer", "minimum": 0});
    json!({
        "type": "object",
        "required": ["execution_id", "offset", "bytes", "total", "next_offset", "encoding", "data"],
        "properties": {
            "execution_id": {"type": "string"},
            "offset": count(), "bytes": count(), "total": count(),
            "next_offset": {"type": ["integer", "null"], "description": "Null after the last."},
            "encoding": {"enum": ["utf-8", "base64"]},
            "data": {"type": "string", "description": "All parts in order are what the action answered."},
        },
    })
}

async fn show(cx: Context) -> Result<Reply, Failure> {
    let offset = cx.query().number("offset", 0, i64::MAX as u64)?.unwrap_or(0);
    let limit = cx.query().number("limit", 1, MOST)?.unwrap_or(USUAL);
    let id = find(&cx).await?.id;
    let most = u32::try_from(limit).unwrap_or(u32::MAX);
    let part = cx.app.engine.runs().result(cx.caller()?, id, offset, most).await?;
    let text = whole_characters(&part.bytes);
    let bytes = text.map_or(part.bytes.len(), str::len) as u64;
    let next = offset.saturating_add(bytes);
    let answer = json!({
        "execution_id": id.to_string(),
        "offset": offset,
        "bytes": bytes,
        "total": part.total,
        "next_offset": (next < part.total).then_some(next),
        "encoding": if text.is_some() { "utf-8" } else { "base64" },
        "data": text.map_or_else(|| STANDARD.encode(&part.bytes), str::to_owned),
    });
    Ok(Reply::json(StatusCode::OK, &answer))
}

/// The text that these bytes hold, less a character that is cut at their end.
fn whole_characters(bytes: &[u8]) -> Option<&str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Some(text),
        // Nothing but the last character is incomplete.
        Err(error) if error.error_len().is_none() && error.valid_up_to() > 0 => {
            std::str::from_utf8(&bytes[..error.valid_up_to()]).ok()
        }
        Err(_) => None,
    }
}

/// Whether a result is read by parts only: whoever asks how a run goes wants no megabytes.
pub(crate) fn is_large(run: &Run) -> bool {
    run.result_bytes.is_some_and(|bytes| bytes > MOST)
}

/// What a run answered, in the tool's own form.
pub(super) fn of(run: &Run, catalog: &Catalog) -> Option<Data> {
    let Some(Outcome::Answer { data, .. }) = &run.outcome else { return None };
    let tool = catalog.tool_of(&run.execution.action);
    Some(tool.map_or_else(|| data.clone(), |tool| tool.project(data)))
}

/// The object `beside` with the member `result` at its end. JSON is not copied.
pub(crate) fn beside(members: &Value, data: &Data) -> Pieces {
    let text = members.to_string();
    let head = text.strip_suffix('}').unwrap_or(&text);
    let comma = if head.ends_with('{') { "" } else { "," };
    let head = format!("{head}{comma}\"result\":");
    match data {
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
    }
}

/// Says where a result is that does not stand here.
pub(crate) fn note_elsewhere(shown: &mut Value, run: &Run) {
    if run.execution.state != State::Success {
        return;
    }
    shown["result"] = Value::Null;
    if let Some(bytes) = run.result_bytes {
        shown["result_bytes"] = bytes.into();
        shown["result_url"] = format!("/v1/executions/{}/result", run.execution.id).into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_never_ends_within_a_character() {
        assert_eq!(whole_characters("aé".as_bytes()), Some("aé"));
        assert_eq!(whole_characters(&"aé".as_bytes()[..2]), Some("a"));
        assert_eq!(whole_characters(&"é".as_bytes()[..1]), None);
        assert_eq!(whole_characters(b"\xff"), None);
    }

    #[test]
    fn a_result_stands_beside_other_members() {
        let beside = |members: Value, data| beside(&members, &data).joined();
        assert_eq!(beside(json!({"a": 1}), Data::Empty), r#"{"a":1,"result":null}"#);
        assert_eq!(beside(json!({}), Data::Json("[1, 2]".into())), r#"{"result":[1, 2]}"#);
    }
}
