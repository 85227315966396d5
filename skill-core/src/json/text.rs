//! A cursor over a JSON text that reads its tokens (RFC 8259, 2, 6 and 7).

use std::borrow::Cow;

use super::problem::{Excerpt, Problem};

/// The text and how far it is read.
#[derive(Debug)]
pub(super) struct Text<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Text<'a> {
    /// Checks the encoding, for the whole text at once: that is what the standard library does
    /// fastest, and afterwards every byte above 0x7f may stand in a string without a look.
    pub(super) fn new(bytes: &'a [u8]) -> Result<Self, Problem> {
        if bytes.starts_with(b"\xef\xbb\xbf") {
            return Err(Problem::ByteOrderMark);
        }
        let text = std::str::from_utf8(bytes)
            .map_err(|invalid| Problem::Utf8 { byte: invalid.valid_up_to() })?;
        Ok(Self { text, at: 0 })
    }

    /// Returns where the cursor stands.
    pub(super) fn offset(&self) -> usize {
        self.at
    }

    /// Returns the byte at the cursor, if the text has not ended.
    pub(super) fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Moves past one byte that was peeked.
    pub(super) fn bump(&mut self) {
        self.at += 1;
    }

    /// Moves past white space, which is these four only (RFC 8259, 2).
    pub(super) fn skip_space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    /// Moves past `byte`, which has to be there.
    pub(super) fn expect(&mut self, byte: u8, expected: &'static str) -> Result<(), Problem> {
        if self.peek() != Some(byte) {
            return Err(self.unexpected(expected));
        }
        self.at += 1;
        Ok(())
    }

    /// Moves past a literal name, of which the first letter was peeked.
    pub(super) fn word(&mut self, word: &'static str) -> Result<(), Problem> {
        if !self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            return Err(self.unexpected("a value"));
        }
        self.at += word.len();
        Ok(())
    }

    /// Says that something else stands at the cursor.
    pub(super) fn unexpected(&self, expected: &'static str) -> Problem {
        let byte = self.at;
        // Enough to recognize: a whole word or number, or else a single character.
        let rest = self.text.get(byte..).unwrap_or_default();
        let word = rest.find(|char: char| !char.is_ascii_alphanumeric()).unwrap_or(rest.len());
        let found = match rest.chars().next() {
            None => return Problem::Ended { expected, byte },
            Some(char) => &rest[..word.max(char.len_utf8())],
        };
        Problem::Unexpected { expected, found: Excerpt::new(found), byte }
    }

    /// Moves past a number, of which the first character was peeked (RFC 8259, 6).
    pub(super) fn number(&mut self, limit: usize) -> Result<(), Problem> {
        let byte = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            _ => self.digits()?,
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        if self.at - byte > limit { Err(Problem::Number { limit, byte }) } else { Ok(()) }
    }

    /// Moves past one digit or more.
    fn digits(&mut self) -> Result<(), Problem> {
        let from = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        if self.at == from { Err(self.unexpected("a digit")) } else { Ok(()) }
    }

    /// Moves past a string, of which the quote was peeked, and returns it (RFC 8259, 7).
    pub(super) fn string(&mut self) -> Result<Literal<'a>, Problem> {
        let byte = self.at;
        let mut escaped = false;
        self.at += 1;
        loop {
            self.at += plain_len(&self.text.as_bytes()[self.at..]);
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                Some(_) => return Err(Problem::Control { byte: self.at }),
                None => return Err(self.unexpected("the end of a string")),
            }
        }
        let raw = &self.text[byte + 1..self.at];
        self.at += 1;
        Ok(Literal { raw, escaped, byte })
    }

    /// Moves past an escape; a first half of a surrogate pair takes the second with it.
    fn escape(&mut self) -> Result<(), Problem> {
        let byte = self.at;
        let rest = &self.text.as_bytes()[byte..];
        match rest.get(1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 2,
            Some(b'u') => match (unit(rest), rest.get(6..).and_then(unit)) {
                (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => self.at += 12,
                (Some(0xd800..=0xdfff), _) => return Err(Problem::Surrogate { byte }),
                (Some(_), _) => self.at += 6,
                (None, _) => return Err(Problem::Escape { byte }),
            },
            Some(_) => return Err(Problem::Escape { byte }),
            None => self.at += 1,
        }
        Ok(())
    }
}

/// A string that was read, still as it was written.
#[derive(Debug)]
pub(super) struct Literal<'a> {
    raw: &'a str,
    escaped: bool,
    /// Where its opening quote stands.
    pub(super) byte: usize,
}

impl<'a> Literal<'a> {
    /// Returns the string that was meant, which is a slice of the text unless it has escapes.
    pub(super) fn unescape(self) -> Cow<'a, str> {
        if !self.escaped {
            return Cow::Borrowed(self.raw);
        }
        let mut plain = String::with_capacity(self.raw.len());
        let mut rest = self.raw;
        while let Some(at) = rest.find('\\') {
            plain.push_str(&rest[..at]);
            let (char, len) = decode(&rest.as_bytes()[at..]);
            plain.push(char);
            rest = &rest[at + len..];
        }
        plain.push_str(rest);
        Cow::Owned(plain)
    }
}

/// Decodes an escape that [`Text::escape`] has passed, and says how long it is.
fn decode(escape: &[u8]) -> (char, usize) {
    let simple = match escape.get(1) {
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b'u') => return decode_unicode(escape),
        Some(other) => char::from(*other),
        None => char::REPLACEMENT_CHARACTER,
    };
    (simple, 2)
}

fn decode_unicode(escape: &[u8]) -> (char, usize) {
    let units = unit(escape).into_iter().chain(escape.get(6..).and_then(unit));
    match char::decode_utf16(units).next() {
        Some(Ok(char)) => (char, 6 * char.len_utf16()),
        _ => (char::REPLACEMENT_CHARACTER, 6),
    }
}

/// Reads the code unit of an escape such as `\u00e9`, if that is what `bytes` begin with.
fn unit(bytes: &[u8]) -> Option<u16> {
    let [b'\\', b'u', digits @ ..] = bytes.first_chunk::<6>()? else { return None };
    digits.iter().try_fold(0, |unit, digit| {
        let digit = char::from(*digit).to_digit(16)?;
        Some(unit << 4 | u16::try_from(digit).ok()?)
    })
}

/// Counts the bytes before the first quote, backslash or control character, eight at a time; in a
/// long string by blocks, of which the compiler makes a few instructions each.
///
/// `lane.wrapping_sub(low) & !lane` has the top bit of a lane set where the lane is less than `low`
/// (and below 0x80). A borrow may set it in a lane above such a one, never in one below, so the
/// lowest bit that is set is right: it is the only one used.
fn plain_len(bytes: &[u8]) -> usize {
    const LANES: u64 = u64::from_ne_bytes([1; 8]);
    const TOP: u64 = LANES << 7;
    const LONG: usize = 64;
    let less = |word: u64, low: u8| word.wrapping_sub(LANES * u64::from(low)) & !word;
    // No branches, so that a block is looked at as a whole.
    let is_stop = |byte: u8| (byte == b'"') | (byte == b'\\') | (byte < 0x20);
    let is_plain = |block: &&[u8; LONG]| !block.iter().fold(false, |stop, b| stop | is_stop(*b));
    let mut at = 0;
    while let Some(chunk) = bytes[at..].first_chunk() {
        let word = u64::from_le_bytes(*chunk);
        let quote = less(word ^ (LANES * u64::from(b'"')), 1);
        let backslash = less(word ^ (LANES * u64::from(b'\\')), 1);
        let found = (quote | backslash | less(word, 0x20)) & TOP;
        if found != 0 {
            return at + found.trailing_zeros() as usize / 8;
        }
        at += 8;
        if at == LONG {
            let blocks = bytes[at..].as_chunks().0;
            at += LONG * blocks.iter().take_while(is_plain).count();
        }
    }
    bytes[at..].iter().position(|byte| is_stop(*byte)).map_or(bytes.len(), |more| at + more)
}
