//! Requests that are signed with a shared key (HMAC, RFC 2104).

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};
use zeroize::Zeroizing;

use super::{
    credential_fields,
    names::{Names, Values},
    names_of,
    placement::Placement,
};
use crate::{
    credential::{AuthScheme, Credential, Field, Moment},
    declaration::Table,
    error::{Error, Result},
    template::Template,
    transport::{Outgoing, Payload},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hash {
    Sha1,
    Sha256,
    Sha512,
}

/// How bytes are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Written {
    Text,
    Hex,
    Base64,
}

/// Signs each request with a shared key.
#[derive(Debug, Clone)]
pub struct Signature {
    message: Template,
    hash: Hash,
    key: Template,
    key_written: Written,
    written: Written,
    placement: Placement,
    fields: Vec<Field>,
}

/// What the signed text may name of a request, and of the moment.
const REQUEST: [&str; 10] = [
    "request.method",
    "request.host",
    "request.path",
    "request.query",
    "request.target",
    "request.body",
    "request.body_sha256",
    "moment.seconds",
    "moment.milliseconds",
    "moment.time",
];
const NONCE: &str = "moment.nonce";

pub(super) fn declare(auth: &Table<'_>, _fields: &[Field]) -> Option<Arc<dyn AuthScheme>> {
    let standard = [Field::plain("key_id", "Key id"), Field::secret("secret", "Secret")];
    let own = credential_fields(auth, standard);
    let mut all = REQUEST.to_vec();
    all.push(NONCE);
    let names = Names::new(&[], &all).credential(names_of(&own));
    if !auth.has("message") {
        auth.problem("message", "expected `message`: the text that is signed");
    }
    let hash = match auth.text("hash") {
        None | Some("sha256") => Hash::Sha256,
        Some("sha1") => Hash::Sha1,
        Some("sha512") => Hash::Sha512,
        Some(other) => {
            let expected = "`hash`: expected `sha1`, `sha256` or `sha512`";
            auth.problem("hash", format!("{expected}, got `{other}`"));
            return None;
        }
    };
    let key = match auth.has("key") {
        true => names.template(auth, "key"),
        false => own.last().map(|field| Template::value(&format!("credential.{}", field.name))),
    };
    all.push("signature");
    let names = Names::new(&[], &all).credential(names_of(&own));
    if !auth.has("headers") && !auth.has("query") {
        auth.problem("headers", "expected `headers` or `query`: where `{signature}` stands");
    }
    Some(Arc::new(Signature {
        message: Names::new(&[], &all[..all.len() - 1])
            .credential(names_of(&own))
            .template(auth, "message")?,
        hash,
        key: key?,
        key_written: written(auth, "key_encoding", Written::Text)?,
        written: written(auth, "encoding", Written::Hex)?,
        placement: Placement::declare(auth, &names, ""),
        fields: own,
    }))
}

fn written(auth: &Table<'_>, key: &str, standard: Written) -> Option<Written> {
    match auth.text(key) {
        None => Some(standard),
        Some("text") if standard == Written::Text => Some(Written::Text),
        Some("hex") => Some(Written::Hex),
        Some("base64") => Some(Written::Base64),
        Some(other) => {
            auth.problem(key, format!("`{key}`: expected `hex` or `base64`, got `{other}`"));
            None
        }
    }
}

impl Signature {
    fn code(&self, key: &[u8], message: &[u8]) -> Result<Vec<u8>> {
        let refused = |_| Error::invalid("the key of this connection cannot be used");
        Ok(match self.hash {
            Hash::Sha1 => {
                let mac = Hmac::<Sha1>::new_from_slice(key).map_err(refused)?;
                mac.chain_update(message).finalize().into_bytes().to_vec()
            }
            Hash::Sha256 => {
                let mac = Hmac::<Sha256>::new_from_slice(key).map_err(refused)?;
                mac.chain_update(message).finalize().into_bytes().to_vec()
            }
            Hash::Sha512 => {
                let mac = Hmac::<Sha512>::new_from_slice(key).map_err(refused)?;
                mac.chain_update(message).finalize().into_bytes().to_vec()
            }
        })
    }

    fn key(&self, text: &str) -> Result<Zeroizing<Vec<u8>>> {
        let bytes = match self.key_written {
            Written::Text => Some(text.as_bytes().to_vec()),
            Written::Hex => data_encoding::HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok(),
            Written::Base64 => STANDARD.decode(text).ok(),
        };
        let refused = || Error::invalid("the key of this connection cannot be used: reconnect it");
        bytes.map(Zeroizing::new).ok_or_else(refused)
    }
}

impl AuthScheme for Signature {
    fn kind(&self) -> &'static str {
        "signature"
    }

    fn fields(&self) -> &[Field] {
        &self.fields
    }

    fn sign(&self, request: &mut Outgoing, credential: &Credential, at: &Moment) -> Result<()> {
        let body = match &request.body {
            Payload::Empty => &[][..],
            Payload::Bytes(bytes) => bytes,
            Payload::Stream(_) => {
                return Err(Error::invalid("this service takes no streamed body"));
            }
        };
        let unfit = |_| Error::invalid("this service takes no body that is not text");
        let body = std::str::from_utf8(body).map_err(unfit)?.to_owned();
        let digest = data_encoding::HEXLOWER.encode(&Sha256::digest(body.as_bytes()));
        let url = request.url.clone();
        let (seconds, nonce) =
            (at.now.as_second().to_string(), data_encoding::HEXLOWER.encode(&at.nonce));
        let milliseconds = at.now.as_millisecond().to_string();
        let whole = jiff::Timestamp::from_second(at.now.as_second()).unwrap_or(at.now).to_string();
        let host = &url[url::Position::BeforeHost..url::Position::AfterPort];
        let target = &url[url::Position::BeforePath..url::Position::AfterQuery];
        let method = request.method.to_string();
        let known = [
            method.as_str(),
            host,
            url.path(),
            url.query().unwrap_or_default(),
            target,
            &body,
            &digest,
            &seconds,
            &milliseconds,
            &whole,
        ];
        let mut others = REQUEST.into_iter().zip(known).collect::<Vec<_>>();
        others.push((NONCE, &nonce));
        let values = Values { fields: None, client: None, credential, others: &others };
        let find = |name: &str| values.find(name);
        let code =
            self.code(&self.key(&self.key.fill(&find)?)?, self.message.fill(&find)?.as_bytes())?;
        let signature = match self.written {
            Written::Hex | Written::Text => data_encoding::HEXLOWER.encode(&code),
            Written::Base64 => STANDARD.encode(&code),
        };
        others.push(("signature", &signature));
        let values = Values { fields: None, client: None, credential, others: &others };
        self.placement.sign(request, &values)
    }
}

#[cfg(test)]
mod tests;
