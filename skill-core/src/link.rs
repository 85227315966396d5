//! Connect links: short-lived, single-use pages that are safe to hand to a person.

use std::{fmt, sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use url::Url;

use crate::{
    clock::Clock,
    error::{Error, Result},
    id::{self, FlowId},
    name::Slug,
    record::{
        connection::ConnectionRef,
        flow::{Flow, TokenHash},
    },
    store::Store,
};

/// How long a link opens its page.
pub const LIFE: Duration = Duration::from_secs(30 * 60);

/// Where the engine's pages are, as people reach them.
///
/// ```
/// use skill_core::link::Pages;
/// let pages = Pages::under(&"https://skill.example.com".parse().expect("a valid URL"))?;
/// assert_eq!(pages.callback.as_str(), "https://skill.example.com/oauth/callback");
/// # Ok::<(), skill_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pages {
    /// A connect link is this and a token.
    pub connect: Url,
    /// Where providers send people back.
    pub callback: Url,
    /// What a plan allows, as text.
    pub limits: Url,
    /// Where people type in the code of a program that is to be logged in.
    pub device: Url,
}

impl Pages {
    /// The pages under a public URL.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) when it cannot have pages.
    pub fn under(public: &Url) -> Result<Self> {
        let page = |path: &str| {
            let mut page = public.clone();
            page.set_query(None);
            page.set_fragment(None);
            page.path_segments_mut()
                .map_err(|()| {
                    Error::invalid("expected a public URL such as https://skill.example.com")
                })?
                .pop_if_empty()
                .extend(path.split('/'));
            Ok(page)
        };
        Ok(Self {
            connect: page("connect/")?,
            callback: page("oauth/callback")?,
            limits: page("limits")?,
            device: page("auth/device")?,
        })
    }

    /// The page for a program's code, with the code typed in.
    pub fn device_of(&self, code: &str) -> Url {
        let mut page = self.device.clone();
        page.query_pairs_mut().append_pair("user_code", code);
        page
    }
}

/// Makes a token that nobody can guess: 256 random bits, base64url.
pub(crate) fn token() -> Result<SecretString> {
    Ok(URL_SAFE_NO_PAD.encode(id::random::<32>()?).into())
}

/// Whether text could be a token that [`token`] made.
pub(crate) fn is_token(text: &SecretString) -> bool {
    URL_SAFE_NO_PAD.decode(text.expose_secret()).is_ok_and(|bytes| bytes.len() == 32)
}

/// What is stored of a token.
pub(crate) fn hash(token: &str) -> TokenHash {
    TokenHash(Sha256::digest(token.as_bytes()).into())
}

/// Makes connect links.
pub struct Links {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    pages: Pages,
}

impl fmt::Debug for Links {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Links({})", self.pages.connect)
    }
}

/// What a link is for.
///
/// ```
/// use skill_core::{id::ConnectionId, link::Errand, name::{OwnerId, Slug}, record::connection::ConnectionRef};
/// let id = ConnectionId::fresh(jiff::Timestamp::UNIX_EPOCH)?;
/// let at = ConnectionRef { owner: OwnerId::standard(), user: None, id };
/// let errand = Errand::new(at, Slug::parse("github")?);
/// assert!(errand.scopes.is_empty());
/// # Ok::<(), skill_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Errand {
    /// The connection to make or mend; it need not exist yet.
    pub connection: ConnectionRef,
    /// Its integration.
    pub integration: Slug,
    /// The scopes to ask for; empty: those of the integration.
    pub scopes: Vec<String>,
    /// Where the person goes afterwards.
    pub return_url: Option<String>,
}

impl Errand {
    /// Returns an errand with the integration's own scopes.
    pub fn new(connection: ConnectionRef, integration: Slug) -> Self {
        Self { connection, integration, scopes: Vec::new(), return_url: None }
    }
}

impl Links {
    /// Returns a maker of links to `pages`.
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, pages: Pages) -> Self {
        Self { store, clock, pages }
    }

    /// Where the pages are.
    pub fn pages(&self) -> &Pages {
        &self.pages
    }

    /// Makes a link and keeps it, durably. Only its hash is stored.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) when the store does not answer.
    pub async fn make(&self, errand: Errand) -> Result<Url> {
        let (token, now) = (token()?, self.clock.now());
        let flow = Flow {
            id: FlowId::fresh(now)?,
            connection: errand.connection,
            integration: errand.integration,
            scopes: errand.scopes,
            link: hash(token.expose_secret()),
            expires_at: now.checked_add(LIFE).map_err(Error::internal)?,
            return_url: errand.return_url,
        };
        self.store.insert_flow(&flow, now).await?;
        let mut page = self.pages.connect.clone();
        if let Ok(mut segments) = page.path_segments_mut() {
            segments.pop_if_empty().push(token.expose_secret());
        }
        Ok(page)
    }
}
