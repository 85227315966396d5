//! Reading a service's answer: whole, bounded, and byte for byte when it is JSON.

use http::{HeaderMap, header};

use crate::{
    call::Data,
    error::{Error, ErrorKind, Result, Retry},
    json,
    transport::Body,
};

/// Reads the body of an answer, at most `most` bytes of it, decoded.
///
/// # Errors
/// [`ErrorKind::UpstreamInvalid`] when it is longer, or is called JSON and is none.
pub(super) async fn read(headers: &HeaderMap, body: Body, most: usize) -> Result<Data> {
    let kind = content_type(headers);
    let bytes = body.collect_about(most, length(headers)).await?;
    if bytes.is_empty() {
        return Ok(Data::Empty);
    }
    match kind.as_str() {
        kind if is_json(kind) => {
            json::check(&bytes, &json::Limits::ANSWER).map_err(|problem| {
                let message = "expected JSON from the service, as its answer says";
                Error::new(ErrorKind::UpstreamInvalid, message)
                    .retry(Retry::IfIdempotent)
                    .with("problem", problem)
            })?;
            Ok(Data::Json(bytes))
        }
        "" if json::check(&bytes, &json::Limits::ANSWER).is_ok() => Ok(Data::Json(bytes)),
        kind if is_text(kind) => match std::str::from_utf8(&bytes) {
            Ok(text) => Ok(Data::Text(text.to_owned())),
            Err(_) => Ok(binary(kind, bytes)),
        },
        kind => Ok(binary(kind, bytes)),
    }
}

fn binary(kind: &str, bytes: bytes::Bytes) -> Data {
    let kind = if kind.is_empty() { "application/octet-stream" } else { kind };
    Data::Binary { content_type: kind.to_owned(), bytes }
}

/// How long the body is said to be; 0 when nobody says.
fn length(headers: &HeaderMap) -> usize {
    let value = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    value.and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// The media type in lower case, without parameters; empty when there is none.
fn content_type(headers: &HeaderMap) -> String {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = value.and_then(|text| text.split(';').next()).unwrap_or_default();
    kind.trim().to_ascii_lowercase()
}

fn is_json(kind: &str) -> bool {
    kind == "application/json" || kind.ends_with("+json") || kind == "text/json"
}

fn is_text(kind: &str) -> bool {
    kind.is_empty()
        || kind.starts_with("text/")
        || kind.ends_with("+xml")
        || matches!(
            kind,
            "application/xml"
                | "application/javascript"
                | "application/x-www-form-urlencoded"
                | "application/yaml"
                | "application/x-ndjson"
        )
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    async fn data(kind: &'static str, body: &'static [u8]) -> Result<Data> {
        let mut headers = HeaderMap::new();
        if !kind.is_empty() {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        }
        read(&headers, Body::from(bytes::Bytes::from_static(body)), 64).await
    }

    #[tokio::test]
    async fn json_passes_through_byte_for_byte() {
        let text = br#" {"n": 12345678901234567890123, "a":1,"a":2} "#;
        assert_eq!(
            data("application/json; charset=utf-8", text).await.unwrap(),
            Data::Json(bytes::Bytes::from_static(text))
        );
        assert!(matches!(data("application/vnd.api+json", b"[]").await, Ok(Data::Json(_))));
    }

    #[tokio::test]
    async fn what_is_called_json_and_is_none_is_refused() {
        for body in [&b"<html>"[..], b"{", b"\xff", b"[1] x", b"\xef\xbb\xbf[]"] {
            let error = data("application/json", body).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::UpstreamInvalid);
        }
    }

    #[tokio::test]
    async fn text_binary_and_nothing_are_told_apart() {
        assert_eq!(data("application/json", b"").await.unwrap(), Data::Empty);
        assert_eq!(data("text/html", b"<p>").await.unwrap(), Data::Text("<p>".into()));
        assert!(matches!(data("text/plain", b"\xff").await, Ok(Data::Binary { .. })));
        assert!(matches!(data("image/png", b"abc").await, Ok(Data::Binary { .. })));
        assert!(matches!(data("", b"{}").await, Ok(Data::Json(_))));
    }

    #[tokio::test]
    async fn a_longer_answer_is_cut() {
        static LONG: [u8; 65] = [b'1'; 65];
        assert_eq!(data("text/plain", &LONG).await.unwrap_err().kind(), ErrorKind::UpstreamInvalid);
    }
}
