//! `skill revoke-everything`: the way out.

use std::{
    io::{self, BufRead as _, IsTerminal as _},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context as _;
use http::Method;
use serde_json::{Value, json};

use crate::{
    context::Global,
    door::{Ask, Door},
    failure::Failure,
    output::{member, note, table},
};

/// End every key, run and connection at once, at the services too
///
/// For the day on which somebody else has the keys. API keys are revoked first, then runs are
/// cancelled, then every connection is revoked at its service, as far as that can be done, and its
/// credential destroyed here in any case. What a service did not revoke is listed: end that access
/// in the service's own settings. OAuth clients stay; give them new secrets. Afterwards `skill key
/// create` makes a key, and people connect their accounts again.
#[derive(Debug, clap::Args)]
pub(crate) struct RevokeEverything {
    /// Only what belongs to this owner
    #[arg(long, value_name = "OWNER")]
    owner: Option<String>,

    /// Only connections and runs of this integration; keys go on
    #[arg(long, value_name = "INTEGRATION")]
    integration: Option<String>,

    /// Do not ask
    #[arg(long)]
    yes: bool,

    /// How long services may take to revoke, altogether, in seconds, up to 300
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    patience: u64,
}

impl RevokeEverything {
    pub(crate) async fn run(self, global: &Global) -> anyhow::Result<ExitCode> {
        let context = global.context()?;
        if !self.yes {
            self.confirm()?;
        }
        let mut body = json!({ "patience": self.patience });
        for (name, value) in [("owner", &self.owner), ("integration", &self.integration)] {
            if let Some(value) = value {
                body[name] = value.as_str().into();
            }
        }
        let door = Door::open(&context.loaded.config, "default").await?;
        let limit = Duration::from_secs(self.patience + 600);
        let ask = Ask::new(Method::POST, "/_operator/revoke").body(body).limit(Some(limit));
        let answer = door.send(ask).await;
        door.close().await;
        let answer = answer?.json()?;
        let left = answer.get("not_revoked_upstream").and_then(Value::as_array);
        let left = left.map(Vec::as_slice).unwrap_or_default();
        context.output.show(&answer, || {
            let count = |name| member(&answer, name);
            let columns = ["owner", "integration", "account", "connection", "why"];
            let rows = left.iter().map(|left| columns.map(|c| member(left, c)).to_vec());
            let done = format!(
                "{} keys revoked, {} runs cancelled, {} connections destroyed",
                count("keys"),
                count("runs"),
                count("connections")
            );
            match left {
                [] => done,
                _ => format!("{done}\n\n{}", table(&columns, &rows.collect::<Vec<_>>())),
            }
        })?;
        if !left.is_empty() {
            note(&format!(
                "{} of them may still be good at their services: end the access there",
                left.len()
            ));
        }
        Ok(ExitCode::SUCCESS)
    }

    fn extent(&self) -> String {
        match (&self.owner, &self.integration) {
            (None, None) => "every key, run and connection of every owner".to_owned(),
            (Some(owner), None) => format!("every key, run and connection of {owner}"),
            (None, Some(slug)) => format!("every run and connection of {slug}, of every owner"),
            (Some(owner), Some(slug)) => format!("every run and connection of {owner} at {slug}"),
        }
    }

    fn confirm(&self) -> anyhow::Result<()> {
        let extent = self.extent();
        if !io::stdin().is_terminal() {
            let failure = Failure::usage(format!("this ends {extent}, and cannot be undone"));
            return Err(failure.hint("say --yes").into());
        }
        note(&format!("This ends {extent}, and cannot be undone. Type `revoke` to go on:"));
        let mut typed = String::new();
        io::stdin().lock().read_line(&mut typed).context("nothing can be read")?;
        match typed.trim() {
            "revoke" => Ok(()),
            _ => Err(Failure::new("nothing was revoked").into()),
        }
    }
}
