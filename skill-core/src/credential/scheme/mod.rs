//! The ways of signing a request, one file each.
//!
//! To add one: write the file and add its line to `TABLE`.

mod api_key;
mod basic;
mod bearer;
mod none;
mod oauth2;

use std::{collections::BTreeMap, sync::Arc};

use http::HeaderValue;
use secrecy::SecretString;
use serde_json::{Map, Value};

pub use self::{api_key::ApiKey, basic::Basic, bearer::Bearer, none::NoAuth, oauth2::OAuth2};
use super::{AuthScheme, Credential, Field};
use crate::{
    declaration::Table,
    error::{Detail, Error, Result},
};

/// The longest secret that may be handed over, in bytes.
const LONGEST: usize = 16 * 1024;

/// Reads the `[auth]` table of a declaration; `None` after noting what is wrong with it.
type Declare = fn(&Table<'_>) -> Option<Arc<dyn AuthScheme>>;

/// Every scheme by its name in declarations.
const TABLE: [(&str, Declare); 5] = [
    ("api_key", api_key::declare),
    ("basic", basic::declare),
    ("bearer", bearer::declare),
    ("none", none::declare),
    ("oauth2", oauth2::declare),
];

/// Reads the `[auth]` table of a declaration; `None` after noting what is wrong with it.
pub(crate) fn declare(auth: &Table<'_>) -> Option<Arc<dyn AuthScheme>> {
    let kind = auth.required_text("scheme")?;
    let Some((_, declare)) = TABLE.iter().find(|(name, _)| *name == kind) else {
        let known = TABLE.map(|(name, _)| name).join("`, `");
        auth.problem("scheme", format!("`scheme`: expected one of `{known}`, got `{kind}`"));
        return None;
    };
    let scheme = declare(auth)?;
    auth.end();
    Some(scheme)
}

/// Makes a credential of what was filled in: strings, the required ones all there, nothing else.
pub(crate) fn accept_fields(fields: &[Field], given: &Map<String, Value>) -> Result<Credential> {
    let unknown = given.keys().filter(|name| fields.iter().all(|field| field.name != **name));
    let mut details = unknown
        .map(|name| Detail::new(name, format!("not known; expected {}", listed(fields))))
        .collect::<Vec<_>>();
    let mut secrets = BTreeMap::new();
    for field in fields {
        match given.get(&field.name) {
            // A control character would end the header that the secret is to stand in.
            Some(Value::String(text)) if text.contains(char::is_control) => {
                details.push(Detail::new(&field.name, "expected no control characters"));
            }
            Some(Value::String(text)) if (1..=LONGEST).contains(&text.len()) => {
                secrets.insert(field.name.clone(), SecretString::from(text.as_str()));
            }
            Some(_) => {
                let expected = "expected a string of 1 to 16384 bytes";
                details.push(Detail::new(&field.name, expected));
            }
            None if field.is_required => {
                details.push(Detail::new(&field.name, "expected a string, got nothing"));
            }
            None => {}
        }
    }
    if details.is_empty() {
        return Ok(Credential { secrets, ..Credential::default() });
    }
    Err(Error::invalid("the credentials cannot be used").details(details))
}

fn listed(fields: &[Field]) -> String {
    match fields {
        [] => "no fields".to_owned(),
        _ => fields.iter().map(|field| format!("`{}`", field.name)).collect::<Vec<_>>().join(", "),
    }
}

/// A header value that no log shows.
fn secret_header(text: &str) -> Result<HeaderValue> {
    let mut value = HeaderValue::from_str(text)
        .map_err(|_| Error::invalid("the stored secret cannot stand in a header: reconnect"))?;
    value.set_sensitive(true);
    Ok(value)
}
