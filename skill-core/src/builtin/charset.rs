//! Bytes of a page as text (the WHATWG's way: byte order mark, header, `meta`, then a guess).

use encoding_rs::{Encoding, UTF_8, WINDOWS_1252};

/// How far a page is searched for what it says of itself.
const PRESCAN: usize = 1_024;

/// The text of a body whose header says `content_type`.
pub(super) fn text(body: &[u8], content_type: &str) -> String {
    let said = charset_in(content_type.as_bytes());
    let head = body.get(..PRESCAN.min(body.len())).unwrap_or_default();
    let encoding =
        said.or_else(|| charset_in(head)).unwrap_or_else(|| match std::str::from_utf8(body) {
            Ok(_) => UTF_8,
            Err(_) => WINDOWS_1252,
        });
    encoding.decode(body).0.into_owned()
}

/// What stands behind the first `charset=`.
fn charset_in(text: &[u8]) -> Option<&'static Encoding> {
    const WORD: &[u8] = b"charset=";
    let at = text.windows(WORD.len()).position(|part| part.eq_ignore_ascii_case(WORD))?;
    let rest = text.get(at + WORD.len()..)?;
    let rest = rest.strip_prefix(b"\"").or_else(|| rest.strip_prefix(b"'")).unwrap_or(rest);
    let is_end = |byte: &u8| b"\"' ;/>\t\r\n".contains(byte);
    let label = rest.get(..rest.iter().position(is_end).unwrap_or(rest.len()))?;
    Encoding::for_label(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_counts_before_the_page_and_a_mark_before_both() {
        assert_eq!(text(b"caf\xe9", "text/html; charset=\"ISO-8859-1\""), "café");
        assert_eq!(
            text(b"<meta charset=iso-8859-1>\xe9", "text/html"),
            "<meta charset=iso-8859-1>é"
        );
        assert_eq!(text("é".as_bytes(), "text/html"), "é");
        assert_eq!(text(b"\xe9", "text/html"), "é");
        assert_eq!(text(b"\xef\xbb\xbf\xc3\xa9", "text/html; charset=latin1"), "é");
        assert_eq!(text(b"\x82\xa0", "text/plain; charset=Shift_JIS"), "あ");
    }
}
