//! OAuth 2.0 client credentials (RFC 6749 section 4.4): an application acts for itself.
//!
//! Whoever connects hands the client over; each renewal asks with it again.

use std::sync::Arc;

use jiff::Timestamp;
use secrecy::SecretString;
use serde_json::{Map, Value};

use super::{
    accept_fields,
    names::{Names, Values},
    oauth2::{Ask, TokenEndpoint},
    placement::Placement,
};
use crate::{
    credential::{
        Answer, AuthScheme, Client, Credential, Exchange, Field, Moment, Progress, Purpose, Step,
    },
    declaration::Table,
    error::Result,
    template::Template,
    transport::Outgoing,
};

/// OAuth 2.0 client credentials.
#[derive(Debug, Clone)]
pub struct ClientCredentials {
    endpoint: TokenEndpoint,
    scope: String,
    parameters: Vec<(String, Template)>,
    placement: Placement,
    fields: [Field; 2],
}

pub(super) fn declare(auth: &Table<'_>, fields: &[Field]) -> Option<Arc<dyn AuthScheme>> {
    let names = Names::new(fields, &["client.id", "client.secret"]);
    let endpoint = TokenEndpoint::declare(auth, &names)?;
    let parameters = names.clone().moment().templates(auth, "token_parameters");
    let kept = endpoint.kept().map(str::to_owned).collect::<Vec<_>>();
    let names = names.credential(kept.iter().map(String::as_str));
    let separator = auth.text("scope_separator").unwrap_or(" ");
    Some(Arc::new(ClientCredentials {
        endpoint,
        scope: auth.texts("scopes").join(separator),
        parameters,
        placement: Placement::declare(auth, &names, "Bearer {credential.access_token}"),
        fields: [
            Field::plain("client_id", "Client id"),
            Field::secret("client_secret", "Client secret").lines(),
        ],
    }))
}

impl AuthScheme for ClientCredentials {
    fn kind(&self) -> &'static str {
        "client_credentials"
    }

    fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// The access is asked for at once: until then it is over.
    fn accept(&self, given: &Map<String, Value>) -> Result<Credential> {
        let credential = accept_fields(&self.fields, given)?;
        Ok(Credential { expires_at: Some(Timestamp::UNIX_EPOCH), ..credential })
    }

    fn sign(&self, request: &mut Outgoing, credential: &Credential, _: &Moment) -> Result<()> {
        credential.secret("access_token")?;
        let values = Values { fields: None, client: None, credential, others: &[] };
        self.placement.sign(request, &values)
    }

    fn is_renewable(&self, _: &Credential) -> bool {
        true
    }

    fn finds(&self, field: &str) -> bool {
        self.endpoint.captured().any(|known| known == field)
    }

    fn next(&self, exchange: &Exchange<'_>, last: Option<&Answer>) -> Result<Step> {
        let Purpose::Renew(known) = exchange.purpose else {
            return Ok(Step::Reconnect("this access cannot be taken back at the service"));
        };
        let secret = SecretString::from(known.secret("client_secret")?);
        let client = Client { id: known.secret("client_id")?.to_owned(), secret: Some(secret) };
        let exchange = Exchange { client: Some(&client), ..*exchange };
        if let Some(answer) = last {
            return self.endpoint.read(answer, &exchange, true);
        }
        let mut parameters = vec![("grant_type", "client_credentials")];
        if !self.scope.is_empty() {
            parameters.push(("scope", &self.scope));
        }
        let ask = Ask { url: None, parameters, more: &self.parameters };
        let request = self.endpoint.ask(&ask, &client, (&exchange, known))?;
        Ok(Step::Send(request, Progress { step: 0, credential: known.clone() }))
    }
}
