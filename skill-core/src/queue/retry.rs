//! Whether a run gets another attempt, and when: pure decisions.

use std::time::Duration;

use http::StatusCode;

use super::Settings;
use crate::error::{Error, ErrorKind, Retry};

/// What an attempt came to, as far as repeating it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is the outcome.
    Final,
    /// The service was not reached, or turned the request away for now: nothing took effect. An
    /// outage is no fault of the run, so that time alone bounds how often it is tried.
    Refused,
    /// It failed, and may go better next time.
    Transient,
    /// Nobody knows whether it took effect.
    Unknown,
}

/// What a service's answer means. 429 and 503 are definite: nothing was done.
pub(super) fn of_answer(status: StatusCode) -> Verdict {
    match status.as_u16() {
        429 | 503 => Verdict::Refused,
        408 | 500 | 502 | 504 => Verdict::Unknown,
        _ => Verdict::Final,
    }
}

/// What an error of a call means.
pub(super) fn of_error(error: &Error) -> Verdict {
    match (error.kind(), error.retry_state()) {
        (_, Retry::Safe) => Verdict::Refused,
        (_, Retry::IfIdempotent) => Verdict::Unknown,
        (ErrorKind::RateLimited | ErrorKind::DailyLimit | ErrorKind::Unavailable, _) => {
            Verdict::Refused
        }
        (_, Retry::Never | Retry::Exhausted) => Verdict::Final,
    }
}

/// What an error of a skill means. What its calls may have done stands in its journal.
pub(super) fn of_skill(error: &Error) -> Verdict {
    match of_error(error) {
        Verdict::Unknown => Verdict::Transient,
        Verdict::Final if error.is_retryable() && error.retry_state() != Retry::Exhausted => {
            Verdict::Transient
        }
        // What the skill itself says of passing trouble counts: only a service is out for long.
        Verdict::Refused if error.retry_state() != Retry::Safe => Verdict::Transient,
        verdict @ (Verdict::Final | Verdict::Refused | Verdict::Transient) => verdict,
    }
}

/// How far a run is when an attempt has ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stand {
    /// How many attempts it had, without those that were lost with their process.
    pub(super) had: u32,
    /// How many it may have.
    pub(super) most: u32,
    /// Whether it may be repeated although the last attempt may have taken effect.
    pub(super) may_repeat: bool,
    /// How long until its deadline.
    pub(super) left: Duration,
}

/// After how long the next attempt begins; `None` when this was the last one.
///
/// `asked` is what the service asked for, `random` any number: the jitter is drawn from it.
pub(super) fn again(
    verdict: Verdict,
    stand: Stand,
    (asked, random): (Option<Duration>, u64),
    settings: &Settings,
) -> Option<Duration> {
    let may = match verdict {
        Verdict::Final => false,
        Verdict::Refused => true,
        Verdict::Transient => stand.had < stand.most,
        Verdict::Unknown => stand.may_repeat && stand.had < stand.most,
    };
    let wait = jitter(stand.had, random, settings).max(asked.unwrap_or_default());
    (may && wait < stand.left).then_some(wait)
}

/// A time between nothing and the backoff of this attempt, which doubles with each.
fn jitter(had: u32, random: u64, settings: &Settings) -> Duration {
    let factor = 1_u32.checked_shl(had.saturating_sub(1)).unwrap_or(u32::MAX);
    let most = settings.backoff.saturating_mul(factor).min(settings.longest_backoff);
    let most = u64::try_from(most.as_micros()).unwrap_or(u64::MAX);
    Duration::from_micros(random % most.saturating_add(1).max(1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stand(had: u32) -> Stand {
        Stand { had, most: 5, may_repeat: false, left: Duration::from_secs(900) }
    }

    fn wait(verdict: Verdict, stand: Stand) -> Option<Duration> {
        again(verdict, stand, (None, u64::MAX / 3), &Settings::default())
    }

    proptest! {
        #[test]
        fn jitter_lies_between_nothing_and_the_backoff(had in 1_u32..80, random: u64) {
            let settings = Settings::default();
            let most = Duration::from_secs(1).saturating_mul(1_u32.checked_shl(had - 1).unwrap_or(u32::MAX));
            prop_assert!(jitter(had, random, &settings) <= most.min(Duration::from_secs(300)));
        }

        #[test]
        fn what_a_service_asks_for_is_kept(had in 1_u32..5, random: u64, asked in 0_u64..800) {
            let asked = Duration::from_secs(asked);
            let next = again(Verdict::Transient, stand(had), (Some(asked), random), &Settings::default());
            prop_assert!(next.is_some_and(|wait| wait >= asked));
        }
    }

    #[test]
    fn jitter_uses_the_whole_width() {
        let settings = Settings::default();
        let drawn = (0..1_000_u64).map(|n| jitter(3, n * 4_003, &settings)).collect::<Vec<_>>();
        assert!(drawn.iter().any(|wait| *wait < Duration::from_millis(200)));
        assert!(drawn.iter().any(|wait| *wait > Duration::from_millis(3_800)));
    }

    #[test]
    fn only_what_certainly_did_nothing_is_repeated_blindly() {
        assert!(wait(Verdict::Transient, stand(1)).is_some());
        assert!(wait(Verdict::Refused, stand(1)).is_some());
        assert!(wait(Verdict::Unknown, stand(1)).is_none());
        assert!(wait(Verdict::Unknown, Stand { may_repeat: true, ..stand(1) }).is_some());
        assert!(wait(Verdict::Final, Stand { may_repeat: true, ..stand(1) }).is_none());
    }

    #[test]
    fn attempts_and_time_are_bounds() {
        assert!(wait(Verdict::Transient, stand(5)).is_none());
        assert!(wait(Verdict::Unknown, Stand { may_repeat: true, ..stand(5) }).is_none());
        let late = Stand { left: Duration::ZERO, ..stand(1) };
        assert!(wait(Verdict::Transient, late).is_none());
        let asked = (Some(Duration::from_secs(901)), 0);
        assert!(again(Verdict::Transient, stand(1), asked, &Settings::default()).is_none());
    }

    #[test]
    fn an_outage_uses_up_no_attempts() {
        assert!(wait(Verdict::Refused, stand(50)).is_some());
        assert!(wait(Verdict::Refused, Stand { left: Duration::ZERO, ..stand(50) }).is_none());
    }

    #[test]
    fn answers_are_sorted_as_they_are_meant() {
        let of = |status| of_answer(StatusCode::from_u16(status).unwrap());
        assert_eq!([429, 503].map(of), [Verdict::Refused; 2]);
        assert_eq!([408, 500, 502, 504].map(of), [Verdict::Unknown; 4]);
        assert_eq!([200, 302, 400, 401, 403, 404, 409, 422, 501].map(of), [Verdict::Final; 9]);
    }

    #[test]
    fn a_skill_is_repeated_after_what_may_pass() {
        let error = |kind| Error::new(kind, "");
        assert_eq!(of_skill(&error(ErrorKind::Unavailable)), Verdict::Transient);
        let unreached = error(ErrorKind::UpstreamUnreachable).retry(Retry::Safe);
        assert_eq!(of_skill(&unreached), Verdict::Refused);
        let cut = error(ErrorKind::Timeout).retry(Retry::IfIdempotent);
        assert_eq!(of_skill(&cut), Verdict::Transient);
        assert_eq!(of_skill(&error(ErrorKind::OutcomeUnknown)), Verdict::Final);
        assert_eq!(of_skill(&error(ErrorKind::ActionFailed)), Verdict::Final);
        let done = error(ErrorKind::UpstreamUnreachable).retry(Retry::Exhausted);
        assert_eq!(of_skill(&done), Verdict::Final);
    }
}
