//! What the engine says of itself: sealing, clients, connections, runs and webhooks.

use http::Method;
use serde_json::Value;
use skill_core::transport::egress::Egress;
use url::Url;

use super::Findings;
use crate::{
    config::Config,
    door::{Ask, Door},
    output::member,
};

/// From how many waiting runs on it is worth a note.
const WAITING: u64 = 1_000;

pub(super) async fn look(config: &Config, is_served: bool, findings: &mut Findings) {
    let mend = "the log of `skill serve` says more";
    let door = match Door::open(config, "default").await {
        Ok(door) => door,
        Err(error) => return findings.failed("store", &error, mend),
    };
    let answer = door.send(Ask::new(Method::GET, "/_operator/checkup")).await;
    let answer = answer.and_then(|answer| Ok(answer.json()?));
    door.close().await;
    let found = match answer {
        Ok(found) => found,
        Err(error) => return findings.failed("store", &error, mend),
    };
    findings.fine("store", "it opens, and the key is the right one");
    if is_served {
        server(config, &found, findings);
    }
    sealing(&found["sealing"], findings);
    clients(config, &found, findings);
    for owner in list(&found, "owners") {
        runs(owner, findings);
        connections(owner, findings);
        webhooks(config, owner, findings);
    }
    if found["owners_left_out"] == true {
        findings.note("owners", "only the first of them were looked at", "there are very many");
    }
}

fn list<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    value.get(name).and_then(Value::as_array).into_iter().flatten()
}

/// Whether the server goes by the configuration that is here.
fn server(config: &Config, found: &Value, findings: &mut Findings) {
    let version = member(found, "version");
    if version != env!("CARGO_PKG_VERSION") {
        let what = format!(
            "the server is version {version}, and this program {}",
            env!("CARGO_PKG_VERSION")
        );
        findings.note("server", what, "start it again with the same program");
    }
    let theirs = member(found, "public_url");
    if let Some(url) = &config.public_url
        && theirs != url.as_str()
    {
        let what = format!("the server sends people to {theirs}, and the configuration says {url}");
        let mend = "start it again; providers have to know the redirect URL of the one that counts";
        findings.wrong("public URL", what, mend);
    }
}

fn sealing(sealing: &Value, findings: &mut Findings) {
    if let Some(trouble) = sealing.get("trouble").and_then(Value::as_str) {
        let what = format!("sealing anew stopped for now: {trouble}");
        findings.wrong("sealing key", what, "it is tried again by itself; the log says more");
    }
    match sealing.get("unreadable").and_then(Value::as_u64) {
        None | Some(0) => {}
        Some(count) => {
            let what = format!("{count} values do not open with any key that is here");
            let mend = "add the line of the key that sealed them, or let them go with their runs";
            findings.wrong("sealing key", what, mend);
        }
    }
    if list(sealing, "keys").count() > 1 {
        let what = match sealing["is_under_way"] == true {
            true => "older values are being sealed anew",
            false => "nothing needs the older keys any more",
        };
        findings.note("sealing key", what, "the next start takes the older keys out by itself");
    }
}

fn clients(config: &Config, found: &Value, findings: &mut Findings) {
    let used = |slug: &str| {
        list(found, "owners").any(|owner| list(owner, "connected_to").any(|used| used == slug))
    };
    for app in list(found, "apps") {
        let slug = member(app, "integration");
        let configured = config
            .integrations
            .by_slug
            .iter()
            .find(|(name, _)| name.replace('_', "-") == slug.replace('_', "-"));
        let configured = configured.and_then(|(_, settings)| settings.client_id.as_deref());
        let kept = app.get("client_id").and_then(Value::as_str);
        let add = format!("skill setup {slug}");
        match (kept, configured) {
            (None, _) if used(&slug.replace('_', "-")) => {
                let what =
                    format!("accounts are connected at {slug}, and there is no OAuth client");
                findings.wrong("OAuth clients", what, add);
            }
            (Some(kept), Some(said)) if kept != said => {
                let what =
                    format!("{slug}: the configuration's client {said} is not in force, {kept} is");
                findings.note(
                    "OAuth clients",
                    what,
                    "take client_id out of the configuration, or start again",
                );
            }
            (Some(_), _) if app["has_secret"] == false => {
                let what = format!("the client of {slug} has no secret");
                let mend = format!("{add}, unless it is a public client, which has none");
                findings.note("OAuth clients", what, mend);
            }
            (Some(_), _) => findings.fine("OAuth clients", format!("{slug} has one")),
            (None, _) => {}
        }
    }
}

fn runs(owner: &Value, findings: &mut Findings) {
    let name = member(owner, "owner");
    let count = |state: &str| owner["runs"].get(state).and_then(Value::as_u64).unwrap_or(0);
    let of = if name == "default" { String::new() } else { format!(" --owner {name}") };
    let (waiting, held, failed) = (count("queued"), count("held"), count("error"));
    if held > 0 {
        let what = format!("{name}: {held} runs are held since a backup was restored");
        let mend = format!(
            "look at them: skill runs list --status held{of}; then skill runs release, or cancel"
        );
        findings.wrong("runs", what, mend);
    }
    if waiting > WAITING {
        let what = format!("{name}: {waiting} runs wait");
        let mend = "more `runs.workers`, or wait; without `skill serve` nobody works on them";
        findings.note("runs", what, mend);
    }
    if failed > 0 {
        let what = format!("{name}: {failed} runs ended in an error");
        findings.note("runs", what, format!("skill runs list --status error{of}"));
    }
}

fn connections(owner: &Value, findings: &mut Findings) {
    let name = member(owner, "owner");
    let of = if name == "default" { String::new() } else { format!(" --owner {name}") };
    for connection in list(owner, "connections") {
        let (id, slug) = (member(connection, "id"), member(connection, "integration"));
        let (status, why) = (member(connection, "status"), member(connection, "last_error"));
        let what = format!("{name}: {slug} ({id}) is {status}: {why}");
        match status.as_str() {
            "connected" => {
                let mend = "a later call that works clears it; otherwise connect it again";
                findings.note("connections", what, mend);
            }
            _ => findings.wrong("connections", what, format!("skill connect {slug}{of}")),
        }
    }
}

fn webhooks(config: &Config, owner: &Value, findings: &mut Findings) {
    let egress = Egress::new(config.egress.allow.clone());
    let name = member(owner, "owner");
    let of = if name == "default" { String::new() } else { format!(" --owner {name}") };
    for hook in list(owner, "webhooks") {
        let (id, url) = (member(hook, "id"), member(hook, "url"));
        let Ok(url) = Url::parse(&url) else { continue };
        if let Some(why) = hook.get("disabled").and_then(Value::as_str) {
            let what = format!("{name}: {id} is disabled: {why}");
            let mend = format!("PATCH /v1/webhooks/{id} with `enabled` lets messages go again");
            findings.note("webhooks", what, mend);
        }
        let dead = hook.get("dead").and_then(Value::as_u64).unwrap_or(0);
        if dead > 0 {
            let what = format!("{name}: {dead} messages to {id} were given up");
            let mend = format!("see why: skill webhooks deliveries {id} --status dead{of}");
            findings.note("webhooks", what, mend);
        }
        if let Err(refused) = egress.admit_url(&url) {
            // A path may be a secret.
            let host = url.host_str().unwrap_or_default();
            let what = format!(
                "{}: a webhook at {host} is not delivered to: {refused}",
                member(owner, "owner")
            );
            let place = url.port_or_known_default().map_or_else(String::new, |p| format!(":{p}"));
            findings.wrong("webhooks", what, format!("add \"{host}{place}\" to egress.allow"));
        }
    }
}
