//! `skill config`: what is in force, and where it comes from.

use std::process::ExitCode;

use serde_json::{Map, Value, json};

use crate::{
    config::DEFAULTS,
    context::Global,
    output::{line, table},
};

/// Print every setting in force and where it comes from
///
/// A secret is shown as (set). The data directory is not opened.
#[derive(Debug, clap::Args)]
pub(crate) struct Show {
    /// Print a configuration file with every setting, its meaning and its default
    #[arg(long)]
    defaults: bool,
}

impl Show {
    pub(crate) fn run(self, global: &Global) -> anyhow::Result<ExitCode> {
        if self.defaults {
            line(DEFAULTS.trim_end())?;
            return Ok(ExitCode::SUCCESS);
        }
        let loaded = global.load(&[])?;
        let (mut settings, mut rows) = (Map::new(), Vec::new());
        for (name, (value, origin)) in &loaded.shown {
            let (value, source) = (serde_json::to_value(value)?, origin.to_string());
            rows.push(vec![name.clone(), value.to_string(), source.clone()]);
            settings.insert(name.clone(), json!({ "value": value, "source": source }));
        }
        global
            .output()
            .show(&Value::Object(settings), || table(&["setting", "value", "source"], &rows))?;
        Ok(ExitCode::SUCCESS)
    }
}
