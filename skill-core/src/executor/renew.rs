//! Renewing a grant: exactly once, whoever asks at the same time.
//!
//! Inside the process one task per connection does it and everybody waits for that task; it is
//! owned by the engine, so that a caller who hangs up cannot lose a token that the provider has
//! already rotated. Between processes a lease in the store keeps two from asking at once, and
//! compare-and-swap on the grant's revision decides who won. No lock is held across the request.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use super::observe::{Event, Observer};
use crate::{
    apps::Apps,
    clock::{Clock, Deadline},
    connections::Connections,
    credential::{Answer, Credential, CredentialStore, Exchange, Moment, Purpose, Step},
    error::{Error, ErrorKind, Result},
    id::{self, ConnectionId},
    integration::Integration,
    record::{
        audit::{Actor, Entry},
        connection::{Connection, ConnectionRef, Revision, Status},
    },
    store::Store,
    transport::Transport,
};

/// How long one renewal may hold its lease.
const HOLD: Duration = Duration::from_secs(45);
/// How long its requests may take: it gives up well before the lease lapses.
const REQUESTS: Duration = Duration::from_secs(25);
/// How long to wait for another process that holds the lease, altogether and between two looks.
const PATIENCE: Duration = Duration::from_secs(40);
const LOOK: Duration = Duration::from_millis(150);
/// How long a new grant is held out to a store that does not take it. With the requests before it
/// that is less than the lease.
const KEEPING: Duration = Duration::from_secs(15);
/// Why a grant that came out of a backup is not renewed.
const SPENT: &str = "the access came out of a backup, and the service does not renew it any more: \
                     it was renewed after the backup, or taken back; connect the account again";
/// The largest answer of a token endpoint.
const ANSWER: usize = 64 * 1024 + 1;

/// How a renewal ended.
#[derive(Debug, Clone)]
enum Outcome {
    /// The store holds another grant than before.
    Renewed,
    /// The provider took the grant back.
    Dead,
    /// Something else is wrong; the grant stays.
    Failed(Arc<Error>),
}

/// Renews grants.
pub(crate) struct Renewer {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) credentials: Arc<dyn CredentialStore>,
    pub(crate) connections: Arc<Connections>,
    pub(crate) apps: Arc<Apps>,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) tasks: TaskTracker,
    pub(crate) flights: Flights,
}

/// The renewals under way in this process.
#[derive(Debug, Default)]
pub(crate) struct Flights(Mutex<HashMap<ConnectionId, watch::Receiver<Option<Outcome>>>>);

/// Ends a flight when it is dropped, a panic included: whoever comes later starts another.
struct Landing<'a>(&'a Flights, ConnectionId);

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        self.0.lock().remove(&self.1);
    }
}

impl Flights {
    fn lock(&self) -> MutexGuard<'_, HashMap<ConnectionId, watch::Receiver<Option<Outcome>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Renewer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Renewer({} under way)", self.flights.lock().len())
    }
}

impl Renewer {
    /// Returns a grant newer than `seen`: renewed now, or by somebody else meanwhile.
    ///
    /// # Errors
    /// [`ErrorKind::TokenExpired`] when the provider took the grant back (the connection is then
    /// marked), [`ErrorKind::UpstreamUnreachable`] when its token endpoint is in trouble, and
    /// [`ErrorKind::Timeout`] when `deadline` passes first: the renewal then goes on without us.
    pub(crate) async fn renew(
        self: &Arc<Self>,
        connection: &Connection,
        integration: &Arc<dyn Integration>,
        seen: Revision,
        deadline: Deadline,
    ) -> Result<(Credential, Revision)> {
        loop {
            let mut flight = self.join(connection, integration, seen);
            let outcome =
                deadline.run(flight.wait_for(Option::is_some)).await.ok_or_else(|| {
                    let message = "the access could not be renewed before the deadline";
                    Error::new(ErrorKind::Timeout, message)
                })?;
            match outcome.map_err(Error::internal)?.clone() {
                Some(Outcome::Renewed) => {}
                Some(Outcome::Dead) => return Err(dead()),
                Some(Outcome::Failed(error)) => {
                    let message = error.message().to_owned();
                    return Err(Error::new(error.kind(), message).with("cause", error.log_line()));
                }
                None => return Err(Error::internal("a renewal ended without an outcome")),
            }
            // Not from a cache, which may still hold what was refused.
            let (credential, revision) =
                self.credentials.reload(&connection.at()).await?.ok_or_else(dead)?;
            // The flight that was under way may have been the one that made the grant we hold.
            if revision != seen {
                return Ok((credential, revision));
            }
        }
    }

    /// Joins the renewal of this connection that is under way, or starts one.
    fn join(
        self: &Arc<Self>,
        connection: &Connection,
        integration: &Arc<dyn Integration>,
        seen: Revision,
    ) -> watch::Receiver<Option<Outcome>> {
        let mut flights = self.flights.lock();
        if let Some(flight) = flights.get(&connection.id) {
            return flight.clone();
        }
        let (done, flight) = watch::channel(None);
        flights.insert(connection.id, flight.clone());
        let (this, connection, integration) =
            (self.clone(), connection.clone(), integration.clone());
        self.tasks.spawn(async move {
            let id = connection.id;
            let landing = Landing(&this.flights, id);
            let outcome = this.run(&connection, &*integration, seen).await;
            let outcome = outcome.unwrap_or_else(|error| Outcome::Failed(Arc::new(error)));
            let error = match &outcome {
                Outcome::Renewed => None,
                Outcome::Dead => Some(ErrorKind::TokenExpired),
                Outcome::Failed(error) => Some(error.kind()),
            };
            let integration = &connection.integration;
            this.observer.hear(&Event::Renewed { integration, connection: id, error });
            // First the outcome, then the door: whoever comes in between still sees this flight.
            done.send_replace(Some(outcome));
            drop(landing);
        });
        flight
    }

    /// One renewal, from the lease to the stored grant.
    async fn run(
        &self,
        connection: &Connection,
        integration: &dyn Integration,
        seen: Revision,
    ) -> Result<Outcome> {
        let at = connection.at();
        let token = data_encoding::HEXLOWER.encode(&id::random::<16>()?);
        let patience = Deadline::after(PATIENCE);
        loop {
            let Some((_, revision)) = self.credentials.reload(&at).await? else {
                return Ok(Outcome::Dead);
            };
            if revision != seen {
                return Ok(Outcome::Renewed);
            }
            if self.store.lease_renewal(&at, &token, self.clock.now(), HOLD).await? {
                break;
            }
            if patience.remaining().is_zero() {
                let message = "another node has been renewing this access for too long";
                return Err(Error::new(ErrorKind::UpstreamUnreachable, message));
            }
            tokio::time::sleep(LOOK).await;
        }
        let outcome = self.exchange(connection, integration, seen).await;
        let released = self.store.release_renewal(&at, &token).await;
        if let Err(error) = released {
            tracing::warn!(connection = %at.id, error = %error.log_line(), "a lease stays until it lapses");
        }
        outcome
    }

    /// Asks the provider, holding the lease.
    async fn exchange(
        &self,
        connection: &Connection,
        integration: &dyn Integration,
        seen: Revision,
    ) -> Result<Outcome> {
        let at = connection.at();
        // Somebody may have finished between our look and our lease.
        let Some((old, revision)) = self.credentials.reload(&at).await? else {
            return Ok(Outcome::Dead);
        };
        if revision != seen {
            return Ok(Outcome::Renewed);
        }
        let client =
            self.apps.client(&connection.owner, &connection.integration, connection.app).await?;
        let exchange = Exchange {
            client: client.as_ref(),
            fields: &connection.fields,
            scopes: &connection.scopes,
            redirect_url: "",
            purpose: Purpose::Renew(&old),
            at: Moment { now: self.clock.now(), nonce: id::random()? },
        };
        let deadline = Deadline::after(REQUESTS);
        let step = negotiate(&*self.transport, integration, &exchange, deadline).await;
        if let Ok(Step::Done(new)) = &step {
            if self.keep(&at, new, seen).await?
                && let Err(error) = self.note(connection, Ok(new)).await
            {
                // The grant is good all the same.
                tracing::warn!(connection = %at.id, error = %error.log_line(), "not noted");
            }
            return Ok(Outcome::Renewed);
        }
        // Another node may have won meanwhile: then its grant counts, and not our failure.
        let now_at = self.credentials.reload(&at).await?.map(|(_, revision)| revision);
        match (step, now_at) {
            (_, Some(revision)) if revision != seen => Ok(Outcome::Renewed),
            (Err(error), _) => {
                self.note(connection, Err(error.message())).await?;
                Err(error)
            }
            (Ok(Step::Reconnect(reason)), _) => {
                let is_restored = self.store.is_restored(&at, seen).await?;
                let reason = if is_restored { SPENT } else { reason };
                self.expire(connection, reason).await?;
                Ok(Outcome::Dead)
            }
            (Ok(Step::Done(_) | Step::Send(..)), _) => {
                Err(Error::internal("an exchange ended in the middle"))
            }
        }
    }

    /// Stores the new grant. The provider may have ended the old one with it: a store that fails
    /// for a moment must not lose it.
    async fn keep(&self, at: &ConnectionRef, new: &Credential, seen: Revision) -> Result<bool> {
        let patience = Deadline::after(KEEPING);
        loop {
            match self.credentials.replace(at, new, Some(seen)).await {
                Err(error)
                    if error.kind() == ErrorKind::Unavailable
                        && !patience.remaining().is_zero() =>
                {
                    tracing::warn!(connection = %at.id, error = %error.log_line(), "a new grant is not stored yet");
                    tokio::time::sleep(LOOK).await;
                }
                done => return done,
            }
        }
    }

    /// Notes on the connection how its renewal went.
    async fn note(&self, connection: &Connection, went: Result<&Credential, &str>) -> Result<()> {
        let current = self.store.connection(&connection.owner, connection.id).await?;
        let Some(mut current) = current else { return Ok(()) };
        match went {
            Ok(new) => {
                current.status = Status::Connected;
                current.last_error = None;
                current.expires_at = new.expires_at;
                current.rests_since = Some(self.clock.now());
                current.fields.extend(new.facts.clone());
                if !new.scopes.is_empty() {
                    current.scopes.clone_from(&new.scopes);
                }
            }
            Err(why) => current.last_error = Some(why.to_owned()),
        }
        current.updated_at = self.clock.now();
        self.connections.update(&current).await.map(drop)
    }

    /// Marks the connection: only a person can mend it.
    async fn expire(&self, connection: &Connection, reason: &str) -> Result<()> {
        let current = self.store.connection(&connection.owner, connection.id).await?;
        let Some(mut current) = current else { return Ok(()) };
        current.status = Status::Expired;
        current.last_error = Some(reason.to_owned());
        current.updated_at = self.clock.now();
        self.connections.update(&current).await?;
        let entry = Entry::new(current.updated_at, Actor::System, current.owner.clone());
        self.store.append_audit(&entry.event("connection.expired").target(current.id)).await
    }
}

pub(crate) fn dead() -> Error {
    let message = "the service no longer accepts this connection: a person has to reconnect it";
    Error::new(ErrorKind::TokenExpired, message)
}

/// Runs an exchange with a provider to its end.
pub(crate) async fn negotiate(
    transport: &dyn Transport,
    integration: &dyn Integration,
    exchange: &Exchange<'_>,
    deadline: Deadline,
) -> Result<Step> {
    let mut last = None;
    loop {
        match integration.auth().next(exchange, last.as_ref())? {
            Step::Send(request, after) => {
                let trouble = |error: Error| {
                    let message = "the service's token endpoint cannot be reached";
                    Error::new(ErrorKind::UpstreamUnreachable, message).caused_by(error)
                };
                // What it brings may be used up by it: a code, a rotating token.
                let answer = transport.send_alone(request, deadline).await.map_err(trouble)?;
                let (status, headers) = (answer.status, answer.headers);
                let body = answer.body.collect(ANSWER).await.map_err(trouble)?;
                last = Some(Answer { status, headers, body, after });
            }
            end @ (Step::Done(_) | Step::Reconnect(_)) => return Ok(end),
        }
    }
}
