//! What this process knows of runs beyond their records: which of them it works on, how far they
//! are, and who waits for them.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::{Notify, futures::OwnedNotified};
use tokio_util::sync::CancellationToken;

use crate::{
    clock::Clock,
    error::{Error, ErrorKind, Result},
    id::ExecutionId,
    name::OwnerId,
    record::{execution::Execution, run::Lease},
};

/// Progress of a run that goes on: 100 is for those that ended.
const MOST: u8 = 99;

/// Why an attempt has to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// The run was ended: somebody cancelled it, or its time is up.
    Ended,
    /// Another worker has it, or may have it.
    Lost,
    /// The engine stops.
    Stopping,
}

/// What an attempt has sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    /// Nothing that has an effect.
    Nothing = 0,
    /// A request that may be sent again.
    Repeatable = 1,
    /// A request that must not be sent twice.
    Once = 2,
}

/// A run that is held by this process: its lease, and the one signal that ends its attempt.
pub(crate) struct Held {
    lease: Mutex<Lease>,
    /// Until when nobody else can have got it, in microseconds of steady time.
    safe_until: AtomicU64,
    token: CancellationToken,
    why: Mutex<Option<Why>>,
    progress: AtomicU8,
    sent: AtomicU8,
    /// How often the run was lost when it was claimed.
    losses: AtomicU32,
    /// Somebody works on it: before that its row may not be there yet.
    is_begun: AtomicBool,
    /// Some of its steps are artifacts.
    has_spilled: AtomicBool,
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Held({:?})", self.lease())
    }
}

impl Held {
    /// Holds a run whose lease lasts `hold` from the steady time `from`.
    pub(crate) fn new(lease: Lease, from: Duration, hold: Duration) -> Arc<Self> {
        Arc::new(Self {
            lease: Mutex::new(lease),
            safe_until: AtomicU64::new(micros(from + hold)),
            token: CancellationToken::new(),
            why: Mutex::new(None),
            progress: AtomicU8::new(0),
            sent: AtomicU8::new(0),
            losses: AtomicU32::new(0),
            is_begun: AtomicBool::new(false),
            has_spilled: AtomicBool::new(false),
        })
    }

    /// The lease as it stands.
    pub(crate) fn lease(&self) -> Lease {
        lock(&self.lease).clone()
    }

    /// Takes over a later lease of the same run, which this process got without noticing that it
    /// still works on it: after a jump of the clock, for example.
    pub(crate) fn renew(&self, lease: Lease, from: Duration, hold: Duration) {
        let mut mine = lock(&self.lease);
        if lease.fencing >= mine.fencing {
            // Of two signs of life the later one may be answered first.
            let is_same = lease.fencing == mine.fencing;
            let until = if is_same { lease.until.max(mine.until) } else { lease.until };
            *mine = Lease { until, ..lease };
            self.safe_until.fetch_max(micros(from + hold), Ordering::AcqRel);
        }
    }

    /// Keeps how often the run was lost with its worker, as its claim says. Says whether that is
    /// news.
    pub(crate) fn set_losses(&self, losses: u32) -> bool {
        self.losses.fetch_max(losses, Ordering::AcqRel) < losses
    }

    /// Tells the attempt to stop; the first reason stands.
    pub(crate) fn stop(&self, why: Why) {
        lock(&self.why).get_or_insert(why);
        self.token.cancel();
    }

    /// Why the attempt has to stop, if it has.
    pub(crate) fn why(&self) -> Option<Why> {
        *lock(&self.why)
    }

    /// Ends when the attempt should stop.
    pub(crate) fn token(&self) -> &CancellationToken {
        &self.token
    }

    /// Refuses when the attempt should stop, or when its lease may have lapsed. To be asked right
    /// before anything is sent.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`]: nothing may be sent any more.
    pub(crate) fn check(&self, clock: &dyn Clock) -> Result<()> {
        if micros(clock.steady()) >= self.safe_until.load(Ordering::Acquire) {
            self.stop(Why::Lost);
        }
        if self.token.is_cancelled() {
            let message = "this worker no longer holds the run, or was told to stop";
            return Err(Error::new(ErrorKind::Unavailable, message));
        }
        Ok(())
    }

    /// Notes that some of the run's steps are artifacts.
    pub(crate) fn set_spilled(&self) {
        self.has_spilled.store(true, Ordering::Release);
    }

    /// Whether some of the run's steps are artifacts.
    pub(crate) fn has_spilled(&self) -> bool {
        self.has_spilled.load(Ordering::Acquire)
    }

    /// How far the run is.
    pub(crate) fn progress(&self) -> u8 {
        self.progress.load(Ordering::Relaxed)
    }

    /// Keeps how far the run is; never backwards. Says whether that is news.
    pub(crate) fn set_progress(&self, percent: u8) -> bool {
        let percent = percent.min(MOST);
        self.progress.fetch_max(percent, Ordering::Relaxed) < percent
    }

    /// Notes what the attempt is about to send.
    pub(crate) fn set_sent(&self, sent: Sent) {
        self.sent.fetch_max(sent as u8, Ordering::AcqRel);
    }

    /// What the attempt has sent, at most.
    pub(crate) fn sent(&self) -> Sent {
        match self.sent.load(Ordering::Acquire) {
            0 => Sent::Nothing,
            1 => Sent::Repeatable,
            _ => Sent::Once,
        }
    }

    /// Notes that an attempt works on it.
    pub(crate) fn begin(&self) {
        self.is_begun.store(true, Ordering::Release);
    }

    /// Whether an attempt works on it.
    pub(crate) fn is_begun(&self) -> bool {
        self.is_begun.load(Ordering::Acquire)
    }
}

/// Places in which runs are worked on.
#[derive(Debug, Default)]
struct Places {
    taken: usize,
    by_owner: HashMap<OwnerId, usize>,
}

/// Everything of this process that is known about runs.
pub(crate) struct Live {
    slots: usize,
    places: Mutex<Places>,
    held: Mutex<HashMap<ExecutionId, Arc<Held>>>,
    listeners: Mutex<HashMap<ExecutionId, (Arc<Notify>, usize)>>,
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Live({} held)", lock(&self.held).len())
    }
}

impl Live {
    /// Returns the state of an engine that works on `slots` runs at once.
    pub(crate) fn new(slots: u32) -> Arc<Self> {
        Arc::new(Self {
            slots: slots as usize,
            places: Mutex::default(),
            held: Mutex::default(),
            listeners: Mutex::default(),
        })
    }

    /// The most places that one owner may hold.
    pub(crate) fn share(&self) -> usize {
        (self.slots * 3 / 4).max(1)
    }

    /// A place for a run of `owner`, if one is free and the owner may have another.
    pub(crate) fn slot(self: &Arc<Self>, owner: &OwnerId) -> Option<Slot> {
        let mut places = lock(&self.places);
        let has = places.by_owner.get(owner).copied().unwrap_or(0);
        if places.taken >= self.slots || has >= self.share() {
            return None;
        }
        places.taken += 1;
        *places.by_owner.entry(owner.clone()).or_default() += 1;
        Some(Slot { live: self.clone(), owner: Some(owner.clone()) })
    }

    /// Takes every place that is free, as many as may go to one owner at once, and says which
    /// owners may have none of them.
    pub(crate) fn free_slots(self: &Arc<Self>) -> (Vec<Slot>, Vec<OwnerId>) {
        let mut places = lock(&self.places);
        let share = self.share();
        let held = |wanted: fn(&usize, &usize) -> bool| {
            places.by_owner.iter().filter(move |(_, has)| wanted(has, &share))
        };
        let saturated = held(|has, share| has >= share).map(|(owner, _)| owner.clone());
        let saturated = saturated.collect::<Vec<_>>();
        let most = held(|has, share| has < share).map(|(_, has)| *has).max().unwrap_or(0);
        let free = (self.slots - places.taken).min(share - most);
        places.taken += free;
        let slots = (0..free).map(|_| Slot { live: self.clone(), owner: None }).collect();
        (slots, saturated)
    }

    /// Keeps a run that this process begins to work on, in the place of an attempt that has given
    /// it back.
    pub(crate) fn hold(&self, id: ExecutionId, held: Arc<Held>) {
        lock(&self.held).insert(id, held);
    }

    /// The run, when this process works on it.
    pub(crate) fn held(&self, id: ExecutionId) -> Option<Arc<Held>> {
        lock(&self.held).get(&id).cloned()
    }

    /// Every run that this process works on.
    pub(crate) fn all(&self) -> Vec<Arc<Held>> {
        lock(&self.held).values().cloned().collect()
    }

    /// Forgets a run that this process no longer works on.
    pub(crate) fn release(&self, id: ExecutionId, held: &Arc<Held>) {
        let mut all = lock(&self.held);
        if all.get(&id).is_some_and(|known| Arc::ptr_eq(known, held)) {
            all.remove(&id);
        }
    }

    /// The run as this process knows it: the store hears of progress only now and then.
    pub(crate) fn overlay(&self, run: &mut Execution) {
        if !run.state.is_final()
            && let Some(held) = self.held(run.id)
        {
            run.progress = run.progress.max(held.progress());
        }
    }

    /// Tells whoever waits for the run that something about it changed.
    pub(crate) fn signal(&self, id: ExecutionId) {
        if let Some((notify, _)) = lock(&self.listeners).get(&id) {
            notify.notify_waiters();
        }
    }

    /// Listens for changes of a run.
    pub(crate) fn listen(self: &Arc<Self>, id: ExecutionId) -> Listener {
        let mut listeners = lock(&self.listeners);
        let (notify, count) = listeners.entry(id).or_default();
        *count += 1;
        Listener { live: self.clone(), id, notify: notify.clone() }
    }
}

/// A place in which one run is worked on. It is free again when this is dropped.
pub(crate) struct Slot {
    live: Arc<Live>,
    owner: Option<OwnerId>,
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Slot({:?})", self.owner)
    }
}

impl Slot {
    /// Gives the place to a run of `owner`.
    pub(crate) fn of(mut self, owner: &OwnerId) -> Self {
        *lock(&self.live.places).by_owner.entry(owner.clone()).or_default() += 1;
        self.owner = Some(owner.clone());
        self
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut places = lock(&self.live.places);
        places.taken -= 1;
        let Some(owner) = &self.owner else { return };
        if let Some(has) = places.by_owner.get_mut(owner) {
            *has -= 1;
            if *has == 0 {
                places.by_owner.remove(owner);
            }
        }
    }
}

/// Hears of changes of one run.
pub(crate) struct Listener {
    live: Arc<Live>,
    id: ExecutionId,
    notify: Arc<Notify>,
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Listener({})", self.id)
    }
}

impl Listener {
    /// Ends at the next change after this call; take it before looking.
    pub(crate) fn next(&self) -> OwnedNotified {
        self.notify.clone().notified_owned()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut listeners = lock(&self.live.listeners);
        if let Some((_, count)) = listeners.get_mut(&self.id) {
            *count -= 1;
            if *count == 0 {
                listeners.remove(&self.id);
            }
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
