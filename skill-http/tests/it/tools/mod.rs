//! The *tools* dialect.

mod catalog;
mod events;
mod executions;
mod invoke;
mod keys;
mod queued;
mod quotas;
mod replays;
mod webhooks;
