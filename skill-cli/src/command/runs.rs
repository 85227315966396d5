//! `skill runs`: lists runs, shows how they ended, stops them and waits for them.

use std::process::ExitCode;

use http::Method;
use serde_json::{Value, json};

use super::{Owner, watch};
use crate::{
    context::{Context, Global},
    door::{Answer, Ask, Door, segment},
    output::{member, table},
    server::Signals,
};

/// List runs, show how they ended, stop them and wait for them
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Runs {
    /// List the runs, the newest first
    List(List),
    /// Show a run: how it goes, or how it ended
    Show(One),
    /// Stop a run that has not ended; it never ends otherwise afterwards
    Cancel(One),
    /// Let a run go on that is held because its data was restored from a backup
    ///
    /// Whatever it did after the backup was made is not known here and may be done again. Look at
    /// the service first; `runs cancel` ends a run instead.
    Release(Release),
    /// Wait for the end of a run and print its result
    ///
    /// While `skill serve` runs, it works on the run. Without a server this process does, and on
    /// whatever else waits, until the run has ended. Ctrl-C ends the waiting, not the run.
    #[command(after_help = "Exit codes: 0 the run ended well, 1 anything else, 130 after Ctrl-C, \
                            2 the command itself was wrong.")]
    Watch(One),
}

#[derive(Debug, clap::Args)]
pub(crate) struct List {
    /// Only those in this state: queued, running, held, success, error or cancelled
    #[arg(long, value_name = "STATE")]
    status: Option<String>,

    /// Only those of this tool, such as github-create-issue
    #[arg(long, value_name = "TOOL")]
    tool: Option<String>,

    /// Only those older than this run
    #[arg(long, value_name = "RUN")]
    after: Option<String>,

    /// How many at most, up to 100
    #[arg(long, value_name = "NUMBER", default_value_t = 50)]
    limit: u64,

    #[command(flatten)]
    owner: Owner,
}

#[derive(Debug, clap::Args)]
pub(crate) struct One {
    /// The run's identifier, as `runs list` prints it
    id: String,

    #[command(flatten)]
    owner: Owner,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Release {
    /// The run's identifier, as `runs list --status held` prints it
    #[arg(required_unless_present = "all")]
    id: Option<String>,

    /// Every held run of the owner
    #[arg(long, conflicts_with = "id")]
    all: bool,

    #[command(flatten)]
    owner: Owner,
}

impl Runs {
    pub(crate) async fn run(self, global: &Global) -> anyhow::Result<ExitCode> {
        let context = global.context()?;
        let config = &context.loaded.config;
        if let Self::Watch(one) = &self {
            let door = Door::open_and_work(config, &one.owner.owner).await?;
            return watch::to_the_end(door, &one.id, context.output, Signals::new()?).await;
        }
        let door = Door::open(config, self.owner()).await?;
        let answer = door.send(self.ask()).await;
        door.close().await;
        self.print(&context, &answer?)?;
        Ok(ExitCode::SUCCESS)
    }

    fn owner(&self) -> &str {
        let (Self::List(List { owner, .. })
        | Self::Show(One { owner, .. })
        | Self::Cancel(One { owner, .. })
        | Self::Release(Release { owner, .. })
        | Self::Watch(One { owner, .. })) = self;
        &owner.owner
    }

    fn ask(&self) -> Ask {
        match self {
            Self::List(list) => list.ask(),
            Self::Show(one) | Self::Watch(one) => Ask::new(Method::GET, one.path()),
            Self::Cancel(one) => Ask::new(Method::DELETE, one.path()),
            Self::Release(Release { id: Some(id), .. }) => {
                Ask::new(Method::POST, format!("/_operator/held/{}", segment(id)))
            }
            Self::Release(Release { id: None, .. }) => Ask::new(Method::POST, "/_operator/held"),
        }
    }

    fn print(&self, context: &Context, answer: &Answer) -> anyhow::Result<()> {
        let output = context.output;
        match self {
            Self::List(_) => {
                let answer = answer.json()?;
                output.show(&answer, || runs(&answer))?;
            }
            // Digits stay as the service wrote them.
            Self::Show(_) | Self::Watch(_) => output.pass(answer.text()?)?,
            Self::Cancel(one) => {
                let answer = answer.json()?;
                output.show(&answer, || format!("{} is cancelled", one.id))?;
            }
            Self::Release(_) => {
                let answer = answer.json()?;
                output.show(&answer, || {
                    match answer.get("released").and_then(Value::as_array) {
                        Some(released) => format!("{} runs go on", released.len()),
                        None => format!("{} goes on", member(&answer, "execution_id")),
                    }
                })?;
            }
        }
        Ok(())
    }
}

impl One {
    fn path(&self) -> String {
        format!("/v1/executions/{}", segment(&self.id))
    }
}

impl List {
    fn ask(&self) -> Ask {
        let asked = [("status", &self.status), ("tool_id", &self.tool), ("after", &self.after)];
        let asked = asked.into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
        let asked = asked.map(|(name, value)| format!("&{name}={}", segment(value)));
        let query = asked.collect::<String>();
        Ask::new(Method::GET, format!("/v1/executions?limit={}{query}", self.limit))
    }
}

fn runs(answer: &Value) -> String {
    let mut columns =
        vec!["id", "tool_id", "status", "progress", "attempts", "created_at", "duration_ms"];
    let runs = answer.get("executions").and_then(Value::as_array).into_iter().flatten();
    // Most runs are of no conversation.
    if runs.clone().any(|run| run.get("trigger_type").is_some()) {
        columns.extend(["agent_id", "trigger_type"]);
    }
    let rows = runs.map(|run| columns.iter().map(|column| member(run, column)).collect::<Vec<_>>());
    let rows = rows.collect::<Vec<_>>();
    let listed = table(&columns, &rows);
    match answer.get("has_more") {
        Some(more) if *more == json!(true) => {
            let total = member(answer, "total");
            format!("{listed}\n\n{} of {total}; older ones: --after ID", rows.len())
        }
        _ => listed,
    }
}
