//! One HTTP/1.1 exchange over an open stream: for the operator's socket, and for the demo's walk.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::task::AbortOnDropHandle;

use crate::failure::Failure;

/// The largest answer that is read: more than any setting lets the server send is a mistake.
const ANSWER_BYTES: usize = 256 << 20;

/// Sends a request and reads the whole answer within `limit`.
///
/// Dropping the future closes the stream, which ends the work on the other side.
pub(crate) async fn exchange<S>(
    stream: S,
    request: Request<Bytes>,
    limit: Duration,
) -> anyhow::Result<Response<Bytes>>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let work = async {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let _connection = AbortOnDropHandle::new(tokio::spawn(connection));
        let answer = sender.send_request(request.map(Full::new)).await?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, ANSWER_BYTES).collect().await;
        let body = body.map_err(|error| anyhow::anyhow!(error))?.to_bytes();
        Ok(Response::from_parts(head, body))
    };
    tokio::time::timeout(limit, work).await.map_err(|_| late(limit))?
}

/// What is said when a time is over.
pub(crate) fn late(limit: Duration) -> Failure {
    Failure::new(format!("no answer came within {limit:?}"))
}
