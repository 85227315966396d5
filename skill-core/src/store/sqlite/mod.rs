//! The durable store: one SQLite file. One file per part, and the threads that run them.
//!
//! One thread owns the writing connection and commits what waits in groups; a few more threads
//! read. Nothing is answered before its commit was synced to the disk.

mod agent;
mod app;
mod audit;
mod backup;
mod claim;
mod connection;
mod conversation;
mod execution;
mod failure;
mod file;
mod flow;
mod grant;
mod key;
mod listing;
mod login;
mod meta;
mod migrate;
mod outbox;
mod owner;
mod queue;
mod reader;
mod recorded;
mod repeat;
mod reseal;
mod row;
mod schedule;
mod tally;
mod trigger;
mod upkeep;
mod usage;
mod webhook;
mod writer;

use std::{fmt, path::Path, sync::Arc};

use rusqlite::Connection;
use tokio::sync::Notify;

pub use self::{
    backup::{Copied, copy},
    migrate::SCHEMA,
};
use self::{failure::Work, reader::Readers, tally::Session, writer::Writer};
use crate::error::Result;

/// A store in one SQLite file, which this process has to itself.
///
/// Dropping the store ends its threads: what was accepted is written first, which takes as long as
/// the disk does.
///
/// ```
/// use skill_core::store::{MetaStore, sqlite::SqliteStore};
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let dir = tempfile::tempdir().expect("a directory");
/// let store = SqliteStore::open(&dir.path().join("skill.db"))?;
/// assert!(store.meta("epoch").await?.is_some());
/// # Ok::<(), skill_core::Error>(()) }).unwrap();
/// ```
pub struct SqliteStore {
    // Dropped in this order: the writer's last checkpoint finds no reader in its way.
    readers: Readers,
    writer: Writer,
    /// Tells that a delivery was kept.
    stirred: Arc<Notify>,
}

impl SqliteStore {
    /// Opens the store in the file at `path`, and makes it when there is none. Blocks.
    ///
    /// Nobody but the file's owner may read it. Beside it stand SQLite's own files and a `.lock`.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) when another process uses the
    /// file, a later program wrote it, or it cannot be read and written.
    pub fn open(path: &Path) -> Result<Self> {
        let lock = file::lock(path)?;
        let writer = file::connect_writer(path)?;
        migrate::migrate(&writer, path)?;
        let stirred = Arc::new(Notify::new());
        let session = Session::of(writer, stirred.clone());
        let session = session.map_err(|failure| file::opening(path, failure))?;
        let readers = Readers::start(path)?;
        Ok(Self { readers, writer: Writer::start(session, lock)?, stirred })
    }

    /// How many transactions were committed since the store was opened: a figure for benchmarks.
    pub fn commits(&self) -> u64 {
        self.writer.commits()
    }

    /// Returns what `work` finds in the state of this moment.
    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Work<T> + Send + 'static,
    ) -> Result<T> {
        self.readers.run(work).await
    }

    /// Does `work` as one transaction and returns when it is on the disk. All of it is undone when
    /// it ends in an error. It may be done more than once; what came of the last time counts.
    async fn write<T: Send + 'static>(
        &self,
        work: impl FnMut(&Session) -> Work<T> + Send + 'static,
    ) -> Result<T> {
        self.writer.run(work).await
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SqliteStore")
    }
}

#[cfg(test)]
mod tests;
