//! `skill connections`: lists the connected accounts.

use std::process::ExitCode;

use http::Method;
use serde_json::Value;

use super::Owner;
use crate::{
    context::Global,
    door::{Ask, Door},
    output::{member, table},
};

/// List the connected accounts
///
/// To connect one: `skill connect`. To remove one: `skill connection remove`.
#[derive(Debug, clap::Args)]
pub(crate) struct Connections {
    #[command(flatten)]
    owner: Owner,
}

impl Connections {
    pub(crate) async fn run(self, global: &Global) -> anyhow::Result<ExitCode> {
        let context = global.context()?;
        let door = Door::open(&context.loaded.config, &self.owner.owner).await?;
        let answer = door.send(Ask::new(Method::GET, "/v1/connections")).await;
        let answer = answer.and_then(|answer| Ok(answer.json()?));
        door.close().await;
        let answer = answer?;
        context.output.show(&answer, || connections(&answer))?;
        Ok(ExitCode::SUCCESS)
    }
}

fn connections(answer: &Value) -> String {
    let columns = ["id", "integration", "label", "account", "status", "last_used_at", "last_error"];
    let items = answer.get("items").and_then(Value::as_array).into_iter().flatten();
    let rows = items.map(|item| columns.map(|column| member(item, column)).to_vec());
    table(&columns, &rows.collect::<Vec<_>>())
}
