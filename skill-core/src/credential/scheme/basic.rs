//! User name and password, sent as `Authorization: Basic` (RFC 7617).

use std::sync::Arc;

use http::header::AUTHORIZATION;
use serde_json::{Map, Value};

use super::{
    accept_fields, basic_header, credential_fields,
    names::{Names, Values},
    names_of,
};
use crate::{
    credential::{AuthScheme, Credential, Field, Moment},
    declaration::Table,
    error::{Error, Result},
    template::Template,
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
    user: Template,
    password: Template,
    fields: Vec<Field>,
}

impl Basic {
    /// Returns the scheme.
    #[expect(clippy::new_without_default, reason = "one way in")]
    pub fn new() -> Self {
        let user = Template::value("credential.username");
        let password = Template::value("credential.password");
        Self { user, password, fields: standard().to_vec() }
    }
}

fn standard() -> [Field; 2] {
    let password = Field::secret("password", "Password").optional();
    [Field::plain("username", "User name"), password]
}

pub(super) fn declare(auth: &Table<'_>, _fields: &[Field]) -> Option<Arc<dyn AuthScheme>> {
    let fields = credential_fields(auth, standard());
    let names = Names::new(&[], &[]).credential(names_of(&fields));
    let template = |key: &str| match auth.has(key) {
        true => names.template(auth, key),
        false => names
            .parse(&format!("{{credential.{key}}}"))
            .map_err(|_| {
                auth.problem(key, format!("expected `{key}`, or a field of this name"));
            })
            .ok(),
    };
    let (user, password) = (template("username"), template("password"));
    Some(Arc::new(Basic { user: user?, password: password?, fields }))
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
        let values = Values { fields: None, client: None, credential, others: &[] };
        // A password that was left out is empty.
        let find = |name: &str| values.find(name).or(Some(""));
        let value = basic_header(&self.user.fill(&find)?, &self.password.fill(&find)?)?;
        request.headers.insert(AUTHORIZATION, value);
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
