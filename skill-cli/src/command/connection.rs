//! `skill connection`: brings connections in, and removes them.

use std::process::ExitCode;

use http::Method;
use serde_json::json;

use super::{Owner, connection_import::Import, connections::Connections};
use crate::{
    context::Global,
    door::{Ask, Door, segment},
    output::line,
};

/// Bring a credential in, or remove a connected account
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Connection {
    Import(Import),
    Remove(Remove),
    List(Connections),
}

/// Remove a connection; its access is revoked at the service where that can be done
#[derive(Debug, clap::Args)]
pub(crate) struct Remove {
    /// The connection's identifier, as `skill connections` prints it
    id: String,

    #[command(flatten)]
    owner: Owner,
}

impl Connection {
    pub(crate) async fn run(self, global: &Global) -> anyhow::Result<ExitCode> {
        match self {
            Self::Import(import) => import.run(global).await,
            Self::Remove(remove) => remove.run(global).await,
            Self::List(list) => list.run(global).await,
        }
    }
}

impl Remove {
    async fn run(self, global: &Global) -> anyhow::Result<ExitCode> {
        let context = global.context()?;
        let door = Door::open(&context.loaded.config, &self.owner.owner).await?;
        let path = format!("/v1/connections/{}", segment(&self.id));
        let answer = door.send(Ask::new(Method::DELETE, path)).await;
        let answer = answer.and_then(|answer| Ok(answer.text().map(drop)?));
        door.close().await;
        answer?;
        match context.output.is_text() {
            true => line(&format!("{} is removed", self.id))?,
            false => line(&json!({ "id": self.id, "removed": true }).to_string())?,
        }
        Ok(ExitCode::SUCCESS)
    }
}
