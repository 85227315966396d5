//! What goes into connecting an account and comes out of it.

use std::collections::BTreeMap;

use secrecy::SecretString;
use serde_json::{Map, Value};
use url::Url;

use crate::{
    credential::{AuthScheme, Field},
    error::{Error, Result},
    name::Slug,
    record::flow::Departure,
};

/// What a caller wants to connect.
///
/// ```
/// use skill_core::connect::ConnectRequest;
/// let request = ConnectRequest::new("github")?;
/// assert!(request.label.is_none());
/// # Ok::<(), skill_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectRequest {
    /// The integration.
    pub integration: Slug,
    /// The connection that is to be mended, by id or label; `None`: a new one.
    pub connection: Option<String>,
    /// What the owner calls the connection.
    pub label: Option<String>,
    /// The scopes to ask for; empty: those of the integration.
    pub scopes: Vec<String>,
    /// Where the person goes afterwards; one of the allowed ones.
    pub return_url: Option<String>,
    /// Facts of the connection that are known already: see [`Integration::fields`](crate::integration::Integration::fields).
    pub fields: Map<String, Value>,
}

impl ConnectRequest {
    /// Returns a request with the integration's own scopes.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) when the name is no slug.
    pub fn new(integration: &str) -> Result<Self> {
        let integration = Slug::parse(integration)?;
        let fields = Map::new();
        let (connection, label, return_url) = (None, None, None);
        Ok(Self { integration, connection, label, scopes: Vec::new(), return_url, fields })
    }
}

/// What a link's page shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visit {
    /// What people call the integration.
    pub integration: String,
    /// To whom it will be connected.
    pub owner: String,
    /// Whether the person goes on to the provider.
    pub leaves: bool,
    /// The fields of a form: facts that are not known yet, and a key where nobody is asked.
    pub fields: Vec<Field>,
}

/// A person about to leave for the provider.
#[expect(missing_debug_implementations, reason = "holds a secret")]
pub struct Leaving {
    /// Where to.
    pub url: Url,
    /// What the browser carries, so that nobody else can come back in its place.
    pub browser: SecretString,
}

/// What a provider sent back with the person.
#[derive(Default)]
#[expect(missing_debug_implementations, reason = "holds a secret")]
pub struct Return {
    /// The state that went out.
    pub state: SecretString,
    /// The code, when the person said yes.
    pub code: Option<SecretString>,
    /// The error code, when not.
    pub error: Option<String>,
    /// The issuer (RFC 9207).
    pub issuer: Option<String>,
    /// Everything else: some providers name the account here.
    pub rest: BTreeMap<String, String>,
}

impl Return {
    /// The code, when the person said yes and the right service answers.
    pub(super) fn code(
        &self,
        departure: &Departure,
        auth: &dyn AuthScheme,
    ) -> Result<SecretString> {
        let is_silent = self.issuer.is_none() && !auth.needs_issuer();
        if departure.issuer.is_some() && departure.issuer != self.issuer && !is_silent {
            return Err(Error::invalid("another service answered than the one that was asked"));
        }
        let code = match auth.code_name() {
            "code" => self.code.clone(),
            other => self.rest.get(other).map(|code| code.as_str().into()),
        };
        match (code, self.error.as_deref()) {
            (Some(code), None) => Ok(code),
            (_, Some("access_denied")) => Err(Error::invalid("the person did not agree")),
            (_, _) => Err(Error::invalid("the service ended the sign-in with an error")),
        }
    }
}
