//! Usage in SQLite.

use async_trait::async_trait;
use rusqlite::{Connection, params};

use super::{
    SqliteStore,
    failure::Work,
    row::{all, execute},
};
use crate::{
    error::Result,
    name::OwnerId,
    record::usage::{Ledger, Reserve, Share},
    store::UsageStore,
};

#[async_trait]
impl UsageStore for SqliteStore {
    async fn reserve(&self, owner: &OwnerId, reserve: &Reserve) -> Result<Share> {
        let (owner, reserve) = (owner.clone(), reserve.clone());
        self.write(move |connection| {
            let before = load(connection, &owner, &reserve)?;
            let mut after = before.clone();
            let share = after.settle(&reserve);
            save(connection, (&owner, &reserve), (&before, &after))?;
            Ok(share)
        })
        .await
    }
}

fn load(connection: &Connection, owner: &OwnerId, reserve: &Reserve) -> Work<Ledger> {
    let sql = "SELECT node, bucket, calls FROM usage
               WHERE owner = ?1 AND subject = ?2 AND time_window = ?3";
    let values = [owner.as_str(), &reserve.subject, reserve.window.as_str()];
    let rows =
        all(connection, sql, values, |cells| Ok(((cells.next()?, cells.next()?), cells.next()?)))?;
    Ok(Ledger(rows.into_iter().collect()))
}

/// Writes what differs: mostly a bucket or two of sixty.
fn save(
    connection: &Connection,
    (owner, reserve): (&OwnerId, &Reserve),
    (before, after): (&Ledger, &Ledger),
) -> Work<()> {
    let (owner, window) = (owner.as_str(), reserve.window.as_str());
    for key in before.0.keys().filter(|key| !after.0.contains_key(*key)) {
        let sql = "DELETE FROM usage WHERE owner = ?1 AND subject = ?2 AND time_window = ?3
                   AND node = ?4 AND bucket = ?5";
        execute(connection, sql, params![owner, reserve.subject, window, key.0, key.1])?;
    }
    for (key, calls) in after.0.iter().filter(|(key, calls)| before.0.get(*key) != Some(calls)) {
        let sql = "INSERT OR REPLACE INTO usage
                       (owner, subject, time_window, node, bucket, calls)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        execute(connection, sql, params![owner, reserve.subject, window, key.0, key.1, calls])?;
    }
    Ok(())
}
