//! A cache for records that change rarely and must not be believed for long.

use std::{
    collections::HashMap,
    fmt,
    hash::Hash,
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// How long an entry is believed: a change made by another process shows after this.
const LIFE: Duration = Duration::from_secs(1);
/// How many entries are kept; past this the cache starts over.
const MOST: usize = 50_000;

/// Records that were read less than a second ago.
///
/// A change made by this process shows at once: forgetting also turns away entries that were read
/// before the change and arrive after it.
pub(crate) struct Fresh<K, V> {
    entries: RwLock<HashMap<K, (V, Duration)>>,
    generation: AtomicU64,
}

impl<K, V> fmt::Debug for Fresh<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fresh")
    }
}

/// Proof of when a read began.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ticket {
    generation: u64,
    began: Duration,
}

impl<K: Eq + Hash, V: Clone> Fresh<K, V> {
    pub(crate) fn new() -> Self {
        Self { entries: RwLock::default(), generation: AtomicU64::new(0) }
    }

    /// The entry, if the read of it began within the last second; `now` is the steady time.
    pub(crate) fn get(&self, key: &K, now: Duration) -> Option<V> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        let (value, began) = entries.get(key)?;
        (now < *began + LIFE).then(|| value.clone())
    }

    /// To be taken before a read whose result is [`put`](Self::put).
    pub(crate) fn ticket(&self, now: Duration) -> Ticket {
        Ticket { generation: self.generation.load(Ordering::Acquire), began: now }
    }

    /// Keeps what a read that began with `ticket` returned.
    pub(crate) fn put(&self, key: K, value: V, ticket: Ticket) {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        if self.generation.load(Ordering::Acquire) != ticket.generation {
            // Neither what stands nor what comes is known to be the newest.
            entries.remove(&key);
            return;
        }
        if entries.len() >= MOST {
            entries.clear();
        }
        entries.insert(key, (value, ticket.began));
    }

    /// Forgets one entry, and every read under way.
    pub(crate) fn forget(&self, key: &K) {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        self.generation.fetch_add(1, Ordering::AcqRel);
        entries.remove(key);
    }

    /// Forgets everything, reads under way included.
    pub(crate) fn forget_all(&self) {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        self.generation.fetch_add(1, Ordering::AcqRel);
        entries.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_believed_for_a_second() {
        let cache = Fresh::new();
        cache.put("a", 1, cache.ticket(Duration::ZERO));
        assert_eq!(cache.get(&"a", Duration::from_millis(999)), Some(1));
        assert_eq!(cache.get(&"a", LIFE), None);
    }

    #[test]
    fn a_read_that_began_before_a_change_is_not_kept() {
        let cache = Fresh::new();
        let ticket = cache.ticket(Duration::ZERO);
        cache.forget_all();
        cache.put("a", 1, ticket);
        assert_eq!(cache.get(&"a", Duration::ZERO), None);
    }
}
