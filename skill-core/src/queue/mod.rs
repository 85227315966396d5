//! Runs: submitted, worked on, and looked at.
//!
//! A run is one row. Whoever submits it gets its name when the row is on disk; a worker claims it
//! under a lease with a fencing number, makes an attempt, and ends it in the statement that checks
//! this number. What a worker does for a run is thereby void from the moment another one has it.

mod attempt;
mod conversation;
mod finish;
mod host;
mod journal;
mod live;
mod narrow;
mod recover;
mod retry;
mod run;
mod say;
mod settings;
mod sourced;
mod step;
mod submit;
mod thread;
mod tide;
mod view;
mod worker;

use std::{
    fmt,
    sync::{Arc, Mutex, atomic::AtomicBool},
};

use data_encoding::HEXLOWER;
use jiff::Timestamp;
use tokio::sync::Notify;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub(crate) use self::journal::{said_binding, step_binding};
use self::{live::Live, thread::Threads, tide::Tide};
pub use self::{
    run::{Invoked, OnDeadline, Page, Run, Submission, Submitted},
    settings::Settings,
    view::Watch,
};
pub use crate::call::{Failure, Outcome};
use crate::{
    access::Keys,
    artifact::Artifacts,
    clock::Clock,
    error::Result,
    executor::Executor,
    id,
    record::run::{Lane, Worker},
    store::Store,
};

/// The runs of an engine and their queue.
///
/// ```
/// # async fn example(engine: skill_core::Engine, admitted: skill_core::access::Admitted) -> skill_core::Result<()> {
/// use std::time::Duration;
/// use skill_core::{call::CallRequest, clock::Deadline, queue::Submission};
/// let call = CallRequest::new("github", "create_issue")?.param("title", "Bug report");
/// let submitted = engine.runs().submit(&admitted, Submission::new(call)).await?;
/// let until = Deadline::after(Duration::from_secs(30));
/// let run = engine.runs().wait(admitted.caller(), submitted.id, until).await?;
/// println!("{}", run.execution.state.as_str());
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Runs {
    pub(crate) shared: Arc<Shared>,
}

impl fmt::Debug for Runs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Runs({:?})", self.shared.live)
    }
}

/// What everything that works on runs shares.
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) executor: Arc<Executor>,
    pub(crate) keys: Arc<Keys>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) artifacts: Artifacts,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) live: Arc<Live>,
    /// Names this engine, from its start to its end.
    pub(crate) worker: Worker,
    tide: Tide,
    /// Wakes the loop that claims.
    pub(crate) wake: Notify,
    /// The lane that was served last.
    turn: Mutex<Option<Lane>>,
    /// A run is known to wait that could be claimed: nobody goes past it.
    backlog: AtomicBool,
    /// The loop wants to hear of every place that gets free.
    is_eager: AtomicBool,
    threads: Arc<Threads>,
    /// What is under way: submits, the loop that claims, attempts.
    tasks: TaskTracker,
    /// Signs of life, as long as anything is under way.
    beats: TaskTracker,
    /// Calls that go on when nobody waits for them any more.
    calls: TaskTracker,
    closed: CancellationToken,
    killed: CancellationToken,
}

/// The engine's parts that runs need.
pub(crate) struct Parts {
    pub(crate) executor: Arc<Executor>,
    pub(crate) keys: Arc<Keys>,
    pub(crate) calls: TaskTracker,
}

impl Runs {
    /// Takes over what an earlier process left, and starts to work.
    pub(crate) async fn start(parts: Parts, settings: Settings) -> Result<Self> {
        let Parts { executor, keys, calls } = parts;
        let artifacts = executor.artifacts.clone();
        let (store, clock) = (executor.store.clone(), executor.clock.clone());
        let shared = Arc::new(Shared {
            live: Live::new(settings.slots),
            threads: Threads::new(settings.slots),
            worker: Worker(HEXLOWER.encode(&id::random::<8>()?)),
            tide: Tide::new(&*clock),
            wake: Notify::new(),
            turn: Mutex::default(),
            // Until the first look nobody knows who waits.
            backlog: AtomicBool::new(true),
            is_eager: AtomicBool::new(true),
            tasks: TaskTracker::new(),
            beats: TaskTracker::new(),
            closed: CancellationToken::new(),
            killed: CancellationToken::new(),
            settings,
            executor,
            keys,
            store,
            artifacts,
            clock,
            calls,
        });
        shared.recover().await?;
        shared.serve();
        Ok(Self { shared })
    }
}

impl Shared {
    /// The time that the queue goes by.
    pub(crate) fn now(&self) -> Timestamp {
        self.tide.now(&*self.clock)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shared({:?})", self.worker)
    }
}
