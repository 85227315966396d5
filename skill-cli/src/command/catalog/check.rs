//! `skill catalog check`

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use serde_json::{Value, json};
#[cfg(target_os = "linux")]
use skill_core::command;
use skill_core::{
    declaration::Problem,
    integration::{Overrides, declared},
    workflow::{self, Document, Loaded},
};

use super::{code, verified};
use crate::{
    assemble,
    context::{Context, Global},
    home::Home,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Check {
    /// The files: declarations in TOML of integrations, named after them, or of commands, and documents
    /// of skills (*.arazzo.yaml, *.arazzo.json)
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

impl Check {
    pub(super) fn run(self, global: &Global) -> anyhow::Result<ExitCode> {
        let Context { loaded, output } = global.context()?;
        let (mut files, mut lines, mut is_good) = (Vec::new(), Vec::new(), true);
        for path in &self.files {
            let name = path.display().to_string();
            let text = fs::read_to_string(path);
            let text = text.with_context(|| format!("{name} cannot be read"))?;
            if Document::is_named(&name) {
                let integrations =
                    assemble::integrations(&loaded.config, &Home::of(&loaded.config))?;
                let documents = beside(path, Document { file: name.clone(), text })?;
                let (shown, said) = skills(&name, workflow::load(&documents, &integrations));
                is_good &= shown["problems"] == json!([]);
                files.push(shown);
                lines.extend(said);
                continue;
            }
            match checked(&name, &text) {
                Ok((line, shown)) => {
                    lines.push(line);
                    files.push(shown);
                }
                Err(problems) => {
                    is_good = false;
                    lines.extend(problems.iter().map(ToString::to_string));
                    let problems = problems.into_iter().map(shown).collect::<Vec<_>>();
                    files.push(json!({ "file": name, "problems": problems }));
                }
            }
        }
        output.show(&json!({ "files": files }), || lines.join("\n"))?;
        Ok(code(is_good))
    }
}

fn shown(Problem { file, line, what }: Problem) -> Value {
    json!({ "file": file, "line": line, "problem": what })
}

/// The document with those that lie beside it, which it may refer to.
fn beside(path: &Path, document: Document) -> anyhow::Result<Vec<Document>> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let mut documents = vec![document];
    for entry in fs::read_dir(folder.unwrap_or_else(|| Path::new(".")))? {
        let other = entry?.path();
        let is_one = other.to_str().is_some_and(Document::is_named);
        if is_one && other.file_name() != path.file_name() {
            let text = fs::read_to_string(&other);
            let text = text.with_context(|| format!("{} cannot be read", other.display()))?;
            documents.push(Document { file: other.display().to_string(), text });
        }
    }
    Ok(documents)
}

/// What is said of a document: in JSON, and line by line.
fn skills(file: &str, loaded: Result<Vec<Loaded>, Vec<Problem>>) -> (Value, Vec<String>) {
    // What is wrong with a document beside it is for whoever checks that one.
    let problems = loaded.as_ref().err().cloned().unwrap_or_default();
    let problems = problems.into_iter().filter(|problem| problem.file == file).collect::<Vec<_>>();
    if !problems.is_empty() {
        let lines = problems.iter().map(ToString::to_string).collect();
        let problems = problems.into_iter().map(shown).collect::<Vec<_>>();
        return (json!({ "file": file, "problems": problems }), lines);
    }
    let own = loaded.unwrap_or_default().into_iter().filter(|skill| skill.file == file);
    let names = own.map(|loaded| {
        let info = loaded.skill.info();
        format!("{}/{}/{}", info.category, info.version, info.name)
    });
    let names = names.collect::<Vec<_>>();
    let line = format!("{file}: good, {}", names.join(", "));
    (json!({ "file": file, "problems": [], "skills": names }), vec![line])
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
