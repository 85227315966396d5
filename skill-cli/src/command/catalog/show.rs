//! `skill catalog show`

use std::process::ExitCode;

use serde_json::{Value, json};
use skill_core::{declaration::Problem, integration, workflow};

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
    /// The integration, such as github, or the skill, such as github/v1.0/workflow
    #[arg(value_name = "INTEGRATION|SKILL")]
    name: String,
}

impl Show {
    pub(super) fn run(self, global: &Global) -> anyhow::Result<ExitCode> {
        let Context { loaded, output } = global.context()?;
        let config = &loaded.config;
        if self.name.contains('/') {
            let (shown, text) = skill(config, &self.name)?;
            output.show(&shown, || escaped(&text))?;
            return Ok(ExitCode::SUCCESS);
        }
        let found = find(config, &self.name)?;
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

/// A skill that is a document: in JSON, and as its document with a line about it.
fn skill(config: &Config, name: &str) -> anyhow::Result<(Value, String)> {
    let home = Home::of(config);
    let integrations = assemble::integrations(config, &home)?;
    let mut all = assemble::skills::workflows(config, &home, &integrations)?.into_iter();
    let found = all.find(|loaded| {
        let info = loaded.skill.info();
        format!("{}/{}/{}", info.category, info.version, info.name) == name
    });
    let unknown = || {
        Failure::new(format!("there is no skill `{name}` that is a document"))
            .hint("`skill catalog list` lists them")
    };
    let found = found.ok_or_else(unknown)?;
    let info = found.skill.info();
    let own = assemble::skills::documents(config, &home)?;
    let mut documents = own.into_iter().chain(workflow::bundled_documents());
    let document = documents.find(|document| document.file == found.file);
    let text = document.map(|document| document.text).unwrap_or_default();
    let grants = info.grants.iter().map(ToString::to_string).collect::<Vec<_>>();
    let shown = json!({
        "name": name,
        "file": found.file,
        "line": found.line,
        "class": info.class.as_str(),
        "grants": grants,
        "input": info.input.as_value(),
        "document": text,
    });
    let granted = if grants.is_empty() { "nothing".to_owned() } else { grants.join(", ") };
    let head = format!(
        "# {name} ({}:{})\n# class {}, grants {granted}\n\n",
        found.file,
        found.line,
        info.class.as_str()
    );
    Ok((shown, head + &text))
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
