//! Keys that sign: JWTs (RFC 7515, RFC 7519) and client assertions (RFC 7523).

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::{
    credential::Moment,
    declaration::Table,
    error::{Error, Result},
};

/// How long a client assertion is good, in seconds.
const ASSERTION: i64 = 300;

/// How a JWT is signed (RFC 7518 section 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    Hs256,
    Rs256,
    Es256,
}

impl Algorithm {
    /// Reads the algorithm under a key; RS256 when there is none.
    pub(super) fn declare(table: &Table<'_>, key: &str) -> Option<Self> {
        let known = match table.text(key) {
            Some("HS256") => return Some(Self::Hs256),
            None | Some("RS256") => Some(Self::Rs256),
            Some("ES256") => Some(Self::Es256),
            Some(_) => None,
        };
        if known.is_none() || !private::IS_HERE {
            let here = if private::IS_HERE { "`HS256`, `RS256` or `ES256`" } else { "`HS256`" };
            table.problem(key, format!("`{key}`: expected {here}"));
            return None;
        }
        known
    }

    fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
        }
    }
}

/// A key for one algorithm.
pub(super) enum Key {
    Shared(Box<Hmac<Sha256>>),
    Private(private::Private),
}

impl Key {
    /// Reads a private key in PEM, or a shared one as it is.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) when it is no such key. It is
    /// not repeated.
    pub(super) fn parse(algorithm: Algorithm, text: &str) -> Result<Self> {
        match algorithm {
            Algorithm::Hs256 => Self::shared(text.as_bytes()),
            Algorithm::Rs256 => private::Private::rsa(text).map(Self::Private),
            Algorithm::Es256 => private::Private::ec(text).map(Self::Private),
        }
    }

    pub(super) fn shared(bytes: &[u8]) -> Result<Self> {
        Hmac::new_from_slice(bytes).map(|key| Self::Shared(Box::new(key))).map_err(|_| unusable())
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>> {
        match self {
            Self::Shared(key) => {
                Ok(Hmac::clone(key).chain_update(message).finalize().into_bytes().to_vec())
            }
            Self::Private(key) => key.sign(message),
        }
    }

    /// A signed token in the compact form of RFC 7515 section 7.1.
    pub(super) fn jwt(&self, header: &Value, claims: &Value) -> Result<String> {
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", encode(header), encode(claims));
        let signature = URL_SAFE_NO_PAD.encode(self.sign(message.as_bytes())?);
        Ok(format!("{message}.{signature}"))
    }
}

/// What stands before the claims.
pub(super) fn jose(algorithm: Algorithm, key_id: Option<&str>) -> Value {
    let mut header = json!({"alg": algorithm.name(), "typ": "JWT"});
    if let Some(key_id) = key_id {
        header["kid"] = key_id.into();
    }
    header
}

/// The proof of a client at a token endpoint (RFC 7523 section 3).
pub(super) fn assertion(
    (algorithm, key): (Algorithm, &Key),
    key_id: Option<&str>,
    (client, endpoint): (&str, &str),
    at: &Moment,
) -> Result<String> {
    let now = at.now.as_second();
    let claims = json!({
        "iss": client, "sub": client, "aud": endpoint,
        "iat": now, "exp": now + ASSERTION,
        "jti": data_encoding::HEXLOWER.encode(&at.nonce),
    });
    key.jwt(&jose(algorithm, key_id), &claims)
}

fn unusable() -> Error {
    Error::invalid("the key of this connection or client cannot be used: expected one in PEM")
}

#[cfg(feature = "private-keys")]
mod private {
    use aws_lc_rs::{
        rand::SystemRandom,
        signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, RSA_PKCS1_SHA256, RsaKeyPair},
    };
    use base64::{Engine, engine::general_purpose::STANDARD};
    use zeroize::Zeroizing;

    use super::unusable;
    use crate::error::Result;

    /// Whether this build has private keys.
    pub(super) const IS_HERE: bool = true;

    pub(in super::super) enum Private {
        Rsa(RsaKeyPair),
        Ec(EcdsaKeyPair),
    }

    impl Private {
        pub(super) fn rsa(pem: &str) -> Result<Self> {
            let (kind, der) = der(pem)?;
            let key = match kind {
                "PRIVATE KEY" => RsaKeyPair::from_pkcs8(&der),
                "RSA PRIVATE KEY" => RsaKeyPair::from_der(&der),
                _ => return Err(unusable()),
            };
            key.map(Self::Rsa).map_err(|_| unusable())
        }

        pub(super) fn ec(pem: &str) -> Result<Self> {
            let (kind, der) = der(pem)?;
            let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
            let key = match kind {
                "PRIVATE KEY" => EcdsaKeyPair::from_pkcs8(algorithm, &der),
                "EC PRIVATE KEY" => EcdsaKeyPair::from_private_key_der(algorithm, &der),
                _ => return Err(unusable()),
            };
            key.map(Self::Ec).map_err(|_| unusable())
        }

        pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>> {
            let random = SystemRandom::new();
            match self {
                Self::Rsa(key) => {
                    let mut signature = vec![0; key.public_modulus_len()];
                    key.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)
                        .map_err(|_| unusable())?;
                    Ok(signature)
                }
                Self::Ec(key) => {
                    let signature = key.sign(&random, message).map_err(|_| unusable())?;
                    Ok(signature.as_ref().to_vec())
                }
            }
        }
    }

    /// The first key of a PEM text (RFC 7468), and what kind it says it is.
    fn der(pem: &str) -> Result<(&str, Zeroizing<Vec<u8>>)> {
        // Keys that come out of JSON files often have their line breaks written out.
        let (_, rest) = pem.split_once("-----BEGIN ").ok_or_else(unusable)?;
        let (kind, rest) = rest.split_once("-----").ok_or_else(unusable)?;
        let (body, _) = rest.split_once("-----END ").ok_or_else(unusable)?;
        let body = Zeroizing::new(body.replace("\\n", "").split_whitespace().collect::<String>());
        let der = STANDARD.decode(body.as_bytes()).map_err(|_| unusable())?;
        Ok((kind, Zeroizing::new(der)))
    }
}

#[cfg(not(feature = "private-keys"))]
mod private {
    use crate::error::{Error, Result};

    /// Whether this build has private keys.
    pub(super) const IS_HERE: bool = false;

    /// There is none.
    pub(in super::super) enum Private {}

    impl Private {
        pub(super) fn rsa(_: &str) -> Result<Self> {
            Err(Error::internal("this build signs with no private key"))
        }

        pub(super) fn ec(_: &str) -> Result<Self> {
            Err(Error::internal("this build signs with no private key"))
        }

        pub(super) fn sign(&self, _: &[u8]) -> Result<Vec<u8>> {
            match *self {}
        }
    }
}

#[cfg(test)]
mod tests;
