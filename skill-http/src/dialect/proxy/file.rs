//! Calls whose body is a file, and answers that are one: both as they come.

use http::{HeaderValue, header};
use percent_encoding::percent_decode_str;
use skill_core::{
    Error, call::CallRequest, catalog::Action, endpoint::File, executor::Download, json,
    name::ActionName, transport::Payload,
};

use super::{execute::render, raw::as_it_comes};
use crate::{
    app::Context,
    dialect::headers::{FILE_NAME, PARAMS, idempotency_key, named_connection, single},
    reply::{Failure, Reply},
    request::object,
};

/// A call whose parameters stand in `Skill-Params`: its body is the file.
pub(super) async fn upload(mut cx: Context, action: ActionName) -> Result<Reply, Failure> {
    let params = single(&cx.headers, &PARAMS)?.unwrap_or_default();
    let params = object(params.as_bytes(), &json::Limits::CALL)
        .map_err(|error| Error::invalid(format!("in Skill-Params {}", error.message())))?;
    if cx.headers.contains_key(header::CONTENT_ENCODING) {
        let message = "expected a file without a content encoding";
        return Err(Error::invalid(message).into());
    }
    let name = single(&cx.headers, &FILE_NAME)?.unwrap_or_else(|| "file".to_owned());
    let name = percent_decode_str(&name).decode_utf8().map(|name| name.into_owned());
    let expected = |_| Error::invalid("expected UTF-8 in Skill-Filename, percent-encoded");
    let name = name.map_err(expected)?;
    let kind = cx.headers.get(header::CONTENT_TYPE).cloned();
    let kind = kind.unwrap_or(HeaderValue::from_static("application/octet-stream"));
    let (body, length): (Payload, Option<u64>) = std::mem::take(&mut cx.sent).into();
    let mut file = File::new(&name, kind, body)?;
    file.length = length;
    let mut call = CallRequest::new(action.namespace.as_str(), action.name.as_str())?;
    call.params = params;
    call.connection = named_connection(None, &cx.headers)?;
    call.idempotency_key = idempotency_key(&cx.headers)?;
    let answer = cx.app.engine.upload(cx.admitted()?, call, file).await?;
    Ok(render(&answer, cx.app.mirror_status))
}

/// Whether the caller wants the file itself instead of an envelope around it.
pub(super) fn is_wanted(cx: &Context, action: &ActionName) -> bool {
    let accept = cx.headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    let wants = accept.is_some_and(|kinds| !kinds.contains("json") && !kinds.contains("*/*"));
    wants
        && match cx.app.engine.catalog().action(action) {
            Some(Action::Endpoint(operation)) => operation.endpoint.info().answers_file,
            Some(Action::Skill(_)) | None => false,
        }
}

/// The file, as it comes; what else the service says comes in the envelope.
pub(super) async fn download(cx: &Context, call: CallRequest) -> Result<Reply, Failure> {
    match cx.app.engine.download(cx.admitted()?, call).await? {
        Download::File(file) => Ok(as_it_comes(file)),
        Download::Other(answer) => Ok(render(&answer, cx.app.mirror_status)),
    }
}
