//! Files, their modes, the disk and the clock.

use std::{
    fs, io,
    io::Read as _,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
    time::{Duration, SystemTime},
};

use jiff::Timestamp;
use secrecy::ExposeSecret as _;
use skill_core::{credential::seal::Keyring, store::sqlite};

use super::Findings;
use crate::{assemble, config::Config, home::Home};

/// How much room there should be.
const ROOM: u64 = 1 << 30;
/// With less than this it ends soon.
const LEAST: u64 = 100 << 20;
/// How far files may be ahead of the clock.
const AHEAD: Duration = Duration::from_secs(300);
/// No clock that is right is before 2025.
const LATE: Duration = Duration::from_secs(1_735_689_600);

/// Looks at the data directory; whether there is a store that could be opened.
pub(super) fn look(config: &Config, home: &Home, findings: &mut Findings) -> bool {
    clock(home, findings);
    let path = home.path().display();
    match fs::metadata(home.path()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let what = format!("there is no data directory {path} yet");
            findings.note("data", what, "`skill serve` makes it, and the first key");
            return false;
        }
        Err(error) => {
            let mend = "run this as the user that runs the server, or name another with --data";
            findings.wrong("data", format!("{path} cannot be read: {error}"), mend);
            return false;
        }
        Ok(found) if !found.is_dir() => {
            findings.wrong("data", format!("{path} is no directory"), "name another with --data");
            return false;
        }
        Ok(_) => findings.fine("data", format!("the data directory is {path}")),
    }
    modes(config, home, findings);
    room(home, findings);
    if !matches!(home.database().try_exists(), Ok(true)) {
        findings.note("data", "there is no store in it yet", "`skill serve` makes it");
        return false;
    }
    let has_key = key(config, home, findings);
    schema(home, findings) && has_key
}

/// Whether anybody else may read what is in it.
fn modes(config: &Config, home: &Home, findings: &mut Findings) {
    let mut private =
        vec![home.path().to_owned(), home.database(), home.socket(), home.artifacts()];
    private.extend(assemble::key_place(config, home));
    private.push(home.path().join("skill.db-wal"));
    let own = rustix::process::geteuid().as_raw();
    let mut is_fine = true;
    for path in private {
        let Ok(found) = fs::symlink_metadata(&path) else { continue };
        let mode = found.permissions().mode() & 0o777;
        let shown = path.display();
        if found.uid() != own {
            is_fine = false;
            let what = format!("{shown} belongs to user {}, and this is user {own}", found.uid());
            findings.wrong("data", what, format!("chown {own} {shown}, or run as that user"));
        }
        if mode & 0o077 != 0 {
            is_fine = false;
            let right = if found.is_dir() { "700" } else { "600" };
            let what = format!("others may look at {shown} (mode {mode:03o})");
            let mend = format!("chmod {right} {shown}");
            // What matters in the directory has modes of its own.
            match path == home.path() {
                true => findings.note("data", what, mend),
                false => findings.wrong("data", what, mend),
            }
        }
    }
    if is_fine {
        findings.fine("data", "nobody else may read what is in it");
    }
}

fn room(home: &Home, findings: &mut Findings) {
    let Ok(found) = rustix::fs::statvfs(home.path()) else { return };
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    let store = fs::metadata(home.database()).map_or(0, |found| found.len());
    let shown = format!("{} MiB are free where the data is", free >> 20);
    let mend = "make room: with none, nothing can be kept, and calls are refused; `history_days` \
                says how long ended runs stay";
    match free {
        free if free < LEAST => findings.wrong("disk", shown, mend),
        free if free < ROOM || free < store => findings.note("disk", shown, mend),
        _ => findings.fine("disk", shown),
    }
}

/// Whether the clock can be right: files were not written in the future.
fn clock(home: &Home, findings: &mut Findings) {
    let now = Duration::try_from(Timestamp::now().as_duration()).unwrap_or_default();
    let mend = "set the clock, and let it be kept by NTP: limits, deadlines and tokens go by it";
    if now < LATE {
        findings.wrong("clock", "the clock is years behind", mend);
        return;
    }
    let written = [home.database(), home.path().join("skill.db-wal")];
    let written = written.iter().filter_map(|path| fs::metadata(path).ok()?.modified().ok());
    let latest = written.filter_map(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok()).max();
    match latest.and_then(|latest| latest.checked_sub(now)) {
        Some(ahead) if ahead > AHEAD => {
            let what = format!("the store was written {} s ahead of the clock", ahead.as_secs());
            findings.wrong("clock", what, mend);
        }
        _ => findings.fine("clock", "no file is ahead of the clock"),
    }
}

/// Whether there is a key that reads as one.
fn key(config: &Config, home: &Home, findings: &mut Findings) -> bool {
    let Some(place) = assemble::key_place(config, home) else {
        findings.fine("sealing key", "it comes from the configuration");
        return true;
    };
    let shown = place.display();
    let mend = format!("put the key file back at {shown}: without it no credential can be opened");
    let text = match fs::exists(&place).map(|there| there.then(|| assemble::secret_file(&place))) {
        Ok(Some(Ok(text))) => text,
        Ok(None) => {
            findings.wrong("sealing key", format!("{shown} is missing"), mend);
            return false;
        }
        Ok(Some(Err(error))) => {
            findings.failed("sealing key", &error, &mend);
            return false;
        }
        Err(error) => {
            findings.wrong("sealing key", format!("{shown} cannot be read: {error}"), mend);
            return false;
        }
    };
    match text.expose_secret().parse::<Keyring>() {
        Ok(keys) => {
            findings.fine("sealing key", format!("{shown} holds versions {:?}", keys.versions()));
            true
        }
        Err(error) => {
            findings.wrong("sealing key", format!("{shown}: {}", error.message()), mend);
            false
        }
    }
}

/// Whether this program knows the store's schema, which stands in the head of the file.
fn schema(home: &Home, findings: &mut Findings) -> bool {
    let known = sqlite::SCHEMA;
    match version(&home.database()) {
        Ok(found) if found > known => {
            let what = format!("the store has schema {found}, and this program knows {known}");
            let mend = "use the newer program that wrote it, or restore a backup from before";
            findings.wrong("store", what, mend);
            false
        }
        Ok(found) if found < known => {
            let what = format!("the store has schema {found}, and this program writes {known}");
            findings.note("store", what, "the next start changes it, and keeps a copy beside it");
            true
        }
        Ok(found) => {
            findings.fine("store", format!("its schema is {found}"));
            true
        }
        Err(error) => {
            let mend = "is it the right directory? restore a backup into an empty one";
            findings.wrong("store", format!("{}: {error}", home.database().display()), mend);
            false
        }
    }
}

/// The number at byte 60 of a SQLite file, which its log may be ahead of for a moment.
fn version(path: &Path) -> io::Result<u32> {
    let mut head = [0; 64];
    let read = fs::File::open(path)?.take(64).read(&mut head)?;
    if read == 0 {
        return Ok(sqlite::SCHEMA);
    }
    if read < 64 || !head.starts_with(b"SQLite format 3\0") {
        return Err(io::Error::other("it is no SQLite file"));
    }
    let number = <[u8; 4]>::try_from(&head[60..]).map_err(io::Error::other)?;
    // What was never moved out of the log stands as 0 here.
    Ok(match u32::from_be_bytes(number) {
        0 => sqlite::SCHEMA,
        found => found,
    })
}
