//! OAuth clients: the operator's from the configuration, and owners' own.

use std::{fmt, sync::Arc};

use secrecy::{ExposeSecret, SecretString};

use crate::{
    clock::Clock,
    credential::{Client, Vault},
    error::{Error, ErrorKind, Result},
    id::AppId,
    name::{OwnerId, Slug},
    record::app::{App, Holder, Removal},
    store::Store,
};

/// Which apps a removal takes.
///
/// ```
/// use skill_core::apps::Force;
/// assert_ne!(Force::Unused, Force::Whatever);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Force {
    /// Only one that no connection needs.
    Unused,
    /// Any, whatever becomes of its connections.
    Whatever,
}

/// Every OAuth client there is.
pub struct Apps {
    store: Arc<dyn Store>,
    vault: Arc<Vault>,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for Apps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Apps")
    }
}

impl Apps {
    /// Returns the apps of `store`, whose secrets `vault` seals.
    pub fn new(store: Arc<dyn Store>, vault: Arc<Vault>, clock: Arc<dyn Clock>) -> Self {
        Self { store, vault, clock }
    }

    /// Adds an app, or gives the one with the same client id the new secret: connections made
    /// through it go on working.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] when the client id is empty.
    pub async fn put(
        &self,
        holder: Holder,
        integration: &Slug,
        client_id: &str,
        secret: Option<&SecretString>,
    ) -> Result<App> {
        if client_id.is_empty() || client_id.len() > 1024 {
            let issue = "expected 1 to 1024 characters";
            return Err(Error::invalid("the client id cannot be used").detail("client_id", issue));
        }
        let known = self.store.apps(&holder, Some(integration)).await?;
        let now = self.clock.now();
        let mut app = match known.into_iter().find(|app| app.client_id == client_id) {
            Some(app) if self.has_secret(&app, secret)? => return Ok(app),
            Some(app) => app,
            None => App {
                id: AppId::fresh(now)?,
                holder,
                integration: integration.clone(),
                client_id: client_id.to_owned(),
                client_secret: None,
                created_at: now,
            },
        };
        let sealed = secret.map(|secret| self.vault.seal_client_secret(&app, secret));
        app.client_secret = sealed.transpose()?;
        self.store.put_app(&app).await?;
        Ok(app)
    }

    /// The holder's apps, the newest first.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when the store does not answer.
    pub async fn list(&self, holder: &Holder) -> Result<Vec<App>> {
        self.store.apps(holder, None).await
    }

    /// Gives an app another secret: connections made through it go on working.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when the holder has no such app.
    pub async fn rotate(
        &self,
        holder: &Holder,
        id: AppId,
        secret: Option<&SecretString>,
    ) -> Result<App> {
        let known = self.list(holder).await?.into_iter().find(|app| app.id == id);
        let mut app = known.ok_or_else(unknown)?;
        let sealed = secret.map(|secret| self.vault.seal_client_secret(&app, secret));
        app.client_secret = sealed.transpose()?;
        self.store.put_app(&app).await?;
        Ok(app)
    }

    /// Removes an app that no connection was made through; with [`Force::Whatever`] any: what was
    /// connected through it works until its access ends, and then has to be reconnected.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when the holder has no such app,
    /// [`ErrorKind::Conflict`] when connections need it.
    pub async fn remove(&self, holder: &Holder, id: AppId, force: Force) -> Result<()> {
        match self.store.remove_app(holder, id, force == Force::Unused).await? {
            Removal::Done => Ok(()),
            Removal::Unknown => Err(unknown()),
            Removal::InUse(connections) => {
                let message = format!(
                    "connections were made through this app: {connections}. Without it they end \
                     with their present access"
                );
                Err(Error::new(ErrorKind::Conflict, message))
            }
        }
    }

    fn has_secret(&self, app: &App, secret: Option<&SecretString>) -> Result<bool> {
        let known = self.vault.client(app)?.secret;
        Ok(known.as_ref().map(ExposeSecret::expose_secret)
            == secret.map(ExposeSecret::expose_secret))
    }

    /// The app a new connection is made through: the owner's newest, else the operator's.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when the store does not answer.
    pub async fn standard(&self, owner: &OwnerId, integration: &Slug) -> Result<Option<App>> {
        for holder in [Holder::Owner(owner.clone()), Holder::System] {
            let newest = self.store.apps(&holder, Some(integration)).await?.into_iter().next();
            if newest.is_some() {
                return Ok(newest);
            }
        }
        Ok(None)
    }

    /// The client in plain text that a connection was made through; one that was brought in from
    /// elsewhere names none and takes the standard one.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] when its secret does not open.
    pub async fn client(
        &self,
        owner: &OwnerId,
        integration: &Slug,
        app: Option<AppId>,
    ) -> Result<Option<Client>> {
        let app = match app {
            Some(id) => self.store.app(owner, id).await?,
            None => self.standard(owner, integration).await?,
        };
        app.map(|app| self.vault.client(&app)).transpose()
    }
}

fn unknown() -> Error {
    Error::not_found("there is no app with this id")
}
