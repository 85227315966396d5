//! Runs an AI agent's actions against the outside world.
//!
//! The order of the `mod` lines is the dependency order: a module uses only modules above it.

mod cache;
pub mod error;
pub mod clock;
pub mod id;
pub mod name;
pub mod json;
pub mod declaration;
pub mod schema;
pub mod record;
pub mod pages;
pub mod call;
pub mod tool;
pub mod store;
pub mod transport;
mod template;
pub mod raw;
pub mod credential;
pub mod artifact;
pub mod endpoint;
pub mod integration;
pub mod skill;
pub mod catalog;
pub mod access;
pub mod link;
pub mod login;
pub mod connections;
pub mod apps;
pub mod agents;
pub mod executor;
pub mod queue;
pub mod connect;
pub mod webhook;
pub mod schedule;
pub mod trigger;
pub mod reseal;
pub mod engine;

pub use crate::{
    engine::Engine,
    error::{Error, ErrorKind, Result},
};
