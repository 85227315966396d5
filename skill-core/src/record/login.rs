//! Logins of devices: a program asks, a person with a key says yes or no (RFC 8628).

use jiff::Timestamp;

use crate::{
    id::KeyId,
    name::{OwnerId, UserId},
    record::{flow::TokenHash, scope::Scopes},
};

/// A program that waits for a person to log it in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// The hash of the code that the program keeps.
    pub device: TokenHash,
    /// The hash of the code that the person types in.
    pub code: TokenHash,
    /// What the program calls itself.
    pub name: String,
    /// What the key that it wants may do; `None` when it wants none.
    pub scopes: Option<Scopes>,
    /// When both codes end.
    pub expires_at: Timestamp,
    /// What the person said, once somebody has.
    pub answer: Option<Answer>,
}

/// What a person said.
///
/// ```
/// use skill_core::record::login::Answer;
/// assert_ne!(Answer::No, Answer::Yes(Default::default()));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The program acts for whoever said so.
    Yes(Consent),
    /// It does not.
    No,
}

/// Who said yes, with what they might do then.
///
/// ```
/// let consent = skill_core::record::login::Consent::default();
/// assert!(consent.key.is_none());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consent {
    /// The owner that the program acts for.
    pub owner: OwnerId,
    /// The person of that owner.
    pub user: Option<UserId>,
    /// The key that was presented; `None`: it was the operator.
    pub key: Option<KeyId>,
    /// What that key may do.
    pub scopes: Scopes,
    /// Its tier of limits.
    pub tier: Option<String>,
    /// When it ends.
    pub until: Option<Timestamp>,
}

impl Default for Consent {
    /// The operator's, for the standard owner.
    fn default() -> Self {
        let (owner, scopes) = (OwnerId::standard(), Scopes::all());
        Self { owner, user: None, key: None, scopes, tier: None, until: None }
    }
}
