//! Conversations in memory.

use async_trait::async_trait;

use super::{MemoryStore, Tables};
use crate::{
    error::Result,
    id::ExecutionId,
    name::OwnerId,
    record::{
        conversation::{Conversation, Filter, Said},
        execution::Execution,
        run::Lease,
    },
    store::ConversationStore,
};

#[async_trait]
impl ConversationStore for MemoryStore {
    async fn conversations(&self, owner: &OwnerId, filter: &Filter) -> Result<Vec<Conversation>> {
        let tables = self.lock();
        let runs = tables.runs.get(owner).into_iter().flat_map(|runs| runs.keys().rev());
        let all = runs.filter_map(|id| tables.conversation(owner, *id));
        let wanted = all.filter(|one| filter.wants(one));
        let skip = usize::try_from(filter.offset).unwrap_or(usize::MAX);
        Ok(wanted.skip(skip).take(filter.limit as usize).collect())
    }

    async fn conversation(
        &self,
        owner: &OwnerId,
        start: ExecutionId,
    ) -> Result<Option<Conversation>> {
        Ok(self.lock().conversation(owner, start))
    }

    async fn conversation_runs(
        &self,
        owner: &OwnerId,
        start: ExecutionId,
        most: u32,
    ) -> Result<Vec<Execution>> {
        let tables = self.lock();
        Ok(tables.of_conversation(owner, start).take(most as usize).cloned().collect())
    }

    async fn say(&self, lease: &Lease, said: &Said) -> Result<bool> {
        let mut tables = self.lock();
        let is_held = tables.held(lease).is_some();
        let kept = tables.run_mut(&lease.owner, lease.id).filter(|_| is_held);
        Ok(kept.is_some_and(|kept| {
            kept.said.insert(said.position, said.clone());
            true
        }))
    }

    async fn said(&self, owner: &OwnerId, run: ExecutionId) -> Result<Vec<Said>> {
        let tables = self.lock();
        let kept = tables.run(owner, run);
        Ok(kept.map(|kept| kept.said.values().cloned().collect()).unwrap_or_default())
    }
}

impl Tables {
    /// The runs of a conversation, the oldest first.
    fn of_conversation(
        &self,
        owner: &OwnerId,
        start: ExecutionId,
    ) -> impl Iterator<Item = &Execution> {
        let runs = self.runs.get(owner).into_iter().flat_map(|runs| runs.values());
        let runs = runs.map(|kept| &kept.execution);
        runs.filter(move |run| run.conversation() == Some(start))
    }

    fn conversation(&self, owner: &OwnerId, id: ExecutionId) -> Option<Conversation> {
        let start = self.run(owner, id)?.execution.clone();
        let runs = self.of_conversation(owner, id).collect::<Vec<_>>();
        let latest = runs.iter().max_by_key(|run| (!run.state.is_final(), run.id))?;
        let changed = |run: &&Execution| run.ended_at.or(run.started_at).unwrap_or(run.created_at);
        let updated_at = runs.iter().map(changed).max()?;
        (start.conversation() == Some(id)).then_some(Conversation {
            start,
            state: latest.state,
            updated_at,
        })
    }
}
