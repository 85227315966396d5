//! Runs an AI agent's actions against the outside world.
//!
//! The order of the `mod` lines is the dependency order: a module uses only modules above it.

pub mod access;
pub mod apps;
mod cache;
pub mod call;
pub mod catalog;
pub mod clock;
pub mod connect;
pub mod connections;
pub mod credential;
pub mod declaration;
pub mod endpoint;
pub mod engine;
pub mod error;
pub mod executor;
pub mod id;
pub mod integration;
pub mod json;
pub mod link;
pub mod name;
pub mod record;
pub mod schema;
pub mod skill;
pub mod store;
pub mod transport;

pub use crate::{
    engine::Engine,
    error::{Error, ErrorKind, Result},
};
