//! The outbox in memory.

use std::collections::{BTreeMap, VecDeque};

use async_trait::async_trait;
use jiff::Timestamp;

use super::{MemoryStore, Tables, exists};
use crate::{
    error::Result,
    id::{DeliveryId, WebhookId},
    name::OwnerId,
    record::{
        delivery::{Announcement, Claim, Claimed, Delivery, Lease, Next, Settled, State, Subject},
        run::Worker,
        trigger::Callback,
    },
    store::{DeliveryFilter, OutboxStore},
};

/// A delivery, and who holds it.
pub(super) struct Kept {
    delivery: Delivery,
    /// Who holds it until when.
    held: Option<(Worker, Timestamp)>,
    fencing: u64,
}

impl Kept {
    /// When somebody may claim it; `None` when it has ended.
    fn due(&self) -> Option<Timestamp> {
        let until = self.held.as_ref().map(|(_, until)| *until);
        let is_waiting = self.delivery.state == State::Waiting;
        until.or(self.delivery.due_at).filter(|_| is_waiting)
    }

    fn start(&mut self, want: &Claim) -> Lease {
        self.fencing += 1;
        self.held = Some((want.worker.clone(), want.until));
        self.delivery.due_at = None;
        self.delivery.attempts += 1;
        let (owner, id) = (self.delivery.owner.clone(), self.delivery.id);
        Lease { owner, id, worker: want.worker.clone(), fencing: self.fencing }
    }

    fn settle(&mut self, settled: &Settled) {
        self.held = None;
        let delivery = &mut self.delivery;
        if settled.next == Next::Undone {
            delivery.attempts = delivery.attempts.saturating_sub(1);
            delivery.due_at = Some(settled.at);
            return;
        }
        (delivery.status, delivery.error) = (settled.status, settled.error.clone());
        delivery.attempted_at = Some(settled.at);
        match settled.next {
            Next::Again(at) => return delivery.due_at = Some(at),
            Next::Delivered => delivery.state = State::Delivered,
            Next::Dead | Next::Undone => delivery.state = State::Dead,
        }
        delivery.ended_at = Some(settled.at);
    }
}

#[async_trait]
impl OutboxStore for MemoryStore {
    async fn insert_delivery(&self, delivery: &Delivery) -> Result<()> {
        let mut tables = self.lock();
        if tables.deliveries.contains_key(&delivery.id) {
            return Err(exists("a delivery"));
        }
        tables.put_delivery(delivery.clone());
        Ok(())
    }

    async fn claim_deliveries(&self, want: &Claim) -> Result<Vec<Claimed>> {
        let mut tables = self.lock();
        let picked = tables.pick_deliveries(want);
        let claimed = picked.into_iter().filter_map(|id| {
            let kept = tables.deliveries.get_mut(&id)?;
            let (lease, delivery) = (kept.start(want), kept.delivery.clone());
            let subscription = delivery.webhook.and_then(|id| tables.webhooks.get(&id).cloned());
            let callback = tables.callback_of(&delivery);
            Some(Claimed { lease, delivery, subscription, callback })
        });
        Ok(claimed.collect())
    }

    async fn settle_deliveries(&self, settled: &[Settled]) -> Result<Vec<bool>> {
        let mut tables = self.lock();
        let kept = settled.iter().map(|settled| {
            let lease = &settled.lease;
            let held = tables.deliveries.get_mut(&lease.id).filter(|kept| {
                kept.delivery.owner == lease.owner
                    && kept.fencing == lease.fencing
                    && kept.held.as_ref().is_some_and(|(worker, _)| *worker == lease.worker)
            });
            held.map(|kept| kept.settle(settled)).is_some()
        });
        Ok(kept.collect())
    }

    async fn adopt_deliveries(&self, now: Timestamp) -> Result<u64> {
        let mut tables = self.lock();
        let mut adopted = 0;
        for (_, until) in tables.deliveries.values_mut().filter_map(|kept| kept.held.as_mut()) {
            *until = now.min(*until);
            adopted += 1;
        }
        Ok(adopted)
    }

    async fn next_delivery(&self, now: Timestamp) -> Result<Option<Timestamp>> {
        let tables = self.lock();
        Ok(tables.deliveries.values().filter_map(Kept::due).min().map(|due| due.max(now)))
    }

    async fn stirred(&self) -> Result<()> {
        let stirred = self.lock().stirred.clone();
        stirred.notified().await;
        Ok(())
    }

    async fn deliveries(
        &self,
        owner: &OwnerId,
        webhook: WebhookId,
        filter: &DeliveryFilter,
    ) -> Result<(Vec<Delivery>, u64)> {
        let tables = self.lock();
        let all = || tables.deliveries.values().rev().map(|kept| &kept.delivery);
        let wanted = || {
            all().filter(|delivery| {
                delivery.owner == *owner
                    && delivery.webhook == Some(webhook)
                    && filter.state.is_none_or(|state| delivery.state == state)
            })
        };
        let skip = usize::try_from(filter.offset).unwrap_or(usize::MAX);
        let page = wanted().skip(skip).take(filter.limit as usize).cloned().collect();
        Ok((page, wanted().count() as u64))
    }

    async fn revive_delivery(
        &self,
        owner: &OwnerId,
        (webhook, id): (WebhookId, DeliveryId),
        now: Timestamp,
    ) -> Result<Option<Delivery>> {
        let mut tables = self.lock();
        let known = tables
            .deliveries
            .get_mut(&id)
            .filter(|kept| kept.delivery.owner == *owner && kept.delivery.webhook == Some(webhook));
        let Some(kept) = known else { return Ok(None) };
        let delivery = &mut kept.delivery;
        if delivery.state != State::Waiting {
            (delivery.state, delivery.attempts, delivery.ended_at) = (State::Waiting, 0, None);
        }
        if kept.held.is_none() {
            delivery.due_at = Some(now);
        }
        let revived = delivery.clone();
        tables.stirred.notify_one();
        Ok(Some(revived))
    }

    async fn prune_deliveries(&self, before: Timestamp, most: u32) -> Result<u64> {
        let mut tables = self.lock();
        let old = tables
            .deliveries
            .iter()
            .filter(|(_, kept)| kept.delivery.ended_at.is_some_and(|end| end < before));
        let old: Vec<_> = old.map(|(id, _)| *id).take(most as usize).collect();
        old.iter().for_each(|id| drop(tables.deliveries.remove(id)));
        Ok(old.len() as u64)
    }
}

impl Tables {
    /// Where a message goes that no subscription wants.
    fn callback_of(&self, delivery: &Delivery) -> Option<Callback> {
        let Subject::Run(id) = &delivery.subject else { return None };
        let source = self.run(&delivery.owner, *id)?.source.as_ref();
        source?.callback.clone().filter(|_| delivery.webhook.is_none())
    }

    pub(super) fn put_delivery(&mut self, delivery: Delivery) {
        self.deliveries.insert(delivery.id, Kept { delivery, held: None, fencing: 0 });
        self.stirred.notify_one();
    }

    /// Keeps a message for everybody who wants to know.
    pub(super) fn announce(&mut self, what: &Announcement<'_>) -> Result<()> {
        let known = self.webhooks.values().filter(|webhook| webhook.owner == *what.news.owner);
        let made = what.deliveries(known)?;
        made.into_iter().for_each(|delivery| self.put_delivery(delivery));
        Ok(())
    }

    /// What is to be claimed, in the order of the turns.
    fn pick_deliveries(&self, want: &Claim) -> Vec<DeliveryId> {
        let mut due: BTreeMap<&str, Vec<&Kept>> = BTreeMap::new();
        for kept in self.deliveries.values() {
            if kept.due().is_some_and(|due| due <= want.now) {
                due.entry(&kept.delivery.endpoint).or_default().push(kept);
            }
        }
        let mut turns: Vec<VecDeque<_>> = due
            .into_values()
            .map(|mut kept| {
                kept.sort_by_key(|kept| (kept.due(), kept.delivery.id));
                kept.into()
            })
            .collect();
        let first = turns.partition_point(|turn: &VecDeque<&Kept>| {
            let endpoint = turn.front().map(|kept| kept.delivery.endpoint.as_str());
            want.after.is_some() && endpoint <= want.after.as_deref()
        });
        turns.rotate_left(first);
        let (mut rooms, mut picked) = (want.rooms.clone(), Vec::new());
        while !turns.is_empty() && rooms.left() > 0 {
            turns.retain_mut(|turn| {
                let next = turn.pop_front().map(|kept| &kept.delivery);
                let next = next.filter(|next| rooms.take(&next.owner, &next.endpoint));
                picked.extend(next.map(|next| next.id));
                next.is_some()
            });
        }
        picked
    }
}
