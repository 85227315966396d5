//! `skill catalog check`

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use serde_json::json;
use skill_core::{
    declaration::Problem,
    integration::{Overrides, declared},
};

use super::{code, verified};
use crate::context::{Context, Global};

#[derive(Debug, clap::Args)]
pub(crate) struct Check {
    /// The files: declarations in TOML, named after their integrations
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
            match declared(&name, &text, &Overrides::default()) {
                Ok(made) => {
                    let (count, proven) = (made.endpoints().count(), verified(&*made));
                    let said = proven.unwrap_or("not said how far proven");
                    lines.push(format!("{name}: good, {count} endpoints, {said}"));
                    files.push(json!({
                        "file": name, "problems": [], "endpoint_count": count, "verified": proven,
                    }));
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
