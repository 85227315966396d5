//! Randomness that repeats, for simulations. It is compiled for tests only.

use std::cell::Cell;

thread_local!(static STATE: Cell<Option<u64>> = const { Cell::new(None) });

/// While it lives, [`random`](super::random) on this thread follows from the seed.
///
/// ```
/// use skill_core::id::{random, seeded::Seeded};
/// let draw = |seed| { let _seeded = Seeded::begin(seed); random::<8>() };
/// assert_eq!(draw(7)?, draw(7)?);
/// # Ok::<(), skill_core::Error>(())
/// ```
#[derive(Debug)]
pub struct Seeded(());

impl Seeded {
    /// Begins at `seed`.
    #[must_use]
    pub fn begin(seed: u64) -> Self {
        STATE.set(Some(seed));
        Self(())
    }
}

impl Drop for Seeded {
    fn drop(&mut self) {
        STATE.set(None);
    }
}

/// Fills `bytes` when this thread has a seed (SplitMix64).
pub(super) fn fill(bytes: &mut [u8]) -> bool {
    let Some(mut state) = STATE.get() else { return false };
    for part in bytes.chunks_mut(8) {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        part.copy_from_slice(&(z ^ (z >> 31)).to_le_bytes()[..part.len()]);
    }
    STATE.set(Some(state));
    true
}
