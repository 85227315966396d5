//! Which connection a call acts with, and what stands in the way of it.

use std::sync::Arc;

use super::Executor;
use crate::{
    access::Caller,
    error::{Error, ErrorKind, Result},
    id::ConnectionId,
    integration::Integration,
    link::Errand,
    name::Slug,
    record::connection::{Connection, ConnectionRef, Status},
};

impl Executor {
    /// The connection that the call means; `None` when the integration needs none.
    pub(super) async fn connection(
        &self,
        caller: &Caller,
        named: Option<&str>,
        integration: &dyn Integration,
    ) -> Result<Option<Arc<Connection>>> {
        let slug = &integration.info().slug;
        if !integration.auth().needs_connection() && named.is_none() {
            return Ok(None);
        }
        if let Some(chosen) = self.connections.choose(caller, slug, named).await? {
            return Ok(Some(chosen));
        }
        if caller.connections.is_some() {
            // What a person connects here is none of the agent's.
            let message = format!("the agent may use no {slug} connection: give it one of them");
            return Err(Error::new(ErrorKind::NotConnected, message));
        }
        let (owner, user) = (caller.owner.clone(), caller.user.clone());
        let at = ConnectionRef { owner, user, id: ConnectionId::fresh(self.clock.now())? };
        Err(self.with_link(not_connected(slug), at, slug.clone()).await)
    }

    /// Refuses a connection that a person has to finish or to mend first.
    pub(super) async fn check(&self, connection: &Connection) -> Result<()> {
        match connection.status {
            Status::Connected => Ok(()),
            Status::Expired => Err(self.dead(connection).await),
            Status::Pending | Status::Error => {
                let (at, slug) = (connection.at(), connection.integration.clone());
                Err(self.with_link(not_connected(&slug), at, slug).await)
            }
        }
    }

    /// Adds the page where a person can mend it. A store that does not answer hides no error.
    pub(super) async fn with_link(
        &self,
        error: Error,
        at: ConnectionRef,
        integration: Slug,
    ) -> Error {
        match self.links.make(Errand::new(at, integration)).await {
            Ok(page) => error.action_url(page),
            Err(failed) => error.with("link", failed.log_line()),
        }
    }
}

fn not_connected(slug: &Slug) -> Error {
    let message = format!("The user needs to connect their {slug} account first.");
    Error::new(ErrorKind::NotConnected, message)
}
