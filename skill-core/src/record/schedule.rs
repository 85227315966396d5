//! Schedules: runs that the clock asks for.

use croner::{
    Cron,
    parser::{CronParser, Seconds, Year},
};
use jiff::{Timestamp, tz::TimeZone};

use crate::{
    error::{Error, Result},
    id::{ExecutionId, KeyId, ScheduleId},
    name::{ActionName, AgentId, OwnerId, UserId, Version},
    record::{
        Sealed,
        run::{Enqueue, Enqueued},
        scope::Scopes,
    },
};

/// The longest expression, in characters.
const LONGEST: usize = 256;
/// The most missed times that are counted at once.
const MISSED: usize = 10_000;

/// When a schedule is due: five fields (minute, hour, day of the month, month, day of the week), in
/// UTC. Names such as `MON` and `JAN`, `L`, `W` and `#` are understood; a day counts when either of
/// the two fields of days names it, as in cron.
///
/// ```
/// use skill_core::record::schedule::Times;
/// let at = |text: &str| text.parse::<jiff::Timestamp>().expect("a time");
/// let times = Times::parse("30 9 * * MON-FRI")?;
/// let friday = at("2026-03-06T09:30:00Z");
/// assert_eq!(times.after(friday), Some(at("2026-03-09T09:30:00Z")));
/// assert_eq!(times.until(at("2026-03-08T12:00:00Z")), Some(friday));
/// assert!(Times::parse("* * * *").is_err());
/// # Ok::<(), skill_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Times(Cron);

impl Times {
    /// Reads an expression.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) when it is none.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = || {
            Error::invalid(
                "expected five fields, in UTC: minute, hour, day of the month, month, day of the \
                 week, such as `30 9 * * MON-FRI`",
            )
        };
        let is_odd = |c: char| !(c.is_ascii_alphanumeric() || " */,-#?".contains(c));
        if text.len() > LONGEST || text.contains(is_odd) || text.split(' ').count() != 5 {
            return Err(wrong());
        }
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed);
        parser.build().parse(text).map(Self).map_err(|_| wrong())
    }

    /// The first time after `at`; `None` when there is none.
    pub fn after(&self, at: Timestamp) -> Option<Timestamp> {
        let at = at.to_zoned(TimeZone::UTC);
        Some(self.0.find_next_occurrence(&at, false).ok()?.timestamp())
    }

    /// The last time that is not after `at`; `None` when there is none.
    pub fn until(&self, at: Timestamp) -> Option<Timestamp> {
        let at = at.to_zoned(TimeZone::UTC);
        Some(self.0.find_previous_occurrence(&at, true).ok()?.timestamp())
    }

    /// How many times there are from `first` on and before `end`; more than 10,000 are not counted.
    fn between(&self, first: Timestamp, end: Timestamp) -> u64 {
        let times = std::iter::successors(Some(first), |at| self.after(*at));
        times.take_while(|at| *at < end).take(MISSED).count() as u64
    }

    /// What is to be done at `now` for whoever is due since `due`: the last time that has come is
    /// caught up with when it is not before `oldest`, and all earlier ones are missed.
    pub fn turn(&self, due: Timestamp, (now, oldest): (Timestamp, Timestamp)) -> Turn {
        let last = self.until(now).map_or(due, |last| last.max(due));
        let fires = (last >= oldest).then_some(last);
        let end = fires.unwrap_or_else(|| {
            last.checked_add(jiff::SignedDuration::from_nanos(1)).unwrap_or(last)
        });
        Turn { fires, missed: self.between(due, end), next: self.after(now.max(last)) }
    }
}

/// What a schedule that is due comes to.
///
/// ```
/// use skill_core::record::schedule::Times;
/// let at = |text: &str| text.parse::<jiff::Timestamp>().expect("a time");
/// let (due, now) = (at("2026-03-01T09:00:00Z"), at("2026-03-01T12:30:00Z"));
/// let turn = Times::parse("0 * * * *")?.turn(due, (now, at("2026-03-01T12:00:00Z")));
/// assert_eq!(turn.fires, Some(at("2026-03-01T12:00:00Z")));
/// assert_eq!((turn.missed, turn.next), (3, Some(at("2026-03-01T13:00:00Z"))));
/// # Ok::<(), skill_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// The due time that it runs for; `None` when even the last one is too long ago.
    pub fires: Option<Timestamp>,
    /// How many due times went by unused.
    pub missed: u64,
    /// When it is due next.
    pub next: Option<Timestamp>,
}

/// A run that is asked for again and again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// Its name in the API.
    pub id: ScheduleId,
    /// Whom it belongs to.
    pub owner: OwnerId,
    /// The person that its runs act for.
    pub user: Option<UserId>,
    /// The key that made it: once that is revoked, nothing runs any more.
    pub key: Option<KeyId>,
    /// The agent that its runs belong to.
    pub agent: AgentId,
    /// What runs.
    pub action: ActionName,
    /// In which version; `v1` is the newest `v1.x` of each time.
    pub version: Version,
    /// When, as [`Times`] reads it.
    pub cron: String,
    /// With which inputs.
    pub input: Sealed,
    /// What its runs may do: no more than its maker might.
    pub scopes: Scopes,
    /// The tier of limits of its maker's key.
    pub tier: Option<String>,
    /// When it is due next; `None` while it is disabled.
    pub next_run_at: Option<Timestamp>,
    /// Why the engine disabled it, in plain words.
    pub stopped: Option<String>,
    /// The last due time that was used.
    pub last_due_at: Option<Timestamp>,
    /// The run that was made of it.
    pub last_run: Option<ExecutionId>,
    /// Why no run was made of it, in plain words.
    pub last_error: Option<String>,
    /// How many due times went by unused.
    pub missed: u64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When somebody changed it last.
    pub updated_at: Timestamp,
}

/// A due time of a schedule that is used, or given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Firing {
    /// The schedule, as it was seen: one that moved on since stays as it is.
    pub seen: Schedule,
    /// The same schedule afterwards.
    pub then: Schedule,
    /// The run that is to be queued.
    pub run: Option<Enqueue>,
    /// When this happens.
    pub at: Timestamp,
}

/// What became of a [`Firing`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fired {
    /// It is kept, durably, and what became of its run.
    Done(Option<Enqueued>),
    /// Somebody else was first, or the schedule is another by now: nothing changed.
    Late,
    /// Too many runs of the owner wait: nothing changed.
    Full,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn expressions_of_five_fields_are_read_and_nothing_else() {
        for text in [
            "* * * * *",
            "*/15 0-6 1,15 * *",
            "0 0 L * *",
            "0 9 * * MON#1",
            "0 9 15W * *",
            "0 0 29 2 *",
            "0 0 * * SUN,7",
        ] {
            assert!(
                Times::parse(text)
                    .is_ok_and(|times| times.after(at("2026-01-01T00:00:00Z")).is_some()),
                "{text}"
            );
        }
        for text in [
            "",
            " ",
            "* * * *",
            "* * * * * *",
            "* * * * * * *",
            "@daily",
            "@reboot",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "* * * 13 *",
            "* * * * 8",
            "a b c d e",
            "* * * * *\n",
            "*  * * * *",
            "1-0 * * * *",
            "*/0 * * * *",
            "* * * * \u{0661}",
            &format!("{} * * * *", "1,".repeat(200)),
        ] {
            assert!(Times::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_day_that_never_comes_has_no_time() {
        for text in ["0 0 30 2 *", "0 0 31 4,6,9,11 *"] {
            let times = Times::parse(text).unwrap();
            assert_eq!(times.after(at("2026-01-01T00:00:00Z")), None, "{text}");
        }
    }

    #[test]
    fn times_are_exact_over_the_ends_of_months_and_years() {
        for (text, from, next) in [
            ("0 0 1 1 *", "2026-12-31T23:59:59.999Z", "2027-01-01T00:00:00Z"),
            ("0 0 29 2 *", "2026-03-01T00:00:00Z", "2028-02-29T00:00:00Z"),
            ("59 23 L * *", "2026-02-28T23:58:00Z", "2026-02-28T23:59:00Z"),
            ("30 2 * * *", "2026-03-29T01:00:00Z", "2026-03-29T02:30:00Z"),
            ("* * * * *", "2026-03-01T12:00:00Z", "2026-03-01T12:01:00Z"),
            ("0 12 13 * FRI", "2026-03-01T00:00:00Z", "2026-03-06T12:00:00Z"),
        ] {
            assert_eq!(Times::parse(text).unwrap().after(at(from)), Some(at(next)), "{text}");
        }
    }

    #[test]
    fn only_the_last_missed_time_is_caught_up_with() {
        let times = Times::parse("0 * * * *").unwrap();
        let hour = |hour: i64| at("2026-03-01T00:00:00Z") + jiff::SignedDuration::from_hours(hour);
        let minute = jiff::SignedDuration::from_mins(1);
        for (due, now, oldest, fires, missed, next) in [
            // On time.
            (9, hour(9), hour(8), Some(9), 0, 10),
            // Three hours late: the last time is used.
            (9, hour(12) + minute, hour(11), Some(12), 3, 13),
            // Even the last one is too old.
            (9, hour(12) + minute * 50, hour(12) + minute, None, 4, 13),
            // The clock went back behind the due time: nothing is lost, nothing comes twice.
            (9, hour(8), hour(7), Some(9), 0, 10),
        ] {
            let turn = times.turn(hour(due), (now, oldest));
            assert_eq!(turn, Turn { fires: fires.map(hour), missed, next: Some(hour(next)) });
        }
    }

    #[test]
    fn a_year_of_missed_minutes_is_not_counted_to_its_end() {
        let times = Times::parse("* * * * *").unwrap();
        let (due, now) = (at("2025-01-01T00:00:00Z"), at("2026-01-01T00:00:00Z"));
        let turn = times.turn(due, (now, now));
        assert_eq!((turn.fires, turn.missed), (Some(now), 10_000));
    }
}
