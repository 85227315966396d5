//! `skill backup`: a copy of everything, while the server goes on.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use jiff::Timestamp;
use serde_json::json;
use skill_core::{store::sqlite, workflow::Document};

use crate::{
    archive::{Manifest, Writer},
    context::Global,
    failure::Failure,
    home::Home,
    output::note,
};

/// Copy everything in the data directory to one file, while the server goes on
///
/// The copy is one moment of the store, with the large results, your own integrations, skills and
/// commands, and skill.toml. The key that seals it stays out: keep that one elsewhere, apart from the
/// backups, for nobody can open them without it. The file is whole or not there at all, and only its owner
/// may read it.
#[derive(Debug, clap::Args)]
pub(crate) struct Backup {
    /// The file to write; it must not be there
    file: PathBuf,

    /// Put the key of the data directory into the backup: whoever has the file has every credential
    #[arg(long)]
    with_key: bool,
}

impl Backup {
    pub(crate) async fn run(self, global: &Global) -> anyhow::Result<ExitCode> {
        let context = global.context()?;
        let home = Home::of(&context.loaded.config);
        let own_key = context.loaded.config.seal.is_kept_in_data();
        if self.with_key && !own_key {
            let message = "the sealing key is not kept in the data directory: leave out --with-key";
            return Err(Failure::usage(message).into());
        }
        let config = &context.loaded.config;
        let own = [
            (config.integrations.directory.clone(), "integrations"),
            (config.skills.directory.clone(), "skills"),
            (config.commands.directory.clone(), "commands"),
        ];
        let (file, with_key, from) = (self.file.clone(), self.with_key, home.clone());
        let work = move || copy(&from, &file, own, with_key);
        let (manifest, bytes, files) = tokio::task::spawn_blocking(work).await??;
        let path = self.file.display().to_string();
        let answer = json!({
            "file": path, "bytes": bytes, "files": files, "made_at": manifest.made_at,
            "schema": manifest.schema, "seal_keys": manifest.seal_keys,
            "holds_the_key": self.with_key,
        });
        context.output.show(&answer, || format!("{path}: {files} files, {bytes} bytes"))?;
        if self.with_key {
            note("the backup holds the sealing key: whoever has it has every credential");
        } else {
            let place = if own_key {
                home.seal_key().display().to_string()
            } else {
                "the one in the configuration".to_owned()
            };
            note(&format!("the sealing key is not in it: keep {place} in another place"));
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Writes the backup; returns what it says of itself, its length, and how many files it holds.
fn copy(
    home: &Home,
    file: &Path,
    own: [(Option<PathBuf>, &str); 3],
    with_key: bool,
) -> anyhow::Result<(Manifest, u64, usize)> {
    if !home.database().try_exists()? {
        let message = format!("there is no store in {}", home.path().display());
        return Err(Failure::new(message).hint("name its directory with --data").into());
    }
    let made_at = Timestamp::now().to_string();
    let mut writer = Writer::create(file)?;
    // Beside the backup: that is where the room is.
    let copy = Scratch(file.with_added_extension(format!("db-{}", std::process::id())));
    let copied = sqlite::copy(&home.database(), &copy.0)?;
    let mut keys: BTreeSet<u32> = copied.keys.iter().copied().collect();
    writer.add("skill.db", &copy.0)?;
    let mut files = 1;
    // What the copied store names was written before it was copied, so it is there; what came since
    // is nobody's and goes at the next sweep.
    for (name, path) in below(&home.artifacts(), "artifacts", 3)? {
        if let Some(first) = writer.add(&name, &path)? {
            files += 1;
            keys.extend(
                <[u8; 4]>::try_from(first.get(1..5).unwrap_or_default()).map(u32::from_be_bytes),
            );
        }
    }
    let mut rest = Vec::new();
    for (directory, name) in own {
        let directory = directory.unwrap_or_else(|| home.path().join(name));
        rest.extend(below(&directory, name, 1)?);
    }
    rest.retain(|(name, _)| name.ends_with(".toml") || Document::is_named(name));
    rest.push(("skill.toml".to_owned(), home.path().join("skill.toml")));
    if with_key {
        rest.push(("seal.key".to_owned(), home.seal_key()));
    }
    for (name, path) in rest {
        files += usize::from(writer.add(&name, &path)?.is_some());
    }
    let keys = keys.into_iter().collect();
    let manifest = Manifest::new(made_at, (copied.schema, copied.epoch), keys);
    let bytes = writer.finish(manifest.clone())?;
    Ok((manifest, bytes, files))
}

/// The files `depth` levels below a folder, with their names in the backup.
fn below(folder: &Path, name: &str, depth: usize) -> io::Result<Vec<(String, PathBuf)>> {
    let entries = match fs::read_dir(folder) {
        // A folder may go while this looks.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        let Ok(last) = entry.file_name().into_string() else { continue };
        let name = format!("{name}/{last}");
        match (depth, entry.file_type()?.is_dir()) {
            (1, false) => found.push((name, entry.path())),
            (2.., true) => found.extend(below(&entry.path(), &name, depth - 1)?),
            (_, _) => {}
        }
    }
    found.sort();
    Ok(found)
}

/// A file that goes when it is not needed any more.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        _ = fs::remove_file(&self.0);
        _ = fs::remove_file(self.0.with_added_extension("part"));
    }
}
