//! Apps in SQLite.

use async_trait::async_trait;
use rusqlite::params;

use super::{
    SqliteStore,
    failure::Work,
    row::{Cells, all, execute, first},
};
use crate::{
    error::{Error, Result},
    id::AppId,
    name::{OwnerId, Slug},
    record::app::{App, Holder},
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

    async fn apps(&self, holder: &Holder, integration: &Slug) -> Result<Vec<App>> {
        let (holder, integration) = (holder.clone(), integration.clone());
        self.read(move |connection| {
            let sql = select!("WHERE owner IS ?1 AND integration_canonical = ?2 ORDER BY id DESC");
            let owner = holder.owner().map(OwnerId::as_str);
            all(connection, sql, params![owner, integration.canonical()], read)
        })
        .await
    }
}
