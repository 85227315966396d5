//! Connections in SQLite.

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::{Connection as Database, params};

use super::{
    SqliteStore,
    failure::Work,
    outbox,
    row::{Cells, all, count, execute, first, json, micros},
};
use crate::{
    error::Result,
    id::{AppId, ConnectionId},
    name::{OwnerId, Slug, UserId},
    record::{
        connection::{Connection, Status},
        delivery::Announcement,
    },
    store::{ConnectionStore, abandoned},
};

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, owner, user_id, integration, label, is_default, app_id, fields, account,
                    status, last_error, scopes, created_at_us, updated_at_us, last_used_at_us,
                    expires_at_us, rests_since_us FROM connections ",
            $rest
        )
    };
}

fn read(cells: &mut Cells<'_>) -> Work<Connection> {
    Ok(Connection {
        id: cells.parsed(ConnectionId::parse)?,
        owner: cells.parsed(|text| OwnerId::parse(text).ok())?,
        user: cells.parsed_if_any(|text| UserId::parse(text).ok())?,
        integration: cells.parsed(|text| Slug::parse(text).ok())?,
        label: cells.next()?,
        is_default: cells.next()?,
        app: cells.parsed_if_any(AppId::parse)?,
        fields: cells.json()?,
        account: cells.next()?,
        status: cells.parsed(Status::parse)?,
        last_error: cells.next()?,
        scopes: cells.json()?,
        created_at: cells.time()?,
        updated_at: cells.time()?,
        last_used_at: cells.time_if_any()?,
        expires_at: cells.time_if_any()?,
        rests_since: cells.time_if_any()?,
    })
}

#[async_trait]
impl ConnectionStore for SqliteStore {
    async fn insert_connection(&self, connection: &Connection, most: Option<u32>) -> Result<bool> {
        let new = connection.clone();
        self.write(move |database| {
            let sql = "DELETE FROM connections
                       WHERE owner = ?1 AND status = 'pending' AND created_at_us <= ?2";
            let before = abandoned(new.created_at).as_microsecond();
            execute(database, sql, params![new.owner.as_str(), before])?;
            let sql = "SELECT count(*) FROM connections WHERE owner = ?1";
            if let Some(most) = most
                && count(database, sql, [new.owner.as_str()])? >= u64::from(most)
            {
                return Ok(false);
            }
            if new.is_default {
                Rivals::of(&new).step_back(database)?;
            }
            let what = Announcement::of_connection(None, Some(&new), new.updated_at);
            outbox::announce(database, what)?;
            insert(database, &new).map(|()| true)
        })
        .await
    }

    async fn connection(&self, owner: &OwnerId, id: ConnectionId) -> Result<Option<Connection>> {
        let owner = owner.clone();
        self.read(move |database| find(database, &owner, id)).await
    }

    async fn connections(
        &self,
        owner: &OwnerId,
        integration: Option<&Slug>,
    ) -> Result<Vec<Connection>> {
        let (owner, integration) = (owner.clone(), integration.cloned());
        self.read(move |database| match integration {
            None => {
                let sql = select!("WHERE owner = ?1 ORDER BY id");
                all(database, sql, [owner.as_str()], read)
            }
            Some(slug) => {
                let sql = select!("WHERE owner = ?1 AND integration_canonical = ?2 ORDER BY id");
                all(database, sql, [owner.as_str(), slug.canonical()], read)
            }
        })
        .await
    }

    async fn resting_connections(
        &self,
        integration: &Slug,
        before: Timestamp,
        most: u32,
    ) -> Result<Vec<Connection>> {
        let integration = integration.clone();
        self.read(move |database| {
            let sql = select!(
                "WHERE integration_canonical = ?1 AND status = 'connected' AND rests_since_us <= ?2
                 ORDER BY rests_since_us, id LIMIT ?3"
            );
            let values = params![integration.canonical(), before.as_microsecond(), most];
            all(database, sql, values, read)
        })
        .await
    }

    async fn update_connection(&self, connection: &Connection) -> Result<bool> {
        let new = connection.clone();
        self.write(move |database| {
            let Some(old) = find(database, &new.owner, new.id)? else { return Ok(false) };
            if new.is_default {
                Rivals::of(&old).step_back(database)?;
            }
            let what = Announcement::of_connection(Some(&old), Some(&new), new.updated_at);
            outbox::announce(database, what)?;
            update(database, &new).map(|()| true)
        })
        .await
    }

    async fn delete_connection(
        &self,
        owner: &OwnerId,
        id: ConnectionId,
        at: Timestamp,
    ) -> Result<bool> {
        let owner = owner.clone();
        self.write(move |database| {
            let Some(gone) = find(database, &owner, id)? else { return Ok(false) };
            outbox::announce(database, Announcement::of_connection(Some(&gone), None, at))?;
            // The grant goes with it: it refers to it.
            execute(database, "DELETE FROM connections WHERE id = ?1", [id.to_string()])?;
            let sql = "DELETE FROM flows WHERE connection_id = ?1 AND owner = ?2";
            execute(database, sql, [&id.to_string(), owner.as_str()])?;
            let sql = "DELETE FROM renewals WHERE connection_id = ?1 AND owner = ?2";
            execute(database, sql, [&id.to_string(), owner.as_str()])?;
            Ok(true)
        })
        .await
    }
}

/// The connections of one owner, user and integration: at most one of them is the default.
struct Rivals<'a> {
    owner: &'a str,
    user: Option<&'a str>,
    integration: &'a str,
}

impl<'a> Rivals<'a> {
    fn of(connection: &'a Connection) -> Self {
        Self {
            owner: connection.owner.as_str(),
            user: connection.user.as_ref().map(UserId::as_str),
            integration: connection.integration.canonical(),
        }
    }

    fn step_back(&self, database: &Database) -> Work<()> {
        let sql = "UPDATE connections SET is_default = 0 WHERE is_default = 1
                   AND owner = ?1 AND user_id IS ?2 AND integration_canonical = ?3";
        execute(database, sql, params![self.owner, self.user, self.integration]).map(drop)
    }
}

fn find(database: &Database, owner: &OwnerId, id: ConnectionId) -> Work<Option<Connection>> {
    let sql = select!("WHERE owner = ?1 AND id = ?2");
    first(database, sql, [owner.as_str(), &id.to_string()], read)
}

fn insert(database: &Database, new: &Connection) -> Work<()> {
    let sql = "INSERT INTO connections (id, owner, user_id, integration, label, is_default, app_id,
                   fields, account, status, last_error, scopes, created_at_us, updated_at_us,
                   last_used_at_us, expires_at_us, rests_since_us)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16,
                   ?17)";
    let values = params![
        new.id.to_string(),
        new.owner.as_str(),
        new.user.as_ref().map(UserId::as_str),
        new.integration.as_str(),
        new.label,
        new.is_default,
        new.app.map(|id| id.to_string()),
        json(&new.fields)?,
        new.account,
        new.status.as_str(),
        new.last_error,
        json(&new.scopes)?,
        new.created_at.as_microsecond(),
        new.updated_at.as_microsecond(),
        micros(new.last_used_at),
        micros(new.expires_at),
        micros(new.rests_since),
    ];
    execute(database, sql, values).map(drop)
}

fn update(database: &Database, new: &Connection) -> Work<()> {
    let sql = "UPDATE connections SET label = ?3, is_default = ?4, app_id = ?5, fields = ?6,
                   account = ?7, status = ?8, last_error = ?9, scopes = ?10, updated_at_us = ?11,
                   expires_at_us = ?12, rests_since_us = ?13
               WHERE owner = ?1 AND id = ?2";
    let values = params![
        new.owner.as_str(),
        new.id.to_string(),
        new.label,
        new.is_default,
        new.app.map(|id| id.to_string()),
        json(&new.fields)?,
        new.account,
        new.status.as_str(),
        new.last_error,
        json(&new.scopes)?,
        new.updated_at.as_microsecond(),
        micros(new.expires_at),
        micros(new.rests_since),
    ];
    execute(database, sql, values).map(drop)
}
