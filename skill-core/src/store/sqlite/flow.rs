//! Flows in SQLite.

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::params;

use super::{
    SqliteStore,
    failure::Work,
    row::{Cells, execute, first, json},
};
use crate::{
    error::Result,
    id::{ConnectionId, FlowId},
    name::{OwnerId, Slug, UserId},
    record::{
        connection::ConnectionRef,
        flow::{Departure, Flow, TokenHash},
    },
    store::FlowStore,
};

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, connection_id, owner, user_id, integration, scopes, link, expires_at_us,
                    return_url, state, browser, verifier, issuer, state_expires_at_us
             FROM flows ",
            $rest
        )
    };
}

fn read(cells: &mut Cells<'_>) -> Work<Flow> {
    Ok(Flow {
        id: cells.parsed(FlowId::parse)?,
        connection: ConnectionRef {
            id: cells.parsed(ConnectionId::parse)?,
            owner: cells.parsed(|text| OwnerId::parse(text).ok())?,
            user: cells.parsed_if_any(|text| UserId::parse(text).ok())?,
        },
        integration: cells.parsed(|text| Slug::parse(text).ok())?,
        scopes: cells.json()?,
        link: TokenHash(cells.next()?),
        expires_at: cells.time()?,
        return_url: cells.next()?,
    })
}

fn read_both(cells: &mut Cells<'_>) -> Work<(Flow, Departure)> {
    let flow = read(cells)?;
    let departure = Departure {
        state: TokenHash(cells.next()?),
        browser: TokenHash(cells.next()?),
        verifier: cells.sealed()?,
        issuer: cells.next()?,
        expires_at: cells.time()?,
    };
    Ok((flow, departure))
}

#[async_trait]
impl FlowStore for SqliteStore {
    async fn insert_flow(&self, flow: &Flow, now: Timestamp) -> Result<()> {
        let flow = flow.clone();
        self.write(move |connection| {
            let sweep = "DELETE FROM flows
                         WHERE coalesce(state_expires_at_us, expires_at_us) <= ?1";
            execute(connection, sweep, [now.as_microsecond()])?;
            let sql = "INSERT INTO flows (connection_id, owner, user_id, id, integration, scopes,
                                          link, expires_at_us, return_url)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
            let values = params![
                flow.connection.id.to_string(),
                flow.connection.owner.as_str(),
                flow.connection.user.as_ref().map(UserId::as_str),
                flow.id.to_string(),
                flow.integration.as_str(),
                json(&flow.scopes)?,
                flow.link.0,
                flow.expires_at.as_microsecond(),
                flow.return_url,
            ];
            execute(connection, sql, values).map(drop)
        })
        .await
    }

    async fn flow_by_link(&self, link: &TokenHash, now: Timestamp) -> Result<Option<Flow>> {
        let link = link.0;
        self.read(move |connection| {
            let sql = select!("WHERE link = ?1 AND state IS NULL AND expires_at_us > ?2");
            first(connection, sql, params![link, now.as_microsecond()], read)
        })
        .await
    }

    async fn depart(
        &self,
        link: &TokenHash,
        departure: Option<&Departure>,
        now: Timestamp,
    ) -> Result<bool> {
        let (link, departure, now) = (link.0, departure.cloned(), now.as_microsecond());
        self.write(move |connection| {
            let Some(left) = &departure else {
                let sql = "DELETE FROM flows
                           WHERE link = ?1 AND state IS NULL AND expires_at_us > ?2";
                return Ok(execute(connection, sql, params![link, now])? > 0);
            };
            let sql = "UPDATE flows SET state = ?3, browser = ?4, verifier = ?5, issuer = ?6,
                           state_expires_at_us = ?7
                       WHERE link = ?1 AND state IS NULL AND expires_at_us > ?2";
            let ends = left.expires_at.as_microsecond();
            let (state, browser, verifier) = (left.state.0, left.browser.0, &left.verifier.0);
            let values = params![link, now, state, browser, verifier, left.issuer, ends];
            Ok(execute(connection, sql, values)? > 0)
        })
        .await
    }

    async fn arrive(
        &self,
        state: &TokenHash,
        browser: &TokenHash,
        now: Timestamp,
    ) -> Result<Option<(Flow, Departure)>> {
        let (state, browser) = (state.0, browser.0);
        self.write(move |connection| {
            let sql = select!("WHERE state = ?1 AND browser = ?2 AND state_expires_at_us > ?3");
            let values = params![state, browser, now.as_microsecond()];
            let found = first(connection, sql, values, read_both)?;
            if let Some((flow, _)) = &found {
                execute(connection, "DELETE FROM flows WHERE id = ?1", [flow.id.to_string()])?;
            }
            Ok(found)
        })
        .await
    }
}
