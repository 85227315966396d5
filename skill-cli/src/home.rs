//! The data directory: what lies in it, and who may read it.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use tokio::net::UnixListener;

use crate::{config::Config, failure::Failure};

/// The longest path of a socket, in bytes; the systems differ a little.
const SOCKET_BYTES: usize = 103;

/// A data directory.
#[derive(Debug, Clone)]
pub(crate) struct Home(PathBuf);

impl Home {
    /// Returns the one that the configuration names.
    pub(crate) fn of(config: &Config) -> Self {
        Self(config.data.clone())
    }

    /// The directory itself.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// The store's file.
    pub(crate) fn database(&self) -> PathBuf {
        self.0.join("skill.db")
    }

    /// What is too large for the store.
    pub(crate) fn artifacts(&self) -> PathBuf {
        self.0.join("artifacts")
    }

    /// The operator's socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.0.join("skill.sock")
    }

    /// The key that seals, when it is kept here.
    pub(crate) fn seal_key(&self) -> PathBuf {
        self.0.join("seal.key")
    }

    /// The operator's own integrations.
    pub(crate) fn integrations(&self) -> PathBuf {
        self.0.join("integrations")
    }

    /// The operator's own skills.
    pub(crate) fn skills(&self) -> PathBuf {
        self.0.join("skills")
    }

    /// The operator's own commands.
    #[cfg(target_os = "linux")]
    pub(crate) fn commands(&self) -> PathBuf {
        self.0.join("commands")
    }

    /// Makes the directory, for its owner alone.
    pub(crate) fn prepare(&self) -> anyhow::Result<()> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&self.0);
        made.with_context(|| format!("the data directory {} cannot be made", self.0.display()))
    }

    /// Keeps a text in a file of its owner's, whole or not at all; a file that is there stays as
    /// it is, whoever wrote it.
    pub(crate) fn keep(&self, path: &Path, text: &str) -> io::Result<()> {
        let mut suffix = [0; 8];
        getrandom::fill(&mut suffix).map_err(io::Error::other)?;
        let draft = path.with_added_extension(format!("{:016x}", u64::from_be_bytes(suffix)));
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
        // A link, unlike a rename, never replaces.
        let linked = written.and_then(|()| match fs::hard_link(&draft, path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            linked => linked,
        });
        fs::remove_file(&draft)?;
        linked.and_then(|()| fs::File::open(&self.0)?.sync_all())
    }

    /// Opens the operator's socket. Whoever holds the store calls this, so that a socket which is
    /// there already belongs to nobody.
    pub(crate) fn listen(&self) -> anyhow::Result<UnixListener> {
        let path = self.socket();
        if path.as_os_str().len() > SOCKET_BYTES {
            let message = format!("the path {} is too long for a socket", path.display());
            return Err(Failure::new(message).hint("choose a shorter data directory").into());
        }
        let open = || {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
            let listener = UnixListener::bind(&path)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
            Ok(listener)
        };
        open().with_context(|| format!("the socket {} cannot be opened", path.display()))
    }
}

/// Puts a text in the place of the one that a file holds, whole or not at all, for its owner alone.
pub(crate) fn replace(path: &Path, text: &str) -> io::Result<()> {
    let draft = path.with_added_extension("next");
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(&draft);
    file.and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))?;
    fs::rename(&draft, path)?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    fs::File::open(parent.unwrap_or_else(|| Path::new(".")))?.sync_all()
}
