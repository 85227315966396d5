//! Becoming a program: what the launcher does.

use std::{
    env,
    ffi::OsString,
    io::{self, Write as _},
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::{Command, ExitCode},
};

use super::confine::Confinement;

/// The first argument of a process that is a launcher.
pub(super) const WORD: &str = "--become-a-command";
/// What the launcher says first when there is no program to become.
pub(super) const UNCONFINED: &str = "the program cannot be confined:";
/// As [`UNCONFINED`], when it was confined and the program is not there.
pub(super) const MISSING: &str = "the program cannot be started:";
/// How a launcher ends that did not become a program.
pub(super) const FAILED: u8 = 125;

/// What starts programs: an executable whose `main` begins with [`launch`].
///
/// ```
/// use skill_core::command::Launcher;
/// let own = Launcher::default();
/// let other = Launcher::at("/usr/lib/acme/skill-launcher");
/// assert_ne!(own, other);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launcher(pub(super) PathBuf);

impl Default for Launcher {
    /// This program itself, whatever lies at its path by now.
    fn default() -> Self {
        Self("/proc/self/exe".into())
    }
}

impl Launcher {
    /// Another executable, for programs that cannot begin with [`launch`]: the small program
    /// `skill-launcher` of this crate is one.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }
}

/// Becomes the program that this process was started for, confined as it has to be; returns only
/// when the process is no launcher (`None`), or could not become the program.
///
/// It comes first in `main`, before threads, runtimes and arguments: bounds hold for the thread
/// that takes them on, and for what it becomes.
///
/// ```no_run
/// use std::process::ExitCode;
///
/// fn main() -> ExitCode {
///     if let Some(code) = skill_core::command::launch() {
///         return code;
///     }
///     // What the program is for.
///     ExitCode::SUCCESS
/// }
/// ```
pub fn launch() -> Option<ExitCode> {
    let mut arguments = env::args_os().skip(1);
    if arguments.next()? != WORD {
        return None;
    }
    let said = fail(arguments);
    drop(writeln!(io::stderr(), "{said}"));
    Some(ExitCode::from(FAILED))
}

/// Becomes the program; returns what kept it from that.
fn fail(mut arguments: impl Iterator<Item = OsString>) -> String {
    let confinement = arguments.next().and_then(|text| text.into_string().ok());
    let confinement = confinement.ok_or_else(|| "nobody says how".to_owned());
    let confinement = confinement
        .and_then(|text| serde_json::from_str::<Confinement>(&text).map_err(|e| e.to_string()));
    let applied = confinement.and_then(|confinement| confinement.apply());
    if let Err(what) = applied {
        return format!("{UNCONFINED} {what}");
    }
    let Some(program) = arguments.next() else { return format!("{MISSING} nobody says which") };
    let error = Command::new(program).args(arguments).exec();
    format!("{MISSING} {error}")
}
