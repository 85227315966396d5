//! Keys in memory.

use async_trait::async_trait;
use jiff::Timestamp;

use super::{MemoryStore, exists};
use crate::{
    error::Result,
    id::KeyId,
    name::OwnerId,
    record::key::{Key, KeyHash},
    store::KeyStore,
};

#[async_trait]
impl KeyStore for MemoryStore {
    async fn insert_key(&self, key: &Key, most: Option<u32>) -> Result<bool> {
        let mut tables = self.lock();
        let live =
            tables.keys.values().filter(|k| k.owner == key.owner && k.is_live(key.created_at));
        if most.is_some_and(|most| live.count() >= most as usize) {
            return Ok(false);
        }
        if tables.keys.contains_key(&key.id) || tables.key_hashes.contains_key(&key.hash) {
            return Err(exists("a key"));
        }
        tables.key_hashes.insert(key.hash, key.id);
        tables.keys.insert(key.id, key.clone());
        Ok(true)
    }

    async fn key_by_hash(&self, hash: &KeyHash) -> Result<Option<Key>> {
        let tables = self.lock();
        Ok(tables.key_hashes.get(hash).and_then(|id| tables.keys.get(id)).cloned())
    }

    async fn keys(&self, owner: &OwnerId) -> Result<Vec<Key>> {
        let tables = self.lock();
        Ok(tables.keys.values().rev().filter(|key| key.owner == *owner).cloned().collect())
    }

    async fn revoke_key(&self, owner: &OwnerId, id: KeyId, at: Timestamp) -> Result<bool> {
        let mut tables = self.lock();
        let Some(key) = tables.keys.get_mut(&id).filter(|key| key.owner == *owner) else {
            return Ok(false);
        };
        key.revoked_at.get_or_insert(at);
        Ok(true)
    }
}
