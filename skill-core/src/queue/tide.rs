//! The time of day as the queue goes by it, whatever somebody does to the system's clock.
//!
//! A clock that is set back would leave runs waiting that are due, and one that is set forward
//! would end runs that have hardly begun. Between restarts the steady time tells the two apart
//! from time that went by.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};

use crate::clock::Clock;

/// What is no jump: clocks are slewed by this much.
const SLACK: SignedDuration = SignedDuration::from_secs(5);

#[derive(Debug)]
pub(super) struct Tide {
    /// Both times at the start.
    start: (Timestamp, Duration),
    /// Both times when somebody asked last.
    last: Mutex<(Timestamp, Duration)>,
}

impl Tide {
    pub(super) fn new(clock: &dyn Clock) -> Self {
        let now = (clock.now(), clock.steady());
        Self { start: now, last: Mutex::new(now) }
    }

    /// The time of day, but never earlier than it was: set back, the clock goes on from where it
    /// stood until the next start.
    pub(super) fn now(&self, clock: &dyn Clock) -> Timestamp {
        let (wall, steady) = (clock.now(), clock.steady());
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let carried = since(*last, steady);
        let was_set_back = carried.duration_since(wall) > SLACK;
        let now = if was_set_back { carried } else { wall };
        *last = (now, steady);
        now
    }

    /// How long until `deadline` for a run that was asked for at `created`: never more than it had
    /// in all, and no less because somebody set the clock forward meanwhile.
    pub(super) fn left(
        &self,
        clock: &dyn Clock,
        (created, deadline): (Timestamp, Timestamp),
    ) -> Duration {
        let by_clock = deadline.duration_since(self.now(clock));
        let by_steps = deadline.duration_since(since(self.start, clock.steady()));
        let was_set_forward = by_steps - by_clock > SLACK;
        let left = if was_set_forward { by_steps } else { by_clock };
        let life = deadline.duration_since(created);
        Duration::try_from(left.min(life)).unwrap_or_default()
    }
}

fn since((then, steady): (Timestamp, Duration), now: Duration) -> Timestamp {
    then.checked_add(now.saturating_sub(steady)).unwrap_or(then)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + seconds).unwrap()
    }

    #[test]
    fn a_clock_that_is_set_back_goes_on() {
        let clock = ManualClock::new(at(0));
        let tide = Tide::new(&clock);
        clock.advance(Duration::from_secs(10));
        assert_eq!(tide.now(&clock), at(10));
        clock.set(at(-7_190));
        assert_eq!(tide.now(&clock), at(10));
        clock.advance(Duration::from_secs(60));
        assert_eq!(tide.now(&clock), at(70));
        clock.set(at(200));
        assert_eq!(tide.now(&clock), at(200));
    }

    #[test]
    fn a_small_correction_is_taken_as_it_is() {
        let clock = ManualClock::new(at(0));
        let tide = Tide::new(&clock);
        clock.advance(Duration::from_secs(10));
        clock.set(at(8));
        assert_eq!(tide.now(&clock), at(8));
    }

    #[test]
    fn a_clock_that_is_set_forward_takes_no_time_away() {
        let clock = ManualClock::new(at(0));
        let tide = Tide::new(&clock);
        let run = (at(0), at(900));
        clock.advance(Duration::from_secs(100));
        assert_eq!(tide.left(&clock, run), Duration::from_secs(800));
        clock.set(at(1_000_000));
        assert_eq!(tide.left(&clock, run), Duration::from_secs(800));
        clock.advance(Duration::from_secs(800));
        assert_eq!(tide.left(&clock, run), Duration::ZERO);
        let later = (at(1_000_800), at(1_001_700));
        assert_eq!(tide.left(&clock, later), Duration::from_secs(900));
    }
}
