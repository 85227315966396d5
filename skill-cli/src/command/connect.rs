//! `skill connect`: a person connects an account in a browser.

use std::{
    io::{self, IsTerminal as _},
    process::{Command, ExitCode, Stdio},
    time::Duration,
};

use http::Method;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Owner, list};
use crate::{
    context::{Context, Global},
    door::{Ask, Door, segment},
    failure::Failure,
    output::{line, member, note},
};

/// How long the link opens its page.
const LINK: Duration = Duration::from_secs(30 * 60);
/// How often the state of the connection is looked at.
const PAUSE: Duration = Duration::from_secs(1);

/// Connect an account: open a page where a person says yes, and wait until they did
///
/// This needs `skill serve` to be running, since the provider sends the person back to it.
#[derive(Debug, clap::Args)]
pub(crate) struct Connect {
    /// The integration, such as github
    pub(super) integration: String,

    /// What to call the connection, to tell several of one integration apart
    #[arg(long, value_name = "LABEL")]
    pub(super) label: Option<String>,

    /// Mend this connection, by identifier or label, instead of adding one; nothing is waited for
    #[arg(long, value_name = "CONNECTION", conflicts_with = "label")]
    pub(super) connection: Option<String>,

    /// What to ask the provider for, with commas between [default: as the integration declares]
    #[arg(long, value_name = "SCOPES")]
    pub(super) scopes: Option<String>,

    /// Print the page's address and open no browser
    #[arg(long)]
    pub(super) no_browser: bool,

    /// Print the page's address and do not wait
    #[arg(long)]
    pub(super) no_wait: bool,

    #[command(flatten)]
    pub(super) owner: Owner,
}

impl Connect {
    pub(crate) async fn run(self, global: &Global) -> anyhow::Result<ExitCode> {
        let context = global.context()?;
        let door = Door::open(&context.loaded.config, &self.owner.owner).await?;
        let connected = match door.has_server() {
            true => self.connect(&door, &context).await.map(drop),
            false => Err(Failure::new("no server is running on this data directory")
                .hint("start `skill serve` first: the provider sends the person back to it")
                .into()),
        };
        door.close().await;
        connected.map(|()| ExitCode::SUCCESS)
    }

    /// Has somebody connect; returns the connection once it works, and nothing when nobody waits.
    pub(super) async fn connect(
        &self,
        door: &Door,
        context: &Context,
    ) -> anyhow::Result<Option<String>> {
        let mut body = json!({ "integration": self.integration });
        if let Some(label) = &self.label {
            body["label"] = label.as_str().into();
        }
        if let Some(connection) = &self.connection {
            body["connection"] = connection.as_str().into();
        }
        if let Some(scopes) = list(self.scopes.as_deref()) {
            body["scopes"] = scopes.into();
        }
        let begun = door.send(Ask::new(Method::POST, "/v1/connect").body(body)).await?;
        let begun = begun.json().map_err(|failure| match begun.is_unavailable() {
            true => failure.hint(format!(
                "register an OAuth client with the provider, then: skill app add {} --client-id …",
                self.integration
            )),
            false => failure,
        })?;
        let (id, url) = (member(&begun, "connection_id"), member(&begun, "oauth_url"));
        context.output.show(&begun, || {
            format!("Open this page to connect {}:\n\n  {url}\n", self.integration)
        })?;
        if self.no_wait || self.connection.is_some() {
            return Ok(None);
        }
        if io::stdout().is_terminal() && !self.no_browser {
            open(&url);
        }
        if context.output.is_text() {
            note("Waiting for the person to say yes (Ctrl-C to stop waiting) …");
        }
        self.wait(door, context, &id).await?;
        Ok(Some(id))
    }

    /// Waits until the connection works, or the link has ended.
    async fn wait(&self, door: &Door, context: &Context, id: &str) -> anyhow::Result<()> {
        let until = Instant::now() + LINK;
        while Instant::now() < until {
            let path = format!("/v1/connect/{}", segment(id));
            let state = door.send(Ask::new(Method::GET, path)).await?.json()?;
            match state.get("status").and_then(Value::as_str) {
                Some("pending") => tokio::time::sleep(PAUSE).await,
                Some("connected") => {
                    let text = || format!("{} is connected: {id}", self.integration);
                    let state = json!({ "connection_id": id, "status": "connected" });
                    context.output.show(&state, text)?;
                    return Ok(());
                }
                _ => return Err(self.refused(door, id).await),
            }
        }
        // The link's own end: nothing can connect through it any more.
        let message = "nobody said yes within 30 minutes, so the page is closed";
        line(&json!({ "connection_id": id, "status": "pending" }).to_string())?;
        Err(Failure::new(message).hint("run the command again").into())
    }

    /// Why a connection did not come to be.
    async fn refused(&self, door: &Door, id: &str) -> anyhow::Error {
        let path = format!("/v1/connections/{}", segment(id));
        let found = door.send(Ask::new(Method::GET, path)).await;
        let found = found.and_then(|answer| Ok(answer.json()?)).unwrap_or_default();
        let failure = Failure::new(format!("{} was not connected", self.integration));
        match found.get("last_error").and_then(Value::as_str) {
            Some(reason) => failure.detail(reason).into(),
            None => failure.into(),
        }
    }
}

/// Opens a page in the person's browser, if there is one; the address was printed anyway.
fn open(url: &str) {
    let program = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let mut command = Command::new(program);
    command.arg(url).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if let Err(error) = command.spawn() {
        tracing::debug!(%error, "no browser was opened");
    }
}
