//! One process of the simulation: it can stop for a while, and die.

use std::{
    future::pending,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use skill_core::clock::Clock;
use tokio::time::Instant;

/// What all parts of one process share: its life and its clock.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) number: usize,
    begun: Instant,
    is_dead: AtomicBool,
    frozen_until: Mutex<Option<Instant>>,
    /// How far somebody has set its time of day off, in milliseconds.
    offset: AtomicI64,
}

impl Node {
    pub(crate) fn new(number: usize, begun: Instant) -> Arc<Self> {
        Arc::new(Self {
            number,
            begun,
            is_dead: AtomicBool::new(false),
            frozen_until: Mutex::default(),
            offset: AtomicI64::new(0),
        })
    }

    /// Every way out of the process leads through here: whoever is dead never comes out, whoever
    /// is stopped comes out later.
    pub(crate) async fn pass(&self) {
        loop {
            if self.is_dead() {
                pending::<()>().await;
            }
            let frozen = *self.frozen_until.lock().unwrap();
            match frozen {
                Some(until) if until > Instant::now() => tokio::time::sleep_until(until).await,
                Some(_) | None => return,
            }
        }
    }

    pub(crate) fn kill(&self) {
        self.is_dead.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.is_dead.load(Ordering::SeqCst)
    }

    /// Stops it as SIGSTOP does: its clocks go on.
    pub(crate) fn freeze(&self, time: Duration) {
        *self.frozen_until.lock().unwrap() = Some(Instant::now() + time);
    }

    /// Sets its time of day.
    pub(crate) fn jump(&self, by: SignedDuration) {
        let by = i64::try_from(by.as_millis()).unwrap();
        self.offset.fetch_add(by, Ordering::SeqCst);
    }

    pub(crate) fn offset(&self) -> SignedDuration {
        SignedDuration::from_millis(self.offset.load(Ordering::SeqCst))
    }

    /// The same place after a crash: a new process, with the clock of the machine.
    pub(crate) fn again(&self) -> Arc<Self> {
        let next = Self::new(self.number, self.begun);
        next.offset.store(self.offset.load(Ordering::SeqCst), Ordering::SeqCst);
        next
    }
}

impl Clock for Node {
    fn now(&self) -> Timestamp {
        let noon: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
        noon + self.begun.elapsed() + self.offset()
    }

    fn steady(&self) -> Duration {
        self.begun.elapsed()
    }
}
