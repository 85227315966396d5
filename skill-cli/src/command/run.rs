//! `skill run`: an action as a queued run.

use std::process::ExitCode;

use http::Method;
use serde_json::Value;
use skill_core::{
    catalog::Catalog,
    clock::{Clock as _, SystemClock},
    id::RequestId,
    name::{ActionName, Slug},
};

use super::{key::seconds, watch};
use crate::{
    assemble,
    config::Config,
    context::{Context, Global},
    door::{Ask, Door, segment},
    failure::Failure,
    home::Home,
    output::{Output, line, member},
    params::{self, Given, Own},
    server::Signals,
};

/// Queue an action, wait until it has run, and print its result
///
/// `skill run github/create_issue` takes the parameters of `skill call github create_issue`,
/// `skill run github-create-issue` those of the tool that agents see: `skill run ACTION --help` lists
/// them. Unlike a call, a run is on disk before anything is sent, is tried again after what may be
/// tried again, and goes on when this command, the server or the machine ends.
///
/// While `skill serve` runs, it works on the run. Without a server this process does, and on
/// whatever else waits, until the run has ended; with --async it waits for the next server.
/// Ctrl-C ends the waiting, not the run: `skill runs watch` comes back to it.
///
/// The options below may stand after the action too, unless it has a parameter of that name.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "skill run [OPTIONS] <ACTION> [--PARAMETER VALUE]...",
    after_help = "Exit codes: 0 the run ended well, or was queued with --async; 1 anything else, \
                  130 after Ctrl-C; 2 the command itself was wrong."
)]
pub(crate) struct Run {
    /// The action, then parameters
    #[arg(
        value_name = "ACTION --PARAMETER VALUE",
        required = true,
        num_args = 1..,
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    words: Vec<String>,

    /// Wait for the end of the run and print its result; this is the default
    #[arg(long, conflicts_with = "no_wait")]
    wait: bool,

    /// Print the run's identifier as soon as it is on disk, and do not wait
    #[arg(long = "async")]
    no_wait: bool,

    /// The connection to use, by identifier or label [default: the only one, or the default one]
    #[arg(long, value_name = "CONNECTION")]
    connection: Option<String>,

    /// The owner (tenant) to act for [default: default]
    #[arg(long, value_name = "OWNER")]
    owner: Option<String>,

    /// Makes repeating the command harmless: the same key gives the first run again
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,

    /// How many seconds one attempt may take, at most 300 [default: as the server does]
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<String>,

    /// How long the run may take with all its attempts, such as 45s, 30m or 12h [default: 15m]
    #[arg(long, value_name = "TIME")]
    deadline: Option<String>,

    /// Begin only after this time, such as 30m, 12h or 7d
    #[arg(long, value_name = "TIME")]
    delay: Option<String>,

    /// From -100 to 100; higher ones go first among the owner's runs of one integration [default: 0]
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    priority: Option<String>,
}

/// The options that may stand after the action.
const OWN: &Own = &[
    ("wait", false),
    ("async", false),
    ("connection", true),
    ("owner", true),
    ("idempotency-key", true),
    ("timeout", true),
    ("deadline", true),
    ("delay", true),
    ("priority", true),
    ("json", false),
    ("help", false),
];

impl Run {
    pub(crate) async fn run(mut self, global: &Global) -> anyhow::Result<ExitCode> {
        let Context { loaded, output } = global.context()?;
        let action = self.words.remove(0);
        let known = find(&loaded.config, &action)?;
        let schema = known.as_ref().map(|known| &known.schema);
        let Given { params, mut own } = params::read(&self.words, schema, OWN)?;
        if own.contains_key("help") {
            describe(&action, known.as_ref())?;
            return Ok(ExitCode::SUCCESS);
        }
        let output = if own.contains_key("json") { Output::choose(true) } else { output };
        if own.contains_key("wait") && (self.no_wait || own.contains_key("async")) {
            return Err(Failure::usage("`--wait` and `--async` exclude each other").into());
        }
        let waits = !self.no_wait && !own.contains_key("async");
        let owner = own.remove("owner").or_else(|| self.owner.take());
        let owner = owner.unwrap_or_else(|| "default".to_owned());
        let mut take = |name, option: Option<String>| own.remove(name).or(option);
        let query = [
            number("timeout", take("timeout", self.timeout))?,
            time("deadline", take("deadline", self.deadline).as_deref())?,
            time("delay", take("delay", self.delay).as_deref())?,
            number("priority", take("priority", self.priority))?,
        ];
        let query = query.into_iter().flatten().collect::<String>();
        let path = format!("{}?async=true{query}", path(&action));
        let key = take("idempotency-key", self.idempotency_key).map_or_else(fresh_key, Ok)?;
        let ask = Ask::new(Method::POST, path)
            .body(Value::Object(params))
            .header("skill-connection", take("connection", self.connection))
            .header("idempotency-key", Some(key));
        let door = match waits {
            true => Door::open_and_work(&loaded.config, &owner).await?,
            false => Door::open(&loaded.config, &owner).await?,
        };
        // From before there is a run: whoever stops waiting is told its name.
        let mut signals = Signals::new()?;
        let queued = watch::outlast(&door, ask, &mut signals).await;
        let queued = queued.and_then(|answer| Ok(answer.json()?));
        match queued {
            Ok(queued) if waits => {
                watch::to_the_end(door, &member(&queued, "execution_id"), output, signals).await
            }
            queued => {
                door.close().await;
                let queued = queued?;
                output.show(&queued, || submitted(&member(&queued, "execution_id"), &owner))?;
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

/// With a key of its own a request can be sent again whose answer was lost.
fn fresh_key() -> anyhow::Result<String> {
    Ok(RequestId::fresh(SystemClock::new().now())?.to_string())
}

fn submitted(id: &str, owner: &str) -> String {
    let of = if owner == "default" { String::new() } else { format!(" --owner {owner}") };
    format!("{id} is queued; to wait for its end: skill runs watch{of} {id}")
}

/// A number as a parameter of the query; the server knows its bounds.
fn number(name: &str, value: Option<String>) -> Result<Option<String>, Failure> {
    let Some(value) = value else { return Ok(None) };
    match value.parse::<i64>() {
        Ok(number) => Ok(Some(format!("&{name}={number}"))),
        Err(_) => Err(Failure::usage(format!("`--{name}` expects a whole number"))),
    }
}

/// A time as a parameter of the query, in seconds.
fn time(name: &str, value: Option<&str>) -> Result<Option<String>, Failure> {
    value.map(|value| Ok(format!("&{name}={}", seconds(value)?))).transpose()
}

/// What is known of an action.
struct Known {
    title: String,
    schema: Value,
}

/// The action in the catalogue that this configuration makes; the server may know others.
fn find(config: &Config, action: &str) -> anyhow::Result<Option<Known>> {
    let home = Home::of(config);
    let integrations = assemble::integrations(config, &home)?;
    let skills = assemble::skills::all(config, &home, &integrations)?;
    let catalog = Catalog::build(integrations, skills)?;
    let known = match action.split_once('/') {
        None => catalog.tool(action).map(|tool| Known {
            title: format!("{}: {}", tool.name, tool.description),
            schema: tool.inputs().clone(),
        }),
        Some((namespace, name)) => match (Slug::parse(namespace), Slug::parse(name)) {
            (Ok(namespace), Ok(name)) => catalog.action(&ActionName { namespace, name }),
            (Err(_), _) | (_, Err(_)) => None,
        }
        .map(|action| Known {
            title: action.summary().to_owned(),
            schema: action.schema().as_value().clone(),
        }),
    };
    Ok(known)
}

/// Where an action is queued.
fn path(action: &str) -> String {
    match action.split_once('/') {
        None => format!("/v1/tools/{}/invoke", segment(action)),
        Some((namespace, name)) => {
            format!("/_operator/runs/{}/{}", segment(namespace), segment(name))
        }
    }
}

/// Lists the parameters of an action.
fn describe(action: &str, known: Option<&Known>) -> anyhow::Result<()> {
    let Some(Known { title, schema }) = known else {
        return Err(Failure::usage(format!("there is no action `{action}` here")).into());
    };
    line(&format!("{title}\n"))?;
    line(&params::described(schema))?;
    Ok(())
}
