//! Keys in headers, in the query or in the body.

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

/// Sends keys in headers, in the query or in the body.
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
    let named = |key| if auth.is_text(key) { auth.text(key) } else { None };
    let prefix = auth.text("prefix").unwrap_or_default();
    let value = |prefix: &str| names.parse(&format!("{prefix}{{credential.api_key}}"));
    let unfit = |what: String| auth.problem("prefix", format!("`prefix`: {what}"));
    let placement = match (auth.text("header"), named("query"), named("body")) {
        (Some(name), None, None) => match HeaderName::try_from(name) {
            Ok(name) => Placement::header(name, value(prefix).map_err(unfit).ok()?),
            Err(_) => {
                auth.problem("header", format!("`header`: `{name}` is no header name"));
                return None;
            }
        },
        (None, Some(name), None) => Placement::query(name, value("").map_err(unfit).ok()?),
        (None, None, Some(name)) => Placement::body(name, value("").map_err(unfit).ok()?),
        (None, None, None) if ["headers", "query", "body"].iter().any(|key| auth.has(key)) => {
            Placement::declare(auth, &names, "")
        }
        _ => {
            auth.problem(
                "scheme",
                "expected one of `header`, `query` and `body`: where the key stands",
            );
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
