//! `skill seal`: the key that seals what is kept.

use std::{process::ExitCode, time::Duration};

use http::Method;
use serde_json::Value;

use crate::{
    context::Global,
    door::{Ask, Door},
    failure::Failure,
    output::{member, note},
};

/// How often is looked how far it is.
const LOOK: Duration = Duration::from_millis(300);

/// Replace the key that seals credentials and results, and show which are in use
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Seal {
    /// Seal with a fresh key, and everything that is kept anew, while calls go on
    ///
    /// Nobody has to wait, and a process that dies in the middle goes on at its next start. The old
    /// key stays in the key file until the next start finds that nothing needs it: make a copy of
    /// the key file now, and keep the old line for as long as you keep backups made before.
    ///
    /// Where the key comes from `seal.key` or `seal.command`, add a line with the next version
    /// there instead (`skill config --defaults` says how), and start again.
    Rotate(Wait),
    /// Show the versions of the keys, and how far sealing anew is
    Status,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Wait {
    /// Do not wait until everything is sealed anew: the server goes on by itself
    #[arg(long)]
    no_wait: bool,
}

impl Seal {
    pub(crate) async fn run(self, global: &Global) -> anyhow::Result<ExitCode> {
        let context = global.context()?;
        let door = Door::open(&context.loaded.config, "default").await?;
        let answer = self.ask(&door).await;
        door.close().await;
        let answer = answer?;
        let keys = answer.get("keys").and_then(Value::as_array);
        let newest = keys.and_then(|keys| keys.last()).cloned().unwrap_or_default();
        context.output.show(&answer, || match under_way(&answer) {
            true => format!("key {newest} seals; older values are being sealed anew"),
            false => format!("key {newest} seals, and nothing older is left"),
        })?;
        if let Some(trouble) = answer.get("trouble").and_then(Value::as_str) {
            note(&format!("it stopped for now and is tried again: {trouble}"));
        }
        match answer.get("unreadable").and_then(Value::as_u64) {
            None | Some(0) => Ok(ExitCode::SUCCESS),
            Some(count) => {
                let message = format!("{count} values do not open, so that no older key can go");
                Err(Failure::new(message).hint("the log names them").into())
            }
        }
    }

    async fn ask(&self, door: &Door) -> anyhow::Result<Value> {
        let look = || door.send(Ask::new(Method::GET, "/_operator/seal"));
        let mut answer = match self {
            Self::Status => return Ok(look().await?.json()?),
            Self::Rotate(_) => {
                door.send(Ask::new(Method::POST, "/_operator/seal/rotate")).await?.json()?
            }
        };
        let mut told = String::new();
        while under_way(&answer) && matches!(self, Self::Rotate(Wait { no_wait: false })) {
            tokio::time::sleep(LOOK).await;
            answer = look().await?.json()?;
            let count = member(&answer, "resealed");
            if count != told {
                note(&format!("{count} values sealed anew"));
                told = count;
            }
        }
        Ok(answer)
    }
}

fn under_way(answer: &Value) -> bool {
    answer.get("is_under_way").and_then(Value::as_bool).unwrap_or_default()
}
