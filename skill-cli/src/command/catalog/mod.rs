//! `skill catalog`: the declarations of integrations, how far they are proven, and skills that are
//! documents.

mod check;
mod list;
mod new;
mod probe;
mod show;

use std::{process::ExitCode, sync::Arc};

use skill_core::{
    integration::{Integration, Verified},
    name::Slug,
};

use crate::{assemble, config::Config, context::Global, failure::Failure, home::Home};

/// List, show, check and write declarations of integrations and skills, and try one out
///
/// A declaration is one TOML file, a skill a document of the Arazzo Specification; the bundled ones
/// come with the program, your own lie in DATA/integrations and DATA/skills.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Catalog {
    /// List the integrations, how far each is proven, and the skills
    List(list::List),
    /// Show a declaration as it is in force, and how far it is proven, or the document of a skill
    Show(show::Show),
    /// Check declarations and documents, and name every problem with file and line
    Check(check::Check),
    /// Write a new declaration to fill in, with comments
    New(new::New),
    /// Make one harmless call to the service, and say what came back and what that proves
    Probe(probe::Probe),
}

impl Catalog {
    pub(crate) async fn run(self, global: &Global) -> anyhow::Result<ExitCode> {
        match self {
            Self::List(command) => command.run(global),
            Self::Show(command) => command.run(global),
            Self::Check(command) => command.run(global),
            Self::New(command) => command.run(global),
            Self::Probe(command) => command.run(global).await,
        }
    }
}

/// The integration of this name.
fn find(config: &Config, name: &str) -> anyhow::Result<Arc<dyn Integration>> {
    let all = assemble::integrations(config, &Home::of(config))?;
    let slug = Slug::parse(name).ok();
    let found = all.into_iter().find(|known| Some(&known.info().slug) == slug.as_ref());
    let unknown = || {
        Failure::new(format!("there is no integration `{name}`"))
            .hint("`skill catalog list` lists them, `skill catalog new` begins one")
    };
    Ok(found.ok_or_else(unknown)?)
}

/// What a proof is worth, in words.
fn proof(verified: Option<Verified>) -> &'static str {
    match verified {
        None => "it says nothing of how far it is proven",
        Some(Verified::Described) => "written from the service's documentation; nothing was called",
        Some(Verified::Mocked) => {
            "every example was called against a server made of the service's own description"
        }
        Some(Verified::Live) => "called against the service itself",
    }
}

fn verified(of: &dyn Integration) -> Option<&'static str> {
    of.info().verified.map(Verified::as_str)
}

/// Whether it worked, as an exit code.
fn code(is_good: bool) -> ExitCode {
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
