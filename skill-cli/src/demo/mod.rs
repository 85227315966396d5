//! The walk that shows the engine at work.

mod service;

pub(crate) use service::{Client, DemoService, Settings};
