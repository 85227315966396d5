//! The part of a store that tells: who wants to hear, and what is on its way to them.

use async_trait::async_trait;
use jiff::Timestamp;

use crate::{
    error::Result,
    id::{DeliveryId, WebhookId},
    name::OwnerId,
    record::{
        delivery::{self, Delivery, Settled},
        webhook::{Change, Subscription},
    },
};

/// Webhooks: subscriptions to events.
#[async_trait]
pub trait WebhookStore {
    /// Keeps a new subscription, durably, unless its owner has `most` already: then nothing changes
    /// and it returns false. Counting and keeping are one transaction.
    async fn insert_webhook(&self, webhook: &Subscription, most: u32) -> Result<bool>;
    /// The owner's subscriptions, the newest first.
    async fn webhooks(&self, owner: &OwnerId) -> Result<Vec<Subscription>>;
    /// Changes a subscription, durably. False when the owner has no such subscription.
    async fn change_webhook(&self, owner: &OwnerId, id: WebhookId, to: &Change) -> Result<bool>;
    /// Removes a subscription, durably. False when the owner has no such subscription.
    async fn delete_webhook(&self, owner: &OwnerId, id: WebhookId) -> Result<bool>;
}

/// Which deliveries a listing wants.
///
/// ```
/// let filter = skill_core::store::DeliveryFilter::default();
/// assert_eq!(filter.limit, 50);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryFilter {
    /// In this state only.
    pub state: Option<delivery::State>,
    /// How many at most.
    pub limit: u32,
    /// How many to leave out first.
    pub offset: u64,
}

impl Default for DeliveryFilter {
    fn default() -> Self {
        Self { state: None, limit: 50, offset: 0 }
    }
}

/// The outbox: messages to whoever wants to be told.
///
/// What ends a run or moves a connection ([`record`](super::ExecutionStore::record),
/// [`finish`](super::QueueStore::finish), [`end`](super::QueueStore::end),
/// [`update_connection`](super::ConnectionStore::update_connection),
/// [`delete_connection`](super::ConnectionStore::delete_connection)) announces it in its own transaction:
/// one delivery, due at once, for each subscription that
/// [wants it](crate::record::webhook::Subscription::wants). What ends twice is announced once.
#[async_trait]
pub trait OutboxStore {
    /// Keeps a delivery, durably.
    async fn insert_delivery(&self, delivery: &Delivery) -> Result<()>;
    /// Claims deliveries that are due at `want.now`, durably, in one transaction, as far as
    /// `want.rooms` go; each counts one attempt more. One that is not settled by `want.until` is
    /// due again.
    ///
    /// Endpoints take turns, beginning behind `want.after`; in each turn an endpoint gives the
    /// delivery that has been due for the longest.
    async fn claim_deliveries(&self, want: &delivery::Claim) -> Result<Vec<delivery::Claimed>>;
    /// Says how attempts ended, durably; false for those that somebody else holds by now.
    async fn settle_deliveries(&self, settled: &[Settled]) -> Result<Vec<bool>>;
    /// Lets deliveries be due at `now` that workers hold who certainly are gone; returns how many.
    /// A store that one process has to itself does so with all of them: call it once, before
    /// anything else.
    async fn adopt_deliveries(&self, now: Timestamp) -> Result<u64>;
    /// The earliest time at which a delivery is due; `now` when one is already.
    async fn next_delivery(&self, now: Timestamp) -> Result<Option<Timestamp>>;
    /// Returns when a delivery was kept through this store since this returned last. It may return
    /// without one, and need not know of other processes.
    async fn stirred(&self) -> Result<()>;
    /// The deliveries to the owner's subscription, the newest first, and how many match in all.
    async fn deliveries(
        &self,
        owner: &OwnerId,
        webhook: WebhookId,
        filter: &DeliveryFilter,
    ) -> Result<(Vec<Delivery>, u64)>;
    /// Lets a delivery to the owner's subscription be due at `now`, durably, with no attempt
    /// counted, whether it was delivered or given up. One that waits keeps its attempts; one that is
    /// under way stays as it is. `None` when there is none.
    async fn revive_delivery(
        &self,
        owner: &OwnerId,
        which: (WebhookId, DeliveryId),
        now: Timestamp,
    ) -> Result<Option<Delivery>>;
    /// Removes deliveries that ended before `before`, at most `most`, in small transactions;
    /// returns how many.
    async fn prune_deliveries(&self, before: Timestamp, most: u32) -> Result<u64>;
}
