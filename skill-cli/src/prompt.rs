//! Secrets from a person or a pipe: never from the command line, which every user can read.

use std::{
    io::{self, BufRead as _, IsTerminal as _, Read as _},
    path::Path,
};

use anyhow::Context as _;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use secrecy::SecretString;

use crate::{assemble::secret_file, output::note};

/// The longest secret that is read, in bytes.
const LONGEST: u64 = 1 << 20;

/// Reads a secret: from `file` if one is named, else from standard input. On a terminal a person is
/// asked for `what` and does not see what they type.
pub(crate) fn secret(file: Option<&Path>, what: &str) -> anyhow::Result<SecretString> {
    if let Some(file) = file {
        return secret_file(file);
    }
    if io::stdin().is_terminal() {
        return ask(what);
    }
    let mut text = String::new();
    let read = io::stdin().lock().take(LONGEST).read_to_string(&mut text);
    read.context("the secret on standard input cannot be read")?;
    Ok(text.trim_end_matches(['\n', '\r']).into())
}

/// Asks a person for a secret.
pub(crate) fn ask(what: &str) -> anyhow::Result<SecretString> {
    note(&format!("{what} (it is not shown):"));
    let mut text = String::new();
    let silence = Silence::begin();
    let read = io::stdin().lock().read_line(&mut text);
    drop(silence);
    read.context("the secret cannot be read")?;
    Ok(text.trim_end_matches(['\n', '\r']).into())
}

/// A terminal that does not show what is typed, until this is dropped.
struct Silence(Option<Termios>);

impl Silence {
    fn begin() -> Self {
        let before = tcgetattr(io::stdin()).ok();
        if let Some(mut silent) = before.clone() {
            silent.local_modes -= LocalModes::ECHO;
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, &silent);
        }
        Self(before)
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, before);
        }
    }
}
