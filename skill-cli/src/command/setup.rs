//! `skill setup`: from nothing to a call that works.

use std::{
    io::{self, BufRead as _, IsTerminal as _},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
};

use anyhow::Context as _;
use http::Method;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use skill_core::integration::Integration;

use super::{Owner, connect::Connect, connection_import::Import};
use crate::{
    context::{Context, Global},
    door::{Ask, Door, segment},
    failure::Failure,
    output::{member, note},
    prompt,
};

/// Set an integration up: register the OAuth client, or the key, connect, and try it
///
/// Says where the OAuth client is registered, with which redirect URL and which scopes, takes its
/// id and its secret, has the provider check them as far as it does that, keeps the secret sealed,
/// connects an account in the browser, and makes one harmless call. Integrations with a key ask for
/// the key instead. Without a terminal, and without --client-id or --credentials-file, it only says
/// what has to be done.
#[derive(Debug, clap::Args)]
pub(crate) struct Setup {
    /// The integration, such as github
    integration: String,

    /// The client's identifier, from the provider
    #[arg(long, value_name = "ID")]
    client_id: Option<String>,

    /// The file that holds the client's secret [default: standard input, or you are asked]
    #[arg(long, value_name = "FILE")]
    client_secret_file: Option<PathBuf>,

    /// Of integrations with a key: the file that holds it, as a JSON object
    #[arg(long, value_name = "FILE")]
    credentials_file: Option<PathBuf>,

    /// What to call the connection, to tell several of one integration apart
    #[arg(long, value_name = "LABEL")]
    label: Option<String>,

    /// Keep the client and connect no account
    #[arg(long)]
    no_connect: bool,

    /// Print the page's address and open no browser
    #[arg(long)]
    no_browser: bool,

    #[command(flatten)]
    owner: Owner,
}

impl Setup {
    pub(crate) async fn run(self, global: &Global) -> anyhow::Result<ExitCode> {
        let context = global.context()?;
        let integration =
            super::connection_import::find(&context.loaded.config, &self.integration)?;
        if !integration.auth().needs_connection() {
            let text = format!("{} needs no account: call it as it is", self.integration);
            context.output.show(&json!({ "status": "ready" }), || text)?;
            return Ok(ExitCode::SUCCESS);
        }
        let door = Door::open(&context.loaded.config, &self.owner.owner).await?;
        let done = self.through(&door, &context, &integration).await;
        door.close().await;
        done
    }

    async fn through(
        &self,
        door: &Door,
        context: &Context,
        integration: &Arc<dyn Integration>,
    ) -> anyhow::Result<ExitCode> {
        let status = door.send(Ask::new(Method::GET, "/_operator/status")).await?.json()?;
        let is_oauth = integration.auth().asks_a_person();
        self.tell(context, integration, &member(&status, "public_url"))?;
        let given =
            if is_oauth { self.client_id.is_some() } else { self.credentials_file.is_some() };
        if !given && !io::stdin().is_terminal() {
            return Ok(ExitCode::SUCCESS);
        }
        let connection = if is_oauth {
            self.client(door, context).await?;
            if self.no_connect {
                return Ok(ExitCode::SUCCESS);
            }
            if !door.has_server() {
                let failure = Failure::new("no server is running on this data directory");
                let next = format!("skill connect {}", self.integration);
                let hint = format!("the client is kept: start `skill serve`, then {next}");
                return Err(failure.hint(hint).into());
            }
            self.connect().connect(door, context).await?
        } else {
            let kept = self.import().keep(door, &context.loaded.config).await?;
            Some(member(&kept, "connection_id"))
        };
        match connection {
            Some(id) => self.try_out(door, context, (integration, &id)).await,
            None => Ok(ExitCode::SUCCESS),
        }
    }

    /// Says what has to be done at the provider.
    fn tell(
        &self,
        context: &Context,
        integration: &Arc<dyn Integration>,
        public_url: &str,
    ) -> anyhow::Result<()> {
        let info = integration.info();
        let is_oauth = integration.auth().asks_a_person();
        let redirect = format!("{}/oauth/callback", public_url.trim_end_matches('/'));
        let (setup, scopes) = (info.setup.as_ref(), integration.auth().scopes());
        let place = setup.map(|setup| setup.url.as_str()).or(info.docs.as_deref());
        let steps = setup.map(|setup| setup.steps.as_slice()).unwrap_or_default();
        let fields = integration.auth().fields().iter().map(|field| field.name.as_str());
        let mut answer = json!({
            "integration": info.slug.as_str(), "register_at": place, "steps": steps,
            "source": setup.map(|setup| setup.source.as_str()),
        });
        if is_oauth {
            answer["redirect_url"] = redirect.as_str().into();
            answer["scopes"] = scopes.into();
        } else {
            answer["fields"] = fields.collect::<Vec<_>>().into();
        }
        context.output.show(&answer, || {
            let what = if is_oauth { "Register an OAuth client" } else { "Get a key" };
            let mut text =
                vec![format!("{what} for {}: {}", info.name, place.unwrap_or("-")), String::new()];
            text.extend(steps.iter().enumerate().map(|(n, step)| format!("  {}. {step}", n + 1)));
            if is_oauth {
                text.push(format!("\n  redirect URL  {redirect}"));
                let scopes = if scopes.is_empty() { "none".to_owned() } else { scopes.join(" ") };
                text.push(format!("  scopes        {scopes}"));
            }
            text.extend(setup.map(|setup| format!("\n  ({})", setup.source)));
            text.push(String::new());
            text.join("\n")
        })?;
        Ok(())
    }

    /// Takes the client, has the provider look at it, and keeps it.
    async fn client(&self, door: &Door, context: &Context) -> anyhow::Result<()> {
        let id = match &self.client_id {
            Some(id) => id.clone(),
            None => typed("The client's id:")?,
        };
        let secret: SecretString = prompt::secret(
            self.client_secret_file.as_deref(),
            "The client's secret; nothing for a public client",
        )?;
        let mut body = json!({ "integration": self.integration, "client_id": id });
        if !secret.expose_secret().is_empty() {
            body["client_secret"] = secret.expose_secret().into();
        }
        let tried = Ask::new(Method::POST, "/_operator/apps/try").body(body.clone());
        let tried = member(&door.send(tried).await?.json()?, "client");
        if tried == "unknown" {
            let message =
                format!("{} does not know this client, or its secret is another", self.integration);
            let hint = "copy both again from the provider's page; nothing was kept";
            return Err(Failure::new(message).hint(hint).into());
        }
        let kept = door.send(Ask::new(Method::POST, "/_operator/apps").body(body)).await?.json()?;
        let answer = json!({ "app": kept["id"], "client": tried });
        context.output.show(&answer, || match tried.as_str() {
            "known" => "The provider knows the client, and it is kept.".to_owned(),
            _ => "The client is kept; the provider says nothing of it before somebody connects."
                .to_owned(),
        })?;
        Ok(())
    }

    fn connect(&self) -> Connect {
        Connect {
            integration: self.integration.clone(),
            label: self.label.clone(),
            connection: None,
            scopes: None,
            no_browser: self.no_browser,
            no_wait: false,
            owner: Owner { owner: self.owner.owner.clone() },
        }
    }

    fn import(&self) -> Import {
        Import {
            integration: self.integration.clone(),
            credentials_file: self.credentials_file.clone(),
            label: self.label.clone(),
            owner: Owner { owner: self.owner.owner.clone() },
        }
    }

    /// Makes one harmless call through the new connection.
    async fn try_out(
        &self,
        door: &Door,
        context: &Context,
        (integration, id): (&Arc<dyn Integration>, &str),
    ) -> anyhow::Result<ExitCode> {
        let path = format!("/v1/connections/{}", segment(id));
        let found = door.send(Ask::new(Method::GET, path)).await?.json()?;
        let account = member(&found, "account");
        let Some(verification) = &integration.info().verification else {
            let answer = json!({ "connection_id": id, "status": "connected", "call": null });
            let text = || format!("{id} is connected; there is no harmless call to try it with");
            context.output.show(&answer, text)?;
            return Ok(ExitCode::SUCCESS);
        };
        let endpoint = verification.endpoint.as_str();
        let path = format!("/v1/{}/{}", segment(&self.integration), segment(endpoint));
        let call = Ask::new(Method::POST, path).body(json!({ "params": {} }));
        let answer = door.send(call.header("skill-connection", Some(id.to_owned()))).await?;
        let envelope: Value = serde_json::from_str(answer.envelope()?).context("the answer")?;
        let status = envelope.get("status").and_then(Value::as_u64).unwrap_or_default();
        let saw = json!({
            "connection_id": id, "account": found["account"],
            "call": format!("{}/{endpoint}", self.integration), "status": status,
        });
        context.output.show(&saw, || {
            let of =
                if account == "-" { String::new() } else { format!(", the account is {account}") };
            format!("{endpoint} answered {status}{of}. It works: {id}")
        })?;
        if (200..300).contains(&status) {
            return Ok(ExitCode::SUCCESS);
        }
        let said = envelope.get("error").map(Value::to_string).unwrap_or_default();
        let failure = Failure::new(format!("{endpoint} answered {status}"));
        Err(failure.detail(said).hint("are the scopes the ones above?").into())
    }
}

/// Asks a person for something that is no secret.
fn typed(what: &str) -> anyhow::Result<String> {
    note(what);
    let mut text = String::new();
    io::stdin().lock().read_line(&mut text).context("nothing can be read")?;
    match text.trim() {
        "" => Err(Failure::usage("nothing was typed in").into()),
        text => Ok(text.to_owned()),
    }
}
