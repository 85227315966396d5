//! `skill demo`: the whole walk on one machine.

use std::process::ExitCode;

use crate::{context::Global, demo::walk};

/// Show the engine at work: connect an account, make calls, outlive a token
///
/// It starts a small issue tracker with OAuth and a server, both on free loopback ports, with a
/// data directory of its own that goes when it ends. Nothing else is called, and this machine's
/// configuration is not read.
#[derive(Debug, clap::Args)]
pub(crate) struct Demo {
    /// End after the walk, instead of serving on until Ctrl-C
    #[arg(long)]
    once: bool,
}

impl Demo {
    pub(crate) async fn run(self, global: &Global) -> anyhow::Result<ExitCode> {
        walk::run(global.log_level(), self.once).await?;
        Ok(ExitCode::SUCCESS)
    }
}
