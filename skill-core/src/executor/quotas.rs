//! What services said of what is left, and calls that would only be refused.
//!
//! A connection whose service said that nothing is left is held back until there is more, so that
//! nobody hammers it; another one never waits for that, unless the declaration says that they share
//! the limit. All of it is in memory, and only while something is used up: a restart forgets it, and
//! the first answer of the service says it again.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::{HeaderMap, StatusCode};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Executor, observe::Event, retry_after};
use crate::{
    catalog::Operation,
    clock::Deadline,
    error::{Error, ErrorKind, Result, Retry},
    id::{AppId, ConnectionId},
    integration::{Integration, Per, Quota},
    name::Slug,
    record::connection::Connection,
};

/// How many connections or apps are kept track of; past it those go of which something is left.
const MOST: usize = 100_000;
/// How many parts of one limit are told apart; past it the whole of it counts as used up.
const PARTS: usize = 32;
/// After how long a queued run looks again for a free place.
const SOON: Duration = Duration::from_secs(1);

/// Whose calls a service counts together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Whose {
    Connection(ConnectionId),
    App(AppId),
}

impl Whose {
    fn of(quota: &Quota, connection: &Connection) -> Self {
        match (quota.per, connection.app) {
            (Per::App, Some(app)) => Self::App(app),
            (Per::App | Per::Connection | Per::Endpoint, _) => Self::Connection(connection.id),
        }
    }
}

/// A part of a limit that is used up, and until when, in steady time; `None` is all of it.
type Part = (Option<Arc<str>>, Duration);

/// What this process knows of the limits of services.
#[derive(Default)]
pub(crate) struct Quotas {
    used_up: Mutex<HashMap<Whose, Vec<Part>>>,
    /// How many there are of them: mostly none, and then nobody waits for the lock.
    count: AtomicUsize,
    /// The part of the limit that each action belongs to, as its last answer said.
    buckets: Mutex<HashMap<(Slug, Slug), Arc<str>>>,
    /// By whose they are, and whether they are for calls that change something alone.
    places: Mutex<HashMap<(Whose, bool), Arc<Semaphore>>>,
}

impl fmt::Debug for Quotas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Quotas({} used up)", self.count.load(Ordering::Relaxed))
    }
}

impl Quotas {
    /// Forgets what is known of a connection: it may be another account from here on.
    pub(crate) fn forget(&self, connection: ConnectionId) {
        let mut used_up = lock(&self.used_up);
        used_up.remove(&Whose::Connection(connection));
        self.count.store(used_up.len(), Ordering::Relaxed);
    }

    /// How long it is until there is more for this part.
    fn wait(&self, whose: Whose, part: Option<&str>, now: Duration) -> Option<Duration> {
        if self.count.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let mut used_up = lock(&self.used_up);
        let parts = used_up.get_mut(&whose)?;
        parts.retain(|(_, until)| now < *until);
        let fits = |known: &Option<Arc<str>>| known.is_none() || known.as_deref() == part;
        let until = parts.iter().filter(|(known, _)| fits(known)).map(|(_, until)| *until).max();
        if parts.is_empty() {
            used_up.remove(&whose);
            self.count.store(used_up.len(), Ordering::Relaxed);
        }
        until.map(|until| until - now)
    }

    /// Notes that nothing is left for this part until then. True when that is news.
    fn note(
        &self,
        whose: Whose,
        part: Option<Arc<str>>,
        (now, until): (Duration, Duration),
    ) -> bool {
        let mut used_up = lock(&self.used_up);
        if used_up.len() >= MOST && !used_up.contains_key(&whose) {
            used_up.retain(|_, parts| parts.iter().any(|(_, until)| now < *until));
        }
        if used_up.len() >= MOST && !used_up.contains_key(&whose) {
            return false;
        }
        let parts = used_up.entry(whose).or_default();
        parts.retain(|(_, until)| now < *until);
        if let Some((_, known)) = parts.iter_mut().find(|(known, _)| *known == part) {
            *known = until.max(*known);
            return false;
        }
        if parts.len() >= PARTS {
            *parts = vec![(None, until)];
        } else {
            parts.push((part, until));
        }
        self.count.store(used_up.len(), Ordering::Relaxed);
        true
    }

    /// The part of the limit that an endpoint belongs to.
    fn part(&self, integration: &dyn Integration, endpoint: &Slug) -> Option<Arc<str>> {
        let quota = integration.quota();
        if quota.per == Per::Endpoint {
            return Some(endpoint.canonical().into());
        }
        let action = || (integration.info().slug.clone(), endpoint.clone());
        if quota.has_buckets() { lock(&self.buckets).get(&action()).cloned() } else { None }
    }

    fn place(&self, whose: (Whose, bool), most: u32) -> Arc<Semaphore> {
        let mut places = lock(&self.places);
        if places.len() >= MOST && !places.contains_key(&whose) {
            places.retain(|_, places| Arc::strong_count(places) > 1);
        }
        places.entry(whose).or_insert_with(|| Arc::new(Semaphore::new(most as usize))).clone()
    }
}

/// What is called: an endpoint, or whatever lies behind the raw door, of which nobody knows to
/// which part of a limit it belongs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Called<'a> {
    pub(super) integration: &'a dyn Integration,
    pub(super) endpoint: Option<&'a Slug>,
    /// Whether it changes something, as far as its method says.
    pub(super) is_write: bool,
}

impl<'a> Called<'a> {
    pub(super) fn of(action: &'a Operation) -> Self {
        let info = action.endpoint.info();
        let (endpoint, is_write) = (Some(&info.name), !info.method.is_safe());
        Self { integration: &*action.integration, endpoint, is_write }
    }
}

/// Whether a call may wait for a place, or comes again by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    /// It waits until its deadline.
    Until(Deadline),
    /// It is queued, and comes again.
    None,
}

impl Executor {
    /// Refuses a call that the service would refuse, and takes a place where there are only so
    /// many: it is free again when what comes back is dropped.
    pub(super) async fn enter(
        &self,
        called: Called<'_>,
        connection: Option<&Connection>,
        patience: Patience,
    ) -> Result<Option<OwnedSemaphorePermit>> {
        let Some(connection) = connection else { return Ok(None) };
        let quota = called.integration.quota();
        self.look(called, connection)?;
        let Some((most, is_apart)) = quota.places(called.is_write) else { return Ok(None) };
        let places = self.quotas.place((Whose::of(quota, connection), is_apart), most);
        let place = match patience {
            Patience::None => places.try_acquire_owned().ok(),
            Patience::Until(deadline) => {
                let place = deadline.run(places.acquire_owned()).await;
                place.transpose().map_err(Error::internal)?
            }
        };
        if place.is_none() {
            return Err(self.held_back(connection, SOON));
        }
        // While it waited, somebody else may have heard that nothing is left.
        self.look(called, connection)?;
        Ok(place)
    }

    fn look(&self, called: Called<'_>, connection: &Connection) -> Result<()> {
        if self.quotas.count.load(Ordering::Relaxed) == 0 {
            return Ok(());
        }
        let Called { integration, endpoint, .. } = called;
        let part = endpoint.and_then(|endpoint| self.quotas.part(integration, endpoint));
        let whose = Whose::of(integration.quota(), connection);
        match self.quotas.wait(whose, part.as_deref(), self.clock.steady()) {
            Some(wait) => Err(self.held_back(connection, wait)),
            None => Ok(()),
        }
    }

    fn held_back(&self, connection: &Connection, wait: Duration) -> Error {
        let (integration, connection) = (&connection.integration, connection.id);
        self.observer.hear(&Event::HeldBack { integration, connection });
        let message = "the service takes no more calls of this connection for now";
        Error::new(ErrorKind::RateLimited, message)
            .detail("reason", "upstream_limit")
            .retry_after(wait)
            .retry(Retry::Safe)
    }

    /// Hears what an answer says of what is left; `is_busy`: it says that the service was asked too
    /// much.
    pub(super) fn learn(
        &self,
        Called { integration, endpoint, .. }: Called<'_>,
        connection: &Connection,
        (status, headers, is_busy): (StatusCode, &HeaderMap, bool),
    ) {
        let quota = integration.quota();
        let bucket = quota.bucket(headers).map(Arc::<str>::from);
        if let (Some(bucket), Some(endpoint)) = (&bucket, endpoint) {
            let action = (integration.info().slug.clone(), endpoint.clone());
            lock(&self.quotas.buckets).insert(action, bucket.clone());
        }
        let now = self.clock.now();
        let said = (now, retry_after(headers, now));
        let wait = match is_busy && status != StatusCode::SERVICE_UNAVAILABLE {
            true => quota.refused(headers, said).filter(|wait| !wait.is_zero()),
            false => quota.used_up(status, headers, said),
        };
        let Some(wait) = wait else { return };
        let part = match (quota.per, endpoint) {
            (Per::Endpoint, None) => return,
            (Per::Endpoint, Some(endpoint)) => self.quotas.part(integration, endpoint),
            (Per::Connection | Per::App, _) => bucket,
        };
        let steady = self.clock.steady();
        let until = (steady, steady.saturating_add(wait));
        if self.quotas.note(Whose::of(quota, connection), part, until) {
            let (integration, connection) = (&connection.integration, connection.id);
            tracing::debug!(%integration, %connection, ?wait, "nothing is left");
            self.observer.hear(&Event::UsedUp { integration, connection, wait });
        }
    }
}

/// Whether this is the refusal of a call that was held back: nothing was sent.
pub(crate) fn is_held_back(error: &Error) -> bool {
    error.kind() == ErrorKind::RateLimited && error.retry_state() == Retry::Safe
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
