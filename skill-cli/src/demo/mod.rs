//! The walk that shows the engine at work, and the outside service that it needs.

mod browser;
mod service;
pub(crate) mod walk;
