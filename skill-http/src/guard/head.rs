//! The rules for one HTTP/1 head.

use std::ops::Range;

use super::chunk::is_text;
use super::line::{Request, is_host, is_token, malformed};
use super::{Fault, HeadLimits};

/// Room in a request line for the method, the version and two spaces.
const LINE_SLACK_BYTES: usize = 64;

/// How the body of a request is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Payload {
    /// So many bytes, often none.
    Counted(u64),
    /// In chunks.
    Chunked,
    /// CONNECT: what follows is no request, whatever it looks like.
    Tunnel,
}

/// A complete head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    /// Bytes of the head, the empty line included.
    pub(super) length: usize,
    /// What follows it.
    pub(super) payload: Payload,
}

/// A head that is being read, line by line, whatever pieces it arrives in.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// Bytes that were searched for the end of a line.
    searched: usize,
    /// Where the current line begins.
    line: usize,
    request: Option<Request>,
    fields: usize,
    host: Option<Range<usize>>,
    length: Option<u64>,
    is_chunked: bool,
}

impl Scan {
    /// Reads on in `bytes`, which begin with the head and are longer on every call.
    ///
    /// # Errors
    /// The first fault of the head, as soon as it shows.
    pub(super) fn advance(
        &mut self,
        bytes: &[u8],
        limits: HeadLimits,
    ) -> Result<Option<Head>, Fault> {
        if !bytes.first().is_some_and(|byte| *byte == b'\r' || is_token(&[*byte])) {
            return malformed("a request must begin with a method");
        }
        loop {
            let fresh = &bytes[self.searched..];
            let Some(at) = fresh.iter().position(|byte| *byte == b'\n') else {
                self.searched = bytes.len();
                return self.check_size(limits).map(|()| None);
            };
            self.searched += at + 1;
            self.check_size(limits)?;
            let line = self.line..self.searched - 1;
            self.line = self.searched;
            let Some(text) = bytes[line.clone()].strip_suffix(b"\r") else {
                return malformed("a line must end with CRLF");
            };
            if self.request.is_some() {
                if text.is_empty() {
                    return self.finish(bytes).map(Some);
                }
                self.field(text, line.start, limits)?;
            } else if !text.is_empty() || line.start > 0 {
                // One empty line before a request is what old clients send after a body.
                self.request = Some(Request::parse(text, line.start, limits)?);
            }
        }
    }

    /// Holds the bytes that were searched so far against the limits.
    fn check_size(&self, limits: HeadLimits) -> Result<(), Fault> {
        let in_line = self.searched - self.line;
        if self.request.is_none() && in_line > limits.uri_bytes + LINE_SLACK_BYTES {
            return Err(Fault::UriTooLong);
        }
        if self.searched > limits.bytes {
            return Err(Fault::HeadTooLarge);
        }
        Ok(())
    }

    /// Reads one header line, which begins at `start`.
    fn field(&mut self, line: &[u8], start: usize, limits: HeadLimits) -> Result<(), Fault> {
        self.fields += 1;
        if self.fields > limits.count {
            return Err(Fault::HeadTooLarge);
        }
        if line.starts_with(b" ") || line.starts_with(b"\t") {
            return malformed("a header must not continue on the next line");
        }
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            return malformed("a header must have a colon");
        };
        let (name, rest) = (&line[..colon], &line[colon + 1..]);
        if !is_token(name) {
            return malformed("a header name must be a token right before its colon");
        }
        if !rest.iter().all(|byte| is_text(*byte)) {
            return malformed("a header value must not contain control characters");
        }
        let value = rest.trim_ascii();
        if name.eq_ignore_ascii_case(b"host") {
            let at = start + colon + 1 + (rest.len() - rest.trim_ascii_start().len());
            self.host(value, at)
        } else if name.eq_ignore_ascii_case(b"content-length") {
            self.content_length(value)
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.transfer_encoding(value)
        } else {
            Ok(())
        }
    }

    /// Reads `Host`, whose value begins at `start`.
    fn host(&mut self, value: &[u8], start: usize) -> Result<(), Fault> {
        if self.host.is_some() {
            return malformed("there must be one host header");
        }
        if !is_host(value) {
            return malformed("the host header must be a host and perhaps a port");
        }
        self.host = Some(start..start + value.len());
        Ok(())
    }

    /// Reads `Content-Length`.
    fn content_length(&mut self, value: &[u8]) -> Result<(), Fault> {
        if self.length.is_some() {
            return malformed("there must be at most one content-length");
        }
        let digits = std::str::from_utf8(value).ok();
        let digits = digits.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        // Half of the range is more than any body, and keeps clear of hyper's special values.
        let Some(length) = digits.and_then(|text| text.parse::<i64>().ok()) else {
            return malformed("a content-length must be a number");
        };
        self.length = Some(length.unsigned_abs());
        Ok(())
    }

    /// Reads `Transfer-Encoding`.
    fn transfer_encoding(&mut self, value: &[u8]) -> Result<(), Fault> {
        if self.is_chunked {
            return malformed("there must be at most one transfer-encoding");
        }
        if value != b"chunked" {
            return malformed("a transfer-encoding must be chunked and nothing else");
        }
        self.is_chunked = true;
        Ok(())
    }

    /// Holds the headers against each other and against the request line.
    fn finish(&self, bytes: &[u8]) -> Result<Head, Fault> {
        let Some(request) = &self.request else {
            return malformed("a request must begin with a method");
        };
        if self.is_chunked && self.length.is_some() {
            return malformed("content-length and transfer-encoding exclude each other");
        }
        if self.is_chunked && request.is_version_10 {
            return malformed("there is no transfer-encoding in HTTP/1.0");
        }
        let host = self.host.clone().map(|range| &bytes[range]);
        if host.is_none() && !request.is_version_10 {
            return malformed("there must be one host header");
        }
        let authority = request.authority.clone().map(|range| &bytes[range]);
        if let (Some(authority), Some(host)) = (authority, host)
            && !authority.eq_ignore_ascii_case(host)
        {
            return malformed("the request target and the host header must agree");
        }
        let payload = match (request.is_connect, self.is_chunked) {
            (true, _) => Payload::Tunnel,
            (false, true) => Payload::Chunked,
            (false, false) => Payload::Counted(self.length.unwrap_or(0)),
        };
        Ok(Head { length: self.searched, payload })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: HeadLimits = HeadLimits { bytes: 2048, count: 10, uri_bytes: 512 };

    /// The verdict on a head, which is the same whole and byte by byte.
    fn verdict(text: &str) -> Result<Payload, Fault> {
        let whole = Scan::default().advance(text.as_bytes(), LIMITS);
        let mut scan = Scan::default();
        let piecewise = (1..=text.len())
            .map(|end| scan.advance(&text.as_bytes()[..end], LIMITS))
            .find(|step| *step != Ok(None));
        assert_eq!(Some(&whole), piecewise.as_ref(), "{text:?}");
        let head = whole?.expect("the head is complete");
        assert_eq!(head.length, text.len(), "{text:?}");
        Ok(head.payload)
    }

    /// The verdict on a request line with one host.
    fn line(line: &str) -> Result<Payload, Fault> {
        verdict(&format!("{line}\r\nHost: example.com\r\n\r\n"))
    }

    /// The verdict on a POST with these extra headers.
    fn post(fields: &str) -> Result<Payload, Fault> {
        verdict(&format!("POST / HTTP/1.1\r\nHost: example.com\r\n{fields}\r\n"))
    }

    #[test]
    fn ordinary_heads_pass() {
        assert_eq!(line("GET /v1/tools?a=b HTTP/1.1"), Ok(Payload::Counted(0)));
        assert_eq!(line("\r\nGET / HTTP/1.1"), Ok(Payload::Counted(0)));
        assert_eq!(line("M-SEARCH / HTTP/1.1"), Ok(Payload::Counted(0)));
        assert_eq!(line("OPTIONS * HTTP/1.1"), Ok(Payload::Counted(0)));
        assert_eq!(line("TRACE / HTTP/1.1"), Ok(Payload::Counted(0)));
        assert_eq!(line("GET http://EXAMPLE.com/a HTTP/1.1"), Ok(Payload::Counted(0)));
        assert_eq!(line("GET http://example.com?a HTTP/1.1"), Ok(Payload::Counted(0)));
        assert_eq!(verdict("GET / HTTP/1.0\r\n\r\n"), Ok(Payload::Counted(0)));
        assert_eq!(post("Content-Length: 5\r\n"), Ok(Payload::Counted(5)));
        assert_eq!(post("content-length:\t05 \r\n"), Ok(Payload::Counted(5)));
        assert_eq!(post("TRANSFER-ENCODING:chunked\r\n"), Ok(Payload::Chunked));
        assert_eq!(post("X-Empty:\r\nX-Tab: a\tb\u{e4}\r\n"), Ok(Payload::Counted(0)));
    }

    #[test]
    fn connect_reaches_the_service_with_any_target() {
        for target in ["127.0.0.1:80", "evil.test:443", "/", "http://evil.test/"] {
            let head = format!("CONNECT {target} HTTP/1.1");
            assert_eq!(line(&head), Ok(Payload::Tunnel), "{target}");
        }
    }

    #[test]
    fn a_body_has_one_framing() {
        for fields in [
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
            "Content-Length: 5\r\nContent-Length: 5\r\n",
            "Content-Length: 5\r\ncontent-length: 6\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        ] {
            assert!(matches!(post(fields), Err(Fault::Malformed(_))), "{fields:?}");
        }
        let old = "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert!(matches!(verdict(old), Err(Fault::Malformed(_))));
    }

    #[test]
    fn a_content_length_is_digits_only() {
        for value in [
            "+5",
            "-5",
            "5, 5",
            "5,5",
            "0x5",
            "5.0",
            "",
            "five",
            "5 5",
            "9223372036854775808",
            "99999999999999999999",
            "\u{664}",
        ] {
            let verdict = post(&format!("Content-Length: {value}\r\n"));
            assert!(matches!(verdict, Err(Fault::Malformed(_))), "{value:?}");
        }
    }

    #[test]
    fn a_transfer_encoding_is_exactly_chunked() {
        for value in [
            "chunked, identity",
            "identity, chunked",
            "gzip, chunked",
            "identity",
            "Chunked",
            "chunked,",
            "chunked;q=1",
            "\"chunked\"",
            "xchunked",
            "",
            "\u{b}chunked",
            "chunked\u{0}",
        ] {
            let verdict = post(&format!("Transfer-Encoding: {value}\r\n"));
            assert!(matches!(verdict, Err(Fault::Malformed(_))), "{value:?}");
        }
    }

    #[test]
    fn a_header_line_keeps_the_grammar() {
        for field in [
            "Transfer-Encoding : chunked\r\n",
            "Transfer-Encoding\t: chunked\r\n",
            " Transfer-Encoding: chunked\r\n",
            "X-A: b\r\n c\r\n",
            "X-A: b\r\n\tc\r\n",
            "X-A: b\n",
            "X-A: b\rc\r\n",
            "X-A: b\r\r\n",
            "X-A: b\u{0}\r\n",
            "X-A: \u{1b}[0m\r\n",
            "X-A: b\u{7f}\r\n",
            "X A: b\r\n",
            "X-A\r\n",
            ": b\r\n",
            "X-\u{e4}: b\r\n",
        ] {
            assert!(matches!(post(field), Err(Fault::Malformed(_))), "{field:?}");
        }
    }

    #[test]
    fn a_request_line_keeps_the_grammar() {
        for text in [
            "get / HTTP/1.1",
            "Get / HTTP/1.1",
            "GET  / HTTP/1.1",
            "GET /  HTTP/1.1",
            "GET / HTTP/1.1 ",
            " GET / HTTP/1.1",
            "GET /",
            "GET / HTTP/2.0",
            "GET / HTTP/1.2",
            "GET / http/1.1",
            "GET\t/\tHTTP/1.1",
            "GET /a b HTTP/1.1",
            "GET / HTTP/1.1\r",
            "GET /\u{0} HTTP/1.1",
            "GET /\u{e4} HTTP/1.1",
            "GET /#a HTTP/1.1",
            "GET /<a> HTTP/1.1",
            "GET http://example.com/<a> HTTP/1.1",
            "GET a HTTP/1.1",
            "GET * HTTP/1.1",
            "PRI * HTTP/2.0",
            "G(T / HTTP/1.1",
            "GET example.com:80 HTTP/1.1",
            "\r\n\r\nGET / HTTP/1.1",
            "\nGET / HTTP/1.1",
            "\u{16}\u{3}\u{1}",
            "",
        ] {
            assert!(matches!(line(text), Err(Fault::Malformed(_))), "{text:?}");
        }
    }

    #[test]
    fn an_absolute_target_names_the_host() {
        for target in [
            "http://evil.test/",
            "http://example.com:80/",
            "http://a@example.com/",
            "http:///a",
            "http://",
            "ftp://example.com/",
            "http://example.com.evil.test/",
            "file:///etc/passwd",
        ] {
            let verdict = line(&format!("GET {target} HTTP/1.1"));
            assert!(matches!(verdict, Err(Fault::Malformed(_))), "{target:?}");
        }
    }

    #[test]
    fn there_is_one_well_formed_host() {
        let fine = ["a", "a.b:80", "127.0.0.1:8080", "[::1]", "[::1]:443", "A-b_c.d.", "a:00080"];
        for host in fine {
            assert!(is_host(host.as_bytes()), "{host:?}");
        }
        let long = "a".repeat(300);
        for host in [
            "", "a b", "a,b", "a/b", "a@b", "a:", "a:b", "a:65536", "a:80:80", "a:+80", "[]",
            "[::1", "[::1]80", "[a]", "[g::1]", ":80", "a?b", "a#b", "a\\b", "a%2e", "http://a",
            &long,
        ] {
            assert!(!is_host(host.as_bytes()), "{host:?}");
            let verdict = verdict(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
            assert!(matches!(verdict, Err(Fault::Malformed(_))), "{host:?}");
        }
        for fields in ["", "Host: a\r\nHost: a\r\n", "Host: a\r\nhost: b\r\n"] {
            let verdict = verdict(&format!("GET / HTTP/1.1\r\n{fields}\r\n"));
            assert!(matches!(verdict, Err(Fault::Malformed(_))), "{fields:?}");
        }
    }

    #[test]
    fn sizes_are_limited_at_the_first_byte_too_many() {
        let target = "a".repeat(LIMITS.uri_bytes - 1);
        assert!(line(&format!("GET /{target} HTTP/1.1")).is_ok());
        assert_eq!(line(&format!("GET /{target}a HTTP/1.1")), Err(Fault::UriTooLong));
        let endless = Scan::default().advance(&[b'A'; 600], LIMITS);
        assert_eq!(endless, Err(Fault::UriTooLong));
        assert!(post(&"X-A: b\r\n".repeat(9)).is_ok());
        assert_eq!(post(&"X-A: b\r\n".repeat(10)), Err(Fault::HeadTooLarge));
        let long = format!("X-A: {}\r\n", "a".repeat(LIMITS.bytes));
        assert_eq!(post(&long), Err(Fault::HeadTooLarge));
    }
}
