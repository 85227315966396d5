//! How a command ends badly: a message, a hint, and an exit code.

use std::{error::Error, fmt, io};

use anstream::eprintln;

use crate::output::escaped;

/// What a command could not do, and what to do about it.
#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    details: Vec<String>,
    hint: Option<String>,
    code: u8,
}

impl Failure {
    /// Returns a failure of the work itself: exit code 1.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), details: Vec::new(), hint: None, code: 1 }
    }

    /// Returns a failure of how the command was written: exit code 2.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { code: 2, ..Self::new(message) }
    }

    /// Adds what to do about it.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds a line under the message.
    #[must_use]
    pub(crate) fn detail(mut self, detail: impl Into<String>) -> Self {
        self.details.push(detail.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Failure {}

/// Prints an error with its causes and its hint, and returns the exit code.
pub(crate) fn report(error: &anyhow::Error) -> u8 {
    let known = error.chain().find_map(|cause| cause.downcast_ref::<Failure>());
    if known.is_none() && error.chain().any(is_broken_pipe) {
        return 0;
    }
    eprintln!("\x1b[1;31merror\x1b[0m: {}", escaped(&error.to_string()));
    for cause in error.chain().skip(1) {
        eprintln!("  {}", escaped(&told(cause)));
    }
    // The first link of the chain was printed as its message alone; here is what else it knows.
    let facts = error.downcast_ref::<skill_core::Error>().map(skill_core::Error::log_line);
    if let Some(facts) = facts.filter(|facts| !facts.ends_with(&error.to_string())) {
        eprintln!("  {}", escaped(&facts));
    }
    let Some(Failure { details, hint, code, .. }) = known else { return 1 };
    let said = error.to_string().replace('`', "");
    for detail in details.iter().filter(|detail| **detail != said) {
        eprintln!("  {}", escaped(detail));
    }
    if let Some(hint) = hint {
        eprintln!("\x1b[1mhint\x1b[0m: {}", escaped(hint));
    }
    *code
}

/// A cause for the operator, who may read the engine's facts.
fn told(cause: &(dyn Error + 'static)) -> String {
    let core = cause.downcast_ref::<skill_core::Error>();
    core.map_or_else(|| cause.to_string(), skill_core::Error::log_line)
}

fn is_broken_pipe(cause: &(dyn Error + 'static)) -> bool {
    let io = cause.downcast_ref::<io::Error>();
    io.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
