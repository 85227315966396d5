//! How an action shows itself as a tool: its id, its category, and a projection of the same call.
//!
//! Most actions say nothing and are tools as they are. A form renames inputs, joins or fixes them,
//! and picks values out of the answer; it never changes what is called.

mod declare;
mod input;
mod output;

use serde_json::{Map, Value};

pub use self::{
    declare::declare,
    input::{Feed, Inputs, Template},
    output::{Output, Outputs, Pick},
};
use crate::name::Slug;

/// What kind of tool it is.
///
/// ```
/// use skill_core::tool::Category;
/// assert_eq!(Category::parse("security"), Some(Category::Security));
/// assert_eq!(Category::parse("cooking"), None);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Category {
    /// Finds what is unsafe.
    Security,
    /// Reads, measures, reports.
    Analysis,
    /// Builds, deploys, runs.
    Automation,
    /// Talks to an outside service.
    #[default]
    Integration,
    /// Watches.
    Monitoring,
}

impl Category {
    /// Every category.
    pub const ALL: [Self; 5] =
        [Self::Security, Self::Analysis, Self::Automation, Self::Integration, Self::Monitoring];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Security => "security",
            Self::Analysis => "analysis",
            Self::Automation => "automation",
            Self::Integration => "integration",
            Self::Monitoring => "monitoring",
        }
    }

    /// Reads a name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|category| category.as_str() == text)
    }
}

/// How far an action is to be relied on.
///
/// ```
/// use skill_core::tool::Status;
/// assert_eq!(Status::parse("beta"), Some(Status::Beta));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Status {
    /// It is.
    #[default]
    Ready,
    /// It may still change.
    Beta,
    /// It still runs; callers should move away from it.
    Deprecated,
}

impl Status {
    /// Every status.
    pub const ALL: [Self; 3] = [Self::Ready, Self::Beta, Self::Deprecated];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Beta => "beta",
            Self::Deprecated => "deprecated",
        }
    }

    /// Reads a name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }
}

/// A call that shows how a tool is used.
///
/// ```
/// use skill_core::tool::Example;
/// let example = Example { name: "Nothing".into(), input: Default::default(), output: None };
/// assert!(example.input.is_empty());
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Example {
    /// What it does.
    pub name: String,
    /// The tool's inputs.
    pub input: Map<String, Value>,
    /// What comes back, shortened.
    pub output: Option<Value>,
}

/// How an action shows itself as a tool. The default one shows it as it is.
///
/// ```
/// use skill_core::{name::Slug, tool::{Category, Form}};
/// let form = Form {
///     id: Some(Slug::parse("semgrep-scan")?),
///     category: Some(Category::Security),
///     ..Form::default()
/// };
/// assert!(!form.is_hidden);
/// # Ok::<(), skill_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Form {
    /// Its id, instead of the one that is derived from the action's name.
    pub id: Option<Slug>,
    /// What people call it, instead of a title made of the action's name.
    pub name: Option<String>,
    /// What it does in one line, instead of the action's own line.
    pub description: Option<String>,
    /// Its category; endpoints stand under `integration` and skills under `automation` by default.
    pub category: Option<Category>,
    /// Whether the action is no tool at all.
    pub is_hidden: bool,
    /// How its inputs become the action's parameters.
    pub inputs: Inputs,
    /// What it picks out of the answer; without it the answer is passed on as it is.
    pub outputs: Option<Outputs>,
    /// Calls that show how it is used.
    pub examples: Vec<Example>,
}

impl Form {
    /// With a call of the action as its example, called `name`, unless it has some already.
    #[must_use]
    pub fn showing(mut self, name: &str, params: Option<&Map<String, Value>>) -> Self {
        let input = params.filter(|_| self.examples.is_empty() && !self.is_hidden);
        if let Some(input) = input.and_then(|params| self.inputs.given(params)) {
            self.examples.push(Example { name: name.to_owned(), input, output: None });
        }
        self
    }
}
