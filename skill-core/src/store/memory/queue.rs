//! The queue in memory.

use async_trait::async_trait;
use jiff::Timestamp;

use super::MemoryStore;
use crate::{
    error::{Error, Result},
    id::ExecutionId,
    name::OwnerId,
    record::{
        Sealed,
        execution::Execution,
        run::{Claim, Claimed, Enqueue, Enqueued, Finished, Lease, Step},
    },
    store::QueueStore,
};

#[async_trait]
impl QueueStore for MemoryStore {
    async fn enqueue(&self, _runs: &[Enqueue]) -> Result<Vec<Enqueued>> {
        Err(Error::internal("not yet"))
    }
    async fn claim(&self, _want: &Claim) -> Result<Vec<Claimed>> {
        Err(Error::internal("not yet"))
    }
    async fn extend(&self, _leases: &[(Lease, u8)], _until: Timestamp) -> Result<Vec<bool>> {
        Err(Error::internal("not yet"))
    }
    async fn note_sent(&self, _lease: &Lease) -> Result<bool> {
        Err(Error::internal("not yet"))
    }
    async fn record_step(&self, _lease: &Lease, _step: &Step) -> Result<bool> {
        Err(Error::internal("not yet"))
    }
    async fn steps(&self, _owner: &OwnerId, _id: ExecutionId) -> Result<Vec<Step>> {
        Err(Error::internal("not yet"))
    }
    async fn finish(&self, _done: &[Finished]) -> Result<Vec<bool>> {
        Err(Error::internal("not yet"))
    }
    async fn end(
        &self,
        _execution: &Execution,
        _outcome: Option<&Sealed>,
    ) -> Result<Option<Execution>> {
        Err(Error::internal("not yet"))
    }
    async fn adopt(&self, _now: Timestamp) -> Result<u64> {
        Ok(0)
    }
    async fn next_due(&self, _now: Timestamp) -> Result<Option<Timestamp>> {
        Ok(None)
    }
}
