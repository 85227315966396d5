//! The way out: everything that could act for somebody ends at once.

use std::time::Duration;

use futures_util::{StreamExt as _, stream};

use super::Engine;
use crate::{
    access::Caller,
    clock::Deadline,
    error::{ErrorKind, Result},
    id::ConnectionId,
    name::{OwnerId, Slug},
    record::{audit::Entry, connection::Connection, execution::State},
    store::ExecutionFilter,
};

/// How many services are asked at a time.
const AT_ONCE: usize = 16;
/// How many owners are read at a time.
const OWNERS: u32 = 500;
/// How many runs are cancelled at a time.
const RUNS: u32 = 100;

/// How far a revocation goes.
///
/// ```
/// let everything = skill_core::engine::Extent::default();
/// assert!(everything.owner.is_none() && everything.integration.is_none());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Extent {
    /// One owner's only.
    pub owner: Option<OwnerId>,
    /// What concerns this integration only: then keys go on.
    pub integration: Option<Slug>,
}

/// What was revoked.
///
/// ```
/// assert_eq!(skill_core::engine::Revoked::default().keys, 0);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Revoked {
    /// Keys that were revoked.
    pub keys: u64,
    /// Runs that were cancelled.
    pub runs: u64,
    /// Connections whose credentials were destroyed.
    pub connections: u64,
    /// Those that the service itself did not revoke: somebody has to do it there.
    pub unrevoked: Vec<Unrevoked>,
}

/// A credential that is destroyed here and may still be good at its service.
///
/// ```
/// fn tell(left: &skill_core::engine::Unrevoked) -> String { format!("{}: {}", left.integration, left.why) }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unrevoked {
    /// Whose it was.
    pub owner: OwnerId,
    /// At which integration.
    pub integration: Slug,
    /// The connection.
    pub connection: ConnectionId,
    /// The account, in the service's words.
    pub account: Option<String>,
    /// Why the service did not revoke it.
    pub why: String,
}

impl Engine {
    /// Ends everything within `extent`: keys first, then runs, then connections, which are revoked
    /// at their services as far as these can do it and answer within `patience` altogether. What
    /// they do not revoke is destroyed here all the same. Doing it again finishes what was
    /// interrupted.
    ///
    /// # Errors
    /// [`Unavailable`](crate::ErrorKind::Unavailable) when the store does not answer.
    pub async fn revoke_everything(&self, extent: &Extent, patience: Duration) -> Result<Revoked> {
        let deadline = Deadline::after(patience);
        let owners = self.affected(extent).await?;
        let mut revoked = Revoked::default();
        // What lets somebody in goes first, everybody's, before any service is waited for.
        for owner in &owners {
            let caller = Caller::operator(owner.clone());
            if extent.integration.is_none() {
                revoked.keys += self.revoke_keys(&caller).await?;
            }
        }
        for owner in &owners {
            let caller = Caller::operator(owner.clone());
            revoked.runs += self.cancel_runs(&caller, extent.integration.as_ref()).await?;
        }
        for owner in owners {
            self.disconnect_all(&Caller::operator(owner), (extent, deadline), &mut revoked).await?;
        }
        Ok(revoked)
    }

    async fn affected(&self, extent: &Extent) -> Result<Vec<OwnerId>> {
        if let Some(owner) = &extent.owner {
            return Ok(vec![owner.clone()]);
        }
        let mut all = Vec::new();
        loop {
            let page = self.owners(all.last(), OWNERS).await?;
            let is_last = page.len() < OWNERS as usize;
            all.extend(page);
            if is_last {
                return Ok(all);
            }
        }
    }

    async fn revoke_keys(&self, caller: &Caller) -> Result<u64> {
        let keys = self.keys().list(caller).await?;
        let now = self.clock().now();
        let live = keys.iter().filter(|key| {
            key.revoked_at.is_none_or(|at| now < at) && key.expires_at.is_none_or(|at| now < at)
        });
        let mut count = 0;
        for key in live {
            self.keys().revoke(caller, key.id).await?;
            count += 1;
        }
        Ok(count)
    }

    async fn cancel_runs(&self, caller: &Caller, integration: Option<&Slug>) -> Result<u64> {
        let mut count = 0;
        for state in [State::Queued, State::Held, State::Running] {
            let mut filter = ExecutionFilter {
                state: Some(state),
                namespace: integration.cloned(),
                limit: RUNS,
                ..ExecutionFilter::default()
            };
            loop {
                let (runs, _) = self.runs().list(caller, &filter).await?;
                let Some(last) = runs.last() else { break };
                filter.after = Some(last.id);
                for run in &runs {
                    match self.runs().cancel(caller, run.id).await {
                        Ok(_) => count += 1,
                        // It ended meanwhile.
                        Err(error) if error.kind() != ErrorKind::Unavailable => {}
                        Err(error) => return Err(error),
                    }
                }
            }
        }
        Ok(count)
    }

    async fn disconnect_all(
        &self,
        caller: &Caller,
        (extent, deadline): (&Extent, Deadline),
        revoked: &mut Revoked,
    ) -> Result<()> {
        let found = self.0.parts.store.connections(&caller.owner, extent.integration.as_ref());
        let ends = stream::iter(found.await?)
            .map(|connection| self.disconnect_one(caller, connection, deadline))
            .buffer_unordered(AT_ONCE);
        let ends: Vec<Result<Option<Unrevoked>>> = ends.collect().await;
        for end in ends {
            revoked.unrevoked.extend(end?);
            revoked.connections += 1;
        }
        let what = extent.integration.as_ref().map_or("*", Slug::as_str);
        let entry = Entry::new(self.clock().now(), caller.actor, caller.owner.clone());
        self.0.parts.store.append_audit(&entry.event("everything.revoked").target(what)).await
    }

    async fn disconnect_one(
        &self,
        caller: &Caller,
        connection: Connection,
        deadline: Deadline,
    ) -> Result<Option<Unrevoked>> {
        let (owner, integration) = (connection.owner.clone(), connection.integration.clone());
        let (id, account) = (connection.id, connection.account.clone());
        let why = self.connector().end(caller, connection, deadline).await?;
        Ok(why.map(|why| Unrevoked { owner, integration, connection: id, account, why }))
    }
}
