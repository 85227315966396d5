//! Choices that follow from a seed.

use std::{
    sync::{Mutex, MutexGuard},
    time::Duration,
};

/// A stream of choices (SplitMix64). Whoever holds it may choose: the order of choices is part of
/// what a seed repeats.
pub(crate) struct Dice(Mutex<u64>);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Mutex::new(seed ^ 0x5851_f42d_4c95_7f2d))
    }

    fn state(&self) -> MutexGuard<'_, u64> {
        self.0.lock().unwrap()
    }

    pub(crate) fn roll(&self) -> u64 {
        let mut state = self.state();
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = *state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 up to, and without, `end`.
    pub(crate) fn below(&self, end: u64) -> u64 {
        self.roll() % end.max(1)
    }

    pub(crate) fn between(&self, least: u64, most: u64) -> u64 {
        least + self.below(most - least + 1)
    }

    /// True in so many of a thousand cases.
    pub(crate) fn in_thousand(&self, cases: u64) -> bool {
        self.below(1000) < cases
    }

    pub(crate) fn pick<T: Clone>(&self, from: &[T]) -> T {
        from[usize::try_from(self.below(from.len() as u64)).unwrap()].clone()
    }

    /// A time of whole milliseconds, short ones more often.
    pub(crate) fn delay(&self, most: u64) -> Duration {
        let most = 1 + self.below(most.max(1));
        Duration::from_millis(self.below(most + 1))
    }
}
