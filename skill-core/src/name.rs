//! Names that people and programs write: slugs, owners, users, agents, actions.

use std::{borrow::Borrow, fmt, sync::Arc};

use jiff::Timestamp;

use crate::{
    error::{Error, Result},
    id,
};

/// The longest slug, in characters.
const SLUG: usize = 64;
/// The longest owner or user name, in characters.
const PARTY: usize = 128;

/// Words that no integration and no skill category may be called, because routes begin with them.
const RESERVED: &[&str] = &[
    ".well-known",
    "admin",
    "agent-webhooks",
    "agents",
    "api-keys",
    "approvals",
    "apps",
    "artifacts",
    "audit",
    "auth",
    "connect",
    "connections",
    "conversations",
    "executions",
    "keys",
    "mcp",
    "memories",
    "quotas",
    "scheduled-jobs",
    "sessions",
    "skills",
    "tools",
    "triggers",
    "users",
    "webhooks",
];

/// What stands for the raw door.
const RAW: &str = "_raw";

/// The name of an integration, an endpoint, a category or a skill.
///
/// Lower-case letters, digits, `_` and `-`, beginning with a letter or digit, 1 to 64 characters.
/// `_` and `-` are alike: `list_prs` and `list-prs` are equal.
///
/// ```
/// use skill_core::name::Slug;
/// assert_eq!(Slug::parse("list_prs")?, Slug::parse("list-prs")?);
/// assert!(Slug::parse("GitHub").is_err());
/// # Ok::<(), skill_core::Error>(())
/// ```
#[derive(Clone)]
pub struct Slug {
    written: Arc<str>,
    canonical: Arc<str>,
}

impl Slug {
    /// Reads a slug.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) when it is not one.
    pub fn parse(text: &str) -> Result<Self> {
        if text == RAW {
            return Ok(Self::raw());
        }
        let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let starts = text.bytes().next().is_some_and(is_word);
        let fits = text.len() <= SLUG && text.bytes().all(|b| is_word(b) || b == b'_' || b == b'-');
        if !(starts && fits) {
            return Err(Error::invalid(
                "expected a name of 1 to 64 lower-case letters, digits, `_` or `-`",
            ));
        }
        let written: Arc<str> = text.into();
        let canonical =
            if text.contains('_') { text.replace('_', "-").into() } else { written.clone() };
        Ok(Self { written, canonical })
    }

    /// `_raw`: stands for the raw door of an integration where others have an action's name. It is
    /// the one slug that begins with `_`, so that nothing else can be called so.
    pub fn raw() -> Self {
        Self { written: RAW.into(), canonical: RAW.into() }
    }

    /// Whether it is [`Slug::raw`].
    pub fn is_raw(&self) -> bool {
        &*self.canonical == RAW
    }

    /// The slug as it was written.
    pub fn as_str(&self) -> &str {
        &self.written
    }

    /// The slug with `-` for every `_`: equal slugs have equal canonical forms.
    pub fn canonical(&self) -> &str {
        &self.canonical
    }

    /// Whether routes need this word, so that nothing may be called so.
    pub fn is_reserved(&self) -> bool {
        self.is_raw() || RESERVED.contains(&self.canonical())
    }
}

impl PartialEq for Slug {
    fn eq(&self, other: &Self) -> bool {
        self.canonical == other.canonical
    }
}

impl Eq for Slug {}

impl std::hash::Hash for Slug {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.canonical.hash(state);
    }
}

impl PartialOrd for Slug {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Slug {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.canonical.cmp(&other.canonical)
    }
}

/// Look-ups by the canonical form need no allocation.
impl Borrow<str> for Slug {
    fn borrow(&self) -> &str {
        &self.canonical
    }
}

impl fmt::Display for Slug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

impl fmt::Debug for Slug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.written, f)
    }
}

/// Reads the name of an owner or a user: 1 to 128 of `A-Z a-z 0-9 . _ - @ :`.
fn party(text: &str, what: &'static str) -> Result<Arc<str>> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"._-@:".contains(&b);
    if text.is_empty() || text.len() > PARTY || !text.bytes().all(fits) {
        return Err(Error::invalid(format!(
            "expected the name of {what}: 1 to 128 letters, digits or any of `. _ - @ :`"
        )));
    }
    Ok(text.into())
}

/// Makes one name type around shared text.
macro_rules! party {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Reads the name.
            ///
            /// # Errors
            /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) when it is empty, too
            /// long or holds another character.
            pub fn parse(text: &str) -> Result<Self> {
                party(text, $what).map(Self)
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }
    };
}

party!(
    /// Names an owner (tenant): connections, keys, runs and limits belong to one.
    ///
    /// ```
    /// use skill_core::name::OwnerId;
    /// assert_eq!(OwnerId::parse("acme")?.as_str(), "acme");
    /// # Ok::<(), skill_core::Error>(())
    /// ```
    OwnerId, "an owner"
);
party!(
    /// Names a person on whose behalf an owner's key acts.
    ///
    /// ```
    /// use skill_core::name::UserId;
    /// assert!(UserId::parse("").is_err());
    /// ```
    UserId, "a user"
);

impl OwnerId {
    /// The owner that a fresh store begins with.
    pub fn standard() -> Self {
        Self("default".into())
    }
}

/// Names an agent of an owner: 1 to 64 lower-case letters, digits, `_` or `-`, beginning with a letter
/// or digit. Unlike in a [`Slug`], `_` and `-` differ.
///
/// ```
/// use skill_core::name::AgentId;
/// assert!(AgentId::standard().is_standard());
/// assert_ne!(AgentId::parse("month_end")?, AgentId::parse("month-end")?);
/// # Ok::<(), skill_core::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AgentId(Arc<str>);

impl AgentId {
    /// Returns a fresh name, `agent_` and what makes it the only one, given at `at`.
    ///
    /// # Errors
    /// As [`id::random`].
    pub fn fresh(at: Timestamp) -> Result<Self> {
        Ok(Self(format!("agent_{}", id::Raw::fresh(at)?).into()))
    }

    /// Reads the name of an agent.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) when it is not one.
    pub fn parse(text: &str) -> Result<Self> {
        match Slug::parse(text) {
            Ok(slug) if !slug.is_raw() => Ok(Self(text.into())),
            Ok(_) | Err(_) => Err(Error::invalid(
                "expected the name of an agent: 1 to 64 lower-case letters, digits, `_` or `-`",
            )),
        }
    }

    /// The agent that every owner has from the start.
    pub fn standard() -> Self {
        Self("default".into())
    }

    /// Whether it is [`AgentId::standard`].
    pub fn is_standard(&self) -> bool {
        &*self.0 == "default"
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AgentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for AgentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// One action: an endpoint of an integration, or a skill of a category.
///
/// ```
/// use skill_core::name::{ActionName, Slug};
/// let action = ActionName { namespace: Slug::parse("github")?, name: Slug::parse("get_repo")? };
/// assert_eq!(action.to_string(), "github/get_repo");
/// # Ok::<(), skill_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ActionName {
    /// The integration or the category.
    pub namespace: Slug,
    /// The endpoint or the skill.
    pub name: Slug,
}

impl fmt::Display for ActionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A version: `v1`, or `v1.2`.
///
/// ```
/// use skill_core::name::Version;
/// assert_eq!(Version::parse("v1")?, Version { major: 1, minor: None });
/// assert!(Version::parse("1.0").is_err());
/// # Ok::<(), skill_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// The number after `v`.
    pub major: u32,
    /// The number after the dot.
    pub minor: Option<u32>,
}

impl Version {
    /// Reads a version: `^v\d+(\.\d+)?$`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) when it is none.
    pub fn parse(text: &str) -> Result<Self> {
        let number = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse().ok().filter(|_| digits)
        };
        let read = || {
            let rest = text.strip_prefix('v')?;
            match rest.split_once('.') {
                None => Some(Self { major: number(rest)?, minor: None }),
                Some((major, minor)) => {
                    Some(Self { major: number(major)?, minor: Some(number(minor)?) })
                }
            }
        };
        read().ok_or_else(|| Error::invalid("expected a version such as `v1` or `v1.2`"))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.minor {
            None => write!(f, "v{}", self.major),
            Some(minor) => write!(f, "v{}.{minor}", self.major),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn underscore_and_hyphen_are_alike() {
        assert_eq!(Slug::parse("a_b-c").unwrap(), Slug::parse("a-b_c").unwrap());
        assert_eq!(Slug::parse("a_b").unwrap().as_str(), "a_b");
    }

    #[test]
    fn what_is_no_slug_is_refused() {
        for text in ["", "A", "a b", "_a", "-a", "a%2e", "a/b", "é", "..", &"a".repeat(65)] {
            assert!(Slug::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn reserved_words_are_known_in_both_spellings() {
        assert!(Slug::parse("api_keys").unwrap().is_reserved());
        assert!(Slug::parse("api-keys").unwrap().is_reserved());
        assert!(!Slug::parse("github").unwrap().is_reserved());
    }

    #[test]
    fn only_the_two_forms_are_versions() {
        assert_eq!(Version::parse("v2.10").unwrap().to_string(), "v2.10");
        for text in ["", "v", "1", "v1.", "v.1", "v1.2.3", "v+1", "V1", "v1 ", "v99999999999"] {
            assert!(Version::parse(text).is_err(), "{text}");
        }
    }
}
