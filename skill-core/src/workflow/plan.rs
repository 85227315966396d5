//! Workflows as they are run: read, resolved and checked.

use std::time::Duration;

use http::Method;
use serde_json::{Map, Value};

use super::{criterion::Criterion, expression::Expression, fill::Fill, function::Function};
use crate::{name::ActionName, record::execution::Class};

/// A workflow.
#[derive(Debug)]
pub(super) struct Workflow {
    pub(super) id: String,
    /// The inputs that hold when they are not given.
    pub(super) defaults: Map<String, Value>,
    /// The inputs that it declares; `None` when it takes any.
    pub(super) inputs: Option<Vec<String>>,
    /// The workflows that run before it, as `Vec<(name in expressions, index)>`.
    pub(super) depends: Vec<usize>,
    pub(super) steps: Vec<Step>,
    pub(super) outputs: Vec<(String, Expression)>,
    /// What `$sourceDescriptions` knows: name and URL.
    pub(super) sources: Vec<(String, String)>,
    /// Workflows by the name that expressions of this document call them.
    pub(super) names: Vec<(String, usize)>,
    /// The most step executions of one run.
    pub(super) most: u32,
}

/// A step.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) id: String,
    pub(super) line: usize,
    /// What is called; `None` is a problem that was noted.
    pub(super) target: Option<Target>,
    /// Values that are made before the call.
    pub(super) values: Vec<(String, Made)>,
    pub(super) each: Option<Each>,
    /// How many seconds pass before the step.
    pub(super) sleep: Option<Fill>,
    pub(super) connection: Option<Fill>,
    pub(super) parameters: Vec<Parameter>,
    pub(super) body: Option<Body>,
    pub(super) success: Vec<Criterion>,
    pub(super) on_success: Vec<Action>,
    pub(super) on_failure: Vec<Action>,
    pub(super) outputs: Vec<(String, Output)>,
    /// Where an answer says what went wrong.
    pub(super) error: Option<Expression>,
}

impl Step {
    /// The names that are inputs in this step alone.
    pub(super) fn locals(&self) -> impl Iterator<Item = &str> {
        let item = self.each.as_ref().map(|each| each.name.as_str());
        item.into_iter().chain(self.values.iter().map(|(name, _)| name.as_str()))
    }
}

/// What a step calls.
#[derive(Debug)]
pub(super) enum Target {
    Endpoint(Call),
    Workflow(usize),
}

/// An endpoint that is called.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) action: ActionName,
    pub(super) method: Method,
    pub(super) class: Class,
    pub(super) may_repeat: bool,
    /// The parameter that is the whole body.
    pub(super) whole: Option<String>,
    /// The parameters that are members of the body.
    pub(super) members: Vec<String>,
}

/// One value of a call.
#[derive(Debug)]
pub(super) struct Parameter {
    pub(super) name: String,
    pub(super) place: Option<String>,
    pub(super) value: Fill,
}

/// The body of a call.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) payload: Fill,
    /// JSON Pointers, and what is put there.
    pub(super) replacements: Vec<(String, Fill)>,
}

/// A value that a function makes.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) function: Function,
    pub(super) with: Fill,
}

/// One output of a step.
#[derive(Debug)]
pub(super) enum Output {
    Value(Expression),
    Made(Made),
}

/// A step that is done for each item of a list.
#[derive(Debug)]
pub(super) struct Each {
    pub(super) list: Expression,
    /// The input that is the item.
    pub(super) name: String,
    /// How many calls go on at once.
    pub(super) at_once: usize,
}

/// What follows a step.
#[derive(Debug)]
pub(super) struct Action {
    pub(super) name: String,
    pub(super) criteria: Vec<Criterion>,
    pub(super) act: Act,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Act {
    End,
    Goto(To),
    Retry { first: Option<To>, after: Duration, most: u32 },
}

/// Where control goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum To {
    Step(usize),
    Workflow(usize),
}
