//! Facts about the memory store.

use async_trait::async_trait;

use super::MemoryStore;
use crate::{error::Result, store::MetaStore};

#[async_trait]
impl MetaStore for MemoryStore {
    async fn meta(&self, name: &str) -> Result<Option<Vec<u8>>> {
        Ok(self.lock().meta.get(name).cloned())
    }

    async fn meta_or_insert(&self, name: &str, value: &[u8]) -> Result<Vec<u8>> {
        let mut tables = self.lock();
        Ok(tables.meta.entry(name.to_owned()).or_insert_with(|| value.to_vec()).clone())
    }

    async fn ping(&self) -> Result<()> {
        Ok(())
    }
}
