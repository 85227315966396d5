//! Where one HTTP/1 message ends and the next one begins.

use super::chunk::Chunk;
use super::head::{Payload, Scan};
use super::{Fault, HeadLimits};

/// What an HTTP/2 client sends first.
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The place in the current message.
#[derive(Debug)]
enum Place {
    Head(Scan),
    /// A body with so many bytes to come.
    Counted(u64),
    Chunked(Chunk),
}

/// Why the input is not followed any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The message that begins right after the cleared bytes is refused.
    Refused(Fault),
    /// The body of a message whose head was handed over before is bad.
    Broken(Fault),
    /// Nothing after the cleared bytes may be taken for a request.
    Last,
    /// The connection speaks HTTP/2.
    Http2,
}

/// What came of a look at some bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Scanned {
    /// How many bytes, from the front, hyper may see.
    pub(super) cleared: usize,
    /// Set when the rest is not to be followed.
    pub(super) end: Option<End>,
}

/// Follows the messages of one connection.
#[derive(Debug)]
pub(super) struct Framing {
    limits: HeadLimits,
    place: Place,
    heads: u64,
}

impl Framing {
    /// Begins before the first message.
    pub(super) fn new(limits: HeadLimits) -> Self {
        Self { limits, place: Place::Head(Scan::default()), heads: 0 }
    }

    /// The number of the latest head, the refused one included.
    pub(super) fn heads(&self) -> u64 {
        self.heads
    }

    /// Whether the latest message has a body that is not complete.
    pub(super) fn is_in_body(&self) -> bool {
        !matches!(self.place, Place::Head(_))
    }

    /// Follows `bytes`. Those that it does not clear have to come again, first, with what follows.
    pub(super) fn scan(&mut self, bytes: &[u8]) -> Scanned {
        if self.heads == 0 {
            if bytes.starts_with(HTTP2_PREFACE) {
                return Scanned { cleared: bytes.len(), end: Some(End::Http2) };
            }
            if HTTP2_PREFACE.starts_with(bytes) {
                return Scanned { cleared: 0, end: None };
            }
        }
        let mut at = 0;
        // Where the message began, if its head is among these bytes: then it can still be refused.
        let mut message = None;
        while at < bytes.len() {
            let rest = &bytes[at..];
            let taken = match &mut self.place {
                Place::Head(scan) => {
                    message = Some(at);
                    match scan.advance(rest, self.limits) {
                        Ok(None) => break,
                        Ok(Some(head)) => {
                            self.heads += 1;
                            if head.payload == Payload::Tunnel {
                                return Scanned { cleared: at + head.length, end: Some(End::Last) };
                            }
                            self.place = Place::after_head(head.payload);
                            Ok(head.length)
                        }
                        Err(fault) => {
                            self.heads += 1;
                            Err(fault)
                        }
                    }
                }
                place @ (Place::Counted(_) | Place::Chunked(_)) => place.advance_body(rest),
            };
            match (taken, message) {
                (Ok(count), _) => at += count,
                (Err(fault), Some(start)) => {
                    return Scanned { cleared: start, end: Some(End::Refused(fault)) };
                }
                (Err(fault), None) => {
                    return Scanned { cleared: at, end: Some(End::Broken(fault)) };
                }
            }
        }
        Scanned { cleared: at, end: None }
    }
}

impl Place {
    /// The place after a head that announces `payload`.
    fn after_head(payload: Payload) -> Self {
        match payload {
            Payload::Counted(0) | Payload::Tunnel => Self::Head(Scan::default()),
            Payload::Counted(length) => Self::Counted(length),
            Payload::Chunked => Self::Chunked(Chunk::START),
        }
    }

    /// Follows the bytes of a body, returns how many belong to it and moves on at its end.
    fn advance_body(&mut self, bytes: &[u8]) -> Result<usize, Fault> {
        let (taken, is_done) = match self {
            Self::Head(_) => (0, false),
            Self::Counted(left) => {
                let taken =
                    usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
                *left -= taken as u64;
                (taken, *left == 0)
            }
            Self::Chunked(chunk) => (chunk.advance(bytes)?, *chunk == Chunk::Done),
        };
        if is_done {
            *self = Self::Head(Scan::default());
        }
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: HeadLimits = HeadLimits { bytes: 32 * 1024, count: 100, uri_bytes: 8 * 1024 };
    const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    const CHUNKED: &str = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

    /// Feeds the pieces as the guard does and returns what was cleared in all, and the end.
    fn follow<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (usize, Option<End>) {
        let mut framing = Framing::new(LIMITS);
        let (mut held, mut cleared) = (Vec::new(), 0);
        for piece in pieces {
            held.extend_from_slice(piece);
            let scanned = framing.scan(&held);
            held.drain(..scanned.cleared);
            cleared += scanned.cleared;
            if scanned.end.is_some() {
                return (cleared, scanned.end);
            }
        }
        (cleared, None)
    }

    fn whole(text: &str) -> (usize, Option<End>) {
        follow(std::iter::once(text.as_bytes()))
    }

    fn byte_by_byte(text: &str) -> (usize, Option<End>) {
        follow(text.as_bytes().chunks(1))
    }

    #[test]
    fn good_messages_are_cleared_in_any_pieces() {
        let post = "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
        let text =
            format!("{GET}{post}{CHUNKED}5\r\nhello\r\n0\r\nA: b\r\n\r\n{GET}\r\n{post}{GET}");
        assert_eq!(whole(&text), (text.len(), None));
        assert_eq!(byte_by_byte(&text), (text.len(), None));
    }

    #[test]
    fn a_partial_head_is_held_back() {
        assert_eq!(whole(&format!("{GET}GET /a HTTP/1.1\r\nHo")), (GET.len(), None));
    }

    #[test]
    fn nothing_from_a_bad_head_on_is_cleared() {
        for bad in ["get / HTTP/1.1\r\n", "GET / HTTP/1.1\nHost: a\n\n"] {
            let text = format!("{GET}{bad}\r\n{GET}");
            for (cleared, end) in [whole(&text), byte_by_byte(&text)] {
                assert_eq!(cleared, GET.len(), "{bad:?}");
                assert!(matches!(end, Some(End::Refused(_))), "{bad:?}");
            }
        }
    }

    #[test]
    fn a_bad_chunk_beside_its_head_refuses_the_message() {
        let (cleared, end) = whole(&format!("{GET}{CHUNKED}0x5\r\nhello\r\n"));
        assert_eq!(cleared, GET.len());
        assert!(matches!(end, Some(End::Refused(_))));
    }

    #[test]
    fn a_bad_chunk_after_its_head_breaks_the_body() {
        let (cleared, end) = byte_by_byte(&format!("{CHUNKED}5\r\nhello\r\nx\r\n"));
        assert_eq!(cleared, CHUNKED.len() + 10);
        assert!(matches!(end, Some(End::Broken(_))));
    }

    #[test]
    fn nothing_after_connect_is_a_request() {
        let connect = "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n";
        assert_eq!(whole(&format!("{connect}{GET}")), (connect.len(), Some(End::Last)));
    }

    #[test]
    fn pieces_never_change_what_is_refused() {
        let text = format!(
            "{GET}{CHUNKED}5;a=b\r\nhello\r\n0\r\nA: b\r\n\r\n\
             POST http://a/ HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi{GET}"
        );
        for at in 0..text.len() {
            for byte in *b"\r\n\0 \t:,;05aZ\xff" {
                let mut bytes = text.clone().into_bytes();
                bytes[at] = byte;
                let whole = follow(std::iter::once(bytes.as_slice()));
                let pieces = follow(bytes.chunks(1));
                assert_eq!(whole.1.is_some(), pieces.1.is_some(), "{at} {byte}");
                // Only a bad body can be found later, when its head has been handed over.
                let is_late = matches!(pieces.1, Some(End::Broken(_)));
                assert!(whole.0 == pieces.0 || is_late, "{at} {byte}");
            }
        }
    }

    #[test]
    fn the_preface_of_http2_is_held_until_it_is_complete() {
        let preface = std::str::from_utf8(HTTP2_PREFACE).unwrap();
        assert_eq!(whole(&preface[..20]), (0, None));
        assert_eq!(byte_by_byte(preface), (24, Some(End::Http2)));
        assert_eq!(whole(&format!("{preface}\0\0\0")), (27, Some(End::Http2)));
        assert!(matches!(whole(&format!("{GET}{preface}")).1, Some(End::Refused(_))));
        assert!(matches!(whole("PRI * HTTP/2.0\r\n\r\nXX").1, Some(End::Refused(_))));
    }
}
