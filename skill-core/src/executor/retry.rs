//! Whether a request is sent again: pure decisions.

use std::time::Duration;

use http::{HeaderMap, header};
use jiff::{Timestamp, fmt::rfc2822};

use crate::error::{Error, Retry};

/// The longest `Retry-After` that is believed.
const LONGEST: Duration = Duration::from_secs(3600);
/// How long to wait before a second try when nobody said.
const PAUSE: Duration = Duration::from_millis(100);

/// What to do after a failure or a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Take it as the outcome.
    Keep,
    /// Send the request once more after this time.
    Again(Duration),
}

/// After a failure to send. `may_repeat`: the effect may happen twice without harm.
pub(super) fn after_failure(error: &Error, may_repeat: bool) -> Verdict {
    match error.retry_state() {
        Retry::Safe => Verdict::Again(PAUSE),
        Retry::IfIdempotent if may_repeat => Verdict::Again(PAUSE),
        Retry::IfIdempotent | Retry::Never | Retry::Exhausted => Verdict::Keep,
    }
}

/// After an answer. A service that was too busy and says when to come back is definite: nothing was
/// done.
pub(super) fn after_answer(is_busy: bool, wait: Option<Duration>) -> Verdict {
    wait.filter(|_| is_busy).map_or(Verdict::Keep, Verdict::Again)
}

/// `Retry-After` (RFC 9110 section 10.2.3): seconds or a date, between nothing and an hour. What
/// cannot be read is ignored.
pub(crate) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty() {
        let seconds = text.parse().unwrap_or(u64::MAX);
        return Some(Duration::from_secs(seconds).min(LONGEST));
    }
    let at = rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
    let wait = at.duration_since(now);
    Some(Duration::try_from(wait).unwrap_or(Duration::ZERO).min(LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn after(text: &str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(header::RETRY_AFTER, text.parse().unwrap());
        retry_after(&headers, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn retry_after_is_clamped_and_junk_is_ignored() {
        assert_eq!(after("7"), Some(Duration::from_secs(7)));
        assert_eq!(after("99999999999999999999"), Some(LONGEST));
        assert_eq!(after("Thu, 01 Jan 1970 00:00:09 GMT"), Some(Duration::from_secs(9)));
        assert_eq!(after("Wed, 31 Dec 1969 00:00:00 GMT"), Some(Duration::ZERO));
        for junk in ["", "-1", "+5", "soon", "1.5", "1e3"] {
            assert_eq!(after(junk), None, "{junk}");
        }
    }

    #[test]
    fn a_request_that_was_cut_is_repeated_only_when_that_is_harmless() {
        let failed = |retry| Error::new(ErrorKind::UpstreamUnreachable, "").retry(retry);
        assert_eq!(after_failure(&failed(Retry::Safe), false), Verdict::Again(PAUSE));
        assert_eq!(after_failure(&failed(Retry::IfIdempotent), true), Verdict::Again(PAUSE));
        assert_eq!(after_failure(&failed(Retry::IfIdempotent), false), Verdict::Keep);
        assert_eq!(after_failure(&failed(Retry::Exhausted), true), Verdict::Keep);
    }

    #[test]
    fn only_definite_refusals_with_a_time_are_repeated() {
        let second = Duration::from_secs(1);
        assert_eq!(after_answer(true, Some(second)), Verdict::Again(second));
        assert_eq!(after_answer(true, None), Verdict::Keep);
        assert_eq!(after_answer(false, Some(second)), Verdict::Keep);
    }
}
