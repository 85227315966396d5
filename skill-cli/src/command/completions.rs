//! `skill completions`: what a shell needs to complete these commands.

use std::{io::Write as _, process::ExitCode};

use clap_complete::Shell;

/// Print what a shell needs to complete commands and options
///
/// bash: `skill completions bash > ~/.local/share/bash-completion/completions/skill`
/// zsh: `skill completions zsh > DIR/_skill`, where DIR is in $fpath
/// fish: `skill completions fish > ~/.config/fish/completions/skill.fish`
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

impl Completions {
    pub(crate) fn run<Args: clap::CommandFactory>(&self) -> anyhow::Result<ExitCode> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Args::command(), "skill", &mut script);
        match std::io::stdout().write_all(&script) {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
            Ok(()) | Err(_) => Ok(ExitCode::SUCCESS),
        }
    }
}
