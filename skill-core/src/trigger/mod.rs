//! Triggers: addresses whose requests make runs, for whoever cannot send a key.
//!
//! The token in the address is all that such a request has to know, unless its trigger wants it to
//! be signed as well. A trigger runs what it was made for, with the scopes of its own.

mod signature;

use std::{fmt, net::IpAddr, sync::Arc};

use http::{HeaderMap, HeaderName};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use url::Url;

use crate::{
    access::{Admission, Admitted, Caller, Intent, Keys, authorize},
    clock::Clock,
    credential::{Vault, seal::Binding},
    error::{Detail, Error, ErrorKind, Result},
    id::{ExecutionId, TriggerId},
    link,
    name::{AgentId, OwnerId},
    queue::{Runs, Submitted},
    record::{
        Sealed,
        audit::{Actor, Entry},
        execution::{self, Origin},
        scope::{Scope, Scopes},
        trigger::{Callback, Source, Target, Trigger},
    },
    schedule::{narrowed, submission},
    store::Store,
    transport::Transport,
    webhook,
};

/// The most triggers of one owner, and the most skills of one trigger.
const MOST: u32 = 100;
const TARGETS: usize = 100;
/// The longest name, in characters.
const NAME: usize = 200;
/// The longest id of a message, in bytes.
const MESSAGE_ID: usize = 512;

/// A trigger that is to be made.
///
/// ```
/// use skill_core::{name::{ActionName, Slug, Version}, record::trigger::Target, trigger::Wanted};
/// let action = ActionName { namespace: Slug::parse("web")?, name: Slug::parse("retrieve-site")? };
/// let wanted = Wanted::new(vec![Target { action, version: Version::parse("v1")? }]);
/// assert!(!wanted.is_signed);
/// # Ok::<(), skill_core::Error>(())
/// ```
pub struct Wanted {
    /// The agent that its runs belong to.
    pub agent: AgentId,
    /// What its maker calls it: at most 200 characters.
    pub name: Option<String>,
    /// What it may run: 1 to 100, none twice.
    pub targets: Vec<Target>,
    /// What its runs may do; `None` is what its maker may.
    pub scopes: Option<Scopes>,
    /// Whether a request without a signature is refused.
    pub is_signed: bool,
    /// What requests are signed with, and what callbacks are: `whsec_` and 24 to 64 bytes as base64,
    /// or any text of 8 to 256 bytes; one is made when it is missing.
    pub secret: Option<SecretString>,
    /// A header that names a message, besides `webhook-id` and `Idempotency-Key`.
    pub dedup_header: Option<String>,
}

impl Wanted {
    /// Returns a trigger of the standard agent that goes by its token alone.
    pub fn new(targets: Vec<Target>) -> Self {
        Self {
            agent: AgentId::standard(),
            name: None,
            targets,
            scopes: None,
            is_signed: false,
            secret: None,
            dedup_header: None,
        }
    }
}

/// Does not show the secret.
impl fmt::Debug for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wanted").field("targets", &self.targets).finish_non_exhaustive()
    }
}

/// A trigger that was made, with what nothing shows a second time.
///
/// ```
/// fn id(made: &skill_core::trigger::Made) -> String { made.trigger.id.to_string() }
/// ```
#[expect(missing_debug_implementations, reason = "holds secrets")]
pub struct Made {
    /// The trigger.
    pub trigger: Trigger,
    /// What stands in its address.
    pub token: SecretString,
    /// What requests and callbacks are signed with.
    pub secret: SecretString,
}

/// A request that has shown a good token, and was counted.
///
/// ```
/// fn id(opened: &skill_core::trigger::Opened) -> String { opened.trigger.id.to_string() }
/// ```
#[derive(Debug, Clone)]
pub struct Opened {
    /// The trigger.
    pub trigger: Trigger,
    /// Who acts.
    pub admitted: Admitted,
}

/// What a request asks for.
///
/// ```
/// fn asks_back(order: &skill_core::trigger::Order) -> bool { order.callback_url.is_some() }
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Order {
    /// What is to run.
    pub target: Target,
    /// With which inputs.
    pub input: Map<String, Value>,
    /// Where its end is told: https, at most 2,048 characters.
    pub callback_url: Option<String>,
    /// Lets the request be repeated.
    pub idempotency_key: Option<String>,
}

/// The triggers of all owners.
#[derive(Clone)]
pub struct Triggers {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) vault: Arc<Vault>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) keys: Arc<Keys>,
    pub(crate) runs: Runs,
    pub(crate) transport: Arc<dyn Transport>,
}

impl fmt::Debug for Triggers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Triggers")
    }
}

impl Triggers {
    /// Makes a trigger for the caller's owner. Its runs may do what the caller may at this moment,
    /// or what `wanted.scopes` leave of that; it is closed when the key is revoked, and not when
    /// that expires.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`], with one detail per problem; [`ErrorKind::ScopeMissing`] for
    /// what the caller may not do itself; [`ErrorKind::NotFound`] for an unknown skill or agent;
    /// [`ErrorKind::PlanLimit`] when the owner has 100 already.
    pub async fn create(&self, caller: &Caller, wanted: Wanted) -> Result<Made> {
        check(&wanted)?;
        let scopes = narrowed(caller, wanted.scopes, "a trigger")?;
        let acting = Caller { scopes: scopes.clone(), ..caller.clone() };
        for Target { action, version } in &wanted.targets {
            let scope = Scope::Action(action.clone());
            authorize(&acting, &Intent { scope, class: None }).allowed()?;
            let origin = origin(&wanted.agent);
            let asked = submission(&self.runs.catalog(), (action, *version), (Map::new(), origin))?;
            self.runs.check_action(&acting, &asked).await?;
        }
        let at = self.clock.now();
        let id = TriggerId::fresh(at)?;
        let token = link::token()?;
        let secret = wanted.secret.map_or_else(webhook::fresh_secret, Ok)?;
        let trigger = Trigger {
            id,
            owner: caller.owner.clone(),
            user: caller.user.clone(),
            key: caller.key(),
            agent: wanted.agent,
            name: wanted.name,
            targets: wanted.targets,
            token: link::hash(token.expose_secret()),
            shown: format!("{}...", token.expose_secret().get(..4).unwrap_or_default()),
            secret: self.seal(&secret, &secret_binding(&caller.owner, id))?,
            is_signed: wanted.is_signed,
            dedup_header: wanted.dedup_header.map(|name| name.to_ascii_lowercase()),
            scopes,
            tier: caller.tier.clone(),
            created_at: at,
        };
        if !self.store.insert_trigger(&trigger, MOST).await? {
            let message = format!("there are {MOST} triggers already: delete one first");
            return Err(Error::new(ErrorKind::PlanLimit, message));
        }
        self.audit(caller, "trigger.created", id).await?;
        Ok(Made { trigger, token, secret })
    }

    /// The triggers of the caller's owner, or of its user when it acts for one, the newest first.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when the store does not answer.
    pub async fn list(&self, caller: &Caller) -> Result<Vec<Trigger>> {
        let mut all = self.store.triggers(&caller.owner).await?;
        all.retain(|trigger| caller.user.is_none() || trigger.user == caller.user);
        Ok(all)
    }

    /// One trigger.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when [`list`](Self::list) does not show it.
    pub async fn get(&self, caller: &Caller, id: TriggerId) -> Result<Trigger> {
        self.list(caller).await?.into_iter().find(|trigger| trigger.id == id).ok_or_else(unknown)
    }

    /// Removes a trigger: its address is closed at once. Runs that it made go on.
    ///
    /// # Errors
    /// As [`Triggers::get`].
    pub async fn delete(&self, caller: &Caller, id: TriggerId) -> Result<()> {
        self.get(caller, id).await?;
        if !self.store.delete_trigger(&caller.owner, id).await? {
            return Err(unknown());
        }
        self.audit(caller, "trigger.deleted", id).await
    }

    /// Says whose address this token opens, and counts the request against its maker's limits. A
    /// wrong token is counted as a wrong key is.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] for a token that is wrong, removed, or whose maker's key was
    /// revoked; [`ErrorKind::RateLimited`] and [`ErrorKind::DailyLimit`];
    /// [`ErrorKind::Unavailable`] when the store does not answer.
    pub async fn open(&self, token: &str, address: Option<IpAddr>) -> Result<Opened> {
        let is_token = link::is_token(&token.into());
        let found = match is_token {
            true => self.store.trigger_by_token(&link::hash(token)).await?,
            false => None,
        };
        let Some(trigger) = found else { return Err(self.wrong(address, no_address)) };
        let caller = Caller {
            user: trigger.user.clone(),
            actor: trigger.key.map_or(Actor::Operator, Actor::Key),
            scopes: trigger.scopes.clone(),
            tier: trigger.tier.clone(),
            ..Caller::operator(trigger.owner.clone())
        };
        if self.keys.is_revoked(&caller).await? {
            return Err(no_address());
        }
        match self.keys.admit(caller).await? {
            Admission::Admitted(admitted) => Ok(Opened { trigger, admitted }),
            Admission::Refused(allowance) => {
                let refusal = allowance.refusal();
                Err(refusal.unwrap_or_else(|| Error::internal("a refusal without a reason")))
            }
        }
    }

    /// Checks what a request is signed with, where its trigger wants that; returns the name of its
    /// message, when it has one.
    ///
    /// A signature of Standard Webhooks names the time, and is good for five minutes around it.
    /// `X-Webhook-Signature` covers the body alone, for senders that know nothing else.
    ///
    /// # Errors
    /// [`ErrorKind::Unauthenticated`] for a signature that is missing, wrong or old, counted as a
    /// wrong key is; [`ErrorKind::InvalidInput`] for an unusable name.
    pub fn verify(
        &self,
        opened: &Opened,
        (headers, body): (&HeaderMap, &[u8]),
        address: Option<IpAddr>,
    ) -> Result<Option<String>> {
        let trigger = &opened.trigger;
        if trigger.is_signed {
            let binding = secret_binding(&trigger.owner, trigger.id);
            let secret = self.vault.open(&trigger.secret, &binding)?;
            if !signature::is_good(&secret, (headers, body), self.clock.now())? {
                return Err(self.wrong(address, unsigned));
            }
        }
        let names = ["webhook-id"].into_iter().chain(trigger.dedup_header.as_deref());
        let named = names.filter_map(|name| Some((name, headers.get(name)?)));
        let mut ids = named.map(|(name, value)| {
            let id = value.to_str().ok().filter(|id| (1..=MESSAGE_ID).contains(&id.len()));
            let expected = format!("expected 1 to {MESSAGE_ID} visible characters in `{name}`");
            id.map(str::to_owned).ok_or_else(|| Error::invalid(expected))
        });
        let id = ids.next().transpose()?;
        Ok(id.map(|id| repeat_key(trigger.id, &id)))
    }

    /// Makes the run that a request asks for.
    ///
    /// # Errors
    /// As [`Runs::submit`]; [`ErrorKind::ScopeMissing`] for what the trigger was not made for, and
    /// [`ErrorKind::InvalidInput`] for an address to which its end may not be told.
    pub async fn run(&self, opened: &Opened, order: Order) -> Result<Submitted> {
        let Opened { trigger, admitted } = opened;
        let Target { action, version } = &order.target;
        let is_meant = |target: &Target| {
            let is_newest = target.version.minor.is_none();
            target.action == *action
                && (target.version == *version
                    || (is_newest && target.version.major == version.major))
        };
        if !trigger.targets.iter().any(is_meant) {
            let message = format!("this address was not made for `{}`", order.target);
            return Err(Error::new(ErrorKind::ScopeMissing, message));
        }
        if let Some(url) = &order.callback_url {
            webhook::admit_url(url, &*self.transport)?;
        }
        let origin = origin(&trigger.agent);
        let asked = (order.input, origin);
        let mut submission = submission(&self.runs.catalog(), (action, *version), asked)?;
        submission.call.idempotency_key = order.idempotency_key;
        let url = order.callback_url;
        self.runs.submit_of(admitted, submission, |run| self.source(trigger, run, url)).await
    }

    /// What began a run, and who is told how it ends.
    fn source(&self, trigger: &Trigger, run: ExecutionId, url: Option<String>) -> Result<Source> {
        let owner = &trigger.owner;
        let callback = url.map(|url| {
            let secret = self.vault.open(&trigger.secret, &secret_binding(owner, trigger.id))?;
            let place = Url::parse(&url).map_err(Error::internal)?.origin().ascii_serialization();
            let secret = self.seal(&secret, &webhook::callback_binding(owner, run))?;
            Ok::<_, Error>(Callback { endpoint: format!("{owner} {place}"), url, secret })
        });
        Ok(Source { schedule: None, trigger: Some(trigger.id), callback: callback.transpose()? })
    }

    /// Counts something wrong, and says so; an address that did so too often is told that instead.
    fn wrong(&self, address: Option<IpAddr>, error: impl FnOnce() -> Error) -> Error {
        self.keys.count_wrong(address).refusal().unwrap_or_else(error)
    }

    fn seal(&self, secret: &SecretString, binding: &Binding) -> Result<Sealed> {
        self.vault.seal(secret.expose_secret().as_bytes(), binding)
    }

    async fn audit(&self, caller: &Caller, event: &str, id: TriggerId) -> Result<()> {
        let entry = Entry::new(self.clock.now(), caller.actor, caller.owner.clone());
        self.store.append_audit(&entry.event(event).target(id)).await
    }
}

/// What the secret of a trigger is bound to.
pub(crate) fn secret_binding(owner: &OwnerId, id: TriggerId) -> Binding {
    Binding::to("trigger_secret", [owner.as_str(), &id.to_string()])
}

/// Names a message among everything that makes runs: no other trigger knows its id.
fn repeat_key(trigger: TriggerId, id: &str) -> String {
    let hash = Sha256::digest(id.as_bytes());
    format!("{trigger}.{}", data_encoding::HEXLOWER.encode(&hash))
}

fn origin(agent: &AgentId) -> Origin {
    Origin { agent: agent.clone(), ..Origin::new(execution::Trigger::Webhook) }
}

/// Refuses what no trigger can be, with one detail per problem.
fn check(wanted: &Wanted) -> Result<()> {
    let name = wanted.name.as_deref().unwrap_or_default();
    let is_odd = name.chars().count() > NAME || name.chars().any(char::is_control);
    let name = match is_odd {
        true => Err("expected at most 200 characters, none of them a control character".into()),
        false => Ok(()),
    };
    let targets = &wanted.targets;
    let is_twice = |at: usize| targets[..at].iter().any(|other| other.action == targets[at].action);
    let skills = match targets.len() {
        1..=TARGETS if (0..targets.len()).any(is_twice) => Err("expected every skill once".into()),
        1..=TARGETS => Ok(()),
        _ => Err(format!("expected 1 to {TARGETS} skills")),
    };
    let header = wanted.dedup_header.as_deref().map_or(Ok(()), check_header);
    let secret = wanted.secret.as_ref().map_or(Ok(()), webhook::check_text);
    let checked =
        [("name", name), ("skills", skills), ("dedup_header", header), ("secret", secret)];
    let problems = checked.into_iter();
    let problems = problems.filter_map(|(field, checked)| Some(Detail::new(field, checked.err()?)));
    let problems: Vec<_> = problems.collect();
    if problems.is_empty() {
        return Ok(());
    }
    Err(Error::invalid("the trigger cannot be made").details(problems))
}

fn check_header(name: &str) -> Result<(), String> {
    let expected = "expected the name of a header, such as X-GitHub-Delivery";
    let name = HeaderName::try_from(name).map_err(|_| expected.to_owned())?;
    let secret = ["authorization", "cookie", "proxy-authorization"];
    match secret.contains(&name.as_str()) {
        true => Err("expected a header that holds no secret".into()),
        false => Ok(()),
    }
}

fn no_address() -> Error {
    Error::not_found("there is nothing at this address")
}

fn unsigned() -> Error {
    let message = "expected a good signature: `webhook-id`, `webhook-timestamp` and \
                   `webhook-signature` as Standard Webhooks has them, or `X-Webhook-Signature`";
    Error::new(ErrorKind::Unauthenticated, message)
}

fn unknown() -> Error {
    Error::not_found("there is no trigger with this id")
}
