//! What one connection is doing: written by the guard and the service, read by the connection's
//! driver, which closes it when it is idle or slow for too long.

use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::Fault;

/// How long a connection is waited for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// For the first request, and for the rest of a head once it has begun.
    pub(crate) head: Duration,
    /// For the next request.
    pub(crate) idle: Duration,
    /// For a peer to take more of an answer.
    pub(crate) stall: Duration,
}

/// Why a connection has to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expiry {
    /// A head, or the first request, did not arrive in time, or an answer was not taken.
    Slow,
    /// There was no request for a while.
    Idle,
}

/// The state of one connection.
#[derive(Debug)]
pub(crate) struct Watch {
    patience: Patience,
    started: Instant,
    state: Mutex<State>,
    sooner: Notify,
}

/// What changes in a [`Watch`].
#[derive(Debug)]
struct State {
    /// Requests given to the service so far; on HTTP/1 also the number of the latest head.
    requests: u64,
    in_flight: usize,
    /// How many of those in flight have an answer that waits for the peer.
    offered: usize,
    is_write_blocked: bool,
    /// When a request last ended, an answer last went on, or a write last did.
    quiet_since: Instant,
    partial_since: Option<Instant>,
    /// The number of the refused request, and why it is refused.
    refused: Option<(u64, Fault)>,
}

impl Watch {
    /// Begins to watch a connection that was accepted just now.
    pub(crate) fn new(patience: Patience) -> Arc<Self> {
        let now = Instant::now();
        let state = State {
            requests: 0,
            in_flight: 0,
            offered: 0,
            is_write_blocked: false,
            quiet_since: now,
            partial_since: None,
            refused: None,
        };
        Arc::new(Self { patience, started: now, state: Mutex::new(state), sooner: Notify::new() })
    }

    /// Counts a request until the returned value is dropped.
    pub(crate) fn begin(self: &Arc<Self>) -> Running {
        let mut state = self.state();
        state.requests += 1;
        state.in_flight += 1;
        Running { watch: Arc::clone(self), number: state.requests, is_offered: false }
    }

    /// Records that request `number` is refused.
    pub(super) fn refuse(&self, number: u64, fault: Fault) {
        self.state().refused = Some((number, fault));
    }

    /// Why request `number` is refused, if it is.
    pub(crate) fn fault(&self, number: u64) -> Option<Fault> {
        self.state().refused.filter(|(refused, _)| *refused == number).map(|(_, fault)| fault)
    }

    /// Records whether the input ends in the middle of a head.
    pub(super) fn set_partial_head(&self, partial: bool) {
        self.state().partial_since = partial.then(Instant::now);
        if partial {
            self.sooner.notify_one();
        }
    }

    /// Records whether the peer has stopped to take what is written.
    pub(crate) fn set_write_blocked(&self, blocked: bool) {
        let mut state = self.state();
        state.is_write_blocked = blocked;
        state.quiet_since = Instant::now();
    }

    /// Waits until the connection has been slow or idle for too long. Dropped at its next `.await`.
    pub(crate) async fn expired(&self) -> Expiry {
        loop {
            let now = Instant::now();
            let due = self.due();
            if let Some((at, why)) = due
                && at <= now
            {
                return why;
            }
            // While the connection is busy nothing is due, but once it is quiet nothing can be due
            // sooner than this.
            let look = now.checked_add(self.patience.idle.min(self.patience.stall));
            let at = due.map(|(at, _)| at).into_iter().chain(look).min();
            let wait = async {
                match at {
                    Some(at) => sleep_until(at).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                () = wait => {}
                () = self.sooner.notified() => {}
            }
        }
    }

    /// When the connection has to end if nothing happens before; nothing while it is busy.
    fn due(&self) -> Option<(Instant, Expiry)> {
        let state = self.state();
        // A write that waits has its own timer. Over HTTP/2 a peer can stop to take answers without
        // a write that waits, by leaving the windows of its streams closed.
        let is_stalled = state.in_flight > 0 && state.in_flight == state.offered;
        if state.is_write_blocked || (state.in_flight > 0 && !is_stalled) {
            return None;
        }
        let (from, patience, why) = match state.partial_since {
            _ if is_stalled => (state.quiet_since, self.patience.stall, Expiry::Slow),
            _ if state.requests == 0 => (self.started, self.patience.head, Expiry::Slow),
            // A head that began while another request ran may have arrived long ago, unread.
            Some(since) => (since.max(state.quiet_since), self.patience.head, Expiry::Slow),
            None => (state.quiet_since, self.patience.idle, Expiry::Idle),
        };
        from.checked_add(patience).map(|at| (at, why))
    }

    /// Locks the state, which no panic can leave half changed.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that is being answered; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Running {
    watch: Arc<Watch>,
    number: u64,
    is_offered: bool,
}

impl Running {
    /// The number of this request on its connection, from 1.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Records whether the next step is the peer's, which has to take what there is of the answer.
    pub(crate) fn set_offered(&mut self, offered: bool) {
        let mut state = self.watch.state();
        state.offered = state.offered - usize::from(self.is_offered) + usize::from(offered);
        state.quiet_since = Instant::now();
        self.is_offered = offered;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut state = self.watch.state();
        state.in_flight -= 1;
        state.offered -= usize::from(self.is_offered);
        state.quiet_since = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{advance, timeout};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn watch() -> Arc<Watch> {
        Watch::new(Patience { head: 10 * SECOND, idle: 75 * SECOND, stall: 30 * SECOND })
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_request_has_as_long_as_a_head() {
        let (watch, start) = (watch(), Instant::now());
        advance(9 * SECOND).await;
        watch.set_partial_head(true);
        assert_eq!(watch.expired().await, Expiry::Slow);
        assert_eq!(start.elapsed().as_secs(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a_running_request_is_never_idle() {
        let watch = watch();
        let running = watch.begin();
        assert!(timeout(1000 * SECOND, watch.expired()).await.is_err());
        drop(running);
        let quiet = Instant::now();
        assert_eq!(watch.expired().await, Expiry::Idle);
        assert_eq!(quiet.elapsed().as_secs(), 75);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_nobody_takes_is_slow() {
        let watch = watch();
        let (mut offered, working) = (watch.begin(), watch.begin());
        offered.set_offered(true);
        assert!(timeout(1000 * SECOND, watch.expired()).await.is_err());
        drop(working);
        let start = Instant::now();
        assert_eq!(watch.expired().await, Expiry::Slow);
        assert_eq!(start.elapsed().as_secs(), 30);
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_begins_shortens_the_wait() {
        let watch = watch();
        drop(watch.begin());
        let start = Instant::now();
        let began = async {
            tokio::time::sleep(20 * SECOND).await;
            watch.set_partial_head(true);
        };
        let (why, ()) = tokio::join!(watch.expired(), began);
        assert_eq!((why, start.elapsed().as_secs()), (Expiry::Slow, 30));
    }

    #[tokio::test(start_paused = true)]
    async fn a_fault_belongs_to_one_request() {
        let watch = watch();
        watch.refuse(2, Fault::UriTooLong);
        assert_eq!(watch.fault(1), None);
        assert_eq!(watch.fault(2), Some(Fault::UriTooLong));
    }
}
