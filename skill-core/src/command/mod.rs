//! Local programs as skills: declared in TOML, named by the operator, confined by the kernel.
//!
//! A command is a program with an absolute path, arguments that no shell reads, and an answer in
//! JSON or text. `commands/README.md` is the manual of declarations; those beside it come with this
//! crate, and none of them runs unless an operator names it.
//!
//! What a program can reach is decided before it begins, by a launcher that bounds itself and then
//! becomes the program ([`launch()`]): files by an allow list (Landlock) that the data directory and
//! the keys are never on, sockets and system calls (seccomp), sizes (rlimits), no privilege. Where
//! the kernel cannot do that and no other user is named either, there are no commands. It runs in
//! a process group of its own, which is ended with its run: at its end, when it is cancelled, when
//! its time is up.

mod answer;
mod argument;
mod child;
mod confine;
mod declared;
mod launch;
mod place;
mod program;

use std::{
    collections::BTreeMap,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::sync::Semaphore;

use self::program::Program;
pub use self::{
    declared::Declaration,
    launch::{Launcher, launch},
};
use crate::{
    error::{Error, ErrorKind, Result},
    skill::Skill,
};

include!(concat!(env!("OUT_DIR"), "/commands.rs"));

/// What an operator says about all commands.
///
/// ```
/// use skill_core::command::Settings;
/// let settings = Settings { roots: vec!["/srv/code".into()], ..Settings::default() };
/// assert_eq!(settings.at_once, 4);
/// ```
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where programs are looked for that are declared by name, once, in this order.
    pub path: Vec<PathBuf>,
    /// What callers may name paths below of. Every command may read all of it.
    pub roots: Vec<PathBuf>,
    /// What every command may read and run besides the system's own directories.
    pub read: Vec<PathBuf>,
    /// What no command may come near: the data directory, files with keys, the configuration.
    pub closed: Vec<PathBuf>,
    /// What starts programs.
    pub launcher: Launcher,
    /// The user and group that programs run as; that of the server without it. Only a server that
    /// runs as root can do that.
    pub user: Option<(u32, u32)>,
    /// How many run at once; further ones wait.
    pub at_once: usize,
    /// The server's environment, of which declarations may pass variables on.
    pub environment: BTreeMap<String, String>,
}

impl Default for Settings {
    fn default() -> Self {
        let path = ["/usr/local/bin", "/usr/bin", "/bin"];
        Self {
            path: path.map(PathBuf::from).to_vec(),
            roots: Vec::new(),
            read: Vec::new(),
            closed: Vec::new(),
            launcher: Launcher::default(),
            user: None,
            at_once: 4,
            environment: BTreeMap::new(),
        }
    }
}

/// What all commands share.
#[derive(Debug)]
struct Shared {
    path: Vec<PathBuf>,
    roots: Vec<PathBuf>,
    read: Vec<PathBuf>,
    closed: Vec<PathBuf>,
    launcher: Launcher,
    user: Option<(u32, u32)>,
    places: Semaphore,
    environment: BTreeMap<String, String>,
}

/// Makes skills of declared commands.
///
/// ```no_run
/// use skill_core::command::{self, Commands, Settings};
/// let commands = Commands::new(Settings { roots: vec!["/srv/code".into()], ..Settings::default() })?;
/// for declaration in command::bundled() {
///     let skill = commands.skill(declaration)?;
///     println!("{}", skill.info().action());
/// }
/// # Ok::<(), skill_core::Error>(())
/// ```
#[derive(Debug)]
pub struct Commands(Arc<Shared>);

impl Commands {
    /// Checks that programs can be confined here, and that what they may read holds nothing that
    /// is closed to them.
    ///
    /// # Errors
    /// [`ErrorKind::ToolUnavailable`] when they cannot be confined;
    /// [`ErrorKind::InvalidInput`] for directories that are not there, or not apart. Messages are
    /// for the operator, and name paths.
    pub fn new(settings: Settings) -> Result<Self> {
        if settings.user.is_none() {
            confine::available().map_err(|why| unconfined(&why))?;
        } else if !rustix::process::geteuid().is_root() {
            return Err(unconfined("only root can run them as another user"));
        }
        let real = |paths: &[PathBuf]| {
            let real = paths.iter().map(|path| place::real(path)).collect::<Result<Vec<_>, _>>();
            real.map_err(Error::invalid)
        };
        let (roots, read) = (real(&settings.roots)?, real(&settings.read)?);
        let system = confine::SYSTEM.iter().chain(confine::FACTS).map(PathBuf::from);
        let open = system.chain(roots.iter().chain(&read).cloned()).collect::<Vec<_>>();
        place::keep_apart(&open, &settings.closed).map_err(Error::invalid)?;
        Ok(Self(Arc::new(Shared {
            path: settings.path,
            roots,
            read,
            closed: settings.closed,
            launcher: settings.launcher,
            user: settings.user,
            places: Semaphore::new(settings.at_once.max(1)),
            environment: settings.environment,
        })))
    }

    /// Makes the skill of a command. Its program is looked for now; one that is not installed makes
    /// a skill that says so, and what to install.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] when the declaration opens what is closed.
    pub fn skill(&self, declared: Declaration) -> Result<Arc<dyn Skill>> {
        let opened = declared.reads.iter().chain(&declared.writes).cloned().collect::<Vec<_>>();
        let apart = place::keep_apart(&opened, &self.0.closed);
        apart.map_err(|what| Error::invalid(format!("{}: {what}", declared.file)))?;
        let found = find(&declared.program, &self.0.path);
        Ok(Arc::new(Program { declared, found, shared: self.0.clone() }))
    }
}

fn unconfined(why: &str) -> Error {
    let message = format!(
        "command skills cannot be confined here: {why}. Name another user for them \
         (commands.user), or enable none"
    );
    Error::new(ErrorKind::ToolUnavailable, message)
}

/// The program at an absolute path, or of a name in one of these directories; as it lies there, so
/// that one that goes by its name finds itself.
fn find(program: &str, path: &[PathBuf]) -> Option<PathBuf> {
    let is_program = |at: &PathBuf| {
        let data = at.metadata();
        data.is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
    };
    let absolute = Path::new(program).is_absolute();
    let places = path.iter().filter(|path| path.is_absolute()).map(|path| path.join(program));
    let places = places.filter(|_| !absolute);
    absolute.then(|| PathBuf::from(program)).into_iter().chain(places).find(is_program)
}

/// The commands that come with this crate.
pub fn bundled() -> Vec<Declaration> {
    let read = |(file, text): &(&str, &str)| Declaration::read(file, text).ok();
    COMMANDS.iter().filter_map(read).collect()
}

/// File and text of the bundled command of that name.
///
/// ```
/// use skill_core::command::bundled_text;
/// assert!(bundled_text("semgrep-scan").is_some());
/// assert!(bundled_text("nothing").is_none());
/// ```
pub fn bundled_text(name: &str) -> Option<(&'static str, &'static str)> {
    let name = name.replace('_', "-");
    COMMANDS.iter().copied().find(|(file, _)| file.strip_suffix(".toml") == Some(&name))
}

/// Whether a text is meant as the declaration of a command, and of nothing else.
///
/// ```
/// use skill_core::command::is_command;
/// assert!(is_command("skill = \"files/v1.0/count\""));
/// assert!(!is_command("name = \"GitHub\"\nbase_url = \"https://api.github.com\""));
/// ```
pub fn is_command(text: &str) -> bool {
    declared::is_command(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bundled_command_can_be_read() {
        for (file, text) in COMMANDS {
            let declared = Declaration::read(file, text).unwrap_or_else(|problems| {
                panic!(
                    "{}",
                    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
                )
            });
            assert_eq!(Some(declared.name().as_str()), file.strip_suffix(".toml"));
            assert_eq!(
                declared.info.tool.id.as_ref().map(|id| id.as_str()),
                Some(declared.name().as_str())
            );
        }
        assert_eq!(bundled().len(), COMMANDS.len());
    }
}
