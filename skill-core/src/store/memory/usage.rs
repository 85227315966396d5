//! Usage in memory.

use async_trait::async_trait;

use super::MemoryStore;
use crate::{
    error::Result,
    name::OwnerId,
    record::usage::{Reserve, Share},
    store::UsageStore,
};

#[async_trait]
impl UsageStore for MemoryStore {
    async fn reserve(&self, owner: &OwnerId, reserve: &Reserve) -> Result<Share> {
        let place = (owner.clone(), reserve.subject.clone(), reserve.window);
        Ok(self.lock().usage.entry(place).or_default().settle(reserve))
    }
}
