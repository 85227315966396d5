//! A guard between the socket and hyper that refuses what hyper would let through.
//!
//! hyper accepts several framings on which two HTTP parsers can disagree (a Content-Length beside
//! a Transfer-Encoding, two Transfer-Encodings, bare line feeds), and that disagreement is what
//! request smuggling lives on. [`Guard`] reads the same bytes first and hands hyper only heads
//! that keep every rule. In place of a head that breaks one it hands over a harmless stand-in for
//! the same path, remembers the [`Fault`] in the connection's [`Watch`], and never hands over
//! another byte. So hyper answers what came before, then asks the handler for one answer to the
//! refused request, and closes. HTTP/2 passes untouched; [`check_parts`] holds it to the same rules.

mod chunk;
mod framing;
mod head;
mod line;
mod parts;
mod watch;

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::StatusCode;
use http::uri::PathAndQuery;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use self::framing::{End, Framing};
use self::line::is_token;

pub(crate) use self::parts::check_parts;
pub(crate) use self::watch::{Expiry, Patience, Running, Watch};

/// Bytes read at once when they cannot go straight into hyper's buffer.
const SCRATCH_BYTES: usize = 8 * 1024;

/// A smaller buffer than this is hyper looking for the protocol: reading into it would cost a
/// system call for every few bytes of the first head.
const DIRECT_BYTES: usize = 1024;

/// How much of a refused path is kept, which is enough to tell the shape of the answer.
const PATH_BYTES: usize = 1024;

/// How long a closing connection with unread input is kept, so that the reset which an early close
/// causes does not overtake the answer.
const LINGER: Duration = Duration::from_secs(1);

/// How much unread input a closing connection swallows.
const LINGER_BYTES: usize = 1024 * 1024;

/// Why a request is refused before anything else looks at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The message breaks a rule of syntax or framing, named here.
    Malformed(&'static str),
    /// The request target is longer than the limit.
    UriTooLong,
    /// The head has too many bytes or too many headers.
    HeadTooLarge,
}

impl Fault {
    /// The status that answers this fault.
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::UriTooLong => StatusCode::URI_TOO_LONG,
            Self::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed(rule) => rule,
            Self::UriTooLong => "the request target is too long",
            Self::HeadTooLarge => "the request headers are too large",
        })
    }
}

impl std::error::Error for Fault {}

/// The size rules for a head.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HeadLimits {
    /// Most bytes of a head, request line included.
    pub(crate) bytes: usize,
    /// Most header lines.
    pub(crate) count: usize,
    /// Most bytes of the request target.
    pub(crate) uri_bytes: usize,
}

/// What the guard does with the bytes it reads.
#[derive(Debug, Clone, Copy)]
enum Mode {
    /// HTTP/1: every byte is followed.
    Watching,
    /// HTTP/2: bytes pass.
    Through,
    /// Nothing more is handed over. Not an end of file either, which would make hyper drop the
    /// handler before it has answered.
    Silent,
    /// A body that hyper already reads turned out bad: its next read fails.
    Broken(Fault),
}

/// A connection whose input is checked before hyper sees it.
#[derive(Debug)]
pub(crate) struct Guard<T> {
    io: T,
    watch: Arc<Watch>,
    framing: Framing,
    mode: Mode,
    /// Bytes that were read and not handed over yet.
    held: Vec<u8>,
    /// How many of `held`, from the front, may be handed over.
    cleared: usize,
    /// Whether `held` ends in the middle of a head.
    partial: bool,
    linger: Option<Linger>,
}

/// The state of a close that still swallows input.
#[derive(Debug)]
struct Linger {
    until: Pin<Box<Sleep>>,
    swallowed: usize,
}

impl<T> Guard<T> {
    /// Wraps `io`; `watch` receives what is found.
    pub(crate) fn new(io: T, limits: HeadLimits, watch: Arc<Watch>) -> Self {
        Self {
            io,
            watch,
            framing: Framing::new(limits),
            mode: Mode::Watching,
            held: Vec::new(),
            cleared: 0,
            partial: false,
            linger: None,
        }
    }

    /// Moves cleared bytes into `buf`.
    fn hand_over(&mut self, buf: &mut ReadBuf<'_>) {
        let count = self.cleared.min(buf.remaining());
        buf.put_slice(&self.held[..count]);
        self.cleared -= count;
        if count == self.held.len() {
            self.held = Vec::new();
        } else {
            self.held.drain(..count);
        }
    }

    /// Checks bytes that lie in hyper's buffer already and returns how many may stay there.
    fn inspect_direct(&mut self, fresh: &[u8]) -> usize {
        let scanned = self.framing.scan(fresh);
        let rest = &fresh[scanned.cleared..];
        match scanned.end {
            Some(end) => self.conclude(end, rest),
            None => self.held.extend_from_slice(rest),
        }
        self.note_partial();
        scanned.cleared
    }

    /// Checks the held bytes, which begin where a head begins.
    fn inspect_held(&mut self) {
        let scanned = self.framing.scan(&self.held);
        self.cleared = scanned.cleared;
        if let Some(end) = scanned.end {
            let rest = self.held.split_off(scanned.cleared);
            self.conclude(end, &rest);
        }
        self.note_partial();
    }

    /// Stops following the input; `rest` are the bytes from where it went wrong.
    fn conclude(&mut self, end: End, rest: &[u8]) {
        self.mode = match end {
            End::Http2 => Mode::Through,
            End::Last => Mode::Silent,
            End::Broken(fault) => {
                self.watch.refuse(self.framing.heads(), fault);
                Mode::Broken(fault)
            }
            End::Refused(fault) => {
                self.watch.refuse(self.framing.heads(), fault);
                self.held.extend_from_slice(&stand_in(rest));
                self.cleared = self.held.len();
                Mode::Silent
            }
        };
    }

    /// Tells the watch when the input begins or stops to end in the middle of a head.
    fn note_partial(&mut self) {
        let partial = matches!(self.mode, Mode::Watching) && self.held.len() > self.cleared;
        if partial != self.partial {
            self.partial = partial;
            self.watch.set_partial_head(partial);
        }
    }

    /// Whether the peer may have sent more than was read.
    fn has_unread_input(&self) -> bool {
        match self.mode {
            Mode::Watching => self.partial || self.framing.is_in_body(),
            Mode::Through => false,
            Mode::Silent | Mode::Broken(_) => true,
        }
    }
}

impl<T: AsyncRead + Unpin> Guard<T> {
    /// Swallows input until the peer closes too, or has had its chance.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let linger = self.linger.get_or_insert_with(|| Linger {
            until: Box::pin(tokio::time::sleep(LINGER)),
            swallowed: 0,
        });
        let mut scratch = [0; SCRATCH_BYTES];
        while linger.swallowed < LINGER_BYTES {
            let mut buf = ReadBuf::new(&mut scratch);
            match Pin::new(&mut self.io).poll_read(cx, &mut buf) {
                Poll::Pending => return linger.until.as_mut().poll(cx),
                Poll::Ready(Ok(())) if !buf.filled().is_empty() => {
                    linger.swallowed += buf.filled().len();
                }
                Poll::Ready(_) => break,
            }
        }
        Poll::Ready(())
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Guard<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if this.cleared > 0 {
                this.hand_over(buf);
                return Poll::Ready(Ok(()));
            }
            match this.mode {
                Mode::Watching => {}
                Mode::Through => return Pin::new(&mut this.io).poll_read(cx, buf),
                Mode::Silent => return Poll::Pending,
                Mode::Broken(fault) => {
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, fault)));
                }
            }
            if this.held.is_empty() && buf.remaining() >= DIRECT_BYTES {
                let before = buf.filled().len();
                ready!(Pin::new(&mut this.io).poll_read(cx, buf))?;
                if buf.filled().len() == before {
                    return Poll::Ready(Ok(()));
                }
                let cleared = this.inspect_direct(&buf.filled()[before..]);
                buf.set_filled(before + cleared);
                if cleared > 0 {
                    return Poll::Ready(Ok(()));
                }
            } else {
                let mut scratch = [0; SCRATCH_BYTES];
                let mut fresh = ReadBuf::new(&mut scratch);
                ready!(Pin::new(&mut this.io).poll_read(cx, &mut fresh))?;
                if fresh.filled().is_empty() {
                    return Poll::Ready(Ok(()));
                }
                this.held.extend_from_slice(fresh.filled());
                this.inspect_held();
            }
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Guard<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.linger.is_none() {
            ready!(Pin::new(&mut self.io).poll_shutdown(cx))?;
        }
        if self.has_unread_input() {
            ready!(self.poll_linger(cx));
        }
        Poll::Ready(Ok(()))
    }
}

/// Writes a request without a body that asks for the path which `refused` begins with, so that the
/// handler can still choose the shape of its answer by the path.
fn stand_in(refused: &[u8]) -> Vec<u8> {
    let is_blank = |byte: &u8| byte.is_ascii_whitespace();
    let mut words = refused.trim_ascii_start().splitn(3, is_blank);
    // An answer to HEAD has no body, whatever is wrong with the rest of the request.
    let asked = words.next().filter(|word| is_token(word));
    let method = if asked == Some(b"HEAD") { "HEAD" } else { "GET" };
    let path = asked.and_then(|_| path_of(words.next()?));
    let path = path.unwrap_or_else(|| PathAndQuery::from_static("/"));
    format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n\r\n").into_bytes()
}

/// The path of a request target, if it has one that can be repeated.
fn path_of(target: &[u8]) -> Option<PathAndQuery> {
    let start = match target.windows(3).position(|window| window == b"://") {
        Some(scheme) if !target.starts_with(b"/") => {
            let authority = scheme + 3;
            authority + target[authority..].iter().position(|byte| *byte == b'/')?
        }
        _ => 0,
    };
    let path = target[start..].split(|byte| matches!(byte, b'?' | b'#')).next()?;
    let path = &path[..path.len().min(PATH_BYTES)];
    let is_plain = path.starts_with(b"/") && path.iter().all(u8::is_ascii_graphic);
    is_plain.then(|| PathAndQuery::try_from(path).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stand_in_text(refused: &[u8]) -> String {
        String::from_utf8(stand_in(refused)).unwrap()
    }

    #[test]
    fn a_stand_in_keeps_the_path_and_nothing_else() {
        let refused = b"POST /v1/tools?key=1 HTTP/1.1\r\nX-A: b\nEvil: 1\r\n\r\n";
        assert_eq!(stand_in_text(refused), "GET /v1/tools HTTP/1.1\r\nconnection: close\r\n\r\n");
    }

    #[test]
    fn a_stand_in_reads_the_path_of_an_absolute_target() {
        let head = stand_in_text(b"GET http://evil.test/api/x HTTP/1.1\r\n");
        assert!(head.starts_with("GET /api/x HTTP/1.1\r\n"), "{head}");
    }

    #[test]
    fn a_stand_in_never_repeats_what_is_not_a_path() {
        for refused in
            [&b"\x16\x03\x01"[..], b"", b"GET", b"GET x", b"GET /\x00\r\n", b"G /\xc3\xa4"]
        {
            assert!(stand_in_text(refused).starts_with("GET / HTTP/1.1\r\n"), "{refused:?}");
        }
    }

    #[test]
    fn a_refused_head_request_is_answered_like_one() {
        assert!(stand_in_text(b"HEAD /a HTTP/1.1\r\n").starts_with("HEAD /a "));
    }

    #[test]
    fn a_long_path_is_cut() {
        let refused = [b"GET /".as_slice(), &[b'a'; 9000]].concat();
        assert!(stand_in_text(&refused).len() < 1100);
    }
}
