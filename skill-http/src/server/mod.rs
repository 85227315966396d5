//! Serves HTTP/1.1 and HTTP/2 on TCP and on a Unix socket.
//!
//! [`serve`] accepts connections, as many as [`Limits`] allow, gives each to a task, and asks a
//! [`Handle`] for the answers. It knows nothing about what is answered. Everything a peer can be
//! slow with has a deadline here, but for a request's body, which is the handler's to limit.

mod connection;
mod listener;
mod stall;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::error::Error;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::connection::Connections;
use crate::guard::{Fault, HeadLimits, Watch};

pub(crate) use self::listener::Listener;

/// First and shortest pause after an accept that found no room, for example for a descriptor.
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);

/// Longest pause after accepts that found no room.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How long aborted tasks are waited for.
const ABORT_WAIT: Duration = Duration::from_secs(1);

/// What a peer may cost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// For the first request of a connection, and for a head once it has begun.
    pub(crate) header_timeout: Duration,
    /// For the next request of a connection.
    pub(crate) keep_alive: Duration,
    /// For a peer that reads not one byte.
    pub(crate) write_stall: Duration,
    /// For what is running when the server stops.
    pub(crate) drain: Duration,
    /// Most connections at a time.
    pub(crate) connections: usize,
    /// Most requests at a time on one HTTP/2 connection.
    pub(crate) streams: u32,
    /// Most bytes of a head.
    pub(crate) header_bytes: usize,
    /// Most headers of a request.
    pub(crate) header_count: usize,
    /// Most bytes of a request target.
    pub(crate) uri_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_timeout: Duration::from_secs(10),
            keep_alive: Duration::from_secs(75),
            write_stall: Duration::from_secs(30),
            drain: Duration::from_secs(30),
            connections: 10_000,
            streams: 100,
            header_bytes: 32 * 1024,
            header_count: 100,
            uri_bytes: 8 * 1024,
        }
    }
}

impl Limits {
    /// The limits that concern a head.
    fn head(&self) -> HeadLimits {
        HeadLimits { bytes: self.header_bytes, count: self.header_count, uri_bytes: self.uri_bytes }
    }
}

/// Who sent a request, and what the guard found in it.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    /// The address of the other end; none on a Unix socket.
    pub(crate) address: Option<IpAddr>,
    watch: Arc<Watch>,
    number: u64,
    found: Option<Fault>,
}

impl Peer {
    /// Why this request is refused, if it is.
    ///
    /// A handler asks before anything else, and answers [`Fault::status`] in the shape of the path:
    /// the request is then a stand-in with the path of the refused one and nothing more. When
    /// reading the body has failed it asks again: the fault of a body that began well is known only
    /// then. The server closes the connection after such an answer.
    pub(crate) fn fault(&self) -> Option<Fault> {
        self.found.or_else(|| self.watch.fault(self.number))
    }
}

/// Answers requests.
pub(crate) trait Handle: Send + Sync + 'static {
    /// The body of an answer.
    type Body: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>>
        + Send
        + Unpin
        + 'static;

    /// Answers one request. Dropped at its next `.await` when the peer disconnects or the server
    /// has waited long enough for it to end.
    fn handle(
        &self,
        request: Request<Incoming>,
        peer: Peer,
    ) -> impl Future<Output = Response<Self::Body>> + Send;
}

/// Serves connections until `shutdown`, then lets requests end for as long as
/// [`drain`](Limits::drain) and aborts the rest. Dropping it aborts everything at once.
pub(crate) async fn serve<L: Listener, H: Handle>(
    listener: L,
    limits: Limits,
    handler: Arc<H>,
    shutdown: CancellationToken,
) {
    let tasks = TaskTracker::new();
    let kill = CancellationToken::new();
    let _abort = kill.clone().drop_guard();
    let connections =
        Connections { limits, handler, shutdown: shutdown.clone(), kill: kill.clone(), tasks };
    let tasks = connections.tasks.clone();
    shutdown.run_until_cancelled_owned(accept(listener, connections)).await;
    tasks.close();
    if timeout(limits.drain, tasks.wait()).await.is_err() {
        tracing::warn!(tasks = tasks.len(), "requests are aborted that did not end in time");
        kill.cancel();
        // A task that computes without a pause is not waited for.
        let _ = timeout(ABORT_WAIT, tasks.wait()).await;
    }
}

/// Accepts connections for ever; the listener closes when this is dropped.
async fn accept<L: Listener, H: Handle>(listener: L, connections: Connections<H>) -> Infallible {
    let slots = Arc::new(Semaphore::new(connections.limits.connections));
    let mut pause = SHORTEST_PAUSE;
    loop {
        let slot = Arc::clone(&slots).acquire_owned().await;
        let slot = slot.expect("nothing closes the semaphore");
        match listener.accept().await {
            Ok((io, address)) => {
                pause = SHORTEST_PAUSE;
                connections.spawn(io, address, slot);
            }
            Err(error) if is_about_one_peer(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "no connection can be accepted for a moment");
                sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

/// Whether an accept found a peer that had gone, so that the next one may work at once.
fn is_about_one_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    let kind = error.kind();
    [ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted].contains(&kind)
}
