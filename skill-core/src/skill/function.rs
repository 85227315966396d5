//! Skills out of functions.

use std::{fmt, marker::PhantomData, sync::Arc, time::Duration};

use async_trait::async_trait;
use schemars::{JsonSchema, generate::SchemaSettings};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{Skill, SkillContext, SkillInfo, unreadable};
use crate::{
    error::{Error, Result},
    name::{ActionName, Slug, Version},
    record::{execution::Class, run::Group, scope::Scope},
    schema::Schema,
    tool::Form,
};

/// Makes a skill of an asynchronous function whose input and output are types of its own; their
/// schemas are derived. `category`, `version` and `name` are its address: `reports/v1.0/daily`.
///
/// ```
/// use schemars::JsonSchema;
/// use serde::{Deserialize, Serialize};
/// use skill_core::skill;
///
/// #[derive(Deserialize, JsonSchema)]
/// struct Numbers {
///     /// What is added up.
///     numbers: Vec<i64>,
/// }
/// #[derive(Serialize, JsonSchema)]
/// struct Sum {
///     sum: i64,
/// }
/// let sum = skill::from_fn("calculator", "v1.0", "sum", |_, input: Numbers| async move {
///     Ok(Sum { sum: input.numbers.iter().sum() })
/// });
/// let sum = sum.summary("Add numbers up").build()?;
/// assert_eq!(sum.info().action().to_string(), "calculator/sum");
/// # Ok::<(), skill_core::Error>(())
/// ```
pub fn from_fn<I, O, W, F>(category: &str, version: &str, name: &str, work: W) -> Function<I, O, W>
where
    I: DeserializeOwned + JsonSchema + Send + 'static,
    O: Serialize + JsonSchema + 'static,
    W: Fn(SkillContext, I) -> F + Send + Sync + 'static,
    F: Future<Output = Result<O>> + Send,
{
    let info = begin(category, version, name, &derived::<I>(Side::Input));
    let info = info.and_then(|mut info| {
        info.output = Some(Schema::compile(derived::<O>(Side::Output))?);
        Ok(info)
    });
    Function { info, work, types: PhantomData }
}

fn begin(category: &str, version: &str, name: &str, input: &Value) -> Result<SkillInfo> {
    let about = |what: &'static str| {
        let skill = format!("{category}/{version}/{name}");
        move |error: Error| {
            Error::invalid(format!("the {what} of skill `{skill}`: {}", error.message()))
        }
    };
    let namespace = Slug::parse(category).map_err(about("category"))?;
    let slug = Slug::parse(name).map_err(about("name"))?;
    let version = Version::parse(version).map_err(about("version"))?;
    if input.get("type").is_some_and(|kind| kind != "object") {
        let problem = Error::invalid("expected an object: take a struct");
        return Err(about("input")(problem));
    }
    let schema = Schema::compile(input.clone()).map_err(about("input"))?;
    Ok(SkillInfo::new(ActionName { namespace, name: slug }, version, schema))
}

/// Which way a value goes: defaults make a member optional on its way in, never on its way out.
#[derive(Clone, Copy)]
enum Side {
    Input,
    Output,
}

/// The schema of a type, in the draft that everything here speaks. Its title is the type's name,
/// which is nobody's business.
fn derived<T: JsonSchema>(side: Side) -> Value {
    let settings = SchemaSettings::draft2020_12();
    let settings = match side {
        Side::Input => settings.for_deserialize(),
        Side::Output => settings.for_serialize(),
    };
    let mut schema = settings.into_generator().into_root_schema_for::<T>();
    schema.remove("title");
    schema.remove("$schema");
    schema.to_value()
}

/// A skill that is being made of a function: see [`from_fn`].
///
/// ```
/// use std::time::Duration;
/// use serde_json::Value;
/// use skill_core::{record::execution::Class, skill};
/// let made = skill::from_fn("reports", "v1.0", "daily", |_, _: Value| async { Ok(()) });
/// let made = made.class(Class::Read).timeout(Duration::from_secs(60)).group("reports", 1);
/// assert_eq!(made.build()?.info().attempts, None);
/// # Ok::<(), skill_core::Error>(())
/// ```
#[must_use]
pub struct Function<I, O, W> {
    info: Result<SkillInfo>,
    work: W,
    types: PhantomData<fn(I) -> O>,
}

impl<I, O, W> fmt::Debug for Function<I, O, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.info {
            Ok(info) => write!(f, "Function({} {})", info.action(), info.version),
            Err(error) => write!(f, "Function({error})"),
        }
    }
}

impl<I, O, W> Function<I, O, W> {
    fn with(mut self, change: impl FnOnce(&mut SkillInfo)) -> Self {
        if let Ok(info) = &mut self.info {
            change(info);
        }
        self
    }

    /// Says in one line what it does.
    pub fn summary(self, summary: &str) -> Self {
        self.with(|info| info.summary = summary.to_owned())
    }

    /// Says how long one attempt may take; five minutes without it.
    pub fn timeout(self, timeout: Duration) -> Self {
        self.with(|info| info.timeout = timeout)
    }

    /// Says how long a run may take from its submit to its end, retries and sleeps included.
    pub fn deadline(self, deadline: Duration) -> Self {
        self.with(|info| info.deadline = Some(deadline))
    }

    /// Says what it does to the outside; [`Class::Write`] without it.
    pub fn class(self, class: Class) -> Self {
        self.with(|info| info.class = class)
    }

    /// Bounds how many runs with this concurrency key go on at once, for each owner, on all nodes
    /// together. Skills may share a key; then each should name the same bound.
    pub fn group(self, key: &str, most: u32) -> Self {
        self.with(|info| info.group = Some(Group { name: key.to_owned(), most }))
    }

    /// Says how many attempts a run has.
    pub fn attempts(self, attempts: u32) -> Self {
        self.with(|info| info.attempts = Some(attempts))
    }

    /// Says which scopes a caller needs beside that of the skill itself.
    pub fn scopes(self, scopes: impl IntoIterator<Item = Scope>) -> Self {
        self.with(|info| info.scopes = scopes.into_iter().collect())
    }

    /// Takes it out of listings; calls of it find nothing.
    pub fn inactive(self) -> Self {
        self.with(|info| info.is_active = false)
    }

    /// Says in its listing that callers should move on. It still runs.
    pub fn deprecated(self) -> Self {
        self.with(|info| info.is_deprecated = true)
    }

    /// Says how many runs of one owner it takes in any 60 seconds.
    pub fn rate_limit(self, per_minute: u32) -> Self {
        self.with(|info| info.rate_limit = Some(per_minute))
    }

    /// Says how it shows itself as a tool.
    pub fn tool(self, form: Form) -> Self {
        self.with(|info| info.tool = form)
    }
}

impl<I, O, W, F> Function<I, O, W>
where
    I: DeserializeOwned + JsonSchema + Send + 'static,
    O: Serialize + JsonSchema + 'static,
    W: Fn(SkillContext, I) -> F + Send + Sync + 'static,
    F: Future<Output = Result<O>> + Send,
{
    /// Makes the skill.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for a name or a version that is
    /// none, an input that is no object, and bounds that leave nothing.
    pub fn build(self) -> Result<Arc<dyn Skill>> {
        let info = self.info?;
        let empty = info.attempts == Some(0)
            || info.rate_limit == Some(0)
            || info.rate_limit == Some(0)
            || info.timeout.is_zero()
            || info.deadline.is_some_and(|deadline| deadline.is_zero())
            || info.group.as_ref().is_some_and(|group| group.most == 0 || group.name.is_empty());
        if empty {
            let message = "expected at least one attempt, one run at a time, and some time";
            return Err(Error::invalid(format!("skill `{}`: {message}", info.action())));
        }
        Ok(Arc::new(Made { info, work: self.work, types: PhantomData }))
    }
}

/// A skill that was made of a function.
struct Made<I, O, W> {
    info: SkillInfo,
    work: W,
    types: PhantomData<fn(I) -> O>,
}

impl<I, O, W> fmt::Debug for Made<I, O, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Skill({} {})", self.info.action(), self.info.version)
    }
}

#[async_trait]
impl<I, O, W, F> Skill for Made<I, O, W>
where
    I: DeserializeOwned + JsonSchema + Send + 'static,
    O: Serialize + JsonSchema + 'static,
    W: Fn(SkillContext, I) -> F + Send + Sync + 'static,
    F: Future<Output = Result<O>> + Send,
{
    fn info(&self) -> &SkillInfo {
        &self.info
    }

    async fn run(&self, context: SkillContext, input: Value) -> Result<Value> {
        let input = serde_json::from_value(input).map_err(|cause| unreadable(&cause))?;
        let output = (self.work)(context, input).await?;
        serde_json::to_value(&output).map_err(|cause| {
            let message = "the skill's output cannot be written as JSON";
            Error::new(crate::ErrorKind::ActionFailed, message).with("cause", cause)
        })
    }
}
