//! The parts of a store that ask for runs: the clock's and those of addresses.

use async_trait::async_trait;
use jiff::Timestamp;

use crate::{
    error::Result,
    id::{ExecutionId, ScheduleId, TriggerId},
    name::OwnerId,
    record::{
        flow::TokenHash,
        schedule::{Fired, Firing, Schedule},
        trigger::{Source, Trigger},
    },
};

/// Schedules: runs that the clock asks for.
#[async_trait]
pub trait ScheduleStore {
    /// Keeps a new schedule, durably, unless its owner has `most` already: then nothing changes and
    /// it returns false. Counting and keeping are one transaction.
    async fn insert_schedule(&self, schedule: &Schedule, most: u32) -> Result<bool>;
    /// The owner's schedules, the newest first.
    async fn schedules(&self, owner: &OwnerId) -> Result<Vec<Schedule>>;
    /// Replaces a schedule that still stands as it was `seen`, durably, by `to`, whose id and owner are
    /// the same. False when it is another by now, or gone.
    async fn change_schedule(&self, seen: &Schedule, to: &Schedule) -> Result<bool>;
    /// Removes a schedule, durably. False when the owner has no such schedule.
    async fn delete_schedule(&self, owner: &OwnerId, id: ScheduleId) -> Result<bool>;
    /// Every owner's schedules that are due at `now`, those that have been for the longest first,
    /// behind `after`, at most `most`.
    async fn due_schedules(
        &self,
        now: Timestamp,
        after: Option<(Timestamp, ScheduleId)>,
        most: u32,
    ) -> Result<Vec<Schedule>>;
    /// The earliest time at which a schedule is due, whoever owns it.
    async fn next_schedule(&self) -> Result<Option<Timestamp>>;
    /// Moves a schedule on and queues its run, durably, in one transaction: a due time makes one
    /// run, on all nodes together, however often somebody dies over it. A firing that makes no run
    /// although the schedule says why is announced as of `firing.at`: see
    /// [`OutboxStore`](super::OutboxStore).
    async fn fire(&self, firing: &Firing) -> Result<Fired>;
}

/// Triggers: addresses whose requests make runs.
#[async_trait]
pub trait TriggerStore {
    /// Keeps a new trigger, durably, unless its owner has `most` already: then nothing changes and
    /// it returns false. Counting and keeping are one transaction.
    async fn insert_trigger(&self, trigger: &Trigger, most: u32) -> Result<bool>;
    /// The owner's triggers, the newest first.
    async fn triggers(&self, owner: &OwnerId) -> Result<Vec<Trigger>>;
    /// Finds a trigger by its token, whoever owns it: this is how an owner is found.
    async fn trigger_by_token(&self, token: &TokenHash) -> Result<Option<Trigger>>;
    /// Removes a trigger, durably. False when the owner has no such trigger.
    async fn delete_trigger(&self, owner: &OwnerId, id: TriggerId) -> Result<bool>;
    /// What began the owner's run besides a key, and who is told how it ends.
    async fn source(&self, owner: &OwnerId, run: ExecutionId) -> Result<Option<Source>>;
}
