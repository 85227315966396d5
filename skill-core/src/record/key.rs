//! API keys: the record of one, and the key itself.

use std::fmt;

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::{
    error::Result,
    id::{self, KeyId},
    name::{OwnerId, UserId},
    record::scope::Scopes,
};

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// Random characters of a key: 32 of 62 are more than 190 bits.
const RANDOM: usize = 32;
/// How the tier of a key with a limit of its own ends.
const PER_MINUTE: &str = "/min";
/// Characters of the checksum: six of 62 hold 32 bits.
const CHECK: usize = 6;

/// How a key was made, which decides its form and how it ends.
///
/// ```
/// use skill_core::record::key::Kind;
/// assert_eq!(Kind::Api.prefix(), "sk_");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Made by `POST /api-keys` or the command line.
    Api,
    /// Made by `POST /admin/api-keys`.
    Admin,
    /// Made by `POST /v1/keys` for a person.
    User,
    /// Made by `POST /v1/keys` for a program.
    Service,
    /// Made by `POST /v1/keys`; lives 24 h at most.
    Temporary,
}

impl Kind {
    /// Every kind; the longer prefixes stand before `sk_`.
    pub const ALL: [Self; 5] = [Self::User, Self::Service, Self::Temporary, Self::Admin, Self::Api];

    /// What keys of this kind begin with.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Api => "sk_",
            Self::Admin => "hz_live_",
            Self::User => "sk_user_",
            Self::Service => "sk_svc_",
            Self::Temporary => "sk_temp_",
        }
    }

    /// The name under which stores keep the kind.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Admin => "admin",
            Self::User => "user",
            Self::Service => "service",
            Self::Temporary => "temporary",
        }
    }

    /// Reads what [`Kind::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// The SHA-256 of a key: all that is stored of it.
///
/// A key carries more than 190 random bits, so a plain hash cannot be searched backwards.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyHash(pub [u8; 32]);

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyHash(..)")
    }
}

/// A key in plain text: it exists while it is made and while a request presents it.
///
/// The random part is followed by the base62 CRC32 of all that stands before it, so that a mistyped
/// key is told apart without a look-up and secret scanners can be sure of a match.
///
/// ```
/// use skill_core::record::key::{Kind, PlainKey};
/// let key = PlainKey::generate(Kind::Api)?;
/// assert!(key.expose().starts_with("sk_"));
/// assert!(PlainKey::parse(key.expose()).is_some());
/// assert!(PlainKey::parse("sk_mistyped").is_none());
/// # Ok::<(), skill_core::Error>(())
/// ```
#[expect(missing_debug_implementations, reason = "holds a secret")]
pub struct PlainKey {
    text: SecretString,
    kind: Kind,
}

impl PlainKey {
    /// Makes a new key.
    ///
    /// # Errors
    /// As [`id::random`].
    pub fn generate(kind: Kind) -> Result<Self> {
        let mut text = Zeroizing::new(String::with_capacity(64));
        text.push_str(kind.prefix());
        while text.len() < kind.prefix().len() + RANDOM {
            // Bytes of 248 and above are thrown away: every character stays equally likely.
            let bytes = Zeroizing::new(id::random::<RANDOM>()?);
            let room = kind.prefix().len() + RANDOM - text.len();
            let fair = bytes.iter().filter(|byte| **byte < 248).take(room);
            text.extend(fair.map(|byte| char::from(ALPHABET[usize::from(byte % 62)])));
        }
        let check = checksum(&text);
        text.push_str(&check);
        Ok(Self { text: SecretString::from(text.as_str()), kind })
    }

    /// Reads a presented key; `None` when its form or its checksum is wrong.
    pub fn parse(text: &str) -> Option<Self> {
        let kind = Kind::ALL.into_iter().find(|kind| {
            text.strip_prefix(kind.prefix()).is_some_and(|rest| {
                rest.len() == RANDOM + CHECK && rest.bytes().all(|b| b.is_ascii_alphanumeric())
            })
        })?;
        let (body, check) = text.split_at(text.len() - CHECK);
        (checksum(body) == check).then(|| Self { text: SecretString::from(text), kind })
    }

    /// The key in plain text, to show it once.
    pub fn expose(&self) -> &str {
        self.text.expose_secret()
    }

    /// How the key was made.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What is stored of the key.
    pub fn hash(&self) -> KeyHash {
        KeyHash(Sha256::digest(self.expose().as_bytes()).into())
    }

    /// What listings show of the key: its prefix, the first four random characters and the last four.
    pub fn shown(&self) -> String {
        let (text, head) = (self.expose(), self.kind.prefix().len() + 4);
        format!("{}...{}", &text[..head], &text[text.len() - 4..])
    }
}

/// The CRC32 of `text` as six base62 characters.
fn checksum(text: &str) -> String {
    let mut rest = crc32fast::hash(text.as_bytes()) as usize;
    let mut digits = [b'0'; CHECK];
    for digit in digits.iter_mut().rev() {
        *digit = ALPHABET[rest % 62];
        rest /= 62;
    }
    digits.iter().map(|byte| char::from(*byte)).collect()
}

/// The record of a key. It does not hold the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Its name in the API.
    pub id: KeyId,
    /// Whom it belongs to.
    pub owner: OwnerId,
    /// The person it acts for, when it acts for one.
    pub user: Option<UserId>,
    /// What its maker calls it.
    pub name: String,
    /// How it was made.
    pub kind: Kind,
    /// What listings show of it.
    pub shown: String,
    /// What is stored of it.
    pub hash: KeyHash,
    /// What it may do.
    pub scopes: Scopes,
    /// Its tier of limits, or its [`own_limit`]; `None` means that of the owner's plan.
    pub tier: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// When it was last used, within a second or so.
    pub last_used_at: Option<Timestamp>,
}

impl Key {
    /// Whether the key opens anything at `now`.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|end| now < end)
    }
}

/// The tier of a key with a limit of its own: so many requests in any 60 seconds.
///
/// ```
/// use skill_core::record::key::{limit_of, own_limit};
/// assert_eq!(limit_of(&own_limit(250)), Some(250));
/// assert_eq!(limit_of("premium"), None);
/// ```
pub fn own_limit(per_minute: u32) -> String {
    format!("{per_minute}{PER_MINUTE}")
}

/// What [`own_limit`] says, of a tier that is none of the configuration's.
pub fn limit_of(tier: &str) -> Option<u32> {
    tier.strip_suffix(PER_MINUTE)?.parse().ok()
}

/// What may be changed of a key; `None` stays as it is.
///
/// ```
/// use skill_core::record::key::Change;
/// let rename = Change { name: Some("deploy".into()), ..Change::default() };
/// assert!(rename.expires_at.is_none());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Change {
    /// What it is called.
    pub name: Option<String>,
    /// What it may do.
    pub scopes: Option<Scopes>,
    /// Its tier of limits.
    pub tier: Option<String>,
    /// When it ends; `Some(None)` is never.
    pub expires_at: Option<Option<Timestamp>>,
}

/// How a key is to be replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotate {
    /// The key.
    pub old: KeyId,
    /// What follows it.
    pub successor: Key,
    /// When the old one ends, if it does not end before.
    pub end: Timestamp,
    /// The most live keys of the owner, the old one apart.
    pub most: Option<u32>,
}

/// What became of a key that was to be replaced.
///
/// ```
/// use skill_core::record::key::Rotation;
/// assert_ne!(Rotation::Done, Rotation::Full);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rotation {
    /// Its successor is there.
    Done,
    /// The owner has no such key, or it has ended.
    Ended,
    /// The owner has too many other keys for both to be there at once.
    Full,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_every_kind_reads_back_as_its_kind() {
        for kind in Kind::ALL {
            let key = PlainKey::generate(kind).unwrap();
            let read = PlainKey::parse(key.expose()).unwrap();
            assert_eq!(read.kind(), kind);
            assert_eq!(read.hash(), key.hash());
        }
    }

    #[test]
    fn one_changed_character_is_noticed_without_a_look_up() {
        let key = PlainKey::generate(Kind::Service).unwrap();
        for at in key.kind().prefix().len()..key.expose().len() {
            let mut bytes = key.expose().as_bytes().to_vec();
            bytes[at] = if bytes[at] == b'x' { b'y' } else { b'x' };
            assert!(PlainKey::parse(std::str::from_utf8(&bytes).unwrap()).is_none(), "{at}");
        }
    }

    #[test]
    fn odd_text_is_no_key() {
        for text in ["", "sk_", "sk_é", "hz_live_", "sk_user_short", "Bearer sk_1"] {
            assert!(PlainKey::parse(text).is_none(), "{text}");
        }
    }
}
