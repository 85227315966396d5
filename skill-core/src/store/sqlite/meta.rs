//! Facts about the SQLite store.

use async_trait::async_trait;
use rusqlite::{Connection, params};

use super::{
    SqliteStore,
    failure::{Failure, Work},
    row::{execute, first},
};
use crate::{error::Result, store::MetaStore};

#[async_trait]
impl MetaStore for SqliteStore {
    async fn meta(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let name = name.to_owned();
        self.read(move |connection| find(connection, &name)).await
    }

    async fn meta_or_insert(&self, name: &str, value: &[u8]) -> Result<Vec<u8>> {
        let (name, value) = (name.to_owned(), value.to_owned());
        self.write(move |connection| {
            let sql = "INSERT INTO meta (name, value) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
            execute(connection, sql, params![name, value])?;
            Ok(find(connection, &name)?.unwrap_or_else(|| value.clone()))
        })
        .await
    }

    async fn ping(&self) -> Result<()> {
        // Changes nothing, and is written and synced all the same.
        let sql = "UPDATE meta SET value = value WHERE name = 'epoch'";
        self.write(move |connection| execute(connection, sql, [])).await?;
        self.read(|connection| {
            find(connection, "epoch")?.map(drop).ok_or_else(|| Failure::unreadable("epoch"))
        })
        .await
    }
}

fn find(connection: &Connection, name: &str) -> Work<Option<Vec<u8>>> {
    let sql = "SELECT value FROM meta WHERE name = ?1";
    first(connection, sql, [name], |cells| cells.next())
}
