//! One attempt at a run: from the claim to the end, or back to the queue.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::StatusCode;
use jiff::Timestamp;

use super::{
    Shared, host,
    live::{Held, Sent, Slot, Why},
    retry::{self, Stand, Verdict},
    thread,
};
use crate::{
    access::{Admitted, Caller},
    agents,
    call::{CallRequest, Data, Failure, Outcome},
    catalog::{Action, Operation},
    clock::{Deadline, Stopwatch},
    error::{Error, ErrorKind, Result},
    executor::{Event, Gate, Sending, is_held_back, retry_after},
    id,
    record::{
        audit::Actor,
        execution::Execution,
        run::{Claimed, Work},
    },
    skill::Skill,
};

/// Over how long runs are spread that wait for the same.
const SPREAD: Duration = Duration::from_secs(30);

/// One attempt at a run, as everything that works on it shares it.
///
/// Whatever sends for the run asks [`Attempt::check`] right before: a worker that lost its run, was
/// told to stop or slept past its lease sends nothing.
pub(crate) struct Attempt {
    /// What the attempts of this engine share: store, executor, keys, clock, settings.
    pub(crate) shared: Arc<Shared>,
    /// The run as it was claimed.
    pub(crate) execution: Execution,
    /// Whoever asked for the run, with what it might do then; not counted again for the run.
    pub(crate) admitted: Admitted,
    /// The lease, the signal to stop, and the progress.
    pub(crate) held: Arc<Held>,
    /// When the attempt has to end: nothing in it may take longer.
    pub(crate) deadline: Deadline,
    /// When the run goes on, once it asked to be put aside until then.
    suspended: Mutex<Option<Timestamp>>,
    /// In what the run has to end, whatever its skill makes of it.
    refused: Mutex<Option<Failure>>,
}

impl fmt::Debug for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Attempt({})", self.execution.id)
    }
}

impl Attempt {
    /// Refuses when nothing may be sent for the run any more.
    ///
    /// # Errors
    /// As [`Held::check`].
    pub(crate) fn check(&self) -> Result<()> {
        self.held.check(&*self.shared.clock)
    }

    /// Keeps how far the run is, in percent; whoever watches it hears of it at once, the store with
    /// the next sign of life.
    pub(crate) fn set_progress(&self, percent: u8) {
        if self.held.set_progress(percent) {
            self.shared.live.signal(self.execution.id);
        }
    }

    /// Ends the run in this error, whatever its skill makes of it. The first one stands.
    pub(crate) fn refuse(&self, error: Error) -> Error {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.get_or_insert_with(|| Failure::from(&error));
        drop(refused);
        error
    }

    /// In what the run has to end.
    pub(crate) fn refused(&self) -> Option<Failure> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts the run aside until `at`: the error is passed up, the place goes to another run, and
    /// the attempt does not count.
    pub(crate) fn suspend(&self, at: Timestamp) -> Error {
        *self.suspended.lock().unwrap_or_else(PoisonError::into_inner) = Some(at);
        Error::new(ErrorKind::Unavailable, "the run sleeps: pass this error up")
    }

    /// Until when the run asked to be put aside.
    pub(crate) fn suspended(&self) -> Option<Timestamp> {
        *self.suspended.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait::async_trait]
impl Gate for Attempt {
    async fn pass(&self) -> Result<()> {
        self.check()
    }
}

/// The gate of a queued call: what must not be sent twice is noted before it is sent at all.
struct Noting<'a> {
    attempt: &'a Attempt,
    may_repeat: bool,
}

#[async_trait::async_trait]
impl Gate for Noting<'_> {
    async fn pass(&self) -> Result<()> {
        let held = &self.attempt.held;
        self.attempt.check()?;
        if self.may_repeat {
            held.set_sent(Sent::Repeatable);
            return Ok(());
        }
        if held.sent() != Sent::Once {
            if !self.attempt.shared.store.note_sent(&held.lease()).await? {
                held.stop(Why::Lost);
            }
            // Whatever happens from here on is in doubt, until there is an answer.
            held.set_sent(Sent::Once);
        }
        self.attempt.check()
    }
}

/// What an attempt came to.
pub(super) enum Ended {
    /// The run is over.
    Over(Outcome),
    /// It goes back to the queue, and this attempt counts.
    Again(Duration, &'static str),
    /// It goes back to the queue as if nobody had taken it.
    Undone(Timestamp),
    /// It is somebody else's, or ended meanwhile: there is nothing to say.
    Gone,
}

impl Ended {
    fn failed(error: &Error) -> Self {
        Self::Over(Outcome::Failed(error.into()))
    }
}

/// A run in its place. However the attempt ends, a panic included, the place is free again.
struct Placed {
    shared: Arc<Shared>,
    held: Arc<Held>,
    slot: Option<Slot>,
    is_of_a_group: bool,
}

impl Drop for Placed {
    fn drop(&mut self) {
        let id = self.held.lease().id;
        self.shared.live.release(id, &self.held);
        self.slot = None;
        self.shared.live.signal(id);
        self.shared.freed(self.is_of_a_group);
    }
}

impl Shared {
    /// Begins to work on a run that was claimed.
    pub(super) fn start(self: &Arc<Self>, claimed: Claimed, held: Arc<Held>, slot: Slot) {
        held.begin();
        let is_of_a_group = claimed.work.group.is_some();
        let placed = Placed { shared: self.clone(), held, slot: Some(slot), is_of_a_group };
        self.tasks.spawn(async move {
            let shared = placed.shared.clone();
            let killed = shared.killed.cancelled();
            let work = Box::pin(shared.clone().work(claimed, placed.held.clone()));
            tokio::select! {
                biased;
                () = killed => {}
                () = work => {}
            }
            drop(placed);
        });
    }

    async fn work(self: Arc<Self>, claimed: Claimed, held: Arc<Held>) {
        let mut run = claimed.execution.clone();
        let waited = self.now().duration_since(claimed.work.run_at);
        let waited = Duration::try_from(waited).unwrap_or_default();
        self.executor.observer.hear(&Event::Started { run: &run, waited });
        self.live.signal(run.id);
        let watch = Stopwatch::start();
        let ended = match self.refusal(&claimed) {
            Some(error) => Ended::failed(&error),
            None => self.attempt(&claimed, &mut run, &held).await,
        };
        run.timing.total += watch.elapsed();
        self.conclude((run, claimed.work.deadline), ended, &held).await;
    }

    /// Why a run that was claimed is over before its attempt begins.
    fn refusal(&self, claimed: &Claimed) -> Option<Error> {
        if claimed.may_have_happened {
            let message = "the process that worked on the run ended after the request may have \
                           gone out: it may have taken effect, and was not repeated";
            return Some(Error::new(ErrorKind::OutcomeUnknown, message));
        }
        if claimed.crashes > self.settings.crashes {
            let message =
                format!("the process ended {} times while it worked on the run", claimed.crashes);
            return Some(Error::new(ErrorKind::ActionFailed, message));
        }
        self.left(claimed).is_zero().then(too_late)
    }

    fn left(&self, claimed: &Claimed) -> Duration {
        let life = (claimed.execution.created_at, claimed.work.deadline);
        self.tide.left(&*self.clock, life)
    }

    /// The attempt itself, until it ends or has to stop.
    async fn attempt(
        self: &Arc<Self>,
        claimed: &Claimed,
        run: &mut Execution,
        held: &Arc<Held>,
    ) -> Ended {
        let deadline = Deadline::after(self.left(claimed));
        let stand = Stand {
            had: run.attempts.saturating_sub(claimed.crashes),
            most: self.settings.attempts,
            may_repeat: true,
            left: Duration::ZERO,
        };
        let place = (claimed, held, deadline);
        let ended = tokio::select! {
            biased;
            () = held.token().cancelled() => None,
            ended = deadline.run(self.perform(place, run, stand)) => Some(ended),
        };
        match (held.why(), ended) {
            // What was said before is final, whatever the attempt came to.
            (Some(Why::Ended | Why::Lost), _) => Ended::Gone,
            (_, Some(Some(ended))) => ended,
            (_, Some(None)) => Ended::failed(&match held.sent() {
                Sent::Once => too_late().detail("reason", "outcome_unknown"),
                Sent::Nothing | Sent::Repeatable => too_late(),
            }),
            (Some(Why::Stopping) | None, None) => self.stopped(held),
        }
    }

    /// What becomes of a run whose attempt the stopping engine cut short.
    fn stopped(&self, held: &Held) -> Ended {
        match held.sent() {
            Sent::Nothing => Ended::Undone(self.now()),
            Sent::Repeatable => Ended::Again(Duration::ZERO, "stopped"),
            Sent::Once => {
                let message = "the engine stopped after the request had gone out: it may have \
                               taken effect, and was not repeated";
                Ended::failed(&Error::new(ErrorKind::OutcomeUnknown, message))
            }
        }
    }

    async fn perform(
        self: &Arc<Self>,
        (claimed, held, deadline): (&Claimed, &Arc<Held>, Deadline),
        run: &mut Execution,
        stand: Stand,
    ) -> Ended {
        let prepared = self.prepared(claimed).await;
        let (admitted, action, call) = match prepared {
            Ok(prepared) => prepared,
            Err(error) => {
                return self.after(retry::of_error(&error), &error, (stand, deadline));
            }
        };
        let attempt = Arc::new(Attempt {
            shared: self.clone(),
            execution: run.clone(),
            admitted,
            held: held.clone(),
            deadline,
            suspended: Mutex::new(None),
            refused: Mutex::new(None),
        });
        match action {
            Action::Endpoint(operation) => {
                self.send(&attempt, (&operation, call), run, stand).await
            }
            Action::Skill(skill) => self.run_skill(&attempt, (skill, call), stand).await,
        }
    }

    /// Who acts, on what, with what.
    async fn prepared(&self, claimed: &Claimed) -> Result<(Admitted, Action, CallRequest)> {
        let Claimed { execution: run, work, .. } = claimed;
        let mut caller = caller(run, work);
        if let Some(origin) = &run.origin {
            caller = agents::bounded(&*self.store, &caller, &origin.agent).await?;
        }
        let admitted = self.keys.resume(caller).await?;
        let catalog = self.executor.catalog.load();
        let found = match run.version {
            None => catalog.find(&run.action).map(Action::Endpoint),
            Some(version) => {
                let (category, name) = (&run.action.namespace, &run.action.name);
                catalog.skill(category, version, name).cloned().map(Action::Skill)
            }
        };
        let action = found.ok_or_else(|| {
            let name = &run.action;
            Error::not_found(format!("there is no action `{name}` any more"))
        })?;
        let input = (&run.action, &work.input);
        let call = self.executor.open_input(&run.owner, run.id, input)?;
        Ok((admitted, action, call))
    }

    /// An attempt at an endpoint: one request, and the renewal that it may take.
    async fn send(
        &self,
        attempt: &Attempt,
        (operation, call): (&Operation, CallRequest),
        run: &mut Execution,
        stand: Stand,
    ) -> Ended {
        let may_repeat = operation.endpoint.info().may_repeat(true);
        let stand = Stand { may_repeat, ..stand };
        let deadline = attempt.deadline.min(self.executor.deadline(&call, operation));
        let gate = Noting { attempt, may_repeat };
        let key = run.id.to_string();
        let sending = Sending { key: &key, gate: &gate };
        let sent = self.executor.run(&attempt.admitted, (&call, deadline), run, sending).await;
        match sent {
            Ok((status, headers, data)) => {
                run.upstream_status = Some(status.as_u16());
                let integration = &operation.integration;
                let asked = retry_after(&headers, self.clock.now());
                let said = integration.reads_refusal(status).then(|| data.json().ok()).flatten();
                let verdict = match integration.says_busy(status, said.as_ref()) {
                    true => Verdict::Refused,
                    false => retry::of_answer(status),
                };
                let left = attempt.deadline.remaining();
                match self.again(verdict, Stand { left, ..stand }, asked) {
                    Some(wait) => Ended::Again(wait, "refused"),
                    None => Ended::Over(Outcome::Answer { status, data }),
                }
            }
            Err(error) if is_held_back(&error) => self.put_off(&error, attempt.deadline),
            Err(error) => {
                let verdict = retry::of_error(&error);
                self.after(verdict, &error, (stand, attempt.deadline))
            }
        }
    }

    /// A run whose service takes no more calls for now waits as if nobody had taken it. Runs that
    /// wait for the same do not all come back at once.
    fn put_off(&self, error: &Error, deadline: Deadline) -> Ended {
        let wait = error.retry_delay().unwrap_or_default();
        let random = u32::from_be_bytes(id::random().unwrap_or_default());
        let wait = wait + (wait / 4).min(SPREAD).mul_f64(f64::from(random) / f64::from(u32::MAX));
        match self.now().checked_add(wait) {
            Ok(at) if wait < deadline.remaining() => Ended::Undone(at),
            _ => Ended::failed(error),
        }
    }

    /// An attempt at a skill.
    async fn run_skill(
        self: &Arc<Self>,
        attempt: &Arc<Attempt>,
        (skill, call): (Arc<dyn Skill>, CallRequest),
        stand: Stand,
    ) -> Ended {
        let info = skill.info();
        let stand = Stand { most: info.attempts.unwrap_or(stand.most), ..stand };
        let place = (stand, attempt.deadline);
        let deadline = attempt.deadline.within(call.timeout.unwrap_or(info.timeout));
        let hosted = attempt.clone();
        let work = async move { host::run(&hosted, &skill, call.params.into()).await };
        let ended = match self.threads.run(work, deadline).await {
            Ok(ended) => ended,
            Err(error) => return self.after(Verdict::Transient, &error, place),
        };
        if let Some(failure) = attempt.refused() {
            return Ended::Over(Outcome::Failed(failure));
        }
        if let Some(at) = attempt.suspended() {
            return Ended::Undone(at);
        }
        match ended {
            thread::Ended::Well(Ok(value)) => match serde_json::to_vec(&value) {
                Ok(text) => Ended::Over(Outcome::Answer {
                    status: StatusCode::OK,
                    data: Data::Json(text.into()),
                }),
                Err(cause) => Ended::failed(&Error::internal(cause)),
            },
            thread::Ended::Well(Err(error)) => self.after(retry::of_skill(&error), &error, place),
            thread::Ended::Panicked => {
                let error = Error::new(ErrorKind::ActionFailed, "the skill panicked");
                self.after(Verdict::Transient, &error, place)
            }
            thread::Ended::Late => {
                let error = Error::new(ErrorKind::Timeout, "the skill took longer than it may");
                self.after(Verdict::Transient, &error, place)
            }
            thread::Ended::Blocked => {
                let message = "the skill took longer than it may, and does not give its thread \
                               back: it was not repeated";
                Ended::failed(&Error::new(ErrorKind::Timeout, message))
            }
        }
    }

    /// What an error makes of the run.
    fn after(
        &self,
        verdict: Verdict,
        error: &Error,
        (stand, deadline): (Stand, Deadline),
    ) -> Ended {
        let stand = Stand { left: deadline.remaining(), ..stand };
        match self.again(verdict, stand, error.retry_delay()) {
            Some(wait) => {
                tracing::debug!(error = %error.log_line(), ?wait, "an attempt failed");
                Ended::Again(wait, "failed")
            }
            None => Ended::failed(error),
        }
    }

    fn again(&self, verdict: Verdict, stand: Stand, asked: Option<Duration>) -> Option<Duration> {
        // Without randomness nothing works, and the next identifier says so.
        let random = u64::from_be_bytes(id::random().unwrap_or_default());
        retry::again(verdict, stand, (asked, random), &self.settings)
    }
}

/// Whoever asked for the run, as it was when it asked.
fn caller(run: &Execution, work: &Work) -> Caller {
    Caller {
        owner: run.owner.clone(),
        user: run.user.clone(),
        actor: run.key.map_or(Actor::Operator, Actor::Key),
        scopes: work.scopes.clone(),
        tier: work.tier.clone(),
        until: None,
        connections: None,
    }
}

fn too_late() -> Error {
    Error::new(ErrorKind::Timeout, "the run did not end before its deadline")
}
