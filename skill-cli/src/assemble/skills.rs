//! Skills: those that come with the program, and the commands that the operator enabled.

use std::sync::Arc;

use skill_core::{builtin, skill::Skill};

use crate::{config::Config, failure::Failure, home::Home};

/// Every skill.
///
/// # Errors
/// Every problem of every declaration, with file and line; why commands cannot be had here.
pub(super) fn all(config: &Config, home: &Home) -> anyhow::Result<Vec<Arc<dyn Skill>>> {
    let mut skills = builtin::skills()?;
    if !config.commands.enabled.is_empty() {
        skills.extend(commands(config, home)?);
    }
    Ok(skills)
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
    for (path, text) in super::files(directory, &home.commands())? {
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
