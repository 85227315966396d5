//! The *skills* dialect.

mod agent_webhooks;
mod schedules;
mod triggers;
