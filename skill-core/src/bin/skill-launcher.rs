//! Starts the programs of command skills, for engines whose own program cannot: see
//! `skill_core::command::Launcher`.

use std::process::ExitCode;

fn main() -> ExitCode {
    #[cfg(target_os = "linux")]
    if let Some(code) = skill_core::command::launch() {
        return code;
    }
    eprintln!("skill-launcher is started by an engine, and does nothing by itself");
    ExitCode::from(2)
}
