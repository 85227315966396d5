//! What the service remembers about consent: questions, codes, grants and their tokens.
//!
//! Secrets are kept as SHA-256 digests, so a lookup compares no secret and a dump shows none.
//! Time is tokio's, so tests can move it.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

/// How long a person may think about a question.
const CONSENT_LIFE: Duration = Duration::from_secs(600);

/// How many questions wait for an answer at once.
const CONSENTS: usize = 1000;

/// How long a code can be exchanged.
const CODE_LIFE: Duration = Duration::from_secs(60);

/// How long a code is remembered, so that its second use is recognized.
const CODE_MEMORY: Duration = Duration::from_secs(3600);

/// The length of the window in which calls are counted.
const RATE_WINDOW: Duration = Duration::from_secs(3600);

/// The digest of a secret.
type Key = [u8; 32];

/// Why the service refuses, in the words of RFC 6749.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The person said no.
    AccessDenied,
    /// The client did not prove who it is.
    InvalidClient,
    /// A code, token or verifier does not hold.
    InvalidGrant,
    /// A parameter is absent, repeated or malformed; the text says which.
    InvalidRequest(&'static str),
    /// A scope is unknown, or was not granted.
    InvalidScope,
    /// The operating system gave no randomness.
    ServerError,
    /// Too many questions wait for an answer.
    TemporarilyUnavailable,
    /// The token endpoint exchanges no such thing.
    UnsupportedGrantType,
    /// The authorization endpoint answers with codes only.
    UnsupportedResponseType,
}

impl Fault {
    /// Returns the error code.
    pub(super) fn code(self) -> &'static str {
        match self {
            Self::AccessDenied => "access_denied",
            Self::InvalidClient => "invalid_client",
            Self::InvalidGrant => "invalid_grant",
            Self::InvalidRequest(_) => "invalid_request",
            Self::InvalidScope => "invalid_scope",
            Self::ServerError => "server_error",
            Self::TemporarilyUnavailable => "temporarily_unavailable",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::UnsupportedResponseType => "unsupported_response_type",
        }
    }

    /// Returns a sentence for people, which never tells which check a secret did not pass.
    pub(super) fn description(self) -> &'static str {
        match self {
            Self::AccessDenied => "the person did not approve",
            Self::InvalidClient => "client authentication was not accepted",
            Self::InvalidGrant => "the code or token is invalid, expired, revoked or not yours",
            Self::InvalidRequest(reason) => reason,
            Self::InvalidScope => "the scope is unknown or more than was granted",
            Self::ServerError => "the service could not do its work",
            Self::TemporarilyUnavailable => "too many people are being asked; try again later",
            Self::UnsupportedGrantType => "grant_type must be authorization_code or refresh_token",
            Self::UnsupportedResponseType => "response_type must be code",
        }
    }
}

/// What a token allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Scopes(Vec<&'static str>);

impl Scopes {
    /// Allows to read issues.
    pub(super) const READ: &'static str = "issues:read";
    /// Allows to write issues, and to read them.
    pub(super) const WRITE: &'static str = "issues:write";

    /// Returns every scope there is, which is what a request without `scope` asks for.
    pub(super) fn all() -> Self {
        Self(vec![Self::READ, Self::WRITE])
    }

    /// Reads a list separated by spaces.
    pub(super) fn parse(text: &str) -> Result<Self, Fault> {
        let asked: Vec<&str> = text.split(' ').collect();
        let all = Self::all();
        if !asked.iter().all(|scope| all.contains(scope)) {
            return Err(Fault::InvalidScope);
        }
        Ok(Self(all.iter().filter(|scope| asked.contains(scope)).collect()))
    }

    /// Returns whether `scope` is one of them.
    pub(super) fn contains(&self, scope: &str) -> bool {
        self.0.contains(&scope)
    }

    /// Returns them in a fixed order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().copied()
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(" "))
    }
}

/// An authorization request that passed every check.
#[derive(Clone)]
pub(super) struct Request {
    /// Who asks.
    pub(super) client_id: String,
    /// Where the answer goes, as registered.
    pub(super) redirect_uri: String,
    /// What the client gets back unchanged.
    pub(super) state: Option<String>,
    /// What it asks for.
    pub(super) scopes: Scopes,
    /// The S256 challenge of PKCE.
    pub(super) challenge: String,
}

/// What a client brings to exchange its code.
pub(super) struct Exchange<'a> {
    /// The client that proved itself.
    pub(super) client_id: &'a str,
    /// The code it was given.
    pub(super) code: &'a str,
    /// The redirect URI of the authorization request, again.
    pub(super) redirect_uri: &'a str,
    /// What the challenge was made from.
    pub(super) verifier: &'a str,
}

/// Tokens as they leave; they are not kept.
pub(super) struct Issued {
    /// Opens the calls.
    pub(super) access_token: String,
    /// Is good for one exchange.
    pub(super) refresh_token: String,
    /// How long the access token works.
    pub(super) life: Duration,
    /// What the access token allows.
    pub(super) scopes: Scopes,
}

/// Who calls, and how much of its hour is left.
pub(super) struct Caller {
    /// The application that calls.
    pub(super) client_id: String,
    /// What its token allows.
    pub(super) scopes: Scopes,
    /// Its limit, this call included.
    pub(super) rate: Rate,
}

/// The state of a limit after the call it counted.
#[derive(Clone, Copy)]
pub(super) struct Rate {
    /// How many calls fit in a window.
    pub(super) limit: u32,
    /// How many were made, also those over the limit.
    pub(super) used: u32,
    /// How long until the window begins again.
    pub(super) reset: Duration,
}

/// A code, kept after its use so that the next use is noticed.
struct Code {
    request: Request,
    issued_at: Instant,
    /// Whether it was presented, and the grant it gave if that went well.
    used: Option<Option<u64>>,
}

/// What a person allowed an application.
struct Grant {
    client_id: String,
    scopes: Scopes,
    window_began: Instant,
    calls: u32,
}

/// An access token.
struct Access {
    grant: u64,
    scopes: Scopes,
    expires_at: Instant,
}

/// A refresh token, kept after its exchange so that its return is noticed.
struct Refresh {
    grant: u64,
    is_spent: bool,
}

/// Every question, code, grant and token.
pub(super) struct Ledger {
    access_token_life: Duration,
    calls_per_hour: u32,
    consents: HashMap<Key, (Request, Instant)>,
    codes: HashMap<Key, Code>,
    grants: HashMap<u64, Grant>,
    accesses: HashMap<Key, Access>,
    refreshes: HashMap<Key, Refresh>,
    next_grant: u64,
    refresh_count: u64,
    token_count: u64,
}

impl Ledger {
    /// Returns an empty ledger.
    pub(super) fn new(access_token_life: Duration, calls_per_hour: u32) -> Self {
        Self {
            access_token_life,
            calls_per_hour,
            consents: HashMap::new(),
            codes: HashMap::new(),
            grants: HashMap::new(),
            accesses: HashMap::new(),
            refreshes: HashMap::new(),
            next_grant: 1,
            refresh_count: 0,
            token_count: 0,
        }
    }

    /// Returns how often a refresh token was exchanged.
    pub(super) fn refreshes(&self) -> u64 {
        self.refresh_count
    }

    /// Returns how many access tokens were issued.
    pub(super) fn tokens_issued(&self) -> u64 {
        self.token_count
    }

    /// Keeps a request until a person decides, and returns the name of the question.
    pub(super) fn ask(&mut self, request: Request) -> Result<String, Fault> {
        self.consents.retain(|_, (_, asked_at)| asked_at.elapsed() < CONSENT_LIFE);
        if self.consents.len() >= CONSENTS {
            return Err(Fault::TemporarilyUnavailable);
        }
        let consent = random("")?;
        self.consents.insert(key(&consent), (request, Instant::now()));
        Ok(consent)
    }

    /// Returns the request a person decided about; a question is answered once.
    pub(super) fn decided(&mut self, consent: &str) -> Option<Request> {
        let (request, asked_at) = self.consents.remove(&key(consent))?;
        (asked_at.elapsed() < CONSENT_LIFE).then_some(request)
    }

    /// Returns a code for a request that was approved.
    pub(super) fn approve(&mut self, request: Request) -> Result<String, Fault> {
        self.codes.retain(|_, code| code.issued_at.elapsed() < CODE_MEMORY);
        let code = random("trk_code_")?;
        self.codes.insert(key(&code), Code { request, issued_at: Instant::now(), used: None });
        Ok(code)
    }

    /// Exchanges a code for tokens.
    ///
    /// Its first use spends it, right or wrong; a later use ends the grant that the first gave.
    pub(super) fn exchange(&mut self, exchange: &Exchange<'_>) -> Result<Issued, Fault> {
        let id = key(exchange.code);
        let code = self.codes.get_mut(&id).ok_or(Fault::InvalidGrant)?;
        if code.request.client_id != exchange.client_id {
            return Err(Fault::InvalidGrant);
        }
        if let Some(gave) = code.used {
            if let Some(grant) = gave {
                self.end(grant);
            }
            return Err(Fault::InvalidGrant);
        }
        code.used = Some(None);
        let is_right = code.issued_at.elapsed() < CODE_LIFE
            && code.request.redirect_uri == exchange.redirect_uri
            && is_verifier(exchange.verifier)
            && code.request.challenge == challenge(exchange.verifier);
        if !is_right {
            return Err(Fault::InvalidGrant);
        }
        let grant = self.next_grant;
        self.next_grant += 1;
        code.used = Some(Some(grant));
        let (client_id, scopes) = (code.request.client_id.clone(), code.request.scopes.clone());
        let window_began = Instant::now();
        let scopes_granted = scopes.clone();
        self.grants.insert(grant, Grant { client_id, scopes, window_began, calls: 0 });
        self.issue(grant, scopes_granted)
    }

    /// Exchanges a refresh token for the next one and an access token.
    ///
    /// A token that was exchanged before has leaked, to its owner's knowledge or not: it ends the
    /// grant.
    pub(super) fn refresh(
        &mut self,
        client_id: &str,
        token: &str,
        scope: Option<&str>,
    ) -> Result<Issued, Fault> {
        let id = key(token);
        let refresh = self.refreshes.get_mut(&id).ok_or(Fault::InvalidGrant)?;
        let (number, is_spent) = (refresh.grant, refresh.is_spent);
        let grant = self.grants.get(&number).ok_or(Fault::InvalidGrant)?;
        if grant.client_id != client_id {
            return Err(Fault::InvalidGrant);
        }
        if is_spent {
            self.end(number);
            return Err(Fault::InvalidGrant);
        }
        let scopes = scope.map_or_else(|| Ok(grant.scopes.clone()), Scopes::parse)?;
        if !scopes.iter().all(|scope| grant.scopes.contains(scope)) {
            return Err(Fault::InvalidScope);
        }
        refresh.is_spent = true;
        self.refresh_count += 1;
        self.issue(number, scopes)
    }

    /// Revokes a token: an access token alone, a refresh token with its whole grant.
    pub(super) fn revoke(&mut self, client_id: &str, token: &str) -> Result<(), Fault> {
        let id = key(token);
        let access = self.accesses.get(&id).map(|access| access.grant);
        let refresh = self.refreshes.get(&id).map(|refresh| refresh.grant);
        let Some(grant) = access.or(refresh) else { return Ok(()) };
        if self.grants.get(&grant).is_some_and(|grant| grant.client_id != client_id) {
            return Err(Fault::InvalidGrant);
        }
        self.accesses.remove(&id);
        if refresh.is_some() {
            self.end(grant);
        }
        Ok(())
    }

    /// Returns who an access token speaks for, and counts the call.
    pub(super) fn caller(&mut self, token: &str) -> Option<Caller> {
        let access = self.accesses.get(&key(token))?;
        if access.expires_at <= Instant::now() {
            return None;
        }
        let grant = self.grants.get_mut(&access.grant)?;
        if grant.window_began.elapsed() >= RATE_WINDOW {
            (grant.window_began, grant.calls) = (Instant::now(), 0);
        }
        grant.calls = grant.calls.saturating_add(1);
        let reset = RATE_WINDOW.saturating_sub(grant.window_began.elapsed());
        let rate = Rate { limit: self.calls_per_hour, used: grant.calls, reset };
        Some(Caller { client_id: grant.client_id.clone(), scopes: access.scopes.clone(), rate })
    }

    /// Issues the next pair of tokens of a grant.
    fn issue(&mut self, grant: u64, scopes: Scopes) -> Result<Issued, Fault> {
        let now = Instant::now();
        self.accesses.retain(|_, access| access.expires_at > now);
        let (access_token, refresh_token) = (random("trk_access_")?, random("trk_refresh_")?);
        let life = self.access_token_life;
        let access = Access { grant, scopes: scopes.clone(), expires_at: now + life };
        self.accesses.insert(key(&access_token), access);
        self.refreshes.insert(key(&refresh_token), Refresh { grant, is_spent: false });
        self.token_count += 1;
        Ok(Issued { access_token, refresh_token, life, scopes })
    }

    /// Ends a grant with every token it gave.
    fn end(&mut self, grant: u64) {
        self.grants.remove(&grant);
        self.accesses.retain(|_, access| access.grant != grant);
        self.refreshes.retain(|_, refresh| refresh.grant != grant);
    }
}

/// Returns whether text can be the S256 challenge of PKCE: 32 bytes in base64url.
pub(super) fn is_challenge(text: &str) -> bool {
    BASE64_URL_SAFE_NO_PAD.decode(text).is_ok_and(|bytes| bytes.len() == 32)
}

/// Returns whether two secrets are equal, without telling by time where they differ.
pub(super) fn is_same(left: &str, right: &str) -> bool {
    key(left) == key(right)
}

/// Returns whether text can be a verifier of PKCE.
fn is_verifier(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    (43..=128).contains(&text.len()) && text.bytes().all(is_allowed)
}

/// Returns the S256 challenge of a verifier.
fn challenge(verifier: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(verifier))
}

/// Returns the digest under which a secret is kept.
fn key(secret: &str) -> Key {
    Sha256::digest(secret).into()
}

/// Returns 256 bits nobody can guess, after a prefix by which a leak is found.
fn random(prefix: &str) -> Result<String, Fault> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|_| Fault::ServerError)?;
    Ok(format!("{prefix}{}", BASE64_URL_SAFE_NO_PAD.encode(bytes)))
}
