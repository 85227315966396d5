//! Integrations: outside services.
//!
//! Most are declared in TOML ([`declared()`]); the bundled ones lie in `skill-core/integrations`,
//! where a new file is all there is to do. What TOML cannot say is a Rust type that implements
//! [`Integration`]. The executor cannot tell them apart.

mod base;
mod body;
mod declared;
mod door;
mod endpoint;
mod listing;
mod pages;
mod parameter;
mod path;
mod quota;
mod sign;

use std::{collections::BTreeMap, fmt, sync::Arc};

use http::StatusCode;
use serde_json::Value;
use url::Url;

pub use self::{
    declared::{declared, declared_with, effective},
    quota::{Per, Quota},
};
use crate::{
    credential::{AuthScheme, Field},
    declaration::{Problem, Source},
    endpoint::Endpoint,
    error::Result,
    name::Slug,
    raw::Door,
    record::connection::Fields,
};

/// The harmless call that shows whether a credential works, and whose it is.
///
/// ```
/// use skill_core::{integration::Verification, name::Slug};
/// let endpoint = Slug::parse("get_user")?;
/// let verification = Verification { endpoint, profile: None, account: "/login".into() };
/// assert_eq!(verification.account, "/login");
/// # Ok::<(), skill_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verification {
    /// The endpoint, which needs no parameters.
    pub endpoint: Slug,
    /// The endpoint that tells whose account it is, when the one above does not; it needs no
    /// parameters either.
    pub profile: Option<Slug>,
    /// Where in its answer the account's name stands (JSON Pointer, RFC 6901); may be empty.
    pub account: String,
}

/// How far a declaration is proven.
///
/// ```
/// use skill_core::integration::Verified;
/// assert_eq!(Verified::parse("mocked"), Some(Verified::Mocked));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verified {
    /// Written from the service's own description.
    Described,
    /// And called against something that was made from that description.
    Mocked,
    /// And called against the service itself.
    Live,
}

impl Verified {
    /// The name in declarations and listings.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Described => "described",
            Self::Mocked => "mocked",
            Self::Live => "live",
        }
    }

    /// Reads what [`Verified::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Described, Self::Mocked, Self::Live].into_iter().find(|v| v.as_str() == text)
    }
}

/// How an operator gets what accounts are connected through: an OAuth client, or a key.
///
/// ```
/// fn first(setup: &skill_core::integration::Setup) -> Option<&str> { setup.steps.first().map(|s| &**s) }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setup {
    /// The page where it is made.
    pub url: String,
    /// What to do there, a sentence each.
    pub steps: Vec<String>,
    /// Where the service itself says so.
    pub source: String,
}

/// What is known about an integration without calling it.
#[derive(Debug)]
pub struct IntegrationInfo {
    /// Its name in routes.
    pub slug: Slug,
    /// What people call it.
    pub name: String,
    /// What it is, in one line.
    pub description: String,
    /// Where its service documents its API.
    pub docs: Option<String>,
    /// Where the facts of its declaration were taken from.
    pub source: Vec<String>,
    /// How far its declaration is proven, as far as it says.
    pub verified: Option<Verified>,
    /// Where its OAuth client, or its key, is made.
    pub setup: Option<Setup>,
    /// How a new credential is tried out.
    pub verification: Option<Verification>,
}

/// An outside service.
pub trait Integration: fmt::Debug + Send + Sync + 'static {
    /// What is known about it.
    fn info(&self) -> &IntegrationInfo;

    /// The address under which all its endpoints lie.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) when a field that it needs is
    /// missing.
    fn base(&self, fields: &Fields) -> Result<Url>;

    /// What its connections have to know besides a credential: a shop, a tenant, a region.
    fn fields(&self) -> &[Field] {
        &[]
    }

    /// How its requests are signed.
    fn auth(&self) -> &dyn AuthScheme;

    /// Whether an answer says that the access has ended; `body` is there when
    /// [`reads_refusal`](Self::reads_refusal) asked for it and it is JSON.
    fn says_expired(&self, status: StatusCode, _body: Option<&Value>) -> bool {
        self.auth().says_expired(status)
    }

    /// Whether an answer says that the service did nothing because it was asked too much; `body` is
    /// there under the same conditions.
    fn says_busy(&self, status: StatusCode, _body: Option<&Value>) -> bool {
        matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE)
    }

    /// Whether it takes the body of an answer with this status to say one of these.
    fn reads_refusal(&self, _status: StatusCode) -> bool {
        false
    }

    /// What is known of how its service limits calls.
    fn quota(&self) -> &Quota {
        &Quota::STANDARD
    }

    /// What its raw door opens onto; `None` when it has none.
    ///
    /// # Errors
    /// As [`base`](Self::base).
    fn raw(&self, _fields: &Fields) -> Result<Option<Door>> {
        Ok(None)
    }

    /// Finds an endpoint by the canonical form of its name.
    fn endpoint(&self, canonical: &str) -> Option<Arc<dyn Endpoint>>;

    /// All its endpoints, by name.
    fn endpoints(&self) -> Box<dyn Iterator<Item = Arc<dyn Endpoint>> + '_>;
}

const _: Option<&dyn Integration> = None;

/// What an operator's configuration says instead of a declaration, by dotted key: `base_url`,
/// `auth.token_url`. A caller cannot say any of it.
///
/// ```
/// use skill_core::integration::Overrides;
/// let mut overrides = Overrides::default();
/// overrides.text("base_url", "https://github.example.com/api/v3");
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides(pub(crate) BTreeMap<String, Vec<String>>);

impl Overrides {
    /// Replaces a string.
    pub fn text(&mut self, key: &str, value: impl Into<String>) {
        self.0.insert(key.to_owned(), vec![value.into()]);
    }

    /// Replaces `auth.scopes`.
    pub fn scopes(&mut self, scopes: Vec<String>) {
        self.0.insert("auth.scopes".to_owned(), scopes);
    }
}

include!(concat!(env!("OUT_DIR"), "/bundled.rs"));

/// How many declarations may stand behind one another.
const DEEPEST: usize = 8;

/// The bundled declarations that `text` extends, nearest first, and the name of one that there is
/// not.
fn bases(text: &str) -> (Vec<(&'static str, &'static str)>, Option<String>) {
    let mut found = Vec::new();
    let mut next = Source::peek(text, "extends");
    while let Some(name) = next {
        let file = format!("{name}.toml");
        let known = BASES.iter().chain(BUNDLED).find(|(known, _)| *known == file);
        let Some((file, text)) = known.filter(|_| found.len() < DEEPEST) else {
            return (found, Some(name));
        };
        found.push((*file, *text));
        next = Source::peek(text, "extends");
    }
    (found, None)
}

/// The file's name and the text of the bundled declaration of an integration, by the canonical form
/// of its name.
pub fn bundled_text(canonical: &str) -> Option<(&'static str, &'static str)> {
    let mut all = BUNDLED.iter().copied();
    all.find(|(file, _)| file.trim_end_matches(".toml").replace('_', "-") == canonical)
}

/// The integrations that come with this crate, each changed by what `overrides` has for its slug.
///
/// # Errors
/// What an override breaks; without overrides there is none.
pub fn bundled(
    overrides: &BTreeMap<String, Overrides>,
) -> Result<Vec<Arc<dyn Integration>>, Vec<Problem>> {
    let (mut loaded, mut problems) = (Vec::new(), Vec::new());
    let standard = Overrides::default();
    for (file, text) in BUNDLED {
        let slug = file.trim_end_matches(".toml");
        match declared::bundled(file, text, overrides.get(slug).unwrap_or(&standard)) {
            Ok(integration) => loaded.push(integration),
            Err(found) => problems.extend(found),
        }
    }
    if problems.is_empty() { Ok(loaded) } else { Err(problems) }
}

#[cfg(test)]
mod tests;
