//! The settings as types. `defaults.toml` says what each of them means.

use std::{collections::BTreeMap, net::SocketAddr, num::NonZero, path::PathBuf};

use secrecy::SecretString;
use serde::{Deserialize, Deserializer, de::Error as _};
use skill_core::transport::egress::HostPort;
use url::Url;

use crate::log;

/// Every setting in force.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// The data directory.
    pub(crate) data: PathBuf,
    /// The address to listen on.
    pub(crate) listen: SocketAddr,
    /// How people reach the server.
    #[serde(default, deserialize_with = "web_url")]
    pub(crate) public_url: Option<Url>,
    /// Further names of the server.
    pub(crate) hosts: Vec<String>,
    /// Opens the routes of administration.
    #[serde(default, deserialize_with = "secret")]
    pub(crate) admin_secret: Option<SecretString>,
    /// The file that holds it.
    pub(crate) admin_secret_file: Option<PathBuf>,
    /// The API shapes that are spoken.
    pub(crate) dialects: Vec<Dialect>,
    /// Whether the raw door is open.
    pub(crate) raw_door: bool,
    /// Whether the upstream's status becomes the answer's.
    pub(crate) mirror_status: bool,
    /// How long ended runs are kept.
    pub(crate) history_days: NonZero<u32>,
    /// How long idempotency keys are remembered.
    pub(crate) idempotency_hours: NonZero<u32>,
    /// The plan of owners without one.
    pub(crate) default_plan: String,
    /// Logging.
    pub(crate) log: Log,
    /// Bounds of size and number.
    pub(crate) limits: Limits,
    /// Deadlines of connections to the server.
    pub(crate) timeouts: Timeouts,
    /// Queued runs.
    pub(crate) runs: Runs,
    /// Messages to subscribers.
    pub(crate) webhooks: Webhooks,
    /// What may be called.
    pub(crate) egress: Egress,
    /// Connecting accounts.
    pub(crate) connect: Connect,
    /// The sealing key.
    pub(crate) seal: Seal,
    /// Plans by name.
    pub(crate) plans: BTreeMap<String, Plan>,
    /// Calls per minute by tier.
    pub(crate) tiers: BTreeMap<String, u32>,
    /// Local programs.
    pub(crate) commands: Commands,
    /// Integrations.
    pub(crate) integrations: Integrations,
    /// Skills that are documents.
    pub(crate) skills: Skills,
}

/// An API shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Dialect {
    /// `/v1/{integration}/{endpoint}` and what belongs to it.
    Proxy,
    /// `/v1/tools` and what belongs to it.
    Tools,
    /// `/api` and `/admin`.
    Skills,
}

/// Logging.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Log {
    /// How a line looks.
    pub(crate) format: log::Format,
    /// What is logged.
    pub(crate) level: log::Level,
}

/// Bounds of size and number.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Limits {
    /// How long a call may take when nobody says.
    pub(crate) timeout_s: NonZero<u32>,
    /// How long a call may take at most.
    pub(crate) longest_timeout_s: NonZero<u32>,
    /// The largest body of a request.
    pub(crate) body_bytes: NonZero<usize>,
    /// The largest body that is passed on as it comes.
    pub(crate) upload_bytes: NonZero<u64>,
    /// How long what streams may take in all.
    pub(crate) transfer_s: NonZero<u32>,
    /// The largest answer of an upstream.
    pub(crate) answer_bytes: NonZero<usize>,
    /// Connections at one time.
    pub(crate) connections: NonZero<usize>,
    /// Streams of events, and requests that wait for a run, of one owner at one time.
    pub(crate) streams_per_owner: NonZero<usize>,
    /// Wrong keys per address and minute.
    pub(crate) wrong_keys_per_minute: u32,
}

/// Deadlines of connections to the server.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Timeouts {
    /// For a head.
    pub(crate) header_s: NonZero<u32>,
    /// For a body.
    pub(crate) body_s: NonZero<u32>,
    /// For the next request.
    pub(crate) keep_alive_s: NonZero<u32>,
    /// Between two signs of life of a stream of events.
    pub(crate) stream_s: NonZero<u32>,
    /// For a peer that does not read.
    pub(crate) write_stall_s: NonZero<u32>,
    /// For requests under way when the server stops.
    pub(crate) drain_s: u32,
}

/// Queued runs.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Runs {
    /// How many are worked on at once.
    pub(crate) workers: u32,
    /// How many attempts one gets.
    pub(crate) attempts: NonZero<u32>,
    /// How many attempts may be lost with their process.
    pub(crate) crashes: u32,
    /// Before the second attempt.
    pub(crate) backoff_s: NonZero<u32>,
    /// Between two attempts.
    pub(crate) longest_backoff_s: NonZero<u32>,
    /// How long one may take when nobody says.
    pub(crate) deadline_s: NonZero<u32>,
    /// How long one may take at most.
    pub(crate) longest_deadline_s: NonZero<u32>,
    /// How long a worker is believed without a sign of life.
    pub(crate) lease_s: NonZero<u32>,
    /// How many may wait for one owner.
    pub(crate) waiting_per_owner: NonZero<u64>,
    /// The largest result that is kept in the database.
    pub(crate) result_bytes: NonZero<usize>,
}

/// Messages to subscribers.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Webhooks {
    /// How many are sent at once.
    pub(crate) at_once: u32,
    /// How many of them to one subscriber.
    pub(crate) at_once_per_endpoint: NonZero<u32>,
    /// How long a receiver may take.
    pub(crate) timeout_s: NonZero<u32>,
    /// The pauses between attempts.
    pub(crate) pauses_s: Vec<u32>,
}

/// What may be called.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Egress {
    /// Doors beside the public ones.
    #[serde(deserialize_with = "host_ports")]
    pub(crate) allow: Vec<HostPort>,
}

/// Connecting accounts.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Connect {
    /// Where people may be sent afterwards.
    pub(crate) return_urls: Vec<String>,
}

/// The sealing key.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Seal {
    /// The key itself.
    #[serde(default, deserialize_with = "secret")]
    pub(crate) key: Option<SecretString>,
    /// The file that holds it.
    pub(crate) key_file: Option<PathBuf>,
    /// The program that prints it, and its arguments.
    pub(crate) command: Option<Vec<String>>,
}

impl Seal {
    /// Whether the key lies in the data directory.
    pub(crate) fn is_kept_in_data(&self) -> bool {
        self.key.is_none() && self.key_file.is_none() && self.command.is_none()
    }
}

/// What one plan allows; nothing and 0 are without limit.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Plan {
    /// Calls of one key in any 60 seconds.
    pub(crate) per_minute: Option<u32>,
    /// Calls of one owner in a day.
    pub(crate) per_day: Option<u32>,
    /// Connections of one owner.
    pub(crate) connections: Option<u32>,
    /// Live keys of one owner.
    pub(crate) keys: Option<u32>,
}

/// Local programs that callers may run.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Commands {
    /// Which of the declared ones, by name.
    pub(crate) enabled: Vec<String>,
    /// Where the operator's own declarations lie.
    pub(crate) directory: Option<PathBuf>,
    /// What callers may name paths below of.
    pub(crate) roots: Vec<PathBuf>,
    /// Where programs are looked for.
    pub(crate) path: Vec<PathBuf>,
    /// What all of them may read besides.
    pub(crate) read: Vec<PathBuf>,
    /// The user and the group that they run as.
    #[serde(default, deserialize_with = "user")]
    pub(crate) user: Option<(u32, u32)>,
    /// How many run at once.
    pub(crate) at_once: NonZero<usize>,
}

/// Integrations.
#[derive(Clone, Deserialize)]
pub(crate) struct Integrations {
    /// Where the operator's own lie.
    pub(crate) directory: Option<PathBuf>,
    /// Settings by slug.
    #[serde(flatten)]
    pub(crate) by_slug: BTreeMap<String, Integration>,
}

/// Skills that are documents.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Skills {
    /// Where the operator's own lie.
    pub(crate) directory: Option<PathBuf>,
}

/// Settings of one integration.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Integration {
    /// The address under which its endpoints lie.
    pub(crate) base_url: Option<String>,
    /// Where a person says yes.
    pub(crate) authorize_url: Option<String>,
    /// Where a code becomes a grant.
    pub(crate) token_url: Option<String>,
    /// Where a grant is given back.
    pub(crate) revoke_url: Option<String>,
    /// Who must answer.
    pub(crate) issuer: Option<String>,
    /// What is asked for.
    pub(crate) scopes: Option<Vec<String>>,
    /// The OAuth client's identifier.
    pub(crate) client_id: Option<String>,
    /// The OAuth client's secret.
    #[serde(default, deserialize_with = "secret")]
    pub(crate) client_secret: Option<SecretString>,
    /// The file that holds it.
    pub(crate) client_secret_file: Option<PathBuf>,
}

/// Reads a secret; what is wrong with it is said without repeating it.
fn secret<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SecretString>, D::Error> {
    match toml::Value::deserialize(from)? {
        toml::Value::String(text) if !text.is_empty() => Ok(Some(text.into())),
        toml::Value::String(_)
        | toml::Value::Integer(_)
        | toml::Value::Float(_)
        | toml::Value::Boolean(_)
        | toml::Value::Datetime(_)
        | toml::Value::Array(_)
        | toml::Value::Table(_) => Err(D::Error::custom("expected a string that is not empty")),
    }
}

fn web_url<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Url>, D::Error> {
    let url = Url::parse(&String::deserialize(from)?).ok();
    let fits = |url: &Url| matches!(url.scheme(), "http" | "https") && url.has_host();
    let expected = "expected a URL such as https://skill.example.com";
    url.filter(fits).map(Some).ok_or_else(|| D::Error::custom(expected))
}

fn host_ports<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<HostPort>, D::Error> {
    let texts = Vec::<String>::deserialize(from)?;
    texts.iter().map(|text| HostPort::parse(text).map_err(D::Error::custom)).collect()
}

fn user<'de, D: Deserializer<'de>>(from: D) -> Result<Option<(u32, u32)>, D::Error> {
    let text = String::deserialize(from)?;
    let numbers = text
        .split_once(':')
        .and_then(|(user, group)| Some((user.parse::<u32>().ok()?, group.parse::<u32>().ok()?)));
    let numbers = numbers.filter(|(user, group)| *user != 0 && *group != 0);
    let expected = "expected the numbers of a user and a group that are not root's: \"994:994\"";
    numbers.map(Some).ok_or_else(|| D::Error::custom(expected))
}
