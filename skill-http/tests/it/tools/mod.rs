//! The *tools* dialect.

mod catalog;
mod deliveries;
mod events;
mod executions;
mod invoke;
mod keys;
mod poison;
mod queued;
mod quotas;
mod replays;
mod webhooks;
