//! Artifacts in memory, for tests and for engines that keep nothing.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use bytes::Bytes;

use super::{ArtifactRef, ArtifactStore, unavailable};
use crate::{
    error::Result,
    id::{ArtifactId, ExecutionId},
    name::OwnerId,
};

/// Keeps artifacts in memory.
///
/// ```
/// let artifacts = skill_core::artifact::MemoryArtifacts::default();
/// ```
#[derive(Debug, Default)]
pub struct MemoryArtifacts(Mutex<HashMap<ArtifactRef, Bytes>>);

impl MemoryArtifacts {
    fn lock(&self) -> MutexGuard<'_, HashMap<ArtifactRef, Bytes>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl ArtifactStore for MemoryArtifacts {
    async fn write(&self, at: &ArtifactRef, bytes: Bytes) -> Result<()> {
        match self.lock().insert(at.clone(), bytes) {
            None => Ok(()),
            Some(_) => Err(unavailable("the name is taken")),
        }
    }

    async fn read(&self, at: &ArtifactRef, offset: u64, length: usize) -> Result<Option<Bytes>> {
        Ok(self.lock().get(at).map(|bytes| {
            let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
            bytes.slice(start..bytes.len().min(start.saturating_add(length)))
        }))
    }

    async fn forget(
        &self,
        owner: &OwnerId,
        run: ExecutionId,
        keep: Option<ArtifactId>,
    ) -> Result<u64> {
        let mut all = self.lock();
        let before = all.len();
        all.retain(|at, _| at.owner != *owner || at.run != run || Some(at.id) == keep);
        Ok((before - all.len()) as u64)
    }

    async fn runs(&self) -> Result<Vec<(OwnerId, ExecutionId)>> {
        let mut runs = self.lock().keys().map(|at| (at.owner.clone(), at.run)).collect::<Vec<_>>();
        runs.sort();
        runs.dedup();
        Ok(runs)
    }

    async fn list(&self, owner: &OwnerId, run: ExecutionId) -> Result<Vec<ArtifactId>> {
        let all = self.lock();
        let of_run = all.keys().filter(|at| at.owner == *owner && at.run == run);
        Ok(of_run.map(|at| at.id).collect())
    }

    async fn replace(&self, at: &ArtifactRef, bytes: Bytes) -> Result<()> {
        self.lock().get_mut(at).into_iter().for_each(|kept| *kept = bytes.clone());
        Ok(())
    }
}
