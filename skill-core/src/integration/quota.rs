//! How a service says that nothing is left of what it allows, and when there is more.

use std::time::Duration;

use http::{HeaderMap, HeaderName, StatusCode, header};
use jiff::{Timestamp, fmt::rfc2822};

use crate::declaration::Table;

/// The longest time for which a service is believed: a header that is wrong must not cost a day.
const LONGEST: Duration = Duration::from_secs(3600);
/// From here on a number is seconds since 1970, and from there on milliseconds.
const EPOCH: f64 = 1e9;
const EPOCH_MS: f64 = 1e11;
/// The longest name of a part of a limit.
const BUCKET: usize = 64;

static REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
static RESET: HeaderName = HeaderName::from_static("ratelimit-reset");
static X_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
static X_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");
static X_RATE_REMAINING: HeaderName = HeaderName::from_static("x-rate-limit-remaining");
static X_RATE_RESET: HeaderName = HeaderName::from_static("x-rate-limit-reset");
/// The field of the present draft (draft-ietf-httpapi-ratelimit-headers).
static POLICIES: HeaderName = HeaderName::from_static("ratelimit");

/// Who shares what a service allows.
///
/// ```
/// use skill_core::integration::{Per, Quota};
/// assert_eq!(Quota::STANDARD.per, Per::Connection);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Per {
    /// Every connection has its own.
    Connection,
    /// Every endpoint of every connection has its own.
    Endpoint,
    /// All connections through one OAuth client share it.
    App,
}

/// In what a service says when there is more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Guessed,
    Seconds,
    Milliseconds,
    Epoch,
    EpochMilliseconds,
    Date,
}

/// How a service limits calls, and how it tells.
///
/// ```
/// use std::time::Duration;
/// use http::{HeaderMap, HeaderValue, StatusCode};
/// use skill_core::integration::Quota;
/// let mut headers = HeaderMap::new();
/// headers.insert("x-ratelimit-remaining", HeaderValue::from_static("0"));
/// headers.insert("x-ratelimit-reset", HeaderValue::from_static("30"));
/// let now = jiff::Timestamp::UNIX_EPOCH;
/// let wait = Quota::STANDARD.used_up(StatusCode::OK, &headers, (now, None));
/// assert_eq!(wait, Some(Duration::from_secs(30)));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quota {
    /// Who shares it.
    pub per: Per,
    /// How many calls it takes at one time.
    pub concurrent: Option<u32>,
    /// How many calls that change something it takes at one time, where it counts them apart.
    pub concurrent_writes: Option<u32>,
    bucket: Option<HeaderName>,
    remaining: Option<HeaderName>,
    reset: Option<HeaderName>,
    unit: Unit,
}

impl Quota {
    /// What holds for a service of which nothing is declared.
    pub const STANDARD: Self = Self {
        per: Per::Connection,
        concurrent: None,
        concurrent_writes: None,
        bucket: None,
        remaining: None,
        reset: None,
        unit: Unit::Guessed,
    };

    /// Reads the table `quota`.
    pub(super) fn declare(table: &Table<'_>) -> Self {
        let per = choice(
            table,
            "per",
            &[("connection", Per::Connection), ("endpoint", Per::Endpoint), ("app", Per::App)],
        );
        let unit = choice(
            table,
            "reset_unit",
            &[
                ("s", Unit::Seconds),
                ("ms", Unit::Milliseconds),
                ("epoch", Unit::Epoch),
                ("epoch_ms", Unit::EpochMilliseconds),
                ("date", Unit::Date),
            ],
        );
        let quota = Self {
            per: per.unwrap_or(Per::Connection),
            concurrent: places(table, "concurrent"),
            concurrent_writes: places(table, "concurrent_writes"),
            bucket: name(table, "bucket"),
            remaining: name(table, "remaining"),
            reset: name(table, "reset"),
            unit: unit.unwrap_or(Unit::Guessed),
        };
        table.end();
        quota
    }

    /// For how long nothing is left, as an answer says; `None` when something is, or it does not
    /// say. `asked` is its `Retry-After`.
    pub fn used_up(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
        (now, asked): (Timestamp, Option<Duration>),
    ) -> Option<Duration> {
        let is_refusal = status == StatusCode::TOO_MANY_REQUESTS;
        // Some services refuse with 403 and say when to come back: nobody else says that.
        let is_asked = is_refusal || status == StatusCode::FORBIDDEN;
        let wait = asked.filter(|_| is_asked).or_else(|| self.said(headers, now, is_refusal))?;
        (!wait.is_zero()).then(|| wait.min(LONGEST))
    }

    /// How long a refusal asks to wait: one that says by itself that the service was asked too much.
    /// `asked` is its `Retry-After`; without one the headers say when there is more.
    pub fn refused(
        &self,
        headers: &HeaderMap,
        (now, asked): (Timestamp, Option<Duration>),
    ) -> Option<Duration> {
        asked.or_else(|| self.said(headers, now, true)).map(|wait| wait.min(LONGEST))
    }

    /// How many calls it takes at one time, of those that change something or of the others, and
    /// whether the two are counted apart.
    pub fn places(&self, is_write: bool) -> Option<(u32, bool)> {
        match (is_write, self.concurrent_writes) {
            (true, Some(most)) => Some((most, true)),
            (true, None) | (false, _) => self.concurrent.map(|most| (most, false)),
        }
    }

    /// The part of the limit that the answer counted against.
    pub fn bucket<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        let text = headers.get(self.bucket.as_ref()?)?.to_str().ok()?;
        (1..=BUCKET).contains(&text.len()).then_some(text)
    }

    /// Whether it has parts that are used up apart.
    pub fn has_buckets(&self) -> bool {
        self.bucket.is_some()
    }

    /// What the headers say besides `Retry-After`. A refusal needs no word that nothing is left.
    fn said(&self, headers: &HeaderMap, now: Timestamp, is_refusal: bool) -> Option<Duration> {
        if self.remaining.is_some() || self.reset.is_some() {
            let remaining = self.remaining.as_ref().unwrap_or(&X_REMAINING);
            let reset = self.reset.as_ref().unwrap_or(&X_RESET);
            return self.pair(headers, (remaining, reset), (now, is_refusal));
        }
        let mut pairs =
            [(&REMAINING, &RESET), (&X_REMAINING, &X_RESET), (&X_RATE_REMAINING, &X_RATE_RESET)]
                .into_iter();
        let said = headers.get(&POLICIES).and_then(|value| policies(value.to_str().ok()?));
        said.or_else(|| pairs.find_map(|names| self.pair(headers, names, (now, is_refusal))))
    }

    fn pair(
        &self,
        headers: &HeaderMap,
        (remaining, reset): (&HeaderName, &HeaderName),
        (now, is_refusal): (Timestamp, bool),
    ) -> Option<Duration> {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
        if !is_refusal && !text(remaining).is_some_and(is_nothing) {
            return None;
        }
        // The service's own clock, where it says what it shows.
        let date = text(&header::DATE).and_then(date);
        self.wait(text(reset)?, date.unwrap_or(now))
    }

    /// How long it is until what `reset` says.
    fn wait(&self, reset: &str, now: Timestamp) -> Option<Duration> {
        let until = |at: Timestamp| Duration::try_from(at.duration_since(now)).ok();
        let since_1970 = |seconds: f64| {
            let from = now.as_duration().as_secs_f64();
            Duration::try_from_secs_f64(seconds - from).ok()
        };
        let Some(number) = number(reset) else {
            let may_be_date = matches!(self.unit, Unit::Guessed | Unit::Date);
            return date(reset).filter(|_| may_be_date).and_then(until);
        };
        match self.unit {
            Unit::Guessed if number >= EPOCH_MS => since_1970(number / 1000.0),
            Unit::Guessed if number >= EPOCH => since_1970(number),
            Unit::Guessed | Unit::Seconds => Duration::try_from_secs_f64(number).ok(),
            Unit::Milliseconds => Duration::try_from_secs_f64(number / 1000.0).ok(),
            Unit::Epoch => since_1970(number),
            Unit::EpochMilliseconds => since_1970(number / 1000.0),
            Unit::Date => None,
        }
    }
}

/// How many at one time.
fn places(table: &Table<'_>, key: &str) -> Option<u32> {
    let most = table.count(key)?;
    if most == 0 {
        table.problem(key, format!("`{key}`: expected a whole number from 1 on"));
    }
    (most > 0).then_some(most)
}

/// One of several words.
fn choice<T: Copy>(table: &Table<'_>, key: &str, words: &[(&str, T)]) -> Option<T> {
    let text = table.text(key)?;
    let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
    if found.is_none() {
        let known = words.iter().map(|(word, _)| *word).collect::<Vec<_>>().join("`, `");
        table.problem(key, format!("`{key}`: expected one of `{known}`, got `{text}`"));
    }
    found
}

/// The name of a header.
fn name(table: &Table<'_>, key: &str) -> Option<HeaderName> {
    let text = table.text(key)?;
    let name = HeaderName::try_from(text);
    name.map_err(|_| table.problem(key, format!("`{key}`: `{text}` is no header"))).ok()
}

/// A number that is not negative, with or without a fraction.
fn number(text: &str) -> Option<f64> {
    let is_plain = |b: u8| b.is_ascii_digit() || b == b'.';
    let is_short = (1..=20).contains(&text.len());
    if is_short && text.bytes().all(is_plain) { text.parse().ok() } else { None }
}

/// Whether nothing is left: `0`, or all used, as `40/40`.
fn is_nothing(text: &str) -> bool {
    match text.split_once('/') {
        Some((used, all)) => number(used).zip(number(all)).is_some_and(|(used, all)| used >= all),
        None => number(text) == Some(0.0),
    }
}

/// A date as HTTP writes it, or as RFC 3339 does.
fn date(text: &str) -> Option<Timestamp> {
    let http = rfc2822::DateTimeParser::new().parse_timestamp(text).ok();
    http.or_else(|| text.parse().ok())
}

/// The longest time of the policies of which nothing is left: `"burst";r=0;t=5, "day";r=9;t=99`, or
/// in an earlier form `limit=10, remaining=0, reset=5`.
fn policies(text: &str) -> Option<Duration> {
    let value = |part: &str, name: &str| {
        let mut pairs = part.split([';', ',']).filter_map(|pair| pair.trim().split_once('='));
        pairs.find(|(key, _)| key.trim() == name).and_then(|(_, value)| number(value.trim()))
    };
    let wait = |left: Option<f64>, reset: Option<f64>| {
        let seconds = reset.filter(|_| left == Some(0.0))?;
        Duration::try_from_secs_f64(seconds).ok()
    };
    let earlier = wait(value(text, "remaining"), value(text, "reset"));
    let present = text.split(',').filter_map(|part| wait(value(part, "r"), value(part, "t"))).max();
    present.or(earlier)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::declaration::Source;

    /// Noon of a day in 2026, in seconds since 1970.
    const NOW: i64 = 1_767_268_800;

    fn waits(quota: &Quota, status: u16, pairs: &[(&'static str, &str)]) -> Option<u64> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(*name, value.parse().unwrap());
        }
        let now = Timestamp::from_second(NOW).unwrap();
        let status = StatusCode::from_u16(status).unwrap();
        quota.used_up(status, &headers, (now, None)).map(|wait| wait.as_secs())
    }

    fn declared(text: &str) -> Quota {
        Source::new("x.toml", text).read(|top| Some(Quota::declare(top))).unwrap()
    }

    #[test]
    fn what_the_standard_headers_say_is_understood() {
        fn standard(pairs: &[(&'static str, &str)]) -> Option<u64> {
            waits(&Quota::STANDARD, 200, pairs)
        }
        assert_eq!(standard(&[("ratelimit", "\"default\";r=0;t=30")]), Some(30));
        let several = "\"burst\";r=0;t=5, \"hour\";r=0;t=90,\"day\";r=7;t=999";
        assert_eq!(standard(&[("ratelimit", several)]), Some(90));
        assert_eq!(standard(&[("ratelimit", "limit=10, remaining=0, reset=7")]), Some(7));
        assert_eq!(standard(&[("ratelimit-remaining", "0"), ("ratelimit-reset", "9")]), Some(9));
        let github = (NOW + 60).to_string();
        assert_eq!(
            standard(&[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", &github)]),
            Some(60)
        );
        let linear = ((NOW + 45) * 1000).to_string();
        assert_eq!(
            standard(&[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", &linear)]),
            Some(45)
        );
        let date = "Thu, 01 Jan 2026 12:00:20 GMT";
        assert_eq!(
            standard(&[("x-rate-limit-remaining", "0"), ("x-rate-limit-reset", date)]),
            Some(20)
        );
    }

    #[test]
    fn what_says_nothing_or_nonsense_holds_nobody_back() {
        let (left, reset) = ("x-ratelimit-remaining", "x-ratelimit-reset");
        let past = (NOW - 1).to_string();
        for pairs in [
            &[][..],
            &[(left, "1"), (reset, "30")],
            &[(left, "0")],
            &[(left, "0"), (reset, "0")],
            &[(left, "0"), (reset, "-5")],
            &[(left, "0"), (reset, "soon")],
            &[(left, "0"), (reset, &past)],
            &[(left, "nothing"), (reset, "30")],
            &[("ratelimit", "\"default\";r=0")],
            &[("ratelimit", ";;;===,,,")],
        ] {
            assert_eq!(waits(&Quota::STANDARD, 200, pairs), None, "{pairs:?}");
        }
        let far = [(left, "0"), (reset, "99999999")];
        assert_eq!(waits(&Quota::STANDARD, 200, &far), Some(3600));
    }

    #[test]
    fn a_refusal_says_by_itself_that_nothing_is_left() {
        assert_eq!(waits(&Quota::STANDARD, 429, &[("x-ratelimit-reset", "8")]), Some(8));
        assert_eq!(waits(&Quota::STANDARD, 403, &[("x-ratelimit-reset", "8")]), None);
        let asked = (Timestamp::UNIX_EPOCH, Some(Duration::from_secs(3)));
        let used_up =
            |status| Quota::STANDARD.used_up(status, &HeaderMap::new(), asked).map(|w| w.as_secs());
        assert_eq!(used_up(StatusCode::TOO_MANY_REQUESTS), Some(3));
        assert_eq!(used_up(StatusCode::FORBIDDEN), Some(3));
        assert_eq!(used_up(StatusCode::SERVICE_UNAVAILABLE), None);
    }

    #[test]
    fn a_refusal_in_the_services_own_way_takes_its_wait_from_the_declared_headers() {
        let quota = declared("remaining = \"X-Left\"\nreset = \"X-Next\"\nreset_unit = \"ms\"");
        let headers = HeaderMap::from_iter([("x-next".parse().unwrap(), "2500".parse().unwrap())]);
        let now = Timestamp::UNIX_EPOCH;
        let wait = |asked| quota.refused(&headers, (now, asked)).map(|wait| wait.as_millis());
        assert_eq!((wait(None), wait(Some(Duration::from_secs(1)))), (Some(2500), Some(1000)));
        assert_eq!(Quota::STANDARD.refused(&headers, (now, None)), None);
    }

    #[test]
    fn a_services_clock_is_not_ours() {
        let pairs = [
            ("x-ratelimit-remaining", "0"),
            ("x-ratelimit-reset", "1767272400"),
            ("date", "Thu, 01 Jan 2026 12:59:30 GMT"),
        ];
        assert_eq!(waits(&Quota::STANDARD, 200, &pairs), Some(30));
    }

    #[test]
    fn what_a_declaration_says_counts_instead() {
        let quota = declared("remaining = \"X-Calls\"\nreset = \"X-Window\"\nreset_unit = \"ms\"");
        assert_eq!(waits(&quota, 200, &[("x-calls", "40/40"), ("x-window", "10000")]), Some(10));
        assert_eq!(waits(&quota, 200, &[("x-calls", "39/40"), ("x-window", "10000")]), None);
        let standard = [("ratelimit-remaining", "0"), ("ratelimit-reset", "9")];
        assert_eq!(waits(&quota, 200, &standard), None);
        let parts = declared("per = \"endpoint\"\nbucket = \"X-Part\"\nconcurrent = 3");
        assert_eq!((parts.per, parts.concurrent), (Per::Endpoint, Some(3)));
        assert_eq!(parts.places(true), Some((3, false)));
        let apart = declared("concurrent = 50\nconcurrent_writes = 15");
        assert_eq!(
            [false, true].map(|is_write| apart.places(is_write)),
            [Some((50, false)), Some((15, true))]
        );
        let headers = HeaderMap::from_iter([("x-part".parse().unwrap(), "core".parse().unwrap())]);
        assert_eq!(parts.bucket(&headers), Some("core"));
        let wrong =
            "per = \"planet\"\nreset_unit = \"h\"\nremaining = \"a b\"\nconcurrent = 0\nx = 1";
        let problems =
            Source::new("x.toml", wrong).read(|top| Some(Quota::declare(top))).unwrap_err();
        assert_eq!(problems.len(), 5, "{problems:?}");
    }
}
