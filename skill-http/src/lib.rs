//! A hyper server around `skill-core`: HTTP/1.1 and HTTP/2, routes as data, dialects as renderings.
//!
//! The order of the `mod` lines is the dependency order: a module uses only modules above it.

mod app;
mod compress;
mod credentials;
mod dialect;
mod door;
mod guard;
mod health;
mod host;
mod metrics;
mod openapi;
mod operator;
mod pages;
mod reply;
mod request;
mod route;
mod server;
mod service;

pub use crate::{
    door::{Server, Settings},
    metrics::Metrics,
};
