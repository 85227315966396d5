//! The key that a request presents: one, in one of two headers. Never a cookie, never the query.

use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderName, header};
use secrecy::{ExposeSecret, SecretString};
use skill_core::record::key::PlainKey;
use subtle::ConstantTimeEq;

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const ADMIN: HeaderName = HeaderName::from_static("x-admin-secret");

/// The headers do not agree on one key.
#[derive(Debug)]
pub(crate) struct Unclear;

/// The presented key; `None` when there is none.
pub(crate) fn presented(headers: &HeaderMap) -> Result<Option<&str>, Unclear> {
    let bearer = single(headers, &header::AUTHORIZATION)?.map(bearer).transpose()?;
    let plain = single(headers, &API_KEY)?;
    match (bearer, plain) {
        (Some(one), Some(other)) if one != other => Err(Unclear),
        (one, other) => Ok(one.or(other)),
    }
}

/// The key that a service's own client presents where it would present its own: as `Bearer`, as
/// `token`, as either half of `Basic`, or in `x-api-key`.
pub(crate) fn presented_by_client(headers: &HeaderMap) -> Result<Option<Cow<'_, str>>, Unclear> {
    let given = single(headers, &header::AUTHORIZATION)?.map(client_key).transpose()?;
    let plain = single(headers, &API_KEY)?.map(Cow::Borrowed);
    match (given, plain) {
        (Some(one), Some(other)) if one != other => Err(Unclear),
        (one, other) => Ok(one.or(other)),
    }
}

fn client_key(text: &str) -> Result<Cow<'_, str>, Unclear> {
    let (scheme, rest) = text.split_once(' ').ok_or(Unclear)?;
    if scheme.eq_ignore_ascii_case("token") {
        let key = rest.trim();
        let fits = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_graphic());
        return if fits { Ok(key.into()) } else { Err(Unclear) };
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return bearer(text).map(Cow::Borrowed);
    }
    let pair = STANDARD.decode(rest.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let pair = pair.ok_or(Unclear)?;
    let (user, password) = pair.split_once(':').ok_or(Unclear)?;
    // The other half is whatever the client puts there: an address, nothing, `x`.
    let is_key = |text: &&str| PlainKey::parse(text).is_some();
    match (Some(user).filter(is_key), Some(password).filter(is_key)) {
        (Some(one), None) | (None, Some(one)) => Ok(Cow::Owned(one.to_owned())),
        (Some(_), Some(_)) | (None, None) => Err(Unclear),
    }
}

/// Takes out what is said to this server alone, before headers go on to a service.
pub(crate) fn take_out(headers: &mut HeaderMap) {
    let ours = |name: &HeaderName| {
        *name == API_KEY || *name == ADMIN || name.as_str().starts_with("skill-")
    };
    let found = headers.keys().filter(|name| ours(name)).cloned().collect::<Vec<_>>();
    found.iter().for_each(|name| drop(headers.remove(name)));
    headers.remove(header::AUTHORIZATION);
}

/// Whether the request carries the admin secret.
pub(crate) fn is_admin(headers: &HeaderMap, secret: Option<&SecretString>) -> bool {
    let Some(secret) = secret else { return false };
    let given = match (single(headers, &ADMIN), single(headers, &header::AUTHORIZATION)) {
        (Ok(Some(given)), Ok(_)) => Some(given),
        (Ok(None), Ok(Some(text))) => bearer(text).ok(),
        _ => None,
    };
    given.is_some_and(|given| given.as_bytes().ct_eq(secret.expose_secret().as_bytes()).into())
}

/// The value of a header that stands at most once and is visible ASCII.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Unclear> {
    let mut values = headers.get_all(name).iter();
    let (first, second) = (values.next(), values.next());
    if second.is_some() {
        return Err(Unclear);
    }
    first.map(|value| value.to_str().map_err(|_| Unclear)).transpose()
}

/// What follows `Bearer`, in any case (RFC 9110 section 11.1).
fn bearer(text: &str) -> Result<&str, Unclear> {
    let (scheme, key) = text.split_once(' ').ok_or(Unclear)?;
    let key = key.trim_start_matches(' ');
    let fits = scheme.eq_ignore_ascii_case("bearer")
        && !key.is_empty()
        && key.bytes().all(|byte| byte.is_ascii_graphic());
    if fits { Ok(key) } else { Err(Unclear) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(HeaderName::from_static(name), value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn one_key_in_either_header_is_read() {
        let bearer = headers(&[("authorization", "bearer k")]);
        assert_eq!(presented(&bearer).unwrap(), Some("k"));
        assert_eq!(presented(&headers(&[("x-api-key", "k")])).unwrap(), Some("k"));
        let both = headers(&[("authorization", "Bearer k"), ("x-api-key", "k")]);
        assert_eq!(presented(&both).unwrap(), Some("k"));
        assert_eq!(presented(&headers(&[("cookie", "key=k")])).unwrap(), None);
    }

    #[test]
    fn keys_that_do_not_agree_are_no_key() {
        for pairs in [
            &[("authorization", "Bearer a"), ("x-api-key", "b")][..],
            &[("authorization", "Bearer a"), ("authorization", "Bearer a")],
            &[("x-api-key", "a"), ("x-api-key", "a")],
            &[("authorization", "Basic YTpi")],
            &[("authorization", "Bearer ")],
            &[("authorization", "Bearer")],
            &[("authorization", "Bearer a b")],
        ] {
            assert!(presented(&headers(pairs)).is_err(), "{pairs:?}");
        }
    }

    #[test]
    fn a_client_of_a_service_presents_the_key_in_its_own_way() {
        let key = PlainKey::generate(skill_core::record::key::Kind::Api).unwrap();
        let key = key.expose();
        let read = |text: &str| {
            let headers = headers(&[("authorization", text)]);
            presented_by_client(&headers).ok().flatten().map(Cow::into_owned)
        };
        for text in [format!("Bearer {key}"), format!("token {key}"), format!("TOKEN  {key}")] {
            assert_eq!(read(&text).as_deref(), Some(key), "{text}");
        }
        let basic = |pair: String| format!("Basic {}", STANDARD.encode(pair));
        for pair in [format!("{key}:"), format!("a@b.test/token:{key}"), format!("x:{key}")] {
            assert_eq!(read(&basic(pair.clone())).as_deref(), Some(key), "{pair}");
        }
        for pair in [format!("{key}:{key}"), "a:b".to_owned(), key.to_owned(), format!("{key}x:")] {
            assert_eq!(read(&basic(pair.clone())), None, "{pair}");
        }
        for text in ["Basic !", "Digest a", "token ", "token a b", "token"] {
            assert_eq!(read(text), None, "{text}");
        }
        let two = [("authorization", "token a"), ("x-api-key", "b")];
        assert!(presented_by_client(&headers(&two)).is_err());
    }

    #[test]
    fn only_the_whole_admin_secret_is_the_admin_secret() {
        let secret = SecretString::from("s3cret");
        assert!(is_admin(&headers(&[("x-admin-secret", "s3cret")]), Some(&secret)));
        assert!(is_admin(&headers(&[("authorization", "Bearer s3cret")]), Some(&secret)));
        assert!(!is_admin(&headers(&[("x-admin-secret", "s3cre")]), Some(&secret)));
        assert!(!is_admin(&headers(&[("x-admin-secret", "")]), None));
    }
}
