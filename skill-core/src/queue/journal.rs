//! The journal of a run: what its steps came to, so that no attempt does them again.
//!
//! A step takes its position when it begins. What it came to is sealed, bound to owner, run,
//! position and name, and on disk before the skill hears of it. An error, and an answer that asks
//! for a repeat, are kept back: they are recorded once the skill goes on from them, and forgotten
//! with the attempt when it does not, so that the next one tries again.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use serde_json::Value;
use tokio::sync::{Notify, OnceCell};

use super::{attempt::Attempt, live::Why, step::Written};
use crate::{
    credential::seal::Binding,
    error::{Error, ErrorKind, Result},
    id::ExecutionId,
    name::OwnerId,
    record::run::Step,
};

/// The most steps of one run.
const MOST: u32 = 10_000;
/// The most bytes of what a step came to.
const LARGEST: usize = 16 << 20;
/// What is larger is an artifact.
const SPILLS: usize = 256 << 10;

tokio::task_local! {
    /// There is something here while the work of a step is being done.
    static WORKING: ();
}

/// What an earlier attempt left of a step.
pub(super) enum Past {
    /// Nothing, or nothing that counts: it is to be done.
    None,
    /// It began something that must not be done twice, and nobody knows how that ended.
    Unknown,
    /// What it came to.
    Ended(Written),
}

/// Which steps of one skill are under way.
#[derive(Default)]
struct Open {
    working: u32,
    sleeping: u32,
    /// One has ended since the first of them began.
    has_ended: bool,
    /// The one that is under way runs alone.
    is_alone: bool,
}

/// The steps of one skill: of the run's own, or of one that it called.
#[derive(Clone, Default)]
pub(super) struct Frame(Arc<(Mutex<Open>, Notify)>);

impl Frame {
    fn open(&self) -> MutexGuard<'_, Open> {
        lock(&self.0.0)
    }
}

/// The right to be the step at a position. Dropped before [`Turn::end`], the step was given up.
pub(super) struct Turn {
    pub(super) position: u32,
    name: String,
    journal: Arc<Journal>,
    frame: Frame,
    is_sleeping: bool,
    has_ended: bool,
}

impl Turn {
    /// The step as people count them.
    pub(super) fn number(&self) -> u32 {
        self.position + 1
    }

    /// What the step is called.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Waits until no other step is under way but such as sleep themselves.
    pub(super) async fn rest(&mut self) {
        let (_, notify) = &*self.frame.0;
        {
            let mut open = self.frame.open();
            (open.working, open.sleeping) = (open.working - 1, open.sleeping + 1);
        }
        self.is_sleeping = true;
        notify.notify_waiters();
        // Steps that begin together with this one may not have had their turn yet.
        tokio::task::yield_now().await;
        loop {
            let mut changed = std::pin::pin!(notify.notified());
            changed.as_mut().enable();
            if self.frame.open().working == 0 {
                return;
            }
            changed.await;
        }
    }

    /// The step ended, in whatever.
    pub(super) fn end(mut self) {
        self.has_ended = true;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut open = self.frame.open();
        let count = if self.is_sleeping { &mut open.sleeping } else { &mut open.working };
        *count -= 1;
        let is_last = open.working + open.sleeping == 0;
        (open.has_ended, open.is_alone) = (!is_last, open.is_alone && !is_last);
        drop(open);
        self.frame.0.1.notify_waiters();
        if !self.has_ended {
            let name = std::mem::take(&mut self.name);
            self.journal.keep_back(self.position, name, Written::GivenUp);
        }
    }
}

/// How far the run is, and what is not recorded yet.
#[derive(Default)]
struct Course {
    next: u32,
    said: u32,
    kept_back: Vec<(u32, String, Written)>,
}

/// The journal of one attempt.
pub(super) struct Journal {
    pub(super) attempt: Arc<Attempt>,
    earlier: OnceCell<BTreeMap<u32, Step>>,
    course: Mutex<Course>,
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Journal({:?}, step {})", self.attempt, lock(&self.course).next)
    }
}

impl Journal {
    pub(super) fn new(attempt: Arc<Attempt>) -> Arc<Self> {
        Arc::new(Self { attempt, earlier: OnceCell::new(), course: Mutex::default() })
    }

    /// Refuses when nothing may go on: the run was refused, put aside, or is somebody else's.
    pub(super) fn check(&self) -> Result<()> {
        if let Some(failure) = self.attempt.refused() {
            return Err(failure.error());
        }
        if self.attempt.suspended().is_some() {
            return Err(Error::new(ErrorKind::Unavailable, "the run sleeps: pass this error up"));
        }
        self.attempt.check()
    }

    /// Takes the next position for a step of this name.
    pub(super) fn take(
        self: &Arc<Self>,
        frame: &Frame,
        name: String,
        is_alone: bool,
    ) -> Result<Turn> {
        self.check()?;
        let wrong =
            |message| Err(self.attempt.refuse(Error::new(ErrorKind::ActionFailed, message)));
        if WORKING.try_with(|()| ()).is_ok() {
            return wrong(format!("the skill began step `{name}` inside of another step"));
        }
        let mut course = lock(&self.course);
        let mut open = frame.open();
        if open.working + open.sleeping > 0 && (open.has_ended || open.is_alone || is_alone) {
            drop((open, course));
            return wrong(format!(
                "the skill began step `{name}` while others had not ended: steps run one after \
                 another, or begin all before the first of them ends"
            ));
        }
        if course.next >= MOST {
            drop((open, course));
            return wrong(format!("the skill has more than {MOST} steps"));
        }
        (open.working, open.is_alone) = (open.working + 1, is_alone);
        let position = course.next;
        course.next += 1;
        drop(open);
        let (journal, frame) = (self.clone(), frame.clone());
        Ok(Turn { position, name, journal, frame, is_sleeping: false, has_ended: false })
    }

    /// What an earlier attempt left of the step. What was kept back is recorded first.
    pub(super) async fn recall(&self, turn: &Turn) -> Result<Past> {
        // Steps that begin together all take their positions before one that is known ends.
        tokio::task::yield_now().await;
        self.settle().await?;
        let Some(step) = self.earlier().await?.get(&turn.position) else { return Ok(Past::None) };
        if step.name != turn.name {
            let what = format!("found `{}`", turn.name);
            return Err(self.attempt.refuse(changed(step, &what)));
        }
        let Some(sealed) = &step.value else { return Ok(Past::Unknown) };
        let attempt = &self.attempt;
        let vault = &attempt.shared.executor.vault;
        let plain = vault.open_bytes(sealed, &self.binding(turn.position, &turn.name))?;
        let written = read(&plain)?;
        if let Written::Open = written {
            return Ok(Past::None);
        }
        let Written::Spilled(artifact) = written else { return Ok(Past::Ended(written)) };
        attempt.held.set_spilled();
        let at = (&attempt.execution.owner, attempt.execution.id);
        let whole = attempt.shared.artifacts.read(at, artifact, 0, u32::MAX).await?;
        read(&whole).map(Past::Ended)
    }

    /// The steps of earlier attempts.
    async fn earlier(&self) -> Result<&BTreeMap<u32, Step>> {
        let (attempt, store) = (&self.attempt, &self.attempt.shared.store);
        let read = || async {
            // The first worker that has a run finds nothing.
            if attempt.held.lease().fencing <= 1 {
                return Ok(BTreeMap::new());
            }
            let steps = store.steps(&attempt.execution.owner, attempt.execution.id).await?;
            Ok(steps.into_iter().map(|step| (step.position, step)).collect())
        };
        self.earlier.get_or_try_init(read).await
    }

    fn keep_back(&self, position: u32, name: String, written: Written) {
        lock(&self.course).kept_back.push((position, name, written));
    }

    async fn settle(&self) -> Result<()> {
        let kept_back = std::mem::take(&mut lock(&self.course).kept_back);
        for (position, name, written) in kept_back {
            self.record(position, &name, Some(&written)).await?;
        }
        Ok(())
    }

    /// Counts what the skill says; how often it has said something by now.
    pub(super) fn count_said(&self) -> u32 {
        let mut course = lock(&self.course);
        course.said += 1;
        course.said
    }

    /// Forgets what was kept back from `position` on: what was called has ended as a whole.
    pub(super) fn fold(&self, position: u32) {
        lock(&self.course).kept_back.retain(|(at, ..)| *at < position);
    }

    /// The position of the next step.
    pub(super) fn next(&self) -> u32 {
        lock(&self.course).next
    }

    /// Goes on behind the steps of what an earlier attempt called.
    pub(super) fn skip(&self, next: Option<u32>) {
        let mut course = lock(&self.course);
        course.next = course.next.max(next.unwrap_or(0));
    }

    /// Records what the step came to; `None` that it begins something that must not be done twice.
    pub(super) async fn note(&self, turn: &Turn, written: Option<&Written>) -> Result<()> {
        self.record(turn.position, &turn.name, written).await
    }

    /// Keeps back what the step came to, until the skill goes on.
    pub(super) fn defer(&self, turn: &Turn, written: Written) {
        self.keep_back(turn.position, turn.name.clone(), written);
    }

    /// Records a step, durably.
    async fn record(&self, position: u32, name: &str, written: Option<&Written>) -> Result<()> {
        let value = match written {
            None => None,
            Some(written) => {
                let written = self.bounded(name, written).await?;
                let vault = &self.attempt.shared.executor.vault;
                Some(vault.seal(&written, &self.binding(position, name))?)
            }
        };
        let step = Step { position, name: name.to_owned(), value };
        let lease = self.attempt.held.lease();
        if self.attempt.shared.store.record_step(&lease, &step).await? {
            return Ok(());
        }
        self.attempt.held.stop(Why::Lost);
        self.attempt.check()
    }

    /// The text to be sealed: as it is, or the name of the artifact that has it.
    async fn bounded(&self, name: &str, written: &Written) -> Result<Vec<u8>> {
        let text = serde_json::to_vec(written).map_err(Error::internal)?;
        if text.len() > LARGEST {
            let message = format!("what step `{name}` came to is larger than {LARGEST} bytes");
            return Err(self.attempt.refuse(Error::new(ErrorKind::TooLarge, message)));
        }
        if text.len() <= SPILLS {
            return Ok(text);
        }
        self.attempt.held.set_spilled();
        let run = &self.attempt.execution;
        let artifacts = &self.attempt.shared.artifacts;
        let artifact = artifacts.spill(&run.owner, run.id, Bytes::from(text)).await?;
        serde_json::to_vec(&Written::Spilled(artifact)).map_err(Error::internal)
    }

    fn binding(&self, position: u32, name: &str) -> Binding {
        let run = &self.attempt.execution;
        step_binding(&run.owner, run.id, position, name)
    }

    /// What the run comes to when its skill returns `done`: nothing that a skill returns hides
    /// that it was refused, put aside, or has left steps out that an earlier attempt had.
    pub(super) async fn end(&self, done: Result<Value>) -> Result<Value> {
        self.check()?;
        let value = done?;
        let next = self.next();
        match self.earlier().await?.range(next..).next() {
            None => Ok(value),
            Some((_, step)) => Err(self.attempt.refuse(changed(step, "found the end"))),
        }
    }
}

/// Does the work of a step.
pub(super) async fn working<T>(work: impl Future<Output = T>) -> T {
    WORKING.scope((), work).await
}

pub(crate) fn step_binding(owner: &OwnerId, run: ExecutionId, at: u32, name: &str) -> Binding {
    let (id, position) = (run.to_string(), at.to_string());
    Binding::to("step", [owner.as_str(), &id, &position, name])
}

pub(crate) fn said_binding(owner: &OwnerId, run: ExecutionId, at: u32) -> Binding {
    let (id, position) = (run.to_string(), at.to_string());
    Binding::to("said", [owner.as_str(), &id, &position])
}

fn changed(step: &Step, found: &str) -> Error {
    let (name, number) = (&step.name, step.position + 1);
    let message = format!("the skill's steps changed: expected `{name}` as step {number}, {found}");
    Error::new(ErrorKind::ActionFailed, message)
}

fn read(text: &[u8]) -> Result<Written> {
    serde_json::from_slice(text).map_err(|_| Error::internal("a recorded step cannot be read"))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
