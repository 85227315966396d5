//! What the server promises, seen from outside: a real listener, real sockets, a scripted service
//! behind it. One binary, one module per topic.

#![allow(clippy::unwrap_used)]

mod bodies;
mod collect;
mod connect;
mod connections;
mod device;
mod dialects;
mod discovery;
mod envelope;
mod errors;
mod execute;
mod health;
mod host;
mod idempotency;
mod keys;
mod limits;
mod openapi;
mod operator;
mod pages;
mod raw;
mod routes;
mod secrets;
mod skills;
mod tools;
mod world;
