//! `skill catalog check`

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use serde_json::{Value, json};
#[cfg(target_os = "linux")]
use skill_core::command;
use skill_core::{
    declaration::Problem,
    integration::{Overrides, declared},
};

use super::{code, verified};
use crate::context::{Context, Global};

#[derive(Debug, clap::Args)]
pub(crate) struct Check {
    /// The files: declarations in TOML of integrations, named after them, or of commands
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

impl Check {
    pub(super) fn run(self, global: &Global) -> anyhow::Result<ExitCode> {
        let Context { output, .. } = global.context()?;
        let (mut files, mut lines, mut is_good) = (Vec::new(), Vec::new(), true);
        for path in &self.files {
            let name = path.display().to_string();
            let text = fs::read_to_string(path);
            let text = text.with_context(|| format!("{name} cannot be read"))?;
            match checked(&name, &text) {
                Ok((line, shown)) => {
                    lines.push(line);
                    files.push(shown);
                }
                Err(problems) => {
                    is_good = false;
                    lines.extend(problems.iter().map(ToString::to_string));
                    let problems = problems.into_iter().map(|Problem { file, line, what }| {
                        json!({ "file": file, "line": line, "problem": what })
                    });
                    let problems = problems.collect::<Vec<_>>();
                    files.push(json!({ "file": name, "problems": problems }));
                }
            }
        }
        output.show(&json!({ "files": files }), || lines.join("\n"))?;
        Ok(code(is_good))
    }
}

/// What is good about a declaration: in a line, and as JSON.
fn checked(name: &str, text: &str) -> Result<(String, Value), Vec<Problem>> {
    #[cfg(target_os = "linux")]
    if command::is_command(text) {
        let declared = command::Declaration::read(name, text)?;
        let (command, program) = (declared.name().as_str(), declared.program());
        let line = format!("{name}: good, the command {command} of the program {program}");
        return Ok((line, json!({ "file": name, "problems": [], "command": command })));
    }
    let made = declared(name, text, &Overrides::default())?;
    let (count, proven) = (made.endpoints().count(), verified(&*made));
    let said = proven.unwrap_or("not said how far proven");
    let line = format!("{name}: good, {count} endpoints, {said}");
    let shown = json!({
        "file": name, "problems": [], "endpoint_count": count, "verified": proven,
    });
    Ok((line, shown))
}
