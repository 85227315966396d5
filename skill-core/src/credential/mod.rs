//! Credentials: what signs a request as somebody, how it is obtained, renewed and kept.
//!
//! This module and [`transport`](crate::transport) are the only ones that see a secret in plain
//! text. Nothing that holds one implements `Debug`, `Display` or `Serialize`.

pub(crate) mod field;
pub mod scheme;
pub mod seal;
pub(crate) mod span;
mod vault;

use std::{collections::BTreeMap, fmt, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use url::Url;
use zeroize::Zeroizing;

pub(crate) use self::vault::{client_binding_of, grant_binding};
pub use self::{field::Field, vault::Vault};
use crate::{
    error::{Error, Result},
    record::connection::{ConnectionRef, Fields, Revision},
    transport::Outgoing,
};

/// What signs requests as somebody: named secrets, and when they end.
///
/// ```
/// use skill_core::credential::Credential;
/// let credential = Credential::new([("api_key", "secret".into())]);
/// assert!(credential.secret("api_key").is_ok());
/// assert!(credential.secret("password").is_err());
/// ```
#[derive(Clone, Default)]
#[expect(missing_debug_implementations, reason = "holds secrets")]
pub struct Credential {
    secrets: BTreeMap<String, SecretString>,
    /// When the access ends, as far as the provider said.
    pub expires_at: Option<Timestamp>,
    /// How long the last access lived: the guess when a provider stops saying.
    pub lifetime: Option<Duration>,
    /// What the provider granted.
    pub scopes: Vec<String>,
    /// The facts of its connection, for signatures that need them; those that the provider said
    /// last are new.
    pub facts: Fields,
}

/// How a credential is written before it is sealed. Version 1; members are only ever added.
#[derive(Serialize, Deserialize)]
struct Written<S: Ord> {
    secrets: BTreeMap<S, S>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lifetime_s: Option<u64>,
    #[serde(default)]
    scopes: Vec<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    facts: Fields,
}

impl Credential {
    /// Returns a credential of named secrets that does not end.
    pub fn new<'a>(secrets: impl IntoIterator<Item = (&'a str, SecretString)>) -> Self {
        let secrets = secrets.into_iter().map(|(name, secret)| (name.to_owned(), secret)).collect();
        Self { secrets, ..Self::default() }
    }

    /// Returns the secret called `name`.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`](crate::ErrorKind::Internal) when there is none: what was stored does
    /// not fit the integration's scheme.
    pub fn secret(&self, name: &str) -> Result<&str> {
        let missing = || Error::internal("a stored credential lacks a secret").with("name", name);
        self.find(name).ok_or_else(missing)
    }

    /// Returns the secret called `name`, if there is one.
    pub fn find(&self, name: &str) -> Option<&str> {
        self.secrets.get(name).map(ExposeSecret::expose_secret)
    }

    /// Adds or replaces a secret.
    pub fn put(&mut self, name: &str, secret: SecretString) {
        self.secrets.insert(name.to_owned(), secret);
    }

    /// Whether the access has ended at `now`, or ends within `margin`.
    pub fn is_over(&self, now: Timestamp, margin: Duration) -> bool {
        self.expires_at
            .is_some_and(|end| end.duration_since(now).as_millis() <= margin.as_millis() as i128)
    }

    /// Writes the credential, to be sealed.
    fn write(&self) -> Result<Zeroizing<Vec<u8>>> {
        let secrets = self.secrets.iter().map(|(name, s)| (name.as_str(), s.expose_secret()));
        let written = Written {
            secrets: secrets.collect(),
            expires_at: self.expires_at,
            lifetime_s: self.lifetime.map(|life| life.as_secs()),
            scopes: self.scopes.clone(),
            facts: self.facts.clone(),
        };
        // Room enough that the vector does not grow and leave copies behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(16 * 1024));
        serde_json::to_writer(&mut *bytes, &written).map_err(Error::internal)?;
        Ok(bytes)
    }

    /// Reads what [`Credential::write`] wrote.
    fn read(bytes: &[u8]) -> Result<Self> {
        let written: Written<String> = serde_json::from_slice(bytes)
            .map_err(|_| Error::internal("a stored credential cannot be read"))?;
        let secrets = written.secrets.into_iter().map(|(name, secret)| (name, secret.into()));
        Ok(Self {
            secrets: secrets.collect(),
            expires_at: written.expires_at,
            lifetime: written.lifetime_s.map(Duration::from_secs),
            scopes: written.scopes,
            facts: written.facts,
        })
    }
}

/// The moment of signing: time and randomness, handed in so that schemes stay pure.
///
/// ```
/// use skill_core::credential::Moment;
/// let moment = Moment { now: jiff::Timestamp::UNIX_EPOCH, nonce: [0; 16] };
/// assert_eq!(moment.nonce.len(), 16);
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// The time of day.
    pub now: Timestamp,
    /// Bytes that nobody can guess.
    pub nonce: [u8; 16],
}

/// An OAuth client in plain text, for the length of one exchange.
///
/// ```
/// use skill_core::credential::Client;
/// let client = Client { id: "skill".into(), secret: None };
/// assert!(client.secret.is_none());
/// ```
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "holds a secret")]
pub struct Client {
    /// The identifier that the provider gave.
    pub id: String,
    /// The secret that the provider gave; public clients have none.
    pub secret: Option<SecretString>,
}

/// What an exchange with a provider is for.
#[expect(missing_debug_implementations, reason = "holds secrets")]
#[derive(Clone, Copy)]
pub enum Purpose<'a> {
    /// A person is about to be sent to the provider.
    Authorize {
        /// Comes back with the answer.
        state: &'a str,
        /// The PKCE challenge (RFC 7636), S256 of the verifier; the ticket of a scheme that
        /// [fetches one](AuthScheme::fetches_a_ticket), once it is there.
        challenge: &'a str,
    },
    /// The provider sent the person back with a code.
    Code {
        /// What the provider gave.
        code: &'a str,
        /// The PKCE verifier whose challenge went out, or the ticket.
        verifier: &'a str,
        /// What else came back with the person.
        returned: &'a BTreeMap<String, String>,
    },
    /// The access ended, or is about to.
    Renew(&'a Credential),
    /// The connection is being deleted.
    Revoke(&'a Credential),
}

/// Everything a scheme may know during an exchange.
#[expect(missing_debug_implementations, reason = "holds secrets")]
#[derive(Clone, Copy)]
pub struct Exchange<'a> {
    /// The OAuth client; schemes without one never see it.
    pub client: Option<&'a Client>,
    /// Facts of the connection.
    pub fields: &'a Fields,
    /// The scopes to ask for; empty: those of the integration.
    pub scopes: &'a [String],
    /// Where the provider sends the person back.
    pub redirect_url: &'a str,
    /// What it is for.
    pub purpose: Purpose<'a>,
    /// Time and randomness.
    pub at: Moment,
}

/// How far an exchange of several steps is, and what it has found out so far.
///
/// ```
/// assert_eq!(skill_core::credential::Progress::default().step, 0);
/// ```
#[derive(Default)]
#[expect(missing_debug_implementations, reason = "holds secrets")]
pub struct Progress {
    /// The step that was sent, from 0.
    pub step: usize,
    /// What the steps before it gave.
    pub credential: Credential,
}

/// A provider's answer during an exchange, read whole.
///
/// ```
/// use skill_core::credential::Answer;
/// let answer = Answer {
///     status: http::StatusCode::OK,
///     headers: Default::default(),
///     body: "{}".into(),
///     after: Default::default(),
/// };
/// assert_eq!(format!("{answer:?}"), "Answer(200 OK, 2 bytes)");
/// ```
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, which may hold tokens.
    pub body: Bytes,
    /// How far the exchange was when the request went out.
    pub after: Progress,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Answer({}, {} bytes)", self.status, self.body.len())
    }
}

/// What an exchange does next.
#[expect(missing_debug_implementations, reason = "holds secrets")]
#[expect(clippy::large_enum_variant, reason = "there is one at a time, taken apart at once")]
pub enum Step {
    /// Send this to the provider and come back with its answer, and with this.
    Send(Outgoing, Progress),
    /// The exchange ended well.
    Done(Credential),
    /// The provider took the grant back: only a person can mend that.
    Reconnect(&'static str),
}

/// How requests of an integration are signed and how its credentials come and go: pure functions.
///
/// To add a scheme: one file in [`scheme`] and one line in its table.
pub trait AuthScheme: fmt::Debug + Send + Sync + 'static {
    /// The name of the scheme in declarations and listings.
    fn kind(&self) -> &'static str;

    /// Whether calls need a connection at all.
    fn needs_connection(&self) -> bool {
        true
    }

    /// Whether a credential comes from a person's yes at the provider, through an app.
    fn asks_a_person(&self) -> bool {
        false
    }

    /// What its connections ask a provider for, unless somebody says otherwise.
    fn scopes(&self) -> &[String] {
        &[]
    }

    /// What has to be filled in to hand over a credential.
    fn fields(&self) -> &[Field];

    /// Makes a credential from what was filled in.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput), naming each field that is
    /// missing, unknown or unusable; never its value.
    fn accept(&self, given: &Map<String, Value>) -> Result<Credential> {
        scheme::accept_fields(self.fields(), given)
    }

    /// Signs a request.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`](crate::ErrorKind::Internal) when the credential does not fit.
    fn sign(&self, request: &mut Outgoing, credential: &Credential, at: &Moment) -> Result<()>;

    /// Whether the credential can be renewed without a person.
    fn is_renewable(&self, _credential: &Credential) -> bool {
        false
    }

    /// How long a grant lives that nobody renews, where the provider takes such grants back.
    fn idle_life(&self) -> Option<Duration> {
        None
    }

    /// Whether an answer says that the access has ended.
    fn says_expired(&self, status: StatusCode) -> bool {
        status == StatusCode::UNAUTHORIZED
    }

    /// Whether it finds this fact of a connection out itself, so that nobody has to fill it in.
    fn finds(&self, _field: &str) -> bool {
        false
    }

    /// The issuer whose name must stand in the answer to a person's yes (RFC 9207).
    fn issuer(&self) -> Option<&str> {
        None
    }

    /// Whether an answer without any issuer is refused too.
    fn needs_issuer(&self) -> bool {
        true
    }

    /// Whether something has to be fetched before a person is sent to the provider: then
    /// [`next`](Self::next) ends in a credential with the secret `ticket`, which stands for the PKCE
    /// challenge and for its verifier.
    fn fetches_a_ticket(&self) -> bool {
        false
    }

    /// The query parameter in which a person brings the code back.
    fn code_name(&self) -> &'static str {
        "code"
    }

    /// Where a person says yes; `None` when the scheme asks nobody.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) when no OAuth client is set up.
    fn authorize(&self, _exchange: &Exchange<'_>) -> Result<Option<Url>> {
        Ok(None)
    }

    /// The next step of obtaining, renewing or revoking; `last` is the answer to the step before.
    ///
    /// # Errors
    /// What the answer means, when it is neither a credential nor a final no.
    fn next(&self, _exchange: &Exchange<'_>, _last: Option<&Answer>) -> Result<Step> {
        Ok(Step::Reconnect("this kind of credential cannot be renewed"))
    }
}

const _: Option<&dyn AuthScheme> = None;

/// Keeps credentials. [`Vault`] keeps them sealed in the store; an embedder may bring another.
///
/// A renewal is exactly-once across machines because [`replace`](Self::replace) is
/// compare-and-swap; the lease that keeps two machines from asking at once is the store's.
#[async_trait]
pub trait CredentialStore: fmt::Debug + Send + Sync + 'static {
    /// Returns the credential and its revision.
    /// A change made elsewhere may show a second late.
    async fn load(&self, at: &ConnectionRef) -> Result<Option<(Credential, Revision)>>;
    /// As [`load`](Self::load), and never from a cache: a renewal decides by it.
    async fn reload(&self, at: &ConnectionRef) -> Result<Option<(Credential, Revision)>> {
        self.load(at).await
    }
    /// Writes `new`, durably, if the credential is still at `seen` (`None`: if there is none);
    /// otherwise changes nothing and returns false.
    async fn replace(
        &self,
        at: &ConnectionRef,
        new: &Credential,
        seen: Option<Revision>,
    ) -> Result<bool>;
    /// Destroys the credential.
    async fn forget(&self, at: &ConnectionRef) -> Result<()>;
}

const _: Option<&dyn CredentialStore> = None;
