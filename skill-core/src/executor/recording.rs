//! A run while it goes on: however it ends, the history hears of it.

use std::sync::Arc;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::{
    Executor, KEPT, history::Room, observe::Event, replay, send::Answered, under_way::Listed,
};
use crate::{
    access::Caller,
    call::{CallRequest, Reply},
    catalog::Operation,
    clock::{Deadline, Stopwatch},
    error::{Error, ErrorKind, Result},
    id::ExecutionId,
    name::ActionName,
    record::{
        Sealed,
        execution::{Class, Execution, Recorded, State, Timing},
    },
};

/// A run that is about to begin.
pub(super) fn execution(caller: &Caller, action: &Operation, now: Timestamp) -> Result<Execution> {
    let info = action.endpoint.info();
    let (namespace, name) = (action.integration.info().slug.clone(), info.name.clone());
    begun(caller, ActionName { namespace, name }, (&info.revision, info.class), now)
}

/// A run of what has this name, this revision and this class.
pub(super) fn begun(
    caller: &Caller,
    action: ActionName,
    (revision, class): (&Arc<str>, Class),
    now: Timestamp,
) -> Result<Execution> {
    Ok(Execution {
        id: ExecutionId::fresh(now)?,
        owner: caller.owner.clone(),
        user: caller.user.clone(),
        key: caller.key(),
        action,
        revision: revision.clone(),
        class,
        connection: None,
        app: None,
        version: None,
        parent: None,
        origin: None,
        state: State::Running,
        progress: 0,
        attempts: 0,
        upstream_status: None,
        error: None,
        timing: Timing::default(),
        created_at: now,
        started_at: Some(now),
        ended_at: None,
    })
}

/// A run while it goes on. However it ends, dropped midway included, the history hears of it.
pub(super) struct Recording<'a> {
    executor: &'a Executor,
    pub(super) execution: Execution,
    watch: Stopwatch,
    room: Option<Room>,
    /// The store has its end already, or it was none of its own.
    pub(super) is_recorded: bool,
    /// It is a repeat of an earlier call: this run never was.
    pub(super) is_replay: bool,
    /// What a repeat is given, until the store has it.
    pub(super) outcome: Option<Sealed>,
    /// Inputs and outcome, where the history keeps them.
    pub(super) bodies: (Option<Sealed>, Option<Sealed>),
    /// A call that is on disk is listed until the history has its end.
    listed: Option<Listed<'a>>,
}

impl<'a> Recording<'a> {
    pub(super) async fn begin(
        executor: &'a Executor,
        caller: &Caller,
        action: &Operation,
        deadline: Deadline,
    ) -> Result<Self> {
        let watch = Stopwatch::start();
        let room = deadline.run(executor.history.room()).await.ok_or_else(|| {
            let message = "the history cannot be written at present: try again later";
            Error::new(ErrorKind::Unavailable, message)
        })?;
        let room = Some(room?);
        let execution = execution(caller, action, executor.clock.now())?;
        Ok(Self {
            executor,
            execution,
            watch,
            room,
            is_recorded: false,
            is_replay: false,
            outcome: None,
            bodies: (None, None),
            listed: None,
        })
    }

    /// Keeps inputs and outcome, within bounds. What cannot be kept is no reason to lose an answer.
    pub(super) async fn keep(&mut self, call: &CallRequest, answered: &Result<Answered>) {
        let (owner, id) = (self.execution.owner.clone(), self.execution.id);
        let most = self.executor.settings.kept_bytes;
        let input = self.executor.seal_input(&owner, id, call);
        let outcome = replay::outcome(answered);
        let outcome = self.executor.keep_outcome((&owner, id), &outcome, most).await;
        let kept = |sealed: Result<Sealed>| {
            sealed.inspect_err(|error| {
                tracing::warn!(execution = %id, error = %error.log_line(), "a body is not kept");
            })
        };
        self.bodies = (kept(input).ok(), kept(outcome).ok());
    }

    /// Whether what is kept of it takes much memory.
    pub(super) fn is_large(&self) -> bool {
        let bodies = [&self.bodies.0, &self.bodies.1].into_iter().flatten();
        bodies.map(|sealed| sealed.0.len()).sum::<usize>() > KEPT
    }

    /// Lists the call, which is on disk; what this returns ends when somebody stops it.
    pub(super) fn list(&mut self) -> CancellationToken {
        self.listed.insert(self.executor.under_way.list(self.execution.id)).token()
    }

    /// Notes what the answer means for the run.
    pub(super) fn settle(&mut self, answered: &Result<Answered>) {
        self.execution.state = match answered {
            Ok((status, ..)) if status.as_u16() < 400 => State::Success,
            Ok(_) | Err(_) => State::Error,
        };
        self.execution.error = answered.as_ref().err().map(Error::kind);
        self.execution.timing.total = self.watch.elapsed();
    }

    pub(super) fn finish(&mut self) {
        self.execution.timing.total = self.watch.elapsed();
        self.execution.progress = 100;
        self.execution.ended_at = Some(self.executor.clock.now());
    }

    pub(super) fn end(mut self, outcome: &Result<Reply>) {
        if let Err(error) = outcome {
            self.execution.state = State::Error;
            self.execution.error = Some(error.kind());
        }
        self.close();
    }

    fn close(&mut self) {
        let Some(room) = self.room.take() else { return };
        self.finish();
        self.executor.observer.hear(&Event::Ended(&self.execution));
        if !self.is_recorded {
            let (input, outcome) = std::mem::take(&mut self.bodies);
            let (execution, replay) = (self.execution.clone(), self.outcome.take());
            let ended = Recorded { execution, input, outcome, replay };
            self.executor.history.push(ended, room);
        }
    }
}

impl Drop for Recording<'_> {
    fn drop(&mut self) {
        // Only a call that nobody waits for any more comes here with its room.
        if self.room.is_some() {
            if !self.execution.state.is_final() {
                self.execution.state = State::Cancelled;
            }
            self.close();
        }
    }
}
