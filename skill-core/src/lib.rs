//! Runs an AI agent's actions against the outside world.
//!
//! The order of the `mod` lines is the dependency order: a module uses only modules above it.

pub mod error;
pub mod id;
pub mod name;
pub mod clock;
pub mod json;
pub mod record;
pub mod transport;
pub mod store;

pub use crate::error::{Error, ErrorKind, Result};
