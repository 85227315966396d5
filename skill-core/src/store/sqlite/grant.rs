//! Grants and their leases in SQLite.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::params;

use super::{
    SqliteStore,
    failure::Work,
    row::{Cells, all, execute, first},
};
use crate::{
    error::Result,
    id::ConnectionId,
    name::{OwnerId, UserId},
    record::{
        Sealed,
        connection::{ConnectionRef, Revision},
    },
    store::GrantStore,
};

/// A [`ConnectionRef`] as statements take it.
struct Place {
    id: String,
    owner: OwnerId,
    user: Option<UserId>,
}

impl Place {
    fn of(at: &ConnectionRef) -> Self {
        Self { id: at.id.to_string(), owner: at.owner.clone(), user: at.user.clone() }
    }

    fn user(&self) -> Option<&str> {
        self.user.as_ref().map(UserId::as_str)
    }
}

/// Revisions are counted from one: they stay far below where a signed number ends.
fn number(revision: Option<Revision>) -> Option<i64> {
    revision.map(|revision| i64::try_from(revision.0).unwrap_or(i64::MAX))
}

#[async_trait]
impl GrantStore for SqliteStore {
    async fn grant(&self, at: &ConnectionRef) -> Result<Option<(Sealed, Revision)>> {
        let at = Place::of(at);
        self.read(move |connection| {
            let sql = "SELECT sealed, revision
                       FROM grants JOIN connections ON connections.id = connection_id
                       WHERE connection_id = ?1 AND owner = ?2 AND user_id IS ?3
                       AND sealed IS NOT NULL";
            let values = params![at.id, at.owner.as_str(), at.user()];
            first(connection, sql, values, |cells| Ok((cells.sealed()?, Revision(cells.number()?))))
        })
        .await
    }

    async fn replace_grant(
        &self,
        at: &ConnectionRef,
        new: &Sealed,
        seen: Option<Revision>,
    ) -> Result<Option<Revision>> {
        let (at, new) = (Place::of(at), new.clone());
        self.write(move |connection| {
            let sql = "INSERT INTO grants (connection_id, sealed, revision)
                       SELECT id, ?4, 1 FROM connections
                       WHERE id = ?1 AND owner = ?2 AND user_id IS ?3
                       AND (?5 IS NULL OR EXISTS (SELECT 1 FROM grants WHERE connection_id = ?1))
                       ON CONFLICT DO UPDATE SET sealed = excluded.sealed, revision = revision + 1
                       WHERE iif(sealed IS NULL, NULL, revision) IS ?5
                       RETURNING revision";
            let values = params![at.id, at.owner.as_str(), at.user(), new.0, number(seen)];
            first(connection, sql, values, |cells| cells.number().map(Revision))
        })
        .await
    }

    async fn forget_grant(&self, at: &ConnectionRef) -> Result<()> {
        let at = Place::of(at);
        self.write(move |connection| {
            let sql = "UPDATE grants SET sealed = NULL WHERE connection_id IN
                       (SELECT id FROM connections WHERE id = ?1 AND owner = ?2 AND user_id IS ?3)";
            let values = params![at.id, at.owner.as_str(), at.user()];
            execute(connection, sql, values).map(drop)
        })
        .await
    }

    async fn lease_renewal(
        &self,
        at: &ConnectionRef,
        token: &str,
        now: Timestamp,
        hold: Duration,
    ) -> Result<bool> {
        let (at, token) = (Place::of(at), token.to_owned());
        self.write(move |connection| {
            let sql = "INSERT INTO renewals (connection_id, owner, user_id, token, until_us)
                       VALUES (?1, ?2, ?3, ?4, ?5)
                       ON CONFLICT DO UPDATE
                       SET token = excluded.token, until_us = excluded.until_us
                       WHERE token = excluded.token OR until_us <= ?6";
            let until = now.saturating_add(hold).unwrap_or(Timestamp::MAX).as_microsecond();
            let user = at.user().unwrap_or_default();
            let now = now.as_microsecond();
            let values = params![at.id, at.owner.as_str(), user, token, until, now];
            Ok(execute(connection, sql, values)? > 0)
        })
        .await
    }

    async fn release_renewal(&self, at: &ConnectionRef, token: &str) -> Result<()> {
        let (at, token) = (Place::of(at), token.to_owned());
        self.write(move |connection| {
            let sql = "DELETE FROM renewals
                       WHERE connection_id = ?1 AND owner = ?2 AND user_id = ?3 AND token = ?4";
            let user = at.user().unwrap_or_default();
            execute(connection, sql, params![at.id, at.owner.as_str(), user, token]).map(drop)
        })
        .await
    }

    async fn grants_after(
        &self,
        after: Option<ConnectionId>,
        most: u32,
    ) -> Result<Vec<(ConnectionRef, Sealed, Revision)>> {
        self.read(move |connection| {
            let sql = "SELECT id, owner, user_id, sealed, revision
                       FROM grants JOIN connections ON connections.id = connection_id
                       WHERE connection_id > ?1 AND sealed IS NOT NULL
                       ORDER BY connection_id LIMIT ?2";
            let after = after.map(|id| id.to_string()).unwrap_or_default();
            all(connection, sql, params![after, most], |cells| {
                Ok((place(cells)?, cells.sealed()?, Revision(cells.number()?)))
            })
        })
        .await
    }
}

fn place(cells: &mut Cells<'_>) -> Work<ConnectionRef> {
    Ok(ConnectionRef {
        id: cells.parsed(ConnectionId::parse)?,
        owner: cells.parsed(|text| OwnerId::parse(text).ok())?,
        user: cells.parsed_if_any(|text| UserId::parse(text).ok())?,
    })
}
