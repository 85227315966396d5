//! Skills: named, versioned pieces of work that run in-process, and what the engine does for them.

mod context;
mod function;

use std::{fmt, time::Duration};

use async_trait::async_trait;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

pub use self::{
    context::{Host, RunInfo, SkillContext, StepName, Work},
    function::{Function, from_fn},
};
use crate::{
    error::{Error, Result},
    name::{ActionName, Slug, Version},
    record::{execution::Class, run::Group, scope::Scope},
    schema::Schema,
    tool::Form,
};

/// How long one attempt of a run may take when its skill does not say.
const TIMEOUT: Duration = Duration::from_secs(300);

/// What is known about a skill without running it.
///
/// ```
/// use skill_core::{name::{ActionName, Slug, Version}, schema::Schema, skill::SkillInfo};
/// let name = ActionName { namespace: Slug::parse("reports")?, name: Slug::parse("daily")? };
/// let schema = Schema::compile(serde_json::json!({"type": "object"}))?;
/// let mut info = SkillInfo::new(name, Version::parse("v1.0")?, schema);
/// info.summary = "Write the daily report".into();
/// assert!(info.is_active && !info.is_deprecated);
/// # Ok::<(), skill_core::Error>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct SkillInfo {
    /// The category: the first part of its name, and its scope.
    pub category: Slug,
    /// Its version.
    pub version: Version,
    /// Its name.
    pub name: Slug,
    /// What it does, in one line.
    pub summary: String,
    /// What its input must look like: an object.
    pub input: Schema,
    /// What its output looks like.
    pub output: Option<Schema>,
    /// How long one attempt may take. What it sleeps longer than a few seconds does not count.
    pub timeout: Duration,
    /// How long a run may take from its submit to its end, retries and sleeps included, when the
    /// caller does not say; the engine's own time when neither does.
    pub deadline: Option<Duration>,
    /// What it does to the outside.
    pub class: Class,
    /// Bounds how many of its runs of one owner go on at once, on all nodes together.
    pub group: Option<Group>,
    /// How many attempts a run has, when it is another number than the engine's own.
    pub attempts: Option<u32>,
    /// Scopes that a caller needs beside that of the skill itself.
    pub scopes: Vec<Scope>,
    /// What it may call although its caller has no scope for it.
    pub grants: Vec<Scope>,
    /// Whether it can be called and is listed.
    pub is_active: bool,
    /// Whether its listing says that callers should move on. It still runs.
    pub is_deprecated: bool,
    /// How many runs of one owner it takes in any 60 seconds.
    pub rate_limit: Option<u32>,
    /// How it shows itself as a tool.
    pub tool: Form,
}

impl SkillInfo {
    /// Returns what is known about a skill of which nothing is said but its name and input: class
    /// write, five minutes for each attempt.
    pub fn new(name: ActionName, version: Version, input: Schema) -> Self {
        Self {
            category: name.namespace,
            version,
            name: name.name,
            summary: String::new(),
            input,
            output: None,
            timeout: TIMEOUT,
            deadline: None,
            class: Class::Write,
            group: None,
            attempts: None,
            scopes: Vec::new(),
            grants: Vec::new(),
            is_active: true,
            is_deprecated: false,
            rate_limit: None,
            tool: Form::default(),
        }
    }

    /// Its name as an action.
    pub fn action(&self) -> ActionName {
        ActionName { namespace: self.category.clone(), name: self.name.clone() }
    }

    /// The hash of everything that changes what a run of it means.
    pub fn revision(&self) -> String {
        let name = format!("{}/{}", self.category.canonical(), self.name.canonical());
        let (version, input) = (self.version.to_string(), self.input.as_value());
        let meaning = json!([name, version, self.class.as_str(), input]);
        let hash = Sha256::digest(meaning.to_string().as_bytes());
        data_encoding::HEXLOWER.encode(&hash[..8])
    }
}

/// A named, versioned piece of work, run in-process. Most are made with [`from_fn`].
#[async_trait]
pub trait Skill: fmt::Debug + Send + Sync + 'static {
    /// What is known about it.
    fn info(&self) -> &SkillInfo;

    /// Does the work. An error that the context gave out is passed up, never swallowed: it may
    /// mean that the run is suspended or has lost its lease. Nothing that is returned after that
    /// counts.
    ///
    /// # Errors
    /// An error that [`is_retryable`](Error::is_retryable), or whose
    /// [`retry_state`](Error::retry_state) is [`Safe`](crate::error::Retry::Safe), leads to another
    /// attempt, any other ends the run.
    async fn run(&self, context: SkillContext, input: Value) -> Result<Value>;
}

const _: Option<&dyn Skill> = None;

/// Says in the caller's terms why an input that fits the schema is none of the skill's type.
/// Values are never repeated.
fn unreadable(error: &serde_json::Error) -> Error {
    let text = error.to_string();
    let repeats = ["invalid type", "invalid value", "invalid length", "unknown variant"];
    let issue = match text.split_once(", expected ") {
        Some((start, expected)) if repeats.iter().any(|word| start.starts_with(word)) => {
            format!("expected {expected}")
        }
        _ => text,
    };
    Error::invalid(format!("the input cannot be used: {issue}")).detail("params", issue)
}
