//! Configuration: a pure function of the defaults, a file, the environment and flags.
//!
//! Each of these is a layer of settings with dotted names; a later layer wins, setting by setting,
//! and every value knows where it came from. `defaults.toml` is the first layer and the manual.

mod environment;
mod layer;
mod typed;

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

use serde::Deserialize as _;
use toml::{Table, Value};

use self::layer::{Entry, flatten, put};
pub(crate) use self::typed::{Config, Dialect, Integration};

/// Every setting with its comment and default.
pub(crate) const DEFAULTS: &str = include_str!("../defaults.toml");

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Nobody said anything.
    Default,
    /// A line of a file.
    File(PathBuf, usize),
    /// A variable of the environment.
    Environment(String),
    /// A flag.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path, line) => write!(f, "file {}:{line}", path.display()),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// Something that is wrong with a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    /// Where it stands.
    pub(crate) origin: Origin,
    /// What was expected.
    pub(crate) what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Origin::File(path, line) => write!(f, "{}:{line}: {}", path.display(), self.what),
            other @ (Origin::Default | Origin::Environment(_) | Origin::Flag(_)) => {
                write!(f, "{other}: {}", self.what)
            }
        }
    }
}

/// A setting that a flag gives: its name, the flag, and the value.
pub(crate) type Flag = (&'static str, &'static str, String);

/// What the configuration is made of.
#[derive(Debug, Default)]
pub(crate) struct Inputs<'a> {
    /// The file's path and text, if there is one.
    pub(crate) file: Option<(&'a Path, &'a str)>,
    /// Every variable of the environment.
    pub(crate) environment: &'a [(String, String)],
    /// The settings that flags give.
    pub(crate) flags: &'a [Flag],
}

/// The configuration, and how it came to be.
pub(crate) struct Loaded {
    /// The settings.
    pub(crate) config: Config,
    /// Every value as it may be shown, and its origin, by dotted name.
    pub(crate) shown: BTreeMap<String, (Value, Origin)>,
    /// Variables that begin like a setting and are none.
    pub(crate) ignored: Vec<String>,
    /// Settings that somebody gave and somebody else gave later: the name, and both origins.
    pub(crate) shadowed: Vec<(String, Origin, Origin)>,
}

impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(&self.shown).finish()
    }
}

/// Makes the configuration.
///
/// # Errors
/// Every problem at once, each with its origin.
pub(crate) fn load(inputs: &Inputs<'_>) -> Result<Loaded, Vec<Problem>> {
    let base = defaults(inputs.environment);
    let mut problems = Vec::new();
    let mut layers = flatten(&base, |_| Origin::Default);
    if let Some((path, text)) = inputs.file {
        let entries = layer::read(path, text).map_err(|problem| vec![problem])?;
        problems.extend(entries.iter().filter_map(|entry| check(&base, entry)));
        layers.extend(entries);
    }
    let found = environment::read(&base, inputs.environment);
    problems.extend(found.problems);
    layers.extend(found.entries);
    for (name, flag, value) in inputs.flags {
        let entry = Entry::new(*name, Value::String(value.clone()), Origin::Flag(flag));
        problems.extend(check(&base, &entry));
        layers.push(entry);
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    merge(layers, found.ignored)
}

/// Lays the layers over each other, the last one on top.
fn merge(layers: Vec<Entry>, ignored: Vec<String>) -> Result<Loaded, Vec<Problem>> {
    let (mut table, mut shown, mut shadowed) = (Table::new(), BTreeMap::new(), Vec::new());
    for Entry { name, value, origin } in layers {
        let visible = if is_secret(&name) { "(set)".into() } else { value.clone() };
        put(&mut table, &name, value);
        let earlier = shown.insert(name.clone(), (visible, origin.clone()));
        if let Some((_, earlier)) = earlier.filter(|(_, earlier)| *earlier != Origin::Default) {
            shadowed.push((name, earlier, origin));
        }
    }
    let config = Config::deserialize(table)
        .map_err(|error| vec![Problem { origin: Origin::Default, what: error.message().into() }])?;
    let problems = config.contradictions(&shown);
    if problems.is_empty() {
        Ok(Loaded { config, shown, ignored, shadowed })
    } else {
        Err(problems)
    }
}

impl Config {
    /// What each setting alone cannot show.
    fn contradictions(&self, shown: &BTreeMap<String, (Value, Origin)>) -> Vec<Problem> {
        let origin = |name: &str| shown.get(name).map_or(Origin::Default, |(_, o)| o.clone());
        let mut problems = Vec::new();
        if !self.plans.contains_key(&self.default_plan) {
            let what = format!("`default_plan`: there is no table `plans.{}`", self.default_plan);
            problems.push(Problem { origin: origin("default_plan"), what });
        }
        let (limits, runs) = (&self.limits, &self.runs);
        let bounded = [
            ("limits", "timeout_s", limits.timeout_s, limits.longest_timeout_s),
            ("runs", "backoff_s", runs.backoff_s, runs.longest_backoff_s),
            ("runs", "deadline_s", runs.deadline_s, runs.longest_deadline_s),
        ];
        for (table, name, ..) in bounded.into_iter().filter(|(.., usual, longest)| usual > longest)
        {
            let what = format!("`{table}.{name}`: expected at most `{table}.longest_{name}`");
            problems.push(Problem { origin: origin(&format!("{table}.{name}")), what });
        }
        problems
    }
}

/// Whether a value is never shown.
fn is_secret(name: &str) -> bool {
    name == "seal.key" || name == "admin_secret" || name.ends_with(".client_secret")
}

/// The defaults, with the data directory where this user's data belongs.
fn defaults(environment: &[(String, String)]) -> Table {
    let mut table = DEFAULTS.parse::<Table>().expect("a test reads the defaults");
    let variable = |name: &str| {
        let found = environment.iter().find(|(known, value)| known == name && !value.is_empty());
        found.map(|(_, value)| PathBuf::from(value))
    };
    let data = match (variable("XDG_DATA_HOME"), variable("HOME")) {
        (Some(data), _) if data.is_absolute() => data.join("skill"),
        (_, Some(home)) => home.join(".local/share/skill"),
        (_, None) => PathBuf::from("skill-data"),
    };
    put(&mut table, "data", data.to_string_lossy().into_owned().into());
    table
}

/// What is wrong with one setting by itself.
fn check(base: &Table, entry: &Entry) -> Option<Problem> {
    let mut table = base.clone();
    put(&mut table, &entry.name, entry.value.clone());
    let error = Config::deserialize(table).err()?;
    let what = format!("`{}`: {}", entry.name, error.message());
    Some(Problem { origin: entry.origin.clone(), what })
}

#[cfg(test)]
mod tests;
