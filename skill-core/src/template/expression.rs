//! What may stand in a place of a template besides a name: text, and functions of both.
//!
//! | Grammar | |
//! |---|---|
//! | expression | name, `'text'`, or `function(expression, …)` |
//! | `first(a, b, …)` | the first of its values that is there |
//! | `lower(…)`, `upper(…)` | what stands in it, one after the other, in small or in large letters |
//! | `url(…)` | the same as one value of a query (RFC 3986) |
//! | `base64(…)`, `base64url(…)`, `hex(…)` | the same, written so (RFC 4648; `base64url` without padding) |
//! | `sha1(…)`, `sha256(…)`, `sha512(…)` | the bytes of its hash |
//! | `hmac_sha1(key, …)`, `hmac_sha256(key, …)`, `hmac_sha512(key, …)` | the bytes of its code (RFC 2104) |
//!
//! Bytes that are no text have to be written as text by a function around them.

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};
use zeroize::Zeroizing;

use super::{Find, found, is_name};
use crate::error::{Error, Result};

/// How deep functions may stand in one another.
const DEEPEST: usize = 8;
/// What stays as it is in a query: RFC 3986 section 2.3.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Function {
    First,
    Lower,
    Upper,
    Url,
    Base64,
    Base64Url,
    Hex,
    Sha1,
    Sha256,
    Sha512,
    HmacSha1,
    HmacSha256,
    HmacSha512,
}

/// The functions by their names.
const FUNCTIONS: [(&str, Function); 13] = [
    ("first", Function::First),
    ("lower", Function::Lower),
    ("upper", Function::Upper),
    ("url", Function::Url),
    ("base64", Function::Base64),
    ("base64url", Function::Base64Url),
    ("hex", Function::Hex),
    ("sha1", Function::Sha1),
    ("sha256", Function::Sha256),
    ("sha512", Function::Sha512),
    ("hmac_sha1", Function::HmacSha1),
    ("hmac_sha256", Function::HmacSha256),
    ("hmac_sha512", Function::HmacSha512),
];

/// What a place of a template may hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Expression {
    Name(String),
    Text(String),
    Call(Function, Vec<Expression>),
}

type Bytes = Zeroizing<Vec<u8>>;

impl Expression {
    /// Reads an expression; the error says what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut rest = text;
        let made = read(&mut rest, DEEPEST)?;
        match rest.trim_start() {
            "" => Ok(made),
            more => Err(format!("expected the end behind an expression, got `{more}`")),
        }
    }

    /// The names that it needs or tries.
    pub(super) fn names(&self) -> Vec<&str> {
        match self {
            Self::Name(name) => vec![name],
            Self::Text(_) => Vec::new(),
            Self::Call(_, inner) => inner.iter().flat_map(Self::names).collect(),
        }
    }

    /// What it comes to, which is text.
    pub(super) fn fill(&self, find: Find<'_, '_>) -> Result<Zeroizing<String>> {
        let mut bytes = self.bytes(find)?;
        let text = String::from_utf8(std::mem::take(&mut *bytes));
        text.map(Zeroizing::new).map_err(|_| {
            Error::internal("a template makes bytes that are no text: write them as text")
        })
    }

    fn bytes(&self, find: Find<'_, '_>) -> Result<Bytes> {
        let (function, inner) = match self {
            Self::Name(name) => return Ok(found(find, name)?.as_bytes().to_vec().into()),
            Self::Text(text) => return Ok(text.as_bytes().to_vec().into()),
            Self::Call(Function::First, inner) => return first(inner, find),
            Self::Call(function, inner) => (function, inner),
        };
        let values = inner.iter().map(|one| one.bytes(find)).collect::<Result<Vec<_>>>()?;
        Ok(match function {
            Function::First => Bytes::default(),
            Function::Lower => joined(&values).to_ascii_lowercase().into(),
            Function::Upper => joined(&values).to_ascii_uppercase().into(),
            Function::Url => {
                let all = joined(&values);
                let text = std::str::from_utf8(&all);
                let text = text.map_err(|_| Error::internal("`url` expects text"))?;
                utf8_percent_encode(text, UNRESERVED).to_string().into_bytes().into()
            }
            Function::Base64 => STANDARD.encode(&*joined(&values)).into_bytes().into(),
            Function::Base64Url => URL_SAFE_NO_PAD.encode(&*joined(&values)).into_bytes().into(),
            Function::Hex => data_encoding::HEXLOWER.encode(&joined(&values)).into_bytes().into(),
            Function::Sha1 => Sha1::digest(&*joined(&values)).to_vec().into(),
            Function::Sha256 => Sha256::digest(&*joined(&values)).to_vec().into(),
            Function::Sha512 => Sha512::digest(&*joined(&values)).to_vec().into(),
            Function::HmacSha1 => code::<Hmac<Sha1>>(&values)?,
            Function::HmacSha256 => code::<Hmac<Sha256>>(&values)?,
            Function::HmacSha512 => code::<Hmac<Sha512>>(&values)?,
        })
    }
}

/// The first value that is there; what is wrong with the last one when there is none.
fn first(inner: &[Expression], find: Find<'_, '_>) -> Result<Bytes> {
    let mut last = Ok(Bytes::default());
    for one in inner {
        last = one.bytes(find);
        if last.as_ref().is_ok_and(|value| !value.is_empty()) {
            break;
        }
    }
    last
}

fn joined(values: &[Bytes]) -> Bytes {
    let mut all = Zeroizing::new(Vec::with_capacity(values.iter().map(|one| one.len()).sum()));
    values.iter().for_each(|one| all.extend_from_slice(one));
    all
}

/// The code of everything behind the key.
fn code<M: Mac + KeyInit>(values: &[Bytes]) -> Result<Bytes> {
    let unusable = || Error::invalid("the key of this connection cannot be used: reconnect it");
    let (key, message) = values.split_first().ok_or_else(unusable)?;
    let mac = <M as KeyInit>::new_from_slice(key).map_err(|_| unusable())?;
    Ok(mac.chain_update(&*joined(message)).finalize().into_bytes().to_vec().into())
}

/// Reads one expression from the beginning of `rest`, which is then what follows it.
fn read(rest: &mut &str, depth: usize) -> Result<Expression, String> {
    let text = rest.trim_start();
    if depth == 0 {
        return Err(format!("expected at most {DEEPEST} functions in one another"));
    }
    if let Some(quoted) = text.strip_prefix('\'') {
        let (inner, after) =
            quoted.split_once('\'').ok_or_else(|| format!("expected a second `'` in `{text}`"))?;
        *rest = after;
        return Ok(Expression::Text(inner.to_owned()));
    }
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let end = text.find(|c| !is_part(c)).unwrap_or(text.len());
    let (word, after) = text.split_at(end);
    let Some(inner) = after.trim_start().strip_prefix('(') else {
        *rest = after;
        let named = is_name(word).then(|| Expression::Name(word.to_owned()));
        return named.ok_or_else(|| format!("expected a name, a text or a function, got `{text}`"));
    };
    let function = FUNCTIONS.iter().find(|(name, _)| *name == word).map(|(_, function)| *function);
    let function = function.ok_or_else(|| {
        let known = FUNCTIONS.map(|(name, _)| name).join("`, `");
        format!("there is no function `{word}`; there are `{known}`")
    })?;
    *rest = inner;
    let mut values = Vec::new();
    loop {
        values.push(read(rest, depth - 1)?);
        let after = rest.trim_start();
        if let Some(after) = after.strip_prefix(',') {
            *rest = after;
        } else if let Some(after) = after.strip_prefix(')') {
            *rest = after;
            return Ok(Expression::Call(function, values));
        } else {
            return Err(format!("expected `,` or `)` in `{text}`"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template::Template;

    fn filled(text: &str) -> Result<String> {
        let find = |name: &str| match name {
            "credential.user" => Some("ada"),
            "credential.secret" => Some("se cret"),
            "moment.nonce" => Some("d36e316282959a9ed4c89851497a717f"),
            "moment.time" => Some("2003-12-15T14:43:07Z"),
            "credential.password" => Some("taadtaadpstcsm"),
            _ => None,
        };
        Template::parse(text).map_err(Error::invalid)?.fill(&find).map(|text| text.to_string())
    }

    #[test]
    fn functions_come_to_what_other_programs_make_of_them() {
        for (text, expected) in [
            ("{base64(credential.user, ':', credential.secret)}", "YWRhOnNlIGNyZXQ="),
            ("{base64url('>>>?')}", "Pj4-Pw"),
            ("{hex('ab')}", "6162"),
            ("{upper('ab')}-{lower('AB')}", "AB-ab"),
            ("{url('a b/c~')}", "a%20b%2Fc~"),
            ("{hex(sha1('abc'))}", "a9993e364706816aba3e25717850c26c9cd0d89d"),
            (
                "{hex(sha256('abc'))}",
                "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            ),
            // RFC 2202, case 2, and RFC 4231, case 2.
            (
                "{hex(hmac_sha1('Jefe', 'what do ya want ', 'for nothing?'))}",
                "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79",
            ),
            (
                "{hex(hmac_sha256('Jefe', 'what do ya want for nothing?'))}",
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
            ("{first(credential.none, credential.user)}", "ada"),
            ("{first(credential.none, 'standard')}", "standard"),
        ] {
            assert_eq!(filled(text).unwrap(), expected, "{text}");
        }
    }

    /// The digest of WS-Security's user name tokens, which WSSE headers carry.
    #[test]
    fn a_digest_of_several_values_can_be_said() {
        let text = "{base64(sha1(moment.nonce, moment.time, credential.password))}";
        assert_eq!(filled(text).unwrap(), "quR/EWLAV4xLf9Zqyw4pDmfV9OY=");
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        for (text, what) in [
            ("{md4('a')}", "there is no function `md4`"),
            ("{hex('a'}", "expected `,` or `)`"),
            ("{hex('a)}", "a second `'`"),
            ("{hex()}", "expected a name"),
            ("{hex('a') x}", "expected the end"),
            ("{hex(hex(hex(hex(hex(hex(hex(hex(hex('a')))))))))}", "at most 8"),
        ] {
            let problem = Template::parse(text).unwrap_err();
            assert!(problem.contains(what), "{text}: {problem}");
        }
        assert!(filled("{sha1('abc')}").is_err(), "bytes are no text");
        assert!(filled("{first(credential.none)}").is_err());
    }
}
