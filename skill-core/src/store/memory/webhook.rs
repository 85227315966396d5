//! Webhooks in memory.

use async_trait::async_trait;

use super::{MemoryStore, exists};
use crate::{
    error::Result,
    id::WebhookId,
    name::OwnerId,
    record::webhook::{Change, Subscription},
    store::WebhookStore,
};

#[async_trait]
impl WebhookStore for MemoryStore {
    async fn insert_webhook(&self, webhook: &Subscription, most: u32) -> Result<bool> {
        let mut tables = self.lock();
        let known = tables.webhooks.values().filter(|known| known.owner == webhook.owner);
        if known.count() >= most as usize {
            return Ok(false);
        }
        if tables.webhooks.contains_key(&webhook.id) {
            return Err(exists("a webhook"));
        }
        tables.webhooks.insert(webhook.id, webhook.clone());
        Ok(true)
    }

    async fn webhooks(&self, owner: &OwnerId) -> Result<Vec<Subscription>> {
        let tables = self.lock();
        Ok(tables.webhooks.values().rev().filter(|known| known.owner == *owner).cloned().collect())
    }

    async fn change_webhook(&self, owner: &OwnerId, id: WebhookId, to: &Change) -> Result<bool> {
        let mut tables = self.lock();
        let known = tables.webhooks.get_mut(&id).filter(|known| known.owner == *owner);
        let Some(known) = known else { return Ok(false) };
        match to.clone() {
            Change::Secret(secret, until) => {
                let before = std::mem::replace(&mut known.secret, secret);
                known.previous = Some((before, until));
            }
            Change::Disable(disabled) => _ = known.disabled.get_or_insert(disabled),
            Change::Enable(actions, scopes) => {
                (known.actions, known.scopes, known.disabled) = (actions, scopes, None);
            }
            Change::Edit(url, events) => (known.url, known.events) = (url, events),
        }
        Ok(true)
    }

    async fn delete_webhook(&self, owner: &OwnerId, id: WebhookId) -> Result<bool> {
        let mut tables = self.lock();
        let is_there = tables.webhooks.get(&id).is_some_and(|known| known.owner == *owner);
        Ok(is_there && tables.webhooks.remove(&id).is_some())
    }
}
