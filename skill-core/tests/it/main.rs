//! What the crate promises, seen from outside: one binary, one module per topic.

#![allow(clippy::unwrap_used)]

mod action_limits;
mod architecture;
mod call;
mod connect;
mod fixture;
mod history;
mod idempotency;
mod keys;
mod limits;
mod provider;
mod renew;
mod retry;
mod script;
mod secrets;
mod store;
mod transport;
mod watched;
