//! Apps in SQLite.

use async_trait::async_trait;
use rusqlite::params;

use super::{
    SqliteStore,
    failure::Work,
    row::{Cells, all, count, execute, first},
};
use crate::{
    error::{Error, Result},
    id::AppId,
    name::{OwnerId, Slug},
    record::app::{App, Holder, Removal},
    store::AppStore,
};

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, owner, integration, client_id, client_secret, created_at_us FROM apps ",
            $rest
        )
    };
}

fn read(cells: &mut Cells<'_>) -> Work<App> {
    Ok(App {
        id: cells.parsed(AppId::parse)?,
        holder: cells
            .parsed_if_any(|text| OwnerId::parse(text).ok())?
            .map_or(Holder::System, Holder::Owner),
        integration: cells.parsed(|text| Slug::parse(text).ok())?,
        client_id: cells.next()?,
        client_secret: cells.sealed_if_any()?,
        created_at: cells.time()?,
    })
}

#[async_trait]
impl AppStore for SqliteStore {
    async fn put_app(&self, app: &App) -> Result<()> {
        let app = app.clone();
        self.write(move |connection| {
            let sql = "INSERT INTO apps
                           (id, owner, integration, client_id, client_secret, created_at_us)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                       ON CONFLICT DO UPDATE SET integration = excluded.integration,
                           client_id = excluded.client_id, client_secret = excluded.client_secret,
                           created_at_us = excluded.created_at_us
                       WHERE owner IS excluded.owner";
            let values = params![
                app.id.to_string(),
                app.holder.owner().map(OwnerId::as_str),
                app.integration.as_str(),
                app.client_id,
                app.client_secret.as_ref().map(|sealed| &sealed.0),
                app.created_at.as_microsecond(),
            ];
            match execute(connection, sql, values)? {
                0 => Err(Error::not_found("no app with this id").into()),
                _ => Ok(()),
            }
        })
        .await
    }

    async fn app(&self, owner: &OwnerId, id: AppId) -> Result<Option<App>> {
        let owner = owner.clone();
        self.read(move |connection| {
            let sql = select!("WHERE id = ?1 AND (owner IS NULL OR owner = ?2)");
            first(connection, sql, [&id.to_string(), owner.as_str()], read)
        })
        .await
    }

    async fn apps(&self, holder: &Holder, integration: Option<&Slug>) -> Result<Vec<App>> {
        let (holder, integration) = (holder.clone(), integration.cloned());
        self.read(move |connection| {
            let owner = holder.owner().map(OwnerId::as_str);
            let Some(integration) = &integration else {
                return all(
                    connection,
                    select!("WHERE owner IS ?1 ORDER BY id DESC"),
                    [owner],
                    read,
                );
            };
            let sql = select!("WHERE owner IS ?1 AND integration_canonical = ?2 ORDER BY id DESC");
            all(connection, sql, params![owner, integration.canonical()], read)
        })
        .await
    }

    async fn remove_app(&self, holder: &Holder, id: AppId, spares: bool) -> Result<Removal> {
        let (holder, id) = (holder.clone(), id.to_string());
        self.write(move |connection| {
            let owner = holder.owner().map(OwnerId::as_str);
            let sql = "SELECT count(*) FROM apps WHERE id = ?1 AND owner IS ?2";
            if count(connection, sql, params![id, owner])? == 0 {
                return Ok(Removal::Unknown);
            }
            let sql = "SELECT count(*) FROM connections WHERE app_id = ?1";
            let uses = if spares { count(connection, sql, [&id])? } else { 0 };
            if uses > 0 {
                return Ok(Removal::InUse(uses));
            }
            execute(connection, "DELETE FROM apps WHERE id = ?1", [&id])?;
            Ok(Removal::Done)
        })
        .await
    }
}
