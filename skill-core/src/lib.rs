//! Runs an AI agent's actions against the outside world.
//!
//! The order of the `mod` lines is the dependency order: a module uses only modules above it.

pub mod access;
pub mod link;
pub mod connections;
pub mod apps;
pub mod executor;
mod cache;
pub mod call;
pub mod catalog;
pub mod clock;
pub mod credential;
pub mod declaration;
pub mod endpoint;
pub mod error;
pub mod id;
pub mod integration;
pub mod json;
pub mod name;
pub mod record;
pub mod schema;
pub mod skill;
pub mod store;
pub mod transport;

pub use crate::error::{Error, ErrorKind, Result};
