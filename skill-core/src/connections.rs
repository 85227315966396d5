//! Finding the connection that a call means.

use std::{fmt, sync::Arc};

use crate::{
    access::Caller,
    cache::Fresh,
    clock::Clock,
    error::{Detail, Error, ErrorKind, Result},
    id::ConnectionId,
    name::{OwnerId, Slug},
    record::connection::{Connection, Status},
    store::Store,
};

/// The connections of all owners, read through a short-lived cache.
pub struct Connections {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    recent: Fresh<(OwnerId, Slug), Arc<[Arc<Connection>]>>,
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connections")
    }
}

impl Connections {
    /// Returns the connections of `store`.
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock, recent: Fresh::new() }
    }

    /// The connection that a call to `integration` means: the one it names by id or label, else the
    /// default one, else the only one. `None` when the caller has none and names none.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when it names one that the caller does not have, and
    /// [`ErrorKind::ChooseConnection`] with one detail per connection when several fit.
    pub async fn choose(
        &self,
        caller: &Caller,
        integration: &Slug,
        named: Option<&str>,
    ) -> Result<Option<Arc<Connection>>> {
        let all = self.of(&caller.owner, integration).await?;
        let is_mine = |c: &&Arc<Connection>| c.user == caller.user && caller.may_use(c.id);
        let mine = all.iter().filter(is_mine);
        if let Some(named) = named {
            let id = ConnectionId::parse(named);
            let is_named =
                |c: &&Arc<Connection>| Some(c.id) == id || c.label.as_deref() == Some(named);
            let found = mine.clone().find(is_named).cloned();
            return found.map(Some).ok_or_else(|| {
                Error::not_found(
                    "there is no connection with this id or label for this integration",
                )
            });
        }
        let usable = |c: &&Arc<Connection>| matches!(c.status, Status::Connected | Status::Expired);
        let usable = mine.filter(usable).collect::<Vec<_>>();
        let default = usable.iter().find(|connection| connection.is_default);
        match (usable.as_slice(), default) {
            ([], _) => Ok(None),
            ([only], _) => Ok(Some(Arc::clone(only))),
            (_, Some(default)) => Ok(Some(Arc::clone(default))),
            (several, None) => Err(choose(several)),
        }
    }

    async fn of(&self, owner: &OwnerId, integration: &Slug) -> Result<Arc<[Arc<Connection>]>> {
        let (key, now) = ((owner.clone(), integration.clone()), self.clock.steady());
        if let Some(found) = self.recent.get(&key, now) {
            return Ok(found);
        }
        let ticket = self.recent.ticket(now);
        let found = self.store.connections(owner, Some(integration)).await?;
        let found = found.into_iter().map(Arc::new).collect::<Arc<[_]>>();
        self.recent.put(key, Arc::clone(&found), ticket);
        Ok(found)
    }

    /// The caller's connections, the oldest first.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when the store does not answer.
    pub async fn list(&self, caller: &Caller) -> Result<Vec<Connection>> {
        let mut all = self.store.connections(&caller.owner, None).await?;
        all.retain(|connection| connection.user == caller.user);
        Ok(all)
    }

    /// The caller's connection.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when the caller has no such connection.
    pub async fn get(&self, caller: &Caller, id: ConnectionId) -> Result<Connection> {
        let found = self.store.connection(&caller.owner, id).await?;
        found
            .filter(|connection| connection.user == caller.user)
            .ok_or_else(|| Error::not_found("there is no connection with this id"))
    }

    /// Keeps a new connection, within the owner's plan.
    ///
    /// # Errors
    /// [`ErrorKind::PlanLimit`] when the plan allows no more.
    pub async fn insert(&self, connection: &Connection, most: Option<u32>) -> Result<()> {
        let is_kept = self.store.insert_connection(connection, most).await?;
        self.changed(connection);
        if is_kept {
            return Ok(());
        }
        let message = "the plan allows no more connections: remove one first";
        Err(Error::new(ErrorKind::PlanLimit, message))
    }

    /// Replaces what may change of a connection; false when it is gone.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when the store does not answer.
    pub async fn update(&self, connection: &Connection) -> Result<bool> {
        let is_there = self.store.update_connection(connection).await?;
        self.changed(connection);
        Ok(is_there)
    }

    /// Removes a connection and its grant; false when it is gone.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when the store does not answer.
    pub async fn delete(&self, connection: &Connection) -> Result<bool> {
        let (owner, id) = (&connection.owner, connection.id);
        let was_there = self.store.delete_connection(owner, id, self.clock.now()).await?;
        self.changed(connection);
        Ok(was_there)
    }

    fn changed(&self, connection: &Connection) {
        self.recent.forget(&(connection.owner.clone(), connection.integration.clone()));
    }
}

fn choose(several: &[&Arc<Connection>]) -> Error {
    let detail = |connection: &&Arc<Connection>| {
        let label = connection.label.as_deref().or(connection.account.as_deref());
        Detail::new(connection.id.to_string(), label.unwrap_or("without a label"))
    };
    let message = "several connections fit: name one by its id or label, or make one the default";
    Error::new(ErrorKind::ChooseConnection, message).details(several.iter().map(detail))
}
