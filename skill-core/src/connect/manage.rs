//! What an owner does with its connections: rename, make one the default, remove.

use std::time::Duration;

use super::Connector;
use crate::{
    access::Caller,
    clock::Deadline,
    credential::{Exchange, Purpose, Step},
    error::{Error, Result},
    executor::negotiate,
    id::ConnectionId,
    record::{
        audit::{Actor, Entry},
        connection::Connection,
    },
};

/// How long revoking a grant may take.
const REVOKE: Duration = Duration::from_secs(10);

/// Changes to a connection that its owner may make.
///
/// ```
/// use skill_core::connect::Change;
/// assert!(Change::default().label.is_none());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Change {
    /// A new label.
    pub label: Option<String>,
    /// Whether it becomes, or stops being, the default one.
    pub is_default: Option<bool>,
}

impl Connector {
    /// Changes what the owner may change.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound), [`InvalidInput`](crate::ErrorKind::InvalidInput) for a bad label,
    /// [`Conflict`](crate::ErrorKind::Conflict) when it is taken.
    pub async fn change(
        &self,
        caller: &Caller,
        id: ConnectionId,
        change: Change,
    ) -> Result<Connection> {
        let mut connection = self.connections.get(caller, id).await?;
        self.allow(caller, &connection.integration)?;
        if let Some(label) = change.label {
            let integration = connection.integration.clone();
            self.check_label(caller, &integration, &label, Some(id)).await?;
            connection.label = Some(label);
        }
        connection.is_default = change.is_default.unwrap_or(connection.is_default);
        connection.updated_at = self.clock.now();
        if !self.connections.update(&connection).await? {
            return Err(Error::not_found("there is no connection with this id"));
        }
        Ok(connection)
    }

    /// Removes a connection. Its grant is revoked at the service where that can be done; what
    /// cannot be revoked is destroyed here all the same.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound).
    pub async fn disconnect(&self, caller: &Caller, id: ConnectionId) -> Result<()> {
        let connection = self.connections.get(caller, id).await?;
        self.allow(caller, &connection.integration)?;
        self.end(caller, connection, Deadline::after(REVOKE)).await.map(drop)
    }

    /// Removes a connection; returns why its service did not revoke the grant, if it did not.
    pub(crate) async fn end(
        &self,
        caller: &Caller,
        connection: Connection,
        deadline: Deadline,
    ) -> Result<Option<String>> {
        let (this, actor) = (self.clone(), caller.actor);
        // What is revoked at the service is of no use here.
        self.unbroken(async move { this.remove(connection, actor, deadline).await }).await
    }

    async fn remove(
        &self,
        connection: Connection,
        actor: Actor,
        deadline: Deadline,
    ) -> Result<Option<String>> {
        let revoked = self.revoke(&connection, deadline.within(REVOKE)).await;
        self.credentials.forget(&connection.at()).await?;
        if !self.connections.delete(&connection).await? {
            return Err(Error::not_found("there is no connection with this id"));
        }
        let entry = Entry::new(self.clock.now(), actor, connection.owner.clone());
        let entry = entry.event("connection.deleted").target(connection.id);
        let (entry, why) = match revoked {
            Ok(why) => (entry, why.map(str::to_owned)),
            Err(error) => {
                let why = error.to_string();
                (entry.outcome(format!("done, not revoked upstream: {why}")), Some(why))
            }
        };
        self.store.append_audit(&entry).await?;
        Ok(why)
    }

    /// Has the grant revoked at the service; returns why that is not possible there, if it is not.
    async fn revoke(
        &self,
        connection: &Connection,
        deadline: Deadline,
    ) -> Result<Option<&'static str>> {
        let Ok(integration) = self.known(&connection.integration) else {
            return Ok(Some("its integration is not declared here any more"));
        };
        let Some((credential, _)) = self.credentials.load(&connection.at()).await? else {
            return Ok(None);
        };
        if !integration.auth().asks_a_person() {
            return Ok(Some("it is a key: take it back in the service's own settings"));
        }
        let client =
            self.apps.client(&connection.owner, &connection.integration, connection.app).await?;
        let exchange = Exchange {
            client: client.as_ref(),
            fields: &connection.fields,
            scopes: &[],
            redirect_url: "",
            purpose: Purpose::Revoke(&credential),
            at: self.moment()?,
        };
        let transport = &*self.executor.transport;
        let step = negotiate(transport, &*integration, &exchange, deadline).await?;
        let cannot = matches!(step, Step::Reconnect(_));
        Ok(cannot.then_some("the service has no way to do that: end the access in its settings"))
    }
}
