//! How services write times from now on: a number of some unit, or a moment.

use std::time::Duration;

use jiff::{Timestamp, fmt::rfc2822};

use crate::declaration::Table;

/// How a service says when something ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// In so many milliseconds times this.
    Milliseconds(u64),
    /// At a time: RFC 3339, RFC 9110, or seconds or milliseconds since 1970.
    Time,
}

impl Unit {
    /// Reads the unit under `key`; seconds when it is not there.
    pub(crate) fn declare(table: &Table<'_>, key: &str) -> Self {
        match table.text(key) {
            None | Some("s") => Self::Milliseconds(1000),
            Some("ms") => Self::Milliseconds(1),
            Some("min") => Self::Milliseconds(60_000),
            Some("time") => Self::Time,
            Some(other) => {
                let expected = "expected `s`, `ms`, `min` or `time`";
                table.problem(key, format!("`{key}`: {expected}, got `{other}`"));
                Self::Time
            }
        }
    }

    /// How long it is from `now` on; nothing for what is over, `None` for what cannot be read.
    pub(crate) fn span(self, text: &str, now: Timestamp) -> Option<Duration> {
        let text = text.trim();
        let number = number(text);
        let milliseconds = match self {
            Self::Milliseconds(unit) => (number? * unit as f64) as u64,
            Self::Time => {
                let end = match number {
                    // Seconds have ten digits until the year 2286.
                    Some(n) if n >= 1e11 => Timestamp::from_millisecond(n as i64).ok()?,
                    Some(n) => Timestamp::from_millisecond((n * 1000.0) as i64).ok()?,
                    None => moment(text)?,
                };
                u64::try_from(end.duration_since(now).as_millis()).unwrap_or(0)
            }
        };
        Some(Duration::from_millis(milliseconds))
    }
}

/// A number that is not negative, without sign and exponent.
fn number(text: &str) -> Option<f64> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    text.parse::<f64>().ok().filter(|number| is_number && number.is_finite())
}

fn moment(text: &str) -> Option<Timestamp> {
    let http = || rfc2822::DateTimeParser::new().parse_timestamp(text).ok();
    text.parse::<Timestamp>().ok().or_else(http)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_services_write_them() {
        let now = Timestamp::from_second(1000).unwrap();
        let span = |unit: Unit, text: &str| unit.span(text, now).map(|span| span.as_millis());
        for (unit, text, milliseconds) in [
            (Unit::Milliseconds(1000), "7", Some(7000)),
            (Unit::Milliseconds(1000), "0.25", Some(250)),
            (Unit::Milliseconds(1), "7", Some(7)),
            (Unit::Milliseconds(60_000), " 2 ", Some(120_000)),
            (Unit::Time, "1005", Some(5000)),
            (Unit::Time, "1005.5", Some(5500)),
            (Unit::Time, "900", Some(0)),
            (Unit::Time, "1700000000000", Some(1_699_999_000_000)),
            (Unit::Time, "1970-01-01T00:16:50Z", Some(10_000)),
            (Unit::Time, "Thu, 01 Jan 1970 00:16:50 GMT", Some(10_000)),
            (Unit::Milliseconds(1000), "-1", None),
            (Unit::Milliseconds(1000), "1e9", None),
            (Unit::Milliseconds(1000), "soon", None),
            (Unit::Milliseconds(1000), "", None),
            (Unit::Time, "soon", None),
        ] {
            assert_eq!(span(unit, text), milliseconds, "{unit:?} {text}");
        }
    }
}
