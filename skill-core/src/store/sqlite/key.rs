//! Keys in SQLite.

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::{
    SqliteStore,
    failure::Work,
    row::{Cells, all, count, execute, first, json, micros},
};
use crate::{
    error::Result,
    id::KeyId,
    name::{OwnerId, UserId},
    record::{
        key::{Change, Key, KeyHash, Kind, Rotate, Rotation},
        scope::Scopes,
    },
    store::KeyStore,
};

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, owner, user_id, name, kind, shown, hash, scopes, tier, created_at_us,
                    expires_at_us, revoked_at_us, last_used_at_us FROM keys ",
            $rest
        )
    };
}

fn read(cells: &mut Cells<'_>) -> Work<Key> {
    Ok(Key {
        id: cells.parsed(KeyId::parse)?,
        owner: cells.parsed(|text| OwnerId::parse(text).ok())?,
        user: cells.parsed_if_any(|text| UserId::parse(text).ok())?,
        name: cells.next()?,
        kind: cells.parsed(Kind::parse)?,
        shown: cells.next()?,
        hash: KeyHash(cells.next()?),
        scopes: cells.parsed(|text| {
            let texts: Vec<&str> = serde_json::from_str(text).ok()?;
            Scopes::parse(texts).ok()
        })?,
        tier: cells.next()?,
        created_at: cells.time()?,
        expires_at: cells.time_if_any()?,
        revoked_at: cells.time_if_any()?,
        last_used_at: cells.time_if_any()?,
    })
}

#[async_trait]
impl KeyStore for SqliteStore {
    async fn insert_key(&self, key: &Key, most: Option<u32>) -> Result<bool> {
        let key = key.clone();
        self.write(move |connection| {
            if let Some(most) = most
                && live(connection, &key, None)? >= u64::from(most)
            {
                return Ok(false);
            }
            insert(connection, &key).map(|()| true)
        })
        .await
    }

    async fn key_by_hash(&self, hash: &KeyHash) -> Result<Option<Key>> {
        let hash = hash.0;
        self.read(move |connection| first(connection, select!("WHERE hash = ?1"), [hash], read))
            .await
    }

    async fn keys(&self, owner: &OwnerId) -> Result<Vec<Key>> {
        let owner = owner.clone();
        self.read(move |connection| {
            let sql = select!("WHERE owner = ?1 ORDER BY id DESC");
            all(connection, sql, [owner.as_str()], read)
        })
        .await
    }

    async fn revoke_key(&self, owner: &OwnerId, id: KeyId, at: Timestamp) -> Result<bool> {
        let owner = owner.clone();
        self.write(move |connection| {
            let sql = "UPDATE keys SET revoked_at_us = coalesce(revoked_at_us, ?3)
                       WHERE owner = ?1 AND id = ?2";
            let at = at.as_microsecond();
            Ok(execute(connection, sql, params![owner.as_str(), id.to_string(), at])? > 0)
        })
        .await
    }

    async fn change_key(&self, owner: &OwnerId, id: KeyId, to: &Change) -> Result<Option<Key>> {
        let (owner, to) = (owner.clone(), to.clone());
        self.write(move |connection| {
            let (owner, id) = (owner.as_str(), id.to_string());
            let sql = "UPDATE keys SET name = coalesce(?3, name), scopes = coalesce(?4, scopes),
                           tier = coalesce(?5, tier), expires_at_us = iif(?6, ?7, expires_at_us)
                       WHERE owner = ?1 AND id = ?2";
            let scopes = to.scopes.as_ref().map(|scopes| json(&scopes.texts())).transpose()?;
            let (is_moved, end) = (to.expires_at.is_some(), micros(to.expires_at.flatten()));
            let values = params![owner, id, to.name, scopes, to.tier, is_moved, end];
            execute(connection, sql, values)?;
            first(connection, select!("WHERE owner = ?1 AND id = ?2"), [owner, &id], read)
        })
        .await
    }

    async fn rotate_key(&self, owner: &OwnerId, rotate: &Rotate) -> Result<Rotation> {
        let (owner, rotate) = (owner.clone(), rotate.clone());
        self.write(move |connection| {
            let Rotate { old: id, successor, end, most } = &rotate;
            let (id, end, most) = (*id, *end, *most);
            let (at, lasts) = (successor.created_at, end > successor.created_at);
            if !is_live(connection, &owner, id, at)? {
                return Ok(Rotation::Ended);
            }
            if let Some(most) = most.filter(|_| lasts)
                && live(connection, successor, Some(id))? >= u64::from(most)
            {
                return Ok(Rotation::Full);
            }
            let sql = if lasts {
                "UPDATE keys SET expires_at_us = min(coalesce(expires_at_us, ?2), ?2) WHERE id = ?1"
            } else {
                "UPDATE keys SET revoked_at_us = ?2 WHERE id = ?1"
            };
            let end = end.max(at).as_microsecond();
            execute(connection, sql, params![id.to_string(), end])?;
            insert(connection, successor).map(|()| Rotation::Done)
        })
        .await
    }
}

/// Whether the owner has this key and it opens something at `now`.
fn is_live(connection: &Connection, owner: &OwnerId, id: KeyId, now: Timestamp) -> Work<bool> {
    let sql = "SELECT count(*) FROM keys WHERE owner = ?1 AND id = ?2 AND revoked_at_us IS NULL
               AND (expires_at_us IS NULL OR expires_at_us > ?3)";
    let values = params![owner.as_str(), id.to_string(), now.as_microsecond()];
    Ok(count(connection, sql, values)? > 0)
}

/// How many live keys the owner of `key` has when it is made, `except` apart.
fn live(connection: &Connection, key: &Key, except: Option<KeyId>) -> Work<u64> {
    let sql = "SELECT count(*) FROM keys WHERE owner = ?1 AND revoked_at_us IS NULL
               AND (expires_at_us IS NULL OR expires_at_us > ?2) AND id IS NOT ?3";
    let except = except.map(|id| id.to_string());
    count(connection, sql, params![key.owner.as_str(), key.created_at.as_microsecond(), except])
}

fn insert(connection: &Connection, key: &Key) -> Work<()> {
    let sql = "INSERT INTO keys (id, owner, user_id, name, kind, shown, hash, scopes, tier,
                   created_at_us, expires_at_us, revoked_at_us, last_used_at_us)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)";
    let values = params![
        key.id.to_string(),
        key.owner.as_str(),
        key.user.as_ref().map(UserId::as_str),
        key.name,
        key.kind.as_str(),
        key.shown,
        key.hash.0,
        json(&key.scopes.texts())?,
        key.tier,
        key.created_at.as_microsecond(),
        micros(key.expires_at),
        micros(key.revoked_at),
        micros(key.last_used_at),
    ];
    execute(connection, sql, values).map(drop)
}
