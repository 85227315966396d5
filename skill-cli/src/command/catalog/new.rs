//! `skill catalog new`

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Context as _;
use serde_json::json;
use skill_core::{integration::bundled_text, name::Slug};

use crate::{
    context::{Context, Global},
    failure::Failure,
    home::Home,
};

/// What is written.
const SKELETON: &str = include_str!("skeleton.toml");

#[derive(Debug, clap::Args)]
pub(crate) struct New {
    /// The integration's name in addresses, such as acme or acme-crm
    name: String,

    /// The file to write [default: NAME.toml where the program looks for your own]
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

impl New {
    pub(super) fn run(self, global: &Global) -> anyhow::Result<ExitCode> {
        let Context { loaded, output } = global.context()?;
        let slug = Slug::parse(&self.name).map_err(|error| Failure::usage(error.to_string()))?;
        let home = Home::of(&loaded.config);
        let path = self.file.unwrap_or_else(|| {
            let directory = loaded.config.integrations.directory.clone();
            directory.unwrap_or_else(|| home.integrations()).join(format!("{slug}.toml"))
        });
        if let Some(directory) = path.parent() {
            if directory.starts_with(home.path()) {
                home.prepare()?;
            }
            fs::create_dir_all(directory)
                .with_context(|| format!("{} cannot be made", directory.display()))?;
        }
        write(&path, &SKELETON.replace("NAME", slug.as_str()))?;
        let shown = path.display().to_string();
        output.show(&json!({ "file": shown }), || {
            let instead = bundled_text(slug.canonical()).map_or(
                "",
                |_| "\nThere is a bundled integration of this name: yours stands in its place.",
            );
            format!("{shown} is written.{instead}\nFill it in, then: skill catalog check {shown}")
        })?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Writes the file, and never over another.
fn write(path: &PathBuf, text: &str) -> anyhow::Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).open(path);
    let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
    match written {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(Failure::new(format!("{} is there already", path.display()))
                .hint("choose another name, or another file with --file")
                .into())
        }
        written => written.with_context(|| format!("{} cannot be written", path.display())),
    }
}
