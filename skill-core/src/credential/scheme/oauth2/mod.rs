//! OAuth 2.0: authorization code with PKCE S256 (RFC 6749, RFC 7636) and refresh.

mod token;

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderValue, header};
use jiff::Timestamp;
use secrecy::ExposeSecret;
use serde_json::{Map, Value};
use url::{Url, form_urlencoded};

use super::{accept_fields, secret_header};
use crate::{
    credential::{Answer, AuthScheme, Client, Credential, Exchange, Field, Moment, Purpose, Step},
    declaration::Table,
    error::{Error, ErrorKind, Result},
    transport::Outgoing,
};

/// How the client proves itself at the token endpoint (RFC 6749 section 2.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ClientAuth {
    Basic,
    Body,
}

/// OAuth 2.0 authorization code with PKCE, and refresh.
///
/// Hosts and paths come from the declaration or the operator, never from a caller.
#[derive(Debug, Clone)]
pub struct OAuth2 {
    authorize: Url,
    token: Url,
    revoke: Option<Url>,
    issuer: Option<String>,
    client_auth: ClientAuth,
    scopes: Vec<String>,
    separator: String,
    parameters: Vec<(String, String)>,
    fields: [Field; 2],
}

pub(super) fn declare(auth: &Table<'_>) -> Option<Arc<dyn AuthScheme>> {
    let client_auth = match auth.text("client_auth") {
        None | Some("basic") => ClientAuth::Basic,
        Some("body") => ClientAuth::Body,
        Some(other) => {
            auth.problem("client_auth", format!("expected `basic` or `body`, got `{other}`"));
            return None;
        }
    };
    let (authorize, token) = (url(auth, "authorize_url", true), url(auth, "token_url", true));
    let refresh = Field::secret("refresh_token", "Refresh token").optional();
    Some(Arc::new(OAuth2 {
        authorize: authorize?,
        token: token?,
        revoke: url(auth, "revoke_url", false),
        issuer: auth.text("issuer").map(str::to_owned),
        client_auth,
        scopes: auth.texts("scopes").into_iter().map(str::to_owned).collect(),
        separator: auth.text("scope_separator").unwrap_or(" ").to_owned(),
        parameters: parameters(auth),
        fields: [Field::secret("access_token", "Access token"), refresh],
    }))
}

fn url(auth: &Table<'_>, key: &str, is_required: bool) -> Option<Url> {
    let text = if is_required { auth.required_text(key) } else { auth.text(key) }?;
    match Url::parse(text) {
        Ok(url) if url.has_host() && url.fragment().is_none() => Some(url),
        Ok(_) | Err(_) => {
            auth.problem(key, format!("`{key}`: expected a full https URL, got `{text}`"));
            None
        }
    }
}

/// Further parameters of the authorization request, as `access_type = "offline"`.
fn parameters(auth: &Table<'_>) -> Vec<(String, String)> {
    let Some(table) = auth.table("authorize_parameters") else { return Vec::new() };
    let texts = table.keys().filter_map(|key| Some((key.to_owned(), table.text(key)?.to_owned())));
    texts.collect()
}

impl OAuth2 {
    /// A request to the token or the revocation endpoint.
    fn ask(&self, url: &Url, client: &Client, form: &[(&str, &str)]) -> Result<Outgoing> {
        let mut form = form.to_vec();
        let secret = client.secret.as_ref().map(ExposeSecret::expose_secret);
        let basic = secret.filter(|_| self.client_auth == ClientAuth::Basic);
        if basic.is_none() {
            form.push(("client_id", &client.id));
            form.extend(secret.map(|secret| ("client_secret", secret)));
        }
        let mut request = Outgoing::form(url.clone(), form);
        let json = HeaderValue::from_static("application/json");
        request.headers.insert(header::ACCEPT, json);
        if let Some(secret) = basic {
            // Both parts are form-encoded first: RFC 6749 section 2.3.1.
            let encode =
                |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
            let pair = STANDARD.encode(format!("{}:{}", encode(&client.id), encode(secret)));
            request.headers.insert(header::AUTHORIZATION, secret_header(&format!("Basic {pair}"))?);
        }
        Ok(request)
    }

    fn scope_text(&self, asked: &[String]) -> String {
        if asked.is_empty() { &self.scopes } else { asked }.join(&self.separator)
    }

    /// The first request of an exchange; `None` when there is nothing to send.
    fn first(&self, exchange: &Exchange<'_>) -> Result<Option<Outgoing>> {
        let client = client(exchange)?;
        let form = match exchange.purpose {
            Purpose::Authorize { .. } => return Ok(None),
            Purpose::Code { code, verifier } => [
                ("grant_type", "authorization_code"),
                ("code", code),
                ("redirect_uri", exchange.redirect_url),
                ("code_verifier", verifier),
            ]
            .to_vec(),
            Purpose::Renew(credential) => {
                let Some(token) = credential.find("refresh_token") else { return Ok(None) };
                [("grant_type", "refresh_token"), ("refresh_token", token)].to_vec()
            }
            Purpose::Revoke(credential) => {
                let Some(url) = &self.revoke else { return Ok(None) };
                // Revoking the refresh token ends the whole grant: RFC 7009 section 2.1.
                let (token, hint) = match credential.find("refresh_token") {
                    Some(token) => (token, "refresh_token"),
                    None => (credential.secret("access_token")?, "access_token"),
                };
                let form = [("token", token), ("token_type_hint", hint)];
                return self.ask(url, client, &form).map(Some);
            }
        };
        self.ask(&self.token, client, &form).map(Some)
    }
}

fn client<'a>(exchange: &Exchange<'a>) -> Result<&'a Client> {
    exchange.client.ok_or_else(|| {
        let message = "no OAuth client is set up for this integration: \
                       give its client id and secret in the configuration, or add an app";
        Error::new(ErrorKind::Unavailable, message)
    })
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
            Some(Value::String(text)) => token::scopes(&text),
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
        let value = secret_header(&format!("Bearer {}", credential.secret("access_token")?))?;
        request.headers.insert(header::AUTHORIZATION, value);
        Ok(())
    }

    fn is_renewable(&self, credential: &Credential) -> bool {
        credential.find("refresh_token").is_some()
    }

    fn issuer(&self) -> Option<&str> {
        self.issuer.as_deref()
    }

    fn authorize(&self, exchange: &Exchange<'_>) -> Result<Option<Url>> {
        let Purpose::Authorize { state, challenge } = exchange.purpose else { return Ok(None) };
        let (mut url, client) = (self.authorize.clone(), client(exchange)?);
        {
            let mut query = url.query_pairs_mut();
            query.append_pair("response_type", "code");
            query.append_pair("client_id", &client.id);
            query.append_pair("redirect_uri", exchange.redirect_url);
            let scope = self.scope_text(exchange.scopes);
            if !scope.is_empty() {
                query.append_pair("scope", &scope);
            }
            query.append_pair("state", state);
            query.append_pair("code_challenge", challenge);
            query.append_pair("code_challenge_method", "S256");
            query.extend_pairs(&self.parameters);
        }
        Ok(Some(url))
    }

    fn next(&self, exchange: &Exchange<'_>, last: Option<&Answer>) -> Result<Step> {
        match (last, exchange.purpose) {
            (None, _) => Ok(match self.first(exchange)? {
                Some(request) => Step::Send(request),
                None => Step::Reconnect("the provider gave nothing to renew the access with"),
            }),
            (Some(answer), Purpose::Revoke(_)) => token::revoked(answer),
            (Some(answer), Purpose::Renew(old)) => token::read(answer, exchange.at.now, Some(old)),
            (Some(answer), Purpose::Code { .. } | Purpose::Authorize { .. }) => {
                token::read(answer, exchange.at.now, None)
            }
        }
    }
}

#[cfg(test)]
mod tests;
