//! OAuth 2.0: authorization code with PKCE S256 (RFC 6749, RFC 7636), refresh and revocation
//! (RFC 7009), with what providers make of them as data.

mod endpoint;

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value};
use url::Url;

use self::endpoint::client;
pub(super) use self::endpoint::{Ask, TokenEndpoint};
use super::{
    accept_fields,
    names::{Names, Values},
    placement::Placement,
    reading,
    request::Request,
};
use crate::{
    credential::{
        Answer, AuthScheme, Credential, Exchange, Field, Moment, Progress, Purpose, Step,
    },
    declaration::Table,
    error::{Error, Result},
    template::{Address, Template},
    transport::Outgoing,
};

/// How access is renewed or given back.
#[derive(Debug, Clone)]
enum Way {
    /// As the RFC says, at this address; `None`: at the token endpoint, or not at all.
    Standard(Option<Address>),
    /// By a request that the declaration writes out.
    Own(Request),
}

/// OAuth 2.0 authorization code with PKCE, and refresh.
///
/// Hosts and paths come from the declaration, the operator and checked fields of a connection,
/// never from the text of a call.
#[derive(Debug, Clone)]
pub struct OAuth2 {
    authorize: Address,
    endpoint: TokenEndpoint,
    refresh: Way,
    revoke: Way,
    issuer: Option<String>,
    needs_issuer: bool,
    has_pkce: bool,
    scopes: Vec<String>,
    optional_scopes: Vec<String>,
    separator: String,
    authorize_parameters: Vec<(String, Template)>,
    token_parameters: Vec<(String, Template)>,
    refresh_parameters: Vec<(String, Template)>,
    callback: Vec<(Field, String)>,
    placement: Placement,
    fields: [Field; 2],
}

pub(super) fn declare(auth: &Table<'_>, fields: &[Field]) -> Option<Arc<dyn AuthScheme>> {
    let names = Names::new(fields, &["client.id", "client.secret"]);
    let authorize = names.required_address(auth, "authorize_url");
    let endpoint = TokenEndpoint::declare(auth, &names);
    let list = |key| auth.texts(key).into_iter().map(str::to_owned).collect::<Vec<_>>();
    let needs_issuer = match auth.text("issuer_check") {
        None | Some("required") => true,
        Some("if_present") => false,
        Some(other) => {
            let expected = "`issuer_check`: expected `required` or `if_present`";
            auth.problem("issuer_check", format!("{expected}, got `{other}`"));
            true
        }
    };
    let (authorize_parameters, token_parameters, refresh_parameters) = (
        names.templates(auth, "authorize_parameters"),
        names.clone().moment().templates(auth, "token_parameters"),
        names.clone().moment().templates(auth, "refresh_parameters"),
    );
    let endpoint = endpoint?;
    let kept = endpoint.kept().map(str::to_owned).collect::<Vec<_>>();
    let later = names.clone().credential(kept.iter().map(String::as_str));
    let refresh = way(auth, &later, "refresh")?;
    let revoke = way(auth, &later, "revoke")?;
    let token = Field::secret("refresh_token", "Refresh token").optional();
    Some(Arc::new(OAuth2 {
        authorize: authorize?,
        refresh,
        revoke,
        issuer: auth.text("issuer").map(str::to_owned),
        needs_issuer,
        has_pkce: !auth.has("pkce") || auth.flag("pkce"),
        scopes: list("scopes"),
        optional_scopes: list("optional_scopes"),
        separator: auth.text("scope_separator").unwrap_or(" ").to_owned(),
        authorize_parameters,
        token_parameters,
        refresh_parameters,
        callback: callback(auth, fields),
        placement: Placement::declare(auth, &later, "Bearer {credential.access_token}"),
        endpoint,
        fields: [Field::secret("access_token", "Access token"), token],
    }))
}

/// `refresh_url`, or the request `refresh`; likewise for `revoke`.
fn way(auth: &Table<'_>, names: &Names<'_>, what: &str) -> Option<Way> {
    let Some(table) = auth.table(what) else {
        return Some(Way::Standard(names.address(auth, &format!("{what}_url"))));
    };
    let request = Request::declare(&table, names);
    table.end();
    request.map(Way::Own)
}

/// Facts that come back with the person.
fn callback(auth: &Table<'_>, fields: &[Field]) -> Vec<(Field, String)> {
    let Some(table) = auth.table("callback") else { return Vec::new() };
    let pairs = table.keys().filter_map(|key| {
        let field = fields.iter().find(|field| field.name == key);
        if field.is_none() {
            table.problem(key, format!("there is no field `{key}`"));
        }
        Some((field?.clone(), table.text(key)?.to_owned()))
    });
    pairs.collect()
}

impl OAuth2 {
    fn scope_text(&self, asked: &[String]) -> String {
        if asked.is_empty() { &self.scopes } else { asked }.join(&self.separator)
    }

    /// The first request of an exchange; `None` when there is nothing to send.
    fn first(&self, exchange: &Exchange<'_>) -> Result<Option<(Outgoing, Credential)>> {
        match exchange.purpose {
            Purpose::Authorize { .. } => Ok(None),
            Purpose::Code { code, verifier, .. } => {
                let known = self.came_back(exchange)?;
                let mut parameters = vec![
                    ("grant_type", "authorization_code"),
                    ("code", code),
                    ("redirect_uri", exchange.redirect_url),
                ];
                if self.has_pkce {
                    parameters.push(("code_verifier", verifier));
                }
                let ask = Ask { url: None, parameters, more: &self.token_parameters };
                let request = self.endpoint.ask(&ask, client(exchange)?, (exchange, &known))?;
                Ok(Some((request, known)))
            }
            Purpose::Renew(known) => self.renewal(exchange, known),
            Purpose::Revoke(known) => self.revocation(exchange, known),
        }
    }

    fn renewal(
        &self,
        exchange: &Exchange<'_>,
        known: &Credential,
    ) -> Result<Option<(Outgoing, Credential)>> {
        let url = match &self.refresh {
            Way::Own(request) => {
                let values = Values::of(exchange, known);
                return Ok(Some((request.fill(&|name| values.find(name))?, known.clone())));
            }
            Way::Standard(url) => url.as_ref(),
        };
        let Some(token) = known.find("refresh_token") else { return Ok(None) };
        let parameters = vec![("grant_type", "refresh_token"), ("refresh_token", token)];
        let ask = Ask { url, parameters, more: &self.refresh_parameters };
        let request = self.endpoint.ask(&ask, client(exchange)?, (exchange, known))?;
        Ok(Some((request, known.clone())))
    }

    fn revocation(
        &self,
        exchange: &Exchange<'_>,
        known: &Credential,
    ) -> Result<Option<(Outgoing, Credential)>> {
        let url = match &self.revoke {
            Way::Own(request) => {
                let values = Values::of(exchange, known);
                return Ok(Some((request.fill(&|name| values.find(name))?, Credential::default())));
            }
            Way::Standard(None) => return Ok(None),
            Way::Standard(url) => url.as_ref(),
        };
        // Revoking the refresh token ends the whole grant: RFC 7009 section 2.1.
        let (token, hint) = match known.find("refresh_token") {
            Some(token) => (token, "refresh_token"),
            None => (known.secret("access_token")?, "access_token"),
        };
        let parameters = vec![("token", token), ("token_type_hint", hint)];
        let ask = Ask { url, parameters, more: &[] };
        let request = self.endpoint.ask(&ask, client(exchange)?, (exchange, known))?;
        Ok(Some((request, Credential::default())))
    }

    /// What came back with the person besides the code.
    fn came_back(&self, exchange: &Exchange<'_>) -> Result<Credential> {
        let mut known = Credential::default();
        let Purpose::Code { returned, .. } = exchange.purpose else { return Ok(known) };
        for (field, parameter) in &self.callback {
            let Some(value) = returned.get(parameter) else { continue };
            let unfit = |issue: String| {
                Error::invalid("the service sent something back that cannot be used")
                    .detail(&field.name, issue)
            };
            known.facts.insert(field.name.clone(), field.normal(value).map_err(unfit)?);
        }
        Ok(known)
    }
}

impl AuthScheme for OAuth2 {
    fn kind(&self) -> &'static str {
        "oauth2"
    }

    fn asks_a_person(&self) -> bool {
        true
    }

    fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// Brings an existing grant in: `access_token`, `refresh_token?`, `expires_at?`, `scopes?`.
    fn accept(&self, given: &Map<String, Value>) -> Result<Credential> {
        let mut rest = given.clone();
        let unusable = |field: &str, issue: &str| {
            Error::invalid("the credentials cannot be used").detail(field, issue)
        };
        let expires_at = match rest.remove("expires_at") {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text.parse::<Timestamp>().map_err(|_| {
                unusable("expires_at", "expected a time such as 2026-01-31T12:00:00Z (RFC 3339)")
            })?),
            Some(_) => return Err(unusable("expires_at", "expected a string")),
        };
        let scopes = match rest.remove("scopes") {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::String(text)) => reading::scopes(&text),
            Some(Value::Array(items)) => items
                .iter()
                .map(|item| item.as_str().map(str::to_owned))
                .collect::<Option<_>>()
                .ok_or_else(|| unusable("scopes", "expected a list of strings"))?,
            Some(_) => return Err(unusable("scopes", "expected a list of strings")),
        };
        let credential = accept_fields(&self.fields, &rest)?;
        Ok(Credential { expires_at, scopes, ..credential })
    }

    fn sign(&self, request: &mut Outgoing, credential: &Credential, _: &Moment) -> Result<()> {
        credential.secret("access_token")?;
        let values = Values { fields: None, client: None, credential, others: &[] };
        self.placement.sign(request, &values)
    }

    fn is_renewable(&self, credential: &Credential) -> bool {
        match &self.refresh {
            Way::Own(request) => request
                .names()
                .filter_map(|name| name.strip_prefix("credential."))
                .all(|name| credential.find(name).is_some()),
            Way::Standard(_) => credential.find("refresh_token").is_some(),
        }
    }

    fn finds(&self, field: &str) -> bool {
        self.callback.iter().any(|(known, _)| known.name == field)
            || self.endpoint.captured().any(|known| known == field)
    }

    fn issuer(&self) -> Option<&str> {
        self.issuer.as_deref()
    }

    fn needs_issuer(&self) -> bool {
        self.needs_issuer
    }

    fn authorize(&self, exchange: &Exchange<'_>) -> Result<Option<Url>> {
        let Purpose::Authorize { state, challenge } = exchange.purpose else { return Ok(None) };
        let nobody = Credential::default();
        let values = Values::of(exchange, &nobody);
        let find = |name: &str| values.find(name);
        let (mut url, client) = (self.authorize.fill(&find)?, client(exchange)?);
        let (scope, optional) =
            (self.scope_text(exchange.scopes), self.optional_scopes.join(&self.separator));
        let mut pairs = vec![
            ("response_type", "code"),
            ("client_id", client.id.as_str()),
            ("redirect_uri", exchange.redirect_url),
        ];
        let scopes = [("scope", scope.as_str()), ("optional_scope", optional.as_str())];
        pairs.extend(scopes.into_iter().filter(|(_, text)| !text.is_empty()));
        pairs.push(("state", state));
        if self.has_pkce {
            pairs.extend([("code_challenge", challenge), ("code_challenge_method", "S256")]);
        }
        let pairs = pairs.into_iter().map(|(name, value)| (self.endpoint.name(name), value));
        url.query_pairs_mut().extend_pairs(pairs);
        for (name, value) in &self.authorize_parameters {
            url.query_pairs_mut().append_pair(name, &value.fill(&find)?);
        }
        Ok(Some(url))
    }

    fn next(&self, exchange: &Exchange<'_>, last: Option<&Answer>) -> Result<Step> {
        let is_renewal = matches!(exchange.purpose, Purpose::Renew(_));
        match (last, exchange.purpose) {
            (None, _) => Ok(match self.first(exchange)? {
                Some((request, credential)) => {
                    Step::Send(request, Progress { step: 0, credential })
                }
                None => Step::Reconnect("the provider gave nothing to renew the access with"),
            }),
            (Some(answer), Purpose::Revoke(_)) => reading::revoked(answer),
            (Some(answer), _) => self.endpoint.read(answer, exchange, is_renewal),
        }
    }
}

#[cfg(test)]
mod tests;
