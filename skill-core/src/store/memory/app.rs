//! Apps in memory.

use async_trait::async_trait;

use super::MemoryStore;
use crate::{
    error::{Error, Result},
    id::AppId,
    name::{OwnerId, Slug},
    record::app::{App, Holder, Removal},
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

    async fn apps(&self, holder: &Holder, integration: Option<&Slug>) -> Result<Vec<App>> {
        let wanted = |app: &&App| {
            app.holder == *holder && integration.is_none_or(|slug| app.integration == *slug)
        };
        Ok(self.lock().apps.values().rev().filter(wanted).cloned().collect())
    }

    async fn remove_app(&self, holder: &Holder, id: AppId, spares: bool) -> Result<Removal> {
        let mut tables = self.lock();
        if tables.apps.get(&id).is_none_or(|app| app.holder != *holder) {
            return Ok(Removal::Unknown);
        }
        let uses = tables.connections.values().filter(|c| c.app == Some(id)).count();
        if spares && uses > 0 {
            return Ok(Removal::InUse(uses as u64));
        }
        tables.apps.remove(&id);
        Ok(Removal::Done)
    }
}
