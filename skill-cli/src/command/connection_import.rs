//! `skill connection import`: a credential that somebody has already.

use std::{
    io::{self, IsTerminal as _},
    path::PathBuf,
    process::ExitCode,
};

use http::Method;
use secrecy::ExposeSecret as _;
use serde_json::{Map, Value, json};
use skill_core::{integration::Integration, name::Slug};

use super::Owner;
use crate::{
    assemble,
    config::Config,
    context::Global,
    door::{Ask, Door},
    failure::Failure,
    home::Home,
    output::{member, note},
    prompt,
};

/// Bring in a credential that you have already: a token, a key, an OAuth grant
///
/// It is read as a JSON object from --credentials-file, else from standard input; on a terminal
/// you are asked for each field. It is tried out with a harmless call, and not kept if that fails.
/// The fields: `token` (bearer), `api_key` (api_key), `username` and `password` (basic),
/// `access_token`, `refresh_token`, `expires_at`, `scopes` (oauth2).
#[derive(Debug, clap::Args)]
pub(crate) struct Import {
    /// The integration, such as github
    pub(super) integration: String,

    /// The file that holds the credential as a JSON object
    #[arg(long, value_name = "FILE")]
    pub(super) credentials_file: Option<PathBuf>,

    /// What to call the connection, to tell several of one integration apart
    #[arg(long, value_name = "LABEL")]
    pub(super) label: Option<String>,

    #[command(flatten)]
    pub(super) owner: Owner,
}

impl Import {
    pub(crate) async fn run(self, global: &Global) -> anyhow::Result<ExitCode> {
        let context = global.context()?;
        let config = &context.loaded.config;
        let body = self.body(config)?;
        let door = Door::open(config, &self.owner.owner).await?;
        let answer = send(&door, body).await;
        door.close().await;
        let answer = answer?;
        context.output.show(&answer, || {
            let (id, status) = (member(&answer, "connection_id"), member(&answer, "status"));
            format!("{id} is {status}")
        })?;
        Ok(ExitCode::SUCCESS)
    }

    /// Brings the credential in through a door that is open.
    pub(super) async fn keep(&self, door: &Door, config: &Config) -> anyhow::Result<Value> {
        send(door, self.body(config)?).await
    }

    fn body(&self, config: &Config) -> anyhow::Result<Value> {
        let credentials = self.credentials(config)?;
        let mut body = json!({ "integration": self.integration, "credentials": credentials });
        if let Some(label) = &self.label {
            body["label"] = label.as_str().into();
        }
        Ok(body)
    }

    fn credentials(&self, config: &Config) -> anyhow::Result<Map<String, Value>> {
        if self.credentials_file.is_none() && io::stdin().is_terminal() {
            return self.typed(config);
        }
        let text = prompt::secret(self.credentials_file.as_deref(), "Credentials as JSON")?;
        // What is wrong is said without the text, which is the secret.
        serde_json::from_str(text.expose_secret()).map_err(|_| {
            let failure = Failure::usage("the credentials are no JSON object");
            failure.hint(r#"expected something like {"token": "…"}"#).into()
        })
    }

    /// Asks a person for each field.
    fn typed(&self, config: &Config) -> anyhow::Result<Map<String, Value>> {
        let integration = find(config, &self.integration)?;
        let mut given = Map::new();
        let auth = integration.auth();
        let facts = integration.fields().iter().filter(|field| !auth.finds(&field.name));
        for field in facts.chain(auth.fields()) {
            let text = prompt::ask(&field.label)?;
            if !text.expose_secret().is_empty() {
                given.insert(field.name.clone(), text.expose_secret().into());
            }
        }
        if given.is_empty() {
            note("nothing was typed in");
        }
        Ok(given)
    }
}

async fn send(door: &Door, body: Value) -> anyhow::Result<Value> {
    Ok(door.send(Ask::new(Method::POST, "/v1/connect").body(body)).await?.json()?)
}

/// Finds an integration in the catalogue that this configuration makes.
pub(super) fn find(config: &Config, name: &str) -> anyhow::Result<std::sync::Arc<dyn Integration>> {
    let slug = Slug::parse(name).map_err(|error| Failure::usage(error.to_string()))?;
    let mut all = assemble::integrations(config, &Home::of(config))?.into_iter();
    let found = all.find(|integration| integration.info().slug == slug);
    found.ok_or_else(|| Failure::usage(format!("there is no integration `{name}`")).into())
}
