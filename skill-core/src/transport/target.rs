//! The one place where the address of a request is built.
//!
//! Text of a caller is never formatted or joined into a URL. Each value is one segment (or a
//! checked list of them), refused when it could be read as anything else and percent-encoded as
//! RFC 3986 section 3.3 says; then scheme, host, port and the number of segments of the result are
//! compared with what was meant.

use percent_encoding::percent_decode_str;
use url::{Host, Url};

use crate::error::{Error, Result};

/// The longest path or query, in bytes.
pub const LONGEST: usize = 8 * 1024;

/// Where a request goes, under the base of its integration.
///
/// ```
/// use skill_core::transport::target::Target;
/// let base = "https://api.example.com/v2".parse().expect("a valid URL");
/// let mut target = Target::default();
/// target.literal("items");
/// target.segment("item", "a/b?c")?;
/// target.query("q", "x&y");
/// assert_eq!(target.join(&base)?.as_str(), "https://api.example.com/v2/items/a%2Fb%3Fc?q=x%26y");
/// # Ok::<(), skill_core::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Target {
    segments: Vec<String>,
    query: Vec<(String, String)>,
}

impl Target {
    /// Adds a segment that the integration declares.
    pub fn literal(&mut self, segment: &str) {
        self.segments.push(segment.to_owned());
    }

    /// Adds a caller's value as exactly one segment; `parameter` is named when it is refused.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) when it is empty, `.` or `..`,
    /// plain or percent-encoded, or holds a backslash or a control character.
    pub fn segment(&mut self, parameter: &str, value: &str) -> Result<()> {
        self.surrounded(parameter, "", value, "")
    }

    /// Adds one segment that holds a caller's value between text that the integration declares.
    ///
    /// # Errors
    /// As [`Target::segment`].
    pub fn surrounded(
        &mut self,
        parameter: &str,
        before: &str,
        value: &str,
        after: &str,
    ) -> Result<()> {
        let whole = format!("{before}{value}{after}");
        match unsafe_segment(value).or_else(|| unsafe_segment(&whole)) {
            Some(issue) => Err(refused(parameter, issue)),
            None => {
                self.segments.push(whole);
                Ok(())
            }
        }
    }

    /// Adds a caller's value as the segments between its slashes.
    ///
    /// # Errors
    /// As [`Target::segment`], for each of them.
    pub fn segments(&mut self, parameter: &str, value: &str) -> Result<()> {
        value.split('/').try_for_each(|segment| self.segment(parameter, segment))
    }

    /// Adds a query parameter; both parts stay data, whatever they hold.
    pub fn query(&mut self, name: &str, value: impl Into<String>) {
        self.query.push((name.to_owned(), value.into()));
    }

    /// Returns the address under `base`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) when path or query would be
    /// longer than 8 KiB; [`ErrorKind::Internal`](crate::ErrorKind::Internal) when the result
    /// would leave the service, which the checks before make impossible.
    pub fn join(&self, base: &Url) -> Result<Url> {
        let mut url = base.clone();
        let under = base.path_segments().map_or(0, |parts| parts.filter(|p| !p.is_empty()).count());
        url.path_segments_mut()
            .map_err(|()| Error::internal("the base URL of an integration cannot hold a path"))?
            .pop_if_empty()
            .extend(&self.segments);
        if !self.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&self.query);
        }
        if url.path().len() > LONGEST || url.query().is_some_and(|query| query.len() > LONGEST) {
            return Err(Error::invalid(
                "expected parameters that make an address of at most 8 KiB",
            ));
        }
        let count = url.path_segments().map_or(0, Iterator::count);
        let stays = url.scheme() == base.scheme()
            && url.host() == base.host()
            && url.port_or_known_default() == base.port_or_known_default()
            && url.username().is_empty()
            && url.fragment().is_none()
            && count == (under + self.segments.len()).max(1);
        if stays { Ok(url) } else { Err(Error::internal("a built address leaves its service")) }
    }
}

/// The address of `path` under `base`, with the bytes of path and query as they came: what a
/// service's own client wrote, which knows best how its service wants them.
///
/// # Errors
/// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) when the path could be read as
/// anything but what it says (empty segments, `.` and `..` in any coding, what no path may hold),
/// and when path or query are longer than 8 KiB.
pub(crate) fn verbatim(base: &Url, path: &str, query: &str) -> Result<Url> {
    let no = |issue: &str| Error::invalid(format!("the path cannot be passed on: {issue}"));
    let segments = path.strip_suffix('/').unwrap_or(path);
    for segment in segments.split('/') {
        // Some servers cut off what follows a `;` before they look for dots.
        let bare = segment.split(';').next().unwrap_or_default();
        if let Some(issue) = unsafe_segment(segment).or_else(|| unsafe_segment(bare)) {
            return Err(no(issue));
        }
    }
    if !is_encoded(path, b"-._~!$&'()*+,;=:@/") {
        return Err(no("expected what a URL may hold there, anything else percent-encoded"));
    }
    if !query.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
        return Err(no("expected a query of visible ASCII, anything else percent-encoded"));
    }
    let mut url = base.clone();
    let meant = format!("{}/{path}", base.path().trim_end_matches('/'));
    url.set_path(&meant);
    url.set_query(Some(query).filter(|query| !query.is_empty()));
    if meant.len() > LONGEST || url.query().is_some_and(|query| query.len() > LONGEST) {
        return Err(Error::invalid("expected an address of at most 8 KiB"));
    }
    if url.path() == meant && url.origin() == base.origin() {
        Ok(url)
    } else {
        Err(Error::internal("a built address leaves its service"))
    }
}

/// `base` with another path, which the integration declares.
pub(crate) fn rooted(base: &Url, root: &str) -> Url {
    let mut url = base.clone();
    url.set_path(root);
    url
}

/// Whether a path holds letters, digits, these marks and whole percent-encodings only.
fn is_encoded(path: &str, marks: &[u8]) -> bool {
    let mut parts = path.split('%');
    let is_plain =
        |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || marks.contains(&b));
    parts.next().is_some_and(is_plain)
        && parts.all(|part| {
            let code = part.get(..2).is_some_and(|c| c.bytes().all(|b| b.is_ascii_hexdigit()));
            code && is_plain(&part[2..])
        })
}

/// The address of a host that a connection has a part in: a domain, never an address literal.
///
/// # Errors
/// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) when it could be read as anything
/// else.
pub(crate) fn origin(scheme: &str, host: &str, port: Option<u16>) -> Result<Url> {
    let host = host.to_ascii_lowercase();
    let is_label = |label: &str| {
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '-';
        (1..=63).contains(&label.len())
            && label.chars().all(fits)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let refused = || Error::invalid("the address of the connection is no host: reconnect it");
    if host.len() > 253 || !host.split('.').all(is_label) {
        return Err(refused());
    }
    let mut url = Url::parse(&format!("{scheme}://{host}")).map_err(|_| refused())?;
    url.set_port(port).map_err(|()| refused())?;
    let stays = matches!(url.host(), Some(Host::Domain(domain)) if domain == host);
    if stays && url.scheme() == scheme { Ok(url) } else { Err(refused()) }
}

/// Why a value cannot be one segment of a path.
fn unsafe_segment(value: &str) -> Option<&'static str> {
    if value.is_empty() {
        return Some("expected text, got an empty string");
    }
    // A service may decode once more than it should: what is harmful after that is refused too.
    let once = percent_decode_str(value).decode_utf8_lossy();
    let twice = percent_decode_str(&once).decode_utf8_lossy();
    for text in [value, &once, &twice] {
        if text.split('/').any(|part| part == "." || part == "..") {
            return Some("expected a value without the path segments `.` and `..`");
        }
        if text.chars().any(|c| c.is_control() || c == '\\') {
            return Some("expected a value without backslashes and control characters");
        }
    }
    None
}

fn refused(parameter: &str, issue: &str) -> Error {
    Error::invalid(format!("the parameter `{parameter}` cannot be used")).detail(parameter, issue)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn base() -> Url {
        "https://api.example.com/v1".parse().unwrap()
    }

    fn one(value: &str) -> Result<Url> {
        let mut target = Target::default();
        target.literal("items");
        target.segment("item", value)?;
        target.join(&base())
    }

    #[test]
    fn what_could_leave_its_segment_is_refused() {
        for value in [
            "",
            ".",
            "..",
            "../x",
            "a/..",
            "%2e",
            "%2E%2e",
            "%252e%252e",
            "a\\b",
            "a\r\nb",
            "a\0b",
            "x/%2e%2e/y",
            "\u{7f}",
            "%5c",
            "%00",
            "%0d%0a",
        ] {
            assert!(one(value).is_err(), "{value:?}");
        }
    }

    #[test]
    fn other_values_stay_one_segment() {
        for (value, written) in [
            ("a/b", "a%2Fb"),
            ("a?b#c", "a%3Fb%23c"),
            ("//evil.test", "%2F%2Fevil.test"),
            ("http://127.0.0.1:1/x", "http:%2F%2F127.0.0.1:1%2Fx"),
            ("a%2fb", "a%252fb"),
            ("ü", "%C3%BC"),
            ("...", "..."),
        ] {
            let url = one(value).unwrap();
            assert_eq!(url.as_str(), format!("https://api.example.com/v1/items/{written}"));
        }
    }

    #[test]
    fn an_empty_target_is_the_base_itself() {
        assert_eq!(Target::default().join(&"https://a.test".parse().unwrap()).unwrap().path(), "/");
    }

    #[test]
    fn a_path_passes_byte_for_byte_under_its_base() {
        for path in ["a", "a/b/", "group%2Fproject/x", "a:b@c;v=1,2", "~x/(y)!'*", "%C3%BC", "..."]
        {
            let url = verbatim(&base(), path, "a=b%20c&x[]=%2e%2e/").unwrap();
            assert_eq!(
                url.as_str(),
                format!("https://api.example.com/v1/{path}?a=b%20c&x[]=%2e%2e/")
            );
        }
        assert_eq!(verbatim(&base(), "a", "").unwrap().query(), None);
    }

    #[test]
    fn a_path_that_could_be_read_as_another_one_is_refused() {
        for path in [
            "",
            "/",
            "//",
            "//evil.test/x",
            "a//b",
            "a//",
            ".",
            "..",
            "../x",
            "a/../../x",
            "a/./b",
            "%2e%2e/x",
            "%2E./x",
            ".%2e/x",
            "%252e%252e/x",
            "a%2f..%2fb",
            "a/..%2f..",
            "..;/x",
            "..;a=b/x",
            "%2e%2e;/x",
            "a\\b",
            "a%5cb",
            "%5c..%5c",
            "a%00",
            "a%0d%0aX: y",
            "a b",
            "a#b",
            "a?b",
            "a%",
            "a%2",
            "a%zz",
            "ü",
            "a%2e%2e%2fb/..",
            "http://evil.test",
            "https:%2f%2f..",
            "@evil.test/..",
            "a\tb",
            "a|b",
            "a%%32e",
        ] {
            assert!(verbatim(&base(), path, "").is_err(), "{path:?}");
        }
        for query in ["a b", "a#b", "a\r\nb", "ü"] {
            assert!(verbatim(&base(), "a", query).is_err(), "{query:?}");
        }
        assert!(verbatim(&base(), &"x".repeat(LONGEST), "").is_err());
        assert!(verbatim(&base(), "x", &"x".repeat(LONGEST + 1)).is_err());
    }

    #[test]
    fn a_path_over_8_kib_is_refused() {
        assert!(one(&"x".repeat(LONGEST)).is_err());
    }

    proptest! {
        #[test]
        fn no_value_leaves_the_service_or_its_segment(value in any::<String>(), q in any::<String>()) {
            let mut target = Target::default();
            if target.segment("p", &value).is_ok() {
                target.query("q", q.clone());
                let Ok(url) = target.join(&base()) else { return Ok(()) };
                prop_assert_eq!(url.host_str(), Some("api.example.com"));
                prop_assert_eq!(url.path_segments().unwrap().count(), 2);
                prop_assert_eq!(url.query_pairs().count(), 1);
                prop_assert_eq!(url.query_pairs().next().unwrap().1, q);
            }
        }

        #[test]
        fn no_verbatim_path_leaves_its_base(path in "[a.%2eEfF5cC/;\\\\:@?#]{0,24}", query in any::<String>()) {
            if let Ok(url) = verbatim(&base(), &path, &query) {
                prop_assert_eq!(url.host_str(), Some("api.example.com"));
                prop_assert_eq!(url.path(), format!("/v1/{path}"));
                let read = Url::parse(url.as_str()).unwrap();
                prop_assert_eq!(read, url);
            }
        }
    }
}
