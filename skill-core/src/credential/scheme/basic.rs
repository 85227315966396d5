//! User name and password, sent as `Authorization: Basic` (RFC 7617).

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::STANDARD};
use http::header::AUTHORIZATION;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::{accept_fields, secret_header};
use crate::{
    credential::{AuthScheme, Credential, Field, Moment},
    declaration::Table,
    error::{Error, Result},
    transport::Outgoing,
};

/// Sends user name and password.
///
/// ```
/// use skill_core::credential::{AuthScheme, scheme::Basic};
/// assert_eq!(Basic::new().fields().len(), 2);
/// ```
#[derive(Debug, Clone)]
pub struct Basic {
    fields: [Field; 2],
}

impl Basic {
    /// Returns the scheme.
    #[expect(clippy::new_without_default, reason = "one way in")]
    pub fn new() -> Self {
        let password = Field::secret("password", "Password").optional();
        Self { fields: [Field::plain("username", "User name"), password] }
    }
}

pub(super) fn declare(_auth: &Table<'_>) -> Option<Arc<dyn AuthScheme>> {
    Some(Arc::new(Basic::new()))
}

impl AuthScheme for Basic {
    fn kind(&self) -> &'static str {
        "basic"
    }

    fn fields(&self) -> &[Field] {
        &self.fields
    }

    fn accept(&self, given: &Map<String, Value>) -> Result<Credential> {
        let credential = accept_fields(&self.fields, given)?;
        if credential.find("username").is_some_and(|name| name.contains(':')) {
            let issue = "expected a user name without a colon (RFC 7617 section 2)";
            return Err(Error::invalid("the credentials cannot be used").detail("username", issue));
        }
        Ok(credential)
    }

    fn sign(&self, request: &mut Outgoing, credential: &Credential, _: &Moment) -> Result<()> {
        let (user, password) =
            (credential.secret("username")?, credential.find("password").unwrap_or(""));
        let pair = Zeroizing::new(format!("{user}:{password}"));
        let value = Zeroizing::new(format!("Basic {}", STANDARD.encode(pair.as_bytes())));
        request.headers.insert(AUTHORIZATION, secret_header(&value)?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_7617_comes_out() {
        let given = serde_json::json!({"username": "Aladdin", "password": "open sesame"});
        let scheme = Basic::new();
        let credential = scheme.accept(given.as_object().unwrap()).ok().unwrap();
        let mut request = Outgoing::get("https://a.test".parse().unwrap());
        let at = Moment { now: jiff::Timestamp::UNIX_EPOCH, nonce: [0; 16] };
        scheme.sign(&mut request, &credential, &at).unwrap();
        assert_eq!(request.headers[AUTHORIZATION], "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert!(!format!("{request:?}").contains("QWxh"));
    }
}
