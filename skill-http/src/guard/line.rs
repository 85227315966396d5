//! The rules for a request line, and for the words that a head is made of.

use std::ops::Range;

use http::Uri;

use super::{Fault, HeadLimits};

/// Longest method that is looked at.
const METHOD_BYTES: usize = 32;

/// Longest name of a host, its port included.
const HOST_BYTES: usize = 262;

/// What the request line says.
#[derive(Debug)]
pub(super) struct Request {
    /// Whether the method is CONNECT.
    pub(super) is_connect: bool,
    /// Whether the version is HTTP/1.0, not HTTP/1.1.
    pub(super) is_version_10: bool,
    /// Where the host stands in a target in absolute form.
    pub(super) authority: Option<Range<usize>>,
}

impl Request {
    /// Reads a request line, which begins at `start`.
    pub(super) fn parse(line: &[u8], start: usize, limits: HeadLimits) -> Result<Self, Fault> {
        let mut words = line.split(|byte| *byte == b' ');
        let (Some(method), Some(target), Some(version), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return malformed("a request line must be a method, a target and a version");
        };
        check_method(method)?;
        let is_version_10 = match version {
            b"HTTP/1.1" => false,
            b"HTTP/1.0" => true,
            _ => return malformed("the version must be HTTP/1.1 or HTTP/1.0"),
        };
        if target.len() > limits.uri_bytes {
            return Err(Fault::UriTooLong);
        }
        // hyper would drop a fragment without a word.
        if !target.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'#') {
            return malformed("a request target must be visible ASCII");
        }
        let is_connect = method == b"CONNECT";
        // hyper would answer by itself, without what every answer of ours has.
        if !is_connect && Uri::try_from(target).is_err() {
            return malformed("a request target must be a path or a URL");
        }
        let is_simple = target.starts_with(b"/") || (target == b"*" && method == b"OPTIONS");
        let authority = match absolute_authority(target) {
            // Whatever CONNECT asks for, the service refuses the method itself.
            _ if is_connect || is_simple => None,
            Some(range) if is_host(&target[range.clone()]) => {
                let start = start + method.len() + 1;
                Some(start + range.start..start + range.end)
            }
            Some(_) | None => return malformed("a request target must be a path or a URL"),
        };
        Ok(Self { is_connect, is_version_10, authority })
    }
}

/// A fault of syntax or framing.
pub(super) fn malformed<T>(rule: &'static str) -> Result<T, Fault> {
    Err(Fault::Malformed(rule))
}

/// Holds a method against its grammar, and to capitals, which every known method has.
pub(super) fn check_method(method: &[u8]) -> Result<(), Fault> {
    let is_capital = !method.iter().any(u8::is_ascii_lowercase);
    if is_token(method) && is_capital && method.len() <= METHOD_BYTES {
        return Ok(());
    }
    malformed("a method must be a word in capitals")
}

/// Where the host stands in `http://host/path`.
fn absolute_authority(target: &[u8]) -> Option<Range<usize>> {
    let is_scheme = |scheme: &&[u8]| {
        target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    };
    let start = [b"http://".as_slice(), b"https://"].into_iter().find(is_scheme)?.len();
    let length = target[start..].iter().position(|byte| matches!(byte, b'/' | b'?'));
    Some(start..length.map_or(target.len(), |length| start + length))
}

/// Whether `text` is a host and perhaps a port, without user information.
pub(super) fn is_host(text: &[u8]) -> bool {
    if text.len() > HOST_BYTES {
        return false;
    }
    let port = if let Some(rest) = text.strip_prefix(b"[") {
        let Some(end) = rest.iter().position(|byte| *byte == b']') else { return false };
        let address = &rest[..end];
        let is_address = |byte: &u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.');
        if !address.contains(&b':') || !address.iter().all(is_address) {
            return false;
        }
        &rest[end + 1..]
    } else {
        let end = text.iter().position(|byte| *byte == b':').unwrap_or(text.len());
        let is_name =
            |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        if end == 0 || !text[..end].iter().all(is_name) {
            return false;
        }
        &text[end..]
    };
    match port.strip_prefix(b":") {
        Some(digits) => is_port(digits),
        None => port.is_empty(),
    }
}

/// Whether `digits` are a port number.
fn is_port(digits: &[u8]) -> bool {
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let number = std::str::from_utf8(digits).ok().and_then(|text| text.parse::<u16>().ok());
    is_number && number.is_some()
}

/// Whether `text` is a token: not empty, and neither a separator nor a space nor a control byte.
pub(super) fn is_token(text: &[u8]) -> bool {
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !text.is_empty() && text.iter().all(is_token)
}
