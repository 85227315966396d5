//! The command line. A command is a file under `command` and a line in [`Command`].

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::{
    command::{
        app, audit, call, catalog, config, connect, connection, connections, demo, key, plan, run,
        runs, serve, tools,
    },
    context::Global,
};

/// Runs an AI agent's actions against the outside world, with accounts that people connected.
///
/// One data directory holds everything: keys, connected accounts, history. The server and these
/// commands work on the same data. Commands need no server, but for connecting an account in a
/// browser.
///
/// Exit codes: 0 done, 1 it did not work, 2 the command itself was wrong.
#[derive(Debug, Parser)]
#[command(name = "skill", version, max_term_width = 100)]
pub(crate) struct Args {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Serve),
    Demo(demo::Demo),
    Call(call::Call),
    Run(run::Run),
    #[command(subcommand)]
    Runs(runs::Runs),
    #[command(subcommand)]
    Tools(tools::Tools),
    #[command(subcommand)]
    Catalog(catalog::Catalog),
    Connect(connect::Connect),
    Connections(connections::Connections),
    #[command(subcommand)]
    Connection(connection::Connection),
    #[command(subcommand)]
    Key(key::Key),
    #[command(subcommand)]
    App(app::App),
    #[command(subcommand)]
    Plan(plan::Plan),
    Audit(audit::Audit),
    Config(config::Show),
}

impl Args {
    /// Does what is asked.
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let global = &self.global;
        match self.command {
            Command::Serve(command) => command.run(global).await,
            Command::Demo(command) => command.run(global).await,
            Command::Call(command) => command.run(global).await,
            Command::Run(command) => command.run(global).await,
            Command::Runs(command) => command.run(global).await,
            Command::Tools(command) => command.run(global).await,
            Command::Catalog(command) => command.run(global).await,
            Command::Connect(command) => command.run(global).await,
            Command::Connections(command) => command.run(global).await,
            Command::Connection(command) => command.run(global).await,
            Command::Key(command) => command.run(global).await,
            Command::App(command) => command.run(global).await,
            Command::Plan(command) => command.run(global).await,
            Command::Audit(command) => command.run(global).await,
            Command::Config(command) => command.run(global),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Args::command().debug_assert();
    }

    #[test]
    fn every_command_and_option_says_what_it_is() {
        fn check(command: &clap::Command) {
            assert!(command.get_about().is_some(), "{}", command.get_name());
            for argument in command.get_arguments() {
                assert!(argument.get_help().is_some(), "{} {argument}", command.get_name());
            }
            command.get_subcommands().for_each(check);
        }
        check(&Args::command());
    }
}
