//! What the engine does for a running skill.

mod once;

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use self::once::{Mark, unknown};
use super::{
    attempt::Attempt,
    journal::{Frame, Journal, Past, Turn, working},
    step::{self, Written, misfit},
};
use crate::{
    access::{Admission, Admitted, Intent, authorize},
    call::{CallRequest, Data, Reply},
    catalog::Action,
    clock::{Deadline, Stopwatch},
    error::{Error, ErrorKind, Result, Retry},
    executor::Sending,
    id::ExecutionId,
    name::{Slug, Version},
    record::{
        execution::{Execution, Recorded, State, Timing},
        scope::Scope,
    },
    skill::{Host, RunInfo, Skill, SkillContext, StepName, Work},
    transport::{Outgoing, Response},
};

/// A sleep that is longer takes no worker.
const SHORT: Duration = Duration::from_secs(5);
/// How deep skills may call skills.
const DEPTH: u32 = 8;

/// Runs a skill as `attempt`, with what the steps of earlier attempts came to.
///
/// # Errors
/// Those of the skill. When the attempt was [`suspended`](Attempt::suspended) or told to stop, the
/// error means that and nothing else.
pub(crate) async fn run(
    attempt: &Arc<Attempt>,
    skill: &Arc<dyn Skill>,
    input: Value,
) -> Result<Value> {
    let journal = Journal::new(attempt.clone());
    let done = skill.run(SkillHost::context(&journal, skill, 0), input).await;
    journal.end(done).await
}

/// The engine's side of one skill that runs as part of an attempt.
struct SkillHost {
    info: RunInfo,
    journal: Arc<Journal>,
    frame: Frame,
    /// What the skill may call besides what its caller may.
    grants: Vec<Scope>,
    /// How many skills called each other to come here.
    depth: u32,
}

impl fmt::Debug for SkillHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SkillHost({}, {:?})", self.info.action, self.journal)
    }
}

impl SkillHost {
    fn context(journal: &Arc<Journal>, skill: &Arc<dyn Skill>, depth: u32) -> SkillContext {
        let run = &journal.attempt.execution;
        let info = RunInfo {
            id: run.id,
            owner: run.owner.clone(),
            user: run.user.clone(),
            action: skill.info().action(),
            version: skill.info().version,
            attempt: run.attempts,
        };
        let (journal, frame) = (journal.clone(), Frame::default());
        let grants = skill.info().grants.clone();
        SkillContext::new(Arc::new(Self { info, journal, frame, grants, depth }))
    }

    fn attempt(&self) -> &Attempt {
        &self.journal.attempt
    }

    /// The call that begins at this turn: from the journal, or made now.
    async fn called(
        &self,
        turn: &mut Turn,
        (target, call): (Option<&Action>, &CallRequest),
    ) -> Result<Reply> {
        match self.journal.recall(turn).await? {
            Past::Ended(written) => return self.reply(written).await,
            Past::Unknown => {
                let action = &call.action;
                let message = format!(
                    "a call of `{action}` was cut with its process: it may have taken effect, \
                     and was not repeated"
                );
                return Err(self.attempt().refuse(unknown(message)));
            }
            Past::None => {}
        }
        let Some(target) = target else {
            let message = format!(
                "there is no action `{}`: check the integration and the endpoint",
                call.action
            );
            return self.keep(turn, Err(Error::not_found(message)), false).await;
        };
        if call.idempotency_key.is_some() {
            let message = "a call within a run takes no idempotency key: the run gives it one";
            return self.keep(turn, Err(Error::invalid(message)), false).await;
        }
        let admitted = self.admit(turn, target).await?;
        match target {
            Action::Endpoint(operation) => {
                let may_repeat = operation.endpoint.info().may_repeat(true);
                self.call_endpoint(turn, (call, &admitted), may_repeat).await
            }
            Action::Skill(skill) => self.call_skill(turn, (call, &admitted), skill).await,
        }
    }

    /// Counts the call against the limits of the run's key and of the action, and waits while they
    /// are used up.
    async fn admit(&self, turn: &mut Turn, target: &Action) -> Result<Admitted> {
        loop {
            let refusal = match self.count(target).await? {
                Ok(admitted) => return Ok(admitted),
                Err(refusal) => refusal,
            };
            let pause = refusal.retry_delay().unwrap_or(SHORT);
            if pause > SHORT {
                let at = self.now().checked_add(pause).map_err(Error::internal)?;
                return self.suspend(turn, at, refusal).await;
            }
            self.pause(pause).await?;
        }
    }

    /// Counts the call; when a limit is used up, says which and when to come again.
    async fn count(&self, target: &Action) -> Result<Result<Admitted, Error>> {
        let (attempt, keys) = (self.attempt(), &self.attempt().shared.keys);
        let mut caller = attempt.admitted.caller().clone();
        if let Err(error) = keys.resume(caller.clone()).await {
            let is_revoked = error.kind() == ErrorKind::Unauthenticated;
            return Err(if is_revoked { attempt.refuse(error) } else { error });
        }
        caller.scopes = caller.scopes.with(&self.grants);
        let admitted = match keys.admit(caller).await? {
            Admission::Admitted(admitted) => admitted,
            Admission::Refused(allowance) => {
                let refusal = allowance.refusal();
                return Ok(Err(refusal.unwrap_or_else(|| Error::internal("no reason to refuse"))));
            }
        };
        let Some(most) = target.rate_limit() else { return Ok(Ok(admitted)) };
        match keys.admit_action(&admitted, &target.name(), most).await {
            Ok(()) => Ok(Ok(admitted)),
            Err(error) if error.kind() == ErrorKind::RateLimited => Ok(Err(error)),
            Err(error) => Err(error),
        }
    }

    /// Waits in place, unless the attempt has to stop.
    async fn pause(&self, time: Duration) -> Result<()> {
        let token = self.attempt().held.token();
        _ = token.run_until_cancelled(tokio::time::sleep(time)).await;
        self.journal.check()
    }

    async fn call_endpoint(
        &self,
        turn: &Turn,
        (call, admitted): (&CallRequest, &Admitted),
        may_repeat: bool,
    ) -> Result<Reply> {
        let attempt = self.attempt();
        let key = format!("{}.{}", attempt.execution.id, turn.number());
        let gate = Mark { journal: &self.journal, turn, may_repeat };
        let sending = Sending { key: &key, gate: &gate };
        let asked = (call, attempt.deadline);
        let (run, executor) = (&attempt.execution, &attempt.shared.executor);
        let done = executor.call_within(admitted, asked, run, sending).await;
        self.keep(turn, done, !may_repeat).await
    }

    /// Records how a call ended, at once or when the skill goes on from it.
    async fn keep(&self, turn: &Turn, done: Result<Reply>, is_marked: bool) -> Result<Reply> {
        let again = match &done {
            Ok(reply) => step::asks_again(reply.status, is_marked),
            Err(_) => true,
        };
        let nothing_happened = match &done {
            Ok(_) => again,
            Err(error) => error.retry_state() == Retry::Safe,
        };
        if again && self.journal.check().is_err() {
            return done;
        }
        let (done, written) = step::write(done, None)?;
        if again {
            if is_marked && nothing_happened {
                self.journal.note(turn, Some(&Written::Open)).await?;
            }
            self.journal.defer(turn, written);
        } else {
            self.journal.note(turn, Some(&written)).await?;
        }
        done
    }

    /// Runs a skill inline: its steps follow in the journal of this run.
    async fn call_skill(
        &self,
        turn: &Turn,
        (call, admitted): (&CallRequest, &Admitted),
        skill: &Arc<dyn Skill>,
    ) -> Result<Reply> {
        let watch = Stopwatch::start();
        let mut run = self.begin(skill)?;
        let done = match self.allowed(call, admitted, skill) {
            Ok(()) => self.run_within(call, skill).await,
            Err(error) => Err(error),
        };
        // Whatever it returns: a run that was put aside or stopped has not ended.
        self.journal.check()?;
        let done = done.and_then(|value| serde_json::to_vec(&value).map_err(Error::internal));
        run.timing.total = watch.elapsed();
        let done = done.map(|text| Reply {
            execution: run.id,
            status: StatusCode::OK,
            headers: HeaderMap::new(),
            data: Data::Json(text.into()),
            timing: run.timing,
            is_replay: false,
        });
        let done = done.map_err(|error| error.of_run(run.id));
        self.push(run, done.as_ref().err().map(Error::kind)).await?;
        self.journal.fold(turn.position);
        let (done, written) = step::write(done, Some(self.journal.next()))?;
        match &done {
            Ok(_) => self.journal.note(turn, Some(&written)).await?,
            Err(_) => self.journal.defer(turn, written),
        }
        done
    }

    fn allowed(
        &self,
        call: &CallRequest,
        admitted: &Admitted,
        skill: &Arc<dyn Skill>,
    ) -> Result<()> {
        let (info, caller) = (skill.info(), admitted.caller());
        let own = Scope::Action(info.action());
        for scope in std::iter::once(&own).chain(&info.scopes) {
            let intent = Intent { scope: scope.clone(), class: Some(info.class) };
            authorize(caller, &intent).allowed()?;
        }
        if self.depth + 1 >= DEPTH {
            let message = format!("skills called each other more than {DEPTH} deep");
            return Err(Error::new(ErrorKind::ActionFailed, message));
        }
        info.input.check(&Value::Object(call.params.clone()))
    }

    async fn run_within(&self, call: &CallRequest, skill: &Arc<dyn Skill>) -> Result<Value> {
        let most = skill.info().timeout;
        let time = call.timeout.map_or(most, |time| time.min(most));
        let deadline = self.attempt().deadline.min(Deadline::after(time));
        let context = Self::context(&self.journal, skill, self.depth + 1);
        let work = skill.run(context, Value::Object(call.params.clone()));
        deadline.run(work).await.unwrap_or_else(|| {
            let message = format!("the skill `{}` did not end in time", call.action);
            // What it has done stands in the journal.
            Err(Error::new(ErrorKind::Timeout, message).retry(Retry::Safe))
        })
    }

    /// The run of a skill that is called.
    fn begin(&self, skill: &Arc<dyn Skill>) -> Result<Execution> {
        let (parent, info) = (&self.attempt().execution, skill.info());
        let now = self.now();
        Ok(Execution {
            id: ExecutionId::fresh(now)?,
            action: info.action(),
            version: Some(info.version),
            revision: info.revision().into(),
            class: info.class,
            connection: None,
            app: None,
            parent: Some(parent.id),
            origin: None,
            state: State::Running,
            progress: 0,
            attempts: 1,
            upstream_status: None,
            error: None,
            timing: Timing::default(),
            created_at: now,
            started_at: Some(now),
            ended_at: None,
            ..parent.clone()
        })
    }

    /// Gives the run of a skill that was called to the history.
    async fn push(&self, mut run: Execution, error: Option<ErrorKind>) -> Result<()> {
        let attempt = self.attempt();
        run.state = if error.is_none() { State::Success } else { State::Error };
        (run.error, run.progress, run.ended_at) = (error, 100, Some(self.now()));
        let history = &attempt.shared.executor.history;
        let room = attempt.deadline.run(history.room()).await.ok_or_else(|| {
            let message = "the history cannot be written at present: try again later";
            Error::new(ErrorKind::Unavailable, message)
        })?;
        history.push(Recorded::bare(run), room?);
        Ok(())
    }

    /// What an earlier attempt recorded of a call.
    async fn reply(&self, written: Written) -> Result<Reply> {
        match written {
            Written::Called(called) => {
                self.journal.skip(called.next);
                step::read(called)
            }
            Written::GivenUp => std::future::pending().await,
            Written::Value(_)
            | Written::Failed(_)
            | Written::Sleeps(_)
            | Written::Open
            | Written::Spilled(_) => Err(misfit()),
        }
    }

    async fn stepped(&self, turn: &Turn, work: Work<'_>) -> Result<Value> {
        match self.journal.recall(turn).await? {
            Past::None => {}
            Past::Ended(Written::Value(value)) => return Ok(value),
            Past::Ended(Written::Failed(outcome)) => return Err(step::failure(&outcome)?.error()),
            Past::Ended(Written::GivenUp) => return std::future::pending().await,
            Past::Ended(_) | Past::Unknown => return Err(misfit()),
        }
        match working(work).await {
            Ok(value) => {
                let written = Written::Value(value);
                self.journal.note(turn, Some(&written)).await?;
                self.journal.check()?;
                let Written::Value(value) = written else { return Err(misfit()) };
                Ok(value)
            }
            Err(error) => {
                if self.journal.check().is_ok() {
                    self.journal.defer(turn, step::failed(&error)?);
                }
                Err(error)
            }
        }
    }

    async fn slept(&self, turn: &mut Turn, at: Timestamp) -> Result<()> {
        let (at, is_known) = match self.journal.recall(turn).await? {
            Past::None => (at, false),
            Past::Ended(Written::Sleeps(at)) => (at, true),
            Past::Ended(Written::GivenUp) => return std::future::pending().await,
            Past::Ended(_) | Past::Unknown => return Err(misfit()),
        };
        let left = Duration::try_from(at.duration_since(self.now())).unwrap_or_default();
        if left <= SHORT {
            return self.pause(left).await;
        }
        if !is_known {
            self.journal.note(turn, Some(&Written::Sleeps(at))).await?;
        }
        let message = "the skill sleeps longer than its run may take";
        self.suspend(turn, at, Error::new(ErrorKind::Timeout, message)).await
    }

    /// Puts the run aside, once no other step of it is under way; ends it in `too_late` when its
    /// time is up by then.
    async fn suspend<T>(&self, turn: &mut Turn, at: Timestamp, too_late: Error) -> Result<T> {
        turn.rest().await;
        let attempt = self.attempt();
        attempt.check()?;
        let left = Duration::try_from(at.duration_since(self.now())).unwrap_or_default();
        if left >= attempt.deadline.remaining() {
            return Err(attempt.refuse(too_late));
        }
        let first = attempt.suspended().map_or(at, |other| other.min(at));
        Err(attempt.suspend(first))
    }
}

#[async_trait]
impl Host for SkillHost {
    fn run(&self) -> &RunInfo {
        &self.info
    }

    fn now(&self) -> Timestamp {
        self.attempt().shared.clock.now()
    }

    async fn step(&self, name: &StepName, work: Work<'_>) -> Result<Value> {
        let turn = self.journal.take(&self.frame, name.as_str().to_owned(), false)?;
        let done = self.stepped(&turn, work).await;
        turn.end();
        done
    }

    async fn once(&self, name: &StepName, work: Work<'_>) -> Result<Value> {
        let turn = self.journal.take(&self.frame, name.as_str().to_owned(), false)?;
        let done = self.did_once(&turn, work).await;
        turn.end();
        done
    }

    async fn fetch(&self, request: Outgoing, timeout: Duration) -> Result<Response> {
        self.journal.check()?;
        let attempt = self.attempt();
        let deadline = attempt.deadline.within(timeout);
        attempt.shared.executor.transport.send(request, deadline).await
    }

    fn find(&self, category: &Slug, version: Version, name: &Slug) -> Option<Arc<dyn Skill>> {
        let attempt = self.attempt();
        let skill = attempt.shared.executor.catalog.load().skill(category, version, name).cloned();
        let may_call = |skill: &Arc<dyn Skill>| {
            let intent = Intent { scope: Scope::Action(skill.info().action()), class: None };
            authorize(attempt.admitted.caller(), &intent).allowed().is_ok()
        };
        skill.filter(may_call)
    }

    async fn call(&self, call: CallRequest) -> Result<Reply> {
        let target = self.attempt().shared.executor.catalog.load().action(&call.action);
        let is_skill = matches!(target, Some(Action::Skill(_)));
        let (namespace, action) = (&call.action.namespace, &call.action.name);
        let name = format!("call:{}/{}", namespace.canonical(), action.canonical());
        let mut turn = self.journal.take(&self.frame, name, is_skill)?;
        let done = self.called(&mut turn, (target.as_ref(), &call)).await;
        turn.end();
        done
    }

    async fn sleep_until(&self, at: Timestamp) -> Result<()> {
        let mut turn = self.journal.take(&self.frame, "sleep".to_owned(), false)?;
        let done = self.slept(&mut turn, at).await;
        turn.end();
        done
    }

    async fn say(&self, text: &str) -> Result<()> {
        let turn = self.journal.take(&self.frame, "say".to_owned(), false)?;
        let done = self.journal.say(&turn, text).await;
        turn.end();
        done
    }

    async fn progress(&self, percent: u8) -> Result<()> {
        self.journal.check()?;
        // How far a skill is that was called says nothing about the whole.
        if self.depth == 0 {
            self.attempt().set_progress(percent);
        }
        Ok(())
    }

    fn cancelled(&self) -> CancellationToken {
        self.attempt().held.token().clone()
    }
}
