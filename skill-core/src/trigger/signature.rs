//! Signatures of requests that come in, in the two forms in which messages go out.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use data_encoding::HEXLOWER_PERMISSIVE;
use http::HeaderMap;
use jiff::Timestamp;
use secrecy::SecretString;

use crate::{error::Result, webhook::is_signed};

/// How far the time of a message may be from ours, in seconds.
const TOLERANCE: i64 = 300;
/// The most signatures that are looked at.
const MOST: usize = 10;

/// Whether a request is signed with `secret`. One that names a time goes by that signature alone.
pub(super) fn is_good(
    secret: &SecretString,
    (headers, body): (&HeaderMap, &[u8]),
    now: Timestamp,
) -> Result<bool> {
    let one = |name: &str| {
        let mut values = headers.get_all(name).iter();
        let first = values.next()?.to_str().ok()?;
        values.next().is_none().then_some(first)
    };
    if !headers.contains_key("webhook-signature") {
        let given = one("x-webhook-signature").and_then(|text| text.strip_prefix("sha256="));
        let given = given.and_then(|hex| HEXLOWER_PERMISSIVE.decode(hex.as_bytes()).ok());
        return given.map_or(Ok(false), |given| is_signed(secret, &[body], &given));
    }
    let said = (one("webhook-id"), one("webhook-timestamp"), one("webhook-signature"));
    let (Some(id), Some(time), Some(signatures)) = said else { return Ok(false) };
    let is_digits = time.bytes().all(|byte| byte.is_ascii_digit());
    let at = time.parse::<i64>().ok().filter(|_| is_digits);
    if at.is_none_or(|at| now.as_second().abs_diff(at) > TOLERANCE.unsigned_abs()) {
        return Ok(false);
    }
    let head = format!("{id}.{time}.");
    for given in signatures.split(' ').take(MOST).filter_map(|text| text.strip_prefix("v1,")) {
        let Ok(given) = STANDARD.decode(given) else { continue };
        if is_signed(secret, &[head.as_bytes(), body], &given)? {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = br#"{"test": 2432232314}"#;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    /// The example that the libraries of Standard Webhooks test themselves with.
    #[test]
    fn the_published_example_is_good_for_five_minutes() {
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".into();
        let good = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        let with = |signature: &str| {
            headers(&[
                ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
                ("webhook-timestamp", "1614265330"),
                ("webhook-signature", signature),
            ])
        };
        let is = |headers: &HeaderMap, body, second| {
            is_good(&secret, (headers, body), at(second)).unwrap()
        };
        for second in [1_614_265_330, 1_614_265_030, 1_614_265_630] {
            assert!(is(&with(good), BODY, second));
            assert!(is(&with(&format!("v1a,x v1,AAAA {good}")), BODY, second));
        }
        for second in [1_614_265_029, 1_614_265_631] {
            assert!(!is(&with(good), BODY, second));
        }
        for wrong in ["", "v1,", "v1", "v2,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", "v1,AAAA"]
        {
            assert!(!is(&with(wrong), BODY, 1_614_265_330), "{wrong}");
        }
        assert!(!is(&with(good), b"{}", 1_614_265_330));
        let mut twice = with(good);
        twice.append("webhook-id", "msg_2".parse().unwrap());
        assert!(!is(&twice, BODY, 1_614_265_330));
        // A bad one is not made good by the other form.
        let mut both = with("v1,AAAA");
        both.append("x-webhook-signature", plain().parse().unwrap());
        assert!(!is(&both, BODY, 1_614_265_330));
    }

    /// The body alone, signed with the secret of the example.
    fn plain() -> &'static str {
        "sha256=e2cb4f5251572539d458bfb8a7adb533b08801e6a794467e06f771debbb0818b"
    }

    /// The example that GitHub publishes for its own header of this form.
    #[test]
    fn the_signature_of_the_body_alone_goes_by_any_text() {
        let secret = "It's a Secret to Everybody".into();
        let is = |signature: &str| {
            let headers = headers(&[("x-webhook-signature", signature)]);
            is_good(&secret, (&headers, b"Hello, World!"), at(0)).unwrap()
        };
        let good = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        assert!(is(good) && is(&good.to_uppercase().replace("SHA256", "sha256")));
        for wrong in ["", "sha256=", "sha1=00", "sha256=zz", plain()] {
            assert!(!is(wrong), "{wrong}");
        }
        assert!(!is_good(&secret, (&HeaderMap::new(), b""), at(0)).unwrap());
    }
}
