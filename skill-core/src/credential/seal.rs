//! Encryption at rest: XChaCha20-Poly1305 with versioned keys.
//!
//! A sealed value is `format (1 byte) | key version (4) | nonce (24) | ciphertext and tag`. Its
//! associated data holds the header and a [`Binding`]: whose value it is and which field. A value
//! that is moved to another row, owner or field does not open.

use std::{fmt, str::FromStr};

use base64::{Engine, engine::general_purpose::STANDARD};
use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use zeroize::Zeroizing;

use crate::{
    error::{Error, ErrorKind, Result},
    id,
    record::Sealed,
    store::Store,
};

const FORMAT: u8 = 1;
const HEADER: usize = 5;
const NONCE: usize = 24;

/// Whose value it is and which field: what a sealed value is bound to.
///
/// ```
/// use skill_core::credential::seal::Binding;
/// assert_ne!(Binding::to("grant", ["ab", "c"]), Binding::to("grant", ["a", "bc"]));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding(Vec<u8>);

impl Binding {
    /// Binds to a field and the names that lead to it. Each part is preceded by its length.
    pub fn to<'a>(field: &'a str, names: impl IntoIterator<Item = &'a str>) -> Self {
        let mut bytes = Vec::with_capacity(128);
        for part in std::iter::once(field).chain(names) {
            bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
            bytes.extend_from_slice(part.as_bytes());
        }
        Self(bytes)
    }
}

/// The keys that seal and open: the newest seals, all of them open.
///
/// As text it is one `VERSION:BASE64` line per key, each of 32 bytes.
///
/// ```
/// use skill_core::credential::seal::{Binding, Keyring};
/// let keyring = Keyring::generate()?;
/// let binding = Binding::to("grant", ["acme", "conn_1"]);
/// let sealed = keyring.seal(b"secret", &binding)?;
/// assert_eq!(keyring.open(&sealed, &binding)?.as_slice(), b"secret");
/// assert!(keyring.open(&sealed, &Binding::to("grant", ["evil", "conn_1"])).is_err());
/// # Ok::<(), skill_core::Error>(())
/// ```
#[expect(missing_debug_implementations, reason = "holds keys")]
pub struct Keyring {
    /// By version, the newest last; never empty.
    keys: Vec<(u32, Zeroizing<[u8; 32]>)>,
    /// Those that are kept nowhere any more: they open what was read while they still were.
    gone: Vec<(u32, Zeroizing<[u8; 32]>)>,
}

impl Keyring {
    /// Makes a keyring of one new key.
    ///
    /// # Errors
    /// As [`id::random`].
    pub fn generate() -> Result<Self> {
        Ok(Self::of(vec![(1, Zeroizing::new(id::random()?))]))
    }

    /// The keyring as text, to be kept where only the engine can read it.
    pub fn expose(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(self.keys.len() * 64));
        for (version, key) in &self.keys {
            let encoded = Zeroizing::new(STANDARD.encode(**key));
            text.push_str(&version.to_string());
            text.push(':');
            text.push_str(&encoded);
            text.push('\n');
        }
        text
    }

    /// The version of the key that seals.
    pub fn newest(&self) -> u32 {
        self.keys.last().map_or(0, |(version, _)| *version)
    }

    /// The versions of its keys, the oldest first.
    pub fn versions(&self) -> Vec<u32> {
        self.keys.iter().map(|(version, _)| *version).collect()
    }

    /// The same keys and a new one, which seals from then on.
    ///
    /// # Errors
    /// As [`id::random`].
    pub fn with_next(&self) -> Result<Self> {
        let mut keys = self.keys.clone();
        let version = self.newest().checked_add(1);
        let version = version.ok_or_else(|| Error::internal("no key version is left"))?;
        keys.push((version, Zeroizing::new(id::random()?)));
        Ok(Self { keys, gone: self.gone.clone() })
    }

    /// The newest key alone. What the others sealed and somebody holds already still opens.
    #[must_use]
    pub fn without_older(&self) -> Self {
        let (newest, older) = self.keys.split_last().map_or((None, &[][..]), |(n, o)| (Some(n), o));
        Self {
            keys: newest.cloned().into_iter().collect(),
            gone: self.gone.iter().chain(older).cloned().collect(),
        }
    }

    fn of(keys: Vec<(u32, Zeroizing<[u8; 32]>)>) -> Self {
        Self { keys, gone: Vec::new() }
    }

    /// Seals `plain`, bound to `binding`.
    ///
    /// # Errors
    /// As [`id::random`].
    pub fn seal(&self, plain: &[u8], binding: &Binding) -> Result<Sealed> {
        let (version, key) = self.keys.last().ok_or_else(|| Error::internal("an empty keyring"))?;
        let mut sealed = Vec::with_capacity(HEADER + NONCE + plain.len() + 16);
        sealed.push(FORMAT);
        sealed.extend_from_slice(&version.to_be_bytes());
        let nonce = id::random::<NONCE>()?;
        let aad = associated(&sealed, binding);
        let body = cipher(key)
            .encrypt(&XNonce::from(nonce), Payload { msg: plain, aad: &aad })
            .map_err(|_| Error::internal("sealing a value"))?;
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(&body);
        Ok(Sealed(sealed))
    }

    /// Opens what was sealed with the same binding.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] when the value was changed, moved, or sealed with a key that is not
    /// in the keyring.
    pub fn open(&self, sealed: &Sealed, binding: &Binding) -> Result<Zeroizing<Vec<u8>>> {
        let damaged = || Error::internal("a sealed value does not open: changed, moved or foreign");
        let (header, rest) = sealed.0.split_at_checked(HEADER).ok_or_else(damaged)?;
        let (nonce, body) = rest.split_at_checked(NONCE).ok_or_else(damaged)?;
        let version = <[u8; 4]>::try_from(&header[1..]).map(u32::from_be_bytes);
        let (FORMAT, Ok(version)) = (header[0], version) else { return Err(damaged()) };
        let key =
            self.keys.iter().chain(&self.gone).find(|(known, _)| *known == version).ok_or_else(
                || {
                    Error::internal("a value was sealed with a key that is not here")
                        .with("key", version)
                },
            )?;
        let nonce = <[u8; NONCE]>::try_from(nonce).map_err(|_| damaged())?;
        let aad = associated(header, binding);
        cipher(&key.1)
            .decrypt(&XNonce::from(nonce), Payload { msg: body, aad: &aad })
            .map(Zeroizing::new)
            .map_err(|_| damaged())
    }

    /// Checks that these are the keys that the store's values are sealed with, all of them that are
    /// in use, and leaves a mark of each for the next time.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when one is another or is missing: nothing is changed then.
    pub async fn verify(&self, store: &dyn Store) -> Result<()> {
        let marks = store.facts(MARK).await?;
        for (name, mark) in &marks {
            let version = name[MARK.len()..].parse().ok();
            if version.is_none_or(|version| !self.versions().contains(&version)) {
                let message = format!(
                    "the sealing key is not the one this data was sealed with: version {} is not \
                     among the keys here (they are {:?}); add its line, nothing was changed",
                    &name[MARK.len()..],
                    self.versions(),
                );
                return Err(Error::new(ErrorKind::Unavailable, message));
            }
            self.recognize(name, &Sealed(mark.clone()))?;
        }
        for version in self.versions() {
            let name = mark_name(version);
            if marks.iter().all(|(known, _)| *known != name) {
                let mark = self.mark(version, &mark_binding(&name))?;
                let stands = store.meta_or_insert(&name, &mark.0).await?;
                self.recognize(&name, &Sealed(stands))?;
            }
        }
        Ok(())
    }

    /// Opens a mark, which says whether a key is the right one.
    fn recognize(&self, name: &str, mark: &Sealed) -> Result<()> {
        self.open(mark, &mark_binding(name)).map(drop).map_err(|cause| {
            let message = "the sealing key is not the one this data was sealed with: \
                           give the right key, nothing was changed";
            Error::new(ErrorKind::Unavailable, message).caused_by(cause)
        })
    }

    /// A value sealed with one version, whether or not it is the newest.
    fn mark(&self, version: u32, binding: &Binding) -> Result<Sealed> {
        let keys = self.keys.iter().filter(|(known, _)| *known == version).cloned().collect();
        Self::of(keys).seal(b"skill", binding)
    }
}

/// How the names of the marks begin by which keys are recognized.
const MARK: &str = "seal_check_";

/// The name of the mark of a key version.
pub(crate) fn mark_name(version: u32) -> String {
    format!("{MARK}{version}")
}

fn mark_binding(name: &str) -> Binding {
    Binding::to("seal_check", [name])
}

fn cipher(key: &[u8; 32]) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(key.into())
}

fn associated(header: &[u8], binding: &Binding) -> Vec<u8> {
    [header, &binding.0].concat()
}

impl FromStr for Keyring {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let unreadable = || {
            Error::invalid(
                "expected a sealing key: one `VERSION:BASE64` line per key, 32 bytes each",
            )
        };
        let mut keys = Vec::new();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (version, encoded) = line.split_once(':').ok_or_else(unreadable)?;
            let version = version.parse::<u32>().map_err(|_| unreadable())?;
            let bytes = Zeroizing::new(STANDARD.decode(encoded).map_err(|_| unreadable())?);
            let key = <[u8; 32]>::try_from(bytes.as_slice()).map_err(|_| unreadable())?;
            keys.push((version, Zeroizing::new(key)));
        }
        keys.sort_by_key(|(version, _)| *version);
        let twice = keys.windows(2).any(|pair| pair[0].0 == pair[1].0);
        if keys.is_empty() || twice { Err(unreadable()) } else { Ok(Self::of(keys)) }
    }
}

impl fmt::Display for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes of associated data", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keyring_reads_back_and_opens_what_it_sealed() {
        let keyring = Keyring::generate().unwrap();
        let binding = Binding::to("f", ["o"]);
        let sealed = keyring.seal(b"x", &binding).unwrap();
        let again: Keyring = keyring.expose().parse().unwrap();
        assert_eq!(again.open(&sealed, &binding).unwrap().as_slice(), b"x");
    }

    #[test]
    fn the_newest_key_seals_and_the_older_ones_still_open() {
        let old = Keyring::generate().unwrap();
        let binding = Binding::to("f", ["o"]);
        let sealed = old.seal(b"x", &binding).unwrap();
        let new = Keyring::generate().unwrap().expose().replacen("1:", "2:", 1);
        let both: Keyring = format!("{}{new}", *old.expose()).parse().unwrap();
        assert_eq!(both.newest(), 2);
        assert!(both.open(&sealed, &binding).is_ok());
        assert!(old.open(&both.seal(b"x", &binding).unwrap(), &binding).is_err());
        // One that goes while somebody holds what it sealed is written down no more, and opens it.
        let left = both.without_older();
        assert_eq!((left.versions(), &*left.expose()), (vec![2], &new));
        assert!(left.open(&sealed, &binding).is_ok());
        assert!(left.expose().parse::<Keyring>().unwrap().open(&sealed, &binding).is_err());
    }

    #[tokio::test]
    async fn keys_that_the_data_does_not_know_are_refused() {
        let (first, store) = (Keyring::generate().unwrap(), crate::store::MemoryStore::new());
        first.verify(&store).await.unwrap();
        let another = Keyring::generate().unwrap();
        assert!(another.verify(&store).await.is_err());
        // Neither does one under a version of its own, which nothing was sealed with yet.
        let disguised: Keyring = another.expose().replacen("1:", "7:", 1).parse().unwrap();
        assert!(disguised.verify(&store).await.is_err());
        let next = first.with_next().unwrap();
        next.verify(&store).await.unwrap();
        // The first alone opens not everything any more.
        assert!(first.verify(&store).await.is_err());
        assert!(next.without_older().verify(&store).await.is_err());
        assert_eq!((next.versions(), next.without_older().versions()), (vec![1, 2], vec![2]));
        next.verify(&store).await.unwrap();
    }

    #[test]
    fn every_changed_byte_is_noticed() {
        let keyring = Keyring::generate().unwrap();
        let binding = Binding::to("f", ["o"]);
        let sealed = keyring.seal(b"secret", &binding).unwrap();
        for at in 0..sealed.0.len() {
            let mut changed = sealed.clone();
            changed.0[at] ^= 1;
            assert!(keyring.open(&changed, &binding).is_err(), "{at}");
        }
        for length in 0..sealed.0.len() {
            assert!(keyring.open(&Sealed(sealed.0[..length].to_vec()), &binding).is_err());
        }
    }

    #[test]
    fn unreadable_keys_are_refused() {
        for text in ["", "x", "1:", "1:AAAA", "a:AAAA", "-1:AAAA"] {
            assert!(text.parse::<Keyring>().is_err(), "{text}");
        }
    }
}
