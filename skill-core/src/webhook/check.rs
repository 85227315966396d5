//! What a subscription may ask for, and where it may point.

use std::collections::BTreeSet;

use url::{Host, Url};

use super::{NewWebhook, sign};
use crate::{
    catalog::Catalog,
    error::{Detail, Error, Result},
    record::webhook::Event,
    transport::{Transport, egress::Refused},
};

/// The longest URL, in characters.
const URL: usize = 2048;
/// The most tools that one subscription names.
const TOOLS: usize = 100;

/// Refuses what cannot be subscribed to, with one detail per problem.
pub(super) fn check(
    wanted: &NewWebhook,
    catalog: &Catalog,
    transport: &dyn Transport,
) -> Result<()> {
    let check_secret = match wanted.agent {
        Some(_) => sign::check_text,
        None => sign::check_secret,
    };
    let problems: Vec<_> = [
        ("url", check_url(&wanted.url, transport)),
        ("events", check_events(&wanted.events, wanted.agent.is_some())),
        ("tool_ids", check_tools(&wanted.tool_ids, catalog)),
        ("secret", wanted.secret.as_ref().map_or(Ok(()), check_secret)),
    ]
    .into_iter()
    .filter_map(|(field, checked)| Some(Detail::new(field, checked.err()?)))
    .collect();
    if problems.is_empty() {
        return Ok(());
    }
    Err(Error::invalid("the webhook cannot be made").details(problems))
}

/// Whether messages may go to `text`, as far as it can be told before they do.
fn check_url(text: &str, transport: &dyn Transport) -> Result<(), String> {
    if text.len() > URL {
        return Err(format!("expected at most {URL} characters"));
    }
    // A parser drops or turns these, so that what is called is not what was read.
    let is_odd = |c: char| c.is_whitespace() || c.is_control() || c == '\\';
    let url = Url::parse(text).ok().filter(|_| !text.contains(is_odd));
    let place = text.split_once("://").map_or("", |(_, rest)| rest);
    let is_whole = |url: &Url| !place.starts_with('/') && url.port() != Some(0);
    let url = url.filter(is_whole);
    let url = url.ok_or("expected a URL, such as https://hooks.example.com/skill")?;
    transport.admit(&url).map_err(|reason: Refused| reason.to_string())?;
    let literal = match url.host() {
        Some(Host::Ipv4(address)) => address.to_string(),
        Some(Host::Ipv6(address)) => format!("[{address}]"),
        Some(Host::Domain(_)) | None => return Ok(()),
    };
    // `https://134744072/` is 8.8.8.8, and nobody sees it.
    let is_plain = place
        .strip_prefix(literal.as_str())
        .is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '/', '?', '#']));
    if is_plain { Ok(()) } else { Err("expected the address in its usual spelling".into()) }
}

/// The error for an address to which nothing may be sent.
pub(crate) fn admit_url(url: &str, transport: &dyn Transport) -> Result<()> {
    check_url(url, transport).map_err(|issue| {
        Error::invalid(format!("`callback_url`: {issue}")).detail("callback_url", issue)
    })
}

/// Refuses an address and events that a subscription cannot be changed to.
pub(super) fn check_edit(
    (url, events): (&str, &[Event]),
    is_agents: bool,
    transport: &dyn Transport,
) -> Result<()> {
    let checked = [("url", check_url(url, transport)), ("events", check_events(events, is_agents))];
    let problems = checked.into_iter();
    let problems = problems.filter_map(|(field, checked)| Some(Detail::new(field, checked.err()?)));
    let problems: Vec<_> = problems.collect();
    if problems.is_empty() {
        return Ok(());
    }
    Err(Error::invalid("the webhook cannot be changed to this").details(problems))
}

fn check_events(events: &[Event], is_agents: bool) -> Result<(), String> {
    let known = if is_agents { &Event::OF_AGENTS[..] } else { &Event::ALL[..] };
    match events {
        [] => Err("expected at least one event".into()),
        _ if has_twice(events) => Err("expected every event once".into()),
        _ if events.contains(&Event::Test) => {
            Err("a test is sent when somebody asks for one: it is no event".into())
        }
        _ if events.iter().any(|event| !known.contains(event)) => {
            let names = known.iter().map(|event| event.as_str()).collect::<Vec<_>>();
            Err(format!("expected any of `{}`", names.join("`, `")))
        }
        _ => Ok(()),
    }
}

fn check_tools(ids: &[String], catalog: &Catalog) -> Result<(), String> {
    if ids.len() > TOOLS {
        return Err(format!("expected at most {TOOLS} tools"));
    }
    let known = ids.iter().map(|id| Ok(&catalog.tool(id).ok_or(id)?.id));
    match known.collect::<Result<Vec<_>, &String>>() {
        Err(id) => Err(format!("there is no tool `{}`", shortened(id))),
        Ok(known) if has_twice(&known) => Err("expected every tool once".into()),
        Ok(_) => Ok(()),
    }
}

/// A caller's text, short enough to be repeated.
fn shortened(text: &str) -> String {
    text.chars().take(100).flat_map(char::escape_debug).collect()
}

fn has_twice<T: Ord>(items: &[T]) -> bool {
    items.iter().collect::<BTreeSet<_>>().len() < items.len()
}
