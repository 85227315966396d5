//! Connections in memory.

use async_trait::async_trait;
use jiff::Timestamp;

use super::{MemoryStore, Tables, exists};
use crate::{
    error::Result,
    id::ConnectionId,
    name::{OwnerId, Slug},
    record::{
        connection::{Connection, Status},
        delivery::Announcement,
    },
    store::{ConnectionStore, abandoned},
};

#[async_trait]
impl ConnectionStore for MemoryStore {
    async fn insert_connection(&self, connection: &Connection, most: Option<u32>) -> Result<bool> {
        let mut tables = self.lock();
        let before = abandoned(connection.created_at);
        let is_left = |old: &&Connection| old.status == Status::Pending && old.created_at <= before;
        let left = tables.connections_of(&connection.owner).filter(is_left);
        for id in left.map(|old| old.id).collect::<Vec<_>>() {
            take(&mut tables, id);
        }
        let standing = tables.connections_of(&connection.owner).count();
        if most.is_some_and(|most| standing >= most as usize) {
            return Ok(false);
        }
        if tables.connections.contains_key(&connection.id) {
            return Err(exists("a connection"));
        }
        let what = Announcement::of_connection(None, Some(connection), connection.updated_at);
        what.map_or(Ok(()), |what| tables.announce(&what))?;
        put(&mut tables, connection.clone());
        Ok(true)
    }

    async fn connection(&self, owner: &OwnerId, id: ConnectionId) -> Result<Option<Connection>> {
        Ok(self.lock().connections.get(&id).filter(|c| c.owner == *owner).cloned())
    }

    async fn connections(
        &self,
        owner: &OwnerId,
        integration: Option<&Slug>,
    ) -> Result<Vec<Connection>> {
        let wanted = |c: &&Connection| integration.is_none_or(|slug| c.integration == *slug);
        Ok(self.lock().connections_of(owner).filter(wanted).cloned().collect())
    }

    async fn resting_connections(
        &self,
        integration: &Slug,
        before: Timestamp,
        most: u32,
    ) -> Result<Vec<Connection>> {
        let rests = |c: &&Connection| {
            c.integration == *integration
                && c.status == Status::Connected
                && c.rests_since.is_some_and(|since| since <= before)
        };
        let tables = self.lock();
        let mut found = tables.connections.values().filter(rests).collect::<Vec<_>>();
        found.sort_by_key(|c| (c.rests_since, c.id));
        Ok(found.into_iter().take(most as usize).cloned().collect())
    }

    async fn update_connection(&self, connection: &Connection) -> Result<bool> {
        let mut tables = self.lock();
        let Some(old) = tables.connections.get(&connection.id) else { return Ok(false) };
        if old.owner != connection.owner {
            return Ok(false);
        }
        let old = old.clone();
        let new = Connection {
            user: old.user.clone(),
            integration: old.integration.clone(),
            created_at: old.created_at,
            last_used_at: old.last_used_at,
            ..connection.clone()
        };
        let what = Announcement::of_connection(Some(&old), Some(&new), new.updated_at);
        what.map_or(Ok(()), |what| tables.announce(&what))?;
        put(&mut tables, new);
        Ok(true)
    }

    async fn delete_connection(
        &self,
        owner: &OwnerId,
        id: ConnectionId,
        at: Timestamp,
    ) -> Result<bool> {
        let mut tables = self.lock();
        if tables.connections.get(&id).is_none_or(|c| c.owner != *owner) {
            return Ok(false);
        }
        let Some(gone) = take(&mut tables, id) else { return Ok(false) };
        tables.grants.remove(&id);
        tables.leases.remove(&gone.at());
        tables.flows.retain(|_, (flow, _)| flow.connection.id != id);
        let what = Announcement::of_connection(Some(&gone), None, at);
        what.map_or(Ok(()), |what| tables.announce(&what))?;
        Ok(true)
    }
}

/// Whether at most one of the two, of one owner, can be the default.
fn are_alike(one: &Connection, other: &Connection) -> bool {
    one.user == other.user && one.integration == other.integration
}

/// Keeps a connection; a default one takes that from the others.
fn put(tables: &mut Tables, new: Connection) {
    if new.is_default {
        let others = tables.connections_of(&new.owner).filter(|c| are_alike(c, &new));
        for id in others.map(|c| c.id).collect::<Vec<_>>() {
            if let Some(other) = tables.connections.get_mut(&id) {
                other.is_default = false;
            }
        }
    }
    tables.owned.entry(new.owner.clone()).or_default().insert(new.id);
    tables.connections.insert(new.id, new);
}

/// Takes a connection out.
fn take(tables: &mut Tables, id: ConnectionId) -> Option<Connection> {
    let gone = tables.connections.remove(&id)?;
    if let Some(ids) = tables.owned.get_mut(&gone.owner) {
        ids.remove(&id);
        if ids.is_empty() {
            tables.owned.remove(&gone.owner);
        }
    }
    Some(gone)
}
