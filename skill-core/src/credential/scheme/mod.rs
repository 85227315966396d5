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

use std::sync::Arc;

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

/// Reads the `[auth]` table of a declaration whose connections have `fields`; `None` after noting
/// what is wrong with it.
pub(crate) fn declare(auth: &Table<'_>, fields: &[Field]) -> Option<Arc<dyn AuthScheme>> {
    let kind = auth.required_text("scheme")?;
    let Some((_, declare)) = TABLE.iter().find(|(name, _)| *name == kind) else {
        let known = TABLE.iter().map(|(name, _)| *name).collect::<Vec<_>>().join("`, `");
        auth.problem("scheme", format!("`scheme`: expected one of `{known}`, got `{kind}`"));
        return None;
    };
    let scheme = declare(auth, fields)?;
    auth.end();
    Some(scheme)
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
