//! Keys in headers or in the query.

use std::sync::Arc;

use http::HeaderName;

use super::{
    credential_fields,
    names::{Names, Values},
    names_of,
    placement::Placement,
};
use crate::{
    credential::{AuthScheme, Credential, Field, Moment},
    declaration::Table,
    error::Result,
    template::Template,
    transport::Outgoing,
};

/// Sends keys in headers or in the query.
///
/// ```
/// use skill_core::credential::{AuthScheme, scheme::ApiKey};
/// assert_eq!(ApiKey::query("api_key").fields()[0].name, "api_key");
/// ```
#[derive(Debug, Clone)]
pub struct ApiKey {
    placement: Placement,
    fields: Vec<Field>,
}

fn key() -> Field {
    Field::secret("api_key", "API key")
}

impl ApiKey {
    /// Returns the scheme that sends the key in the header `name`.
    pub fn header(name: HeaderName) -> Self {
        let value = Template::value("credential.api_key");
        Self { placement: Placement::header(name, value), fields: vec![key()] }
    }

    /// Returns the scheme that sends the key as the query parameter `name`.
    pub fn query(name: &str) -> Self {
        let value = Template::value("credential.api_key");
        Self { placement: Placement::query(name, value), fields: vec![key()] }
    }
}

pub(super) fn declare(auth: &Table<'_>, _fields: &[Field]) -> Option<Arc<dyn AuthScheme>> {
    let fields = credential_fields(auth, [key()]);
    let names = Names::new(&[], &[]).credential(names_of(&fields));
    let (header, query) = (auth.text("header"), auth.is_text("query").then(|| auth.text("query")));
    let prefix = auth.text("prefix").unwrap_or_default();
    let value = |prefix: &str| names.parse(&format!("{prefix}{{credential.api_key}}"));
    let unfit = |what: String| auth.problem("prefix", format!("`prefix`: {what}"));
    let placement = match (header, query.flatten()) {
        (Some(name), None) => match HeaderName::try_from(name) {
            Ok(name) => Placement::header(name, value(prefix).map_err(unfit).ok()?),
            Err(_) => {
                auth.problem("header", format!("`header`: `{name}` is no header name"));
                return None;
            }
        },
        (None, Some(name)) => Placement::query(name, value("").map_err(unfit).ok()?),
        (None, None) if auth.has("headers") || auth.has("query") => {
            Placement::declare(auth, &names, "")
        }
        (None, None) | (Some(_), Some(_)) => {
            auth.problem("scheme", "expected `header` or `query`: where the key stands");
            return None;
        }
    };
    Some(Arc::new(ApiKey { placement, fields }))
}

impl AuthScheme for ApiKey {
    fn kind(&self) -> &'static str {
        "api_key"
    }

    fn fields(&self) -> &[Field] {
        &self.fields
    }

    fn sign(&self, request: &mut Outgoing, credential: &Credential, _: &Moment) -> Result<()> {
        let values = Values { fields: None, client: None, credential, others: &[] };
        self.placement.sign(request, &values)
    }
}
