//! The server.

#[allow(dead_code)]
mod guard;
#[allow(dead_code)]
mod server;
