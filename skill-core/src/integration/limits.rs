//! What a service says of its limits: beforehand in its documentation, and in the headers of its
//! answers, whose names and units it chose itself.

use std::time::Duration;

use http::{HeaderMap, HeaderName};
use jiff::Timestamp;

use crate::{credential::span::Unit, declaration::Table};

/// Whose calls a service counts together.
///
/// ```
/// use skill_core::integration::Holder;
/// assert_eq!(Holder::default(), Holder::Connection);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Holder {
    /// Those of one account.
    #[default]
    Connection,
    /// Those of one OAuth client, whichever account they act for.
    App,
}

/// So many calls in so much time.
///
/// ```
/// use std::time::Duration;
/// use skill_core::integration::{Holder, Quota};
/// let hour = Duration::from_secs(3600);
/// let quota = Quota { calls: 5000, window: hour, of: Holder::Connection };
/// assert_eq!(quota.calls, 5000);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// How many calls.
    pub calls: u32,
    /// In how much time.
    pub window: Duration,
    /// Whose calls are counted together.
    pub of: Holder,
}

/// The limits of a service, and the headers in which it speaks of them. `Retry-After`,
/// `RateLimit-*` and `X-RateLimit-*` are known without being declared.
///
/// ```
/// use skill_core::integration::Limits;
/// assert!(Limits::default().quotas.is_empty());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Limits {
    /// What its documentation grants.
    pub quotas: Vec<Quota>,
    /// How many calls it takes at the same time from one account.
    pub at_once: Option<u32>,
    wait: Option<(HeaderName, Unit)>,
    reset: Option<(HeaderName, Unit)>,
    limit: Option<HeaderName>,
    remaining: Option<HeaderName>,
}

/// What an answer says of limits in headers that its service declared.
///
/// ```
/// use skill_core::integration::Limits;
/// let told = Limits::default().told(&http::HeaderMap::new(), jiff::Timestamp::UNIX_EPOCH);
/// assert_eq!(told.remaining, None);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Told {
    /// Nothing is to be asked for so long.
    pub wait: Option<Duration>,
    /// The count begins anew in so long.
    pub reset: Option<Duration>,
    /// How many calls there are in a window.
    pub limit: Option<u64>,
    /// How many of them are left.
    pub remaining: Option<u64>,
}

impl Limits {
    /// Reads `[limits]`.
    pub(super) fn declare(top: &Table<'_>) -> Self {
        let Some(table) = top.table("limits") else { return Self::default() };
        let quotas = table.tables("quotas").iter().filter_map(quota).collect();
        let limits = Self {
            quotas,
            at_once: positive(&table, "at_once"),
            wait: timed(&table, "wait"),
            reset: timed(&table, "reset"),
            limit: header(&table, "limit"),
            remaining: header(&table, "remaining"),
        };
        table.end();
        limits
    }

    /// What the headers of an answer say.
    pub fn told(&self, headers: &HeaderMap, now: Timestamp) -> Told {
        let text = |name: &HeaderName| headers.get(name)?.to_str().ok();
        let count = |name: &Option<HeaderName>| text(name.as_ref()?)?.trim().parse().ok();
        let span = |timed: &Option<(HeaderName, Unit)>| {
            let (name, unit) = timed.as_ref()?;
            unit.span(text(name)?, now)
        };
        Told {
            wait: span(&self.wait),
            reset: span(&self.reset),
            limit: count(&self.limit),
            remaining: count(&self.remaining),
        }
    }
}

fn quota(table: &Table<'_>) -> Option<Quota> {
    let of = match table.text("of") {
        None | Some("connection") => Holder::Connection,
        Some("app") => Holder::App,
        Some(other) => {
            let expected = "`of`: expected `connection` or `app`";
            table.problem("of", format!("{expected}, got `{other}`"));
            return None;
        }
    };
    let (calls, window) = (positive(table, "calls"), positive(table, "window_s"));
    if !table.has("calls") || !table.has("window_s") {
        table.problem("", "expected `calls` and `window_s`, whole numbers");
    }
    table.end();
    Some(Quota { calls: calls?, window: Duration::from_secs(u64::from(window?)), of })
}

fn positive(table: &Table<'_>, key: &str) -> Option<u32> {
    let number = table.count(key);
    if number == Some(0) {
        table.problem(key, format!("`{key}`: expected a number from 1 on"));
    }
    number
}

fn header(table: &Table<'_>, key: &str) -> Option<HeaderName> {
    let name = HeaderName::try_from(table.text(key)?);
    name.map_err(|_| table.problem(key, format!("`{key}`: expected the name of a header"))).ok()
}

/// A header and, beside it, the unit that it is in.
fn timed(table: &Table<'_>, key: &str) -> Option<(HeaderName, Unit)> {
    let unit = Unit::declare(table, &format!("{key}_unit"));
    Some((header(table, key)?, unit))
}
