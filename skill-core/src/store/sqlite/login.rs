//! Logins in SQLite.

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::params;

use super::{
    SqliteStore,
    failure::{Failure, Work},
    row::{Cells, count, execute, first, json, micros},
};
use crate::{
    error::Result,
    id::KeyId,
    name::{OwnerId, UserId},
    record::{
        flow::TokenHash,
        login::{Answer, Consent, Login},
        scope::Scopes,
    },
    store::LoginStore,
};

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT device, code, name, scopes, expires_at_us, said, owner, user_id, key_id,
                    key_scopes, tier, until_us
             FROM logins ",
            $rest
        )
    };
}

fn read(cells: &mut Cells<'_>) -> Work<Login> {
    Ok(Login {
        device: TokenHash(cells.next()?),
        code: TokenHash(cells.next()?),
        name: cells.next()?,
        scopes: scopes(cells)?,
        expires_at: cells.time()?,
        answer: answer(cells)?,
    })
}

fn answer(cells: &mut Cells<'_>) -> Work<Option<Answer>> {
    match cells.next::<Option<String>>()?.as_deref() {
        None => Ok(None),
        Some("no") => Ok(Some(Answer::No)),
        Some("yes") => Ok(Some(Answer::Yes(Consent {
            owner: cells.parsed(|text| OwnerId::parse(text).ok())?,
            user: cells.parsed_if_any(|text| UserId::parse(text).ok())?,
            key: cells.parsed_if_any(KeyId::parse)?,
            scopes: scopes(cells)?.ok_or_else(|| Failure::unreadable("key_scopes"))?,
            tier: cells.next()?,
            until: cells.time_if_any()?,
        }))),
        Some(_) => Err(Failure::unreadable("said")),
    }
}

fn scopes(cells: &mut Cells<'_>) -> Work<Option<Scopes>> {
    cells.parsed_if_any(|text| {
        let texts = serde_json::from_str::<Vec<String>>(text).ok()?;
        Scopes::parse(texts.iter().map(String::as_str)).ok()
    })
}

#[async_trait]
impl LoginStore for SqliteStore {
    async fn insert_login(&self, login: &Login, now: Timestamp, most: u32) -> Result<bool> {
        let login = login.clone();
        self.write(move |connection| {
            let sweep = "DELETE FROM logins WHERE expires_at_us <= ?1";
            execute(connection, sweep, [now.as_microsecond()])?;
            if count(connection, "SELECT count(*) FROM logins", [])? >= u64::from(most) {
                return Ok(false);
            }
            let sql = "INSERT INTO logins (device, code, name, scopes, expires_at_us)
                       VALUES (?1, ?2, ?3, ?4, ?5)";
            let scopes = login.scopes.as_ref().map(|scopes| json(&scopes.texts())).transpose()?;
            let end = login.expires_at.as_microsecond();
            let values = params![login.device.0, login.code.0, login.name, scopes, end];
            execute(connection, sql, values).map(|_| true)
        })
        .await
    }

    async fn login_by_device(&self, device: &TokenHash, now: Timestamp) -> Result<Option<Login>> {
        let device = device.0;
        self.read(move |connection| {
            let sql = select!("WHERE device = ?1 AND expires_at_us > ?2");
            first(connection, sql, params![device, now.as_microsecond()], read)
        })
        .await
    }

    async fn login_by_code(&self, code: &TokenHash, now: Timestamp) -> Result<Option<Login>> {
        let code = code.0;
        self.read(move |connection| {
            let sql = select!("WHERE code = ?1 AND said IS NULL AND expires_at_us > ?2");
            first(connection, sql, params![code, now.as_microsecond()], read)
        })
        .await
    }

    async fn answer_login(
        &self,
        code: &TokenHash,
        answer: &Answer,
        now: Timestamp,
    ) -> Result<bool> {
        let (code, answer, now) = (code.0, answer.clone(), now.as_microsecond());
        self.write(move |connection| {
            let Answer::Yes(by) = &answer else {
                let sql = "UPDATE logins SET said = 'no'
                           WHERE code = ?1 AND said IS NULL AND expires_at_us > ?2";
                return Ok(execute(connection, sql, params![code, now])? > 0);
            };
            let sql = "UPDATE logins SET said = 'yes', owner = ?3, user_id = ?4, key_id = ?5,
                           key_scopes = ?6, tier = ?7, until_us = ?8
                       WHERE code = ?1 AND said IS NULL AND expires_at_us > ?2";
            let values = params![
                code,
                now,
                by.owner.as_str(),
                by.user.as_ref().map(UserId::as_str),
                by.key.map(|id| id.to_string()),
                json(&by.scopes.texts())?,
                by.tier,
                micros(by.until),
            ];
            Ok(execute(connection, sql, values)? > 0)
        })
        .await
    }

    async fn end_login(&self, device: &TokenHash, now: Timestamp) -> Result<Option<Login>> {
        let device = device.0;
        self.write(move |connection| {
            let sql = select!("WHERE device = ?1 AND said IS NOT NULL AND expires_at_us > ?2");
            let found = first(connection, sql, params![device, now.as_microsecond()], read)?;
            if found.is_some() {
                execute(connection, "DELETE FROM logins WHERE device = ?1", [device])?;
            }
            Ok(found)
        })
        .await
    }
}
