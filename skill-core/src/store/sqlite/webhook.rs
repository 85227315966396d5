//! Webhooks in SQLite.

use async_trait::async_trait;
use rusqlite::params;

use super::{
    SqliteStore,
    failure::{Failure, Work},
    row::{Cells, all, count, execute, json},
};
use crate::{
    error::Result,
    id::WebhookId,
    name::{OwnerId, UserId},
    record::webhook::{Event, Subscription},
    store::WebhookStore,
};

fn read(cells: &mut Cells<'_>) -> Work<Subscription> {
    Ok(Subscription {
        id: cells.parsed(WebhookId::parse)?,
        owner: cells.parsed(|text| OwnerId::parse(text).ok())?,
        user: cells.parsed_if_any(|text| UserId::parse(text).ok())?,
        url: cells.next()?,
        events: events(&cells.json::<Vec<String>>()?)?,
        tool_ids: cells.json()?,
        secret: cells.sealed()?,
        created_at: cells.time()?,
    })
}

fn events(names: &[String]) -> Work<Vec<Event>> {
    let known = |name: &String| Event::parse(name).ok_or_else(|| Failure::unreadable("events"));
    names.iter().map(known).collect()
}

#[async_trait]
impl WebhookStore for SqliteStore {
    async fn insert_webhook(&self, webhook: &Subscription, most: u32) -> Result<bool> {
        let webhook = webhook.clone();
        self.write(move |connection| {
            let sql = "SELECT count(*) FROM webhooks WHERE owner = ?1";
            if count(connection, sql, [webhook.owner.as_str()])? >= u64::from(most) {
                return Ok(false);
            }
            let events = webhook.events.iter().map(|event| event.as_str()).collect::<Vec<_>>();
            let sql = "INSERT INTO webhooks
                           (id, owner, user_id, url, events, tool_ids, secret, created_at_us)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
            let values = params![
                webhook.id.to_string(),
                webhook.owner.as_str(),
                webhook.user.as_ref().map(UserId::as_str),
                webhook.url,
                json(&events)?,
                json(&webhook.tool_ids)?,
                webhook.secret.0,
                webhook.created_at.as_microsecond(),
            ];
            execute(connection, sql, values).map(|_| true)
        })
        .await
    }

    async fn webhooks(&self, owner: &OwnerId) -> Result<Vec<Subscription>> {
        let owner = owner.clone();
        self.read(move |connection| {
            let sql = "SELECT id, owner, user_id, url, events, tool_ids, secret, created_at_us
                       FROM webhooks WHERE owner = ?1 ORDER BY id DESC";
            all(connection, sql, [owner.as_str()], read)
        })
        .await
    }

    async fn delete_webhook(&self, owner: &OwnerId, id: WebhookId) -> Result<bool> {
        let owner = owner.clone();
        self.write(move |connection| {
            let sql = "DELETE FROM webhooks WHERE owner = ?1 AND id = ?2";
            Ok(execute(connection, sql, params![owner.as_str(), id.to_string()])? > 0)
        })
        .await
    }
}
