//! OAuth 1.0 (RFC 5849): requests signed with the secrets of a client and of a token. Somebody has
//! the token already, or a person is asked for it (section 2): a ticket is fetched, the person says
//! yes to it at the service, and it is exchanged for the token.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use http::{Method, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret, SecretString};
use sha1::Sha1;
use sha2::Sha256;
use url::{Url, form_urlencoded};
use zeroize::Zeroizing;

use super::{
    names::{Names, Values},
    names_of, secret_header,
};
use crate::{
    credential::{
        Answer, AuthScheme, Client, Credential, Exchange, Field, Moment, Progress, Purpose, Step,
    },
    declaration::Table,
    error::{Error, ErrorKind, Result},
    template::{Address, Template},
    transport::{Outgoing, Payload},
};

/// What stays as it is in a signed text: RFC 5849 section 3.6.
const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// What a person brings back besides the ticket.
const VERIFIER: &str = "oauth_verifier";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hash {
    Sha1,
    Sha256,
}

/// Signs requests with the secrets of a client and of a token.
#[derive(Debug, Clone)]
pub struct OAuth1 {
    hash: Hash,
    realm: Option<Template>,
    asking: Option<Asking>,
    fields: [Field; 4],
}

/// Where a person is asked for a token: RFC 5849 section 2.
#[derive(Debug, Clone)]
struct Asking {
    /// Gives a ticket.
    request: Address,
    /// Where the person says yes to it.
    authorize: Address,
    /// Exchanges it for a token.
    access: Address,
    /// What else goes to where the person says yes.
    parameters: Vec<(String, Template)>,
}

/// What signs one request.
struct Keys<'a> {
    consumer: (&'a str, &'a str),
    /// A token, or a ticket, and its secret.
    token: Option<(&'a str, &'a str)>,
}

pub(super) fn declare(auth: &Table<'_>, fields: &[Field]) -> Option<Arc<dyn AuthScheme>> {
    let own = [
        Field::plain("consumer_key", "Consumer key"),
        Field::secret("consumer_secret", "Consumer secret"),
        Field::plain("token", "Token"),
        Field::secret("token_secret", "Token secret"),
    ];
    let hash = match auth.text("hash") {
        None | Some("sha1") => Hash::Sha1,
        Some("sha256") => Hash::Sha256,
        Some(other) => {
            auth.problem("hash", format!("`hash`: expected `sha1` or `sha256`, got `{other}`"));
            return None;
        }
    };
    let names = Names::new(fields, &[]).credential(names_of(&own));
    let realm = names.template(auth, "realm");
    let asking = match auth.has("authorize_url") {
        true => Some(asking(auth, fields)?),
        false => None,
    };
    Some(Arc::new(OAuth1 { hash, realm, asking, fields: own }))
}

fn asking(auth: &Table<'_>, fields: &[Field]) -> Option<Asking> {
    let names = Names::new(fields, &["client.id"]);
    let parameters = names.templates(auth, "authorize_parameters");
    let request = names.required_address(auth, "request_url");
    let authorize = names.required_address(auth, "authorize_url");
    let access = names.required_address(auth, "token_url");
    Some(Asking { request: request?, authorize: authorize?, access: access?, parameters })
}

fn encode(text: &str) -> String {
    utf8_percent_encode(text, KEPT).to_string()
}

/// The text that is signed: RFC 5849 section 3.4.1.
fn base(request: &Outgoing, protocol: &[(String, String)]) -> String {
    let mut pairs = protocol.to_vec();
    pairs.extend(request.url.query_pairs().map(|(k, v)| (k.into_owned(), v.into_owned())));
    let kind = request.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if let (Payload::Bytes(body), Some("application/x-www-form-urlencoded")) = (&request.body, kind)
    {
        pairs.extend(form_urlencoded::parse(body).map(|(k, v)| (k.into_owned(), v.into_owned())));
    }
    let mut pairs =
        pairs.iter().map(|(name, value)| (encode(name), encode(value))).collect::<Vec<_>>();
    pairs.sort();
    let pairs = pairs.iter().map(|(name, value)| format!("{name}={value}"));
    let place = &request.url[..url::Position::AfterPath];
    format!("{}&{}&{}", request.method, encode(place), encode(&pairs.collect::<Vec<_>>().join("&")))
}

/// The proof that the sender knows these secrets: RFC 5849 section 3.4.2.
fn proof(hash: Hash, base: &str, (consumer_secret, token_secret): (&str, &str)) -> Result<String> {
    let key = Zeroizing::new(format!("{}&{}", encode(consumer_secret), encode(token_secret)));
    let refused = |_| Error::invalid("the secrets of this connection cannot be used");
    Ok(match hash {
        Hash::Sha1 => {
            let mac = Hmac::<Sha1>::new_from_slice(key.as_bytes()).map_err(refused)?;
            STANDARD.encode(mac.chain_update(base).finalize().into_bytes())
        }
        Hash::Sha256 => {
            let mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).map_err(refused)?;
            STANDARD.encode(mac.chain_update(base).finalize().into_bytes())
        }
    })
}

impl OAuth1 {
    /// Signs a request; `further` are parameters of the protocol that only some requests have.
    fn put(
        &self,
        request: &mut Outgoing,
        keys: &Keys<'_>,
        (at, realm, further): (&Moment, Option<&str>, &[(&str, &str)]),
    ) -> Result<()> {
        let timestamp = at.now.as_second().to_string();
        let nonce = data_encoding::HEXLOWER.encode(&at.nonce);
        let method = match self.hash {
            Hash::Sha1 => "HMAC-SHA1",
            Hash::Sha256 => "HMAC-SHA256",
        };
        let token = keys.token.map(|(token, _)| ("oauth_token", token));
        let mut protocol = [("oauth_consumer_key", keys.consumer.0)]
            .into_iter()
            .chain(token)
            .chain([
                ("oauth_signature_method", method),
                ("oauth_timestamp", timestamp.as_str()),
                ("oauth_nonce", nonce.as_str()),
                ("oauth_version", "1.0"),
            ])
            .chain(further.iter().copied())
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect::<Vec<_>>();
        let base = Zeroizing::new(base(request, &protocol));
        let secret = keys.token.map_or("", |(_, secret)| secret);
        let code = proof(self.hash, &base, (keys.consumer.1, secret))?;
        protocol.push(("oauth_signature".to_owned(), code));
        if let Some(realm) = realm {
            protocol.insert(0, ("realm".to_owned(), realm.to_owned()));
        }
        let parts = protocol.iter().map(|(name, value)| format!("{name}=\"{}\"", encode(value)));
        let header = Zeroizing::new(format!("OAuth {}", parts.collect::<Vec<_>>().join(", ")));
        request.headers.insert(header::AUTHORIZATION, secret_header(&header)?);
        Ok(())
    }

    /// The first request of an exchange, where there is one.
    fn first(&self, asking: &Asking, exchange: &Exchange<'_>) -> Result<Option<Outgoing>> {
        let known = Credential::default();
        let values = Values::of(exchange, &known);
        let find = |name: &str| values.find(name);
        let consumer = consumer(client(exchange)?)?;
        match exchange.purpose {
            Purpose::Authorize { state, .. } => {
                let mut back = Url::parse(exchange.redirect_url).map_err(Error::internal)?;
                back.query_pairs_mut().append_pair("state", state);
                let mut request = Outgoing::new(Method::POST, asking.request.fill(&find)?);
                let further = [("oauth_callback", back.as_str())];
                let keys = Keys { consumer, token: None };
                self.put(&mut request, &keys, (&exchange.at, None, &further))?;
                Ok(Some(request))
            }
            Purpose::Code { code, verifier, returned } => {
                let (ticket, secret) = pair(verifier)
                    .ok_or_else(|| Error::internal("a kept ticket cannot be read"))?;
                if returned.get("oauth_token") != Some(&ticket) {
                    return Err(Error::invalid("the service answers for another sign-in"));
                }
                let mut request = Outgoing::new(Method::POST, asking.access.fill(&find)?);
                let keys = Keys { consumer, token: Some((&ticket, secret.expose_secret())) };
                self.put(&mut request, &keys, (&exchange.at, None, &[(VERIFIER, code)]))?;
                Ok(Some(request))
            }
            Purpose::Renew(_) | Purpose::Revoke(_) => Ok(None),
        }
    }
}

fn client<'a>(exchange: &Exchange<'a>) -> Result<&'a Client> {
    exchange.client.ok_or_else(|| {
        let message = "the operator has set up no OAuth client for this integration";
        Error::new(ErrorKind::Unavailable, message)
    })
}

fn consumer(client: &Client) -> Result<(&str, &str)> {
    let secret = client.secret.as_ref().ok_or_else(|| {
        let message = "the OAuth client of this integration needs a secret";
        Error::new(ErrorKind::Unavailable, message)
    })?;
    Ok((&client.id, secret.expose_secret()))
}

/// A token and its secret, as the form of an answer has them.
fn pair(form: &str) -> Option<(String, SecretString)> {
    let find = |wanted: &str| {
        let mut pairs = form_urlencoded::parse(form.as_bytes());
        let found = pairs.find(|(name, _)| name == wanted).map(|(_, value)| value.into_owned());
        found.filter(|value| !value.is_empty())
    };
    Some((find("oauth_token")?, find("oauth_token_secret")?.into()))
}

/// What came for a ticket or a token.
fn read(answer: &Answer, exchange: &Exchange<'_>) -> Result<Credential> {
    let refused = || {
        let message =
            "the service refuses the sign-in: check the OAuth client and its redirect URL";
        Error::new(ErrorKind::UpstreamUnreachable, message)
    };
    let text = std::str::from_utf8(&answer.body).ok().filter(|_| answer.status.is_success());
    let text = text.ok_or_else(refused)?;
    let (token, secret) = pair(text).ok_or_else(refused)?;
    if matches!(exchange.purpose, Purpose::Authorize { .. }) {
        // A service that knows no callbacks would show the person a number to copy.
        let mut pairs = form_urlencoded::parse(text.as_bytes());
        if !pairs.any(|(name, value)| name == "oauth_callback_confirmed" && value == "true") {
            return Err(refused());
        }
        let mut kept = form_urlencoded::Serializer::new(String::new());
        kept.append_pair("oauth_token", &token);
        kept.append_pair("oauth_token_secret", secret.expose_secret());
        return Ok(Credential::new([("ticket", kept.finish().into())]));
    }
    let (key, consumer_secret) = consumer(client(exchange)?)?;
    Ok(Credential::new([
        ("consumer_key", key.into()),
        ("consumer_secret", consumer_secret.into()),
        ("token", token.into()),
        ("token_secret", secret),
    ]))
}

impl AuthScheme for OAuth1 {
    fn kind(&self) -> &'static str {
        "oauth1"
    }

    fn asks_a_person(&self) -> bool {
        self.asking.is_some()
    }

    fn fetches_a_ticket(&self) -> bool {
        self.asking.is_some()
    }

    fn code_name(&self) -> &'static str {
        VERIFIER
    }

    fn fields(&self) -> &[Field] {
        &self.fields
    }

    fn sign(&self, request: &mut Outgoing, credential: &Credential, at: &Moment) -> Result<()> {
        let secret = |name| credential.secret(name);
        let keys = Keys {
            consumer: (secret("consumer_key")?, secret("consumer_secret")?),
            token: Some((secret("token")?, secret("token_secret")?)),
        };
        let values = Values { fields: None, client: None, credential, others: &[] };
        let realm = self.realm.as_ref().map(|realm| realm.fill(&|name| values.find(name)));
        let realm = realm.transpose()?;
        self.put(request, &keys, (at, realm.as_deref().map(String::as_str), &[]))
    }

    fn authorize(&self, exchange: &Exchange<'_>) -> Result<Option<Url>> {
        let (Some(asking), Purpose::Authorize { challenge, .. }) = (&self.asking, exchange.purpose)
        else {
            return Ok(None);
        };
        let (ticket, _) =
            pair(challenge).ok_or_else(|| Error::internal("a ticket cannot be read"))?;
        let known = Credential::default();
        let values = Values::of(exchange, &known);
        let find = |name: &str| values.find(name);
        let mut url = asking.authorize.fill(&find)?;
        url.query_pairs_mut().append_pair("oauth_token", &ticket);
        for (name, value) in &asking.parameters {
            url.query_pairs_mut().append_pair(name, &value.fill(&find)?);
        }
        Ok(Some(url))
    }

    fn next(&self, exchange: &Exchange<'_>, last: Option<&Answer>) -> Result<Step> {
        let never = Step::Reconnect("access by OAuth 1.0 is not renewed: a person connects anew");
        let Some(asking) = &self.asking else { return Ok(never) };
        if let Some(answer) = last {
            return read(answer, exchange).map(Step::Done);
        }
        let first = self.first(asking, exchange)?;
        Ok(first.map_or(never, |request| Step::Send(request, Progress::default())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 5849 section 1.2: a printing service asks for a photo. It sends no
    /// `oauth_version`, which section 3.1 leaves open; ours is taken out of the signed text here.
    #[test]
    fn the_example_of_rfc_5849_comes_out() {
        let url = "http://photos.example.net/photos?file=vacation.jpg&size=original";
        let request = Outgoing::get(url.parse().unwrap());
        let protocol = [
            ("oauth_consumer_key", "dpf43f3p2l4k3l03"),
            ("oauth_token", "nnch734d00sl2jdk"),
            ("oauth_signature_method", "HMAC-SHA1"),
            ("oauth_timestamp", "137131202"),
            ("oauth_nonce", "chapoH"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let secrets = ("kd94hf93k423kf44", "pfkkdhi9sl3r4s00");
        let code = proof(Hash::Sha1, &base(&request, &protocol), secrets).unwrap();
        assert_eq!(encode(&code), "MdpQcU8iPSUjWoN%2FUDMsK2sui9I%3D");
    }

    /// The exchange of the same section: the ticket for a token.
    #[test]
    fn the_exchange_of_rfc_5849_comes_out() {
        let mut request = Outgoing::get("https://photos.example.net/token".parse().unwrap());
        request.method = Method::POST;
        let protocol = [
            ("oauth_consumer_key", "dpf43f3p2l4k3l03"),
            ("oauth_token", "hh5s93j4hdidpola"),
            ("oauth_signature_method", "HMAC-SHA1"),
            ("oauth_timestamp", "137131201"),
            ("oauth_nonce", "walatlh"),
            ("oauth_verifier", "hfdp7dh39dks9884"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let secrets = ("kd94hf93k423kf44", "hdhd0244k9j7ao03");
        let code = proof(Hash::Sha1, &base(&request, &protocol), secrets).unwrap();
        assert_eq!(encode(&code), "gKgrFCywp7rO0OXSjdot%2FIHF7IU%3D");
    }

    /// The signature base string of RFC 5849 section 3.4.1.1, with a body and odd names.
    #[test]
    fn the_base_string_of_rfc_5849_comes_out() {
        let url = "http://EXAMPLE.COM:80/request?b5=%3D%253D&a3=a&c%40=&a2=r%20b";
        let mut request = Outgoing::form(url.parse().unwrap(), [("c2", ""), ("a3", "2 q")]);
        request.method = Method::POST;
        let protocol = [
            ("oauth_consumer_key", "9djdj82h48djs9d2"),
            ("oauth_token", "kkk9d7dh3k39sjv7"),
            ("oauth_signature_method", "HMAC-SHA1"),
            ("oauth_timestamp", "137131201"),
            ("oauth_nonce", "7d8f3e4a"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(
            base(&request, &protocol),
            "POST&http%3A%2F%2Fexample.com%2Frequest&a2%3Dr%2520b%26a3%3D2%2520q\
             %26a3%3Da%26b5%3D%253D%25253D%26c%2540%3D%26c2%3D%26oauth_consumer_\
             key%3D9djdj82h48djs9d2%26oauth_nonce%3D7d8f3e4a%26oauth_signature_m\
             ethod%3DHMAC-SHA1%26oauth_timestamp%3D137131201%26oauth_token%3Dkkk\
             9d7dh3k39sjv7"
        );
    }

    #[test]
    fn a_request_carries_the_proof_in_one_header() {
        let scheme = OAuth1 {
            hash: Hash::Sha256,
            asking: None,
            realm: Some(Template::parse("{credential.consumer_key}").unwrap()),
            fields: [const { None::<Field> }; 4].map(|_| Field::secret("x", "X")),
        };
        let names = ["consumer_key", "consumer_secret", "token", "token_secret"];
        let credential = Credential::new(names.map(|name| (name, "s e".into())));
        let mut request = Outgoing::get("https://a.test/x".parse().unwrap());
        let at = Moment { now: jiff::Timestamp::UNIX_EPOCH, nonce: [7; 16] };
        scheme.sign(&mut request, &credential, &at).unwrap();
        let header = &request.headers[header::AUTHORIZATION];
        assert!(header.is_sensitive());
        let text = header.to_str().unwrap();
        assert!(text.starts_with("OAuth realm=\"s%20e\", oauth_consumer_key=\"s%20e\""), "{text}");
    }
}
