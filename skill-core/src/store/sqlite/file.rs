//! The file: its lock, its mode, and how connections to it are set up.

use std::{
    fmt,
    fs::{self, File, OpenOptions, TryLockError},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, config::DbConfig};

use super::failure::Failure;
use crate::error::{Error, ErrorKind, Result};

/// How long a connection waits for a lock that somebody else's tool holds on the file.
pub(super) const BUSY: Duration = Duration::from_secs(5);
/// Statements that are kept prepared, by connection.
const STATEMENTS: usize = 128;
/// To what size the write-ahead log is cut back after it has grown, in bytes.
const LOG_BYTES: i64 = 64 << 20;

/// Takes the file for this process until the returned lock is dropped.
pub(super) fn lock(path: &Path) -> Result<File> {
    let refused = |cause: io::Error| cannot_open(path).with("cause", cause);
    let lock = private(&path.with_added_extension("lock")).map_err(refused)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(Error::new(
            ErrorKind::Unavailable,
            "the data directory is in use by another process",
        )
        .with("path", path.display())),
        Err(TryLockError::Error(cause)) => Err(refused(cause)),
    }
}

/// Returns the connection that writes, after it made sure of the file.
pub(super) fn connect_writer(path: &Path) -> Result<Connection> {
    let refused = |cause: io::Error| cannot_open(path).with("cause", cause);
    if !path.try_exists().map_err(refused)? {
        make(path)?;
    }
    drop(private(path).map_err(refused)?);
    let connect = || -> rusqlite::Result<_> {
        let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        connection.pragma_update(None, "journal_mode", "wal")?;
        connection.pragma_update(None, "synchronous", "full")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        connection.pragma_update(None, "secure_delete", "fast")?;
        connection.pragma_update(None, "journal_size_limit", LOG_BYTES)?;
        // The writer's thread does it between commits, and hears of what goes wrong in it.
        connection.pragma_update(None, "wal_autocheckpoint", 0)?;
        let mode: String = connection.pragma_query_value(None, "journal_mode", |r| r.get(0))?;
        Ok((connection, mode))
    };
    let (connection, mode) = connect().map_err(|cause| opening(path, cause))?;
    if mode != "wal" {
        let what = "the data directory's file system cannot keep a write-ahead log";
        return Err(Error::new(ErrorKind::Unavailable, what).with("mode", mode));
    }
    Ok(connection)
}

/// Makes an empty file that keeps a write-ahead log. It has its name when it is whole and on the
/// disk: SQLite, which would switch a file over under that name, waits for the disk four times.
fn make(path: &Path) -> Result<()> {
    let begun = path.with_added_extension("part");
    let refused = |cause: io::Error| cannot_open(path).with("cause", cause);
    private(&begun).and_then(|file| file.set_len(0)).map_err(refused)?;
    let switch = || -> rusqlite::Result<()> {
        let connection = connect(&begun, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        connection.pragma_update(None, "synchronous", "off")?;
        connection.pragma_update(None, "journal_mode", "off")?;
        connection.pragma_update(None, "journal_mode", "wal")?;
        connection.close().map_err(|(_, cause)| cause)
    };
    switch().map_err(|cause| opening(path, cause))?;
    let keep = || {
        private(&begun)?.sync_all()?;
        fs::rename(&begun, path)?;
        sync_directory(path)
    };
    keep().map_err(refused)
}

/// Returns a connection that only reads.
pub(super) fn connect_reader(path: &Path) -> Result<Connection> {
    connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(|cause| opening(path, cause))
}

fn connect(path: &Path, access: OpenFlags) -> rusqlite::Result<Connection> {
    // A connection never leaves its thread, so SQLite need not lock it.
    let connection = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    // A plan does not depend on the values that are bound: or `LIMIT ?` is planned at every use.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(connection)
}

/// Copies everything that `connection` sees to the file `copy`, unless that is there already. A copy
/// that has its name is whole. `trouble` is what is said when it cannot be written.
pub(super) fn copy(connection: &Connection, copy: &Path, trouble: &'static str) -> Result<()> {
    if copy.exists() {
        return Ok(());
    }
    let begun = copy.with_added_extension("part");
    let refused = |cause: &dyn fmt::Display| {
        Error::new(ErrorKind::Unavailable, trouble)
            .with("cause", cause)
            .with("path", copy.display())
    };
    // SQLite copies into an empty file, and that one only its owner may read.
    let prepare = || private(&begun)?.set_len(0);
    prepare().map_err(|cause| refused(&cause))?;
    let name = begun.to_str().ok_or_else(|| refused(&"its path is no text"))?;
    connection.execute("VACUUM INTO ?1", [name]).map_err(|cause| refused(&cause))?;
    let keep = || {
        private(&begun)?.sync_all()?;
        fs::rename(&begun, copy)?;
        sync_directory(copy)
    };
    keep().map_err(|cause| refused(&cause))
}

/// Opens a file that only its owner may read; SQLite gives its own files the mode of the first.
fn private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path)?;
    #[cfg(unix)]
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    Ok(file)
}

/// Makes sure that the file's name survives a power cut, as its contents do.
fn sync_directory(path: &Path) -> io::Result<()> {
    let Some(parent) = path.parent().filter(|_| cfg!(unix)) else { return Ok(()) };
    let here = PathBuf::from(".");
    File::open(if parent.as_os_str().is_empty() { &here } else { parent })?.sync_all()
}

/// What went wrong while a file was being opened: the file's fault, whatever SQLite calls it.
pub(super) fn opening(path: &Path, cause: impl Into<Failure>) -> Error {
    cannot_open(path).with("cause", cause.into().into_error().log_line())
}

fn cannot_open(path: &Path) -> Error {
    Error::new(ErrorKind::Unavailable, "the store's file cannot be opened as a store")
        .with("path", path.display())
}
