//! What can be wrong with a JSON text, in words for whoever sent it.

use std::fmt;

/// Why a text is refused; `byte` counts from 0.
///
/// ```
/// use skill_core::json::{self, Limits};
///
/// let problem = json::check(b"[1, x]", &Limits::CALL).unwrap_err();
/// assert_eq!(problem.to_string(), "expected a value, found `x` (byte 4)");
/// let problem = json::check(b"[1] 2", &Limits::CALL).unwrap_err();
/// assert_eq!(problem.to_string(), "there is more behind the JSON value (byte 4)");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// RFC 8259, 8.1 lets a reader ignore the mark or refuse it; ours would be passed on.
    #[error("the text begins with a byte order mark, which JSON does not have")]
    ByteOrderMark,
    /// RFC 8259, 8.1.
    #[error("not valid UTF-8 (byte {byte})")]
    Utf8 {
        /// Where the invalid sequence begins.
        byte: usize,
    },
    /// The text ends where more has to follow.
    #[error("expected {expected}, found the end of the text (byte {byte})")]
    Ended {
        /// What had to follow.
        expected: &'static str,
        /// The length of the text.
        byte: usize,
    },
    /// Something stands where the grammar of RFC 8259 has something else.
    #[error("expected {expected}, found `{found}` (byte {byte})")]
    Unexpected {
        /// What the grammar has there.
        expected: &'static str,
        /// What stands there.
        found: Excerpt,
        /// Where it stands.
        byte: usize,
    },
    /// A second value, or anything else that is not white space, after the value.
    #[error("there is more behind the JSON value (byte {byte})")]
    Trailing {
        /// Where it begins.
        byte: usize,
    },
    /// A character below U+0020 in a string, which must be escaped (RFC 8259, 7).
    #[error("a string holds a control character that is not escaped (byte {byte})")]
    Control {
        /// Where the character stands.
        byte: usize,
    },
    /// A backslash before something that is no escape (RFC 8259, 7).
    #[error("a string holds an escape that JSON does not have (byte {byte})")]
    Escape {
        /// Where the backslash stands.
        byte: usize,
    },
    /// `\uD800` to `\uDFFF` that is not one of a pair: no Unicode text (RFC 8259, 8.2).
    #[error("a string holds half of a surrogate pair (byte {byte})")]
    Surrogate {
        /// Where the backslash stands.
        byte: usize,
    },
    /// See [`Limits::depth`](super::Limits::depth).
    #[error("deeper than {limit} levels")]
    Deep {
        /// The limit.
        limit: usize,
    },
    /// See [`Limits::nodes`](super::Limits::nodes).
    #[error("more than {limit} values")]
    Nodes {
        /// The limit.
        limit: usize,
    },
    /// See [`Limits::number_chars`](super::Limits::number_chars).
    #[error("a number longer than {limit} characters (byte {byte})")]
    Number {
        /// The limit.
        limit: usize,
        /// Where the number begins.
        byte: usize,
    },
    /// See [`Duplicates::Refuse`](super::Duplicates::Refuse).
    #[error("the member `{name}` stands twice (byte {byte})")]
    Duplicate {
        /// The name, unescaped.
        name: Excerpt,
        /// Where the name stands again.
        byte: usize,
    },
}

impl Problem {
    /// Where in the text it is, when it is at one place.
    pub fn byte(&self) -> Option<usize> {
        match self {
            Self::ByteOrderMark => Some(0),
            Self::Utf8 { byte }
            | Self::Ended { byte, .. }
            | Self::Unexpected { byte, .. }
            | Self::Trailing { byte }
            | Self::Control { byte }
            | Self::Escape { byte }
            | Self::Surrogate { byte }
            | Self::Number { byte, .. }
            | Self::Duplicate { byte, .. } => Some(*byte),
            Self::Deep { .. } | Self::Nodes { .. } => None,
        }
    }
}

/// At most 40 characters of what was sent, escaped so that it can stand in a log or a message.
///
/// ```
/// use skill_core::json::Excerpt;
///
/// assert_eq!(Excerpt::new("a\n\u{202e}b").to_string(), r"a\n\u{202e}b");
/// assert_eq!(Excerpt::new(&"x".repeat(41)).to_string(), "x".repeat(40) + "…");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excerpt(String);

impl Excerpt {
    /// The most characters that are echoed, before escaping.
    const CHARS: usize = 40;

    /// Takes the beginning of `text`.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let mut chars = text.chars();
        let mut shown: String =
            chars.by_ref().take(Self::CHARS).flat_map(char::escape_debug).collect();
        if chars.next().is_some() {
            shown.push('…');
        }
        Self(shown)
    }
}

impl fmt::Display for Excerpt {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}
