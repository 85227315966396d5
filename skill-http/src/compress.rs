//! gzip for answers that are worth it.

use std::io::Write;

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::{HeaderMap, HeaderValue, header};

use crate::reply::{Content, Pieces, Reply};

/// Smaller answers are sent as they are.
const LEAST: u64 = 1024;
/// Larger ones are compressed on a thread of their own.
const LARGE: u64 = 64 * 1024;

/// How an answer may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coding {
    /// As it is.
    Identity,
    /// Compressed, when it is worth it.
    Gzip,
}

impl Coding {
    /// What a request accepts: gzip when `Accept-Encoding` names it without `q=0` (RFC 9110
    /// section 12.5.3).
    pub(crate) fn accepted(headers: &HeaderMap) -> Self {
        let values = headers.get_all(header::ACCEPT_ENCODING).iter();
        let mut codings =
            values.filter_map(|value| value.to_str().ok()).flat_map(|text| text.split(','));
        let is_gzip = |coding: &str| {
            let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
            let weight = weight.trim().strip_prefix("q=").and_then(|q| q.parse::<f32>().ok());
            name.trim().eq_ignore_ascii_case("gzip") && weight.is_none_or(|q| q > 0.0)
        };
        if codings.any(is_gzip) { Self::Gzip } else { Self::Identity }
    }
}

/// Compresses an answer when the caller accepts it.
pub(crate) async fn compress(reply: Reply, accepted: Coding) -> Reply {
    let is_large = matches!(&reply.body, Content::Whole(body) if body.len() > LEAST);
    if !is_large || accepted == Coding::Identity || !is_text(&reply.headers) {
        return reply;
    }
    let Reply { status, mut headers, body: Content::Whole(body) } = reply else { return reply };
    let compressed = if body.len() > LARGE {
        let copy = body.clone();
        tokio::task::spawn_blocking(move || gzip(&copy)).await.ok().flatten()
    } else {
        gzip(&body)
    };
    let Some(bytes) = compressed else {
        return Reply { status, headers, body: Content::Whole(body) };
    };
    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    Reply { status, headers, body: Content::Whole([bytes].into_iter().collect()) }
}

fn gzip(body: &Pieces) -> Option<Bytes> {
    let room = usize::try_from(body.len() / 4).unwrap_or(0);
    let mut encoder = GzEncoder::new(Vec::with_capacity(room), Compression::fast());
    body.iter().try_for_each(|piece| encoder.write_all(piece)).ok()?;
    encoder.finish().ok().map(Into::into)
}

fn is_text(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    kind.is_some_and(|kind| kind.starts_with("application/json") || kind.starts_with("text/"))
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn pieces_become_one_stream() {
        let body = ["{\"data\":", "[1,2]", "}"].into_iter().collect::<Pieces>();
        let mut text = String::new();
        flate2::read::GzDecoder::new(&*gzip(&body).unwrap()).read_to_string(&mut text).unwrap();
        assert_eq!(text, r#"{"data":[1,2]}"#);
        assert_eq!(body.joined(), r#"{"data":[1,2]}"#);
    }

    #[test]
    fn gzip_is_used_only_when_it_is_accepted() {
        let accepts = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, text.parse().unwrap());
            Coding::accepted(&headers) == Coding::Gzip
        };
        assert!(accepts("gzip") && accepts("br, GZIP;q=0.5"));
        assert!(!accepts("br") && !accepts("gzip;q=0") && !accepts("identity"));
    }
}
