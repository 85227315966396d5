//! Looking at conversations.

use jiff::Timestamp;

use super::{Runs, journal::said_binding};
use crate::{
    access::Caller,
    error::{Error, Result},
    id::ExecutionId,
    record::{
        conversation::{Conversation, Filter},
        execution::Execution,
    },
};

/// The most runs of one conversation.
pub(super) const RUNS: u32 = 100;

impl Runs {
    /// The caller's conversations, those that began last first: as `filter` says, and of what the
    /// caller may see. A caller that acts for a user sees that user's only.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) when the store does not answer.
    pub async fn conversations(
        &self,
        caller: &Caller,
        filter: Filter,
    ) -> Result<Vec<Conversation>> {
        let user = caller.user.clone().or(filter.user);
        let filter = Filter { user, scopes: caller.scopes.clone(), ..filter };
        self.shared.store.conversations(&caller.owner, &filter).await
    }

    /// The conversation that a run began, and its runs that the caller may see, the oldest first.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) when no such run of the caller's owner or
    /// user began one, or it is of an action that the caller has no scope for.
    pub async fn conversation(
        &self,
        caller: &Caller,
        start: ExecutionId,
    ) -> Result<(Conversation, Vec<Execution>)> {
        let (owner, store) = (&caller.owner, &self.shared.store);
        let is_seen = |run: &Execution| {
            caller.scopes.see(&run.action) && (caller.user.is_none() || run.user == caller.user)
        };
        let found = store.conversation(owner, start).await?;
        let found = found.filter(|found| is_seen(&found.start)).ok_or_else(unknown)?;
        let mut runs = store.conversation_runs(owner, start, RUNS).await?;
        runs.retain(is_seen);
        runs.iter_mut().for_each(|run| self.shared.live.overlay(run));
        Ok((found, runs))
    }

    /// What a run said, and when, in order.
    ///
    /// # Errors
    /// As [`Runs::execution`].
    pub async fn said(&self, caller: &Caller, id: ExecutionId) -> Result<Vec<(Timestamp, String)>> {
        let run = self.execution(caller, id).await?;
        let (store, vault) = (&self.shared.store, &self.shared.executor.vault);
        let said = store.said(&run.owner, id).await?.into_iter().map(|said| {
            let binding = said_binding(&run.owner, id, said.position);
            let text = vault.open_bytes(&said.text, &binding)?;
            let text = std::str::from_utf8(&text).map_err(Error::internal)?;
            Ok((said.at, text.to_owned()))
        });
        said.collect()
    }
}

pub(super) fn unknown() -> Error {
    Error::not_found("there is no conversation with this id")
}
