//! Addresses: the server's own, the public one, and those that may be called.

use std::{collections::BTreeSet, fs, net::TcpListener, sync::Arc, time::Duration};

use http::{HeaderMap, Method};
use skill_core::{
    clock::Deadline,
    integration::Integration,
    record::connection::Fields,
    transport::{
        Outgoing, Payload, ReqwestTransport, Transport as _,
        egress::{Egress, HostPort},
    },
};
use tokio::net::UnixStream;
use url::{Host, Url};

use super::Findings;
use crate::{assemble, config::Config, home::Home};

/// How long the public URL may take to answer.
const ANSWER: Duration = Duration::from_secs(5);

/// Whether a server works on the data directory, and if none does, whether one could.
pub(super) async fn server(config: &Config, home: &Home, findings: &mut Findings) -> bool {
    let listen = config.listen;
    if UnixStream::connect(home.socket()).await.is_ok() {
        findings.fine("server", "one is running on this data directory");
        return true;
    }
    let lock = fs::File::open(home.database().with_added_extension("lock"));
    let is_held =
        lock.is_ok_and(|lock| matches!(lock.try_lock(), Err(fs::TryLockError::WouldBlock)));
    if is_held {
        let what = "another process holds the store, and answers on no socket";
        let mend = "it starts or stops, or is another program: wait, or end it (`fuser` names it)";
        findings.wrong("server", what, mend);
        return false;
    }
    match TcpListener::bind(listen) {
        Ok(_) => findings.note("server", "none is running", "start it: skill serve"),
        Err(error) => {
            let what = format!("none is running, and {listen} cannot be listened on: {error}");
            findings.wrong("server", what, "choose another address: `listen`, or serve --listen");
        }
    }
    false
}

/// Whether people can come back from a provider.
pub(super) async fn public(config: &Config, is_served: bool, findings: &mut Findings) {
    let Ok(url) = assemble::public_url(config, config.listen) else { return };
    let redirect = url.join("oauth/callback").map_or_else(|_| url.to_string(), String::from);
    let is_local = match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    };
    if config.public_url.is_none() && config.listen.ip().is_unspecified() {
        let what = format!("links lead to {url}, which nobody can open");
        findings.wrong("public URL", what, "set public_url to how people reach the server");
        return;
    }
    if url.scheme() == "http" && !is_local {
        let what = format!("{url} is not encrypted: keys and sign-ins can be read on the way");
        findings.wrong(
            "public URL",
            what,
            "put a proxy with TLS in front, and set public_url to https://…",
        );
    }
    if url.scheme() == "https" && config.listen.ip().is_loopback() && config.hosts.is_empty() {
        findings.fine("public URL", "TLS ends at a proxy on this machine");
    }
    findings.fine("public URL", format!("providers have to know this redirect URL: {redirect}"));
    if !is_served {
        return;
    }
    match answers(&url).await {
        Ok(()) => findings.fine("public URL", format!("{url} leads to a server")),
        Err(why) => {
            let what = format!("{url} does not lead here: {why}");
            let mend = "is the proxy in front of it running, and does it pass the Host header on?";
            findings.wrong("public URL", what, mend);
        }
    }
}

/// Asks whether a server like this one is behind the URL.
async fn answers(url: &Url) -> Result<(), String> {
    let place = url.host_str().zip(url.port_or_known_default());
    let place = place.map(|(host, port)| format!("{host}:{port}")).unwrap_or_default();
    let allow = HostPort::parse(&place).map_err(|error| error.to_string())?;
    let transport = ReqwestTransport::new(Egress::new(vec![allow]));
    let transport = transport.map_err(|error| error.to_string())?;
    let url = url.join("healthz").map_err(|error| error.to_string())?;
    let (headers, body) = (HeaderMap::new(), Payload::Empty);
    let request = Outgoing { method: Method::GET, url, headers, body };
    let answer = transport.send(request, Deadline::after(ANSWER)).await;
    let answer = answer.map_err(|error| error.message().to_owned())?;
    if answer.status.is_success() { Ok(()) } else { Err(format!("it answers {}", answer.status)) }
}

/// Whether every door that was opened leads somewhere.
pub(super) fn doors(
    config: &Config,
    home: &Home,
    integrations: &[Arc<dyn Integration>],
    findings: &mut Findings,
) {
    let mut known = BTreeSet::new();
    let bases = integrations.iter().filter_map(|found| found.base(&Fields::new()).ok());
    let settings = config.integrations.by_slug.values();
    let urls = settings.flat_map(|found| {
        [&found.base_url, &found.authorize_url, &found.token_url, &found.revoke_url]
    });
    let urls = urls.flatten().filter_map(|url| Url::parse(url).ok());
    for url in bases.chain(urls) {
        known.extend(url.host_str().map(str::to_owned));
    }
    let own = config.integrations.directory.clone().unwrap_or_else(|| home.integrations());
    let texts = fs::read_dir(own).into_iter().flatten().flatten();
    let texts = texts.filter_map(|entry| fs::read_to_string(entry.path()).ok()).collect::<String>();
    for door in &config.egress.allow {
        let host = door.host();
        if !known.contains(host) && !texts.contains(host) {
            let what = format!("egress.allow opens {door}, which no integration names");
            findings.note("egress", what, "is it misspelt? take it out unless a webhook needs it");
        }
    }
}
