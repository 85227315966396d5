//! Where a chunked body ends.

use super::Fault;

/// Most bytes of the extensions of one chunk.
const EXTENSION_BYTES: u16 = 1024;

/// Most bytes of all trailers.
const TRAILER_BYTES: u16 = 8 * 1024;

/// Most hex digits of a chunk size: as many as 64 bits have.
const SIZE_DIGITS: u8 = 16;

const BAD_SIZE: Fault = Fault::Malformed("a chunk size must be at most 16 hex digits");
const BAD_EXTENSION: Fault = Fault::Malformed("a chunk extension is too long or not text");
const BAD_END: Fault = Fault::Malformed("a chunk must end with CRLF");
const BAD_TRAILER: Fault = Fault::Malformed("the trailers are too long or not text");

/// What the next byte of a chunked body has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Chunk {
    /// A hex digit of the size, or what ends it.
    Size { digits: u8, size: u64 },
    /// Part of an extension, which is skipped.
    Extension { length: u16, size: u64 },
    /// The line feed that ends the size line.
    SizeEnd { size: u64 },
    /// Data, `left` bytes of it.
    Data { left: u64 },
    /// The carriage return after the data.
    DataEnd,
    /// The line feed after the data.
    DataLineEnd,
    /// The first byte of a trailer, or the carriage return of the empty line that ends the body.
    TrailerStart { total: u16 },
    /// Part of a trailer.
    Trailer { total: u16 },
    /// The line feed that ends a trailer.
    TrailerEnd { total: u16 },
    /// The line feed that ends the body.
    LastLineEnd,
    /// The body has ended.
    Done,
}

impl Chunk {
    /// The state at the start of a body.
    pub(super) const START: Self = Self::Size { digits: 0, size: 0 };

    /// Follows `bytes` and returns how many of them belong to the body.
    ///
    /// # Errors
    /// The fault of the first byte that breaks a rule.
    pub(super) fn advance(&mut self, bytes: &[u8]) -> Result<usize, Fault> {
        let mut at = 0;
        while at < bytes.len() && *self != Self::Done {
            if let Self::Data { left } = *self {
                let rest = bytes.len() - at;
                let skipped = usize::try_from(left).map_or(rest, |left| left.min(rest));
                at += skipped;
                let left = left - skipped as u64;
                *self = if left == 0 { Self::DataEnd } else { Self::Data { left } };
            } else {
                *self = self.step(bytes[at])?;
                at += 1;
            }
        }
        Ok(at)
    }

    /// The state after one byte that is not data.
    fn step(self, byte: u8) -> Result<Self, Fault> {
        match self {
            Self::Size { digits, size } => match char::from(byte).to_digit(16) {
                Some(_) if digits == SIZE_DIGITS => Err(BAD_SIZE),
                Some(digit) => {
                    Ok(Self::Size { digits: digits + 1, size: size << 4 | u64::from(digit) })
                }
                None if digits > 0 && byte == b'\r' => Ok(Self::SizeEnd { size }),
                None if digits > 0 && byte == b';' => Ok(Self::Extension { length: 0, size }),
                None => Err(BAD_SIZE),
            },
            Self::Extension { size, .. } if byte == b'\r' => Ok(Self::SizeEnd { size }),
            Self::Extension { length, size } if length < EXTENSION_BYTES && is_text(byte) => {
                Ok(Self::Extension { length: length + 1, size })
            }
            Self::Extension { .. } => Err(BAD_EXTENSION),
            Self::SizeEnd { size: 0 } if byte == b'\n' => Ok(Self::TrailerStart { total: 0 }),
            Self::SizeEnd { size } if byte == b'\n' => Ok(Self::Data { left: size }),
            Self::DataEnd if byte == b'\r' => Ok(Self::DataLineEnd),
            Self::DataLineEnd if byte == b'\n' => Ok(Self::START),
            Self::TrailerStart { .. } if byte == b'\r' => Ok(Self::LastLineEnd),
            // A continued line is refused in trailers as it is in heads.
            Self::TrailerStart { .. } if matches!(byte, b' ' | b'\t') => Err(BAD_TRAILER),
            Self::Trailer { total } if byte == b'\r' => Ok(Self::TrailerEnd { total }),
            Self::TrailerStart { total } | Self::Trailer { total }
                if total < TRAILER_BYTES && is_text(byte) =>
            {
                Ok(Self::Trailer { total: total + 1 })
            }
            Self::TrailerEnd { total } if byte == b'\n' => Ok(Self::TrailerStart { total }),
            Self::TrailerStart { .. } | Self::Trailer { .. } | Self::TrailerEnd { .. } => {
                Err(BAD_TRAILER)
            }
            Self::LastLineEnd if byte == b'\n' => Ok(Self::Done),
            Self::SizeEnd { .. } | Self::DataEnd | Self::DataLineEnd | Self::LastLineEnd => {
                Err(BAD_END)
            }
            // `advance` handles these two itself.
            Self::Data { .. } | Self::Done => Ok(self),
        }
    }
}

/// Whether a byte may stand in a line: no control character but the tab.
pub(super) fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How much of the text is body, or the fault; the same whole and byte by byte.
    fn body_length(text: &[u8]) -> Result<Option<usize>, Fault> {
        let mut whole = Chunk::START;
        let at_once = whole.advance(text);
        let mut pieces = Chunk::START;
        let one_by_one = text.iter().map(|byte| pieces.advance(&[*byte])).sum();
        assert_eq!(at_once, one_by_one, "{text:?}");
        at_once.map(|length| (whole == Chunk::Done).then_some(length))
    }

    #[test]
    fn a_body_ends_after_its_last_chunk_and_trailers() {
        for body in [
            "0\r\n\r\n",
            "5\r\nhello\r\n0\r\n\r\n",
            "a;x=\"y\"\r\n0123456789\r\n000\r\nA: b\r\nC: d\r\n\r\n",
        ] {
            let text = format!("{body}GET / HTTP/1.1");
            assert_eq!(body_length(text.as_bytes()), Ok(Some(body.len())), "{body:?}");
        }
    }

    #[test]
    fn a_body_without_its_end_goes_on() {
        for body in ["", "5\r\nhel", "ffffffffffffffff\r\nx", "0\r\nA: b\r\n"] {
            assert_eq!(body_length(body.as_bytes()), Ok(None), "{body:?}");
        }
    }

    #[test]
    fn a_size_is_hex_digits_only() {
        for size in [
            "",
            "0x5",
            "-1",
            "+5",
            " 5",
            "5 ",
            "5\t",
            "g",
            "5,5",
            "5\n",
            "\n",
            "00000000000000005",
            "fffffffffffffffff",
            "5_0",
            "\u{b2}",
        ] {
            let body = format!("{size}\r\nhello\r\n0\r\n\r\n");
            assert!(body_length(body.as_bytes()).is_err(), "{size:?}");
        }
    }

    #[test]
    fn lines_end_with_both_characters() {
        for body in [
            "5\nhello\r\n0\r\n\r\n",
            "5\r\nhello\n0\r\n\r\n",
            "5\r\nhello0\r\n\r\n",
            "0\r\n\n",
            "0\r\n\rX",
            "0\r\nA: b\n\r\n",
            "0\r\nA: b\rX",
            "0\r\n A: b\r\n\r\n",
            "5\rX",
        ] {
            assert!(body_length(body.as_bytes()).is_err(), "{body:?}");
        }
    }

    #[test]
    fn extensions_and_trailers_are_bounded() {
        let long = "a".repeat(9000);
        assert!(body_length(format!("5;{long}\r\n").as_bytes()).is_err());
        assert!(body_length(format!("0\r\nA: {long}\r\n\r\n").as_bytes()).is_err());
        let many = "a: b\r\n".repeat(3000);
        assert!(body_length(format!("0\r\n{many}\r\n").as_bytes()).is_err());
        assert!(body_length(b"5;a\x00\r\nhello\r\n").is_err());
    }
}
