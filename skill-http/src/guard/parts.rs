//! The rules of a head for a request that came over HTTP/2.

use http::Method;
use http::header::HOST;
use http::request::Parts;

use super::line::{check_method, is_host};
use super::{Fault, HeadLimits};

/// Holds a parsed HTTP/2 request to the rules that [`Guard`](super::Guard) has for HTTP/1: the
/// size of the target, the number of headers, the method, and one host that all places agree on.
///
/// # Errors
/// The first fault.
pub(crate) fn check_parts(parts: &Parts, limits: HeadLimits) -> Result<(), Fault> {
    let target = parts.uri.path_and_query().map_or(0, |target| target.as_str().len());
    if target > limits.uri_bytes {
        return Err(Fault::UriTooLong);
    }
    if parts.headers.len() > limits.count {
        return Err(Fault::HeadTooLarge);
    }
    check_method(parts.method.as_str().as_bytes())?;
    if parts.method == Method::CONNECT {
        return Ok(());
    }
    let mut hosts = parts.headers.get_all(HOST).iter();
    let host = hosts.next().map(http::HeaderValue::as_bytes);
    if hosts.next().is_some() {
        return Err(Fault::Malformed("there must be one host header"));
    }
    let authority = parts.uri.authority().map(|authority| authority.as_str().as_bytes());
    let agree = match (authority, host) {
        (Some(authority), Some(host)) => authority.eq_ignore_ascii_case(host),
        _ => true,
    };
    if !agree {
        return Err(Fault::Malformed("the authority and the host header must agree"));
    }
    if !authority.or(host).is_some_and(is_host) {
        return Err(Fault::Malformed("the authority must be a host and perhaps a port"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use http::{Request, StatusCode};

    use super::*;

    const LIMITS: HeadLimits = HeadLimits { bytes: 32 * 1024, count: 3, uri_bytes: 64 };

    fn status(request: http::request::Builder) -> Option<StatusCode> {
        let (parts, ()) = request.body(()).unwrap().into_parts();
        check_parts(&parts, LIMITS).err().map(Fault::status)
    }

    #[test]
    fn one_host_is_enough() {
        assert_eq!(status(Request::get("https://a.test/x")), None);
        assert_eq!(status(Request::get("/x").header("host", "a.test")), None);
        assert_eq!(status(Request::get("https://a.test/x").header("host", "A.test")), None);
        assert_eq!(status(Request::builder().method("CONNECT").uri("a.test:1")), None);
    }

    #[test]
    fn hosts_that_differ_or_are_missing_are_refused() {
        let bad = Some(StatusCode::BAD_REQUEST);
        assert_eq!(status(Request::get("/x")), bad);
        assert_eq!(status(Request::get("https://a.test/x").header("host", "b.test")), bad);
        assert_eq!(status(Request::get("/x").header("host", "a").header("host", "a")), bad);
        assert_eq!(status(Request::get("https://me@a.test/x")), bad);
        assert_eq!(status(Request::get("https://a.test/x").method("get")), bad);
    }

    #[test]
    fn sizes_are_limited() {
        let long = format!("https://a.test/{}", "x".repeat(64));
        assert_eq!(status(Request::get(long)), Some(StatusCode::URI_TOO_LONG));
        let many =
            (0..4).fold(Request::get("https://a.test/"), |request, _| request.header("x", "y"));
        assert_eq!(status(many), Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE));
    }
}
