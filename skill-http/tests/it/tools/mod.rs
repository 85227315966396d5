//! The *tools* dialect.

mod catalog;
mod events;
mod executions;
mod invoke;
mod keys;
mod poison;
mod queued;
mod quotas;
mod replays;
mod webhooks;
