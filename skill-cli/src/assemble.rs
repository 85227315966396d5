//! The only place where the parts are wired together.

pub(crate) mod skills;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use secrecy::{ExposeSecret as _, SecretString};
use skill_core::{
    Engine, Error, ErrorKind,
    access::{Plan, Plans},
    artifact::FileArtifacts,
    credential::seal::Keyring,
    declaration::Problem,
    executor,
    integration::{self, Integration, Overrides},
    name::{OwnerId, Slug},
    queue,
    record::app::Holder,
    reseal::Keep,
    store::sqlite::SqliteStore,
    transport::{ReqwestTransport, egress::Egress},
    webhook,
};
use skill_http::{Dialects, Metrics, Server, Settings};
use url::Url;

use crate::{
    config::{self, Config},
    failure::Failure,
    home::{self, Home},
};

/// What the store says when another process has it.
const IN_USE: &str = "the data directory is in use by another process";
/// How long the program that prints the sealing key may take.
const COMMAND: Duration = Duration::from_secs(30);

/// The parts that a command uses.
pub(crate) struct Parts {
    /// The engine.
    pub(crate) engine: Engine,
    /// Its doors.
    pub(crate) server: Server,
}

/// Who works on queued runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Workers {
    /// This process, as many at once as the configuration says.
    Here,
    /// Another process, later.
    Elsewhere,
}

/// The data directory is held by another process, for now.
#[derive(Debug)]
pub(crate) struct Busy;

impl fmt::Display for Busy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(IN_USE)
    }
}

impl std::error::Error for Busy {}

/// How people reach a server that listens on `address`.
pub(crate) fn public_url(config: &Config, address: SocketAddr) -> anyhow::Result<Url> {
    match &config.public_url {
        Some(url) => Ok(url.clone()),
        None => Url::parse(&format!("http://{address}")).context("the address makes no URL"),
    }
}

/// Opens the data directory and wires everything together.
///
/// # Errors
/// [`Busy`] when another process has the data directory.
pub(crate) async fn parts(
    config: &Config,
    home: &Home,
    (public, workers): (Url, Workers),
) -> anyhow::Result<Parts> {
    let integrations = integrations(config, home)?;
    let skills = skills::all(config, home, &integrations)?;
    let egress = Egress::new(config.egress.allow.clone());
    tell_closed_doors(config, &egress);
    home.prepare()?;
    let keyring = keyring(config, home).await?;
    let store = open(home)?;
    let artifacts = FileArtifacts::open(home.artifacts())?;
    let metrics = Metrics::new();
    let transport = ReqwestTransport::new(egress)?;
    let mut builder = Engine::builder(Arc::new(transport));
    if let Some(place) = key_place(config, home) {
        builder = builder.keep_keys(keep_at(place));
    }
    for skill in skills {
        builder = builder.skill(skill);
    }
    let engine = builder
        .store(Arc::new(store), keyring)
        .artifacts(Arc::new(artifacts))
        .observer(metrics.clone())
        .integrations(integrations)
        .plans(plans(config)?)
        .settings(calls(config))
        .queue(runs(config, workers))
        .webhooks(webhooks(config, workers))
        .public_url(public.clone())
        .return_urls(config.connect.return_urls.iter().cloned())
        .wrong_keys_per_minute(config.limits.wrong_keys_per_minute)
        .history(days(config.history_days.get()))
        .build()
        .await?;
    seed(config, &engine).await?;
    let server = Server::new(engine.clone(), metrics, settings(config, public)?)?;
    Ok(Parts { engine, server })
}

/// Opens the store; a few milliseconds on a disk that is awake.
fn open(home: &Home) -> anyhow::Result<SqliteStore> {
    SqliteStore::open(&home.database()).map_err(|error| {
        if error.message() == IN_USE { Busy.into() } else { anyhow::Error::new(error) }
    })
}

/// Every integration: the bundled ones, and the operator's own in their place or beside them.
///
/// # Errors
/// Every problem of every declaration, with file and line.
pub(crate) fn integrations(
    config: &Config,
    home: &Home,
) -> anyhow::Result<Vec<Arc<dyn Integration>>> {
    let overrides = overrides(config);
    let (mut by_slug, mut problems) = (BTreeMap::new(), Vec::new());
    let mut add = |loaded: Arc<dyn Integration>| by_slug.insert(loaded.info().slug.clone(), loaded);
    match integration::bundled(&overrides) {
        Ok(bundled) => bundled.into_iter().for_each(|loaded| drop(add(loaded))),
        Err(found) => problems.extend(found),
    }
    let mut files = BTreeSet::new();
    for (path, text) in declarations(config, home)? {
        let stem = path.rsplit('/').next().unwrap_or(&path).trim_end_matches(".toml").to_owned();
        let instead = overrides.get(&*stem.replace('_', "-")).cloned().unwrap_or_default();
        match integration::declared(&path, &text, &instead) {
            Ok(loaded) => drop(add(loaded)),
            Err(found) => problems.extend(found),
        }
        if !files.insert(stem.replace('_', "-")) {
            let what = "another file has this name (`_` and `-` are alike)".to_owned();
            problems.push(Problem { file: path, line: 1, what });
        }
    }
    if !problems.is_empty() {
        let failure = Failure::new("the integrations cannot be loaded");
        let failure = problems.iter().fold(failure, |all, one| all.detail(one.to_string()));
        return Err(failure.into());
    }
    let mut configured = config.integrations.by_slug.keys();
    if let Some(slug) = configured.find(|slug| !by_slug.contains_key(&*slug.replace('_', "-"))) {
        let known = by_slug.keys().map(Slug::as_str).collect::<Vec<_>>().join(", ");
        let message =
            format!("the configuration has settings of `{slug}`, which is no integration");
        return Err(Failure::new(message).hint(format!("there are {known}")).into());
    }
    Ok(by_slug.into_values().collect())
}

/// The operator's own declarations of integrations: path and text.
pub(crate) fn declarations(config: &Config, home: &Home) -> anyhow::Result<Vec<(String, String)>> {
    let standard = home.integrations();
    let directory = config.integrations.directory.as_deref();
    files((directory, &standard), |file| file.ends_with(".toml"))
}

/// The files of a directory whose names fit: path and text. The standard one may be missing.
fn files(
    (directory, standard): (Option<&Path>, &Path),
    fits: fn(&str) -> bool,
) -> anyhow::Result<Vec<(String, String)>> {
    let entries = match fs::read_dir(directory.unwrap_or(standard)) {
        Ok(entries) => entries,
        Err(error) if directory.is_none() && error.kind() == io::ErrorKind::NotFound => {
            return Ok(Vec::new());
        }
        Err(error) => {
            let directory = directory.unwrap_or(standard).display();
            return Err(error).with_context(|| format!("the directory {directory} cannot be read"));
        }
    };
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    paths.retain(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(fits));
    paths.sort();
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path);
        let text = text.with_context(|| format!("{} cannot be read", path.display()))?;
        Ok((path.display().to_string(), text))
    };
    paths.into_iter().map(read).collect()
}

/// What the configuration says instead of the declarations, by slug.
pub(crate) fn overrides(config: &Config) -> BTreeMap<String, Overrides> {
    let changed = config.integrations.by_slug.iter().map(|(slug, settings)| {
        let mut overrides = Overrides::default();
        let texts = [
            ("base_url", &settings.base_url),
            ("auth.authorize_url", &settings.authorize_url),
            ("auth.token_url", &settings.token_url),
            ("auth.revoke_url", &settings.revoke_url),
            ("auth.issuer", &settings.issuer),
        ];
        for (key, text) in texts {
            if let Some(text) = text {
                overrides.text(key, text);
            }
        }
        if let Some(scopes) = &settings.scopes {
            overrides.scopes(scopes.clone());
        }
        (slug.replace('_', "-"), overrides)
    });
    changed.collect()
}

/// Says which of the configured addresses no call will reach.
fn tell_closed_doors(config: &Config, egress: &Egress) {
    for (slug, settings) in &config.integrations.by_slug {
        let urls = [&settings.base_url, &settings.token_url, &settings.revoke_url];
        for url in urls.into_iter().flatten().filter_map(|url| Url::parse(url).ok()) {
            if let Err(refused) = egress.admit_url(&url) {
                let place = url.host_str().zip(url.port_or_known_default());
                let place = place.map(|(host, port)| format!("{host}:{port}")).unwrap_or_default();
                tracing::warn!(
                    integration = slug,
                    "{refused}: unless egress.allow has \"{place}\", it is not called"
                );
            }
        }
    }
}

/// The keys that seal: from a program, the configuration, a file, or the data directory.
pub(crate) async fn keyring(config: &Config, home: &Home) -> anyhow::Result<Keyring> {
    let seal = &config.seal;
    let (text, place) = match (&seal.command, &seal.key, &seal.key_file) {
        (Some(command), _, _) => (printed(command).await?, "the output of seal.command".to_owned()),
        (None, Some(key), _) => (key.clone(), "seal.key".to_owned()),
        (None, None, Some(file)) => (secret_file(file)?, file.display().to_string()),
        (None, None, None) => (kept_key(home)?, home.seal_key().display().to_string()),
    };
    text.expose_secret().parse().with_context(|| format!("{place} holds no sealing key"))
}

/// The file that the keys come from, when it is one.
pub(crate) fn key_place(config: &Config, home: &Home) -> Option<PathBuf> {
    let seal = &config.seal;
    match (&seal.command, &seal.key, &seal.key_file) {
        (Some(_), _, _) | (None, Some(_), _) => None,
        (None, None, Some(file)) => Some(file.clone()),
        (None, None, None) => Some(home.seal_key()),
    }
}

/// Writes keys to a file, in the place of those that are there.
fn keep_at(place: PathBuf) -> Keep {
    Arc::new(move |keyring| {
        home::replace(&place, &keyring.expose()).map_err(|cause| {
            let message = "the file of the sealing key cannot be written: nothing was changed";
            Error::new(ErrorKind::Unavailable, message)
                .with("path", place.display())
                .with("cause", cause)
        })
    })
}

/// The key of the data directory, which is made on the first start.
fn kept_key(home: &Home) -> anyhow::Result<SecretString> {
    let path = home.seal_key();
    let is_missing = !path.try_exists()?;
    if is_missing && home.database().try_exists()? {
        let message = format!("the sealing key {} is missing", path.display());
        let hint = "restore it: without it no credential in this data directory can be opened";
        return Err(Failure::new(message).hint(hint).into());
    }
    if is_missing {
        let text = Keyring::generate()?.expose();
        let kept = home.keep(&path, &text);
        kept.with_context(|| format!("the sealing key {} cannot be kept", path.display()))?;
    }
    secret_file(&path)
}

/// What a program prints.
async fn printed(command: &[String]) -> anyhow::Result<SecretString> {
    let (program, arguments) = command
        .split_first()
        .ok_or_else(|| Failure::new("`seal.command` is empty: expected a program"))?;
    let run = tokio::process::Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .output();
    let run = tokio::time::timeout(COMMAND, run).await;
    let run = run.with_context(|| format!("`{program}` printed no sealing key in time"))?;
    let run = run.with_context(|| format!("`{program}` (seal.command) cannot be run"))?;
    anyhow::ensure!(run.status.success(), "`{program}` (seal.command) ended with {}", run.status);
    let text = String::from_utf8(run.stdout);
    text.map(SecretString::from).map_err(|_| Failure::new("seal.command printed no text").into())
}

/// The secret that a file holds, without the line's end.
pub(crate) fn secret_file(path: &Path) -> anyhow::Result<SecretString> {
    let text = fs::read_to_string(path);
    let text = text.with_context(|| format!("the secret in {} cannot be read", path.display()))?;
    Ok(text.trim_end_matches(['\n', '\r']).into())
}

/// A secret of the configuration: itself, or what its file holds.
fn secret(
    value: Option<&SecretString>,
    file: Option<&Path>,
) -> anyhow::Result<Option<SecretString>> {
    match (value, file) {
        (Some(value), _) => Ok(Some(value.clone())),
        (None, Some(file)) => secret_file(file).map(Some),
        (None, None) => Ok(None),
    }
}

/// Gives the engine the OAuth clients of the configuration. One that is there keeps its secret when
/// the configuration has none: a command may not see the server's environment.
async fn seed(config: &Config, engine: &Engine) -> anyhow::Result<()> {
    for (slug, settings) in &config.integrations.by_slug {
        let config::Integration { client_id, client_secret, client_secret_file, .. } = settings;
        let Some(client_id) = client_id else { continue };
        let secret = secret(client_secret.as_ref(), client_secret_file.as_deref())?;
        let slug = Slug::parse(slug)?;
        let known = engine.apps().standard(&OwnerId::standard(), &slug).await?;
        let is_known = known.is_some_and(|app| {
            app.holder == Holder::System
                && app.client_id == *client_id
                && app.client_secret.is_some()
        });
        if secret.is_some() || !is_known {
            engine.apps().put(Holder::System, &slug, client_id, secret.as_ref()).await?;
        }
    }
    Ok(())
}

fn plans(config: &Config) -> anyhow::Result<Plans> {
    let limit = |most: Option<u32>| most.filter(|most| *most != 0);
    let plans = config.plans.iter().map(|(name, plan)| {
        let plan = Plan {
            per_minute: limit(plan.per_minute),
            per_day: limit(plan.per_day),
            connections: limit(plan.connections),
            keys: limit(plan.keys),
        };
        (name.clone(), plan)
    });
    Ok(Plans::new(&config.default_plan, plans, config.tiers.clone())?)
}

fn calls(config: &Config) -> executor::Settings {
    executor::Settings {
        timeout: seconds(config.limits.timeout_s.get()),
        longest_timeout: seconds(config.limits.longest_timeout_s.get()),
        answer_bytes: config.limits.answer_bytes.get(),
        transfer: seconds(config.limits.transfer_s.get()),
        idempotency: seconds(config.idempotency_hours.get()) * 3600,
        ..executor::Settings::default()
    }
}

fn runs(config: &Config, workers: Workers) -> queue::Settings {
    let runs = &config.runs;
    queue::Settings {
        slots: if workers == Workers::Here { runs.workers } else { 0 },
        attempts: runs.attempts.get(),
        crashes: runs.crashes,
        backoff: seconds(runs.backoff_s.get()),
        longest_backoff: seconds(runs.longest_backoff_s.get()),
        deadline: seconds(runs.deadline_s.get()),
        longest_deadline: seconds(runs.longest_deadline_s.get()),
        lease: seconds(runs.lease_s.get()),
        depth: runs.waiting_per_owner.get(),
        result_bytes: runs.result_bytes.get(),
        drain: seconds(config.timeouts.drain_s),
    }
}

fn webhooks(config: &Config, workers: Workers) -> webhook::Settings {
    let webhooks = &config.webhooks;
    webhook::Settings {
        at_once: if workers == Workers::Here { webhooks.at_once } else { 0 },
        at_once_per_endpoint: webhooks.at_once_per_endpoint.get(),
        timeout: seconds(webhooks.timeout_s.get()),
        pauses: webhooks.pauses_s.iter().copied().map(seconds).collect(),
        drain: seconds(config.timeouts.drain_s),
    }
}

fn settings(config: &Config, public: Url) -> anyhow::Result<Settings> {
    let mut settings = Settings::new(public);
    settings.hosts.clone_from(&config.hosts);
    settings.admin_secret =
        secret(config.admin_secret.as_ref(), config.admin_secret_file.as_deref())?;
    let speaks = |dialect| config.dialects.contains(&dialect);
    settings.dialects = Dialects {
        proxy: speaks(config::Dialect::Proxy),
        tools: speaks(config::Dialect::Tools),
        skills: speaks(config::Dialect::Skills),
        raw: config.raw_door,
    };
    settings.events_per_owner = config.limits.streams_per_owner.get();
    settings.events_keep_alive = seconds(config.timeouts.stream_s.get());
    settings.mirror_status = config.mirror_status;
    settings.body_bytes = config.limits.body_bytes.get();
    settings.upload_bytes = config.limits.upload_bytes.get();
    settings.connections = config.limits.connections.get();
    settings.header_timeout = seconds(config.timeouts.header_s.get());
    settings.body_timeout = seconds(config.timeouts.body_s.get());
    settings.keep_alive = seconds(config.timeouts.keep_alive_s.get());
    settings.write_stall = seconds(config.timeouts.write_stall_s.get());
    settings.drain = seconds(config.timeouts.drain_s);
    Ok(settings)
}

fn seconds(count: u32) -> Duration {
    Duration::from_secs(count.into())
}

fn days(count: u32) -> Duration {
    Duration::from_secs(u64::from(count) * 24 * 3600)
}
