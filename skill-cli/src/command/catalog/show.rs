//! `skill catalog show`

use std::process::ExitCode;

use serde_json::{Value, json};
use skill_core::{declaration::Problem, integration};

use super::{find, proof, verified};
use crate::{
    assemble,
    config::Config,
    context::{Context, Global},
    failure::Failure,
    home::Home,
    output::escaped,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Show {
    /// The integration, such as github
    integration: String,
}

impl Show {
    pub(super) fn run(self, global: &Global) -> anyhow::Result<ExitCode> {
        let Context { loaded, output } = global.context()?;
        let config = &loaded.config;
        let found = find(config, &self.integration)?;
        let info = found.info();
        let (file, text) = text(config, info.slug.canonical())?;
        let overrides = assemble::overrides(config).remove(info.slug.canonical());
        let declaration = integration::effective(&file, &text, &overrides.unwrap_or_default());
        let declaration = declaration.map_err(|problems| unreadable(&problems))?;
        let shown = json!({
            "slug": info.slug.as_str(),
            "file": file,
            "verified": verified(&*found),
            "proof": proof(info.verified),
            "source": info.source,
            "declaration": declaration,
        });
        let head = format!(
            "# {} ({file})\n# {}: {}\n\n",
            info.slug,
            verified(&*found).unwrap_or("-"),
            proof(info.verified),
        );
        output.show(&shown, || escaped(&(head + &toml(&declaration))))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Where the declaration of that name lies, and its text: the operator's own before the bundled.
fn text(config: &Config, slug: &str) -> anyhow::Result<(String, String)> {
    let own = assemble::declarations(config, &Home::of(config))?.into_iter().find(|(path, _)| {
        let stem = path.rsplit('/').next().unwrap_or(path).trim_end_matches(".toml");
        stem.replace('_', "-") == slug
    });
    let bundled = || integration::bundled_text(slug).map(|(f, t)| (f.to_owned(), t.to_owned()));
    let missing = || Failure::new(format!("`{slug}` is not declared in a file"));
    Ok(own.or_else(bundled).ok_or_else(missing)?)
}

fn unreadable(problems: &[Problem]) -> Failure {
    let failure = Failure::new("the declaration cannot be read");
    problems.iter().fold(failure, |all, one| all.detail(one.to_string()))
}

/// What JSON has and TOML lacks is left out: nothing in a declaration is `null`.
fn toml(declaration: &Value) -> String {
    toml::to_string_pretty(declaration).unwrap_or_else(|_| format!("{declaration:#}"))
}
