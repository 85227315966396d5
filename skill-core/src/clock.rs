//! Time. The only module that reads it: everything else is handed a [`Clock`] or a moment.

use std::{
    fmt::Debug,
    sync::Mutex,
    time::{Duration, Instant, SystemTime},
};

use jiff::Timestamp;

/// Tells the time. Tests hand in a [`ManualClock`] and move it instead of sleeping.
pub trait Clock: Debug + Send + Sync + 'static {
    /// The time of day, which may jump when somebody sets the system's clock.
    fn now(&self) -> Timestamp;

    /// Time since some fixed moment; it never goes back.
    fn steady(&self) -> Duration;
}

const _: Option<&dyn Clock> = None;

/// The system's clock.
///
/// ```
/// use skill_core::clock::{Clock, SystemClock};
/// let clock = SystemClock::new();
/// assert!(clock.steady() <= clock.steady());
/// ```
#[derive(Debug, Clone)]
pub struct SystemClock {
    started: Instant,
}

impl SystemClock {
    /// Returns the system's clock; its steady time begins here.
    #[expect(clippy::new_without_default, reason = "one way in")]
    pub fn new() -> Self {
        Self { started: Instant::now() }
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock that everything else uses")]
    fn now(&self) -> Timestamp {
        // Whole microseconds: what stores keep, so that records read back as they were.
        let now = Timestamp::try_from(SystemTime::now()).unwrap_or(Timestamp::UNIX_EPOCH);
        Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now)
    }

    fn steady(&self) -> Duration {
        self.started.elapsed()
    }
}

/// A clock that stands still until it is moved.
///
/// ```
/// use std::time::Duration;
/// use skill_core::clock::{Clock, ManualClock};
/// let clock = ManualClock::new("2026-01-01T00:00:00Z".parse().expect("a valid time"));
/// clock.advance(Duration::from_secs(60));
/// assert_eq!(clock.now().to_string(), "2026-01-01T00:01:00Z");
/// ```
#[derive(Debug)]
pub struct ManualClock(Mutex<(Timestamp, Duration)>);

impl ManualClock {
    /// Returns a clock that stands at `now`.
    pub fn new(now: Timestamp) -> Self {
        Self(Mutex::new((now, Duration::ZERO)))
    }

    /// Moves the time of day and the steady time forward.
    pub fn advance(&self, by: Duration) {
        let mut at = self.lock();
        at.0 += by;
        at.1 += by;
    }

    /// Sets the time of day, as an operator does; the steady time is not touched.
    pub fn set(&self, now: Timestamp) {
        self.lock().0 = now;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, (Timestamp, Duration)> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.lock().0
    }

    fn steady(&self) -> Duration {
        self.lock().1
    }
}

/// The instant by which something must have ended, handed down instead of restarted.
///
/// Deadlines run on tokio's clock, so that a paused runtime moves them too.
///
/// ```
/// use std::time::Duration;
/// use skill_core::clock::Deadline;
/// let deadline = Deadline::after(Duration::from_secs(30));
/// assert!(deadline.remaining() <= Duration::from_secs(30));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(tokio::time::Instant);

impl Deadline {
    /// Returns the deadline `limit` from this moment.
    pub fn after(limit: Duration) -> Self {
        Self(tokio::time::Instant::now() + limit)
    }

    /// The earlier of this deadline and `limit` from this moment.
    #[must_use]
    pub fn within(self, limit: Duration) -> Self {
        self.min(Self::after(limit))
    }

    /// The instant, for tokio's timers.
    pub fn instant(self) -> tokio::time::Instant {
        self.0
    }

    /// How much time is left; zero when none is.
    pub fn remaining(self) -> Duration {
        self.0.saturating_duration_since(tokio::time::Instant::now())
    }

    /// Runs `work` until the deadline; `None` when it passed first and `work` was dropped.
    pub async fn run<F: Future>(self, work: F) -> Option<F::Output> {
        tokio::time::timeout_at(self.0, work).await.ok()
    }
}

/// A stretch of time that is being measured.
///
/// ```
/// let watch = skill_core::clock::Stopwatch::start();
/// assert!(watch.elapsed().as_secs() < 60);
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Begins to measure.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// The time since the start.
    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}
