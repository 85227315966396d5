//! Scopes: what a key may do.

use std::fmt;

use crate::{
    error::{Error, Result},
    name::{ActionName, Slug},
};

/// The most scopes that one key may carry.
const MOST: usize = 100;

/// One scope: everything, all actions of an integration or category, or one action.
///
/// The words `conversations memory scheduler webhooks keys` stand for management; they are written
/// like an integration's slug and none can be called so.
///
/// ```
/// use skill_core::record::scope::Scope;
/// assert_eq!(Scope::parse("github/create_issue")?.to_string(), "github/create_issue");
/// # Ok::<(), skill_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// `*`: everything, management included.
    All,
    /// All actions of one integration or category, or one area of management. The raw door is none of
    /// them: whoever gave out `github` chose from a list, and `github/_raw` reaches past every list.
    Namespace(Slug),
    /// One action.
    Action(ActionName),
}

impl Scope {
    /// Reads `*`, `slug` or `slug/action`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) when it is none of these.
    pub fn parse(text: &str) -> Result<Self> {
        let unreadable = |_| {
            Error::invalid(
                "expected a scope: `*`, an integration such as `github`, or `github/get_repo`",
            )
        };
        match text.split_once('/') {
            None if text == "*" => Ok(Self::All),
            None => Slug::parse(text).map(Self::Namespace).map_err(unreadable),
            Some((namespace, name)) => Ok(Self::Action(ActionName {
                namespace: Slug::parse(namespace).map_err(unreadable)?,
                name: Slug::parse(name).map_err(unreadable)?,
            })),
        }
    }

    /// Whether whoever holds this scope also holds `other`.
    fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::All, _) => true,
            (Self::Namespace(mine), Self::Namespace(theirs)) => mine == theirs,
            (Self::Namespace(mine), Self::Action(theirs)) => {
                *mine == theirs.namespace && !theirs.name.is_raw()
            }
            (Self::Action(mine), Self::Action(theirs)) => mine == theirs,
            (Self::Namespace(_) | Self::Action(_), Self::All)
            | (Self::Action(_), Self::Namespace(_)) => false,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("*"),
            Self::Namespace(slug) => slug.fmt(f),
            Self::Action(action) => action.fmt(f),
        }
    }
}

/// The scopes of one key.
///
/// ```
/// use skill_core::record::scope::Scopes;
/// let scopes = Scopes::parse(["github", "gmail/send"])?;
/// assert!(Scopes::all().covers(&scopes));
/// assert!(!scopes.covers(&Scopes::all()));
/// # Ok::<(), skill_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scopes(Vec<Scope>);

impl Scopes {
    /// The scope `*`.
    pub fn all() -> Self {
        Self(vec![Scope::All])
    }

    /// Reads scopes; `"github,gmail"` counts as two.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) when one is unreadable, none is
    /// given, or there are more than 100.
    pub fn parse<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self> {
        let mut scopes = texts
            .into_iter()
            .flat_map(|text| text.split(','))
            .map(|text| Scope::parse(text.trim()))
            .collect::<Result<Vec<_>>>()?;
        scopes.sort();
        scopes.dedup();
        match scopes.len() {
            0 => Err(Error::invalid("expected at least one scope, `*` for all")),
            1..=MOST => Ok(Self(scopes)),
            _ => Err(Error::invalid("expected at most 100 scopes")),
        }
    }

    /// Whether these scopes allow what `wanted` stands for.
    pub fn allows(&self, wanted: &Scope) -> bool {
        self.0.iter().any(|scope| scope.covers(wanted))
    }

    /// Whether these scopes let runs of `action` be seen. Whoever may call all actions of a namespace
    /// sees the runs of its raw door too: a listing is whole, and nothing they carried is kept.
    pub fn see(&self, action: &ActionName) -> bool {
        self.allows(&Scope::Action(action.clone()))
            || self.allows(&Scope::Namespace(action.namespace.clone()))
    }

    /// Whether every one of `other` is allowed by these.
    pub fn covers(&self, other: &Self) -> bool {
        other.0.iter().all(|scope| self.allows(scope))
    }

    /// What both these and `other` allow; nothing, perhaps.
    #[must_use]
    pub fn within(&self, other: &Self) -> Self {
        let mine = self.0.iter().filter(|scope| other.allows(scope));
        let theirs = other.0.iter().filter(|scope| self.allows(scope));
        let mut both = mine.chain(theirs).cloned().collect::<Vec<_>>();
        both.sort();
        both.dedup();
        Self(both)
    }

    /// The scopes, sorted.
    pub fn iter(&self) -> impl Iterator<Item = &Scope> {
        self.0.iter()
    }

    /// The scopes as text, sorted.
    pub fn texts(&self) -> Vec<String> {
        self.0.iter().map(ToString::to_string).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scopes(text: &str) -> Scopes {
        Scopes::parse([text]).unwrap()
    }

    #[test]
    fn a_prefix_of_a_slug_is_not_its_scope() {
        assert!(!scopes("git").allows(&Scope::parse("github").unwrap()));
        assert!(!scopes("git").allows(&Scope::parse("github/get_repo").unwrap()));
    }

    #[test]
    fn an_action_scope_allows_that_action_only() {
        let one = scopes("github/get-repo");
        assert!(one.allows(&Scope::parse("github/get_repo").unwrap()));
        assert!(!one.allows(&Scope::parse("github/create_issue").unwrap()));
        assert!(!one.allows(&Scope::parse("github").unwrap()));
    }

    #[test]
    fn the_raw_door_takes_a_scope_of_its_own() {
        let raw = Scope::parse("github/_raw").unwrap();
        assert!(!scopes("github").allows(&raw) && !scopes("github/get_repo").allows(&raw));
        assert!(!scopes("github").covers(&scopes("github/_raw")));
        assert!(scopes("*").allows(&raw) && scopes("github/_raw").allows(&raw));
        assert!(!scopes("github/_raw").allows(&Scope::parse("github/get_repo").unwrap()));
        assert!(!scopes("slack/_raw").allows(&raw) && !scopes("github/raw").allows(&raw));
    }

    #[test]
    fn what_two_allow_is_what_each_of_them_allows() {
        let within = |one: &str, other: &str| scopes(one).within(&scopes(other)).texts().join(",");
        assert_eq!(within("*", "github,keys"), "github,keys");
        assert_eq!(
            within("github,slack/post", "github/get_repo,slack"),
            "github/get_repo,slack/post"
        );
        assert_eq!(within("github", "slack"), "");
        assert_eq!(within("github", "github/_raw"), "");
        assert!(
            !scopes("github").within(&scopes("slack")).allows(&Scope::parse("github").unwrap())
        );
    }

    #[test]
    fn only_all_covers_all() {
        assert!(scopes("*").covers(&scopes("*,github")));
        assert!(!scopes("github,keys").covers(&scopes("*")));
    }
}
