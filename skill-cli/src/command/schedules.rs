//! `skill schedules`: runs that the clock asks for.

use std::process::ExitCode;

use http::Method;
use serde_json::Value;

use super::Owner;
use crate::{
    context::{Context, Global},
    door::{Ask, Door, segment},
    output::{member, table},
};

/// List scheduled jobs, look at one, run one at once or remove it
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Schedules {
    /// List the scheduled jobs, and when each is due next
    List(Owner),
    /// Show a scheduled job with its input
    Show(One),
    /// Run a scheduled job at once, beside its times; `skill serve` does so
    Run(One),
    /// Remove a scheduled job; runs that it made go on
    Remove(One),
}

#[derive(Debug, clap::Args)]
pub(crate) struct One {
    /// The job's identifier, as `schedules list` prints it
    id: String,

    #[command(flatten)]
    owner: Owner,
}

impl Schedules {
    pub(crate) async fn run(self, global: &Global) -> anyhow::Result<ExitCode> {
        let context = global.context()?;
        let door = Door::open(&context.loaded.config, self.owner()).await?;
        let answer = door.send(self.ask()).await.and_then(|answer| Ok(answer.json()?));
        let has_server = door.has_server();
        door.close().await;
        let answer = answer?;
        match &self {
            Self::Remove(One { id, .. }) => {
                let gone = serde_json::json!({"id": id, "removed": true});
                context.output.show(&gone, || format!("{id} is removed"))?;
            }
            Self::List(_) | Self::Show(_) | Self::Run(_) => {
                self.print(&context, &answer, has_server)?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    fn owner(&self) -> &str {
        let (Self::List(owner)
        | Self::Show(One { owner, .. })
        | Self::Run(One { owner, .. })
        | Self::Remove(One { owner, .. })) = self;
        &owner.owner
    }

    fn ask(&self) -> Ask {
        let of = |id: &str| format!("/api/scheduled-jobs/{}", segment(id));
        match self {
            Self::List(_) => Ask::new(Method::GET, "/api/scheduled-jobs"),
            Self::Show(One { id, .. }) => Ask::new(Method::GET, of(id)),
            Self::Run(One { id, .. }) => Ask::new(Method::POST, format!("{}/run", of(id))),
            Self::Remove(One { id, .. }) => Ask::new(Method::DELETE, of(id)),
        }
    }

    fn print(&self, context: &Context, answer: &Value, has_server: bool) -> anyhow::Result<()> {
        let output = context.output;
        match self {
            Self::List(_) => output.show(answer, || {
                let columns = [
                    "id",
                    "skill_category",
                    "skill_name",
                    "cron_expression",
                    "next_run_at",
                    "last_due_at",
                    "last_error",
                    "disabled_reason",
                ];
                rows(answer, &columns)
            }),
            Self::Show(_) | Self::Remove(_) => {
                output.show(answer, || serde_json::to_string_pretty(answer).unwrap_or_default())
            }
            Self::Run(_) => output.show(answer, || {
                let id = member(answer, "job_id");
                match has_server {
                    true => format!("{id} is queued"),
                    false => format!("{id} waits: `skill serve` runs it"),
                }
            }),
        }?;
        Ok(())
    }
}

/// A list as a table.
pub(super) fn rows(answer: &Value, columns: &[&str]) -> String {
    let items = answer.as_array().into_iter().flatten();
    let rows = items.map(|item| columns.iter().map(|column| member(item, column)).collect());
    table(columns, &rows.collect::<Vec<Vec<_>>>())
}
