//! Runs: submitted, worked on, and looked at.
//!
//! A run is one row. Whoever submits it gets its name when the row is on disk; a worker claims it
//! under a lease with a fencing number, makes an attempt, and ends it in the statement that checks
//! this number. What a worker does for a run is thereby void from the moment another one has it.

mod attempt;
mod host;
mod live;
mod run;
mod settings;
mod submit;
mod view;

use std::{fmt, sync::Arc};

use tokio::sync::Notify;

pub use self::{
    run::{Invoked, OnDeadline, Page, Run, Submission, Submitted},
    settings::Settings,
    view::Watch,
};
use self::live::Live;
pub use crate::call::{Failure, Outcome};
use crate::{
    access::Keys, clock::Clock, executor::Executor, record::run::Worker, store::Store,
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
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) live: Arc<Live>,
    /// Names this engine, from its start to its end.
    pub(crate) worker: Worker,
    /// Wakes the loop that claims.
    pub(crate) wake: Notify,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shared({:?})", self.worker)
    }
}
