//! `skill catalog probe`

use std::process::ExitCode;

use http::Method;
use serde_json::{Value, json};
use skill_core::integration::{Integration, Verification};

use super::{code, find, proof, verified};
use crate::{
    command::Owner,
    context::{Context, Global},
    door::{Ask, Door, segment},
    failure::Failure,
};

/// The call is the one that the declaration names under `verify`; it changes nothing. It goes the
/// way of every call, with a connection of the owner, and is kept in the history.
#[derive(Debug, clap::Args)]
pub(crate) struct Probe {
    /// The integration, such as github
    integration: String,

    /// The connection to use, by identifier or label [default: the only one, or the default one]
    #[arg(long, value_name = "CONNECTION")]
    connection: Option<String>,

    #[command(flatten)]
    owner: Owner,
}

/// What came back.
struct Seen {
    status: u16,
    account: Option<String>,
}

impl Probe {
    pub(super) async fn run(self, global: &Global) -> anyhow::Result<ExitCode> {
        let Context { loaded, output } = global.context()?;
        let integration = find(&loaded.config, &self.integration)?;
        let Some(verification) = integration.info().verification.clone() else {
            let message = format!("`{}` names no call that may be made", self.integration);
            let hint = "add `verify = { endpoint = \"…\" }` to its declaration: a call without \
                        parameters that changes nothing";
            return Err(Failure::new(message).hint(hint).into());
        };
        let door = Door::open(&loaded.config, &self.owner.owner).await?;
        let seen = self.ask(&door, &verification).await;
        door.close().await;
        let seen = seen?;
        let proven = proves(&*integration, &seen);
        let shown = json!({
            "integration": integration.info().slug.as_str(),
            "endpoint": verification.endpoint.as_str(),
            "status": seen.status,
            "account": seen.account,
            "proves": proven,
            "verified": verified(&*integration),
        });
        output.show(&shown, || {
            let (name, endpoint) = (&integration.info().name, &verification.endpoint);
            let account = seen.account.as_deref().map(|account| format!(", as {account}"));
            format!(
                "{name} answered `{endpoint}` with status {}{}.\n{proven}\nThe declaration says {}: {}.",
                seen.status,
                account.unwrap_or_default(),
                verified(&*integration).unwrap_or("nothing"),
                proof(integration.info().verified),
            )
        })?;
        Ok(code((200..300).contains(&seen.status)))
    }

    async fn ask(&self, door: &Door, verification: &Verification) -> anyhow::Result<Seen> {
        let mut body = json!({ "params": {} });
        if let Some(connection) = &self.connection {
            body["connection"] = connection.as_str().into();
        }
        let (integration, endpoint) = (&self.integration, verification.endpoint.as_str());
        let path = format!("/v1/{}/{}", segment(integration), segment(endpoint));
        let answer = door.send(Ask::new(Method::POST, path).body(body)).await?;
        let envelope = serde_json::from_str::<Value>(answer.envelope()?)?;
        let status = envelope.get("status").and_then(Value::as_u64).unwrap_or_default();
        let data = envelope.get("data").unwrap_or(&Value::Null);
        let account = match data.pointer(&verification.account) {
            Some(Value::String(text)) => Some(text.clone()),
            Some(Value::Number(number)) => Some(number.to_string()),
            _ => None,
        };
        Ok(Seen { status: u16::try_from(status).unwrap_or_default(), account })
    }
}

/// What the answer proves, and what it does not.
fn proves(integration: &dyn Integration, seen: &Seen) -> String {
    let others = integration.endpoints().count().saturating_sub(1);
    let rest = format!("The other {others} endpoints were not called.");
    match seen.status {
        200..300 => {
            let signed = match integration.auth().needs_connection() {
                true => "the address, how requests are signed, and this connection's credential",
                false => "the address, which needs no credential",
            };
            let account = match seen.account {
                Some(_) => "",
                None => " The answer names no account where `verify.account` expects one.",
            };
            format!("That proves {signed}. {rest}{account}")
        }
        401 | 403 => {
            "That proves the address only: the service refuses this credential, or how it \
                      is sent. Reconnect, then try again."
                .to_owned()
        }
        404 | 405 | 410 => {
            "That proves that the host answers: the path or the method of `verify.endpoint` is \
             not what the service has."
                .to_owned()
        }
        429 | 500.. => {
            "That proves that the host answers, and nothing else: try again later.".to_owned()
        }
        _ => "That proves that the host answers: it does not take this request as it is \
              declared."
            .to_owned(),
    }
}
