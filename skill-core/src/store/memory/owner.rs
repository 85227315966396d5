//! Owners in memory.

use async_trait::async_trait;

use super::MemoryStore;
use crate::{error::Result, name::OwnerId, record::owner::Owner, store::OwnerStore};

#[async_trait]
impl OwnerStore for MemoryStore {
    async fn ensure_owner(&self, owner: &Owner) -> Result<Owner> {
        Ok(self.lock().owners.entry(owner.id.clone()).or_insert_with(|| owner.clone()).clone())
    }

    async fn owner(&self, id: &OwnerId) -> Result<Option<Owner>> {
        Ok(self.lock().owners.get(id).cloned())
    }

    async fn set_plan(&self, id: &OwnerId, plan: Option<&str>) -> Result<bool> {
        let mut tables = self.lock();
        let Some(owner) = tables.owners.get_mut(id) else { return Ok(false) };
        owner.plan = plan.map(Into::into);
        Ok(true)
    }

    async fn return_urls(&self, id: &OwnerId) -> Result<Vec<String>> {
        let tables = self.lock();
        Ok(tables.returns.get(id).into_iter().flatten().cloned().collect())
    }

    async fn allow_return(&self, id: &OwnerId, url: &str, most: u32) -> Result<bool> {
        let mut tables = self.lock();
        let urls = tables.returns.entry(id.clone()).or_default();
        if urls.len() >= most as usize && !urls.contains(url) {
            return Ok(false);
        }
        urls.insert(url.to_owned());
        Ok(true)
    }

    async fn forbid_return(&self, id: &OwnerId, url: &str) -> Result<bool> {
        Ok(self.lock().returns.get_mut(id).is_some_and(|urls| urls.remove(url)))
    }
}
