//! Usage: how much of a limit was reserved and used.
//!
//! A process does not ask the store for every call. It reserves a *share* of a limit, durably, and
//! spends it from memory; what it spent is written with the next reservation. After a crash the
//! rest of a share counts as spent: calls are wasted, never granted twice.

use std::collections::BTreeMap;

/// The window that a limit counts over.
///
/// ```
/// use skill_core::record::usage::Window;
/// assert_eq!(Window::Minute.as_str(), "minute");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Window {
    /// Any 60 seconds, in buckets of one second.
    Minute,
    /// One day from midnight to midnight UTC, in one bucket.
    Day,
}

impl Window {
    /// The name under which stores keep the window.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Day => "day",
        }
    }

    /// How many buckets make the window.
    pub fn buckets(self) -> i64 {
        match self {
            Self::Minute => 60,
            Self::Day => 1,
        }
    }
}

/// A process asks for part of a limit.
///
/// ```
/// use skill_core::record::usage::{Reserve, Window};
/// let reserve = Reserve {
///     subject: "key_1".into(), window: Window::Minute, node: "node_1".into(),
///     spent: vec![(100, 3)], now: 101, until: 105, want: 10, limit: 100,
/// };
/// assert!(reserve.until >= reserve.now);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reserve {
    /// What is limited: a key's id, for example.
    pub subject: String,
    /// The window.
    pub window: Window,
    /// Who asks: one counter of one start of one process, which alone knows what it spent.
    pub node: String,
    /// What this process has spent, by bucket: replaces whatever stands for it.
    pub spent: Vec<(i64, u32)>,
    /// The present bucket. Buckets up to `now - window.buckets()` have left the window.
    pub now: i64,
    /// The last bucket in which the share may be spent: it counts there.
    pub until: i64,
    /// How many calls are wanted.
    pub want: u32,
    /// The limit.
    pub limit: u32,
}

/// What a process was given.
///
/// ```
/// use skill_core::record::usage::Share;
/// assert_eq!(Share { granted: 0, others: vec![(7, 100)] }.granted, 0);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Share {
    /// How many calls it may let through up to the bucket `until`.
    pub granted: u32,
    /// What other processes hold or spent in the window, by bucket.
    pub others: Vec<(i64, u32)>,
}

/// Everything that stands for one subject and one window: how much, by process and bucket.
///
/// Every store decides by [`Ledger::settle`], inside a transaction; stores differ only in how they
/// keep the entries.
///
/// ```
/// use skill_core::record::usage::{Ledger, Reserve, Window};
/// let mut ledger = Ledger::default();
/// let reserve = Reserve {
///     subject: "key_1".into(), window: Window::Minute, node: "node_1".into(),
///     spent: Vec::new(), now: 100, until: 105, want: 10, limit: 8,
/// };
/// assert_eq!(ledger.settle(&reserve).granted, 8);
/// assert_eq!(ledger.0[&("node_1".to_string(), 105)], 8);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ledger(pub BTreeMap<(String, i64), u32>);

impl Ledger {
    /// Replaces what stands for the process by what it spent, and grants what there is room for.
    ///
    /// No window ever holds more calls than the limit, as long as the processes' readings of the
    /// clock are less than a window apart when they are settled.
    pub fn settle(&mut self, reserve: &Reserve) -> Share {
        let window = reserve.window.buckets();
        let until = reserve.until.max(reserve.now);
        self.0.retain(|(node, _), _| *node != reserve.node);
        for (bucket, count) in &reserve.spent {
            self.add(&reserve.node, *bucket, *count);
        }
        self.pull_back(until.saturating_add(window), until);
        // One window longer than needed: a process whose clock is a little behind still sees what
        // stands in its own window.
        let gone = reserve.now.saturating_sub(window.saturating_mul(2));
        self.0.retain(|(_, bucket), count| *bucket > gone && *count > 0);

        let start = reserve.now.saturating_sub(window);
        let standing = || self.0.iter().filter(|((_, bucket), _)| *bucket > start);
        let used: u64 = standing().map(|(_, count)| u64::from(*count)).sum();
        let room = u64::from(reserve.limit).saturating_sub(used);
        let granted = reserve.want.min(u32::try_from(room).unwrap_or(u32::MAX));
        let mut others = BTreeMap::<i64, u32>::new();
        for ((_, bucket), count) in standing().filter(|((node, _), _)| *node != reserve.node) {
            let sum = others.entry(*bucket).or_default();
            *sum = sum.saturating_add(*count);
        }
        if granted > 0 {
            self.add(&reserve.node, until, granted);
        }
        Share { granted, others: others.into_iter().collect() }
    }

    fn add(&mut self, node: &str, bucket: i64, count: u32) {
        let sum = self.0.entry((node.to_owned(), bucket)).or_default();
        *sum = sum.saturating_add(count);
    }

    /// Moves what stands beyond `edge` to `until`: no clock that is right puts anything there.
    fn pull_back(&mut self, edge: i64, until: i64) {
        let beyond: Vec<_> = self.0.keys().filter(|(_, bucket)| *bucket > edge).cloned().collect();
        for key in beyond {
            let count = self.0.remove(&key).unwrap_or(0);
            self.add(&key.0, until, count);
        }
    }
}
