//! The endpoints of OAuth: consent, tokens and their revocation.
//!
//! RFC 6749 with PKCE (RFC 7636), revocation (RFC 7009) and the issuer in every answer to the
//! browser (RFC 9207). Redirect URIs are compared character by character.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use http::header::{AUTHORIZATION, CONTENT_TYPE, PRAGMA, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use percent_encoding::percent_decode_str;
use secrecy::ExposeSecret as _;
use serde_json::json;
use url::{Url, form_urlencoded};

use super::grants::{self, Exchange, Fault, Issued, Request, Scopes};
use super::pages::{self, Question};
use super::reply::{self, Reply};
use super::{Client, State};

/// Answers `GET /oauth/authorize`: asks a person, or approves at once if so set.
pub(super) fn authorize(service: &State, head: &Parts) -> Reply {
    let form = Form::parse(head.uri.query().unwrap_or_default().as_bytes());
    let (client, redirect_uri) = match addressee(service, &form) {
        Ok(addressee) => addressee,
        Err(fault) => return pages::refusal(fault.description()),
    };
    let state = form.one("state").ok().flatten();
    match consider(service, &form, client, redirect_uri) {
        Ok(reply) => reply,
        Err(fault) => send_back(service, redirect_uri, state, Err(fault)),
    }
}

/// Answers `POST /oauth/authorize`: the decision from the consent page.
pub(super) fn decide(service: &State, head: &Parts, body: &[u8]) -> Reply {
    // Browsers say where a form was; another site must not press the button.
    let site = head.headers.get("sec-fetch-site").map(|value| value.as_bytes());
    if site.is_some_and(|site| site != b"same-origin") {
        return pages::refusal("The decision did not come from the page of Tracker");
    }
    let answer = form_of(head, body).and_then(|form| {
        let consent = form.required("consent", "the decision names no question")?;
        let is_approved = match form.required("decision", "the decision is missing")? {
            "approve" => true,
            "deny" => false,
            _ => return Err(Fault::InvalidRequest("the decision must be approve or deny")),
        };
        let request = service.ledger().decided(consent);
        let gone = Fault::InvalidRequest("the question was answered before, or too long ago");
        Ok((request.ok_or(gone)?, is_approved))
    });
    match answer {
        Ok((request, true)) => approve(service, request),
        Ok((Request { redirect_uri, state, .. }, false)) => {
            send_back(service, &redirect_uri, state.as_deref(), Err(Fault::AccessDenied))
        }
        Err(fault) => pages::refusal(fault.description()),
    }
}

/// Answers `POST /oauth/token`: a code or a refresh token becomes tokens.
pub(super) fn token(service: &State, head: &Parts, body: &[u8]) -> Reply {
    match issue(service, head, body) {
        Ok(issued) => private(reply::json(
            StatusCode::OK,
            &json!({
                "access_token": issued.access_token,
                "token_type": "Bearer",
                "expires_in": issued.life.as_secs(),
                "refresh_token": issued.refresh_token,
                "scope": issued.scopes.to_string(),
            }),
        )),
        Err(fault) => refuse(fault),
    }
}

/// Answers `POST /oauth/revoke`: the token ends; one that is not known has ended already.
pub(super) fn revoke(service: &State, head: &Parts, body: &[u8]) -> Reply {
    let revoked = form_of(head, body).and_then(|form| {
        let client = authenticate(service, &head.headers, &form)?;
        let token = form.required("token", "token is required")?;
        service.ledger().revoke(&client.id, token)
    });
    match revoked {
        Ok(()) => private(reply::empty(StatusCode::OK)),
        Err(fault) => refuse(fault),
    }
}

/// Finds whom an answer may be sent to; until then nothing is redirected.
fn addressee<'s, 'f>(service: &'s State, form: &'f Form) -> Result<(&'s Client, &'f str), Fault> {
    let id = form.required("client_id", "client_id is required")?;
    let client = service.settings.clients.iter().find(|client| client.id == id);
    let client = client.ok_or(Fault::InvalidRequest("client_id is not registered"))?;
    let redirect_uri = form.required("redirect_uri", "redirect_uri is required")?;
    if !client.redirect_uris.iter().any(|registered| registered == redirect_uri) {
        return Err(Fault::InvalidRequest("redirect_uri is not registered for this client"));
    }
    Ok((client, redirect_uri))
}

/// Checks the rest of an authorization request and takes it one step further.
fn consider(
    service: &State,
    form: &Form,
    client: &Client,
    redirect_uri: &str,
) -> Result<Reply, Fault> {
    if form.required("response_type", "response_type is required")? != "code" {
        return Err(Fault::UnsupportedResponseType);
    }
    let challenge = form.required("code_challenge", "code_challenge is required")?;
    let method = form.one("code_challenge_method")?;
    if method != Some("S256") {
        return Err(Fault::InvalidRequest("code_challenge_method must be S256"));
    }
    if !grants::is_challenge(challenge) {
        return Err(Fault::InvalidRequest("code_challenge is not the S256 of a verifier"));
    }
    let request = Request {
        client_id: client.id.clone(),
        redirect_uri: redirect_uri.to_owned(),
        state: form.one("state")?.map(str::to_owned),
        scopes: form.one("scope")?.map_or_else(|| Ok(Scopes::all()), Scopes::parse)?,
        challenge: challenge.to_owned(),
    };
    if service.settings.auto_approve {
        return Ok(approve(service, request));
    }
    let scopes = request.scopes.clone();
    let consent = service.ledger().ask(request)?;
    Ok(pages::consent(&Question {
        consent: &consent,
        client: &client.name,
        person: &service.settings.login,
        scopes: &scopes,
        redirect_uri,
    }))
}

/// Gives a code for an approved request and sends the browser back with it.
fn approve(service: &State, request: Request) -> Reply {
    let (redirect_uri, state) = (request.redirect_uri.clone(), request.state.clone());
    let code = service.ledger().approve(request);
    send_back(service, &redirect_uri, state.as_deref(), code)
}

/// Sends the browser to the client with a code or an error, the client's state and the issuer.
fn send_back(
    service: &State,
    redirect_uri: &str,
    state: Option<&str>,
    outcome: Result<String, Fault>,
) -> Reply {
    let Ok(mut location) = Url::parse(redirect_uri) else {
        return pages::refusal("redirect_uri is not a URL");
    };
    {
        let mut query = location.query_pairs_mut();
        match outcome {
            Ok(code) => query.append_pair("code", &code),
            Err(fault) => query
                .append_pair("error", fault.code())
                .append_pair("error_description", fault.description()),
        };
        if let Some(state) = state {
            query.append_pair("state", state);
        }
        query.append_pair("iss", &service.base_url);
    }
    reply::see_other(&location)
}

/// Authenticates the client, then exchanges what it brought.
fn issue(service: &State, head: &Parts, body: &[u8]) -> Result<Issued, Fault> {
    let form = form_of(head, body)?;
    let client = authenticate(service, &head.headers, &form)?;
    match form.required("grant_type", "grant_type is required")? {
        "authorization_code" => service.ledger().exchange(&Exchange {
            client_id: &client.id,
            code: form.required("code", "code is required")?,
            redirect_uri: form.required("redirect_uri", "redirect_uri is required")?,
            verifier: form.required("code_verifier", "code_verifier is required")?,
        }),
        "refresh_token" => {
            let token = form.required("refresh_token", "refresh_token is required")?;
            service.ledger().refresh(&client.id, token, form.one("scope")?)
        }
        _ => Err(Fault::UnsupportedGrantType),
    }
}

/// Finds the client by HTTP Basic or by the form; by both is one too many.
fn authenticate<'s>(
    service: &'s State,
    headers: &HeaderMap,
    form: &Form,
) -> Result<&'s Client, Fault> {
    let (form_id, form_secret) = (form.one("client_id")?, form.one("client_secret")?);
    let (id, secret) = match (headers.get(AUTHORIZATION), form_secret) {
        (Some(_), Some(_)) => {
            return Err(Fault::InvalidRequest("the client must authenticate in one way only"));
        }
        (Some(header), None) => basic(header.as_bytes()).ok_or(Fault::InvalidClient)?,
        (None, Some(secret)) => {
            (form_id.ok_or(Fault::InvalidClient)?.to_owned(), secret.to_owned())
        }
        (None, None) => return Err(Fault::InvalidClient),
    };
    if form_id.is_some_and(|form_id| form_id != id) {
        return Err(Fault::InvalidClient);
    }
    let client = service.settings.clients.iter().find(|client| client.id == id);
    client
        .filter(|client| grants::is_same(client.secret.expose_secret(), &secret))
        .ok_or(Fault::InvalidClient)
}

/// Reads HTTP Basic, whose two parts are form-encoded (RFC 6749, section 2.3.1).
fn basic(header: &[u8]) -> Option<(String, String)> {
    let (scheme, credentials) = std::str::from_utf8(header).ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = String::from_utf8(BASE64_STANDARD.decode(credentials.trim()).ok()?).ok()?;
    let (id, secret) = pair.split_once(':')?;
    let decode = |part: &str| {
        let spaced = part.replace('+', " ");
        percent_decode_str(&spaced).decode_utf8().map(|text| text.into_owned()).ok()
    };
    Some((decode(id)?, decode(secret)?))
}

/// Returns an error of the token endpoint, always in the same shape.
fn refuse(fault: Fault) -> Reply {
    let status = match fault {
        Fault::InvalidClient => StatusCode::UNAUTHORIZED,
        Fault::ServerError => StatusCode::INTERNAL_SERVER_ERROR,
        Fault::AccessDenied
        | Fault::InvalidGrant
        | Fault::InvalidRequest(_)
        | Fault::InvalidScope
        | Fault::TemporarilyUnavailable
        | Fault::UnsupportedGrantType
        | Fault::UnsupportedResponseType => StatusCode::BAD_REQUEST,
    };
    let body = json!({ "error": fault.code(), "error_description": fault.description() });
    let reply = private(reply::json(status, &body));
    if fault == Fault::InvalidClient {
        return reply::with(reply, WWW_AUTHENTICATE, "Basic realm=\"tracker\", charset=\"UTF-8\"");
    }
    reply
}

/// Returns an answer that no cache keeps, old ones included.
fn private(answer: Reply) -> Reply {
    reply::with(reply::no_store(answer), PRAGMA, "no-cache")
}

/// Reads a form body, which must say that it is one.
fn form_of(head: &Parts, body: &[u8]) -> Result<Form, Fault> {
    let media_type = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = media_type.and_then(|value| value.split(';').next()).unwrap_or_default();
    if !essence.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Err(Fault::InvalidRequest("the body must be application/x-www-form-urlencoded"));
    }
    Ok(Form::parse(body))
}

/// The parameters of a request.
struct Form(Vec<(String, String)>);

impl Form {
    /// Reads a query or a form body.
    fn parse(text: &[u8]) -> Self {
        Self(form_urlencoded::parse(text).into_owned().collect())
    }

    /// Returns a parameter; an empty one counts as absent, a repeated one is refused.
    fn one(&self, name: &str) -> Result<Option<&str>, Fault> {
        let mut values = self.0.iter().filter(|(key, _)| key == name).map(|(_, value)| value);
        let first = values.next();
        if values.next().is_some() {
            return Err(Fault::InvalidRequest("a parameter was repeated"));
        }
        Ok(first.map(String::as_str).filter(|value| !value.is_empty()))
    }

    /// Returns a parameter that must be there.
    fn required(&self, name: &str, otherwise: &'static str) -> Result<&str, Fault> {
        self.one(name)?.ok_or(Fault::InvalidRequest(otherwise))
    }
}
