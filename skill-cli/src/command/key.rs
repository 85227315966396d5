//! `skill key`: makes, lists, replaces and revokes API keys.

use std::process::ExitCode;

use http::Method;
use serde_json::{Value, json};

use super::{Owner, list};
use crate::{
    context::{Context, Global},
    door::{Ask, Door, segment},
    failure::Failure,
    output::{line, member, table},
};

/// Make, list, replace and revoke API keys
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Key {
    /// Make a key and print it, this once only
    Create(Create),
    /// List the keys, without the secret part
    List(Owner),
    /// Replace a key by a fresh one and print it, this once only
    Rotate(Rotate),
    /// Revoke a key, at once
    Revoke(Revoke),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Create {
    /// What the key is for, 1 to 200 characters
    name: String,

    /// What it may do: `*`, integrations, or single actions, as in `github,slack/post_message`
    #[arg(long, value_name = "SCOPES", default_value = "*")]
    scopes: String,

    /// How long it lives, such as 90d, 12h, 30m or 45s [default: until it is revoked]
    #[arg(long, value_name = "TIME")]
    expires_in: Option<String>,

    /// What it is for: api, admin, user, service or temporary
    #[arg(long = "type", value_name = "TYPE", default_value = "api")]
    kind: String,

    /// Its limits: one of the tiers of the configuration [default: those of the owner's plan]
    #[arg(long, value_name = "TIER")]
    tier: Option<String>,

    #[command(flatten)]
    owner: Owner,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Rotate {
    /// The key's identifier, as `key list` prints it
    id: String,

    /// How long the old key goes on, such as 0, 30m or 7d [default: 1h; a user's key ends at once]
    #[arg(long, value_name = "TIME")]
    overlap: Option<String>,

    #[command(flatten)]
    owner: Owner,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Revoke {
    /// The key's identifier, as `key list` prints it
    id: String,

    #[command(flatten)]
    owner: Owner,
}

impl Key {
    pub(crate) async fn run(self, global: &Global) -> anyhow::Result<ExitCode> {
        let context = global.context()?;
        let owner = match &self {
            Self::Create(Create { owner, .. })
            | Self::List(owner)
            | Self::Rotate(Rotate { owner, .. })
            | Self::Revoke(Revoke { owner, .. }) => owner,
        };
        // What is wrong with the arguments is said before a data directory is made.
        let ask = self.ask()?;
        let door = Door::open(&context.loaded.config, &owner.owner).await?;
        let answer = door.send(ask).await.and_then(|answer| Ok(answer.json()?));
        door.close().await;
        self.print(&context, &answer?)?;
        Ok(ExitCode::SUCCESS)
    }

    fn ask(&self) -> Result<Ask, Failure> {
        match self {
            Self::Create(create) => create.ask(),
            Self::List(_) => Ok(Ask::new(Method::GET, "/api-keys")),
            Self::Rotate(rotate) => rotate.ask(),
            Self::Revoke(revoke) => {
                Ok(Ask::new(Method::DELETE, format!("/api-keys/{}", segment(&revoke.id))))
            }
        }
    }

    fn print(&self, context: &Context, answer: &Value) -> anyhow::Result<()> {
        let output = context.output;
        match self {
            Self::Create(_) => output.show(answer, || {
                let (id, key) = (member(&answer["api_key"], "id"), member(answer, "full_key"));
                format!("{key}\n\nThis is shown once. To revoke it: skill key revoke {id}")
            })?,
            Self::List(_) => output.show(answer, || keys(answer))?,
            Self::Rotate(rotate) => output.show(answer, || {
                let (id, key) = (member(answer, "id"), member(answer, "key"));
                format!("{key}\n\nThis is shown once. It is {id} and follows {}.", rotate.id)
            })?,
            Self::Revoke(revoke) if output.is_text() => line(&format!("{} is revoked", revoke.id))?,
            Self::Revoke(revoke) => line(&json!({ "id": revoke.id, "revoked": true }).to_string())?,
        }
        Ok(())
    }
}

fn keys(answer: &Value) -> String {
    let columns =
        ["id", "name", "key_prefix", "scopes", "last_used_at", "expires_at", "revoked_at"];
    let keys = answer.as_array().into_iter().flatten();
    let rows = keys.map(|key| columns.map(|column| member(key, column)).to_vec());
    table(&columns.map(|column| column.trim_start_matches("key_")), &rows.collect::<Vec<_>>())
}

impl Create {
    fn ask(&self) -> Result<Ask, Failure> {
        let scopes = list(Some(&self.scopes));
        let mut body = json!({ "name": self.name, "type": self.kind, "scopes": scopes });
        if let Some(time) = &self.expires_in {
            body["expires_in"] = seconds(time)?.into();
        }
        if let Some(tier) = &self.tier {
            body["tier"] = tier.as_str().into();
        }
        Ok(Ask::new(Method::POST, "/_operator/keys").body(body))
    }
}

impl Rotate {
    fn ask(&self) -> Result<Ask, Failure> {
        let mut body = json!({});
        match self.overlap.as_deref() {
            None => {}
            Some("0") => body["overlap"] = 0.into(),
            Some(time) => body["overlap"] = seconds(time)?.into(),
        }
        Ok(Ask::new(Method::POST, format!("/v1/keys/{}/rotate", segment(&self.id))).body(body))
    }
}

/// Reads a time such as `90d`; a bare number is in seconds.
pub(super) fn seconds(text: &str) -> Result<u64, Failure> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "" | "s" => Some(1),
        "m" => Some(60),
        "h" => Some(3600),
        "d" => Some(24 * 3600),
        _ => None,
    };
    let count = digits.parse::<u64>().ok().filter(|count| *count > 0);
    let seconds = count.zip(unit).and_then(|(count, unit)| count.checked_mul(unit));
    seconds.ok_or_else(|| {
        Failure::usage(format!("expected a time such as 90d, 12h, 30m or 45s, got `{text}`"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        assert_eq!(seconds("90d").unwrap(), 7_776_000);
        assert_eq!(seconds("45").unwrap(), 45);
        for text in ["", "d", "0h", "1w", "-1s", "1.5h", "99999999999999999999d"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
