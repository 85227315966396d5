//! Runs that somebody else than a caller with a key asks for, and what is refused before there is one.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{Runs, Submission, Submitted};
use crate::{
    access::{Admitted, Caller, Intent, authorize},
    agents,
    catalog::Action,
    error::Result,
    executor::Event,
    id::ExecutionId,
    record::{connection::Fields, run::Enqueue, scope::Scope, trigger::Source},
};

impl Runs {
    /// Submits a run as [`submit`](Self::submit) does, with what began it besides a request with a
    /// key: `source` is asked for that once the run has its name.
    pub(crate) async fn submit_of(
        &self,
        admitted: &Admitted,
        submission: Submission,
        source: impl FnOnce(ExecutionId) -> Result<Source>,
    ) -> Result<Submitted> {
        let prepared = self.prepare(admitted, &submission, source).await?;
        self.keep(prepared).await
    }

    /// Makes everything of a run that is still to be queued, for whoever queues it together with
    /// something else; see [`is_queued`](Self::is_queued).
    pub(crate) async fn prepare(
        &self,
        admitted: &Admitted,
        submission: &Submission,
        source: impl FnOnce(ExecutionId) -> Result<Source>,
    ) -> Result<Enqueue> {
        let mut prepared = self.shared.prepare(admitted, submission).await?;
        prepared.source = Some(source(prepared.execution.id)?);
        Ok(prepared)
    }

    /// Tells whoever works on runs that this one is queued.
    pub(crate) fn is_queued(&self, enqueue: &Enqueue) {
        self.shared.executor.observer.hear(&Event::Submitted(&enqueue.execution));
        self.shared.waits(enqueue.work.run_at);
    }

    /// The time that the queue goes by.
    pub(crate) fn now(&self) -> Timestamp {
        self.shared.now()
    }

    /// Refuses what [`submit`](Self::submit) would refuse of this caller at this moment, without
    /// counting anything.
    ///
    /// # Errors
    /// As [`submit`](Self::submit).
    pub(crate) async fn check(&self, caller: &Caller, submission: &Submission) -> Result<()> {
        let action = self.check_action(caller, submission).await?;
        checked(&action, &submission.call.params)
    }

    /// The same without looking at the inputs.
    ///
    /// # Errors
    /// As [`submit`](Self::submit).
    pub(crate) async fn check_action(
        &self,
        caller: &Caller,
        submission: &Submission,
    ) -> Result<Action> {
        let shared = &self.shared;
        let origin = shared.origin(caller, submission.origin.as_ref()).await?;
        let acting = match &origin {
            Some(origin) => &agents::bounded(&*shared.store, caller, &origin.agent).await?,
            None => caller,
        };
        let scope = Scope::Action(submission.call.action.clone());
        authorize(acting, &Intent { scope, class: None }).allowed()?;
        let action = shared.action(submission)?;
        allowed(acting, &action)?;
        Ok(action)
    }
}

/// Refuses a caller without the scopes that a skill needs beside its own.
pub(super) fn allowed(caller: &Caller, action: &Action) -> Result<()> {
    let Action::Skill(skill) = action else { return Ok(()) };
    let info = skill.info();
    for scope in &info.scopes {
        let intent = Intent { scope: scope.clone(), class: Some(info.class) };
        authorize(caller, &intent).allowed()?;
    }
    Ok(())
}

/// Refuses inputs that an action does not take.
pub(super) fn checked(action: &Action, params: &Map<String, Value>) -> Result<()> {
    let inputs = Value::Object(params.clone());
    match action {
        Action::Endpoint(operation) => {
            operation.endpoint.info().schema.check(&inputs)?;
            // What no request can be made of is refused now. Where a connection's own facts stand
            // in the request, only its attempt can tell.
            if operation.integration.fields().is_empty() {
                let fields = Fields::default();
                let draft = operation.endpoint.request(params, &fields)?;
                draft.target.join(&operation.integration.base(&fields)?)?;
            }
            Ok(())
        }
        Action::Skill(skill) => skill.info().input.check(&inputs),
    }
}
