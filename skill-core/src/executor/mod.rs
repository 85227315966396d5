//! The executor: the one path from a call to an upstream.
//!
//! Its stages stand in one function, [`Executor::execute`] and what it calls in order: their order
//! is security policy, so it is not a stack of layers that somebody could rearrange.

mod answer;
mod body;
mod choose;
mod gather;
mod history;
mod keep_alive;
mod observe;
mod passage;
mod quotas;
mod raw;
mod recording;
mod renew;
mod replay;
mod retry;
mod send;
mod transfer;
mod under_way;
mod verify;

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use http::HeaderValue;
use serde_json::Value;

pub(crate) use self::{
    body::binding as body_binding,
    quotas::{Quotas, is_held_back},
    renew::{Flights, Renewer, negotiate},
    replay::{Kept, check_key, hash, read as read_outcome, write as write_outcome},
    retry::retry_after,
    send::{Answered, Gate, Sending},
    under_way::UnderWay,
};
pub use self::{
    history::History,
    observe::{Event, Observer, Silent},
    transfer::Download,
};
use self::{
    quotas::{Called, Patience},
    recording::Recording,
    send::{Grant, Prepared},
    under_way::unless_stopped,
};
use crate::{
    access::{Admitted, Caller, Intent, Keys, authorize},
    artifact::Artifacts,
    call::{CallRequest, Reply},
    catalog::{Catalog, Operation},
    clock::{Clock, Deadline},
    connections::Connections,
    credential::{Credential, CredentialStore, Vault},
    endpoint::Draft,
    error::{Error, ErrorKind, Result, Retry},
    id::ExecutionId,
    integration::Integration,
    link::Links,
    name::ActionName,
    record::{
        audit::{Actor, Entry},
        connection::{Connection, Fields, Revision},
        execution::{Begun, Execution, Idempotency, Recorded},
        scope::Scope,
    },
    store::Store,
    transport::{Outgoing, Transport},
};

/// Bounds of the executor's work.
///
/// ```
/// use skill_core::executor::Settings;
/// assert_eq!(Settings::default().timeout.as_secs(), 30);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// How long a call may take when nobody says.
    pub timeout: Duration,
    /// How long a call may take at most.
    pub longest_timeout: Duration,
    /// The most bytes of an answer, decoded.
    pub answer_bytes: usize,
    /// How long an idempotency key is remembered.
    pub idempotency: Duration,
    /// The most bytes of inputs or of an outcome that the history keeps of a call.
    pub kept_bytes: usize,
    /// How long what streams may take in all, as long as it goes on.
    pub transfer: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(30),
            longest_timeout: Duration::from_secs(300),
            answer_bytes: 10 << 20,
            idempotency: Duration::from_secs(24 * 3600),
            kept_bytes: 1 << 20,
            transfer: Duration::from_secs(3600),
        }
    }
}

/// Access is renewed this long before it ends, or a tenth of its life when that is shorter.
const MARGIN: Duration = Duration::from_secs(30);

/// A call that has not ended this long after its deadline was lost with its process.
const LOST: Duration = Duration::from_secs(60);

/// The largest outcome that waits in memory for a store that does not take it.
const KEPT: usize = 64 * 1024;

/// Runs calls.
#[derive(Debug)]
pub struct Executor {
    pub(crate) settings: Settings,
    pub(crate) catalog: ArcSwap<Catalog>,
    pub(crate) keys: Arc<Keys>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) vault: Arc<Vault>,
    pub(crate) credentials: Arc<dyn CredentialStore>,
    pub(crate) artifacts: Artifacts,
    pub(crate) connections: Arc<Connections>,
    pub(crate) renewer: Arc<Renewer>,
    pub(crate) links: Arc<Links>,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) history: Arc<History>,
    pub(crate) under_way: UnderWay,
    pub(crate) quotas: Quotas,
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Executor {
    /// Runs one call of whoever was [`Admitted`], which is proof that key and limits were checked.
    ///
    /// Dropping the future ends the call at its next wait; the history then says `cancelled`.
    ///
    /// # Errors
    /// [`ErrorKind::ScopeMissing`], [`ErrorKind::NotFound`], [`ErrorKind::RateLimited`] (the action's own limit, or the service's),
    /// [`ErrorKind::InvalidInput`], [`ErrorKind::NotConnected`], [`ErrorKind::ChooseConnection`], [`ErrorKind::TokenExpired`]:
    /// nothing took effect. [`ErrorKind::UpstreamUnreachable`], [`ErrorKind::UpstreamInvalid`],
    /// [`ErrorKind::Timeout`], [`ErrorKind::OutcomeUnknown`]: see
    /// [`Error::retry_state`]. [`ErrorKind::Conflict`] and [`ErrorKind::IdempotencyMismatch`] for
    /// a used idempotency key.
    pub async fn execute(&self, admitted: &Admitted, mut call: CallRequest) -> Result<Reply> {
        let caller = admitted.caller();
        let scope = Scope::Action(call.action.clone());
        authorize(caller, &Intent { scope, class: None }).allowed()?;
        let action = self.find(&call.action)?;
        if let Some(per_minute) = action.endpoint.info().rate_limit {
            self.keys.admit_action(admitted, &call.action, per_minute).await?;
        }
        let deadline = self.deadline(&call, &action);
        let mut run = Recording::begin(self, caller, &action, deadline).await?;
        let outcome = self.perform(caller, (&mut call, deadline), &action, &mut run).await;
        let (id, is_own) = (run.execution.id, !run.is_replay);
        run.end(&outcome);
        outcome.map_err(|error| if is_own { error.of_run(id) } else { error })
    }

    /// Sends what a queued run asks for, under its own row: the queue keeps how it ended.
    ///
    /// # Errors
    /// As [`Executor::execute`], but for what concerns its history and idempotency keys.
    pub(crate) async fn run(
        &self,
        admitted: &Admitted,
        (call, deadline): (&CallRequest, Deadline),
        run: &mut Execution,
        sending: Sending<'_>,
    ) -> Result<Answered> {
        let caller = admitted.caller();
        let scope = Scope::Action(call.action.clone());
        authorize(caller, &Intent { scope, class: None }).allowed()?;
        let action = self.find(&call.action)?;
        action.endpoint.info().schema.check(&Value::Object(call.params.clone()))?;
        let attempts = run.attempts;
        let answered =
            self.answer(caller, (call, deadline, Some(sending)), &action, &mut *run).await;
        // Of a queued run they count how often a worker took it.
        run.attempts = attempts;
        answered
    }

    /// Runs a call that the run `parent` makes: in a row of its own, under the parent's deadline.
    /// What it may have done is said by [`Error::retry_state`]: a call that must not be made twice
    /// never asks for a repeat.
    ///
    /// # Errors
    /// As [`Executor::execute`].
    pub(crate) async fn call_within(
        &self,
        admitted: &Admitted,
        (call, deadline): (&CallRequest, Deadline),
        parent: &Execution,
        sending: Sending<'_>,
    ) -> Result<Reply> {
        let caller = admitted.caller();
        let scope = Scope::Action(call.action.clone());
        authorize(caller, &Intent { scope, class: None }).allowed()?;
        let action = self.find(&call.action)?;
        let deadline = deadline.min(self.deadline(call, &action));
        let mut run = Recording::begin(self, caller, &action, deadline).await?;
        run.execution.parent = Some(parent.id);
        let info = action.endpoint.info();
        let answered = match info.schema.check(&Value::Object(call.params.clone())) {
            Ok(()) => {
                let how = (call, deadline, Some(sending));
                self.answer(caller, how, &action, &mut run.execution).await
            }
            Err(error) => Err(error),
        };
        run.settle(&answered);
        let (execution, timing) = (run.execution.id, run.execution.timing);
        let outcome = answered.map(|(status, headers, data)| Reply {
            execution,
            status,
            headers,
            data,
            timing,
            is_replay: false,
        });
        run.end(&outcome);
        let is_doubtful = |error: &Error| error.retry_state() == Retry::IfIdempotent;
        outcome.map_err(|error| match is_doubtful(&error) && !info.may_repeat(true) {
            true => error.retry(Retry::Never),
            false => error,
        })
    }

    /// The stages after the action is known, in order. What is promised to be durable is recorded
    /// before the first of them that can have an effect, and its end before it is answered.
    async fn perform(
        &self,
        caller: &Caller,
        (call, deadline): (&mut CallRequest, Deadline),
        action: &Operation,
        run: &mut Recording<'_>,
    ) -> Result<Reply> {
        let info = action.endpoint.info();
        info.schema.check_members(&mut call.params)?;
        let call = &*call;
        let is_durable = call.idempotency_key.is_some() || info.is_at_most_once;
        if is_durable {
            let earlier = self.record_first((call, deadline), &run.execution).await?;
            // From here the store has the run. Should nobody wait for one with a key any more, it
            // stays there as running: its key is not free for a second effect.
            run.is_recorded = call.idempotency_key.is_some();
            if let Some(replay) = earlier {
                run.is_replay = true;
                return replay;
            }
        }
        let how = (call, deadline, None);
        let stopped = is_durable.then(|| run.list());
        let attempt = self.answer(caller, how, action, &mut run.execution);
        let answered = match stopped {
            Some(stopped) => unless_stopped(stopped, attempt).await,
            None => attempt.await,
        };
        run.settle(&answered);
        if call.keeps_bodies {
            run.keep(call, &answered).await;
        }
        // What is large does not wait in memory.
        if (is_durable || run.is_large())
            && let Err(error) = self.record_last(call, run, &answered).await
        {
            // What was answered stays true: an error would ask for a second effect.
            tracing::error!(
                execution = %run.execution.id, error = %error.log_line(),
                "the end of a run is not recorded yet"
            );
        }
        let (status, headers, data) = answered?;
        let (execution, timing) = (run.execution.id, run.execution.timing);
        Ok(Reply { execution, status, headers, data, timing, is_replay: false })
    }

    /// From the connection to the answer.
    async fn attempt(
        &self,
        caller: &Caller,
        (call, deadline, sending): (&CallRequest, Deadline, Option<Sending<'_>>),
        action: &Operation,
        run: &mut Execution,
    ) -> Result<Answered> {
        let named = call.connection.as_deref();
        let connection = self.connection(caller, named, &*action.integration).await?;
        if let Some(connection) = &connection {
            (run.connection, run.app) = (Some(connection.id), connection.app);
            self.check(connection).await?;
        }
        let patience = sending.map_or(Patience::Until(deadline), |_| Patience::None);
        let _place = self.enter(Called::of(action), connection.as_deref(), patience).await?;
        let fields = connection.as_ref().map_or(&NO_FIELDS, |connection| &connection.fields);
        let key = (run.id, sending.map(|sending| sending.key));
        let request = self.draft(action, call, fields, key)?;
        let grant = self.grant(&action.integration, connection.as_deref(), deadline).await?;
        let may_repeat = action.endpoint.info().may_repeat(true);
        let connection = connection.as_deref();
        let gate = sending.map(|sending| sending.gate);
        let prepared = Prepared { action, connection, request, may_repeat, deadline, gate };
        self.send(prepared, grant, run).await
    }

    fn find(&self, name: &ActionName) -> Result<Operation> {
        self.catalog.load().find(name).ok_or_else(|| {
            Error::not_found(format!(
                "there is no action `{name}`: check the integration and the endpoint"
            ))
        })
    }

    /// Whether this process knows the end of a call better than the store: it goes on here, or its
    /// end waits to be written.
    pub(crate) fn has(&self, id: ExecutionId) -> bool {
        self.under_way.has(id) || self.history.has(id)
    }

    pub(crate) fn deadline(&self, call: &CallRequest, action: &Operation) -> Deadline {
        let wanted = call.timeout.or_else(|| action.endpoint.info().timeout);
        Deadline::after(wanted.unwrap_or(self.settings.timeout).min(self.settings.longest_timeout))
    }

    /// The request without its signature. Its address stays under the integration's base.
    fn draft(
        &self,
        action: &Operation,
        call: &CallRequest,
        fields: &Fields,
        (id, key): (ExecutionId, Option<&str>),
    ) -> Result<Outgoing> {
        let info = action.endpoint.info();
        let draft = action.endpoint.request(&call.params, fields)?;
        let url = draft.url(&action.integration.base(fields)?)?;
        let Draft { headers, body, .. } = draft;
        let mut request = Outgoing { method: info.method.clone(), url, headers, body };
        if let Some(name) = &info.idempotency_header {
            let key = key.map_or_else(|| id.to_string(), str::to_owned);
            let value = HeaderValue::try_from(key).map_err(Error::internal)?;
            request.headers.insert(name, value);
        }
        // A kept outcome is given to whoever repeats the call, whatever that one has.
        if info.method.is_safe() && call.idempotency_key.is_none() {
            call.known.ask(&mut request.headers);
        }
        Ok(request)
    }

    /// The credential of the call, renewed first when it is known to have ended.
    async fn grant(
        &self,
        integration: &Arc<dyn Integration>,
        connection: Option<&Connection>,
        deadline: Deadline,
    ) -> Result<Grant> {
        let Some(connection) = connection else {
            let (credential, revision) = (Credential::default(), Revision(0));
            return Ok(Grant { credential, revision, is_fresh: false });
        };
        let loaded = match self.credentials.load(&connection.at()).await {
            Err(error) if error.kind() == ErrorKind::Internal => {
                let entry = Entry::new(self.clock.now(), Actor::System, connection.owner.clone());
                let entry = entry.event("grant.unreadable").target(connection.id);
                self.store.append_audit(&entry.outcome("refused")).await?;
                return Err(error);
            }
            loaded => loaded?,
        };
        let Some((credential, revision)) = loaded else {
            return Err(self.dead(connection).await);
        };
        let now = self.clock.now();
        let margin = credential.lifetime.map_or(Duration::ZERO, |life| MARGIN.min(life / 10));
        let is_ending = credential.is_over(now, margin);
        if !is_ending || !integration.auth().is_renewable(&credential)
            // One that was renewed elsewhere since must not be renewed with what is spent: a
            // provider may end every access of the account for it.
            || self.store.is_restored(&connection.at(), revision).await?
        {
            return Ok(Grant { credential, revision, is_fresh: false });
        }
        match self.renewed(connection, integration, revision, deadline).await {
            // It has not ended yet: what is at hand will do.
            Err(error)
                if error.kind() == ErrorKind::UpstreamUnreachable
                    && !credential.is_over(now, Duration::ZERO) =>
            {
                tracing::warn!(connection = %connection.id, error = %error.log_line(), "not renewed yet");
                Ok(Grant { credential, revision, is_fresh: false })
            }
            renewed => renewed,
        }
    }

    /// Records the run durably before anything is sent, where that is promised. Returns the outcome
    /// of an earlier call with the same idempotency key.
    async fn record_first(
        &self,
        (call, deadline): (&CallRequest, Deadline),
        run: &Execution,
    ) -> Result<Option<Result<Reply>>> {
        let idempotency = match &call.idempotency_key {
            None => None,
            Some(key) => {
                replay::check_key(key)?;
                let expires = run.created_at.checked_add(self.settings.idempotency);
                Some(Idempotency {
                    key: key.clone(),
                    inputs: replay::hash(call, run.user.as_ref())?,
                    expires_at: expires.map_err(Error::internal)?,
                })
            }
        };
        let until = run.created_at.checked_add(deadline.remaining() + LOST);
        let until = until.map_err(Error::internal)?;
        match self.store.begin(run, idempotency.as_ref(), until).await? {
            Begun::New => Ok(None),
            Begun::Same(id, sealed) => {
                let outcome = self.whole_outcome(&run.owner, id, &sealed).await?;
                Ok(Some(replay::reply(id, outcome)))
            }
            Begun::Running(_) => {
                let message = "a call with this idempotency key has not ended, or nobody knows how";
                Ok(Some(Err(Error::new(ErrorKind::Conflict, message))))
            }
            Begun::Differs => {
                let message = "this idempotency key was used with other inputs: take a new one";
                Ok(Some(Err(Error::new(ErrorKind::IdempotencyMismatch, message))))
            }
        }
    }

    /// Records durably how such a run ended; what the store does not take now, the history gives
    /// it later. A failure that certainly had no effect leaves no outcome, so that the same key can
    /// be used again.
    async fn record_last(
        &self,
        call: &CallRequest,
        run: &mut Recording<'_>,
        answered: &Result<Answered>,
    ) -> Result<()> {
        let had_effect = match answered {
            Ok(_) => true,
            Err(error) => {
                error.retry_state() == Retry::IfIdempotent
                    || error.kind() == ErrorKind::OutcomeUnknown
            }
        };
        let outcome = if call.idempotency_key.is_some() && had_effect {
            let outcome = replay::outcome(answered);
            Some(self.seal_outcome(&run.execution.owner, run.execution.id, &outcome)?)
        } else {
            None
        };
        run.finish();
        // A large one is not kept in memory: the run then stays as running, and its key taken.
        let is_small = outcome.as_ref().is_none_or(|sealed| sealed.0.len() <= KEPT);
        if is_small {
            (run.is_recorded, run.outcome) = (false, outcome.clone());
        }
        let bodies = run.bodies.clone();
        let execution = run.execution.clone();
        let ended = Recorded { execution, input: bodies.0, outcome: bodies.1, replay: outcome };
        self.store.record(&[ended]).await?;
        run.is_recorded = true;
        Ok(())
    }
}

static NO_FIELDS: Fields = Fields::new();
