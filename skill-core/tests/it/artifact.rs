//! Artifacts: what is too large for a row, sealed, cut into chunks, and read piece by piece.

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use skill_core::{
    ErrorKind,
    artifact::{Artifact, ArtifactRef, ArtifactStore, Artifacts, FileArtifacts, MemoryArtifacts},
    clock::{Clock, ManualClock},
    credential::Vault,
    id::{ArtifactId, ExecutionId},
    name::OwnerId,
    store::MemoryStore,
};
use tempfile::TempDir;

use super::fixture::{keyring, noon};

/// Artifacts over some storage, and a run to make them in.
struct Desk {
    artifacts: Artifacts,
    kept: Arc<dyn ArtifactStore>,
    clock: Arc<ManualClock>,
    owner: OwnerId,
    run: ExecutionId,
    _directory: Option<TempDir>,
}

impl Desk {
    fn over(kept: Arc<dyn ArtifactStore>, directory: Option<TempDir>) -> Self {
        let clock = Arc::new(ManualClock::new(noon()));
        let vault = Vault::new(Arc::new(MemoryStore::new()), keyring(), clock.clone());
        Self {
            artifacts: Artifacts::new(kept.clone(), Arc::new(vault), clock.clone()),
            kept,
            clock,
            owner: OwnerId::parse("..").unwrap(),
            run: ExecutionId::fresh(noon()).unwrap(),
            _directory: directory,
        }
    }

    fn in_memory() -> Self {
        Self::over(Arc::new(MemoryArtifacts::default()), None)
    }

    fn in_files() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let kept = FileArtifacts::open(directory.path().join("artifacts")).unwrap();
        Self::over(Arc::new(kept), Some(directory))
    }

    async fn spill(&self, bytes: &Bytes) -> Artifact {
        self.artifacts.spill(&self.owner, self.run, bytes.clone()).await.unwrap()
    }

    async fn read(&self, artifact: Artifact, at: u64, most: u32) -> Result<Bytes, ErrorKind> {
        let read = self.artifacts.read((&self.owner, self.run), artifact, at, most).await;
        read.map_err(|error| error.kind())
    }

    /// The one file there is.
    fn file(&self) -> PathBuf {
        let mut at = self._directory.as_ref().unwrap().path().join("artifacts");
        while at.is_dir() {
            at = fs::read_dir(&at).unwrap().next().unwrap().unwrap().path();
        }
        at
    }
}

fn some_bytes(length: u32) -> Bytes {
    (0..length).map(|n| (n % 251) as u8).collect()
}

/// A little more than three chunks.
const LENGTH: u32 = 3 * 65_536 + 5;

#[tokio::test]
async fn an_artifact_is_read_in_any_pieces() {
    for desk in [Desk::in_memory(), Desk::in_files()] {
        for length in [0, 1, 65_536, LENGTH] {
            let bytes = some_bytes(length);
            let artifact = desk.spill(&bytes).await;
            assert_eq!(artifact.bytes, u64::from(length));
            assert_eq!(desk.read(artifact, 0, u32::MAX).await.unwrap(), bytes);
            let mut again = Vec::new();
            while again.len() < bytes.len() {
                again.extend(desk.read(artifact, again.len() as u64, 50_000).await.unwrap());
            }
            assert_eq!(again, bytes);
            for (at, most) in [(0, 0), (u64::from(length), 9), (u64::MAX, u32::MAX)] {
                assert!(desk.read(artifact, at, most).await.unwrap().is_empty());
            }
        }
        let artifact = desk.spill(&some_bytes(LENGTH)).await;
        let over_an_edge = desk.read(artifact, 65_530, 12).await.unwrap();
        assert_eq!(over_an_edge, some_bytes(LENGTH).slice(65_530..65_542));
    }
}

#[tokio::test]
async fn nothing_of_an_artifact_can_be_read_beside_the_engine() {
    let desk = Desk::in_files();
    desk.spill(&Bytes::from_static(b"SECRET and more of it")).await;
    let file = desk.file();
    let text = String::from_utf8_lossy(&fs::read(&file).unwrap()).into_owned();
    assert!(!text.contains("SECRET"));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode =
            |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&file), 0o600);
        assert!(file.ancestors().skip(1).take(3).all(|folder| mode(folder) == 0o700));
    }
}

#[tokio::test]
async fn an_artifact_that_was_cut_is_refused() {
    let desk = Desk::in_files();
    let artifact = desk.spill(&some_bytes(LENGTH)).await;
    let whole = fs::read(desk.file()).unwrap();
    let chunk = 65_536 + 45;
    for left in [0, 1, chunk - 1, chunk, 2 * chunk, whole.len() - 1] {
        fs::write(desk.file(), &whole[..left]).unwrap();
        let all = desk.read(artifact, 0, u32::MAX).await;
        assert_eq!(all.unwrap_err(), ErrorKind::Internal, "{left}");
    }
    fs::remove_file(desk.file()).unwrap();
    assert_eq!(desk.read(artifact, 0, 1).await.unwrap_err(), ErrorKind::NotFound);
}

#[tokio::test]
async fn an_artifact_whose_bytes_were_moved_or_changed_is_refused() {
    let desk = Desk::in_files();
    let artifact = desk.spill(&some_bytes(LENGTH)).await;
    let (whole, chunk) = (fs::read(desk.file()).unwrap(), 65_536 + 45);
    let swapped = [&whole[chunk..2 * chunk], &whole[..chunk], &whole[2 * chunk..]].concat();
    let mut changed = whole.clone();
    changed[chunk / 2] ^= 1;
    for bytes in [swapped, changed] {
        fs::write(desk.file(), bytes).unwrap();
        assert_eq!(desk.read(artifact, 0, 10).await.unwrap_err(), ErrorKind::Internal);
    }
    // The record that names it is sealed; one that was forged would not fit either.
    fs::write(desk.file(), &whole).unwrap();
    let shorter = Artifact { bytes: artifact.bytes - 65_536, ..artifact };
    assert_eq!(desk.read(shorter, 0, 10).await.unwrap_err(), ErrorKind::Internal);
    assert!(desk.read(artifact, 0, 10).await.is_ok());
}

#[tokio::test]
async fn an_artifact_in_the_place_of_another_is_refused() {
    let desk = Desk::in_memory();
    let (one, other) = (desk.spill(&some_bytes(9)).await, desk.spill(&some_bytes(9)).await);
    let at = |id| ArtifactRef { owner: desk.owner.clone(), run: desk.run, id };
    let bytes = desk.kept.read(&at(one.id), 0, usize::MAX).await.unwrap().unwrap();
    desk.kept.forget(&desk.owner, desk.run, Some(one.id)).await.unwrap();
    desk.kept.write(&at(other.id), bytes.clone()).await.unwrap();
    assert_eq!(desk.read(other, 0, 9).await.unwrap_err(), ErrorKind::Internal);
    let evil = ArtifactRef { owner: OwnerId::parse("evil").unwrap(), ..at(one.id) };
    desk.kept.write(&evil, bytes).await.unwrap();
    let stolen = desk.artifacts.read((&evil.owner, desk.run), one, 0, 9).await;
    assert_eq!(stolen.unwrap_err().kind(), ErrorKind::Internal);
    assert!(desk.read(one, 0, 9).await.is_ok());
}

#[tokio::test]
async fn an_artifact_is_never_overwritten() {
    for desk in [Desk::in_memory(), Desk::in_files()] {
        let id = ArtifactId::fresh(noon()).unwrap();
        let at = ArtifactRef { owner: desk.owner.clone(), run: desk.run, id };
        desk.kept.write(&at, Bytes::from_static(b"1")).await.unwrap();
        let again = desk.kept.write(&at, Bytes::from_static(b"2")).await;
        assert_eq!(again.unwrap_err().kind(), ErrorKind::Unavailable);
    }
}

#[tokio::test]
async fn what_a_run_made_goes_with_it_but_for_what_is_kept() {
    for desk in [Desk::in_memory(), Desk::in_files()] {
        let (one, two) = (desk.spill(&some_bytes(9)).await, desk.spill(&some_bytes(9)).await);
        let other = ExecutionId::fresh(noon()).unwrap();
        let others = desk.artifacts.spill(&desk.owner, other, some_bytes(9)).await.unwrap();
        assert_eq!(desk.artifacts.forget(&desk.owner, desk.run, Some(two)).await.unwrap(), 1);
        assert_eq!(desk.read(one, 0, 9).await.unwrap_err(), ErrorKind::NotFound);
        assert!(desk.read(two, 0, 9).await.is_ok());
        assert_eq!(desk.artifacts.forget(&desk.owner, desk.run, None).await.unwrap(), 1);
        assert_eq!(desk.kept.runs().await.unwrap(), [(desk.owner.clone(), other)]);
        assert!(desk.artifacts.read((&desk.owner, other), others, 0, 9).await.is_ok());
    }
}

#[tokio::test]
async fn what_no_run_names_any_more_is_swept_but_not_at_once() {
    for desk in [Desk::in_memory(), Desk::in_files()] {
        let store = MemoryStore::new();
        desk.spill(&some_bytes(9)).await;
        desk.clock.advance(Duration::from_secs(3599));
        assert_eq!(desk.artifacts.sweep(&store).await.unwrap(), 0);
        desk.clock.advance(Duration::from_secs(1));
        assert_eq!(desk.artifacts.sweep(&store).await.unwrap(), 1);
        assert!(desk.kept.runs().await.unwrap().is_empty());
        assert!(desk.clock.now() > noon());
    }
}
