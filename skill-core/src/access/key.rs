//! Keys: making, finding and revoking them.

mod change;
mod rotate;
mod standing;

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;

pub use self::standing::Standing;
use super::{AddressLimit, Allowance, Caller, Limiter, Limits, Plans};
use crate::{
    cache::Fresh,
    clock::Clock,
    error::{Error, ErrorKind, Result},
    id::KeyId,
    name::{ActionName, OwnerId, UserId},
    record::{
        audit::{Actor, Entry},
        key::{Key, KeyHash, Kind, PlainKey},
        owner::Owner,
        scope::Scopes,
    },
    store::Store,
};

/// The longest life of a temporary key, and its life when none is asked for.
const TEMPORARY: Duration = Duration::from_secs(24 * 3600);
/// The longest name, in characters.
const NAME: usize = 200;

/// A key that is to be made.
///
/// ```
/// use skill_core::{access::NewKey, record::key::Kind};
/// let wanted = NewKey::new("agent", Kind::Api);
/// assert!(wanted.expires_in.is_none());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewKey {
    /// What its maker calls it: 1 to 200 characters, no control characters.
    pub name: String,
    /// How it is made.
    pub kind: Kind,
    /// What it may do.
    pub scopes: Scopes,
    /// The person it acts for.
    pub user: Option<UserId>,
    /// Its tier of limits.
    pub tier: Option<String>,
    /// How long it lives.
    pub expires_in: Option<Duration>,
}

impl NewKey {
    /// Returns a key with the scope `*` that does not end.
    pub fn new(name: &str, kind: Kind) -> Self {
        let (scopes, expires_in) = (Scopes::all(), None);
        Self { name: name.into(), kind, scopes, user: None, tier: None, expires_in }
    }
}

/// The outcome of [`Keys::authenticate`].
#[derive(Debug)]
pub enum Authentication {
    /// The key is good: this is who calls, and what its limits left it before this call.
    Good(Caller),
    /// It is not, for whatever reason; the figures are those of the address.
    Bad(Allowance),
}

/// A caller whose request was counted against its limits: only [`Keys::admit`] makes one, and
/// [`Keys::resume`] for the runs of such a request.
///
/// ```
/// fn who(admitted: &skill_core::access::Admitted) -> String { admitted.caller().owner.to_string() }
/// ```
#[derive(Debug, Clone)]
pub struct Admitted {
    caller: Caller,
    allowance: Allowance,
}

impl Admitted {
    /// Who calls.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// What its limits leave it after this request.
    pub fn allowance(&self) -> &Allowance {
        &self.allowance
    }
}

/// The outcome of [`Keys::admit`].
#[derive(Debug)]
pub enum Admission {
    /// The request was counted.
    Admitted(Admitted),
    /// It was not: a limit is used up.
    Refused(Allowance),
}

/// Every key there is, and the limits on trying wrong ones.
#[derive(Debug)]
pub struct Keys {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    plans: Plans,
    limiter: Limiter,
    addresses: AddressLimit,
    /// The latest time of day that was seen, in microseconds: a key that was expired stays so when
    /// somebody sets the clock back.
    latest: AtomicI64,
    by_hash: Fresh<KeyHash, Arc<Key>>,
    revoked: Fresh<KeyId, bool>,
    owners: Fresh<OwnerId, Option<String>>,
}

impl Keys {
    /// Returns the keys of `store`.
    ///
    /// # Errors
    /// As [`Limiter::new`].
    pub fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        plans: Plans,
        wrong_per_minute: u32,
    ) -> Result<Self> {
        Ok(Self {
            limiter: Limiter::new(store.clone(), clock.clone())?,
            addresses: AddressLimit::new(wrong_per_minute),
            store,
            clock,
            plans,
            latest: AtomicI64::new(i64::MIN),
            by_hash: Fresh::new(),
            revoked: Fresh::new(),
            owners: Fresh::new(),
        })
    }

    /// Says who presents `text`. Every cause of a no looks the same from outside, and a key whose
    /// form or checksum is wrong costs no read of the store.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when the store does not answer.
    pub async fn authenticate(
        &self,
        text: &str,
        address: Option<IpAddr>,
    ) -> Result<Authentication> {
        if let Some(key) = PlainKey::parse(text)
            && let Some(key) = self.find(key.hash()).await?
            && key.is_live(self.latest())
        {
            return Ok(Authentication::Good(Caller {
                owner: key.owner.clone(),
                user: key.user.clone(),
                actor: Actor::Key(key.id),
                scopes: key.scopes.clone(),
                tier: key.tier.clone(),
                until: key.expires_at,
                connections: None,
            }));
        }
        let failed = |address| self.addresses.count(address, self.clock.steady());
        Ok(Authentication::Bad(address.map_or_else(Allowance::unlimited, failed)))
    }

    /// The figures of an address that presented no good key.
    pub fn address_allowance(&self, address: Option<IpAddr>) -> Allowance {
        let peek = |address| self.addresses.peek(address, self.clock.steady());
        address.map_or_else(Allowance::unlimited, peek)
    }

    /// Counts something wrong that an address presented besides a key, as a wrong key is counted.
    pub(crate) fn count_wrong(&self, address: Option<IpAddr>) -> Allowance {
        let count = |address| self.addresses.count(address, self.clock.steady());
        address.map_or_else(Allowance::unlimited, count)
    }

    async fn find(&self, hash: KeyHash) -> Result<Option<Arc<Key>>> {
        let now = self.clock.steady();
        if let Some(key) = self.by_hash.get(&hash, now) {
            return Ok(Some(key));
        }
        let ticket = self.by_hash.ticket(now);
        let key = self.store.key_by_hash(&hash).await?.map(Arc::new);
        if let Some(key) = &key {
            self.by_hash.put(hash, key.clone(), ticket);
        }
        Ok(key)
    }

    /// Counts one request against the caller's limits.
    ///
    /// # Errors
    /// As [`Limiter::admit`].
    pub async fn admit(&self, caller: Caller) -> Result<Admission> {
        let limits = self.limits(&caller).await?;
        let allowance = self.limiter.admit(&caller, limits).await?;
        match allowance.retry_after {
            None => Ok(Admission::Admitted(Admitted { caller, allowance })),
            Some(_) => Ok(Admission::Refused(allowance)),
        }
    }

    /// Lets whoever asked for a run go on with it, in whichever process and however much later. Its
    /// limits counted the request that asked; a key that has ended since goes on, a revoked one
    /// does not.
    ///
    /// # Errors
    /// [`ErrorKind::Unauthenticated`] when the key was revoked, [`ErrorKind::Unavailable`] when the
    /// store does not answer.
    pub async fn resume(&self, caller: Caller) -> Result<Admitted> {
        if self.is_revoked(&caller).await? {
            let message = "the API key that asked for this run was revoked";
            return Err(Error::new(ErrorKind::Unauthenticated, message));
        }
        Ok(Admitted { caller, allowance: Allowance::unlimited() })
    }

    /// Counts one call of an action against the action's own limit, which all keys of the caller's
    /// owner share.
    ///
    /// # Errors
    /// [`ErrorKind::RateLimited`] with the time after which the next call will be accepted: the
    /// refused one does not count. [`ErrorKind::Unavailable`] when the store does not answer.
    pub async fn admit_action(
        &self,
        admitted: &Admitted,
        action: &ActionName,
        per_minute: u32,
    ) -> Result<()> {
        let owner = &admitted.caller().owner;
        let allowance = self.limiter.admit_action(owner, action, per_minute).await?;
        let Some(after) = allowance.retry_after else { return Ok(()) };
        let message = format!("`{action}` takes {per_minute} calls in any 60 seconds");
        Err(Error::new(ErrorKind::RateLimited, message).retry_after(after))
    }

    async fn limits(&self, caller: &Caller) -> Result<Limits> {
        let plan = self.plan_name(&caller.owner).await?;
        Ok(self.plans.limits(plan.as_deref(), caller.tier.as_deref()))
    }

    async fn plan_name(&self, owner: &OwnerId) -> Result<Option<String>> {
        let now = self.clock.steady();
        if let Some(plan) = self.owners.get(owner, now) {
            return Ok(plan);
        }
        let ticket = self.owners.ticket(now);
        let plan = self.store.owner(owner).await?.and_then(|owner| owner.plan);
        self.owners.put(owner.clone(), plan.clone(), ticket);
        Ok(plan)
    }

    /// Puts an owner on a plan, at once; false when there is no such owner.
    pub(crate) async fn set_plan(&self, owner: &OwnerId, plan: &str) -> Result<bool> {
        let is_there = self.store.set_plan(owner, Some(plan)).await?;
        self.owners.forget(owner);
        Ok(is_there)
    }

    /// The most connections that the owner may have.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when the store does not answer.
    pub async fn most_connections(&self, owner: &OwnerId) -> Result<Option<u32>> {
        let plan = self.plan_name(owner).await?;
        Ok(self.plans.plan(plan.as_deref()).connections)
    }

    /// Makes a key for the caller's owner, which comes to be on first use.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for a bad name or life, [`ErrorKind::ScopeMissing`] when the
    /// new key would have more scopes than its maker or outlive it, [`ErrorKind::PlanLimit`] when
    /// the owner's plan allows no more.
    pub async fn create(&self, caller: &Caller, wanted: NewKey) -> Result<(Key, PlainKey)> {
        let at = self.now();
        let expires_at = check(&wanted, at)?;
        if !caller.scopes.covers(&wanted.scopes) {
            let message = "a key cannot make a key with more scopes than its own";
            return Err(Error::new(ErrorKind::ScopeMissing, message));
        }
        if caller.until.is_some_and(|end| expires_at.is_some_and(|asked| asked > end)) {
            let message = "a key cannot make a key that outlives it: ask for a shorter life";
            return Err(Error::new(ErrorKind::ScopeMissing, message));
        }
        let expires_at = expires_at.or(caller.until);
        let plain = PlainKey::generate(wanted.kind)?;
        let owner = self.store.ensure_owner(&Owner::new(caller.owner.clone(), at)).await?;
        let key = Key {
            id: KeyId::fresh(at)?,
            owner: owner.id,
            // A key that acts for a user makes keys for that user only.
            user: caller.user.clone().or(wanted.user),
            name: wanted.name,
            kind: wanted.kind,
            shown: plain.shown(),
            hash: plain.hash(),
            scopes: wanted.scopes,
            tier: wanted.tier.or_else(|| caller.tier.clone()),
            created_at: at,
            expires_at,
            revoked_at: None,
            last_used_at: None,
        };
        let most = self.plans.plan(owner.plan.as_deref()).keys;
        if !self.store.insert_key(&key, most).await? {
            let message = "the plan allows no more keys: revoke one first";
            return Err(Error::new(ErrorKind::PlanLimit, message));
        }
        self.audit(caller, "key.created", key.id).await?;
        Ok((key, plain))
    }

    /// The caller's owner's keys, the newest first.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when the store does not answer.
    pub async fn list(&self, caller: &Caller) -> Result<Vec<Key>> {
        let mut keys = self.store.keys(&caller.owner).await?;
        keys.retain(|key| caller.user.is_none() || key.user == caller.user);
        Ok(keys)
    }

    /// The caller's owner's key; a key that acts for a user finds that user's only.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is no such key.
    pub async fn get(&self, caller: &Caller, id: KeyId) -> Result<Key> {
        self.list(caller).await?.into_iter().find(|key| key.id == id).ok_or_else(unknown)
    }

    /// Revokes a key, at once.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when the caller's owner has no such key.
    pub async fn revoke(&self, caller: &Caller, id: KeyId) -> Result<()> {
        self.get(caller, id).await?;
        if !self.store.revoke_key(&caller.owner, id, self.now()).await? {
            return Err(unknown());
        }
        self.by_hash.forget_all();
        self.revoked.forget(&id);
        self.audit(caller, "key.revoked", id).await
    }

    /// Revokes a key as [`revoke`](Self::revoke) does, unless it is a temporary one: that ends by
    /// itself.
    ///
    /// # Errors
    /// As [`revoke`](Self::revoke); [`ErrorKind::ScopeMissing`] for a temporary key.
    pub async fn revoke_lasting(&self, caller: &Caller, id: KeyId) -> Result<()> {
        if self.get(caller, id).await?.kind == Kind::Temporary {
            let message = "a temporary key is not revoked here: it ends by itself";
            return Err(Error::new(ErrorKind::ScopeMissing, message));
        }
        self.revoke(caller, id).await
    }

    /// Whether the key through which somebody once came is revoked by now, or gone. One that has
    /// ended by itself is not: what it asked for in time goes on.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when the store does not answer.
    pub(crate) async fn is_revoked(&self, caller: &Caller) -> Result<bool> {
        let Some(id) = caller.key() else { return Ok(false) };
        let now = self.clock.steady();
        if let Some(is_revoked) = self.revoked.get(&id, now) {
            return Ok(is_revoked);
        }
        let ticket = self.revoked.ticket(now);
        let keys = self.store.keys(&caller.owner).await?;
        let key = keys.iter().find(|key| key.id == id);
        let is_revoked = key.is_none_or(|key| key.revoked_at.is_some());
        self.revoked.put(id, is_revoked, ticket);
        Ok(is_revoked)
    }

    async fn audit(&self, caller: &Caller, event: &str, id: KeyId) -> Result<()> {
        let entry = Entry::new(self.now(), caller.actor, caller.owner.clone());
        self.store.append_audit(&entry.event(event).target(id)).await
    }

    fn latest(&self) -> Timestamp {
        let now = self.now();
        let seen = self.latest.fetch_max(now.as_microsecond(), Ordering::Relaxed);
        Timestamp::from_microsecond(seen.max(now.as_microsecond())).unwrap_or(now)
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

fn unknown() -> Error {
    Error::not_found("there is no key with this id")
}

fn check_name(name: &str) -> Result<()> {
    if !(1..=NAME).contains(&name.chars().count()) || name.chars().any(char::is_control) {
        let issue = "expected 1 to 200 characters, none of them a control character";
        return Err(Error::invalid("the name cannot be used").detail("name", issue));
    }
    Ok(())
}

/// Checks what a new key should be, and returns when it ends.
fn check(wanted: &NewKey, at: Timestamp) -> Result<Option<Timestamp>> {
    check_name(&wanted.name)?;
    let life = match (wanted.kind, wanted.expires_in) {
        (Kind::Temporary, None) => Some(TEMPORARY),
        (Kind::Temporary, Some(life)) if life > TEMPORARY => {
            let issue = "expected at most 86400 seconds for a temporary key";
            return Err(Error::invalid(issue).detail("expires_in", issue));
        }
        (_, life) => life,
    };
    let Some(life) = life else { return Ok(None) };
    let end = at.checked_add(life).ok().filter(|_| !life.is_zero());
    end.map(Some).ok_or_else(|| {
        let issue = "expected a number of seconds from 1 on";
        Error::invalid(issue).detail("expires_in", issue)
    })
}
