//! Skills: those that come with the program, the operator's documents, and the commands that the
//! operator enabled.

use std::sync::Arc;

use skill_core::{
    builtin,
    integration::Integration,
    skill::Skill,
    workflow::{self, Document, Loaded},
};

use crate::{config::Config, failure::Failure, home::Home};

/// Every skill.
///
/// # Errors
/// Every problem of every declaration, with file and line; why commands cannot be had here.
pub(crate) fn all(
    config: &Config,
    home: &Home,
    integrations: &[Arc<dyn Integration>],
) -> anyhow::Result<Vec<Arc<dyn Skill>>> {
    let mut skills = builtin::skills()?;
    skills.extend(workflows(config, home, integrations)?.into_iter().map(|loaded| loaded.skill));
    if !config.commands.enabled.is_empty() {
        skills.extend(commands(config, home)?);
    }
    Ok(skills)
}

/// Every skill that is a document: the bundled ones, and the operator's own in their place or beside
/// them.
///
/// # Errors
/// Every problem of the operator's own, with file and line.
pub(crate) fn workflows(
    config: &Config,
    home: &Home,
    integrations: &[Arc<dyn Integration>],
) -> anyhow::Result<Vec<Loaded>> {
    let own = workflow::load(&documents(config, home)?, integrations).map_err(|problems| {
        let failure = Failure::new("the skills cannot be loaded");
        problems.iter().fold(failure, |all, one| all.detail(one.to_string()))
    })?;
    let (mut bundled, problems) = workflow::bundled(integrations);
    for problem in problems {
        tracing::warn!("a bundled skill does not fit your integrations and is left out: {problem}");
    }
    let name = |loaded: &Loaded| (loaded.skill.info().action(), loaded.skill.info().version);
    bundled.retain(|loaded| own.iter().all(|other| name(other) != name(loaded)));
    bundled.extend(own);
    Ok(bundled)
}

/// The operator's own documents.
pub(crate) fn documents(config: &Config, home: &Home) -> anyhow::Result<Vec<Document>> {
    let standard = home.skills();
    let directory = config.skills.directory.as_deref();
    let files = super::files((directory, &standard), Document::is_named)?;
    Ok(files.into_iter().map(|(file, text)| Document { file, text }).collect())
}

#[cfg(not(target_os = "linux"))]
fn commands(_: &Config, _: &Home) -> anyhow::Result<Vec<Arc<dyn Skill>>> {
    Err(Failure::new("commands (commands.enabled) need Linux: nothing else confines them").into())
}

#[cfg(target_os = "linux")]
fn commands(config: &Config, home: &Home) -> anyhow::Result<Vec<Arc<dyn Skill>>> {
    use std::collections::BTreeMap;

    use skill_core::command::{self, Commands, Declaration};

    let mut problems = Vec::new();
    let mut by_name = command::bundled()
        .into_iter()
        .map(|one| (one.name().clone(), one))
        .collect::<BTreeMap<_, _>>();
    let directory = config.commands.directory.as_deref();
    let own = |file: &str| file.ends_with(".toml");
    for (path, text) in super::files((directory, &home.commands()), own)? {
        match Declaration::read(&path, &text) {
            Ok(own) => drop(by_name.insert(own.name().clone(), own)),
            Err(found) => problems.extend(found),
        }
    }
    if !problems.is_empty() {
        let failure = Failure::new("the commands cannot be loaded");
        let failure = problems.iter().fold(failure, |all, one| all.detail(one.to_string()));
        return Err(failure.into());
    }
    let known = by_name.keys().map(|name| name.as_str().to_owned()).collect::<Vec<_>>().join(", ");
    let commands = Commands::new(settings(config, home))?;
    let mut skills = Vec::new();
    for name in &config.commands.enabled {
        let declaration = by_name.remove(&*name.replace('_', "-")).ok_or_else(|| {
            let message = format!("`commands.enabled` names `{name}`, which is no command");
            Failure::new(message).hint(format!("there are {known}; each once"))
        })?;
        skills.push(commands.skill(declaration)?);
    }
    Ok(skills)
}

#[cfg(target_os = "linux")]
fn settings(config: &Config, home: &Home) -> skill_core::command::Settings {
    use skill_core::command::{Launcher, Settings};

    let (commands, mut closed) = (&config.commands, vec![home.path().to_owned()]);
    closed.extend(super::key_place(config, home));
    closed.extend(config.admin_secret_file.clone());
    let integrations = config.integrations.by_slug.values();
    closed.extend(integrations.filter_map(|settings| settings.client_secret_file.clone()));
    Settings {
        path: commands.path.clone(),
        roots: commands.roots.clone(),
        read: commands.read.clone(),
        closed,
        launcher: Launcher::default(),
        user: commands.user,
        at_once: commands.at_once.get(),
        environment: std::env::vars().collect(),
    }
}
