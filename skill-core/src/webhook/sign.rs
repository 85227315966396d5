//! Secrets and signatures, as Standard Webhooks 1.0.0 has them.
//!
//! A receiver checks `webhook-signature` over id, time and body. `X-Webhook-Signature` covers the
//! body alone, for receivers that know nothing else; it cannot show a replay.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::{
    error::{Error, Result},
    id::{self, DeliveryId},
};

/// What a secret begins with; base64 follows.
const PREFIX: &str = "whsec_";
/// How many bytes a secret holds when its maker brings it.
const SECRET: std::ops::RangeInclusive<usize> = 24..=64;
/// How many it holds otherwise.
const FRESH: usize = 32;

/// How many bytes a secret of plain text has.
const PLAIN: std::ops::RangeInclusive<usize> = 8..=256;

/// The bytes of a secret; `None` when it is none. What is not `whsec_` and base64 is taken as it
/// stands, where that was allowed.
fn bytes(secret: &SecretString) -> Option<Zeroizing<Vec<u8>>> {
    standard(secret).or_else(|| plain(secret))
}

fn plain(secret: &SecretString) -> Option<Zeroizing<Vec<u8>>> {
    let text = secret.expose_secret();
    let fits = PLAIN.contains(&text.len()) && !text.chars().any(char::is_control);
    fits.then(|| Zeroizing::new(text.as_bytes().to_vec()))
}

fn standard(secret: &SecretString) -> Option<Zeroizing<Vec<u8>>> {
    let encoded = secret.expose_secret().strip_prefix(PREFIX)?;
    let bytes = STANDARD.decode(encoded).ok().map(Zeroizing::new)?;
    Some(bytes).filter(|bytes| SECRET.contains(&bytes.len()))
}

/// Says what is wrong with a secret that somebody brings.
pub(super) fn check_secret(secret: &SecretString) -> Result<(), String> {
    let expected = || format!("expected {PREFIX} and the base64 of 24 to 64 bytes");
    standard(secret).map(drop).ok_or_else(expected)
}

/// Says what is wrong with a secret that may be any text.
pub(crate) fn check_text(secret: &SecretString) -> Result<(), String> {
    let expected = || {
        format!(
            "expected {PREFIX} and the base64 of 24 to 64 bytes, or any text of {} to {} bytes",
            PLAIN.start(),
            PLAIN.end()
        )
    };
    bytes(secret).map(drop).ok_or_else(expected)
}

/// Whether `signature` is the HMAC-SHA256 of the parts, in time that does not depend on where it
/// differs.
pub(crate) fn is_signed(secret: &SecretString, parts: &[&[u8]], signature: &[u8]) -> Result<bool> {
    let key = bytes(secret).ok_or_else(|| Error::internal("a secret cannot be used"))?;
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).map_err(Error::internal)?;
    parts.iter().for_each(|part| mac.update(part));
    Ok(mac.verify_slice(signature).is_ok())
}

/// Makes a secret.
pub(crate) fn fresh_secret() -> Result<SecretString> {
    let bytes = Zeroizing::new(id::random::<FRESH>()?);
    let encoded = Zeroizing::new(STANDARD.encode(*bytes));
    Ok(SecretString::from([PREFIX, encoded.as_str()].concat()))
}

/// The headers of a message that is sent at `seconds`, signed with each of `secrets`, the present
/// one first.
pub(super) fn headers(
    (id, seconds): (DeliveryId, i64),
    body: &[u8],
    secrets: &[SecretString],
) -> Result<HeaderMap> {
    let keys = secrets.iter().map(|secret| {
        bytes(secret).ok_or_else(|| Error::internal("a webhook's secret cannot be used"))
    });
    let keys = keys.collect::<Result<Vec<_>>>()?;
    let (id, seconds) = (id.to_string(), seconds.to_string());
    let head = format!("{id}.{seconds}.");
    let signed = keys.iter().map(|key| Ok(STANDARD.encode(mac(key, &[head.as_bytes(), body])?)));
    let signed = signed.collect::<Result<Vec<_>>>()?;
    let signatures = signed.iter().map(|one| format!("v1,{one}")).collect::<Vec<_>>().join(" ");
    let first = keys.first().ok_or_else(|| Error::internal("a webhook without a secret"))?;
    let plain = format!("sha256={}", HEXLOWER.encode(&mac(first, &[body])?));
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("content-type", "application/json"),
        ("user-agent", concat!("skill/", env!("CARGO_PKG_VERSION"))),
        ("webhook-id", &id),
        ("webhook-timestamp", &seconds),
        ("webhook-signature", &signatures),
        ("x-webhook-signature", &plain),
    ] {
        let value = HeaderValue::try_from(value).map_err(Error::internal)?;
        headers.insert(HeaderName::from_static(name), value);
    }
    Ok(headers)
}

fn mac(key: &[u8], parts: &[&[u8]]) -> Result<Vec<u8>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).map_err(Error::internal)?;
    parts.iter().for_each(|part| mac.update(part));
    Ok(mac.finalize().into_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example that the libraries of Standard Webhooks test themselves with.
    #[test]
    fn the_published_example_comes_out() {
        let key = bytes(&"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".into()).unwrap();
        let signed = ["msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.", r#"{"test": 2432232314}"#];
        let signed = mac(&key, &signed.map(str::as_bytes)).unwrap();
        assert_eq!(STANDARD.encode(signed), "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn every_secret_signs_and_the_present_one_comes_first() {
        let id = DeliveryId::fresh(jiff::Timestamp::UNIX_EPOCH).unwrap();
        let secrets = [fresh_secret().unwrap(), fresh_secret().unwrap()];
        let both = headers((id, 7), b"{}", &secrets).unwrap();
        let one = headers((id, 7), b"{}", &secrets[..1]).unwrap();
        let text = |headers: &HeaderMap| headers["webhook-signature"].to_str().unwrap().to_owned();
        assert_eq!(text(&both).split(' ').count(), 2);
        assert!(text(&both).starts_with(&text(&one)));
        assert_eq!(both["x-webhook-signature"], one["x-webhook-signature"]);
        assert_eq!(both["webhook-timestamp"], "7");
        assert!(headers((id, 7), b"{}", &[]).is_err());
    }
}
