//! Keys in memory.

use async_trait::async_trait;
use jiff::Timestamp;

use super::{MemoryStore, Tables, exists};
use crate::{
    error::Result,
    id::KeyId,
    name::OwnerId,
    record::key::{Change, Key, KeyHash, Rotate, Rotation},
    store::KeyStore,
};

#[async_trait]
impl KeyStore for MemoryStore {
    async fn insert_key(&self, key: &Key, most: Option<u32>) -> Result<bool> {
        let mut tables = self.lock();
        if !tables.has_room(key, None, most) {
            return Ok(false);
        }
        tables.insert_key(key).map(|()| true)
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

    async fn change_key(&self, owner: &OwnerId, id: KeyId, to: &Change) -> Result<Option<Key>> {
        let mut tables = self.lock();
        let Some(key) = tables.keys.get_mut(&id).filter(|key| key.owner == *owner) else {
            return Ok(None);
        };
        let Change { name, scopes, tier, expires_at } = to.clone();
        key.name = name.unwrap_or_else(|| key.name.clone());
        key.scopes = scopes.unwrap_or_else(|| key.scopes.clone());
        key.tier = tier.or_else(|| key.tier.clone());
        key.expires_at = expires_at.unwrap_or(key.expires_at);
        Ok(Some(key.clone()))
    }

    async fn rotate_key(&self, owner: &OwnerId, rotate: &Rotate) -> Result<Rotation> {
        let Rotate { old: id, successor, end, most } = rotate;
        let (id, end) = (*id, *end);
        let mut tables = self.lock();
        let at = successor.created_at;
        if !tables.keys.get(&id).is_some_and(|key| key.owner == *owner && key.is_live(at)) {
            return Ok(Rotation::Ended);
        }
        if end > at && !tables.has_room(successor, Some(id), *most) {
            return Ok(Rotation::Full);
        }
        tables.insert_key(successor)?;
        if let Some(old) = tables.keys.get_mut(&id) {
            if end > at {
                old.expires_at = Some(old.expires_at.map_or(end, |earlier| earlier.min(end)));
            } else {
                old.revoked_at = Some(at);
            }
        }
        Ok(Rotation::Done)
    }
}

impl Tables {
    /// Whether the owner of `key` has fewer than `most` live ones besides `except`.
    fn has_room(&self, key: &Key, except: Option<KeyId>, most: Option<u32>) -> bool {
        let live = |k: &&Key| k.owner == key.owner && k.is_live(key.created_at);
        let count = self.keys.values().filter(live).filter(|k| Some(k.id) != except).count();
        most.is_none_or(|most| count < most as usize)
    }

    fn insert_key(&mut self, key: &Key) -> Result<()> {
        if self.keys.contains_key(&key.id) || self.key_hashes.contains_key(&key.hash) {
            return Err(exists("a key"));
        }
        self.key_hashes.insert(key.hash, key.id);
        self.keys.insert(key.id, key.clone());
        Ok(())
    }
}
