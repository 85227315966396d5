//! Artifacts as files: `ROOT/OWNER/RUN/ARTIFACT`, the owner in base32.

use std::{
    collections::BTreeSet,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, ErrorKind as Io, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use bytes::Bytes;
use data_encoding::BASE32HEX_NOPAD;

use super::{ArtifactRef, ArtifactStore, unavailable};
use crate::{
    error::{Error, Result},
    id::{ArtifactId, ExecutionId, Raw},
    name::OwnerId,
};

/// Keeps artifacts as files that nobody else may read.
///
/// ```no_run
/// let artifacts = skill_core::artifact::FileArtifacts::open("/var/lib/skill/artifacts")?;
/// # Ok::<(), skill_core::Error>(())
/// ```
#[derive(Debug)]
pub struct FileArtifacts {
    root: Arc<Path>,
}

impl FileArtifacts {
    /// Opens a directory, which is made when it is not there.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) when that is not possible.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self> {
        let root = root.into();
        make_directory(&root).map_err(unavailable)?;
        Ok(Self { root: root.into() })
    }

    /// Does file work where it may block.
    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
    ) -> Result<T> {
        let root = self.root.clone();
        let done = tokio::task::spawn_blocking(move || work(&root)).await;
        done.map_err(Error::internal)?.map_err(unavailable)
    }
}

/// The folder of an owner. A name may be `..`: its base32 may not.
fn folder(root: &Path, owner: &OwnerId) -> PathBuf {
    root.join(BASE32HEX_NOPAD.encode(owner.as_str().as_bytes()).to_ascii_lowercase())
}

fn run_folder(root: &Path, owner: &OwnerId, run: ExecutionId) -> PathBuf {
    folder(root, owner).join(run.raw().to_string())
}

fn path(root: &Path, at: &ArtifactRef) -> PathBuf {
    run_folder(root, &at.owner, at.run).join(at.id.raw().to_string())
}

/// Reads the name of a folder.
fn owner(name: &str) -> Option<OwnerId> {
    let bytes = BASE32HEX_NOPAD.decode(name.to_ascii_uppercase().as_bytes()).ok()?;
    OwnerId::parse(std::str::from_utf8(&bytes).ok()?).ok()
}

/// Makes a directory, durably, unless it is there.
fn make_directory(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match builder.create(path) {
        Ok(()) => path.parent().map_or(Ok(()), sync_directory),
        Err(error) if error.kind() == Io::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

/// A name is durable once its directory is.
fn sync_directory(path: &Path) -> io::Result<()> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    if cfg!(unix) { File::open(path)?.sync_all() } else { Ok(()) }
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    let written = written.and_then(|()| path.parent().map_or(Ok(()), sync_directory));
    written.inspect_err(|_| _ = fs::remove_file(path))
}

fn read(path: &Path, offset: u64, length: usize) -> io::Result<Option<Bytes>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == Io::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let left = file.metadata()?.len().saturating_sub(offset);
    let length = length.min(usize::try_from(left).unwrap_or(usize::MAX));
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::with_capacity(length);
    file.take(length as u64).read_to_end(&mut bytes)?;
    Ok(Some(bytes.into()))
}

/// The names in a directory; none when it is not there.
fn names(path: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == Io::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let names = entries.map(|entry| Ok(entry?.file_name().into_string().ok()));
    Ok(names.collect::<io::Result<Vec<_>>>()?.into_iter().flatten().collect())
}

#[async_trait]
impl ArtifactStore for FileArtifacts {
    async fn write(&self, at: &ArtifactRef, bytes: Bytes) -> Result<()> {
        let at = at.clone();
        self.work(move |root| {
            make_directory(&folder(root, &at.owner))?;
            make_directory(&run_folder(root, &at.owner, at.run))?;
            write(&path(root, &at), &bytes)
        })
        .await
    }

    async fn read(&self, at: &ArtifactRef, offset: u64, length: usize) -> Result<Option<Bytes>> {
        let at = at.clone();
        self.work(move |root| read(&path(root, &at), offset, length)).await
    }

    async fn forget(
        &self,
        owner: &OwnerId,
        run: ExecutionId,
        keep: Option<ArtifactId>,
    ) -> Result<u64> {
        let owner = owner.clone();
        self.work(move |root| {
            let (folder, mut gone) = (run_folder(root, &owner, run), 0);
            for name in names(&folder)? {
                let id = Raw::parse(&name).map(ArtifactId::from_raw);
                if id.is_some() && id != keep {
                    fs::remove_file(folder.join(name))?;
                    gone += 1;
                }
            }
            // What is not empty stays.
            _ = fs::remove_dir(&folder);
            Ok(gone)
        })
        .await
    }

    async fn runs(&self) -> Result<Vec<(OwnerId, ExecutionId)>> {
        self.work(|root| {
            let mut runs = BTreeSet::new();
            for name in names(root)? {
                let Some(owner) = owner(&name) else { continue };
                let found = names(&root.join(name))?;
                let found = found.iter().filter_map(|run| Raw::parse(run));
                runs.extend(found.map(|run| (owner.clone(), ExecutionId::from_raw(run))));
            }
            Ok(runs.into_iter().collect())
        })
        .await
    }

    async fn list(&self, owner: &OwnerId, run: ExecutionId) -> Result<Vec<ArtifactId>> {
        let owner = owner.clone();
        self.work(move |root| {
            let names = names(&run_folder(root, &owner, run))?;
            let ids = names.iter().filter_map(|name| Raw::parse(name));
            Ok(ids.map(ArtifactId::from_raw).collect())
        })
        .await
    }

    async fn replace(&self, at: &ArtifactRef, bytes: Bytes) -> Result<()> {
        let at = at.clone();
        self.work(move |root| {
            let path = path(root, &at);
            if !path.try_exists()? {
                return Ok(());
            }
            // Beside the owners' folders: its name is that of none.
            let draft = root.join(format!("draft-{}", at.id.raw()));
            drop_file(&draft)?;
            write(&draft, &bytes)?;
            fs::rename(&draft, &path)?;
            path.parent().map_or(Ok(()), sync_directory)
        })
        .await
    }
}

fn drop_file(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != Io::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}
