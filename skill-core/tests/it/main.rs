//! What the crate promises, seen from outside: one binary, one module per topic.

#![allow(clippy::unwrap_used)]

mod action_limits;
mod architecture;
mod artifact;
mod call;
mod connect;
mod fixture;
mod history;
mod idempotency;
mod keep_alive;
mod keys;
mod limits;
mod login;
mod provider;
mod queue;
mod quotas;
mod renew;
mod retry;
mod rotate;
mod schedules;
mod script;
mod secrets;
mod skill;
mod steps;
mod store;
mod transport;
mod upkeep;
mod watched;
mod webhooks;
