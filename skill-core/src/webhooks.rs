//! Webhooks: who is told about what, and where. Nothing is delivered here.

use std::{collections::BTreeSet, fmt, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use secrecy::{ExposeSecret, SecretString};
use url::{Host, Url};
use zeroize::Zeroizing;

use crate::{
    access::Caller,
    catalog::Catalog,
    clock::Clock,
    credential::{Vault, seal::Binding},
    error::{Detail, Error, ErrorKind, Result},
    id::{self, WebhookId},
    record::{
        Sealed,
        audit::Entry,
        webhook::{Event, Subscription},
    },
    store::Store,
    transport::{Transport, egress::Refused},
};

/// The most subscriptions of one owner.
const MOST: u32 = 100;
/// The longest URL, in characters.
const URL: usize = 2048;
/// The most tools that one subscription names.
const TOOLS: usize = 100;
/// What a secret begins with; base64 follows.
const PREFIX: &str = "whsec_";
/// How many bytes a secret holds when its maker brings it.
const SECRET: std::ops::RangeInclusive<usize> = 24..=64;
/// How many it holds otherwise.
const FRESH: usize = 32;

/// A subscription that is to be made.
///
/// ```
/// use skill_core::{record::webhook::Event, webhooks::NewWebhook};
/// let wanted = NewWebhook::new("https://hooks.example.com/skill", vec![Event::ExecutionFailed]);
/// assert!(wanted.tool_ids.is_empty());
/// ```
pub struct NewWebhook {
    /// Where to: https, at most 2,048 characters.
    pub url: String,
    /// About what: at least one, none twice.
    pub events: Vec<Event>,
    /// About runs of these tools only; empty is all of them.
    pub tool_ids: Vec<String>,
    /// `whsec_` and 24 to 64 bytes as base64; one is made when it is missing.
    pub secret: Option<SecretString>,
}

impl NewWebhook {
    /// Returns a subscription to events of every tool, with a secret that is still to be made.
    pub fn new(url: &str, events: Vec<Event>) -> Self {
        Self { url: url.into(), events, tool_ids: Vec::new(), secret: None }
    }
}

/// Does not show the secret.
impl fmt::Debug for NewWebhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewWebhook").field("events", &self.events).finish_non_exhaustive()
    }
}

/// Every subscription there is.
pub struct Webhooks {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) vault: Arc<Vault>,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl fmt::Debug for Webhooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Webhooks")
    }
}

impl Webhooks {
    /// Makes a subscription to the events of the caller's owner, or of its user when it acts for
    /// one; returns it with its secret, which nothing shows a second time.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`], with one detail per problem: an address that may not be reached,
    /// no event or one twice, a tool that `catalog` does not have, an unusable secret.
    /// [`ErrorKind::PlanLimit`] when the owner has 100 already.
    pub async fn create(
        &self,
        caller: &Caller,
        wanted: NewWebhook,
        catalog: &Catalog,
    ) -> Result<(Subscription, SecretString)> {
        self.check(&wanted, catalog)?;
        let at = self.clock.now();
        let secret = wanted.secret.map_or_else(fresh_secret, Ok)?;
        let known = wanted.tool_ids.iter().filter_map(|id| catalog.tool(id));
        let mut webhook = Subscription {
            id: WebhookId::fresh(at)?,
            owner: caller.owner.clone(),
            user: caller.user.clone(),
            url: wanted.url,
            events: wanted.events,
            tool_ids: known.map(|tool| tool.id.clone()).collect(),
            secret: Sealed(Vec::new()),
            created_at: at,
        };
        let plain = secret.expose_secret().as_bytes();
        webhook.secret = self.vault.seal(plain, &secret_binding(&webhook))?;
        if !self.store.insert_webhook(&webhook, MOST).await? {
            let message = "there are 100 webhooks already: delete one first";
            return Err(Error::new(ErrorKind::PlanLimit, message));
        }
        self.audit(caller, "webhook.created", webhook.id).await?;
        Ok((webhook, secret))
    }

    /// The subscriptions of the caller's owner, or of its user when it acts for one, the newest
    /// first.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when the store does not answer.
    pub async fn list(&self, caller: &Caller) -> Result<Vec<Subscription>> {
        let mut webhooks = self.store.webhooks(&caller.owner).await?;
        webhooks.retain(|webhook| caller.user.is_none() || webhook.user == caller.user);
        Ok(webhooks)
    }

    /// Removes a subscription.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when [`list`](Self::list) does not show it.
    pub async fn delete(&self, caller: &Caller, id: WebhookId) -> Result<()> {
        let is_there = self.list(caller).await?.iter().any(|webhook| webhook.id == id);
        if !is_there || !self.store.delete_webhook(&caller.owner, id).await? {
            return Err(Error::not_found("there is no webhook with this id"));
        }
        self.audit(caller, "webhook.deleted", id).await
    }

    /// The secret that messages of a subscription are signed with.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] when it does not open.
    pub fn secret(&self, webhook: &Subscription) -> Result<SecretString> {
        self.vault.open(&webhook.secret, &secret_binding(webhook))
    }

    fn check(&self, wanted: &NewWebhook, catalog: &Catalog) -> Result<()> {
        let problems: Vec<_> = [
            ("url", self.check_url(&wanted.url)),
            ("events", check_events(&wanted.events)),
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
    fn check_url(&self, text: &str) -> Result<(), String> {
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
        self.transport.admit(&url).map_err(|reason: Refused| reason.to_string())?;
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

    async fn audit(&self, caller: &Caller, event: &str, id: WebhookId) -> Result<()> {
        let entry = Entry::new(self.clock.now(), caller.actor, caller.owner.clone());
        self.store.append_audit(&entry.event(event).target(id)).await
    }
}

fn check_events(events: &[Event]) -> Result<(), String> {
    match events {
        [] => Err("expected at least one event".into()),
        _ if has_twice(events) => Err("expected every event once".into()),
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

fn check_secret(secret: &SecretString) -> Result<(), String> {
    let encoded = secret.expose_secret().strip_prefix(PREFIX);
    let bytes = encoded.and_then(|text| STANDARD.decode(text).ok()).map(Zeroizing::new);
    match bytes {
        Some(bytes) if SECRET.contains(&bytes.len()) => Ok(()),
        _ => Err(format!("expected {PREFIX} and the base64 of 24 to 64 bytes")),
    }
}

fn fresh_secret() -> Result<SecretString> {
    let bytes = Zeroizing::new(id::random::<FRESH>()?);
    let encoded = Zeroizing::new(STANDARD.encode(*bytes));
    Ok(SecretString::from([PREFIX, encoded.as_str()].concat()))
}

fn secret_binding(webhook: &Subscription) -> Binding {
    let user = webhook.user.as_ref().map_or("", |user| user.as_str());
    Binding::to("webhook_secret", [webhook.owner.as_str(), user, &webhook.id.to_string()])
}
