//! Looking at runs, waiting for them and stopping them.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use super::{Page, Run, Runs, Shared, live::Listener};
use crate::{
    access::Caller,
    call::{Data, Outcome},
    catalog::Catalog,
    clock::Deadline,
    error::{Error, ErrorKind, Result},
    executor::Kept,
    id::ExecutionId,
    name::OwnerId,
    record::execution::{Execution, State},
    store::ExecutionFilter,
};

/// How often a run is looked at that somebody waits for: another process may work on it.
const LOOK: Duration = Duration::from_secs(1);
/// The most calls of one run that are shown.
const CALLS: u32 = 1_000;

impl Runs {
    /// The run without what is kept of it.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is no such run, or it is another owner's or user's, or of
    /// an action that the caller has no scope for.
    pub async fn execution(&self, caller: &Caller, id: ExecutionId) -> Result<Execution> {
        self.shared.look(caller, id).await
    }

    /// The run with what is kept of it.
    ///
    /// # Errors
    /// As [`Runs::execution`].
    pub async fn get(&self, caller: &Caller, id: ExecutionId) -> Result<Run> {
        let execution = self.execution(caller, id).await?;
        self.shared.with_bodies(execution).await
    }

    /// A run that has ended, with what is kept of it, for whoever is told about it; `None` when
    /// there is no such run.
    pub(crate) async fn ended(&self, owner: &OwnerId, id: ExecutionId) -> Result<Option<Run>> {
        match self.shared.executor.history.get(owner, id).await {
            Ok(run) => self.shared.with_bodies(run).await.map(Some),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The present catalogue.
    pub(crate) fn catalog(&self) -> Arc<Catalog> {
        self.shared.executor.catalog.load_full()
    }

    /// The caller's runs, the newest first, and how many match in all. A caller that acts for a
    /// user sees that user's only, and one with single scopes the runs of those actions.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when the store does not answer; [`ErrorKind::InvalidInput`] when
    /// a caller with single scopes asks for a page far from the newest run by its offset.
    pub async fn list(
        &self,
        caller: &Caller,
        filter: &ExecutionFilter,
    ) -> Result<(Vec<Execution>, u64)> {
        let mut filter = filter.clone();
        filter.user = caller.user.clone().or(filter.user);
        let (mut runs, total) = self.shared.listed(caller, &filter).await?;
        runs.iter_mut().for_each(|run| self.shared.live.overlay(run));
        Ok((runs, total))
    }

    /// How many runs of the caller's owner wait, and how many may.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when the store does not answer.
    pub async fn waiting(&self, caller: &Caller) -> Result<(u64, u64)> {
        let filter = ExecutionFilter { state: Some(State::Queued), limit: 1, ..Default::default() };
        let (_, waiting) = self.shared.executor.history.list(&caller.owner, &filter).await?;
        Ok((waiting, self.shared.settings.depth))
    }

    /// The calls that a run made, the oldest first.
    ///
    /// # Errors
    /// As [`Runs::execution`].
    pub async fn calls(&self, caller: &Caller, id: ExecutionId) -> Result<Vec<Execution>> {
        self.execution(caller, id).await?;
        let filter =
            ExecutionFilter { parent: Some(id), limit: CALLS, ..ExecutionFilter::default() };
        let (mut calls, _) = self.list(caller, &filter).await?;
        calls.reverse();
        Ok(calls)
    }

    /// Waits for the end of a run; returns it as it stands at its end or at the deadline,
    /// whichever comes first.
    ///
    /// # Errors
    /// As [`Runs::execution`].
    pub async fn wait(&self, caller: &Caller, id: ExecutionId, deadline: Deadline) -> Result<Run> {
        let listener = self.shared.live.listen(id);
        loop {
            let changed = listener.next();
            let run = self.execution(caller, id).await?;
            if run.state.is_final() || deadline.remaining().is_zero() {
                return self.shared.with_bodies(run).await;
            }
            _ = deadline.within(LOOK).run(changed).await;
        }
    }

    /// Follows a run: every change of its state and its progress, up to the final one.
    ///
    /// # Errors
    /// As [`Runs::execution`].
    pub async fn watch(&self, caller: &Caller, id: ExecutionId) -> Result<Watch> {
        self.execution(caller, id).await?;
        let (runs, caller) = (self.clone(), caller.clone());
        Ok(Watch { listener: self.shared.live.listen(id), runs, caller, id, last: None })
    }

    /// Stops a run, whether it waits or somebody works on it. It is final when this returns;
    /// nothing more is sent for it, and a request under way is cut.
    ///
    /// # Errors
    /// As [`Runs::execution`]; [`ErrorKind::Conflict`] when it has ended.
    pub async fn cancel(&self, caller: &Caller, id: ExecutionId) -> Result<Execution> {
        let mut run = self.execution(caller, id).await?;
        let error = Error::new(ErrorKind::Conflict, "the run was cancelled").of_run(id);
        if self.shared.end(&mut run, State::Cancelled, &error).await? {
            return Ok(run);
        }
        let message = format!("the run has ended already: it is `{}`", run.state.as_str());
        Err(Error::new(ErrorKind::Conflict, message))
    }

    /// Lets a run go on that is held because its store was restored from a backup.
    ///
    /// # Errors
    /// As [`Runs::execution`]; [`ErrorKind::Conflict`] when it is not held.
    pub async fn release(&self, caller: &Caller, id: ExecutionId) -> Result<Execution> {
        let run = self.execution(caller, id).await?;
        if run.state != State::Held {
            let message = format!("the run is not held: it is `{}`", run.state.as_str());
            return Err(Error::new(ErrorKind::Conflict, message));
        }
        let now = self.shared.now();
        let released = self.shared.store.release(&run.owner, id, now).await?;
        self.shared.waits(now);
        released.ok_or_else(|| Error::not_found("there is no execution with this id"))
    }

    /// A part of a run's result, from `offset` on, at most `most` bytes. What is one JSON value
    /// is its text.
    ///
    /// # Errors
    /// As [`Runs::execution`]; [`ErrorKind::Conflict`] when the run has not ended;
    /// [`ErrorKind::NotFound`] when it has no result that is kept.
    pub async fn result(
        &self,
        caller: &Caller,
        id: ExecutionId,
        offset: u64,
        most: u32,
    ) -> Result<Page> {
        let run = self.execution(caller, id).await?;
        if !run.state.is_final() {
            return Err(Error::new(ErrorKind::Conflict, "the run has not ended"));
        }
        let executor = &self.shared.executor;
        let none = || Error::not_found("no result of this run is kept");
        let (_, sealed) = executor.history.bodies(&run.owner, id).await?;
        match executor.open_outcome(&run.owner, id, &sealed.ok_or_else(none)?)? {
            Kept::Whole(Outcome::Answer { data, .. }) => {
                let bytes = text(data);
                let total = bytes.len();
                let from = usize::try_from(offset).unwrap_or(usize::MAX).min(total);
                let to = from.saturating_add(most as usize).min(total);
                Ok(Page { bytes: bytes.slice(from..to), total: total as u64 })
            }
            Kept::Spilled(_, _, artifact) => {
                let whose = (&run.owner, id);
                let bytes = executor.artifacts.read(whose, artifact, offset, most).await?;
                Ok(Page { bytes, total: artifact.bytes })
            }
            Kept::Whole(Outcome::Failed(_)) => Err(none()),
        }
    }
}

impl Shared {
    pub(crate) async fn look(&self, caller: &Caller, id: ExecutionId) -> Result<Execution> {
        let mut run = self.executor.history.get(&caller.owner, id).await?;
        let is_seen = caller.scopes.see(&run.action);
        if (caller.user.is_some() && run.user != caller.user) || !is_seen {
            return Err(Error::not_found("there is no execution with this id"));
        }
        self.live.overlay(&mut run);
        Ok(run)
    }

    async fn with_bodies(&self, execution: Execution) -> Result<Run> {
        let (owner, id) = (&execution.owner, execution.id);
        let (input, outcome) = self.executor.history.bodies(owner, id).await?;
        let open = |sealed| self.executor.open_input(owner, id, (&execution.action, &sealed));
        let input = input.map(open).transpose()?;
        let open = |sealed| self.executor.open_outcome(owner, id, &sealed);
        let (outcome, result_bytes) = match outcome.map(open).transpose()? {
            None => (None, None),
            Some(Kept::Spilled(_, _, artifact)) => (None, Some(artifact.bytes)),
            Some(Kept::Whole(Outcome::Answer { status, data })) => {
                let length = length(&data);
                (Some(Outcome::Answer { status, data }), Some(length))
            }
            Some(Kept::Whole(failed)) => (Some(failed), None),
        };
        Ok(Run {
            input: input.map(|call| call.params.into()),
            outcome: outcome.filter(|_| execution.state != State::Cancelled),
            result_bytes,
            is_replay: false,
            execution,
        })
    }
}

fn length(data: &Data) -> u64 {
    let length = match data {
        Data::Empty => 0,
        Data::Json(bytes) | Data::Binary { bytes, .. } => bytes.len(),
        Data::Text(text) => text.len(),
    };
    length as u64
}

fn text(data: Data) -> Bytes {
    match data {
        Data::Empty => Bytes::new(),
        Data::Json(bytes) | Data::Binary { bytes, .. } => bytes,
        Data::Text(text) => text.into(),
    }
}

/// Follows one run.
///
/// ```
/// # async fn example(mut watch: skill_core::queue::Watch) -> skill_core::Result<()> {
/// while let Some(run) = watch.next().await? {
///     println!("{} {} %", run.state.as_str(), run.progress);
/// }
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Watch {
    runs: Runs,
    caller: Caller,
    id: ExecutionId,
    listener: Listener,
    last: Option<Execution>,
}

impl Watch {
    /// The run as it stands now, the first time; then as it stands after its next change. `None`
    /// when the final state was told. It may be dropped and called again.
    ///
    /// # Errors
    /// As [`Runs::execution`].
    pub async fn next(&mut self) -> Result<Option<Execution>> {
        if self.last.as_ref().is_some_and(|run| run.state.is_final()) {
            return Ok(None);
        }
        loop {
            let changed = self.listener.next();
            let run = self.runs.execution(&self.caller, self.id).await?;
            let is_news = self.last.as_ref().is_none_or(|last| {
                (last.state, last.progress, last.attempts)
                    != (run.state, run.progress, run.attempts)
            });
            if is_news {
                self.last = Some(run.clone());
                return Ok(Some(run));
            }
            _ = Deadline::after(LOOK).run(changed).await;
        }
    }
}
