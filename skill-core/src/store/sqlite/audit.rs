//! The audit in SQLite.

use async_trait::async_trait;
use rusqlite::params;

use super::{
    SqliteStore,
    row::{all, execute},
};
use crate::{
    error::Result,
    name::OwnerId,
    record::audit::{Actor, Entry},
    store::AuditStore,
};

#[async_trait]
impl AuditStore for SqliteStore {
    async fn append_audit(&self, entry: &Entry) -> Result<()> {
        let entry = entry.clone();
        self.write(move |connection| {
            let sql = "INSERT INTO audit (at_us, actor, owner, event, target, outcome)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
            let values = params![
                entry.at.as_microsecond(),
                entry.actor.to_string(),
                entry.owner.as_str(),
                entry.event,
                entry.target,
                entry.outcome,
            ];
            execute(connection, sql, values).map(drop)
        })
        .await
    }

    async fn audit(&self, owner: &OwnerId, most: u32) -> Result<Vec<Entry>> {
        let owner = owner.clone();
        self.read(move |connection| {
            let sql = "SELECT at_us, actor, owner, event, target, outcome FROM audit
                       WHERE owner = ?1 ORDER BY id DESC LIMIT ?2";
            all(connection, sql, params![owner.as_str(), most], |cells| {
                Ok(Entry {
                    at: cells.time()?,
                    actor: cells.parsed(Actor::parse)?,
                    owner: cells.parsed(|text| OwnerId::parse(text).ok())?,
                    event: cells.next()?,
                    target: cells.next()?,
                    outcome: cells.next()?,
                })
            })
        })
        .await
    }
}
