//! OAuth 1.0 (RFC 5849): requests signed with the secrets of a client and of a token that somebody
//! has already, as token-based access has them.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use http::header;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha1::Sha1;
use sha2::Sha256;
use url::form_urlencoded;
use zeroize::Zeroizing;

use super::{
    names::{Names, Values},
    names_of, secret_header,
};
use crate::{
    credential::{AuthScheme, Credential, Field, Moment},
    declaration::Table,
    error::{Error, Result},
    template::Template,
    transport::{Outgoing, Payload},
};

/// What stays as it is in a signed text: RFC 5849 section 3.6.
const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    Sha1,
    Sha256,
}

/// Signs requests with the secrets of a client and of a token.
#[derive(Debug, Clone)]
pub struct OAuth1 {
    method: Method,
    realm: Option<Template>,
    fields: [Field; 4],
}

pub(super) fn declare(auth: &Table<'_>, fields: &[Field]) -> Option<Arc<dyn AuthScheme>> {
    let own = [
        Field::plain("consumer_key", "Consumer key"),
        Field::secret("consumer_secret", "Consumer secret"),
        Field::plain("token", "Token"),
        Field::secret("token_secret", "Token secret"),
    ];
    let method = match auth.text("hash") {
        None | Some("sha1") => Method::Sha1,
        Some("sha256") => Method::Sha256,
        Some(other) => {
            auth.problem("hash", format!("`hash`: expected `sha1` or `sha256`, got `{other}`"));
            return None;
        }
    };
    let names = Names::new(fields, &[]).credential(names_of(&own));
    Some(Arc::new(OAuth1 { method, realm: names.template(auth, "realm"), fields: own }))
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

impl OAuth1 {
    fn header(
        &self,
        request: &Outgoing,
        credential: &Credential,
        (timestamp, nonce): (&str, &str),
    ) -> Result<Zeroizing<String>> {
        let method = match self.method {
            Method::Sha1 => "HMAC-SHA1",
            Method::Sha256 => "HMAC-SHA256",
        };
        let mut protocol = [
            ("oauth_consumer_key", credential.secret("consumer_key")?),
            ("oauth_token", credential.secret("token")?),
            ("oauth_signature_method", method),
            ("oauth_timestamp", timestamp),
            ("oauth_nonce", nonce),
            ("oauth_version", "1.0"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec();
        let base = base(request, &protocol);
        let key = Zeroizing::new(format!(
            "{}&{}",
            encode(credential.secret("consumer_secret")?),
            encode(credential.secret("token_secret")?)
        ));
        let refused = |_| Error::invalid("the secrets of this connection cannot be used");
        let code = match self.method {
            Method::Sha1 => {
                let mac = Hmac::<Sha1>::new_from_slice(key.as_bytes()).map_err(refused)?;
                STANDARD.encode(mac.chain_update(base).finalize().into_bytes())
            }
            Method::Sha256 => {
                let mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).map_err(refused)?;
                STANDARD.encode(mac.chain_update(base).finalize().into_bytes())
            }
        };
        protocol.push(("oauth_signature".to_owned(), code));
        if let Some(realm) = &self.realm {
            let values = Values { fields: None, client: None, credential, others: &[] };
            let realm = realm.fill(&|name| values.find(name))?;
            protocol.insert(0, ("realm".to_owned(), realm.to_string()));
        }
        let parts = protocol.iter().map(|(name, value)| format!("{name}=\"{}\"", encode(value)));
        Ok(Zeroizing::new(format!("OAuth {}", parts.collect::<Vec<_>>().join(", "))))
    }
}

impl AuthScheme for OAuth1 {
    fn kind(&self) -> &'static str {
        "oauth1"
    }

    fn fields(&self) -> &[Field] {
        &self.fields
    }

    fn sign(&self, request: &mut Outgoing, credential: &Credential, at: &Moment) -> Result<()> {
        let timestamp = at.now.as_second().to_string();
        let nonce = data_encoding::HEXLOWER.encode(&at.nonce);
        let header = self.header(request, credential, (&timestamp, &nonce))?;
        request.headers.insert(header::AUTHORIZATION, secret_header(&header)?);
        Ok(())
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
        let text = base(&request, &protocol);
        let mac = Hmac::<Sha1>::new_from_slice(b"kd94hf93k423kf44&pfkkdhi9sl3r4s00").unwrap();
        let code = STANDARD.encode(mac.chain_update(text).finalize().into_bytes());
        assert_eq!(encode(&code), "MdpQcU8iPSUjWoN%2FUDMsK2sui9I%3D");
    }

    /// The signature base string of RFC 5849 section 3.4.1.1, with a body and odd names.
    #[test]
    fn the_base_string_of_rfc_5849_comes_out() {
        let url = "http://EXAMPLE.COM:80/request?b5=%3D%253D&a3=a&c%40=&a2=r%20b";
        let mut request = Outgoing::form(url.parse().unwrap(), [("c2", ""), ("a3", "2 q")]);
        request.method = http::Method::POST;
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
            method: Method::Sha256,
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
