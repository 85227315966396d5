//! `skill call`: one call of one endpoint.

use std::{process::ExitCode, sync::Arc, time::Duration};

use http::Method;
use serde::Deserialize;
use serde_json::{json, value::RawValue};
use skill_core::{endpoint::Endpoint, name::Slug};

use crate::{
    assemble,
    config::Config,
    context::{Context, Global},
    door::{Answer, Ask, Door, segment},
    failure::Failure,
    home::Home,
    output::{Output, line, note},
    params::{self, Given, Own},
};

/// Call an endpoint of an integration, and print what the service answers
///
/// Everything after the endpoint is a parameter: `--repo acme/webapp --labels bug,urgent --draft`.
/// Values take the type that the endpoint declares; a list is written with commas, or as JSON, or
/// by repeating the parameter. A value that begins with two hyphens follows an equals sign.
/// `skill call github create_issue --help` lists the parameters of that endpoint.
///
/// The options below may stand after the endpoint too, unless it has a parameter of that name.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "skill call [OPTIONS] <INTEGRATION> <ENDPOINT> [--PARAMETER VALUE]...",
    after_help = "Exit codes: 0 the service answered with less than 400, 1 anything else, \
                  2 the command itself was wrong."
)]
pub(crate) struct Call {
    /// The integration and the endpoint, then parameters
    #[arg(
        value_name = "INTEGRATION ENDPOINT --PARAMETER VALUE",
        required = true,
        num_args = 1..,
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    words: Vec<String>,

    /// The connection to use, by identifier or label [default: the only one, or the default one]
    #[arg(long, value_name = "CONNECTION")]
    connection: Option<String>,

    /// The owner (tenant) to act for [default: default]
    #[arg(long, value_name = "OWNER")]
    owner: Option<String>,

    /// Makes repeating the call harmless: the same key gives the first answer again
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,

    /// Give up after so many seconds [default: as the server does]
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<String>,
}

/// The options that may stand after the endpoint.
const OWN: &Own = &[
    ("connection", true),
    ("owner", true),
    ("idempotency-key", true),
    ("timeout", true),
    ("json", false),
    ("help", false),
];

/// What a call is answered with.
#[derive(Deserialize)]
struct Envelope<'a> {
    status: u16,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

impl Call {
    pub(crate) async fn run(self, global: &Global) -> anyhow::Result<ExitCode> {
        let [integration, endpoint, words @ ..] = &*self.words else {
            return Err(Failure::usage("expected an integration and an endpoint")
                .hint("for example: skill call httpbin get --q hello")
                .into());
        };
        let Context { loaded, output } = global.context()?;
        let action = find(&loaded.config, integration, endpoint)?;
        let schema = action.as_ref().map(|endpoint| endpoint.info().schema.as_value());
        let Given { params, mut own } = params::read(words, schema, OWN)?;
        if own.contains_key("help") {
            describe(integration, endpoint, action.as_deref())?;
            return Ok(ExitCode::SUCCESS);
        }
        let output = if own.contains_key("json") { Output::choose(true) } else { output };
        let owner = own.remove("owner").or(self.owner).unwrap_or_else(|| "default".to_owned());
        let mut body = json!({ "params": params });
        if let Some(connection) = own.remove("connection").or(self.connection) {
            body["connection"] = connection.into();
        }
        let path = format!("/v1/{}/{}", segment(integration), segment(endpoint));
        let ask = Ask::new(Method::POST, path)
            .body(body)
            .header("idempotency-key", own.remove("idempotency-key").or(self.idempotency_key))
            .limit(limit(own.remove("timeout").or(self.timeout).as_deref())?);
        let door = Door::open(&loaded.config, &owner).await?;
        let answer = door.send(ask).await;
        door.close().await;
        print(&answer?, output)
    }
}

fn limit(text: Option<&str>) -> Result<Option<Duration>, Failure> {
    let Some(text) = text else { return Ok(None) };
    let seconds = text.parse::<f64>().ok().filter(|seconds| *seconds > 0.0);
    let limit = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    limit.map(Some).ok_or_else(|| Failure::usage("`--timeout` expects a number of seconds"))
}

/// The endpoint in the catalogue that this configuration makes; the server may know others.
fn find(
    config: &Config,
    integration: &str,
    endpoint: &str,
) -> anyhow::Result<Option<Arc<dyn Endpoint>>> {
    let (Ok(slug), Ok(name)) = (Slug::parse(integration), Slug::parse(endpoint)) else {
        return Ok(None);
    };
    let mut all = assemble::integrations(config, &Home::of(config))?.into_iter();
    let found = all.find(|integration| integration.info().slug == slug);
    Ok(found.and_then(|integration| integration.endpoint(name.canonical())))
}

/// Prints what the service answered.
fn print(answer: &Answer, output: Output) -> anyhow::Result<ExitCode> {
    let text = answer.envelope()?;
    let Ok(envelope) = serde_json::from_str::<Envelope<'_>>(text) else {
        return Err(Failure::new("expected a status and data as the answer").into());
    };
    let data = envelope.error.or(envelope.data).map_or("null", RawValue::get);
    output.pass(data)?;
    if envelope.status < 400 {
        return Ok(ExitCode::SUCCESS);
    }
    note(&format!("error: the service answered with status {}", envelope.status));
    Ok(ExitCode::FAILURE)
}

/// Lists the parameters of an endpoint.
fn describe(
    integration: &str,
    endpoint: &str,
    action: Option<&dyn Endpoint>,
) -> anyhow::Result<()> {
    let Some(action) = action else {
        let message = format!("there is no endpoint `{endpoint}` of `{integration}` here");
        return Err(Failure::usage(message).into());
    };
    let info = action.info();
    line(&format!("{} ({} {})\n", info.summary, info.method, info.path))?;
    line(&params::described(info.schema.as_value()))?;
    Ok(())
}
