//! Backups as files: a tar with the store, the large results and the operator's own files. The last
//! entry is a manifest with the hash of each, so that a file that was cut or changed is noticed.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, BufReader, BufWriter, Read, Seek as _, Write},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Component, Path, PathBuf},
};

use anyhow::Context as _;
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use skill_core::workflow::Document;
use tar::{Archive, Builder, EntryType, Header};

use crate::failure::Failure;

/// The form of the backups that this program writes.
const FORMAT: u32 = 1;
/// The name of the last entry.
const MANIFEST: &str = "manifest.json";
/// The largest manifest that is read: a line for each large result.
const MANIFEST_BYTES: u64 = 256 << 20;

/// What a backup says of itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Manifest {
    /// The form of the file.
    pub(crate) format: u32,
    /// The program that wrote it.
    pub(crate) version: String,
    /// When it was begun.
    pub(crate) made_at: String,
    /// The schema of the store.
    pub(crate) schema: u32,
    /// The epoch of the store.
    pub(crate) epoch: String,
    /// The versions of the sealing keys that it needs.
    pub(crate) seal_keys: Vec<u32>,
    /// The SHA-256 of every file.
    pub(crate) files: BTreeMap<String, String>,
}

impl Manifest {
    /// Returns one without files.
    pub(crate) fn new(made_at: String, (schema, epoch): (u32, String), keys: Vec<u32>) -> Self {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let files = BTreeMap::new();
        Self { format: FORMAT, version, made_at, schema, epoch, seal_keys: keys, files }
    }
}

/// A backup that is being written. It has its name only when it is whole.
pub(crate) struct Writer {
    tar: Builder<BufWriter<File>>,
    draft: PathBuf,
    path: PathBuf,
    files: BTreeMap<String, String>,
    bytes: u64,
}

impl Writer {
    /// Begins a backup at `path`, where nothing may be.
    pub(crate) fn create(path: &Path) -> anyhow::Result<Self> {
        if path.try_exists()? {
            let failure = Failure::new(format!("{} is there already", path.display()));
            return Err(failure.hint("choose another name: no backup is ever overwritten").into());
        }
        let draft = path.with_added_extension(format!("part-{}", std::process::id()));
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).mode(0o600).open(&draft);
        let file = file.with_context(|| format!("{} cannot be written", draft.display()))?;
        let tar = Builder::new(BufWriter::with_capacity(1 << 20, file));
        Ok(Self { tar, draft, path: path.to_owned(), files: BTreeMap::new(), bytes: 0 })
    }

    /// Adds a file under a name; nothing when it is gone. Returns its first bytes.
    pub(crate) fn add(&mut self, name: &str, path: &Path) -> anyhow::Result<Option<Vec<u8>>> {
        let added = self.copy(name, path);
        added.with_context(|| format!("{} cannot be added to the backup", path.display()))
    }

    fn copy(&mut self, name: &str, path: &Path) -> io::Result<Option<Vec<u8>>> {
        let mut file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        let mut first = Vec::new();
        Read::by_ref(&mut file).take(5).read_to_end(&mut first)?;
        file.rewind()?;
        let length = file.metadata()?.len();
        // The header has the length already: what grows meanwhile is cut, what shrinks is refused.
        let mut hashed = Hashed::new(file.take(length));
        self.tar.append_data(&mut header(length), name, &mut hashed)?;
        if hashed.bytes != length {
            return Err(io::Error::other("the file changed while it was read"));
        }
        self.bytes += length;
        self.files.insert(name.to_owned(), hashed.hash());
        Ok(Some(first))
    }

    /// Writes the manifest, and gives the file its name once it is on the disk. Returns its length.
    pub(crate) fn finish(mut self, mut manifest: Manifest) -> anyhow::Result<u64> {
        manifest.files = std::mem::take(&mut self.files);
        let text = serde_json::to_vec_pretty(&manifest).context("the manifest")?;
        let mut finish = || -> io::Result<u64> {
            self.tar.append_data(&mut header(text.len() as u64), MANIFEST, &*text)?;
            self.tar.finish()?;
            let out = self.tar.get_mut();
            out.flush()?;
            out.get_ref().sync_all()?;
            // A link, unlike a rename, never replaces.
            fs::hard_link(&self.draft, &self.path)?;
            let parent = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
            File::open(parent.unwrap_or_else(|| Path::new(".")))?.sync_all()?;
            Ok(fs::metadata(&self.path)?.len())
        };
        finish().with_context(|| format!("{} cannot be written", self.path.display()))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // What is finished has another name by now.
        _ = fs::remove_file(&self.draft);
    }
}

fn header(length: u64) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(EntryType::Regular);
    header.set_size(length);
    header.set_mode(0o600);
    header
}

/// Unpacks a backup into `folder`, which is there and empty, and checks every byte of it.
///
/// # Errors
/// When it is no backup, of a later form, cut, or changed: nothing of it is to be used then.
pub(crate) fn unpack(backup: &Path, folder: &Path) -> anyhow::Result<Manifest> {
    let damaged = |what: &str| {
        let failure = Failure::new(format!("{} is no whole backup: {what}", backup.display()));
        failure.hint("nothing was restored; take another backup")
    };
    let file = File::open(backup);
    let file = file.with_context(|| format!("{} cannot be read", backup.display()))?;
    let mut archive = Archive::new(BufReader::with_capacity(1 << 20, file));
    let (mut found, mut manifest) = (BTreeMap::new(), None);
    let entries = archive.entries().map_err(|error| damaged(&error.to_string()))?;
    for entry in entries {
        let entry = entry.map_err(|error| damaged(&error.to_string()))?;
        let name = entry.path().ok().and_then(|path| known(&path));
        let name = name.ok_or_else(|| damaged("it holds something that belongs to no backup"))?;
        if entry.header().entry_type() != EntryType::Regular || manifest.is_some() {
            return Err(damaged("it holds something that belongs to no backup").into());
        }
        if name == MANIFEST {
            let read = serde_json::from_reader(entry.take(MANIFEST_BYTES));
            let read: Manifest = read.map_err(|_| damaged("its manifest cannot be read"))?;
            manifest = Some(read);
            continue;
        }
        let mut hashed = Hashed::new(entry);
        write(&folder.join(&name), &mut hashed)
            .with_context(|| format!("{name} cannot be written below {}", folder.display()))?;
        found.insert(name, hashed.hash());
    }
    let manifest = manifest.ok_or_else(|| damaged("its end is missing"))?;
    if manifest.format != FORMAT {
        let message =
            format!("the backup has form {}, this program knows {FORMAT}", manifest.format);
        return Err(Failure::new(message).hint("use the program that wrote it").into());
    }
    if found != manifest.files || !found.contains_key("skill.db") {
        return Err(damaged("a file of it is missing or was changed").into());
    }
    Ok(manifest)
}

/// The name of an entry, if a backup may hold it: a few plain words below each other.
fn known(path: &Path) -> Option<String> {
    let parts = path.components().map(|part| match part {
        Component::Normal(name) => name.to_str(),
        Component::Prefix(_) | Component::RootDir | Component::CurDir | Component::ParentDir => {
            None
        }
    });
    let parts = parts.collect::<Option<Vec<_>>>()?;
    let is_plain =
        |name: &str| name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    let is_known = match parts[..] {
        [MANIFEST | "skill.db" | "skill.toml" | "seal.key"] => true,
        ["artifacts", owner, run, id] => [owner, run, id].into_iter().all(is_plain),
        ["integrations" | "commands", file] => file.strip_suffix(".toml").is_some_and(is_plain),
        ["skills", file] => {
            let stem = file.rsplit_once(".arazzo.").map(|(stem, _)| stem);
            Document::is_named(file) && stem.is_some_and(is_plain)
        }
        _ => false,
    };
    is_known.then(|| parts.join("/"))
}

/// Writes a new file of its owner's, with the folders above it, durably.
fn write(path: &Path, content: &mut dyn Read) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    io::copy(content, &mut file)?;
    file.sync_all()
}

/// Reads, and hashes what it read.
struct Hashed<R> {
    inner: R,
    hash: Sha256,
    bytes: u64,
}

impl<R> Hashed<R> {
    fn new(inner: R) -> Self {
        Self { inner, hash: Sha256::new(), bytes: 0 }
    }

    fn hash(self) -> String {
        HEXLOWER.encode(&self.hash.finalize())
    }
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hash.update(&buffer[..count]);
        self.bytes += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_names_of_a_backup_are_taken() {
        for good in [
            "skill.db",
            "artifacts/a1/r2/x3",
            "integrations/my_crm.toml",
            "skills/a-b.arazzo.yaml",
            "seal.key",
        ] {
            assert_eq!(known(Path::new(good)).as_deref(), Some(good));
        }
        for bad in [
            "../skill.db",
            "/skill.db",
            "artifacts/../a/b",
            "skill.sock",
            "integrations/.toml/x",
            "skills/../a.arazzo.yaml",
            "skills/a.yaml",
            "",
        ] {
            assert_eq!(known(Path::new(bad)), None, "{bad}");
        }
    }

    #[test]
    fn a_backup_reads_back_and_a_changed_or_cut_one_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (source, backup) = (folder.path().join("skill.db"), folder.path().join("b.tar"));
        fs::write(&source, b"the store").unwrap();
        let mut writer = Writer::create(&backup).unwrap();
        assert_eq!(writer.add("skill.db", &source).unwrap().unwrap(), b"the s");
        assert!(writer.add("skill.toml", &folder.path().join("none")).unwrap().is_none());
        assert!(!backup.exists());
        let manifest = Manifest::new("now".into(), (4, "e".into()), vec![1]);
        writer.finish(manifest).unwrap();
        assert!(Writer::create(&backup).is_err());
        let restore = |bytes: &[u8]| {
            let into = tempfile::tempdir().unwrap();
            let copy = into.path().join("copy.tar");
            fs::write(&copy, bytes).unwrap();
            let out = into.path().join("out");
            fs::create_dir(&out).unwrap();
            let manifest = unpack(&copy, &out)?;
            Ok::<_, anyhow::Error>((manifest, fs::read(out.join("skill.db"))?))
        };
        let whole = fs::read(&backup).unwrap();
        let (manifest, content) = restore(&whole).unwrap();
        assert_eq!(
            (manifest.schema, manifest.seal_keys, &*content),
            (4, vec![1], &b"the store"[..])
        );
        let mut changed = whole.clone();
        changed[512 + 3] ^= 1;
        assert!(restore(&changed).is_err());
        for length in [0, 100, 600, 1100] {
            assert!(restore(&whole[..length]).is_err(), "{length}");
        }
    }
}
