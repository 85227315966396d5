//! Skills: named, versioned pieces of work that run in-process, and what the engine does for them.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::{
    call::{CallRequest, Reply},
    error::{Error, Result},
    name::{Slug, Version},
    record::execution::Class,
    schema::Schema,
};

/// What is known about a skill without running it.
#[derive(Debug)]
pub struct SkillInfo {
    /// The category: the first part of its name, and its scope.
    pub category: Slug,
    /// Its version.
    pub version: Version,
    /// Its name.
    pub name: Slug,
    /// What it does, in one line.
    pub summary: String,
    /// What its input must look like.
    pub input: Schema,
    /// What its output looks like.
    pub output: Option<Schema>,
    /// How long one run may take.
    pub timeout: Duration,
    /// What it does to the outside.
    pub class: Class,
}

/// A named, versioned piece of work, run in-process.
#[async_trait]
pub trait Skill: fmt::Debug + Send + Sync + 'static {
    /// What is known about it.
    fn info(&self) -> &SkillInfo;

    /// Does the work. An error that the context gave out is passed up, never swallowed: it may
    /// mean that the run is suspended or has lost its lease.
    async fn run(&self, context: SkillContext, input: Value) -> Result<Value>;
}

const _: Option<&dyn Skill> = None;

/// Names a durable step within one run.
///
/// ```
/// use skill_core::skill::StepName;
/// assert_eq!(StepName("charge".into()).0, "charge");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StepName(pub String);

/// What the engine does for a running skill.
#[async_trait]
pub trait Host: fmt::Debug + Send + Sync + 'static {
    /// Calls an action with the run's own key, scopes, limits and deadline.
    async fn call(&self, call: CallRequest) -> Result<Reply>;
    /// Returns what a step recorded in an earlier attempt.
    async fn recall(&self, step: &StepName) -> Result<Option<Value>>;
    /// Records the value of a step, durably.
    async fn record(&self, step: &StepName, value: &Value) -> Result<()>;
    /// Waits: a short while in place, a long one by suspending the run.
    async fn sleep_until(&self, at: Timestamp) -> Result<()>;
    /// Says how far the run is, in percent.
    async fn progress(&self, percent: u8) -> Result<()>;
    /// Says something in the run's conversation.
    async fn say(&self, text: &str) -> Result<()>;
    /// Ends when the run should stop.
    fn cancelled(&self) -> CancellationToken;
}

const _: Option<&dyn Host> = None;

/// What a running skill holds of the engine.
#[derive(Debug, Clone)]
pub struct SkillContext {
    host: Arc<dyn Host>,
}

impl SkillContext {
    /// Returns the context over `host`.
    pub fn new(host: Arc<dyn Host>) -> Self {
        Self { host }
    }

    /// The engine's side.
    pub fn host(&self) -> &dyn Host {
        &*self.host
    }

    /// Runs `work` once: when an earlier attempt of this run finished the step, its value is
    /// returned instead.
    ///
    /// # Errors
    /// What `work` ends in, or the journal.
    pub async fn step<T, F>(&self, name: &str, work: impl FnOnce() -> F) -> Result<T>
    where
        T: serde::Serialize + serde::de::DeserializeOwned,
        F: Future<Output = Result<T>>,
    {
        let step = StepName(name.to_owned());
        if let Some(value) = self.host.recall(&step).await? {
            return serde_json::from_value(value).map_err(Error::internal);
        }
        let value = work().await?;
        let recorded = serde_json::to_value(&value).map_err(Error::internal)?;
        self.host.record(&step, &recorded).await?;
        Ok(value)
    }
}
