//! `skill webhooks`: who is told about what, and what became of the messages to them.

use std::process::ExitCode;

use http::Method;
use serde_json::{Value, json};

use super::Owner;
use crate::{
    context::{Context, Global},
    door::{Ask, Door, segment},
    output::{member, table},
};

/// List subscriptions and the messages to them, and send one again
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Webhooks {
    /// List the subscriptions, and why nothing is sent to those that are disabled
    List(Owner),
    /// List the messages to a subscriber, the newest first
    Deliveries(Deliveries),
    /// Send a message again, under its own id; `skill serve` does so
    Replay(Replay),
    /// Send a message that says nothing, to see whether it arrives; `skill serve` does so
    Test(One),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Deliveries {
    /// The subscription's identifier, as `webhooks list` prints it
    id: String,

    /// Only those in this state: waiting, delivered or dead
    #[arg(long, value_name = "STATE")]
    status: Option<String>,

    /// How many at most, up to 100
    #[arg(long, value_name = "NUMBER", default_value_t = 50)]
    limit: u64,

    #[command(flatten)]
    owner: Owner,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Replay {
    /// The subscription's identifier, as `webhooks list` prints it
    id: String,

    /// The message's identifier, as `webhooks deliveries` prints it
    message: String,

    #[command(flatten)]
    owner: Owner,
}

#[derive(Debug, clap::Args)]
pub(crate) struct One {
    /// The subscription's identifier, as `webhooks list` prints it
    id: String,

    #[command(flatten)]
    owner: Owner,
}

impl Webhooks {
    pub(crate) async fn run(self, global: &Global) -> anyhow::Result<ExitCode> {
        let context = global.context()?;
        let door = Door::open(&context.loaded.config, self.owner()).await?;
        let answer = door.send(self.ask()).await.and_then(|answer| Ok(answer.json()?));
        let has_server = door.has_server();
        door.close().await;
        self.print(&context, &answer?, has_server)?;
        Ok(ExitCode::SUCCESS)
    }

    fn owner(&self) -> &str {
        let (Self::List(owner)
        | Self::Deliveries(Deliveries { owner, .. })
        | Self::Replay(Replay { owner, .. })
        | Self::Test(One { owner, .. })) = self;
        &owner.owner
    }

    fn ask(&self) -> Ask {
        let of = |id: &str| format!("/v1/webhooks/{}", segment(id));
        match self {
            Self::List(_) => Ask::new(Method::GET, "/v1/webhooks?limit=100"),
            Self::Deliveries(Deliveries { id, status, limit, .. }) => {
                let status = status.as_ref().map(|state| format!("&status={}", segment(state)));
                let query = status.unwrap_or_default();
                Ask::new(Method::GET, format!("{}/deliveries?limit={limit}{query}", of(id)))
            }
            Self::Replay(Replay { id, message, .. }) => {
                let path = format!("{}/deliveries/{}/replay", of(id), segment(message));
                Ask::new(Method::POST, path)
            }
            Self::Test(One { id, .. }) => Ask::new(Method::POST, format!("{}/test", of(id))),
        }
    }

    fn print(&self, context: &Context, answer: &Value, has_server: bool) -> anyhow::Result<()> {
        let output = context.output;
        match self {
            Self::List(_) => output.show(answer, || {
                rows(answer, &["id", "url", "events", "status", "disabled_reason", "created_at"])
            }),
            Self::Deliveries(_) => output.show(answer, || {
                let columns = ["id", "event", "status", "attempts", "response_status", "error"];
                let listed = rows(answer, &columns);
                match answer.get("has_more") {
                    Some(more) if *more == json!(true) => {
                        format!("{listed}\n\n{} in all", member(answer, "total"))
                    }
                    _ => listed,
                }
            }),
            Self::Replay(_) | Self::Test(_) => output.show(answer, || {
                let id = member(answer, "id");
                match has_server {
                    true => format!("{id} is on its way"),
                    false => format!("{id} waits: `skill serve` sends it"),
                }
            }),
        }?;
        Ok(())
    }
}

fn rows(answer: &Value, columns: &[&str]) -> String {
    let items = answer.get("items").and_then(Value::as_array).into_iter().flatten();
    let rows = items.map(|item| columns.iter().map(|column| member(item, column)).collect());
    table(columns, &rows.collect::<Vec<Vec<_>>>())
}
