//! `skill plan`: what an owner may do.

use std::process::ExitCode;

use http::Method;
use serde_json::json;

use super::Owner;
use crate::{
    context::Global,
    door::{Ask, Door},
};

/// Put owners on plans
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Plan {
    /// Put an owner on a plan of the configuration, at once
    Set(Set),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Set {
    /// The plan, as in the tables `plans` that `skill config` shows
    plan: String,

    #[command(flatten)]
    owner: Owner,
}

impl Plan {
    pub(crate) async fn run(self, global: &Global) -> anyhow::Result<ExitCode> {
        let Self::Set(Set { plan, owner: Owner { owner } }) = self;
        let context = global.context()?;
        let door = Door::open(&context.loaded.config, &owner).await?;
        let ask = Ask::new(Method::PUT, "/_operator/plan").body(json!({ "plan": plan }));
        let answer = door.send(ask).await.and_then(|answer| Ok(answer.json()?));
        door.close().await;
        answer?;
        let done = json!({ "owner": owner, "plan": plan });
        context.output.show(&done, || format!("{owner} is on the plan {plan}"))?;
        Ok(ExitCode::SUCCESS)
    }
}
