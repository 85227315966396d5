//! `skill app`: OAuth clients.

use std::{path::PathBuf, process::ExitCode};

use http::Method;
use secrecy::ExposeSecret as _;
use serde_json::json;

use crate::{
    context::Global,
    door::{Ask, Door},
    output::member,
    prompt,
};

/// Add OAuth clients, through which accounts are connected
#[derive(Debug, clap::Subcommand)]
pub(crate) enum App {
    Add(Add),
}

/// Add an OAuth client that you registered with a provider, or give one a new secret
///
/// The secret is read from --client-secret-file, else from standard input; on a terminal you are
/// asked for it. An empty one is that of a public client, which has none. Register the redirect URL
/// PUBLIC_URL/oauth/callback with the provider.
#[derive(Debug, clap::Args)]
pub(crate) struct Add {
    /// The integration, such as github
    integration: String,

    /// The client's identifier, from the provider
    #[arg(long, value_name = "ID")]
    client_id: String,

    /// The file that holds the client's secret
    #[arg(long, value_name = "FILE")]
    client_secret_file: Option<PathBuf>,

    /// The owner whose own client it is [default: the operator's, for every owner]
    #[arg(long, value_name = "OWNER")]
    owner: Option<String>,
}

impl App {
    pub(crate) async fn run(self, global: &Global) -> anyhow::Result<ExitCode> {
        match self {
            Self::Add(add) => add.run(global).await,
        }
    }
}

impl Add {
    async fn run(self, global: &Global) -> anyhow::Result<ExitCode> {
        let context = global.context()?;
        let secret = prompt::secret(self.client_secret_file.as_deref(), "The client's secret")?;
        let mut body = json!({ "integration": self.integration, "client_id": self.client_id });
        if !secret.expose_secret().is_empty() {
            body["client_secret"] = secret.expose_secret().into();
        }
        if let Some(owner) = &self.owner {
            body["owner"] = owner.as_str().into();
        }
        let owner = self.owner.as_deref().unwrap_or("default");
        let door = Door::open(&context.loaded.config, owner).await?;
        let answer = door.send(Ask::new(Method::POST, "/_operator/apps").body(body)).await;
        let answer = answer.and_then(|answer| Ok(answer.json()?));
        door.close().await;
        let answer = answer?;
        context.output.show(&answer, || {
            let (id, holder) = (member(&answer, "id"), member(&answer, "holder"));
            let slug = member(&answer, "integration");
            format!("{id} is the client for {slug} ({holder}). To connect: skill connect {slug}")
        })?;
        Ok(ExitCode::SUCCESS)
    }
}
