//! Grants in memory.

use std::{ops::Bound, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;

use super::{Grant, MemoryStore};
use crate::{
    error::Result,
    id::ConnectionId,
    record::{
        Sealed,
        connection::{ConnectionRef, Revision},
    },
    store::GrantStore,
};

#[async_trait]
impl GrantStore for MemoryStore {
    async fn grant(&self, at: &ConnectionRef) -> Result<Option<(Sealed, Revision)>> {
        let tables = self.lock();
        let grant = tables.connection_at(at).and_then(|_| tables.grants.get(&at.id));
        Ok(grant.and_then(|grant| Some((grant.sealed.clone()?, Revision(grant.revision)))))
    }

    async fn replace_grant(
        &self,
        at: &ConnectionRef,
        new: &Sealed,
        seen: Option<Revision>,
    ) -> Result<Option<Revision>> {
        let mut tables = self.lock();
        if tables.connection_at(at).is_none() {
            return Ok(None);
        }
        let grant = tables.grants.entry(at.id).or_insert(Grant { sealed: None, revision: 0 });
        let stands = grant.sealed.as_ref().map(|_| Revision(grant.revision));
        if stands != seen {
            return Ok(None);
        }
        *grant = Grant { sealed: Some(new.clone()), revision: grant.revision + 1 };
        Ok(Some(Revision(grant.revision)))
    }

    async fn forget_grant(&self, at: &ConnectionRef) -> Result<()> {
        let mut tables = self.lock();
        if tables.connection_at(at).is_some() {
            tables.grants.get_mut(&at.id).into_iter().for_each(|grant| grant.sealed = None);
        }
        Ok(())
    }

    async fn lease_renewal(
        &self,
        at: &ConnectionRef,
        token: &str,
        now: Timestamp,
        hold: Duration,
    ) -> Result<bool> {
        let mut tables = self.lock();
        let held = tables.leases.get(at);
        if held.is_some_and(|(holder, until)| holder != token && now < *until) {
            return Ok(false);
        }
        let until = now.saturating_add(hold).unwrap_or(Timestamp::MAX);
        tables.leases.insert(at.clone(), (token.to_owned(), until));
        Ok(true)
    }

    async fn release_renewal(&self, at: &ConnectionRef, token: &str) -> Result<()> {
        let mut tables = self.lock();
        if tables.leases.get(at).is_some_and(|(holder, _)| holder == token) {
            tables.leases.remove(at);
        }
        Ok(())
    }

    async fn grants_after(
        &self,
        after: Option<ConnectionId>,
        most: u32,
    ) -> Result<Vec<(ConnectionRef, Sealed, Revision)>> {
        let tables = self.lock();
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let page = tables.grants.range((start, Bound::Unbounded)).filter_map(|(id, grant)| {
            let at = tables.connections.get(id)?.at();
            Some((at, grant.sealed.clone()?, Revision(grant.revision)))
        });
        Ok(page.take(most as usize).collect())
    }
}
