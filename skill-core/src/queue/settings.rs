//! Bounds of queued runs.

use std::time::Duration;

/// Bounds of queued runs and of those who work on them.
///
/// ```
/// use skill_core::queue::Settings;
/// assert_eq!(Settings::default().attempts, 5);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// How many runs this engine works on at once; with 0 they wait for another one.
    pub slots: u32,
    /// How many attempts a run gets that fail. Those that were lost with their process are counted
    /// apart; one whose service was not reached, or said to come later (429, 503), is followed by
    /// another whatever their number: the run's deadline ends them.
    pub attempts: u32,
    /// How many attempts of a run may be lost with their process.
    pub crashes: u32,
    /// How long a run waits for its second attempt, at most; it doubles with each.
    pub backoff: Duration,
    /// How long a run waits between two attempts, at most.
    pub longest_backoff: Duration,
    /// How long a run may take when nobody says.
    pub deadline: Duration,
    /// How long a run may take at most.
    pub longest_deadline: Duration,
    /// How long a worker holds a run without a sign of life.
    pub lease: Duration,
    /// The most runs that may wait for one owner.
    pub depth: u64,
    /// The most bytes of a result that are kept with its run; a larger one spills.
    pub result_bytes: usize,
    /// How long runs under way get to end when the engine stops.
    pub drain: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            slots: 32,
            attempts: 5,
            crashes: 5,
            backoff: Duration::from_secs(1),
            longest_backoff: Duration::from_secs(300),
            deadline: Duration::from_secs(15 * 60),
            longest_deadline: Duration::from_secs(24 * 3600),
            lease: Duration::from_secs(30),
            depth: 100_000,
            result_bytes: 1 << 20,
            drain: Duration::from_secs(30),
        }
    }
}
