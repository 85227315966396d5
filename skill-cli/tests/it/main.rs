//! The program as people run it: the real binary, data directories of its own, real sockets.

#![allow(clippy::unwrap_used)]

mod catalog;
mod commands;
mod config;
mod fixture;
mod manage;
mod runs;
mod serve;
