//! A key in a header or in the query.

use std::sync::Arc;

use http::HeaderName;
use zeroize::Zeroizing;

use super::secret_header;
use crate::{
    credential::{AuthScheme, Credential, Field, Moment},
    declaration::Table,
    error::Result,
    transport::Outgoing,
};

/// Where the key stands.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    /// In a header, after a prefix such as `Token `.
    Header { name: HeaderName, prefix: String },
    /// In a query parameter.
    Query { name: String },
}

/// Sends a key in a header or in the query.
///
/// ```
/// use skill_core::credential::{AuthScheme, scheme::ApiKey};
/// assert_eq!(ApiKey::query("api_key").fields()[0].name, "api_key");
/// ```
#[derive(Debug, Clone)]
pub struct ApiKey {
    place: Place,
    fields: [Field; 1],
}

impl ApiKey {
    fn new(place: Place) -> Self {
        Self { place, fields: [Field::secret("api_key", "API key")] }
    }

    /// Returns the scheme that sends the key in the header `name`, after `prefix`.
    pub fn header(name: HeaderName, prefix: &str) -> Self {
        Self::new(Place::Header { name, prefix: prefix.to_owned() })
    }

    /// Returns the scheme that sends the key as the query parameter `name`.
    pub fn query(name: &str) -> Self {
        Self::new(Place::Query { name: name.to_owned() })
    }
}

pub(super) fn declare(auth: &Table<'_>) -> Option<Arc<dyn AuthScheme>> {
    let (header, query) = (auth.text("header"), auth.text("query"));
    let prefix = auth.text("prefix").unwrap_or_default();
    match (header, query) {
        (Some(name), None) => match HeaderName::try_from(name) {
            Ok(name) => Some(Arc::new(ApiKey::header(name, prefix))),
            Err(_) => {
                auth.problem("header", format!("`header`: `{name}` is no header name"));
                None
            }
        },
        (None, Some(name)) => Some(Arc::new(ApiKey::query(name))),
        (None, None) | (Some(_), Some(_)) => {
            auth.problem("scheme", "expected `header` or `query`: where the key stands");
            None
        }
    }
}

impl AuthScheme for ApiKey {
    fn kind(&self) -> &'static str {
        "api_key"
    }

    fn fields(&self) -> &[Field] {
        &self.fields
    }

    fn sign(&self, request: &mut Outgoing, credential: &Credential, _: &Moment) -> Result<()> {
        let key = credential.secret("api_key")?;
        match &self.place {
            Place::Header { name, prefix } => {
                let value = Zeroizing::new(format!("{prefix}{key}"));
                request.headers.insert(name, secret_header(&value)?);
            }
            Place::Query { name } => {
                request.url.query_pairs_mut().append_pair(name, key);
            }
        }
        Ok(())
    }
}
