//! Owners in SQLite.

use async_trait::async_trait;
use rusqlite::{Connection, params};

use super::{
    SqliteStore,
    failure::Work,
    row::{Cells, all, count, execute, first},
};
use crate::{error::Result, name::OwnerId, record::owner::Owner, store::OwnerStore};

#[async_trait]
impl OwnerStore for SqliteStore {
    async fn ensure_owner(&self, owner: &Owner) -> Result<Owner> {
        if let Some(known) = self.owner(&owner.id).await? {
            return Ok(known);
        }
        let owner = owner.clone();
        self.write(move |connection| {
            let sql = "INSERT INTO owners (id, plan, created_at_us) VALUES (?1, ?2, ?3)
                       ON CONFLICT DO NOTHING";
            let created = owner.created_at.as_microsecond();
            execute(connection, sql, params![owner.id.as_str(), owner.plan, created])?;
            Ok(find(connection, &owner.id)?.unwrap_or_else(|| owner.clone()))
        })
        .await
    }

    async fn owner(&self, id: &OwnerId) -> Result<Option<Owner>> {
        let id = id.clone();
        self.read(move |connection| find(connection, &id)).await
    }

    async fn set_plan(&self, id: &OwnerId, plan: Option<&str>) -> Result<bool> {
        let (id, plan) = (id.clone(), plan.map(str::to_owned));
        self.write(move |connection| {
            let sql = "UPDATE owners SET plan = ?2 WHERE id = ?1";
            Ok(execute(connection, sql, params![id.as_str(), plan])? > 0)
        })
        .await
    }

    async fn return_urls(&self, id: &OwnerId) -> Result<Vec<String>> {
        let id = id.clone();
        self.read(move |connection| {
            let sql = "SELECT url FROM return_urls WHERE owner = ?1 ORDER BY url";
            all(connection, sql, [id.as_str()], |cells| cells.next())
        })
        .await
    }

    async fn allow_return(&self, id: &OwnerId, url: &str, most: u32) -> Result<bool> {
        let (id, url) = (id.clone(), url.to_owned());
        self.write(move |connection| {
            let sql = "SELECT count(*) FROM return_urls WHERE owner = ?1 AND url <> ?2";
            if count(connection, sql, params![id.as_str(), url])? >= u64::from(most) {
                return Ok(false);
            }
            let sql = "INSERT INTO return_urls (owner, url) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
            execute(connection, sql, params![id.as_str(), url]).map(|_| true)
        })
        .await
    }

    async fn forbid_return(&self, id: &OwnerId, url: &str) -> Result<bool> {
        let (id, url) = (id.clone(), url.to_owned());
        self.write(move |connection| {
            let sql = "DELETE FROM return_urls WHERE owner = ?1 AND url = ?2";
            Ok(execute(connection, sql, params![id.as_str(), url])? > 0)
        })
        .await
    }
}

fn find(connection: &Connection, id: &OwnerId) -> Work<Option<Owner>> {
    let sql = "SELECT id, plan, created_at_us FROM owners WHERE id = ?1";
    first(connection, sql, [id.as_str()], |cells: &mut Cells<'_>| {
        Ok(Owner {
            id: cells.parsed(|text| OwnerId::parse(text).ok())?,
            plan: cells.next()?,
            created_at: cells.time()?,
        })
    })
}
