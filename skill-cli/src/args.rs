//! The command line. A command is a file under `command` and a line in [`Command`].

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::{
    command::{
        app, audit, backup, call, catalog, completions, config, connect, connection, connections,
        demo, doctor, key, plan, restore, return_url, revoke_everything, run, runs, schedules,
        seal, serve, setup, tools, triggers, webhooks,
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
    Setup(setup::Setup),
    Connect(connect::Connect),
    Connections(connections::Connections),
    #[command(subcommand)]
    Connection(connection::Connection),
    #[command(subcommand)]
    Key(key::Key),
    #[command(subcommand)]
    App(app::App),
    #[command(subcommand)]
    Webhooks(webhooks::Webhooks),
    #[command(subcommand)]
    Schedules(schedules::Schedules),
    #[command(subcommand)]
    Triggers(triggers::Triggers),
    #[command(subcommand)]
    ReturnUrl(return_url::ReturnUrl),
    #[command(subcommand)]
    Plan(plan::Plan),
    Audit(audit::Audit),
    Doctor(doctor::Doctor),
    Backup(backup::Backup),
    Restore(restore::Restore),
    #[command(subcommand)]
    Seal(seal::Seal),
    RevokeEverything(revoke_everything::RevokeEverything),
    Config(config::Show),
    Completions(completions::Completions),
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
            Command::Setup(command) => command.run(global).await,
            Command::Connect(command) => command.run(global).await,
            Command::Connections(command) => command.run(global).await,
            Command::Connection(command) => command.run(global).await,
            Command::Key(command) => command.run(global).await,
            Command::App(command) => command.run(global).await,
            Command::Webhooks(command) => command.run(global).await,
            Command::Schedules(command) => command.run(global).await,
            Command::Triggers(command) => command.run(global).await,
            Command::ReturnUrl(command) => command.run(global).await,
            Command::Plan(command) => command.run(global).await,
            Command::Audit(command) => command.run(global).await,
            Command::Doctor(command) => command.run(global).await,
            Command::Backup(command) => command.run(global).await,
            Command::Restore(command) => command.run(global).await,
            Command::Seal(command) => command.run(global).await,
            Command::RevokeEverything(command) => command.run(global).await,
            Command::Config(command) => command.run(global),
            Command::Completions(command) => command.run::<Self>(),
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
