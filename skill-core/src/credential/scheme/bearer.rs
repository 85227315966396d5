//! A token that a person made by hand, sent as `Authorization: Bearer` (RFC 6750 section 2.1).

use std::sync::Arc;

use http::header::AUTHORIZATION;

use super::secret_header;
use crate::{
    credential::{AuthScheme, Credential, Field, Moment},
    declaration::Table,
    error::Result,
    transport::Outgoing,
};

/// Sends a token as `Authorization: Bearer`.
///
/// ```
/// use skill_core::credential::{AuthScheme, scheme::Bearer};
/// assert_eq!(Bearer::new().fields()[0].name, "token");
/// ```
#[derive(Debug, Clone)]
pub struct Bearer {
    fields: [Field; 1],
}

impl Bearer {
    /// Returns the scheme.
    #[expect(clippy::new_without_default, reason = "one way in")]
    pub fn new() -> Self {
        Self { fields: [Field::secret("token", "Token")] }
    }
}

pub(super) fn declare(_auth: &Table<'_>, _fields: &[Field]) -> Option<Arc<dyn AuthScheme>> {
    Some(Arc::new(Bearer::new()))
}

impl AuthScheme for Bearer {
    fn kind(&self) -> &'static str {
        "bearer"
    }

    fn fields(&self) -> &[Field] {
        &self.fields
    }

    fn sign(&self, request: &mut Outgoing, credential: &Credential, _: &Moment) -> Result<()> {
        let value = secret_header(&format!("Bearer {}", credential.secret("token")?))?;
        request.headers.insert(AUTHORIZATION, value);
        Ok(())
    }
}
