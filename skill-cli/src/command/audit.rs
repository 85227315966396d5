//! `skill audit`: who did what.

use std::process::ExitCode;

use http::Method;
use serde_json::Value;

use super::Owner;
use crate::{
    context::Global,
    door::{Ask, Door},
    output::{member, table},
};

/// Show who made, changed and removed keys, connections and webhooks, the newest first
#[derive(Debug, clap::Args)]
pub(crate) struct Audit {
    /// How many lines at most, up to 1000
    #[arg(long, value_name = "NUMBER", default_value_t = 50)]
    limit: u64,

    #[command(flatten)]
    owner: Owner,
}

impl Audit {
    pub(crate) async fn run(self, global: &Global) -> anyhow::Result<ExitCode> {
        let context = global.context()?;
        let door = Door::open(&context.loaded.config, &self.owner.owner).await?;
        let ask = Ask::new(Method::GET, format!("/_operator/audit?limit={}", self.limit));
        let answer = door.send(ask).await.and_then(|answer| Ok(answer.json()?));
        door.close().await;
        let answer = answer?;
        context.output.show(&answer, || lines(&answer))?;
        Ok(ExitCode::SUCCESS)
    }
}

fn lines(answer: &Value) -> String {
    let columns = ["at", "actor", "event", "target", "outcome"];
    let lines = answer.as_array().into_iter().flatten();
    let rows = lines.map(|line| columns.map(|column| member(line, column)).to_vec());
    table(&columns, &rows.collect::<Vec<_>>())
}
