//! `skill restore`: a backup becomes a data directory, and nothing is done twice for it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use secrecy::ExposeSecret as _;
use serde_json::json;
use skill_core::{
    credential::seal::Keyring,
    store::{Restored, UpkeepStore as _, sqlite::SqliteStore},
};

use crate::{
    archive::{self, Manifest},
    assemble,
    config::Config,
    context::Global,
    failure::Failure,
    home::Home,
    output::note,
};

/// Where a backup is unpacked before it has its place.
const STAGING: &str = "restoring";

/// Make a data directory from a backup
///
/// The directory must hold no store. Put the sealing key there first (seal.key), or name it with
/// --key-file. What happened after the backup is not known to it, so that nothing is done twice:
/// runs that had not ended are held (`skill runs release` or `skill runs cancel`), and accounts
/// whose access was renewed since have to be connected again, which their calls say.
#[derive(Debug, clap::Args)]
pub(crate) struct Restore {
    /// The backup
    file: PathBuf,

    /// The file that holds the sealing key
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
}

impl Restore {
    pub(crate) async fn run(self, global: &Global) -> anyhow::Result<ExitCode> {
        let context = global.context()?;
        let config = &context.loaded.config;
        let home = Home::of(config);
        home.prepare()?;
        refuse_full(&home)?;
        let staging = Staging::new(&home)?;
        let (from, into) = (self.file.clone(), staging.0.clone());
        let unpacked = tokio::task::spawn_blocking(move || archive::unpack(&from, &into));
        let manifest = unpacked.await??;
        let restored = self.check(config, &home, &staging, &manifest).await?;
        staging.settle(&home)?;
        let answer = json!({
            "data": home.path().display().to_string(), "made_at": manifest.made_at,
            "held_runs": restored.runs, "grants_to_be_checked": restored.grants,
            "disabled_schedules": restored.schedules,
        });
        context.output.show(&answer, || {
            format!("{} stands as at {}", home.path().display(), manifest.made_at)
        })?;
        tell(&restored, &manifest);
        Ok(ExitCode::SUCCESS)
    }

    /// Makes sure that the key opens the store, and gives it a new epoch.
    async fn check(
        &self,
        config: &Config,
        home: &Home,
        staging: &Staging,
        manifest: &Manifest,
    ) -> anyhow::Result<Restored> {
        let key = staging.0.join("seal.key");
        if let Some(file) = &self.key_file {
            let text = assemble::secret_file(file)?;
            let text = format!("{}\n", text.expose_secret());
            _ = fs::remove_file(&key);
            home.keep(&key, &text).context("the sealing key cannot be kept")?;
        }
        let place = if key.try_exists()? { key } else { home.seal_key() };
        let keyring = match config.seal.is_kept_in_data() {
            true if !place.try_exists()? => return Err(no_key(home, manifest).into()),
            true => assemble::secret_file(&place)?.expose_secret().parse::<Keyring>()?,
            false => assemble::keyring(config, home).await?,
        };
        let has = keyring.versions();
        if let Some(missing) = manifest.seal_keys.iter().find(|key| !has.contains(key)) {
            let message = format!(
                "the backup was sealed with key version {missing}, which is not among the keys here"
            );
            let hint = "add the line of that version, from the key file that was in use then";
            return Err(Failure::new(message).hint(hint).into());
        }
        let store = SqliteStore::open(&staging.0.join("skill.db"))?;
        keyring.verify(&store).await?;
        let mut epoch = [0; 16];
        getrandom::fill(&mut epoch).context("no randomness")?;
        let restored = store.begin_epoch(&data_encoding::HEXLOWER.encode(&epoch)).await?;
        // Everything is in the file when this returns.
        tokio::task::spawn_blocking(move || drop(store)).await?;
        Ok(restored)
    }
}

/// Says what has to be looked at.
fn tell(restored: &Restored, manifest: &Manifest) {
    let since = &manifest.made_at;
    if restored.runs > 0 {
        note(&format!(
            "{} runs had not ended then and are held: look at them with `skill runs list --status \
             held`, then `skill runs release ID` or `skill runs cancel ID`",
            restored.runs
        ));
    }
    if restored.schedules > 0 {
        note(&format!(
            "{} scheduled jobs are disabled, because they may go on where the backup was made: look \
             at them with `skill schedules list`, and enable those that are to go on here",
            restored.schedules
        ));
    }
    if restored.grants > 0 {
        note(&format!(
            "{} accounts keep the access of then: where it was renewed since, calls answer \
             token_expired, and a person has to connect the account again",
            restored.grants
        ));
    }
    note(&format!(
        "what was done after {since} is not known here: keys and connections that were removed since \
         are back (`skill key list`), and idempotency keys used since are free again"
    ));
}

fn no_key(home: &Home, manifest: &Manifest) -> Failure {
    let versions = manifest.seal_keys.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
    let message =
        format!("the backup needs the sealing key (version {versions}), which is not in it");
    let hint =
        format!("name the key file with --key-file, or put it at {}", home.seal_key().display());
    Failure::new(message).hint(hint)
}

/// Refuses a data directory that has a store.
fn refuse_full(home: &Home) -> anyhow::Result<()> {
    for path in [home.database(), home.path().join("skill.db-wal"), home.artifacts()] {
        if path.try_exists()? {
            let failure = Failure::new(format!("{} is there already", path.display()));
            let hint = "restore into an empty directory (--data DIR): nothing is ever overwritten";
            return Err(failure.hint(hint).into());
        }
    }
    Ok(())
}

/// A folder inside of the data directory, so that what is in it can be moved to its place.
struct Staging(PathBuf);

impl Staging {
    fn new(home: &Home) -> io::Result<Self> {
        let path = home.path().join(STAGING);
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        fs::create_dir(&path)?;
        Ok(Self(path))
    }

    /// Moves everything to its place, the store last: before that there is none. What lies there
    /// already stays, so that a key or a configuration that was put there is the one in force.
    fn settle(&self, home: &Home) -> anyhow::Result<()> {
        let names = ["seal.key", "skill.toml", "integrations", "artifacts", "skill.db"];
        let settle = |name: &str| -> io::Result<()> {
            let (from, to) = (self.0.join(name), home.path().join(name));
            if !from.try_exists()? || to.try_exists()? {
                return Ok(());
            }
            fs::rename(from, to)?;
            fs::File::open(home.path())?.sync_all()
        };
        for name in names {
            settle(name).with_context(|| format!("{name} cannot be moved to its place"))?;
        }
        Ok(())
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(Path::new(&self.0));
    }
}
