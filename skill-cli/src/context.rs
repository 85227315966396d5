//! What every command takes, and what it works with.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

use anyhow::Context as _;

use crate::{
    config::{self, Flag, Inputs, Loaded},
    failure::Failure,
    log,
    output::{Output, note},
};

/// What every command takes.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Options of every command")]
pub(crate) struct Global {
    /// The data directory [default: $XDG_DATA_HOME/skill, else ~/.local/share/skill]
    ///
    /// Also SKILL_DATA in the environment.
    #[arg(long, value_name = "DIR", global = true)]
    data: Option<PathBuf>,

    /// The configuration file [default: skill.toml in the data directory, if it is there]
    ///
    /// Also SKILL_CONFIG in the environment. `skill config --defaults` prints one that has every
    /// setting.
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,

    /// Print JSON, as is done whenever standard output is no terminal
    #[arg(long, global = true)]
    json: bool,

    /// What is logged to standard error: `debug`, `warn,skill=debug` [default: warn; info in serve]
    ///
    /// The levels are off, error, warn, info, debug and trace. No level logs credentials.
    #[arg(long, value_name = "LEVELS", global = true)]
    log_level: Option<String>,
}

/// What a command works with.
pub(crate) struct Context {
    /// The configuration.
    pub(crate) loaded: Loaded,
    /// How it prints.
    pub(crate) output: Output,
}

impl Global {
    /// How commands print.
    pub(crate) fn output(&self) -> Output {
        Output::choose(self.json)
    }

    /// The levels that are asked for.
    pub(crate) fn log_level(&self) -> Option<&str> {
        self.log_level.as_deref()
    }

    /// Loads the configuration, and begins to log: what is worth knowing of a command is little.
    pub(crate) fn context(&self) -> anyhow::Result<Context> {
        let loaded = self.load(&[])?;
        let level = &loaded.config.log.level;
        let quiet = log::Level::quiet();
        log::start(loaded.config.log.format, if self.log_level.is_some() { level } else { &quiet });
        Ok(Context { loaded, output: self.output() })
    }

    /// Loads the configuration: this machine's file and environment, and flags.
    pub(crate) fn load(&self, flags: &[Flag]) -> anyhow::Result<Loaded> {
        let environment = env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect::<Vec<_>>();
        let mut all = self.flags();
        all.extend_from_slice(flags);
        let file = self.file(&environment)?;
        let file = file.as_ref().map(|(path, text)| (path.as_path(), text.as_str()));
        let loaded = config::load(&Inputs { file, environment: &environment, flags: &all });
        let loaded = loaded.map_err(|problems| {
            let failure = Failure::new("the configuration cannot be used")
                .hint("`skill config --defaults` prints every setting with its meaning");
            problems.iter().fold(failure, |all, one| all.detail(one.to_string()))
        })?;
        for name in &loaded.ignored {
            note(&format!("warning: {name} in the environment names no setting"));
        }
        Ok(loaded)
    }

    /// The settings that flags of every command give.
    pub(crate) fn flags(&self) -> Vec<Flag> {
        let data = self.data.as_ref().map(|data| data.to_string_lossy().into_owned());
        let data = data.map(|data| ("data", "--data", data));
        let level = self.log_level.clone().map(|level| ("log.level", "--log-level", level));
        data.into_iter().chain(level).collect()
    }

    /// The file's path and text: the one that is named, else the data directory's if there is one.
    fn file(&self, environment: &[(String, String)]) -> anyhow::Result<Option<(PathBuf, String)>> {
        let variable =
            environment.iter().find(|(name, value)| name == "SKILL_CONFIG" && !value.is_empty());
        let named = self.config.clone().or_else(|| variable.map(|(_, path)| path.into()));
        let read = |path: &Path| fs::read_to_string(path);
        if let Some(path) = named {
            let text = read(&path).with_context(|| format!("{} cannot be read", path.display()))?;
            return Ok(Some((path, text)));
        }
        // The file may lie in the data directory, so that one has to be known first.
        let inputs = Inputs { file: None, environment, flags: &self.flags() };
        let Ok(loaded) = config::load(&inputs) else { return Ok(None) };
        let path = loaded.config.data.join("skill.toml");
        match read(&path) {
            Ok(text) => Ok(Some((path, text))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("{} cannot be read", path.display())),
        }
    }
}
