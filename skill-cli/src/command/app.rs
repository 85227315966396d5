//! `skill app`: OAuth clients.

use std::{path::PathBuf, process::ExitCode};

use http::Method;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use crate::{
    context::{Context, Global},
    door::{Ask, Door, segment},
    output::{member, table},
    prompt,
};

/// OAuth clients, through which accounts are connected
///
/// A new connection goes through its owner's newest client for the integration, else through the
/// operator's newest one. Each connection stays with the client that it was made through.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum App {
    Add(Add),
    List(List),
    Rotate(Rotate),
    Remove(Remove),
}

/// List OAuth clients, the newest first
#[derive(Debug, clap::Args)]
pub(crate) struct List {
    #[command(flatten)]
    holder: Holder,
}

/// Give an OAuth client another secret; connections made through it go on working
///
/// The secret is read as `skill app add` reads it.
#[derive(Debug, clap::Args)]
pub(crate) struct Rotate {
    /// The client, as `skill app list` prints it
    id: String,

    /// The file that holds the client's secret
    #[arg(long, value_name = "FILE")]
    client_secret_file: Option<PathBuf>,

    #[command(flatten)]
    holder: Holder,
}

/// Remove an OAuth client that no connection needs
#[derive(Debug, clap::Args)]
pub(crate) struct Remove {
    /// The client, as `skill app list` prints it
    id: String,

    /// Remove it although connections need it: they end with their present access
    #[arg(long)]
    force: bool,

    #[command(flatten)]
    holder: Holder,
}

/// Whose clients.
#[derive(Debug, clap::Args)]
struct Holder {
    /// The owner whose own client it is [default: the operator's, for every owner]
    #[arg(long, value_name = "OWNER")]
    owner: Option<String>,
}

impl Holder {
    /// Asks for something about this holder's clients.
    async fn ask(
        &self,
        context: &Context,
        (method, path): (Method, String),
        body: Option<Value>,
    ) -> anyhow::Result<Value> {
        let owner = self.owner.as_deref();
        let mark = if path.contains('?') { '&' } else { '?' };
        let path =
            owner.map_or_else(|| path.clone(), |o| format!("{path}{mark}owner={}", segment(o)));
        let door = Door::open(&context.loaded.config, owner.unwrap_or("default")).await?;
        let ask = Ask::new(method, path);
        let ask = match body {
            Some(body) => ask.body(body),
            None => ask,
        };
        let answer = door.send(ask).await.and_then(|answer| Ok(answer.json()?));
        door.close().await;
        answer
    }
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

    #[command(flatten)]
    holder: Holder,
}

impl App {
    pub(crate) async fn run(self, global: &Global) -> anyhow::Result<ExitCode> {
        match self {
            Self::Add(add) => add.run(global).await,
            Self::List(list) => list.run(global).await,
            Self::Rotate(rotate) => rotate.run(global).await,
            Self::Remove(remove) => remove.run(global).await,
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
        if let Some(owner) = &self.holder.owner {
            body["owner"] = owner.as_str().into();
        }
        let what = (Method::POST, "/_operator/apps".to_owned());
        let answer = Holder { owner: None }.ask(&context, what, Some(body)).await?;
        context.output.show(&answer, || {
            let (id, holder) = (member(&answer, "id"), member(&answer, "holder"));
            let slug = member(&answer, "integration");
            format!("{id} is the client for {slug} ({holder}). To connect: skill connect {slug}")
        })?;
        Ok(ExitCode::SUCCESS)
    }
}

impl List {
    async fn run(self, global: &Global) -> anyhow::Result<ExitCode> {
        let context = global.context()?;
        let what = (Method::GET, "/_operator/apps".to_owned());
        let all = self.holder.ask(&context, what, None).await?;
        context.output.show(&all, || shown(&all))?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Rotate {
    async fn run(self, global: &Global) -> anyhow::Result<ExitCode> {
        let context = global.context()?;
        let secret = prompt::secret(self.client_secret_file.as_deref(), "The client's secret")?;
        let mut body = json!({});
        if !secret.expose_secret().is_empty() {
            body["client_secret"] = secret.expose_secret().into();
        }
        let what = (Method::PUT, format!("/_operator/apps/{}/secret", segment(&self.id)));
        let answer = self.holder.ask(&context, what, Some(body)).await?;
        context.output.show(&answer, || format!("{} has another secret", self.id))?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Remove {
    async fn run(self, global: &Global) -> anyhow::Result<ExitCode> {
        let context = global.context()?;
        let force = if self.force { "?force=true" } else { "" };
        let what = (Method::DELETE, format!("/_operator/apps/{}{force}", segment(&self.id)));
        self.holder.ask(&context, what, None).await?;
        let done = json!({ "id": self.id, "removed": true });
        context.output.show(&done, || format!("{} is removed", self.id))?;
        Ok(ExitCode::SUCCESS)
    }
}

fn shown(all: &Value) -> String {
    let columns = ["id", "integration", "client_id", "has_secret", "holder", "created_at"];
    let items = all.as_array().into_iter().flatten();
    let rows = items.map(|item| columns.map(|column| member(item, column)).to_vec());
    table(&columns, &rows.collect::<Vec<_>>())
}
