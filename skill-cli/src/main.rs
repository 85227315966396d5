//! The program: serves, and does from the command line what the server does for programs.
//!
//! The order of the `mod` lines is the dependency order: a module uses only modules above it.

mod output;
mod failure;
mod log;
mod config;
mod home;
mod archive;
mod assemble;
mod wire;
mod door;
mod prompt;
mod params;
mod context;
mod server;
mod demo;
mod command;
mod args;

use std::{process::ExitCode, time::Duration};

use anyhow::Context as _;
use clap::Parser as _;

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long what runs in the background may take when the program ends.
const LAST_MOMENT: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    #[cfg(target_os = "linux")]
    if let Some(code) = skill_core::command::launch() {
        return code;
    }
    let args = args::Args::parse();
    // Whatever this program makes is its owner's alone: the database, the key, the socket.
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    match run(args) {
        Ok(code) => code,
        Err(error) => failure::report(&error).into(),
    }
}

fn run(args: args::Args) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.context("the runtime cannot be started")?;
    let code = runtime.block_on(args.run());
    runtime.shutdown_timeout(LAST_MOMENT);
    code
}
