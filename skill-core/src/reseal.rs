//! Sealing everything anew, so that an older key can go, while calls go on.
//!
//! A rotation adds a key, which seals from then on, and keeps the older ones to open with. From then
//! on, and at every start with more than one key, what an older key sealed is sealed anew in small
//! batches: each is replaced only where it still stands as it was read, so that nothing is lost to a
//! renewal or to the end of a run. A process that dies leaves work and no damage.
//!
//! An older key goes at the next start that finds nothing of it. A running process may have a value
//! in its hands that it sealed before the rotation, and has not written yet; a fresh one has none.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{
    agents::memory_binding,
    artifact::Artifacts,
    clock::Clock,
    connect::verifier_binding,
    credential::{
        Vault, client_binding_of, grant_binding,
        seal::{Binding, Keyring, mark_name},
    },
    error::{Error, ErrorKind, Result},
    executor::body_binding,
    name::OwnerId,
    queue::{said_binding, step_binding},
    record::{
        Sealed,
        audit::{Actor, Entry},
    },
    schedule::input_binding,
    store::{Aged, Part, Place, Store},
    trigger,
    webhook::{callback_binding, secret_binding_of},
};

/// How many values are sealed anew in one transaction.
const BATCH: u32 = 64;
/// How long to leave the store to others between two batches.
const PAUSE: Duration = Duration::from_millis(2);
/// How long to wait after the store refused.
const TROUBLE: Duration = Duration::from_secs(10);

/// Keeps keys where the process has them from, durably and whole or not at all.
pub type Keep = Arc<dyn Fn(&Keyring) -> Result<()> + Send + Sync>;

/// How far the sealing is.
///
/// ```
/// let sealing = skill_core::reseal::Sealing::default();
/// assert!(!sealing.is_under_way);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sealing {
    /// The versions of the keys, the oldest first. The last one seals.
    pub keys: Vec<u32>,
    /// Whether there may be values of older keys.
    pub is_under_way: bool,
    /// How many values this process sealed anew.
    pub resealed: u64,
    /// How many do not open: as long as there is one, no key goes.
    pub unreadable: u64,
    /// What went wrong last.
    pub trouble: Option<String>,
}

/// Seals everything anew.
pub(crate) struct Resealer {
    store: Arc<dyn Store>,
    vault: Arc<Vault>,
    artifacts: Artifacts,
    clock: Arc<dyn Clock>,
    keep: Option<Keep>,
    wake: Notify,
    state: Mutex<Sealing>,
    /// One rotation after the other.
    turn: tokio::sync::Mutex<()>,
}

impl fmt::Debug for Resealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Resealer({:?})", self.vault)
    }
}

impl Resealer {
    pub(crate) fn new(
        (store, vault): (Arc<dyn Store>, Arc<Vault>),
        artifacts: Artifacts,
        clock: Arc<dyn Clock>,
        keep: Option<Keep>,
    ) -> Self {
        let is_under_way = vault.keyring().versions().len() > 1;
        let state = Mutex::new(Sealing { is_under_way, ..Sealing::default() });
        let (wake, turn) = (Notify::new(), tokio::sync::Mutex::default());
        Self { store, vault, artifacts, clock, keep, wake, state, turn }
    }

    fn state(&self) -> MutexGuard<'_, Sealing> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How far it is.
    pub(crate) fn sealing(&self) -> Sealing {
        Sealing { keys: self.vault.keyring().versions(), ..self.state().clone() }
    }

    /// Adds a key, which seals from now on; one that was added before is gone on with while values
    /// of older keys are left.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when the keys come from a place that cannot be written to.
    pub(crate) async fn rotate(&self) -> Result<Sealing> {
        let _turn = self.turn.lock().await;
        if self.state().is_under_way {
            return Ok(self.sealing());
        }
        let keep = self.keep.clone().ok_or_else(|| {
            let message = "the sealing key comes from the configuration: add a line with the next \
                           version there and start again, and everything is sealed anew";
            Error::new(ErrorKind::Unavailable, message)
        })?;
        let next = Arc::new(self.vault.keyring().with_next()?);
        let kept = next.clone();
        tokio::task::spawn_blocking(move || keep(&kept)).await.map_err(Error::internal)??;
        // From here on the key is there at the next start, whatever happens to this process.
        next.verify(&*self.store).await?;
        self.state().is_under_way = true;
        self.vault.use_keys(next);
        self.note("seal.rotated").await?;
        self.wake.notify_one();
        Ok(self.sealing())
    }

    async fn note(&self, event: &str) -> Result<()> {
        let keys = self.vault.keyring().versions();
        let entry = Entry::new(self.clock.now(), Actor::Operator, OwnerId::standard());
        let newest = keys.last().copied().unwrap_or_default();
        let entry = entry.event(event).target(newest);
        self.store.append_audit(&entry).await
    }

    /// Seals anew whatever an older key sealed, until `stop`.
    pub(crate) async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut is_fresh = true;
        loop {
            if self.vault.keyring().versions().len() > 1 {
                let work = self.until_nothing_is_older(is_fresh);
                let Some(done) = stop.run_until_cancelled(work).await else { return };
                if let Err(error) = done {
                    tracing::warn!(error = %error.log_line(), "values of older keys stay for now");
                    self.state().trouble = Some(error.message().to_owned());
                    if stop.run_until_cancelled(tokio::time::sleep(TROUBLE)).await.is_none() {
                        return;
                    }
                    continue;
                }
            }
            is_fresh = false;
            if stop.run_until_cancelled(self.wake.notified()).await.is_none() {
                return;
            }
        }
    }

    /// Passes over everything until there is nothing left to seal anew. What no fresh process finds
    /// is nowhere: its key goes.
    async fn until_nothing_is_older(&self, is_fresh: bool) -> Result<()> {
        let newest = self.vault.keyring().newest();
        let unreadable = loop {
            let (resealed, unreadable) = self.pass(newest).await?;
            if resealed == 0 {
                break unreadable;
            }
        };
        if is_fresh && unreadable == 0 {
            self.retire().await?;
        }
        let mut state = self.state();
        (state.is_under_way, state.unreadable, state.trouble) = (false, unreadable, None);
        Ok(())
    }

    /// One pass: how many values were sealed anew, and how many do not open.
    async fn pass(&self, newest: u32) -> Result<(u64, u64)> {
        let (mut resealed, mut unreadable) = self.artifacts.reseal(newest).await?;
        self.state().resealed += resealed;
        for part in Part::ALL {
            let mut after = None;
            loop {
                let page = self.store.sealed_before(part, newest, after, BATCH).await?;
                let Some(last) = page.last() else { break };
                after = Some(last.cursor);
                let (vault, count) = (self.vault.clone(), page.len());
                let anew = tokio::task::spawn_blocking(move || anew(&vault, page));
                let anew = anew.await.map_err(Error::internal)?;
                unreadable += (count - anew.len()) as u64;
                // One that was replaced meanwhile was so by its own.
                self.store.reseal(part, &anew).await?;
                resealed += anew.len() as u64;
                self.state().resealed += anew.len() as u64;
                tokio::time::sleep(PAUSE).await;
            }
        }
        Ok((resealed, unreadable))
    }

    /// Lets the older keys go: first what says that they are needed, then they themselves.
    async fn retire(&self) -> Result<()> {
        let _turn = self.turn.lock().await;
        let keys = self.vault.keyring();
        let Some((_, older)) = keys.versions().split_last().map(|(n, o)| (*n, o.to_vec())) else {
            return Ok(());
        };
        for version in &older {
            self.store.forget_fact(&mark_name(*version)).await?;
        }
        let Some(keep) = self.keep.clone() else {
            tracing::warn!(
                "nothing is sealed with the key versions {older:?} any more: take them out"
            );
            return Ok(());
        };
        let newest = Arc::new(keys.without_older());
        let kept = newest.clone();
        tokio::task::spawn_blocking(move || keep(&kept)).await.map_err(Error::internal)??;
        self.vault.use_keys(newest);
        tracing::info!("nothing is sealed with the key versions {older:?} any more: they are gone");
        self.note("seal.retired").await
    }
}

/// The values sealed anew, but for those that do not open.
fn anew(vault: &Vault, values: Vec<Aged>) -> Vec<(Aged, Sealed)> {
    let anew = values.into_iter().filter_map(|old| {
        match vault.reseal(&old.sealed, &binding(&old.place)) {
            Ok(new) => Some((old, new)),
            Err(error) => {
                tracing::warn!(place = ?old.place, error = %error.log_line(), "it does not open");
                None
            }
        }
    });
    anew.collect()
}

/// What a value is bound to.
fn binding(place: &Place) -> Binding {
    match place {
        Place::Grant(at) => grant_binding(at),
        Place::Client { holder, app } => client_binding_of(holder, *app),
        Place::Verifier { owner, flow } => verifier_binding(owner, *flow),
        Place::Webhook { owner, user, webhook } => {
            secret_binding_of(owner, user.as_ref(), *webhook)
        }
        Place::Schedule { owner, schedule } => input_binding(owner, *schedule),
        Place::Trigger { owner, trigger } => trigger::secret_binding(owner, *trigger),
        Place::Callback { owner, run } => callback_binding(owner, *run),
        Place::Input { owner, run } => body_binding("input", owner, *run),
        Place::Outcome { owner, run } => body_binding("outcome", owner, *run),
        Place::Step { owner, run, position, name } => step_binding(owner, *run, *position, name),
        Place::Said { owner, run, position } => said_binding(owner, *run, *position),
        Place::Memory { owner, memory } => memory_binding(owner, *memory),
    }
}
