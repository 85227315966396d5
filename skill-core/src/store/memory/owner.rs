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
}
