//! Cuts a peer that has stopped to read.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use crate::guard::Watch;

/// A connection on which a write fails when the peer takes not one byte for a while.
#[derive(Debug)]
pub(super) struct Stall<T> {
    io: T,
    watch: Arc<Watch>,
    patience: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    is_blocked: bool,
}

impl<T> Stall<T> {
    /// Wraps `io`; `watch` learns whether a write waits.
    pub(super) fn new(io: T, patience: Duration, watch: Arc<Watch>) -> Self {
        Self { io, watch, patience, timer: None, is_blocked: false }
    }

    /// Turns the answer to a write that waits too long into an error.
    fn limit(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            if self.is_blocked {
                self.is_blocked = false;
                self.watch.set_write_blocked(false);
            }
            return written;
        }
        let patience = self.patience;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(patience)));
        if !self.is_blocked {
            self.is_blocked = true;
            self.watch.set_write_blocked(true);
            timer.as_mut().reset(Instant::now() + patience);
        }
        timer
            .as_mut()
            .poll(cx)
            .map(|()| Err(io::Error::new(io::ErrorKind::TimedOut, "the peer stopped reading")))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Stall<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Stall<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.limit(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, slices);
        self.limit(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    // A socket has nothing to flush: only a write can show that the peer takes bytes.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;
    use crate::guard::Patience;

    const LIMIT: Duration = Duration::from_secs(30);

    fn watch() -> Arc<Watch> {
        Watch::new(Patience { head: LIMIT, idle: LIMIT, stall: LIMIT })
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_takes_nothing_is_cut() {
        let (near, _far) = duplex(16);
        let start = Instant::now();
        let error = Stall::new(near, LIMIT, watch()).write_all(&[0; 100]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(start.elapsed().as_secs(), 30);
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_takes_a_little_is_served() {
        let (near, mut far) = duplex(16);
        let mut near = Stall::new(near, LIMIT, watch());
        let reader = async {
            for _ in 0..100 {
                sleep(LIMIT - Duration::from_secs(1)).await;
                far.read_u8().await.unwrap();
            }
        };
        let (written, ()) = tokio::join!(near.write_all(&[0; 100]), reader);
        written.unwrap();
    }
}
