//! Usage: how much of a limit was reserved and used.
//!
//! A process does not ask the store for every call. It reserves a *share* of a limit, durably, and
//! spends it from memory; what it spent is written with the next reservation. After a crash the
//! rest of a share counts as spent: calls are wasted, never granted twice.

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
    /// The process that asks; each start of a process has its own name.
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
