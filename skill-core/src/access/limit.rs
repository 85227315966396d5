//! Limits per key and minute, per owner and day, and per owner, action and minute: exact over
//! restarts and processes.
//!
//! See [`usage`](crate::record::usage): shares are reserved in the store and spent from memory, so
//! that most calls touch no disk.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    hash::Hash,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::Semaphore;

use super::{Caller, plan::Limits};
use crate::{
    clock::Clock,
    error::{Error, ErrorKind, Result},
    id::{self, KeyId},
    name::{ActionName, OwnerId},
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
    /// The bucket in which the store said that nothing is left, and of which limit.
    empty: Option<(i64, u32)>,
}

impl Meter {
    fn new(window: Window) -> Self {
        let (spent, others) = (VecDeque::new(), Vec::new());
        Self { window, spent, others, share: 0, share_until: i64::MIN, empty: None }
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
    }

    /// Whether nothing of `limit` was left in the bucket `since` or later: a higher one may have
    /// some.
    fn is_empty(&self, since: i64, limit: u32) -> bool {
        let is_known = |(bucket, of): (i64, u32)| bucket >= since && limit <= of;
        self.share == 0 && self.empty.is_some_and(is_known)
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

    /// The refusal of a call in this second.
    fn refusal(&self, second: i64, limit: u32) -> Allowance {
        let (end, is_daily) = match self.window {
            // Never longer than the window, even when another process holds a later share.
            Window::Minute => (self.comes_back(second) - second, false),
            Window::Day => ((second.div_euclid(DAY) + 1) * DAY - second, true),
        };
        let longest = if is_daily { DAY } else { self.window.buckets() };
        let after = Duration::from_secs(end.clamp(1, longest).unsigned_abs());
        let (limit, retry_after) = (Some(limit), Some(after));
        Allowance { limit, remaining: 0, reset: after, retry_after, is_daily }
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
    /// The name under which the store keeps what it reserves. One that is forgotten and made again
    /// has another: it does not know what the first one spent, and must not replace it.
    node: String,
    meter: Mutex<Meter>,
    turn: Semaphore,
}

impl Gauge {
    fn new(window: Window, node: String) -> Arc<Self> {
        Arc::new(Self { node, meter: Mutex::new(Meter::new(window)), turn: Semaphore::new(1) })
    }
}

/// The two windows of one caller: the minute of its key, the day of its owner.
#[derive(Debug, Clone)]
struct Gauges {
    minute: Arc<Gauge>,
    day: Arc<Gauge>,
}

type Gauging<K> = Mutex<HashMap<K, Arc<Gauge>>>;

/// Counts calls against limits.
pub struct Limiter {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    /// The name of this start of this process, and how many gauges it made.
    node: String,
    made: AtomicU64,
    /// The second at which the steady clock began.
    start: i64,
    minutes: Gauging<KeyId>,
    days: Gauging<OwnerId>,
    actions: Gauging<(OwnerId, ActionName)>,
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
        let (minutes, days, actions) = (Mutex::default(), Mutex::default(), Mutex::default());
        Ok(Self { store, clock, node, made: AtomicU64::new(0), start, minutes, days, actions })
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
            let of_key = (key.to_string(), limits.per_minute);
            let of_owner = (format!("owner:{}", caller.owner), limits.per_day);
            for (gauge, of) in [(&gauges.minute, of_key), (&gauges.day, of_owner)] {
                if let Some(refusal) = self.refill(gauge, &caller.owner, of).await? {
                    return Ok(refusal);
                }
            }
        }
    }

    /// Counts one call of an action by an owner, with whatever key, if the action's own limit
    /// allows it.
    ///
    /// # Errors
    /// As [`Limiter::admit`].
    pub async fn admit_action(
        &self,
        owner: &OwnerId,
        action: &ActionName,
        per_minute: u32,
    ) -> Result<Allowance> {
        let of = (owner.clone(), action.clone());
        let gauge = self.gauge(&self.actions, of, Window::Minute);
        loop {
            if let Some(allowance) = self.try_spend_one(&gauge, per_minute) {
                return Ok(allowance);
            }
            let (namespace, name) = (action.namespace.canonical(), action.name.canonical());
            let of = (format!("action:{namespace}/{name}"), Some(per_minute));
            if let Some(refusal) = self.refill(&gauge, owner, of).await? {
                return Ok(refusal);
            }
        }
    }

    /// As [`Limiter::try_spend`], for a limit that stands alone.
    fn try_spend_one(&self, gauge: &Gauge, per_minute: u32) -> Option<Allowance> {
        let now = self.second();
        let mut meter = lock(&gauge.meter);
        meter.turn(now);
        if meter.is_empty(now, per_minute) {
            return Some(meter.refusal(now, per_minute));
        }
        if meter.share == 0 {
            return None;
        }
        meter.spend(now);
        Some(minute_figures(&meter, now, Some(per_minute)))
    }

    /// What is left of the caller's minute and of its owner's day, without counting anything.
    pub fn standing(&self, caller: &Caller, limits: Limits) -> (Allowance, Allowance) {
        let Some(key) = caller.key() else {
            return (Allowance::unlimited(), Allowance::unlimited());
        };
        let gauges = self.gauges(key, &caller.owner);
        let now = self.second();
        let day = now.div_euclid(DAY);
        let (mut minute, mut of_day) = (lock(&gauges.minute.meter), lock(&gauges.day.meter));
        minute.turn(now);
        of_day.turn(day);
        let minute = minute_figures(&minute, now, limits.per_minute);
        (minute, of(&of_day, limits.per_day, (day + 1) * DAY - now, true))
    }

    /// Spends one call from the shares at hand; `None` when a share has to be reserved first.
    fn try_spend(&self, gauges: &Gauges, limits: Limits) -> Option<Allowance> {
        let now = self.second();
        let day = now.div_euclid(DAY);
        let (mut minute, mut of_day) = (lock(&gauges.minute.meter), lock(&gauges.day.meter));
        minute.turn(now);
        of_day.turn(day);
        for (meter, bucket, limit) in
            [(&of_day, day, limits.per_day), (&minute, now, limits.per_minute)]
        {
            if let Some(limit) = limit.filter(|limit| meter.is_empty(bucket, *limit)) {
                return Some(meter.refusal(now, limit));
            }
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

    /// Reserves a share, when there is a limit and none is left. Returns the refusal when nothing
    /// was left at any time since it was asked, however long the store took to say so.
    async fn refill(
        &self,
        gauge: &Gauge,
        owner: &OwnerId,
        (subject, limit): (String, Option<u32>),
    ) -> Result<Option<Allowance>> {
        let Some(limit) = limit else { return Ok(None) };
        let bucket = |meter: &Meter| match meter.window {
            Window::Minute => self.second(),
            Window::Day => self.second().div_euclid(DAY),
        };
        let since = bucket(&lock(&gauge.meter));
        let _turn = gauge.turn.acquire().await.map_err(Error::internal)?;
        let reserve = {
            let mut meter = lock(&gauge.meter);
            let now = bucket(&meter);
            meter.turn(now);
            if meter.share > 0 {
                return Ok(None);
            }
            if meter.is_empty(since, limit) {
                return Ok(Some(meter.refusal(self.second(), limit)));
            }
            Reserve { subject, node: gauge.node.clone(), ..meter.reserve(now, limit) }
        };
        let share = self.store.reserve(owner, &reserve).await?;
        let mut meter = lock(&gauge.meter);
        (meter.share, meter.share_until) = (share.granted, reserve.until);
        meter.others = share.others;
        meter.empty = (share.granted == 0).then_some((reserve.now, limit));
        Ok((share.granted == 0).then(|| meter.refusal(self.second(), limit)))
    }

    fn gauges(&self, key: KeyId, owner: &OwnerId) -> Gauges {
        let minute = self.gauge(&self.minutes, key, Window::Minute);
        Gauges { minute, day: self.gauge(&self.days, owner.clone(), Window::Day) }
    }

    /// The gauge of a subject. Past a bound the ones that nobody holds go: what they had reserved
    /// counts as spent in the store until its window has passed.
    fn gauge<K: Eq + Hash>(&self, all: &Gauging<K>, of: K, window: Window) -> Arc<Gauge> {
        let mut all = lock(all);
        if all.len() >= MOST && !all.contains_key(&of) {
            all.retain(|_, gauge| Arc::strong_count(gauge) > 1);
        }
        let number = || self.made.fetch_add(1, Ordering::Relaxed);
        let new = || Gauge::new(window, format!("{}-{}", self.node, number()));
        all.entry(of).or_insert_with(new).clone()
    }

    fn second(&self) -> i64 {
        self.start + i64::try_from(self.clock.steady().as_secs()).unwrap_or(0)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The figures of the window that is nearer to its end.
fn figures(
    (minute, second, per_minute): (&Meter, i64, Option<u32>),
    (of_day, day, per_day): (&Meter, i64, Option<u32>),
    now: i64,
) -> Allowance {
    let minute = minute_figures(minute, second, per_minute);
    let of_day = of(of_day, per_day, (day + 1) * DAY - now, true);
    if of_day.limit.is_some() && of_day.remaining < minute.remaining { of_day } else { minute }
}

fn minute_figures(minute: &Meter, second: i64, limit: Option<u32>) -> Allowance {
    let reset = (minute.comes_back(second) - second).min(Window::Minute.buckets());
    of(minute, limit, reset, false)
}

fn of(meter: &Meter, limit: Option<u32>, reset: i64, is_daily: bool) -> Allowance {
    Allowance {
        limit,
        remaining: limit.map_or(u32::MAX, |limit| limit.saturating_sub(meter.counted())),
        reset: Duration::from_secs(reset.max(0).unsigned_abs()),
        retry_after: None,
        is_daily,
    }
}
