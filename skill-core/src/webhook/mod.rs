//! Webhooks: who is told about what, and the messages on their way.
//!
//! What happens is written into the store's outbox by the change itself, in its transaction, one
//! delivery for each subscription that wants it. `deliver.rs` claims what is due and sends it: at
//! least once, under one id, whatever happens to this process.

mod attempt;
mod check;
mod deliver;
mod payload;
mod settings;
mod sign;

use std::{fmt, sync::Arc, time::Duration};

use secrecy::{ExposeSecret, SecretString};

pub use self::settings::Settings;
pub(crate) use self::{
    check::admit_url,
    deliver::{Deliverer, Parts},
    sign::{check_text, fresh_secret, is_signed},
};
use crate::{
    access::Caller,
    catalog::Catalog,
    clock::Clock,
    credential::{Vault, seal::Binding},
    error::{Error, ErrorKind, Result},
    id::{DeliveryId, ExecutionId, WebhookId},
    name::{AgentId, OwnerId, UserId},
    record::{
        Sealed,
        audit::Entry,
        delivery::{Delivery, Subject},
        trigger::Callback,
        webhook::{Change, Disabled, Event, Subscription},
    },
    store::{DeliveryFilter, Store},
    transport::Transport,
};

/// The most subscriptions of one owner.
const MOST: u32 = 100;
/// How long a secret that was replaced signs as well: when nobody says, and at most.
const OVERLAP: Duration = Duration::from_secs(24 * 3600);
const LONGEST_OVERLAP: Duration = Duration::from_secs(7 * 24 * 3600);

/// A subscription that is to be made.
///
/// ```
/// use skill_core::{record::webhook::Event, webhook::NewWebhook};
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
    /// `whsec_` and 24 to 64 bytes as base64, or any text of 8 to 256 bytes for a subscription to an
    /// agent; one is made when it is missing.
    pub secret: Option<SecretString>,
    /// About runs of this agent only, with the events of agents.
    pub agent: Option<AgentId>,
}

impl NewWebhook {
    /// Returns a subscription to events of every tool, with a secret that is still to be made.
    pub fn new(url: &str, events: Vec<Event>) -> Self {
        Self { url: url.into(), events, tool_ids: Vec::new(), secret: None, agent: None }
    }
}

/// Does not show the secret.
impl fmt::Debug for NewWebhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewWebhook").field("events", &self.events).finish_non_exhaustive()
    }
}

/// Every subscription there is.
#[derive(Clone)]
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
    /// one; returns it with its secret, which nothing shows a second time. It tells of what the
    /// caller may use, and of nothing else.
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
        check::check(&wanted, catalog, &*self.transport)?;
        let at = self.clock.now();
        let secret = wanted.secret.map_or_else(sign::fresh_secret, Ok)?;
        let known = wanted.tool_ids.iter().filter_map(|id| catalog.tool(id)).collect::<Vec<_>>();
        let mut webhook = Subscription {
            id: WebhookId::fresh(at)?,
            owner: caller.owner.clone(),
            user: caller.user.clone(),
            agent: wanted.agent,
            url: wanted.url,
            events: wanted.events,
            tool_ids: known.iter().map(|tool| tool.id.clone()).collect(),
            actions: known.iter().map(|tool| tool.action.clone()).collect(),
            scopes: caller.scopes.clone(),
            secret: Sealed(Vec::new()),
            previous: None,
            disabled: None,
            created_at: at,
        };
        webhook.secret = self.seal(&webhook, &secret)?;
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

    /// One subscription.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when [`list`](Self::list) does not show it.
    pub async fn get(&self, caller: &Caller, id: WebhookId) -> Result<Subscription> {
        let known = self.list(caller).await?.into_iter().find(|webhook| webhook.id == id);
        known.ok_or_else(unknown)
    }

    /// Removes a subscription. What is on its way to it is dropped.
    ///
    /// # Errors
    /// As [`Webhooks::get`].
    pub async fn delete(&self, caller: &Caller, id: WebhookId) -> Result<()> {
        self.get(caller, id).await?;
        if !self.store.delete_webhook(&caller.owner, id).await? {
            return Err(unknown());
        }
        self.audit(caller, "webhook.deleted", id).await
    }

    /// Replaces the secret; returns the new one, which nothing shows a second time. The one before
    /// signs every message as well for `overlap`, a day when nobody says, so that a receiver can
    /// change over at leisure.
    ///
    /// # Errors
    /// As [`Webhooks::get`]; [`ErrorKind::InvalidInput`] for an unusable secret, and for an overlap
    /// of more than seven days.
    pub async fn rotate(
        &self,
        caller: &Caller,
        id: WebhookId,
        (secret, overlap): (Option<SecretString>, Option<Duration>),
    ) -> Result<(Subscription, SecretString)> {
        let wrong =
            |field: &str, issue: String| Err(Error::invalid(issue.clone()).detail(field, issue));
        if let Some(Err(issue)) = secret.as_ref().map(sign::check_secret) {
            return wrong("secret", issue);
        }
        let overlap = overlap.unwrap_or(OVERLAP);
        if overlap > LONGEST_OVERLAP {
            return wrong("overlap", "expected at most seven days".into());
        }
        let webhook = self.get(caller, id).await?;
        let secret = secret.map_or_else(sign::fresh_secret, Ok)?;
        let until = self.clock.now().checked_add(overlap).map_err(Error::internal)?;
        let change = Change::Secret(self.seal(&webhook, &secret)?, until);
        self.change(caller, id, (&change, "webhook.rotated")).await.map(|webhook| (webhook, secret))
    }

    /// Gives a subscription another address and other events, and another secret when there is one;
    /// the one before signs as well for a day.
    ///
    /// # Errors
    /// As [`Webhooks::get`]; [`ErrorKind::InvalidInput`] as [`Webhooks::create`].
    pub async fn edit(
        &self,
        caller: &Caller,
        id: WebhookId,
        (url, events, secret): (String, Vec<Event>, Option<SecretString>),
    ) -> Result<Subscription> {
        let webhook = self.get(caller, id).await?;
        check::check_edit((&url, &events), webhook.agent.is_some(), &*self.transport)?;
        if let Some(Err(issue)) = secret.as_ref().map(sign::check_text) {
            return Err(Error::invalid(format!("`secret`: {issue}")).detail("secret", issue));
        }
        let edited = Change::Edit(url, events);
        let changed = self.change(caller, id, (&edited, "webhook.changed")).await?;
        let Some(secret) = secret else { return Ok(changed) };
        let until = self.clock.now().checked_add(OVERLAP).map_err(Error::internal)?;
        let change = Change::Secret(self.seal(&webhook, &secret)?, until);
        self.change(caller, id, (&change, "webhook.rotated")).await
    }

    /// Sends nothing to a subscription until it is enabled again.
    ///
    /// # Errors
    /// As [`Webhooks::get`].
    pub async fn disable(&self, caller: &Caller, id: WebhookId) -> Result<Subscription> {
        self.get(caller, id).await?;
        let (at, reason) = (self.clock.now(), "it was disabled by hand".to_owned());
        let change = Change::Disable(Disabled { at, reason });
        self.change(caller, id, (&change, "webhook.disabled")).await
    }

    /// Sends messages to a subscription again. Whoever does this vouches for it: it tells of what
    /// this caller may use.
    ///
    /// # Errors
    /// As [`Webhooks::get`]; [`ErrorKind::Conflict`] when it names a tool that is no more.
    pub async fn enable(
        &self,
        caller: &Caller,
        id: WebhookId,
        catalog: &Catalog,
    ) -> Result<Subscription> {
        let webhook = self.get(caller, id).await?;
        if webhook.disabled.is_none() {
            return Ok(webhook);
        }
        let actions = webhook.tool_ids.iter().map(|id| {
            let gone =
                || Error::new(ErrorKind::Conflict, format!("there is no tool `{id}` any more"));
            catalog.tool(id).map(|tool| tool.action.clone()).ok_or_else(gone)
        });
        let change = Change::Enable(actions.collect::<Result<_>>()?, caller.scopes.clone());
        self.change(caller, id, (&change, "webhook.enabled")).await
    }

    /// The messages to a subscription, the newest first, and how many match in all.
    ///
    /// # Errors
    /// As [`Webhooks::get`].
    pub async fn deliveries(
        &self,
        caller: &Caller,
        id: WebhookId,
        filter: &DeliveryFilter,
    ) -> Result<(Vec<Delivery>, u64)> {
        self.get(caller, id).await?;
        self.store.deliveries(&caller.owner, id, filter).await
    }

    /// Sends a message again, whatever became of it: under its own id, with all its attempts. One
    /// that waits is sent at once.
    ///
    /// # Errors
    /// As [`Webhooks::get`], for the message as well; [`ErrorKind::Conflict`] when the subscription
    /// is disabled.
    pub async fn replay(
        &self,
        caller: &Caller,
        id: WebhookId,
        message: DeliveryId,
    ) -> Result<Delivery> {
        self.enabled(caller, id).await?;
        let revived =
            self.store.revive_delivery(&caller.owner, (id, message), self.clock.now()).await?;
        revived.ok_or_else(|| Error::not_found("there is no delivery with this id"))
    }

    /// Sends a message that says nothing but that it is a test.
    ///
    /// # Errors
    /// As [`Webhooks::get`]; [`ErrorKind::Conflict`] when the subscription is disabled.
    pub async fn test(&self, caller: &Caller, id: WebhookId) -> Result<Delivery> {
        let webhook = self.enabled(caller, id).await?;
        let subject = Subject::Webhook(id);
        let delivery = Delivery::new(&webhook, Event::Test, subject, self.clock.now())?;
        self.store.insert_delivery(&delivery).await?;
        Ok(delivery)
    }

    /// The secret that messages of a subscription are signed with.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] when it does not open.
    pub fn secret(&self, webhook: &Subscription) -> Result<SecretString> {
        self.vault.open(&webhook.secret, &secret_binding(webhook))
    }

    /// Every secret that signs at this time, the present one first.
    fn secrets(&self, webhook: &Subscription) -> Result<Vec<SecretString>> {
        let mut all = vec![self.secret(webhook)?];
        if let Some((sealed, until)) = &webhook.previous
            && self.clock.now() < *until
        {
            match self.vault.open(sealed, &secret_binding(webhook)) {
                Ok(previous) => all.push(previous),
                // Its sealing key may be gone. Without it the message is good all the same.
                Err(error) => {
                    tracing::warn!(webhook = %webhook.id, error = %error.log_line(), "an old secret signs no more");
                }
            }
        }
        Ok(all)
    }

    /// What the end of a single run is signed with.
    fn callback_secret(&self, delivery: &Delivery, to: &Callback) -> Result<SecretString> {
        let Subject::Run(run) = &delivery.subject else {
            return Err(Error::internal("a callback about no run"));
        };
        self.vault.open(&to.secret, &callback_binding(&delivery.owner, *run))
    }

    fn seal(&self, webhook: &Subscription, secret: &SecretString) -> Result<Sealed> {
        self.vault.seal(secret.expose_secret().as_bytes(), &secret_binding(webhook))
    }

    async fn enabled(&self, caller: &Caller, id: WebhookId) -> Result<Subscription> {
        let webhook = self.get(caller, id).await?;
        match &webhook.disabled {
            None => Ok(webhook),
            Some(disabled) => {
                let message = format!("the webhook is disabled: {}", disabled.reason);
                Err(Error::new(ErrorKind::Conflict, message))
            }
        }
    }

    async fn change(
        &self,
        caller: &Caller,
        id: WebhookId,
        (change, event): (&Change, &str),
    ) -> Result<Subscription> {
        if !self.store.change_webhook(&caller.owner, id, change).await? {
            return Err(unknown());
        }
        self.audit(caller, event, id).await?;
        self.get(caller, id).await
    }

    async fn audit(&self, caller: &Caller, event: &str, id: WebhookId) -> Result<()> {
        let entry = Entry::new(self.clock.now(), caller.actor, caller.owner.clone());
        self.store.append_audit(&entry.event(event).target(id)).await
    }
}

fn unknown() -> Error {
    Error::not_found("there is no webhook with this id")
}

fn secret_binding(webhook: &Subscription) -> Binding {
    secret_binding_of(&webhook.owner, webhook.user.as_ref(), webhook.id)
}

/// What the secret is bound to that the end of a single run is signed with.
pub(crate) fn callback_binding(owner: &OwnerId, run: ExecutionId) -> Binding {
    Binding::to("callback_secret", [owner.as_str(), &run.to_string()])
}

pub(crate) fn secret_binding_of(
    owner: &OwnerId,
    user: Option<&UserId>,
    webhook: WebhookId,
) -> Binding {
    let user = user.map_or("", |user| user.as_str());
    Binding::to("webhook_secret", [owner.as_str(), user, &webhook.to_string()])
}
