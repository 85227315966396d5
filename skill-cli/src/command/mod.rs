//! The commands, one file each.

pub(crate) mod app;
pub(crate) mod audit;
pub(crate) mod backup;
pub(crate) mod call;
pub(crate) mod catalog;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod connect;
pub(crate) mod connection;
mod connection_import;
pub(crate) mod connections;
pub(crate) mod demo;
pub(crate) mod doctor;
pub(crate) mod key;
pub(crate) mod plan;
pub(crate) mod restore;
pub(crate) mod revoke_everything;
pub(crate) mod return_url;
pub(crate) mod run;
pub(crate) mod runs;
pub(crate) mod schedules;
pub(crate) mod seal;
pub(crate) mod serve;
pub(crate) mod setup;
pub(crate) mod tools;
pub(crate) mod triggers;
mod watch;
pub(crate) mod webhooks;

/// Whose data a command works on.
#[derive(Debug, clap::Args)]
pub(crate) struct Owner {
    /// The owner (tenant) to act for
    #[arg(long, value_name = "OWNER", default_value = "default")]
    pub(crate) owner: String,
}

/// A list in one argument: `github,gmail`.
fn list(text: Option<&str>) -> Option<Vec<String>> {
    let items = |text: &str| text.split(',').map(|item| item.trim().to_owned()).collect();
    text.map(items)
}
