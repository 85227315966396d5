//! The audit in memory.

use async_trait::async_trait;

use super::MemoryStore;
use crate::{error::Result, name::OwnerId, record::audit::Entry, store::AuditStore};

#[async_trait]
impl AuditStore for MemoryStore {
    async fn append_audit(&self, entry: &Entry) -> Result<()> {
        self.lock().audit.push(entry.clone());
        Ok(())
    }

    async fn audit(&self, owner: &OwnerId, most: u32) -> Result<Vec<Entry>> {
        let tables = self.lock();
        let mine = tables.audit.iter().rev().filter(|entry| entry.owner == *owner);
        Ok(mine.take(most as usize).cloned().collect())
    }
}
