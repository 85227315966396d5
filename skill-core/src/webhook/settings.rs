//! Bounds of deliveries, and when they are tried again.

use std::time::Duration;

/// The pauses between two attempts, in seconds: ten attempts over about a day.
const PAUSES: [u64; 9] = [5, 30, 120, 600, 1_800, 3_600, 10_800, 25_200, 43_200];

/// Bounds of deliveries and of those who make them.
///
/// ```
/// use skill_core::webhook::Settings;
/// let settings = Settings::default();
/// let all: std::time::Duration = settings.pauses.iter().sum();
/// assert_eq!((settings.pauses.len() + 1, all.as_secs() / 3600), (10, 23));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// How many messages this engine sends at once; with 0 they wait for another one.
    pub at_once: u32,
    /// How many of them go to one endpoint.
    pub at_once_per_endpoint: u32,
    /// How long an attempt may take.
    pub timeout: Duration,
    /// The pauses between two attempts: there is one attempt more than there are pauses.
    pub pauses: Vec<Duration>,
    /// How long attempts under way get to end when the engine stops.
    pub drain: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            at_once: 32,
            at_once_per_endpoint: 4,
            timeout: Duration::from_secs(15),
            pauses: PAUSES.map(Duration::from_secs).to_vec(),
            drain: Duration::from_secs(30),
        }
    }
}

impl Settings {
    /// How long to wait after an attempt failed, the first being number 1; `None` after the last.
    ///
    /// A fifth more or less than the pause, so that what failed together does not come again
    /// together, and no less than the receiver asked for. `random` is any number.
    pub(super) fn pause(
        &self,
        attempts: u32,
        (asked, random): (Option<Duration>, u64),
    ) -> Option<Duration> {
        let pause = *self.pauses.get(attempts.saturating_sub(1) as usize)?;
        let width = u64::try_from(pause.as_micros()).unwrap_or(u64::MAX) / 5 * 2;
        let jitter = Duration::from_micros(random % width.saturating_add(1));
        Some((pause * 4 / 5 + jitter).max(asked.unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_pause_is_about_what_it_is_said_to_be(attempts in 1_u32..=9, random: u64) {
            let said = Duration::from_secs(PAUSES[attempts as usize - 1]);
            let pause = Settings::default().pause(attempts, (None, random)).unwrap();
            prop_assert!(said * 4 / 5 <= pause && pause <= said * 6 / 5, "{pause:?}");
        }
    }

    #[test]
    fn a_receiver_is_left_alone_for_as_long_as_it_asks() {
        let asked = Duration::from_secs(3_600);
        let settings = Settings::default();
        assert_eq!(settings.pause(1, (Some(asked), 7)), Some(asked));
        assert!(settings.pause(8, (Some(asked), 7)) > Some(asked));
        assert_eq!(settings.pause(10, (Some(asked), 7)), None);
    }
}
