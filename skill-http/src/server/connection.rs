//! One connection, from accept to close.

use std::convert::Infallible;
use std::future::Future;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, HeaderValue};
use http::{Method, Request, Response, Version};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::stall::Stall;
use super::{Handle, Limits, Peer};
use crate::guard::{Expiry, Guard, Patience, Running, Watch, check_parts};

/// Most bytes that hyper gathers for one HTTP/1 connection, each way.
const BUFFER_BYTES: usize = 64 * 1024;

/// How often an HTTP/2 peer is asked whether it is there.
const PING_INTERVAL: Duration = Duration::from_secs(30);

/// How long an HTTP/2 peer may take to say that it is.
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// Most bytes of an HTTP/2 answer that hyper takes at once: what it has taken it keeps in memory, and
/// whether the peer reads shows only when it takes more.
const PIECE_BYTES: usize = 64 * 1024;

/// Most streams that an HTTP/2 peer may have reset before they were looked at.
const PENDING_RESETS: usize = 20;

/// What all connections of a listener share.
pub(super) struct Connections<H> {
    pub(super) limits: Limits,
    pub(super) handler: Arc<H>,
    /// Asks every connection to end.
    pub(super) shutdown: CancellationToken,
    /// Ends every task.
    pub(super) kill: CancellationToken,
    /// Owns the tasks of all connections and of all their HTTP/2 streams.
    pub(super) tasks: TaskTracker,
}

impl<H: Handle> Connections<H> {
    /// Serves a connection on a task of its own, which keeps `slot` while it runs.
    pub(super) fn spawn<T>(&self, io: T, address: Option<IpAddr>, slot: OwnedSemaphorePermit)
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let patience = Patience {
            head: self.limits.header_timeout,
            idle: self.limits.keep_alive,
            stall: self.limits.write_stall,
        };
        let connection = Connection {
            limits: self.limits,
            handler: Arc::clone(&self.handler),
            address,
            watch: Watch::new(patience),
        };
        let shutdown = self.shutdown.clone();
        // A child, so that the streams of this connection end with it.
        let kill = self.kill.child_token();
        let streams = Streams { kill: kill.clone(), tasks: self.tasks.clone() };
        self.tasks.spawn(async move {
            let _slot = slot;
            let _streams = kill.clone().drop_guard();
            kill.run_until_cancelled(connection.run(io, streams, shutdown)).await;
        });
    }
}

/// One connection and what its requests need.
struct Connection<H> {
    limits: Limits,
    handler: Arc<H>,
    address: Option<IpAddr>,
    watch: Arc<Watch>,
}

impl<H: Handle> Connection<H> {
    /// Serves requests until either side has had enough.
    async fn run<T>(self, io: T, streams: Streams, shutdown: CancellationToken)
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let io = Stall::new(io, self.limits.write_stall, Arc::clone(&self.watch));
        let io = Guard::new(io, self.limits.head(), Arc::clone(&self.watch));
        let builder = builder(&self.limits, streams);
        let service = service_fn(|request| self.answer(request));
        let mut connection = pin!(builder.serve_connection(TokioIo::new(io), service));
        tokio::select! {
            biased;
            ended = connection.as_mut() => return log_end(ended),
            () = shutdown.cancelled() => {}
            why = self.watch.expired() => if why == Expiry::Slow {
                return tracing::debug!("a connection is closed because its peer is too slow");
            }
        }
        connection.as_mut().graceful_shutdown();
        // A peer that is idle and will not take the last bytes must not stay either.
        if let Ok(ended) = tokio::time::timeout(self.limits.drain, connection).await {
            log_end(ended);
        }
    }

    /// Has one request answered.
    ///
    /// The request is counted when this is called, not when its future first runs: requests of an
    /// HTTP/1 connection have the numbers that the guard gave their heads.
    fn answer(
        &self,
        request: Request<Incoming>,
    ) -> impl Future<Output = Result<Response<Tracked<H::Body>>, Infallible>> + Send + 'static {
        let mut running = self.watch.begin();
        let (parts, body) = request.into_parts();
        let is_http2 = parts.version == Version::HTTP_2;
        let found = is_http2.then(|| check_parts(&parts, self.limits.head()).err()).flatten();
        let number = running.number();
        let watch = Arc::clone(&self.watch);
        let peer = Peer { address: self.address, watch, number, found };
        let is_connect = parts.method == Method::CONNECT;
        let request = Request::from_parts(parts, body);
        let handler = Arc::clone(&self.handler);
        async move {
            let response = handler.handle(request, peer.clone()).await;
            let (mut parts, body) = response.into_parts();
            if !is_http2 && (is_connect || peer.fault().is_some()) {
                parts.headers.insert(CONNECTION, HeaderValue::from_static("close"));
            }
            running.set_offered(true);
            let piece = if is_http2 { PIECE_BYTES } else { usize::MAX };
            Ok(Response::from_parts(parts, Tracked { body, running, piece, rest: Bytes::new() }))
        }
    }
}

/// Sets hyper up for one connection.
fn builder(limits: &Limits, streams: Streams) -> Builder<Streams> {
    let mut builder = Builder::new(streams);
    // The guard hands over whole heads and the watch times them, so hyper's own timer has nothing
    // to do, and would close idle connections after its own time.
    builder.http1().timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(BUFFER_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(PENDING_RESETS)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT);
    builder
}

/// Notes how a connection ended.
fn log_end(ended: Result<(), Box<dyn std::error::Error + Send + Sync>>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// Runs the HTTP/2 streams of one connection, none of which outlives it.
#[derive(Debug, Clone)]
struct Streams {
    kill: CancellationToken,
    tasks: TaskTracker,
}

impl<F> Executor<F> for Streams
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, stream: F) {
        self.tasks.spawn(self.kill.clone().run_until_cancelled_owned(stream));
    }
}

/// The body of an answer, which keeps its request counted until it has been sent.
struct Tracked<B> {
    body: B,
    running: Running,
    /// Most bytes of a frame.
    piece: usize,
    /// What is left of a frame that was too large.
    rest: Bytes,
}

impl<B> Tracked<B> {
    /// Takes a frame from what is left.
    fn piece(&mut self) -> Frame<Bytes> {
        Frame::data(self.rest.split_to(self.piece.min(self.rest.len())))
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Tracked<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = &mut *self;
        if !this.rest.is_empty() {
            this.running.set_offered(true);
            return Poll::Ready(Some(Ok(this.piece())));
        }
        let polled = Pin::new(&mut this.body).poll_frame(cx);
        this.running.set_offered(polled.is_ready());
        polled.map_ok(|frame| match frame.into_data() {
            Ok(data) => {
                this.rest = data;
                this.piece()
            }
            Err(frame) => frame,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, hint) = (self.rest.len() as u64, self.body.size_hint());
        let mut sum = SizeHint::new();
        if let Some(upper) = hint.upper().and_then(|upper| upper.checked_add(rest)) {
            sum.set_upper(upper);
        }
        sum.set_lower(hint.lower().saturating_add(rest));
        sum
    }
}
