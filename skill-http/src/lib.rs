//! A hyper server around `skill-core`: HTTP/1.1 and HTTP/2, routes as data, dialects as renderings.
//!
//! The order of the `mod` lines is the dependency order: a module uses only modules above it.

mod guard;
mod server;
mod host;
mod credentials;
mod reply;
mod request;
mod metrics;
mod app;
mod compress;
mod dialect;
mod openapi;
mod health;
mod operator;
mod pages;
mod service;
mod door;

pub use crate::{
    door::{Dialects, Server, Settings},
    metrics::Metrics,
};
