//! The ways of signing a request, one file each.
//!
//! To add one: write the file and add its line to `TABLE`.

mod api_key;
#[cfg(feature = "aws")]
mod aws;
mod basic;
mod bearer;
mod client_credentials;
mod jwt;
mod key;
mod names;
mod none;
mod oauth1;
mod oauth2;
mod placement;
mod reading;
mod request;
mod signature;
mod steps;

use std::{collections::BTreeMap, fmt, sync::Arc};

use base64::{Engine, engine::general_purpose::STANDARD};
use http::HeaderValue;
use secrecy::SecretString;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

#[cfg(feature = "aws")]
pub use self::aws::Aws;
pub use self::{
    api_key::ApiKey, basic::Basic, bearer::Bearer, client_credentials::ClientCredentials, jwt::Jwt,
    none::NoAuth, oauth1::OAuth1, oauth2::OAuth2, signature::Signature, steps::Steps,
};
use super::{AuthScheme, Credential, Field, field};
use crate::{
    declaration::Table,
    error::{Error, Result},
};

/// Reads the `[auth]` table of a declaration, given the fields of its connections; `None` after
/// noting what is wrong with it.
type Declare = fn(&Table<'_>, &[Field]) -> Option<Arc<dyn AuthScheme>>;

/// Every scheme by its name in declarations.
const TABLE: &[(&str, Declare)] = &[
    ("api_key", api_key::declare),
    #[cfg(feature = "aws")]
    ("aws", aws::declare),
    ("basic", basic::declare),
    ("bearer", bearer::declare),
    ("client_credentials", client_credentials::declare),
    ("jwt", jwt::declare),
    ("none", none::declare),
    ("oauth1", oauth1::declare),
    ("oauth2", oauth2::declare),
    ("signature", signature::declare),
    ("steps", steps::declare),
];

/// Reads the `[auth]` table of a declaration that names a scheme of an embedding program.
type Own = Arc<dyn Fn(&Table<'_>, &[Field]) -> Option<Arc<dyn AuthScheme>> + Send + Sync>;

/// Schemes of an embedding program, for declarations that need what no declaration can say.
///
/// Each has a name, and a function that reads the `[auth]` table of a declaration whose `scheme` is
/// that name. The function notes what is wrong in the table; keys that it does not ask for are
/// problems by themselves.
///
/// ```
/// use std::sync::Arc;
/// use skill_core::{credential::scheme::{Bearer, Schemes}, integration::{self, Overrides}};
///
/// let schemes = Schemes::default().with("acme_session", |auth, _fields| {
///     auth.required_text("realm")?;
///     Some(Arc::new(Bearer::new()))
/// });
/// let text = r#"
/// name = "Acme"
/// description = "Signed in a way of its own."
/// base_url = "https://acme.example.com"
/// auth = { scheme = "acme_session", realm = "shop" }
/// endpoints.ping = { summary = "Ping", method = "GET", path = "/ping" }
/// "#;
/// let acme = integration::declared_with("acme.toml", text, &Overrides::default(), &schemes);
/// assert!(acme.is_ok());
/// assert!(integration::declared("acme.toml", text, &Overrides::default()).is_err());
/// ```
#[derive(Clone, Default)]
pub struct Schemes(BTreeMap<String, Own>);

impl fmt::Debug for Schemes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.keys()).finish()
    }
}

impl Schemes {
    /// Adds a scheme, in the place of the one that has this name already.
    #[must_use]
    pub fn with(
        mut self,
        name: &str,
        read: impl Fn(&Table<'_>, &[Field]) -> Option<Arc<dyn AuthScheme>> + Send + Sync + 'static,
    ) -> Self {
        self.0.insert(name.to_owned(), Arc::new(read));
        self
    }

    /// Reads the `[auth]` table of a declaration whose connections have `fields`; `None` after
    /// noting what is wrong with it.
    pub(crate) fn declare(
        &self,
        auth: &Table<'_>,
        fields: &[Field],
    ) -> Option<Arc<dyn AuthScheme>> {
        let kind = auth.required_text("scheme")?;
        let scheme = match (self.0.get(kind), TABLE.iter().find(|(name, _)| *name == kind)) {
            (Some(own), _) => own(auth, fields)?,
            (None, Some((_, declare))) => declare(auth, fields)?,
            (None, None) => {
                let known = TABLE.iter().map(|(name, _)| *name);
                let known = known.chain(self.0.keys().map(String::as_str));
                let known = known.collect::<Vec<_>>().join("`, `");
                let what = format!("`scheme`: expected one of `{known}`, got `{kind}`");
                auth.problem("scheme", what);
                return None;
            }
        };
        auth.end();
        Some(scheme)
    }
}

#[cfg(test)]
fn declare(auth: &Table<'_>, fields: &[Field]) -> Option<Arc<dyn AuthScheme>> {
    Schemes::default().declare(auth, fields)
}

/// Makes a credential of what was filled in: strings, the required ones all there, nothing else.
pub(crate) fn accept_fields(fields: &[Field], given: &Map<String, Value>) -> Result<Credential> {
    let values = field::check(fields, given, true)
        .map_err(|details| Error::invalid("the credentials cannot be used").details(details))?;
    let secrets = values.into_iter().map(|(name, value)| (name, SecretString::from(value)));
    Ok(Credential { secrets: secrets.collect(), ..Credential::default() })
}

/// A header value that no log shows.
fn secret_header(text: &str) -> Result<HeaderValue> {
    let mut value = HeaderValue::from_str(text)
        .map_err(|_| Error::invalid("the stored secret cannot stand in a header: reconnect"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// User name and password as RFC 7617 writes them.
fn basic_header(user: &str, password: &str) -> Result<HeaderValue> {
    let pair = Zeroizing::new(format!("{user}:{password}"));
    let value = Zeroizing::new(format!("Basic {}", STANDARD.encode(pair.as_bytes())));
    secret_header(&value)
}

/// The fields of a credential that a declaration names, or the standard ones.
fn credential_fields(auth: &Table<'_>, standard: impl IntoIterator<Item = Field>) -> Vec<Field> {
    let declared = field::declare(auth, true);
    if declared.is_empty() { standard.into_iter().collect() } else { declared }
}

fn names_of(fields: &[Field]) -> impl Iterator<Item = &str> {
    fields.iter().map(|field| field.name.as_str())
}
