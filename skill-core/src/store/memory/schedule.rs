//! Schedules and triggers in memory.

use async_trait::async_trait;
use jiff::Timestamp;

use super::{MemoryStore, exists};
use crate::{
    error::Result,
    id::{ExecutionId, ScheduleId, TriggerId},
    name::OwnerId,
    record::{
        delivery::Announcement,
        flow::TokenHash,
        run::Enqueued,
        schedule::{Fired, Firing, Schedule},
        trigger::{Source, Trigger},
    },
    store::{ScheduleStore, TriggerStore},
};

#[async_trait]
impl ScheduleStore for MemoryStore {
    async fn insert_schedule(&self, schedule: &Schedule, most: u32) -> Result<bool> {
        let mut tables = self.lock();
        let known = tables.schedules.values().filter(|known| known.owner == schedule.owner);
        if known.count() >= most as usize {
            return Ok(false);
        }
        if tables.schedules.contains_key(&schedule.id) {
            return Err(exists("a schedule"));
        }
        tables.schedules.insert(schedule.id, schedule.clone());
        Ok(true)
    }

    async fn schedules(&self, owner: &OwnerId) -> Result<Vec<Schedule>> {
        let tables = self.lock();
        let all = tables.schedules.values().rev().filter(|known| known.owner == *owner);
        Ok(all.cloned().collect())
    }

    async fn change_schedule(&self, seen: &Schedule, to: &Schedule) -> Result<bool> {
        let mut tables = self.lock();
        let stands = tables.schedules.get_mut(&seen.id).filter(|stands| *stands == seen);
        Ok(stands.map(|stands| stands.clone_from(to)).is_some())
    }

    async fn delete_schedule(&self, owner: &OwnerId, id: ScheduleId) -> Result<bool> {
        let mut tables = self.lock();
        let is_there = tables.schedules.get(&id).is_some_and(|known| known.owner == *owner);
        Ok(is_there && tables.schedules.remove(&id).is_some())
    }

    async fn due_schedules(
        &self,
        now: Timestamp,
        after: Option<(Timestamp, ScheduleId)>,
        most: u32,
    ) -> Result<Vec<Schedule>> {
        let tables = self.lock();
        let all = tables.schedules.values();
        let due = all.filter_map(|known| Some(((known.next_run_at?, known.id), known)));
        let due = due.filter(|(at, _)| at.0 <= now && after.is_none_or(|after| after < *at));
        let mut due: Vec<_> = due.collect();
        due.sort_by_key(|(at, _)| *at);
        Ok(due.into_iter().take(most as usize).map(|(_, known)| known.clone()).collect())
    }

    async fn next_schedule(&self) -> Result<Option<Timestamp>> {
        Ok(self.lock().schedules.values().filter_map(|known| known.next_run_at).min())
    }

    async fn fire(&self, firing: &Firing) -> Result<Fired> {
        let mut tables = self.lock();
        if tables.schedules.get(&firing.seen.id) != Some(&firing.seen) {
            return Ok(Fired::Late);
        }
        if let Some(run) = &firing.run
            && tables.has_run(&run.execution.owner, run.execution.id)
        {
            return Err(exists("a run"));
        }
        let enqueued = firing.run.as_ref().map(|run| tables.enqueue(run)).transpose()?;
        if enqueued == Some(Enqueued::Full) {
            return Ok(Fired::Full);
        }
        if let Some(what) = Announcement::of_firing(firing) {
            tables.announce(&what)?;
        }
        tables.schedules.insert(firing.seen.id, firing.then.clone());
        Ok(Fired::Done(enqueued))
    }
}

#[async_trait]
impl TriggerStore for MemoryStore {
    async fn insert_trigger(&self, trigger: &Trigger, most: u32) -> Result<bool> {
        let mut tables = self.lock();
        let known = tables.triggers.values().filter(|known| known.owner == trigger.owner);
        if known.count() >= most as usize {
            return Ok(false);
        }
        let is_taken = tables.triggers.values().any(|known| known.token == trigger.token);
        if is_taken || tables.triggers.contains_key(&trigger.id) {
            return Err(exists("a trigger"));
        }
        tables.triggers.insert(trigger.id, trigger.clone());
        Ok(true)
    }

    async fn triggers(&self, owner: &OwnerId) -> Result<Vec<Trigger>> {
        let tables = self.lock();
        let all = tables.triggers.values().rev().filter(|known| known.owner == *owner);
        Ok(all.cloned().collect())
    }

    async fn trigger_by_token(&self, token: &TokenHash) -> Result<Option<Trigger>> {
        let tables = self.lock();
        Ok(tables.triggers.values().find(|known| known.token == *token).cloned())
    }

    async fn delete_trigger(&self, owner: &OwnerId, id: TriggerId) -> Result<bool> {
        let mut tables = self.lock();
        let is_there = tables.triggers.get(&id).is_some_and(|known| known.owner == *owner);
        Ok(is_there && tables.triggers.remove(&id).is_some())
    }

    async fn source(&self, owner: &OwnerId, run: ExecutionId) -> Result<Option<Source>> {
        Ok(self.lock().run(owner, run).and_then(|kept| kept.source.clone()))
    }
}
