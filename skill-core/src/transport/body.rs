//! Bodies: bytes at hand, or chunks that arrive.

use std::{fmt, pin::Pin};

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt};

use crate::error::{Error, ErrorKind, Result, Retry};

/// Chunks of a body as they arrive. A chunk that cannot be had is the last one.
pub type Chunks = Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>;

/// The body of a response.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> skill_core::Result<()> {
/// use skill_core::transport::Body;
/// assert_eq!(Body::from("hello").collect(1024).await?, "hello");
/// assert!(Body::from("hello").collect(4).await.is_err());
/// # Ok(()) }
/// ```
pub enum Body {
    /// All of it.
    Bytes(Bytes),
    /// Its chunks.
    Chunks(Chunks),
}

impl Body {
    /// Reads the whole body, at most `most` bytes of it.
    ///
    /// # Errors
    /// [`ErrorKind::UpstreamInvalid`] when it is longer; what the chunks end in, when they do.
    pub async fn collect(self, most: usize) -> Result<Bytes> {
        self.collect_about(most, 0).await
    }

    /// As [`Body::collect`], for a body that is said to have `length` bytes: if that is true, none
    /// of them is copied twice.
    ///
    /// # Errors
    /// As [`Body::collect`].
    pub(crate) async fn collect_about(self, most: usize, length: usize) -> Result<Bytes> {
        let mut chunks = match self {
            Self::Bytes(bytes) if bytes.len() <= most => return Ok(bytes),
            Self::Bytes(_) => return Err(too_long(most)),
            Self::Chunks(chunks) => chunks,
        };
        let Some(first) = chunks.next().await.transpose()? else { return Ok(Bytes::new()) };
        let Some(second) = chunks.next().await.transpose()? else {
            return if first.len() <= most { Ok(first) } else { Err(too_long(most)) };
        };
        let room = ((first.len() + second.len()) * 2).max(length.min(most));
        let mut whole = BytesMut::with_capacity(room);
        whole.extend_from_slice(&first);
        whole.extend_from_slice(&second);
        while whole.len() <= most {
            let Some(chunk) = chunks.next().await.transpose()? else { return Ok(whole.freeze()) };
            whole.extend_from_slice(&chunk);
        }
        Err(too_long(most))
    }
}

impl Body {
    /// The body as chunks.
    pub fn into_chunks(self) -> Chunks {
        match self {
            Self::Bytes(bytes) => Box::pin(futures_util::stream::iter([Ok(bytes)])),
            Self::Chunks(chunks) => chunks,
        }
    }

    /// Reads a body of at most `most` bytes, and hands it back whole. Of a longer one no more is
    /// read than it takes to know; nothing of it is lost.
    ///
    /// # Errors
    /// What the chunks end in, when they do within these bytes.
    pub(crate) async fn peek(self, most: usize) -> Result<(Option<Bytes>, Self)> {
        let mut chunks = match self {
            Self::Bytes(bytes) => return Ok((Some(bytes.clone()), Self::Bytes(bytes))),
            Self::Chunks(chunks) => chunks,
        };
        let mut begun = BytesMut::new();
        while let Some(chunk) = chunks.next().await.transpose()? {
            begun.extend_from_slice(&chunk);
            if begun.len() > most {
                let begun = futures_util::stream::once(std::future::ready(Ok(begun.freeze())));
                return Ok((None, Self::Chunks(Box::pin(begun.chain(chunks)))));
            }
        }
        let whole = begun.freeze();
        Ok((Some(whole.clone()), Self::Bytes(whole)))
    }
}

fn too_long(most: usize) -> Error {
    let message = format!("expected an answer of at most {most} bytes from the service");
    Error::new(ErrorKind::UpstreamInvalid, message).retry(Retry::IfIdempotent)
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        Self::Bytes(Bytes::from_static(text.as_bytes()))
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self::Bytes(bytes)
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "Bytes({})", bytes.len()),
            Self::Chunks(_) => f.write_str("Chunks"),
        }
    }
}
