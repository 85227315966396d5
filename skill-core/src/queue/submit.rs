//! Submitting runs, and waiting for those that somebody waits for.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;

use super::{
    Invoked, OnDeadline, Run, Runs, Shared, Submission, Submitted, conversation,
    live::{Held, Slot, Why},
    sourced::{allowed, checked},
};
use crate::{
    access::{Admitted, Caller, Intent, authorize},
    agents,
    call::{CallRequest, Outcome, Reply},
    catalog::Action,
    clock::Deadline,
    error::{Error, ErrorKind, Result},
    executor::{self, Event},
    id::ExecutionId,
    record::{
        execution::{Class, Execution, Idempotency, Origin, State, Timing},
        run::{Claimed, Enqueue, Enqueued, Group, Lease, Work},
        scope::Scope,
    },
};

/// The longest delay of a submission.
const LONGEST_DELAY: Duration = Duration::from_secs(30 * 24 * 3600);
/// When somebody whose queue is full may come again.
const FULL: Duration = Duration::from_secs(5);

/// How much longer a run may take than whoever waits for it.
const SLACK: Duration = Duration::from_secs(1);

/// What a run needs to know of its action.
struct Meant {
    execution: Execution,
    group: Option<Group>,
    deadline: Option<Duration>,
}

impl Runs {
    /// Submits a run: it is on disk when this returns, and goes to its end by itself.
    ///
    /// A repeat of a request with the same idempotency key and inputs gives the run that the first
    /// one made, whether or not it has ended.
    ///
    /// # Errors
    /// [`ErrorKind::ScopeMissing`], [`ErrorKind::NotFound`], [`ErrorKind::InvalidInput`],
    /// [`ErrorKind::RateLimited`], [`ErrorKind::IdempotencyMismatch`], and
    /// [`ErrorKind::Unavailable`] when the queue is full, the engine stops, or the store does not
    /// answer. That there is no connection is no error here: the run ends in it.
    pub async fn submit(&self, admitted: &Admitted, submission: Submission) -> Result<Submitted> {
        let prepared = self.shared.prepare(admitted, &submission).await?;
        self.keep(prepared).await
    }

    pub(super) async fn keep(&self, prepared: Enqueue) -> Result<Submitted> {
        let shared = self.shared.clone();
        // Whoever asks may hang up; what the store then has is ours to work on nevertheless.
        let kept = self.shared.tasks.spawn(async move { shared.keep(prepared).await });
        kept.await.map_err(Error::internal)?
    }

    /// Runs an action and waits for its end, at most as long as its call may take.
    ///
    /// An endpoint is called as by [`Engine::execute`](crate::Engine::execute), a skill goes
    /// through the queue. Past its time a run is stopped, and the error names it
    /// ([`Error::execution`]) - or, with [`OnDeadline::Continue`], goes on by itself.
    ///
    /// # Errors
    /// Those of [`Runs::submit`]; [`ErrorKind::InvalidInput`] for a run that is stopped before its
    /// delay is over; for an endpoint those of
    /// [`Executor::execute`](crate::executor::Executor::execute); [`ErrorKind::Timeout`];
    /// [`ErrorKind::Conflict`] when a request with the same idempotency key has not ended. A skill
    /// that fails is no error of this call: see [`Run::outcome`].
    pub async fn invoke(
        &self,
        admitted: &Admitted,
        mut submission: Submission,
        on_deadline: OnDeadline,
    ) -> Result<Invoked> {
        let is_endpoint =
            self.shared.executor.catalog.load().find(&submission.call.action).is_some();
        let is_plain = submission.delay.is_none()
            && submission.version.is_none()
            && submission.origin.is_none();
        if is_endpoint && is_plain && on_deadline == OnDeadline::Abort {
            submission.call.keeps_bodies = true;
            let reply = self.call(admitted, submission.call).await?;
            return self.called(admitted.caller(), reply).await.map(Invoked::Ended);
        }
        let settings = &self.shared.executor.settings;
        let time = submission.call.timeout.unwrap_or(settings.timeout);
        let deadline = Deadline::after(time.min(settings.longest_timeout));
        let aborts = on_deadline == OnDeadline::Abort;
        let begins_in_time = submission.delay.is_none_or(|delay| delay < deadline.remaining());
        if aborts {
            begins_in_time.then_some(()).ok_or_else(too_late)?;
            // The one who waits stops it; the run's own end is for the case that nobody waits.
            submission.deadline = Some(deadline.remaining() + SLACK);
        } else {
            // It bounds the waiting, not what goes on afterwards.
            submission.call.timeout = None;
        }
        let Submitted { id, is_replay } = self.submit(admitted, submission).await?;
        let caller = admitted.caller();
        if is_replay {
            let run = self.get(caller, id).await?;
            return match run.execution.state.is_final() {
                true => Ok(Invoked::Ended(Box::new(Run { is_replay, ..run }))),
                false => Err(unfinished()),
            };
        }
        if !begins_in_time {
            return Ok(Invoked::Continues(id));
        }
        let run = self.wait(caller, id, deadline).await?;
        match run.execution.state.is_final() {
            true => Ok(Invoked::Ended(Box::new(run))),
            false if aborts => self.abort(caller, id).await.map(Invoked::Ended),
            false => Ok(Invoked::Continues(id)),
        }
    }

    /// Calls an endpoint, past the queue. A call with an idempotency key goes on to its end even
    /// when this future is dropped: its outcome is there for whoever repeats it.
    pub(crate) async fn call(&self, admitted: &Admitted, call: CallRequest) -> Result<Reply> {
        let executor = self.shared.executor.clone();
        if call.idempotency_key.is_none() {
            return executor.execute(admitted, call).await;
        }
        let admitted = admitted.clone();
        let run = self.shared.calls.spawn(async move { executor.execute(&admitted, call).await });
        run.await.map_err(Error::internal)?
    }

    /// The run behind an answer.
    async fn called(&self, caller: &Caller, reply: Reply) -> Result<Box<Run>> {
        let execution = self.execution(caller, reply.execution).await?;
        let is_replay = reply.is_replay;
        let outcome = Some(Outcome::Answer { status: reply.status, data: reply.data });
        Ok(Box::new(Run { execution, outcome, input: None, result_bytes: None, is_replay }))
    }

    /// Stops a run whose time is up.
    async fn abort(&self, caller: &Caller, id: ExecutionId) -> Result<Box<Run>> {
        let error = Error::new(ErrorKind::Timeout, "the run did not end before the deadline");
        let error = error.of_run(id);
        let mut run = self.execution(caller, id).await?;
        let is_ours = self.shared.end(&mut run, State::Error, &error).await?;
        if is_ours {
            return Err(error);
        }
        // It ended in the very last moment.
        self.get(caller, id).await.map(Box::new)
    }
}

impl Shared {
    pub(super) async fn prepare(&self, admitted: &Admitted, asked: &Submission) -> Result<Enqueue> {
        if self.is_closed() {
            return Err(stopping());
        }
        let caller = admitted.caller();
        let Submission { call, priority, delay, deadline, .. } = asked;
        let origin = self.origin(caller, asked.origin.as_ref()).await?;
        let acting = match &origin {
            Some(origin) => &agents::bounded(&*self.store, caller, &origin.agent).await?,
            None => caller,
        };
        let scope = Scope::Action(call.action.clone());
        authorize(acting, &Intent { scope, class: None }).allowed()?;
        // Read before the other time: a run that may begin at once has begun to wait by then.
        let base = self.now();
        let now = self.clock.now();
        let mut meant = self.meant((admitted, acting), asked, now).await?;
        meant.execution.origin = origin;
        let id = meant.execution.id;
        let delay = delay.unwrap_or_default();
        if delay > LONGEST_DELAY {
            let issue = "expected a delay of at most 30 days";
            return Err(Error::invalid(issue).detail("delay", issue));
        }
        let life = deadline.or(meant.deadline).unwrap_or(self.settings.deadline);
        let life = life.min(self.settings.longest_deadline);
        let run_at = base.checked_add(delay).map_err(Error::internal)?;
        let work = Work {
            input: self.executor.seal_input(&caller.owner, id, call)?,
            scopes: caller.scopes.clone(),
            tier: caller.tier.clone(),
            priority: *priority,
            run_at,
            deadline: run_at.checked_add(life).map_err(Error::internal)?,
            group: meant.group,
        };
        let enqueue = Enqueue {
            work,
            idempotency: self.idempotency(caller, call, now)?,
            execution: meant.execution,
            claimed: None,
            most_queued: self.settings.depth,
            source: None,
        };
        Ok(enqueue)
    }

    /// Finds the action and checks the inputs.
    async fn meant(
        &self,
        (admitted, caller): (&Admitted, &Caller),
        asked: &Submission,
        now: Timestamp,
    ) -> Result<Meant> {
        let call = &asked.call;
        let action = self.action(asked)?;
        if let Some(per_minute) = action.rate_limit() {
            self.keys.admit_action(admitted, &call.action, per_minute).await?;
        }
        allowed(caller, &action)?;
        checked(&action, &call.params)?;
        let (mut group, mut deadline, mut version) = (None, None, None);
        let (revision, class) = match &action {
            Action::Endpoint(operation) => {
                let info = operation.endpoint.info();
                (info.revision.clone(), info.class)
            }
            Action::Skill(skill) => {
                let info = skill.info();
                (group, deadline) = (info.group.clone(), info.deadline);
                version = Some(info.version);
                (info.revision().into(), info.class)
            }
        };
        let meaning = (revision, class);
        let mut execution = execution(caller, &action, meaning, now)?;
        execution.version = version;
        Ok(Meant { execution, group, deadline })
    }

    /// What begins the run. One that follows in a conversation is its agent's.
    pub(super) async fn origin(
        &self,
        caller: &Caller,
        asked: Option<&Origin>,
    ) -> Result<Option<Origin>> {
        let Some(Origin { conversation: Some(start), trigger, .. }) = asked else {
            return Ok(asked.cloned());
        };
        let begun = self.look(caller, *start).await?.origin;
        let begun = begun.filter(|origin| origin.conversation.is_none());
        let begun = begun.ok_or_else(conversation::unknown)?;
        let most = conversation::RUNS;
        let runs = self.store.conversation_runs(&caller.owner, *start, most).await?;
        if runs.len() >= most as usize {
            let message = format!("the conversation has {most} runs: begin another one");
            return Err(Error::new(ErrorKind::Conflict, message));
        }
        Ok(Some(Origin { conversation: Some(*start), trigger: *trigger, agent: begun.agent }))
    }

    pub(super) fn action(&self, asked: &Submission) -> Result<Action> {
        let (name, catalog) = (&asked.call.action, self.executor.catalog.load());
        let found = match asked.version {
            None => catalog.action(name),
            Some(version) => {
                catalog.skill(&name.namespace, version, &name.name).cloned().map(Action::Skill)
            }
        };
        let is_active = |action: &Action| match action {
            Action::Endpoint(_) => true,
            Action::Skill(skill) => skill.info().is_active,
        };
        found.filter(is_active).ok_or_else(|| {
            let version = asked.version.map(|v| format!(" in version {v}")).unwrap_or_default();
            Error::not_found(format!("there is no action `{name}`{version}"))
        })
    }

    fn idempotency(
        &self,
        caller: &Caller,
        call: &CallRequest,
        now: Timestamp,
    ) -> Result<Option<Idempotency>> {
        let Some(key) = &call.idempotency_key else { return Ok(None) };
        executor::check_key(key)?;
        let expires_at = now.checked_add(self.executor.settings.idempotency);
        Ok(Some(Idempotency {
            key: key.clone(),
            inputs: executor::hash(call, caller.user.as_ref())?,
            expires_at: expires_at.map_err(Error::internal)?,
        }))
    }

    /// Keeps the run, and begins to work on it when a place is free and nobody waits for it.
    async fn keep(self: Arc<Self>, mut enqueue: Enqueue) -> Result<Submitted> {
        let id = enqueue.execution.id;
        let place = self.claim_for(&mut enqueue);
        let asked = std::slice::from_ref(&enqueue);
        let enqueued = self.store.enqueue(asked).await.map(|mut all| all.pop());
        if let Ok(Some(Enqueued::New(lease))) = enqueued {
            self.executor.observer.hear(&Event::Submitted(&enqueue.execution));
            match (lease, place) {
                (Some(lease), Some((held, slot))) => {
                    let claimed = claimed(enqueue, lease);
                    self.served(&claimed.execution);
                    self.start(claimed, held, slot);
                }
                (_, place) => {
                    self.leave(id, place);
                    self.waits(enqueue.work.run_at);
                }
            }
            return Ok(Submitted { id, is_replay: false });
        }
        self.leave(id, place);
        match enqueued? {
            Some(Enqueued::Same(id)) => Ok(Submitted { id, is_replay: true }),
            Some(Enqueued::Differs) => {
                let message = "this idempotency key was used with other inputs: take a new one";
                Err(Error::new(ErrorKind::IdempotencyMismatch, message))
            }
            Some(Enqueued::Full) => {
                let message = "too many runs wait: try again when some of them have ended";
                Err(Error::new(ErrorKind::Unavailable, message).retry_after(FULL))
            }
            Some(Enqueued::New(_)) | None => Err(Error::internal("an enqueue said nothing")),
        }
    }

    /// Gives a place back that no run came to.
    fn leave(&self, id: ExecutionId, place: Option<(Arc<Held>, Slot)>) {
        let Some((held, slot)) = place else { return };
        self.live.release(id, &held);
        drop(slot);
        self.freed(false);
    }

    /// A place for the run, if it may have one before it is even queued.
    fn claim_for(&self, enqueue: &mut Enqueue) -> Option<(Arc<Held>, Slot)> {
        let now = enqueue.execution.created_at;
        if self.has_backlog() || enqueue.work.run_at > now {
            return None;
        }
        let run = &enqueue.execution;
        let slot = self.live.slot(&run.owner)?;
        let steady = self.clock.steady();
        let until = self.now().checked_add(self.settings.lease).ok()?;
        enqueue.claimed = Some((self.worker.clone(), until));
        let lease = Lease {
            owner: run.owner.clone(),
            id: run.id,
            worker: self.worker.clone(),
            fencing: 1,
            until,
        };
        let held = Held::new(lease, steady, self.settings.lease);
        self.live.hold(run.id, held.clone());
        Some((held, slot))
    }

    /// Ends a run that is not final in an error; false when it was final already.
    pub(crate) async fn end(
        &self,
        run: &mut Execution,
        state: State,
        error: &Error,
    ) -> Result<bool> {
        let id = run.id;
        if run.state.is_final() {
            return Ok(false);
        }
        let mut ended = run.clone();
        (ended.state, ended.progress) = (state, 100);
        ended.error = (state == State::Error).then(|| error.kind());
        ended.ended_at = Some(self.clock.now());
        let failure = Outcome::Failed(error.into());
        let outcome = self.executor.seal_outcome(&run.owner, id, &failure)?;
        let stands = self.store.end(&ended, Some(&outcome)).await?;
        let stands =
            stands.ok_or_else(|| Error::not_found("there is no execution with this id"))?;
        let is_ours = stands.state == state && stands.ended_at == ended.ended_at;
        *run = stands;
        if is_ours {
            if let Some(held) = self.live.held(id) {
                held.stop(Why::Ended);
            }
            self.executor.under_way.stop(id);
            if run.version.is_some() {
                // Artifacts of its steps. What is not gone now goes with the run.
                drop(self.artifacts.forget(&run.owner, id, None).await);
            }
            self.executor.observer.hear(&Event::Ended(run));
            self.live.signal(id);
            self.wake.notify_one();
        }
        Ok(is_ours)
    }
}

/// The run as the store claimed it on the way.
fn claimed(enqueue: Enqueue, lease: Lease) -> Claimed {
    let Enqueue { mut execution, work, .. } = enqueue;
    (execution.state, execution.attempts) = (State::Running, 1);
    execution.started_at = Some(execution.created_at);
    Claimed { lease, execution, work, crashes: 0, may_have_happened: false }
}

/// The row of a run that waits.
fn execution(
    caller: &Caller,
    action: &Action,
    (revision, class): (Arc<str>, Class),
    now: Timestamp,
) -> Result<Execution> {
    Ok(Execution {
        id: ExecutionId::fresh(now)?,
        owner: caller.owner.clone(),
        user: caller.user.clone(),
        key: caller.key(),
        action: action.name(),
        version: None,
        revision,
        class,
        connection: None,
        app: None,
        parent: None,
        origin: None,
        state: State::Queued,
        progress: 0,
        attempts: 0,
        upstream_status: None,
        error: None,
        timing: Timing::default(),
        created_at: now,
        started_at: None,
        ended_at: None,
    })
}

fn too_late() -> Error {
    let issue = "expected less than the time that is waited for the run: wait longer, queue it, or \
                 let it continue past the deadline";
    Error::invalid(format!("`delay`: {issue}")).detail("delay", issue)
}

fn unfinished() -> Error {
    let message = "a run with this idempotency key has not ended";
    Error::new(ErrorKind::Conflict, message)
}

pub(super) fn stopping() -> Error {
    Error::new(ErrorKind::Unavailable, "the engine is stopping")
}
