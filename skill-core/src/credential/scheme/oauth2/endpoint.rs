//! The token endpoint: how it is asked (RFC 6749 section 2.3.1), and what follows.

use http::{HeaderName, HeaderValue, header};
use secrecy::ExposeSecret;

use crate::{
    credential::{
        Answer, Client, Credential, Exchange, Progress, Step,
        scheme::{
            basic_header,
            key::{Algorithm, Key, assertion},
            names::{Names, Values, Words},
            reading::Reading,
            request::{Encoding, Request},
        },
    },
    declaration::Table,
    error::{Error, ErrorKind, Result},
    template::{Address, Template},
    transport::Outgoing,
};

/// How the client proves itself.
#[derive(Debug, Clone, PartialEq, Eq)]
enum ClientAuth {
    Basic,
    Body,
    None,
    /// A JWT that the client signs (RFC 7523 section 2.2); its secret is the private key.
    PrivateKey {
        algorithm: Algorithm,
        key_id: Option<String>,
    },
}

/// A request that follows, and what it gives.
#[derive(Debug, Clone)]
struct Follow {
    request: Request,
    reading: Reading,
    is_once: bool,
}

/// The token endpoint.
#[derive(Debug, Clone)]
pub(in crate::credential::scheme) struct TokenEndpoint {
    url: Address,
    client_auth: ClientAuth,
    encoding: Encoding,
    headers: Vec<(HeaderName, Template)>,
    rename: Vec<(String, String)>,
    pub(super) reading: Reading,
    then: Vec<Follow>,
}

/// What is asked for: the parameters, and those that a declaration adds.
pub(in crate::credential::scheme) struct Ask<'a> {
    pub(in crate::credential::scheme) url: Option<&'a Address>,
    pub(in crate::credential::scheme) parameters: Vec<(&'a str, &'a str)>,
    pub(in crate::credential::scheme) more: &'a [(String, Template)],
}

impl TokenEndpoint {
    pub(in crate::credential::scheme) fn declare(
        auth: &Table<'_>,
        names: &Names<'_>,
    ) -> Option<Self> {
        let rename = auth.table("rename").map(|table| {
            let pairs = table.keys();
            let pairs = pairs.filter_map(|key| Some((key.to_owned(), table.text(key)?.to_owned())));
            pairs.collect()
        });
        let encoding = match auth.text("token_body") {
            None | Some("form") => Encoding::Form,
            Some("json") => Encoding::Json,
            Some("query") => Encoding::Query,
            Some(other) => {
                let expected = "`token_body`: expected `form`, `json` or `query`";
                auth.problem("token_body", format!("{expected}, got `{other}`"));
                return None;
            }
        };
        let token_headers = names.clone().moment().templates(auth, "token_headers").into_iter();
        let headers = token_headers.filter_map(|(name, value)| {
            let problem = |_| auth.problem("token_headers", format!("`{name}` is no header name"));
            Some((HeaderName::try_from(&name).map_err(problem).ok()?, value))
        });
        let reading = Reading::token(auth.table("answer").as_ref(), names.fields);
        let headers = headers.collect();
        let (client_auth, then) = (client_auth(auth), then(auth, names, &reading));
        Some(Self {
            url: names.required_address(auth, "token_url")?,
            client_auth: client_auth?,
            encoding,
            headers,
            rename: rename.unwrap_or_default(),
            reading,
            then,
        })
    }

    /// What the provider calls a parameter.
    pub(super) fn name<'n>(&'n self, name: &'n str) -> &'n str {
        let renamed = self.rename.iter().find(|(known, _)| known == name);
        renamed.map_or(name, |(_, other)| other)
    }

    /// The names of the facts that it finds out.
    pub(in crate::credential::scheme) fn captured(&self) -> impl Iterator<Item = &str> {
        let then = self.then.iter().flat_map(|follow| follow.reading.captured());
        self.reading.captured().chain(then)
    }

    /// The names of the secrets that it keeps.
    pub(in crate::credential::scheme) fn kept(&self) -> impl Iterator<Item = &str> {
        let then = self.then.iter().flat_map(|follow| follow.reading.kept());
        self.reading.kept().chain(then)
    }

    /// A request to the endpoint, with the client's proof.
    pub(in crate::credential::scheme) fn ask(
        &self,
        ask: &Ask<'_>,
        client: &Client,
        (exchange, known): (&Exchange<'_>, &Credential),
    ) -> Result<Outgoing> {
        let words = Words::of(&exchange.at);
        let others = &words.pairs();
        let values = Values { client: Some(client), others, ..Values::of(exchange, known) };
        let find = |name: &str| values.find(name);
        let url = ask.url.unwrap_or(&self.url).fill(&find)?;
        let more = ask.more.iter().map(|(name, value)| Ok((name, value.fill(&find)?)));
        let more = more.collect::<Result<Vec<_>>>()?;
        let mut form = ask
            .parameters
            .iter()
            .map(|(name, value)| (self.name(name), *value))
            .collect::<Vec<_>>();
        form.extend(more.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let secret = client.secret.as_ref().map(ExposeSecret::expose_secret);
        let mut basic = None;
        let jwt;
        match (&self.client_auth, secret) {
            (ClientAuth::Basic, Some(secret)) => basic = Some(secret),
            (ClientAuth::Body, Some(secret)) => {
                form.push((self.name("client_id"), &client.id));
                form.push((self.name("client_secret"), secret));
            }
            (ClientAuth::PrivateKey { algorithm, key_id }, Some(secret)) => {
                let key = Key::parse(*algorithm, secret)?;
                let whom = (client.id.as_str(), url.as_str());
                jwt = assertion((*algorithm, &key), key_id.as_deref(), whom, &exchange.at)?;
                form.push((self.name("client_id"), &client.id));
                let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
                form.push(("client_assertion_type", kind));
                form.push(("client_assertion", &jwt));
            }
            (ClientAuth::None, _) | (_, None) => form.push((self.name("client_id"), &client.id)),
        }
        let mut request = self.encoding.write(url, &form);
        let json = HeaderValue::from_static("application/json");
        request.headers.insert(header::ACCEPT, json);
        if let Some(secret) = basic {
            // Both parts are form-encoded first: RFC 6749 section 2.3.1.
            let encode = |text: &str| {
                url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>()
            };
            let value = basic_header(&encode(&client.id), &encode(secret))?;
            request.headers.insert(header::AUTHORIZATION, value);
        }
        for (name, value) in &self.headers {
            request.headers.insert(name, value.header(&find)?);
        }
        Ok(request)
    }

    /// What an answer means, and what follows it.
    pub(in crate::credential::scheme) fn read(
        &self,
        answer: &Answer,
        exchange: &Exchange<'_>,
        is_renewal: bool,
    ) -> Result<Step> {
        let Progress { step, credential: known } = &answer.after;
        let reading = match step.checked_sub(1) {
            None => Some(&self.reading),
            Some(at) => self.then.get(at).map(|follow| &follow.reading),
        };
        let reading = reading.ok_or_else(|| Error::internal("a step that there is not"))?;
        let credential = match reading.read(answer, exchange.at.now, known)? {
            Step::Done(credential) => credential,
            end @ (Step::Send(..) | Step::Reconnect(_)) => return Ok(end),
        };
        let next = self.then.iter().enumerate().skip(*step).find(|(_, follow)| {
            let is_known = |name: &str| exchange.fields.contains_key(name);
            let mut captured = follow.reading.captured().peekable();
            let is_answered = follow.reading.kept().next().is_none()
                && captured.peek().is_some()
                && captured.all(is_known);
            !(is_answered || (follow.is_once && is_renewal))
        });
        let Some((at, follow)) = next else { return Ok(Step::Done(credential)) };
        let words = Words::of(&exchange.at);
        let values = Values { others: &words.pairs(), ..Values::of(exchange, &credential) };
        let request = follow.request.fill(&|name| values.find(name))?;
        Ok(Step::Send(request, Progress { step: at + 1, credential }))
    }
}

fn client_auth(auth: &Table<'_>) -> Option<ClientAuth> {
    match auth.text("client_auth") {
        None | Some("basic") => Some(ClientAuth::Basic),
        Some("body") => Some(ClientAuth::Body),
        Some("none") => Some(ClientAuth::None),
        Some("private_key_jwt") => Some(ClientAuth::PrivateKey {
            algorithm: Algorithm::declare(auth, "client_algorithm")?,
            key_id: auth.text("client_key_id").map(str::to_owned),
        }),
        Some(other) => {
            let expected = "expected `basic`, `body`, `none` or `private_key_jwt`";
            auth.problem("client_auth", format!("`client_auth`: {expected}, got `{other}`"));
            None
        }
    }
}

/// Reads `[[auth.then]]`; each may name what those before it gave.
fn then(auth: &Table<'_>, names: &Names<'_>, reading: &Reading) -> Vec<Follow> {
    let mut names = names.clone().moment().credential(reading.kept());
    let mut all = Vec::new();
    for table in auth.tables("then") {
        let request = Request::declare(&table, &names);
        let reading = Reading::declare(&table, names.fields);
        let is_once = table.flag("once");
        table.end();
        names = names.credential(reading.kept());
        all.extend(request.map(|request| Follow { request, reading, is_once }));
    }
    all
}

/// The client that an exchange needs.
pub(super) fn client<'a>(exchange: &Exchange<'a>) -> Result<&'a Client> {
    exchange.client.ok_or_else(|| {
        let message = "no OAuth client is set up for this integration: \
                       give its client id and secret in the configuration, or add an app";
        Error::new(ErrorKind::Unavailable, message)
    })
}
