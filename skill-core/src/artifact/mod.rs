//! Artifacts: results that are too large for a row, sealed in chunks.
//!
//! What the engine keeps of an artifact is its [`Artifact`]: how it is called and how long it is.
//! Every chunk is bound to owner, run, artifact, total length and its own place: an artifact that
//! was cut, whose chunks were moved, or that was put in the place of another does not open.

mod file;
mod memory;

use std::{fmt::Debug, sync::Arc};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Serialize};

pub use self::{file::FileArtifacts, memory::MemoryArtifacts};
use crate::{
    clock::Clock,
    credential::{Vault, seal::Binding},
    error::{Error, ErrorKind, Result},
    id::{ArtifactId, ExecutionId},
    name::OwnerId,
    record::Sealed,
};

/// The bytes of one chunk in plain text.
const CHUNK: usize = 64 * 1024;
/// The most bytes that are read at once.
const MOST: u32 = 16 << 20;

/// Where the sealed bytes of one artifact are.
///
/// ```
/// fn is_of(at: &skill_core::artifact::ArtifactRef, owner: &str) -> bool { at.owner.as_str() == owner }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ArtifactRef {
    /// Whose.
    pub owner: OwnerId,
    /// The run that made it.
    pub run: ExecutionId,
    /// Which one of that run's.
    pub id: ArtifactId,
}

/// Keeps large values. What it is given is sealed already: it sees ciphertext only.
///
/// Failures of the storage are [`ErrorKind::Unavailable`].
#[async_trait]
pub trait ArtifactStore: Debug + Send + Sync + 'static {
    /// Keeps bytes under a name that was never used, durably.
    async fn write(&self, at: &ArtifactRef, bytes: Bytes) -> Result<()>;
    /// Reads `length` bytes from `offset` on, fewer at the end; `None` when there is none of this
    /// name.
    async fn read(&self, at: &ArtifactRef, offset: u64, length: usize) -> Result<Option<Bytes>>;
    /// Removes what a run made, but for `keep`; returns how many went.
    async fn forget(
        &self,
        owner: &OwnerId,
        run: ExecutionId,
        keep: Option<ArtifactId>,
    ) -> Result<u64>;
    /// Every run that has artifacts, once.
    async fn runs(&self) -> Result<Vec<(OwnerId, ExecutionId)>>;
    /// The artifacts of a run.
    async fn list(&self, owner: &OwnerId, run: ExecutionId) -> Result<Vec<ArtifactId>>;
    /// Puts bytes in the place of those that are kept under this name, durably: whoever reads
    /// meanwhile reads the old ones or the new ones. Nothing happens when there are none.
    async fn replace(&self, at: &ArtifactRef, bytes: Bytes) -> Result<()>;
}

const _: Option<&dyn ArtifactStore> = None;

/// What is kept of an artifact in a record, sealed with it.
///
/// ```
/// use skill_core::{artifact::Artifact, id::ArtifactId};
/// let id = ArtifactId::fresh(jiff::Timestamp::UNIX_EPOCH)?;
/// let artifact = Artifact { id, bytes: 2_000_000 };
/// let text = serde_json::to_string(&artifact).expect("plain data");
/// assert_eq!(serde_json::from_str::<Artifact>(&text).expect("as it was written"), artifact);
/// # Ok::<(), skill_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// Its name.
    #[serde(with = "name")]
    pub id: ArtifactId,
    /// How long it is in plain text.
    pub bytes: u64,
}

/// Identifiers as text.
mod name {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::id::ArtifactId;

    pub(super) fn serialize<S: Serializer>(
        id: &ArtifactId,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(id)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<ArtifactId, D::Error> {
        let text = String::deserialize(deserializer)?;
        ArtifactId::parse(&text).ok_or_else(|| D::Error::custom("expected the id of an artifact"))
    }
}

/// Seals and opens artifacts.
///
/// ```
/// use std::sync::Arc;
/// use skill_core::{
///     artifact::{Artifacts, MemoryArtifacts}, clock::SystemClock, credential::{Vault, seal::Keyring},
///     id::ExecutionId, name::OwnerId, store::MemoryStore,
/// };
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> skill_core::Result<()> {
/// let clock = Arc::new(SystemClock::new());
/// let vault = Vault::new(Arc::new(MemoryStore::new()), Keyring::generate()?, clock.clone());
/// let artifacts = Artifacts::new(Arc::new(MemoryArtifacts::default()), Arc::new(vault), clock);
/// let (owner, run) = (OwnerId::standard(), ExecutionId::fresh(jiff::Timestamp::UNIX_EPOCH)?);
/// let artifact = artifacts.spill(&owner, run, "a large result".into()).await?;
/// assert_eq!(artifacts.read((&owner, run), artifact, 2, 5).await?, "large");
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct Artifacts {
    store: Arc<dyn ArtifactStore>,
    vault: Arc<Vault>,
    clock: Arc<dyn Clock>,
}

impl Artifacts {
    /// Returns the artifacts of `store`, sealed by `vault`.
    pub fn new(store: Arc<dyn ArtifactStore>, vault: Arc<Vault>, clock: Arc<dyn Clock>) -> Self {
        Self { store, vault, clock }
    }

    /// Keeps `bytes`, durably, as something that this run made. Nothing is lost by calling it and
    /// never naming the artifact in a record: it goes with the run.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when the storage does not take it.
    pub async fn spill(&self, owner: &OwnerId, run: ExecutionId, bytes: Bytes) -> Result<Artifact> {
        let id = ArtifactId::fresh(self.clock.now())?;
        let at = ArtifactRef { owner: owner.clone(), run, id };
        let artifact = Artifact { id, bytes: bytes.len() as u64 };
        let (vault, whose) = (self.vault.clone(), at.clone());
        // Sealing megabytes takes too long for the thread that everybody else waits for.
        let sealed = tokio::task::spawn_blocking(move || seal(&vault, &whose, &bytes));
        self.store.write(&at, sealed.await.map_err(Error::internal)??).await?;
        Ok(artifact)
    }

    /// Reads up to `most` bytes from `offset` on: fewer at the end, and never more than 16 MiB.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when it is gone; [`ErrorKind::Internal`] when it was cut, changed
    /// or is another one's; [`ErrorKind::Unavailable`] when the storage does not answer.
    pub async fn read(
        &self,
        (owner, run): (&OwnerId, ExecutionId),
        artifact: Artifact,
        offset: u64,
        most: u32,
    ) -> Result<Bytes> {
        let end = artifact.bytes.min(offset.saturating_add(most.min(MOST).into()));
        if offset >= end {
            return Ok(Bytes::new());
        }
        let (first, last) = (offset / CHUNK as u64, (end - 1) / CHUNK as u64);
        let at = ArtifactRef { owner: owner.clone(), run, id: artifact.id };
        let sealed = SEALED as u64;
        let length = usize::try_from((last - first + 1) * sealed).map_err(Error::internal)?;
        let read = self.store.read(&at, first * sealed, length).await?;
        let read = read.ok_or_else(|| Error::not_found("the result is not kept any more"))?;
        let vault = self.vault.clone();
        let opened =
            tokio::task::spawn_blocking(move || open(&vault, &at, artifact.bytes, (first, &read)));
        let opened = opened.await.map_err(Error::internal)??;
        let start = usize::try_from(offset - first * CHUNK as u64).map_err(Error::internal)?;
        let length = usize::try_from(end - offset).map_err(Error::internal)?;
        let is_whole = opened.len() >= start + length;
        if is_whole { Ok(opened.slice(start..start + length)) } else { Err(cut()) }
    }

    /// Removes what a run made, but for `keep`; returns how many went.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when the storage does not answer.
    pub async fn forget(
        &self,
        owner: &OwnerId,
        run: ExecutionId,
        keep: Option<Artifact>,
    ) -> Result<u64> {
        self.store.forget(owner, run, keep.map(|artifact| artifact.id)).await
    }

    /// Removes what runs made that are not there any more; returns how many went. A run that was
    /// asked for within the last hour is left alone: its record may be on its way.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when either storage does not answer.
    pub async fn sweep(&self, records: &dyn crate::store::Store) -> Result<u64> {
        let mut gone = 0;
        for (owner, run) in self.store.runs().await? {
            let age = self.clock.now().duration_since(run.raw().made_at());
            if age < YOUNG || records.execution(&owner, run).await?.is_some() {
                continue;
            }
            gone += self.store.forget(&owner, run, None).await?;
        }
        Ok(gone)
    }
}

impl Artifacts {
    /// Seals artifacts anew that an older key than `version` sealed; returns how many there were,
    /// and how many of them do not open.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when the storage does not answer.
    pub(crate) async fn reseal(&self, version: u32) -> Result<(u64, u64)> {
        let (mut resealed, mut unreadable) = (0, 0);
        for (owner, run) in self.store.runs().await? {
            for id in self.store.list(&owner, run).await? {
                let at = ArtifactRef { owner: owner.clone(), run, id };
                // The first chunk was sealed first.
                let header = self.store.read(&at, 0, 5).await?.unwrap_or_default();
                let with = header.get(1..5).and_then(|bytes| <[u8; 4]>::try_from(bytes).ok());
                if with.map(u32::from_be_bytes).is_none_or(|with| with >= version) {
                    continue;
                }
                let Some(sealed) = self.store.read(&at, 0, usize::MAX).await? else { continue };
                let (vault, whose) = (self.vault.clone(), at.clone());
                let anew = tokio::task::spawn_blocking(move || {
                    let chunks = sealed.len().div_ceil(SEALED);
                    let total = sealed.len().saturating_sub(chunks * (SEALED - CHUNK)) as u64;
                    seal(&vault, &whose, &open(&vault, &whose, total, (0, &sealed))?)
                });
                match anew.await.map_err(Error::internal)? {
                    Ok(anew) => {
                        self.store.replace(&at, anew).await?;
                        resealed += 1;
                    }
                    Err(error) => {
                        tracing::warn!(execution = %run, error = %error.log_line(), "an artifact does not open");
                        unreadable += 1;
                    }
                }
            }
        }
        Ok((resealed, unreadable))
    }
}

/// A run that is younger may have artifacts before it has a record.
const YOUNG: jiff::SignedDuration = jiff::SignedDuration::from_hours(1);

/// The bytes of one chunk as it is sealed: format, key version, nonce, tag.
const SEALED: usize = CHUNK + 5 + 24 + 16;

fn cut() -> Error {
    Error::internal("an artifact is shorter than it was")
}

fn binding(at: &ArtifactRef, bytes: u64, index: u64) -> Binding {
    let (run, id) = (at.run.to_string(), at.id.to_string());
    let (bytes, index) = (bytes.to_string(), index.to_string());
    Binding::to("artifact", [at.owner.as_str(), &run, &id, &bytes, &index])
}

/// The chunks one after the other.
fn seal(vault: &Vault, at: &ArtifactRef, bytes: &Bytes) -> Result<Bytes> {
    let total = bytes.len() as u64;
    let mut sealed = BytesMut::with_capacity(bytes.len().div_ceil(CHUNK) * SEALED);
    for (index, chunk) in bytes.chunks(CHUNK).enumerate() {
        let chunk = vault.seal(chunk, &binding(at, total, index as u64))?;
        sealed.extend_from_slice(&chunk.0);
    }
    Ok(sealed.freeze())
}

/// The plain text of chunks that lie one after the other, from number `first` on.
fn open(
    vault: &Vault,
    at: &ArtifactRef,
    total: u64,
    (first, sealed): (u64, &Bytes),
) -> Result<Bytes> {
    let mut plain = BytesMut::with_capacity(sealed.len());
    for (index, chunk) in (first..).zip(sealed.chunks(SEALED)) {
        let opened = vault.open_bytes(&Sealed(chunk.to_vec()), &binding(at, total, index))?;
        plain.extend_from_slice(&opened);
    }
    Ok(plain.freeze())
}

/// The storage did not do what it was asked.
fn unavailable(cause: impl std::fmt::Display) -> Error {
    let message = "large results cannot be kept or read at present: try again later";
    Error::new(ErrorKind::Unavailable, message).with("cause", cause)
}
