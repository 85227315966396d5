//! The credential store that keeps everything sealed in the engine's own store.

use std::{fmt, sync::Arc};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use super::{
    Client, Credential, CredentialStore,
    seal::{Binding, Keyring},
};
use crate::{
    cache::Fresh,
    clock::Clock,
    error::{Error, Result},
    id::AppId,
    record::{
        Sealed,
        app::{App, Holder},
        connection::{ConnectionRef, Revision},
    },
    store::Store,
};

/// Keeps credentials sealed in the store, and seals the engine's other secrets.
///
/// ```
/// use std::sync::Arc;
/// use skill_core::{clock::SystemClock, credential::{Vault, seal::Keyring}, store::MemoryStore};
/// let clock = Arc::new(SystemClock::new());
/// let vault = Vault::new(Arc::new(MemoryStore::new()), Keyring::generate()?, clock);
/// # Ok::<(), skill_core::Error>(())
/// ```
pub struct Vault {
    store: Arc<dyn Store>,
    keyring: ArcSwap<Keyring>,
    clock: Arc<dyn Clock>,
    /// Sealed, as the store has them: no cache ever holds a secret in plain text.
    grants: Fresh<ConnectionRef, Arc<(Sealed, Revision)>>,
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Vault(key {})", self.keyring().newest())
    }
}

impl Vault {
    /// Returns a vault over `store`.
    pub fn new(store: Arc<dyn Store>, keyring: Keyring, clock: Arc<dyn Clock>) -> Self {
        Self { store, keyring: ArcSwap::from_pointee(keyring), clock, grants: Fresh::new() }
    }

    /// Checks that the keys are the store's: see [`Keyring::verify`].
    ///
    /// # Errors
    /// As [`Keyring::verify`].
    pub async fn verify(&self) -> Result<()> {
        self.keyring().verify(&*self.store).await
    }

    /// The keys in force.
    pub(crate) fn keyring(&self) -> Arc<Keyring> {
        self.keyring.load_full()
    }

    /// Seals with other keys from here on. What is sealed at this moment may still be with the old
    /// ones.
    pub(crate) fn use_keys(&self, keyring: Arc<Keyring>) {
        self.keyring.store(keyring);
    }

    /// Seals anew what an older key sealed.
    pub(crate) fn reseal(&self, sealed: &Sealed, binding: &Binding) -> Result<Sealed> {
        let keyring = self.keyring();
        keyring.seal(&keyring.open(sealed, binding)?, binding)
    }

    /// Seals bytes that are no credential, bound to `binding`.
    ///
    /// # Errors
    /// As [`Keyring::seal`].
    pub fn seal(&self, plain: &[u8], binding: &Binding) -> Result<Sealed> {
        self.keyring().seal(plain, binding)
    }

    /// Opens what [`Vault::seal`] sealed.
    ///
    /// # Errors
    /// As [`Keyring::open`].
    pub fn open(&self, sealed: &Sealed, binding: &Binding) -> Result<SecretString> {
        let plain = self.keyring().open(sealed, binding)?;
        let text = std::str::from_utf8(&plain)
            .map_err(|_| Error::internal("a sealed text is not UTF-8"))?;
        Ok(SecretString::from(text))
    }

    /// Opens what [`Vault::seal`] sealed and is no text.
    pub(crate) fn open_bytes(
        &self,
        sealed: &Sealed,
        binding: &Binding,
    ) -> Result<Zeroizing<Vec<u8>>> {
        self.keyring().open(sealed, binding)
    }

    fn read(
        &self,
        at: &ConnectionRef,
        (sealed, revision): &(Sealed, Revision),
    ) -> Result<(Credential, Revision)> {
        let plain = self.keyring().open(sealed, &grant_binding(at))?;
        Ok((Credential::read(&plain)?, *revision))
    }

    /// Seals the secret of an app.
    ///
    /// # Errors
    /// As [`Keyring::seal`].
    pub fn seal_client_secret(&self, app: &App, secret: &SecretString) -> Result<Sealed> {
        self.seal(secret.expose_secret().as_bytes(), &client_binding(app))
    }

    /// Returns an app in plain text.
    ///
    /// # Errors
    /// As [`Keyring::open`].
    pub fn client(&self, app: &App) -> Result<Client> {
        let secret =
            app.client_secret.as_ref().map(|sealed| self.open(sealed, &client_binding(app)));
        Ok(Client { id: app.client_id.clone(), secret: secret.transpose()? })
    }
}

fn client_binding(app: &App) -> Binding {
    client_binding_of(&app.holder, app.id)
}

pub(crate) fn client_binding_of(holder: &Holder, app: AppId) -> Binding {
    let holder = holder.owner().map_or("", |owner| owner.as_str());
    Binding::to("client_secret", [holder, app.to_string().as_str()])
}

pub(crate) fn grant_binding(at: &ConnectionRef) -> Binding {
    let user = at.user.as_ref().map_or("", |user| user.as_str());
    Binding::to("grant", [at.owner.as_str(), user, at.id.to_string().as_str()])
}

#[async_trait]
impl CredentialStore for Vault {
    async fn load(&self, at: &ConnectionRef) -> Result<Option<(Credential, Revision)>> {
        match self.grants.get(at, self.clock.steady()) {
            Some(grant) => self.read(at, &grant).map(Some),
            None => self.reload(at).await,
        }
    }

    async fn reload(&self, at: &ConnectionRef) -> Result<Option<(Credential, Revision)>> {
        let ticket = self.grants.ticket(self.clock.steady());
        let Some(grant) = self.store.grant(at).await?.map(Arc::new) else { return Ok(None) };
        self.grants.put(at.clone(), grant.clone(), ticket);
        self.read(at, &grant).map(Some)
    }

    async fn replace(
        &self,
        at: &ConnectionRef,
        new: &Credential,
        seen: Option<Revision>,
    ) -> Result<bool> {
        let sealed = self.keyring().seal(&new.write()?, &grant_binding(at))?;
        let written = self.store.replace_grant(at, &sealed, seen).await?;
        self.grants.forget(at);
        Ok(written.is_some())
    }

    async fn forget(&self, at: &ConnectionRef) -> Result<()> {
        self.store.forget_grant(at).await?;
        self.grants.forget(at);
        Ok(())
    }
}
