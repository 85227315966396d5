//! `skill tools`: what can be run.

use std::process::ExitCode;

use http::Method;
use serde_json::Value;

use super::Owner;
use crate::{
    context::{Context, Global},
    door::{Ask, Door, segment},
    output::{member, table},
    params,
};

/// List what can be run, search in it, and show how it is used
///
/// A tool is an endpoint of an integration or a skill, under the name that `skill run` takes.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Tools {
    /// List the tools
    List(List),
    /// Show a tool with its inputs, examples and documentation
    Show(Show),
    /// Find tools by words, the best ones first
    Search(Search),
}

#[derive(Debug, clap::Args)]
pub(crate) struct List {
    #[command(flatten)]
    page: Page,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Search {
    /// What to look for, such as `pull requests`
    #[arg(required = true)]
    words: Vec<String>,

    #[command(flatten)]
    page: Page,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Show {
    /// The tool's identifier, as `tools list` prints it
    id: String,

    #[command(flatten)]
    owner: Owner,
}

#[derive(Debug, clap::Args)]
struct Page {
    /// Only these: security, analysis, automation, integration or monitoring
    #[arg(long, value_name = "CATEGORY")]
    category: Option<String>,

    /// Only these: ready, beta or deprecated
    #[arg(long, value_name = "STATUS")]
    status: Option<String>,

    /// How many at most, up to 100
    #[arg(long, value_name = "NUMBER", default_value_t = 50)]
    limit: u64,

    /// How many to leave out first
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    offset: u64,

    #[command(flatten)]
    owner: Owner,
}

impl Tools {
    pub(crate) async fn run(self, global: &Global) -> anyhow::Result<ExitCode> {
        let context = global.context()?;
        let owner = match &self {
            Self::List(List { page }) | Self::Search(Search { page, .. }) => &page.owner,
            Self::Show(Show { owner, .. }) => owner,
        };
        let door = Door::open(&context.loaded.config, &owner.owner).await?;
        let answer = door.send(self.ask()).await.and_then(|answer| Ok(answer.json()?));
        door.close().await;
        self.print(&context, &answer?)?;
        Ok(ExitCode::SUCCESS)
    }

    fn ask(&self) -> Ask {
        match self {
            Self::List(List { page }) => page.ask(None),
            Self::Search(Search { words, page }) => page.ask(Some(&words.join(" "))),
            Self::Show(Show { id, .. }) => {
                Ask::new(Method::GET, format!("/v1/tools/{}", segment(id)))
            }
        }
    }

    fn print(&self, context: &Context, answer: &Value) -> anyhow::Result<()> {
        match self {
            Self::List(_) | Self::Search(_) => context.output.show(answer, || tools(answer))?,
            Self::Show(_) => context.output.show(answer, || tool(answer))?,
        }
        Ok(())
    }
}

impl Page {
    fn ask(&self, search: Option<&str>) -> Ask {
        let (category, status) = (self.category.as_deref(), self.status.as_deref());
        let asked = [("search", search), ("category", category), ("status", status)];
        let asked = asked.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let asked = asked.map(|(name, value)| format!("&{name}={}", segment(value)));
        let (limit, offset, asked) = (self.limit, self.offset, asked.collect::<String>());
        Ask::new(Method::GET, format!("/v1/tools?limit={limit}&offset={offset}{asked}"))
    }
}

fn tools(answer: &Value) -> String {
    let columns = ["id", "category", "status", "description"];
    let tools = answer.get("tools").and_then(Value::as_array).into_iter().flatten();
    let rows = tools.map(|tool| columns.map(|column| member(tool, column)).to_vec());
    let rows = rows.collect::<Vec<_>>();
    let listed = table(&columns, &rows);
    match answer.get("has_more").and_then(Value::as_bool) {
        Some(true) => {
            let total = member(answer, "total");
            format!("{listed}\n\n{} of {total}; the next ones: --offset", rows.len())
        }
        Some(false) | None => listed,
    }
}

fn tool(answer: &Value) -> String {
    let show = |name: &str| member(answer, name);
    let mut text = format!(
        "{} ({}, {}, {}, {})\n{}\n\n{}",
        show("name"),
        show("category"),
        show("status"),
        show("rate_limit"),
        show("timeout"),
        show("description"),
        params::described(answer.get("inputs_schema").unwrap_or(&Value::Null)),
    );
    for example in answer.get("examples").and_then(Value::as_array).into_iter().flatten() {
        text.push_str(&format!("\n\n{}\n  {}", member(example, "name"), example["input"]));
    }
    if let Some(documentation) = answer.get("documentation").and_then(Value::as_str) {
        text.push_str(&format!("\n\n{documentation}"));
    }
    crate::output::escaped(&text)
}
