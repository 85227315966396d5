//! Logging in a program that has no browser: it shows a short code, a person types it in elsewhere
//! and says who they are (RFC 8628).
//!
//! Both codes are stored as hashes. The program's is 160 random bits. The person's is short, so
//! wrong ones count like wrong keys, and an address that had too many is not answered for a while.

use std::{
    collections::HashMap,
    fmt,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use data_encoding::HEXLOWER;
use secrecy::SecretString;

use crate::{
    access::{AddressLimit, Caller, Intent, Keys, NewKey, authorize},
    clock::Clock,
    error::{Error, ErrorKind, Result},
    id,
    link::hash,
    name::Slug,
    record::{
        audit::{Actor, Entry},
        flow::TokenHash,
        key::{Key, Kind, PlainKey},
        login::{Answer, Consent, Login},
        scope::{Scope, Scopes},
    },
    store::Store,
};

/// How long both codes are good.
pub const LIFE: Duration = Duration::from_secs(900);
/// How long a program waits between two questions, and how much longer after each that came too
/// early (RFC 8628 section 3.5).
pub const INTERVAL: Duration = Duration::from_secs(5);
/// Letters that nobody takes for one another and that spell nothing (RFC 8628 section 6.1).
const LETTERS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";
/// The most logins that wait at one time, and that one address may begin in a minute: anybody may.
const MOST: u32 = 10_000;
const MOST_BEGUN: u32 = 30;
/// The longest name, in characters.
const NAME: usize = 100;

/// Logs programs in.
pub struct Logins {
    store: Arc<dyn Store>,
    keys: Arc<Keys>,
    clock: Arc<dyn Clock>,
    begun: AddressLimit,
    /// When each program asked last, and how long it has to wait. A restart forgives haste.
    pace: Mutex<HashMap<TokenHash, Pace>>,
}

/// How a program asks.
struct Pace {
    last: Duration,
    interval: Duration,
}

impl fmt::Debug for Logins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Logins")
    }
}

/// The two codes of a login that has begun.
#[expect(missing_debug_implementations, reason = "holds a secret")]
pub struct Codes {
    /// What the program keeps: 40 hexadecimal digits.
    pub device: SecretString,
    /// What the person types in: `XXXX-XXXX`.
    pub person: String,
}

/// What a program asks for, to be shown to the person.
///
/// ```
/// use skill_core::login::Asked;
/// let asked = Asked { name: "laptop".into(), scopes: None };
/// assert_eq!(asked.name, "laptop");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// What the program calls itself.
    pub name: String,
    /// What the key that it wants may do; `None` when it wants none.
    pub scopes: Option<Scopes>,
}

/// What a person says.
///
/// ```
/// use skill_core::login::Word;
/// assert_ne!(Word::Yes, Word::No);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// The program may act for them.
    Yes,
    /// It may not.
    No,
}

/// Where a login stands.
#[expect(missing_debug_implementations, reason = "holds a key")]
pub enum Standing {
    /// Nobody has said anything: ask again after this time. An answer that was asked for too early
    /// says so.
    Pending {
        /// How long to wait.
        interval: Duration,
        /// Whether this question came too early.
        is_hasty: bool,
    },
    /// The person said no.
    Denied,
    /// The person said yes. It is said once.
    Complete {
        /// For whom the program acts.
        by: Consent,
        /// The key that it asked for, in plain text this once.
        key: Option<Box<(Key, PlainKey)>>,
    },
}

impl Logins {
    /// Returns the logins of `store`.
    pub fn new(store: Arc<dyn Store>, keys: Arc<Keys>, clock: Arc<dyn Clock>) -> Self {
        let (begun, pace) = (AddressLimit::new(MOST_BEGUN), Mutex::default());
        Self { store, keys, clock, begun, pace }
    }

    /// Begins a login for whoever asks from `address`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for a name that cannot be shown, [`ErrorKind::RateLimited`] when
    /// the address began too many, [`ErrorKind::Unavailable`] when too many wait.
    pub async fn begin(&self, asked: Asked, address: Option<IpAddr>) -> Result<Codes> {
        let length = asked.name.chars().count();
        if !(1..=NAME).contains(&length) || asked.name.chars().any(char::is_control) {
            let issue = "expected 1 to 100 characters, none of them a control character";
            return Err(Error::invalid("the name cannot be used").detail("name", issue));
        }
        let count = |address| self.begun.count(address, self.clock.steady());
        if let Some(after) = address.map(count).and_then(|allowance| allowance.retry_after) {
            let message = "too many logins were begun from this address";
            return Err(Error::new(ErrorKind::RateLimited, message).retry_after(after));
        }
        let device = HEXLOWER.encode(&id::random::<20>()?);
        let (person, now) = (letters()?, self.clock.now());
        let login = Login {
            device: hash(&device),
            code: hash(&person),
            name: asked.name,
            scopes: asked.scopes,
            expires_at: now.checked_add(LIFE).map_err(Error::internal)?,
            answer: None,
        };
        if !self.store.insert_login(&login, now, MOST).await? {
            let message = "too many logins wait: try again in a few minutes";
            return Err(Error::new(ErrorKind::Unavailable, message));
        }
        let (first, last) = person.split_at(4);
        Ok(Codes { device: device.into(), person: format!("{first}-{last}") })
    }

    /// What the program asks for whose code a person typed in; dashes, spaces and case do not
    /// matter.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when the code is unknown, answered or too old;
    /// [`ErrorKind::RateLimited`] when the address presented too many wrong ones.
    pub async fn open(&self, code: &str, address: Option<IpAddr>) -> Result<Asked> {
        let login = self.find(code, address).await?;
        Ok(Asked { name: login.name, scopes: login.scopes })
    }

    /// Says yes or no for the caller.
    ///
    /// # Errors
    /// As [`Logins::open`]; [`ErrorKind::ScopeMissing`] when the program wants a key that the
    /// caller could not make.
    pub async fn answer(
        &self,
        caller: &Caller,
        (code, word): (&str, Word),
        address: Option<IpAddr>,
    ) -> Result<()> {
        let login = self.find(code, address).await?;
        let answer = match word {
            Word::No => Answer::No,
            Word::Yes => {
                if let Some(scopes) = &login.scopes {
                    check_maker(caller, scopes)?;
                }
                Answer::Yes(Consent {
                    owner: caller.owner.clone(),
                    user: caller.user.clone(),
                    key: caller.key(),
                    scopes: caller.scopes.clone(),
                    tier: caller.tier.clone(),
                    until: caller.until,
                })
            }
        };
        let now = self.clock.now();
        if !self.store.answer_login(&login.code, &answer, now).await? {
            return Err(unknown());
        }
        let event = if word == Word::Yes { "login.allowed" } else { "login.denied" };
        let entry = Entry::new(now, caller.actor, caller.owner.clone());
        self.store.append_audit(&entry.event(event).target(&login.name)).await
    }

    /// Tells the program where its login stands. What is final is said once.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when the code is unknown, used or too old. When the key it asked for
    /// cannot be made, as [`Keys::create`]: the login is over then.
    pub async fn poll(&self, device: &str) -> Result<Standing> {
        let is_code = device.len() == 40 && device.bytes().all(|b| b.is_ascii_hexdigit());
        if !is_code {
            return Err(over());
        }
        let (device, now) = (hash(device), self.clock.now());
        let login = self.store.login_by_device(&device, now).await?.ok_or_else(over)?;
        if login.answer.is_none() {
            return Ok(self.wait(device));
        }
        self.lock().remove(&device);
        let login = self.store.end_login(&device, now).await?.ok_or_else(over)?;
        match login.answer {
            Some(Answer::Yes(by)) => self.complete(&login.name, login.scopes, by).await,
            Some(Answer::No) | None => Ok(Standing::Denied),
        }
    }

    async fn complete(&self, name: &str, scopes: Option<Scopes>, by: Consent) -> Result<Standing> {
        let caller = Caller {
            owner: by.owner.clone(),
            user: by.user.clone(),
            actor: by.key.map_or(Actor::Operator, Actor::Key),
            scopes: by.scopes.clone(),
            tier: by.tier.clone(),
            until: by.until,
            connections: None,
        };
        let has_ended = by.until.is_some_and(|end| end <= self.clock.now());
        // What somebody said with a key that is worth nothing any more is worth nothing either.
        if has_ended || self.keys.is_revoked(&caller).await? {
            return Ok(Standing::Denied);
        }
        let Some(scopes) = scopes else { return Ok(Standing::Complete { by, key: None }) };
        let wanted = NewKey { scopes, ..NewKey::new(name, Kind::Api) };
        let key = self.keys.create(&caller, wanted).await?;
        Ok(Standing::Complete { by, key: Some(Box::new(key)) })
    }

    async fn find(&self, code: &str, address: Option<IpAddr>) -> Result<Login> {
        let allowance = self.keys.address_allowance(address);
        if allowance.remaining == 0 {
            let message = "too many wrong codes or keys came from this address";
            return Err(Error::new(ErrorKind::RateLimited, message).retry_after(allowance.reset));
        }
        let letters = code.chars().filter(|c| !c.is_whitespace() && *c != '-').take(9);
        let code = letters.map(|c| c.to_ascii_uppercase()).collect::<String>();
        let found = self.store.login_by_code(&hash(&code), self.clock.now()).await?;
        found.ok_or_else(|| {
            self.keys.count_wrong(address);
            unknown()
        })
    }

    /// Notes that the program asked, and says how long it waits for the next time.
    fn wait(&self, device: TokenHash) -> Standing {
        let now = self.clock.steady();
        let mut paces = self.lock();
        if paces.len() >= MOST as usize {
            paces.retain(|_, pace| now < pace.last + LIFE);
        }
        let Some(pace) = paces.get_mut(&device) else {
            paces.insert(device, Pace { last: now, interval: INTERVAL });
            return Standing::Pending { interval: INTERVAL, is_hasty: false };
        };
        let is_hasty = now < pace.last + pace.interval;
        pace.last = now;
        if is_hasty {
            pace.interval = (pace.interval + INTERVAL).min(LIFE);
        }
        Standing::Pending { interval: pace.interval, is_hasty }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TokenHash, Pace>> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the caller could make a key with these scopes.
fn check_maker(caller: &Caller, scopes: &Scopes) -> Result<()> {
    let scope = Scope::Namespace(Slug::parse("keys")?);
    authorize(caller, &Intent { scope, class: None }).allowed()?;
    if caller.scopes.covers(scopes) {
        return Ok(());
    }
    let message = "the program asks for a key with more scopes than yours";
    Err(Error::new(ErrorKind::ScopeMissing, message))
}

/// Eight letters that nobody can guess, each as likely as the others.
fn letters() -> Result<String> {
    let mut text = String::with_capacity(8);
    while text.len() < 8 {
        let bytes = id::random::<16>()?;
        let fair = bytes.into_iter().filter(|byte| *byte < 240);
        text.extend(fair.map(|byte| char::from(LETTERS[usize::from(byte) % LETTERS.len()])));
        text.truncate(8);
    }
    Ok(text)
}

fn unknown() -> Error {
    Error::not_found("this code is unknown, answered, or too old: ask the program for a new one")
}

fn over() -> Error {
    Error::not_found("this device code is unknown, used, or too old: begin again")
}
