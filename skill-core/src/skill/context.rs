//! What a running skill holds of the engine.

use std::{fmt, pin::Pin, sync::Arc, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::Skill;
use crate::{
    call::{CallRequest, Reply},
    error::{Error, ErrorKind, Result},
    id::ExecutionId,
    name::{ActionName, OwnerId, Slug, UserId, Version},
    transport::{Outgoing, Response},
};

/// The longest name of a step, in characters.
const NAME: usize = 200;

/// Names a durable step within one run: 1 to 200 characters, no control characters.
///
/// ```
/// use skill_core::skill::StepName;
/// assert_eq!(StepName::parse("charge")?.as_str(), "charge");
/// assert!(StepName::parse("").is_err());
/// # Ok::<(), skill_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StepName(String);

impl StepName {
    /// Reads the name of a step.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] when it is none.
    pub fn parse(text: &str) -> Result<Self> {
        let length = text.chars().count();
        if (1..=NAME).contains(&length) && !text.chars().any(char::is_control) {
            return Ok(Self(text.to_owned()));
        }
        let message = "expected the name of a step: 1 to 200 characters, no control characters";
        Err(Error::invalid(message))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Which run a skill is part of.
///
/// ```
/// fn key(run: &skill_core::skill::RunInfo, step: &str) -> String { format!("{}/{step}", run.id) }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunInfo {
    /// The run. A skill that another one calls is part of that one's run.
    pub id: ExecutionId,
    /// Whom it belongs to.
    pub owner: OwnerId,
    /// The person it acts for.
    pub user: Option<UserId>,
    /// The skill.
    pub action: ActionName,
    /// Its version.
    pub version: Version,
    /// Which attempt this is, from 1 on.
    pub attempt: u32,
}

/// What a step does, once it is polled.
///
/// ```
/// use skill_core::skill::Work;
/// let work: Work<'_> = Box::pin(async { Ok(1.into()) });
/// ```
pub type Work<'a> = Pin<Box<dyn Future<Output = Result<Value>> + Send + 'a>>;

/// What the engine does for a running skill. [`SkillContext`] says what each means.
#[async_trait]
pub trait Host: fmt::Debug + Send + Sync + 'static {
    /// Which run this is.
    fn run(&self) -> &RunInfo;
    /// The time.
    fn now(&self) -> Timestamp;
    /// Takes the next position for a step of this name. Returns the value that an earlier attempt
    /// recorded there, or does the work and records its value, durably.
    async fn step(&self, name: &StepName, work: Work<'_>) -> Result<Value>;
    /// As `step`, for work that must not be done twice: that it begins is on disk before it does,
    /// and a later attempt that finds no end ends the run.
    async fn once(&self, name: &StepName, work: Work<'_>) -> Result<Value>;
    /// Sends a request to where the egress rules let it go, without any credential.
    async fn fetch(&self, request: Outgoing, timeout: Duration) -> Result<Response>;
    /// Finds a skill of the catalogue that the run's key may call.
    fn find(&self, category: &Slug, version: Version, name: &Slug) -> Option<Arc<dyn Skill>>;
    /// Calls an action with the run's own key, scopes, limits and deadline, as a step.
    async fn call(&self, call: CallRequest) -> Result<Reply>;
    /// Waits, as a step: a short while in place, a long one by suspending the run. The time that
    /// the first attempt named counts.
    async fn sleep_until(&self, at: Timestamp) -> Result<()>;
    /// Says something to whoever reads the run's conversation, as a step.
    async fn say(&self, text: &str) -> Result<()>;
    /// Says how far the run is, in percent.
    async fn progress(&self, percent: u8) -> Result<()>;
    /// Ends when the run should stop.
    fn cancelled(&self) -> CancellationToken;
}

const _: Option<&dyn Host> = None;

/// What a running skill holds of the engine. Clones are cheap and share everything.
///
/// A run may be tried several times: after a crash, a failure, a long sleep. Its **steps** make
/// that harmless. A step that finished is never done again; it answers with what it recorded.
/// [`step`](Self::step), [`call`](Self::call), [`say`](Self::say) and [`sleep`](Self::sleep) are
/// steps.
///
/// - A step takes its position when it begins. What comes between steps has to lead to the same
///   steps in the same order every time: no random numbers, no clock, no other IO outside a step.
///   A run whose steps are others than in an earlier attempt ends in an error that says so.
/// - Steps may run at the same time (`join!`) when all of them begin before the first one ends;
///   the next one begins when all have ended. Anything else would make the order a matter of luck,
///   and is refused. A skill that is called runs alone.
/// - A step holds no other steps.
/// - An error of a step that the skill goes on from is recorded before the next step begins: later
///   attempts see the same error. An error that the skill passes up is not: the next attempt tries
///   the step again.
/// - An error of the context is passed up: it may mean that the run is suspended, was cancelled or
///   is somebody else's by now. Whatever the skill returns after such an error does not count.
///
/// ```
/// use std::time::Duration;
/// use serde_json::{Value, json};
/// use skill_core::{Result, call::CallRequest, skill::SkillContext};
///
/// async fn remind(context: SkillContext, _: Value) -> Result<Value> {
///     let list = context.call(CallRequest::new("github", "list_issues")?).await?;
///     context.sleep(Duration::from_secs(24 * 3600)).await?;
///     let left: usize = context.step("count", || async { Ok(list.data.json()?.to_string().len()) }).await?;
///     Ok(json!({"left": left}))
/// }
/// ```
#[derive(Debug, Clone)]
pub struct SkillContext {
    host: Arc<dyn Host>,
}

impl SkillContext {
    /// Returns the context over `host`.
    pub fn new(host: Arc<dyn Host>) -> Self {
        Self { host }
    }

    /// Which run this is.
    pub fn run(&self) -> &RunInfo {
        self.host.run()
    }

    /// The engine's clock. Read it inside a step where later steps depend on it.
    pub fn now(&self) -> Timestamp {
        self.host.now()
    }

    /// Runs `work` once: when an earlier attempt of this run finished the step, its value is
    /// returned instead. A process that dies between the end of the work and its record does it
    /// again: pass [`RunInfo::id`] and the step's name to whatever can tell a repeat.
    ///
    /// # Errors
    /// What `work` ends in; [`ErrorKind::ActionFailed`] when the steps are others than before;
    /// [`ErrorKind::TooLarge`] for a value of more than 16 MiB; otherwise as [`SkillContext`] says.
    pub async fn step<T, F>(&self, name: &str, work: impl FnOnce() -> F + Send) -> Result<T>
    where
        T: Serialize + DeserializeOwned,
        F: Future<Output = Result<T>> + Send,
    {
        let name = StepName::parse(name)?;
        let value = self.host.step(&name, written(work)).await?;
        read(&name, value)
    }

    /// Runs `work` at most once, as a step: for what must not happen twice, and cannot be told
    /// apart from a repeat where it happens. It is on disk that it begins before it does.
    ///
    /// An error whose [`retry_state`](Error::retry_state) says that something may have happened
    /// becomes [`ErrorKind::OutcomeUnknown`]; after any other one a later attempt may do it.
    ///
    /// ```
    /// use serde_json::Value;
    /// use skill_core::{Result, skill::SkillContext};
    ///
    /// async fn launch(context: SkillContext, _: Value) -> Result<u32> {
    ///     context.once("ignite", || async { Ok(1) }).await
    /// }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::OutcomeUnknown`] when an earlier attempt was cut while it did the work, which
    /// ends the run; otherwise as [`step`](Self::step).
    pub async fn once<T, F>(&self, name: &str, work: impl FnOnce() -> F + Send) -> Result<T>
    where
        T: Serialize + DeserializeOwned,
        F: Future<Output = Result<T>> + Send,
    {
        let name = StepName::parse(name)?;
        let value = self.host.once(&name, written(work)).await?;
        read(&name, value)
    }

    /// Sends a request to an outside address that the egress rules admit: what a skill was given,
    /// with no connection and no credential. It is no step: call it inside of one, and record what
    /// matters of the answer. Redirects are not followed.
    ///
    /// ```
    /// use std::time::Duration;
    /// use serde_json::Value;
    /// use skill_core::{Error, Result, skill::SkillContext, transport::Outgoing};
    ///
    /// async fn is_there(context: SkillContext, _: Value) -> Result<bool> {
    ///     let url = "https://example.com/".parse().map_err(Error::internal)?;
    ///     let work = || async {
    ///         let answer = context.fetch(Outgoing::get(url), Duration::from_secs(5)).await?;
    ///         Ok(answer.status.is_success())
    ///     };
    ///     context.step("look", work).await
    /// }
    /// ```
    ///
    /// # Errors
    /// As [`Transport::send`](crate::transport::Transport::send); those of [`SkillContext`].
    pub async fn fetch(&self, request: Outgoing, timeout: Duration) -> Result<Response> {
        self.host.fetch(request, timeout).await
    }

    /// Finds a skill of the catalogue, as far as the key that asked for the run may call it;
    /// `v1` stands for the newest active `v1.x`.
    pub fn find(&self, category: &Slug, version: Version, name: &Slug) -> Option<Arc<dyn Skill>> {
        self.host.find(category, version, name)
    }

    /// Calls an action, as a step: an endpoint or another skill, with the scopes and the limits
    /// of the key that asked for the run. When the limits are used up it waits.
    ///
    /// A call that must not be sent twice, and was cut with its process, ends the run as
    /// [`ErrorKind::OutcomeUnknown`]. An answer of the service is no error, whatever its status.
    ///
    /// # Errors
    /// As [`Executor::execute`](crate::executor::Executor::execute), and as [`SkillContext`] says.
    pub async fn call(&self, call: CallRequest) -> Result<Reply> {
        self.host.call(call).await
    }

    /// Sleeps, as a step. It survives restarts; what is longer than a few seconds takes no worker.
    ///
    /// # Errors
    /// [`ErrorKind::Timeout`] ends a run that would sleep beyond its
    /// [`deadline`](super::SkillInfo::deadline); otherwise as [`SkillContext`] says.
    pub async fn sleep(&self, time: Duration) -> Result<()> {
        let wake = self.host.now().checked_add(time);
        self.sleep_until(wake.map_err(|_| Error::invalid("nobody sleeps that long"))?).await
    }

    /// Sleeps until a time, as a step.
    ///
    /// # Errors
    /// As [`sleep`](Self::sleep).
    pub async fn sleep_until(&self, at: Timestamp) -> Result<()> {
        self.host.sleep_until(at).await
    }

    /// Says something to whoever reads the run's conversation, as a step: once, however often the
    /// run is tried. It is kept as long as the run.
    ///
    /// # Errors
    /// [`ErrorKind::TooLarge`] ends a run that says nothing or more than 16 KiB at a time,
    /// [`ErrorKind::ActionFailed`] one that says something more than 200 times; otherwise as
    /// [`SkillContext`] says.
    pub async fn say(&self, text: impl Into<String>) -> Result<()> {
        self.host.say(&text.into()).await
    }

    /// Says how far the run is, in percent. Anything above 99 counts as 99: a run has 100 when it
    /// has ended. A smaller number than before is ignored.
    ///
    /// # Errors
    /// As [`SkillContext`] says.
    pub async fn progress(&self, percent: u8) -> Result<()> {
        self.host.progress(percent).await
    }

    /// Ends when the run should stop. Work that takes long between two steps looks at it.
    pub fn cancelled(&self) -> CancellationToken {
        self.host.cancelled()
    }
}

/// Work whose value is JSON.
fn written<'a, T, F>(work: impl FnOnce() -> F + Send + 'a) -> Work<'a>
where
    T: Serialize,
    F: Future<Output = Result<T>> + Send + 'a,
{
    Box::pin(async move {
        let value = work().await?;
        serde_json::to_value(&value).map_err(Error::internal)
    })
}

/// The value of a step as the type that it has to be.
fn read<T: DeserializeOwned>(name: &StepName, value: Value) -> Result<T> {
    serde_json::from_value(value).map_err(|cause| {
        let message = format!("the value of step `{}` is of another type", name.as_str());
        Error::new(ErrorKind::ActionFailed, message).with("cause", cause)
    })
}
