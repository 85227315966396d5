//! Apps in memory.

use async_trait::async_trait;

use super::MemoryStore;
use crate::{
    error::{Error, Result},
    id::AppId,
    name::{OwnerId, Slug},
    record::app::{App, Holder},
    store::AppStore,
};

#[async_trait]
impl AppStore for MemoryStore {
    async fn put_app(&self, app: &App) -> Result<()> {
        let mut tables = self.lock();
        if tables.apps.get(&app.id).is_some_and(|old| old.holder != app.holder) {
            return Err(Error::not_found("no app with this id"));
        }
        tables.apps.insert(app.id, app.clone());
        Ok(())
    }

    async fn app(&self, owner: &OwnerId, id: AppId) -> Result<Option<App>> {
        let may_use = |app: &&App| app.holder.owner().is_none_or(|holder| holder == owner);
        Ok(self.lock().apps.get(&id).filter(may_use).cloned())
    }

    async fn apps(&self, holder: &Holder, integration: &Slug) -> Result<Vec<App>> {
        let wanted = |app: &&App| app.holder == *holder && app.integration == *integration;
        Ok(self.lock().apps.values().rev().filter(wanted).cloned().collect())
    }
}
