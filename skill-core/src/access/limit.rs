//! Limits per key and minute and per owner and day, exact over restarts and processes.
//!
//! See [`usage`](crate::record::usage): shares are reserved in the store and spent from memory, so
//! that most calls touch no disk.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::Semaphore;

use super::{Caller, plan::Limits};
use crate::{
    clock::Clock,
    error::{Error, ErrorKind, Result},
    id::{self, KeyId},
    name::OwnerId,
    record::usage::{Reserve, Window},
    store::Store,
};

/// How many seconds a share of a minute may be spent in.
const SHARE_LIFE: i64 = 5;
/// A share is this part of the limit, so that other processes get theirs.
const SHARE_PART: u32 = 8;
/// Meters that are kept; past this those that nobody uses go.
const MOST: usize = 100_000;
const DAY: i64 = 24 * 3600;

/// How much is left of a limit.
///
/// ```
/// use skill_core::access::Allowance;
/// assert_eq!(Allowance::unlimited().limit, None);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// The limit; `None` is without one.
    pub limit: Option<u32>,
    /// How many calls are left.
    pub remaining: u32,
    /// After how long some of what was used comes back.
    pub reset: Duration,
    /// Set when the call is refused: when the next one will be accepted.
    pub retry_after: Option<Duration>,
    /// Whether the figures are those of the day.
    pub is_daily: bool,
}

impl Allowance {
    /// The allowance of whoever has no limit.
    pub fn unlimited() -> Self {
        Self {
            limit: None,
            remaining: u32::MAX,
            reset: Duration::ZERO,
            retry_after: None,
            is_daily: false,
        }
    }

    /// The refusal, when this is one.
    pub fn refusal(&self) -> Option<Error> {
        let after = self.retry_after?;
        let (kind, message) = if self.is_daily {
            (ErrorKind::DailyLimit, "the plan's calls for today are used up")
        } else {
            (ErrorKind::RateLimited, "too many requests in the last minute")
        };
        Some(Error::new(kind, message).retry_after(after))
    }
}

/// One window of one subject, as this process knows it.
#[derive(Debug)]
struct Meter {
    window: Window,
    /// What this process spent, by bucket, the oldest first.
    spent: VecDeque<(i64, u32)>,
    /// What other processes hold, as the store said last.
    others: Vec<(i64, u32)>,
    share: u32,
    share_until: i64,
    /// The bucket in which the store said that nothing is left.
    empty_at: Option<i64>,
}

impl Meter {
    fn new(window: Window) -> Self {
        let (spent, others) = (VecDeque::new(), Vec::new());
        Self { window, spent, others, share: 0, share_until: i64::MIN, empty_at: None }
    }

    /// Drops what has left the window.
    fn turn(&mut self, now: i64) {
        let last = now - self.window.buckets();
        while self.spent.front().is_some_and(|(bucket, _)| *bucket <= last) {
            self.spent.pop_front();
        }
        self.others.retain(|(bucket, _)| *bucket > last);
        if self.share_until < now {
            self.share = 0;
        }
        if self.empty_at != Some(now) {
            self.empty_at = None;
        }
    }

    fn spend(&mut self, now: i64) {
        self.share -= 1;
        match self.spent.back_mut() {
            Some((bucket, count)) if *bucket == now => *count += 1,
            Some(_) | None => self.spent.push_back((now, 1)),
        }
    }

    fn counted(&self) -> u32 {
        let counts = self.spent.iter().chain(&self.others).map(|(_, count)| *count);
        counts.fold(0, u32::saturating_add)
    }

    /// The bucket in which the oldest of what counts leaves the window.
    fn comes_back(&self, now: i64) -> i64 {
        let oldest = self.spent.iter().chain(&self.others).map(|(bucket, _)| *bucket).min();
        oldest.unwrap_or(now).min(now) + self.window.buckets()
    }

    /// What to ask the store for.
    fn reserve(&self, now: i64, limit: u32) -> Reserve {
        Reserve {
            subject: String::new(),
            window: self.window,
            node: String::new(),
            spent: self.spent.iter().copied().collect(),
            now,
            until: match self.window {
                Window::Minute => now + SHARE_LIFE,
                Window::Day => now,
            },
            want: (limit / SHARE_PART).max(1),
            limit,
        }
    }
}

/// A meter, and the turn to reserve a share for it: one reservation at a time, because the store
/// replaces what it knows of this process with what each reservation says.
#[derive(Debug)]
struct Gauge {
    meter: Mutex<Meter>,
    turn: Semaphore,
}

impl Gauge {
    fn new(window: Window) -> Arc<Self> {
        Arc::new(Self { meter: Mutex::new(Meter::new(window)), turn: Semaphore::new(1) })
    }
}

/// The two windows of one caller: the minute of its key, the day of its owner.
#[derive(Debug, Clone)]
struct Gauges {
    minute: Arc<Gauge>,
    day: Arc<Gauge>,
}

/// Counts calls against limits.
pub struct Limiter {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    /// The name of this start of this process.
    node: String,
    /// The second at which the steady clock began.
    start: i64,
    minutes: Mutex<HashMap<KeyId, Arc<Gauge>>>,
    days: Mutex<HashMap<OwnerId, Arc<Gauge>>>,
}

impl fmt::Debug for Limiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Limiter({})", self.node)
    }
}

impl Limiter {
    /// Returns a limiter that knows of nothing spent by this process.
    ///
    /// # Errors
    /// As [`id::random`].
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Result<Self> {
        let start = clock.now().as_second() - i64::try_from(clock.steady().as_secs()).unwrap_or(0);
        let node = data_encoding::HEXLOWER.encode(&id::random::<8>()?);
        let (minutes, days) = (Mutex::default(), Mutex::default());
        Ok(Self { store, clock, node, start, minutes, days })
    }

    /// Counts one request of `caller`, if its limits allow it.
    ///
    /// A clock that is set back or forward while the process runs changes nothing: buckets follow
    /// the steady clock.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when the store does not answer. A refusal is no error: it is an
    /// [`Allowance`] with `retry_after`, and does not count.
    pub async fn admit(&self, caller: &Caller, limits: Limits) -> Result<Allowance> {
        let Some(key) = caller.key() else { return Ok(Allowance::unlimited()) };
        if limits == Limits::default() {
            return Ok(Allowance::unlimited());
        }
        let gauges = self.gauges(key, &caller.owner);
        loop {
            if let Some(allowance) = self.try_spend(&gauges, limits) {
                return Ok(allowance);
            }
            self.refill(&gauges.minute, caller, (key.to_string(), limits.per_minute)).await?;
            let of_owner = format!("owner:{}", caller.owner);
            self.refill(&gauges.day, caller, (of_owner, limits.per_day)).await?;
        }
    }

    /// Spends one call from the shares at hand; `None` when a share has to be reserved first.
    fn try_spend(&self, gauges: &Gauges, limits: Limits) -> Option<Allowance> {
        let now = self.second();
        let day = now.div_euclid(DAY);
        let (mut minute, mut of_day) = (lock(&gauges.minute.meter), lock(&gauges.day.meter));
        minute.turn(now);
        of_day.turn(day);
        let is_over = |meter: &Meter, at, limit: Option<u32>| {
            limit.is_some() && meter.share == 0 && meter.empty_at == Some(at)
        };
        if is_over(&of_day, day, limits.per_day) {
            let end = (day + 1) * DAY - now;
            return Some(refused(limits.per_day, end, true));
        }
        if is_over(&minute, now, limits.per_minute) {
            // Never longer than the window, even when another process holds a later share.
            let end = (minute.comes_back(now) - now).clamp(1, Window::Minute.buckets());
            return Some(refused(limits.per_minute, end, false));
        }
        let lacks = |meter: &Meter, limit: Option<u32>| limit.is_some() && meter.share == 0;
        if lacks(&minute, limits.per_minute) || lacks(&of_day, limits.per_day) {
            return None;
        }
        if limits.per_minute.is_some() {
            minute.spend(now);
        }
        if limits.per_day.is_some() {
            of_day.spend(day);
        }
        Some(figures((&minute, now, limits.per_minute), (&of_day, day, limits.per_day), now))
    }

    /// Reserves a share, when there is a limit and none is left.
    async fn refill(
        &self,
        gauge: &Gauge,
        caller: &Caller,
        (subject, limit): (String, Option<u32>),
    ) -> Result<()> {
        let Some(limit) = limit else { return Ok(()) };
        let _turn = gauge.turn.acquire().await.map_err(Error::internal)?;
        let reserve = {
            let mut meter = lock(&gauge.meter);
            let now = match meter.window {
                Window::Minute => self.second(),
                Window::Day => self.second().div_euclid(DAY),
            };
            meter.turn(now);
            if meter.share > 0 || meter.empty_at == Some(now) {
                return Ok(());
            }
            Reserve { subject, node: self.node.clone(), ..meter.reserve(now, limit) }
        };
        let share = self.store.reserve(&caller.owner, &reserve).await?;
        let mut meter = lock(&gauge.meter);
        (meter.share, meter.share_until) = (share.granted, reserve.until);
        meter.others = share.others;
        meter.empty_at = (share.granted == 0).then_some(reserve.now);
        Ok(())
    }

    fn gauges(&self, key: KeyId, owner: &OwnerId) -> Gauges {
        let minute = gauge(&mut lock(&self.minutes), key, Window::Minute);
        Gauges { minute, day: gauge(&mut lock(&self.days), owner.clone(), Window::Day) }
    }

    fn second(&self) -> i64 {
        self.start + i64::try_from(self.clock.steady().as_secs()).unwrap_or(0)
    }
}

/// The gauge of a subject. Past a bound the ones that nobody holds go: what they had reserved
/// counts as spent in the store until its window has passed.
fn gauge<K: Eq + Hash>(all: &mut HashMap<K, Arc<Gauge>>, of: K, window: Window) -> Arc<Gauge> {
    if all.len() >= MOST && !all.contains_key(&of) {
        all.retain(|_, gauge| Arc::strong_count(gauge) > 1);
    }
    all.entry(of).or_insert_with(|| Gauge::new(window)).clone()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn refused(limit: Option<u32>, seconds: i64, is_daily: bool) -> Allowance {
    let after = Duration::from_secs(seconds.unsigned_abs().max(1));
    Allowance { limit, remaining: 0, reset: after, retry_after: Some(after), is_daily }
}

/// The figures of the window that is nearer to its end.
fn figures(
    (minute, second, per_minute): (&Meter, i64, Option<u32>),
    (of_day, day, per_day): (&Meter, i64, Option<u32>),
    now: i64,
) -> Allowance {
    let seconds = |seconds: i64| Duration::from_secs(seconds.max(0).unsigned_abs());
    let of = |meter: &Meter, limit: Option<u32>, reset, is_daily| Allowance {
        limit,
        remaining: limit.map_or(u32::MAX, |limit| limit.saturating_sub(meter.counted())),
        reset,
        retry_after: None,
        is_daily,
    };
    let minute_reset = seconds((minute.comes_back(second) - now).min(Window::Minute.buckets()));
    let minute = of(minute, per_minute, minute_reset, false);
    let of_day = of(of_day, per_day, seconds((day + 1) * DAY - now), true);
    if of_day.limit.is_some() && of_day.remaining < minute.remaining { of_day } else { minute }
}
