//! What a new connection and one that is mended have in common: whom people may be sent back to,
//! and the app they go through. And mending itself.

use std::sync::Arc;

use url::Url;

use super::{ConnectRequest, Connector};
use crate::{
    access::Caller,
    error::{Error, ErrorKind, Result},
    id::ConnectionId,
    integration::Integration,
    link::Errand,
    name::{OwnerId, Slug},
    record::connection::{Connection, Status},
};

/// The most return URLs that one owner may have.
const MOST: u32 = 100;

impl Connector {
    /// Where the owner's people may be sent after connecting: its own list, or the configuration's
    /// when it has none.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when the store does not answer.
    pub async fn return_urls(&self, owner: &OwnerId) -> Result<Vec<String>> {
        let own = self.store.return_urls(owner).await?;
        if own.is_empty() { Ok(self.return_urls.iter().cloned().collect()) } else { Ok(own) }
    }

    /// Adds a URL to the owner's list. With its first one the owner has a list of its own, and the
    /// configuration's does not count any more.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] when nobody can be sent there, or 100 stand in the list.
    pub async fn allow_return(&self, owner: &OwnerId, url: &str) -> Result<()> {
        let is_web = |url: &Url| matches!(url.scheme(), "http" | "https") && url.has_host();
        let is_plain = |url: &Url| {
            url.fragment().is_none() && url.username().is_empty() && url.password().is_none()
        };
        let fits = Url::parse(url).is_ok_and(|url| is_web(&url) && is_plain(&url));
        let issue = "expected an address such as https://app.example.com/done";
        if !fits || url.len() > 2000 || !url.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Error::invalid(issue).detail("url", issue));
        }
        if self.store.allow_return(owner, url, MOST).await? {
            return Ok(());
        }
        Err(Error::invalid(format!("the owner has {MOST} return URLs: remove one first")))
    }

    /// Takes a URL from the owner's list. Without any the configuration's counts again.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when it does not stand there.
    pub async fn forbid_return(&self, owner: &OwnerId, url: &str) -> Result<()> {
        if self.store.forbid_return(owner, url).await? {
            return Ok(());
        }
        Err(Error::not_found("this URL does not stand in the owner's own list"))
    }

    pub(super) async fn check_return(&self, owner: &OwnerId, url: &str) -> Result<()> {
        if self.return_urls(owner).await?.iter().any(|allowed| allowed == url) {
            return Ok(());
        }
        let issue = "expected one of the owner's return URLs, character by character";
        Err(Error::invalid(issue).detail("return_url", issue))
    }

    /// The page where a person can mend this connection; `None` when there is nothing to mend. It
    /// is another page each time, and good for half an hour.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when the store does not answer.
    pub async fn mending_page(&self, connection: &Connection) -> Result<Option<Url>> {
        if connection.status == Status::Connected {
            return Ok(None);
        }
        let errand = Errand::new(connection.at(), connection.integration.clone());
        self.links.make(errand).await.map(Some)
    }

    /// The connection that is to be mended.
    pub(super) async fn to_mend(
        &self,
        caller: &Caller,
        integration: &Arc<dyn Integration>,
        (named, wanted): (&str, &ConnectRequest),
    ) -> Result<Connection> {
        if wanted.label.is_some() || !wanted.fields.is_empty() {
            let message = "a connection that is mended keeps its label and its fields";
            return Err(Error::invalid(message));
        }
        let slug = &integration.info().slug;
        let mut connection = self.named(caller, slug, named).await?;
        if self.choose_app(&mut connection, &**integration).await? {
            self.connections.update(&connection).await?;
        }
        Ok(connection)
    }

    /// The caller's connection of this integration, by id or label, as it stands now.
    pub(super) async fn named(
        &self,
        caller: &Caller,
        slug: &Slug,
        named: &str,
    ) -> Result<Connection> {
        let id = ConnectionId::parse(named);
        let all = self.connections.list(caller).await?.into_iter();
        let mut all = all.filter(|connection| connection.integration == *slug);
        let is_named = |c: &Connection| Some(c.id) == id || c.label.as_deref() == Some(named);
        all.find(is_named).ok_or_else(|| {
            Error::not_found("there is no connection with this id or label for this integration")
        })
    }

    /// Sees to it that the connection goes through an app that there is: the one it was made
    /// through, or the standard one when it was made through none or that one was removed. True
    /// when it changed.
    pub(super) async fn choose_app(
        &self,
        connection: &mut Connection,
        integration: &dyn Integration,
    ) -> Result<bool> {
        if !integration.auth().asks_a_person() {
            return Ok(false);
        }
        if let Some(id) = connection.app
            && self.store.app(&connection.owner, id).await?.is_some()
        {
            return Ok(false);
        }
        let app = self.apps.standard(&connection.owner, &connection.integration).await?;
        connection.app = Some(app.ok_or_else(no_client)?.id);
        Ok(true)
    }
}

fn no_client() -> Error {
    let message = "no OAuth client is set up for this integration: the operator has to give its \
                   client id and secret, or add an app";
    Error::new(ErrorKind::Unavailable, message)
}
