//! What expressions mean while a workflow runs.

use std::{borrow::Cow, collections::HashMap};

use http::{HeaderMap, StatusCode};
use serde_json::{Map, Value};

use super::{
    expression::{Expression, Part, Place, Side},
    fill::Known,
    plan::Workflow,
};

/// A workflow that is being run.
#[derive(Debug)]
pub(super) struct Frame<'a> {
    pub(super) workflow: &'a Workflow,
    pub(super) inputs: Map<String, Value>,
    /// The outputs of its steps.
    pub(super) steps: HashMap<&'a str, Map<String, Value>>,
}

/// What a workflow was given, and what it came to.
#[derive(Debug, Default)]
pub(super) struct Ended {
    pub(super) inputs: Map<String, Value>,
    pub(super) outputs: Map<String, Value>,
}

/// One call of a step, and its answer.
#[derive(Debug, Default)]
pub(super) struct Exchange {
    pub(super) method: Option<Value>,
    /// Where a parameter stands, its name, its value.
    pub(super) parameters: Vec<(Option<String>, String, Value)>,
    pub(super) body: Option<Value>,
    pub(super) status: Option<StatusCode>,
    pub(super) headers: HeaderMap,
    pub(super) answer: Option<Value>,
}

/// Everything that an expression can name at one moment.
#[derive(Debug)]
pub(super) struct Scope<'a> {
    pub(super) frame: &'a Frame<'a>,
    pub(super) ended: &'a HashMap<usize, Ended>,
    /// What is an input in this step alone.
    pub(super) locals: &'a Map<String, Value>,
    pub(super) exchange: Option<&'a Exchange>,
}

impl Known for Scope<'_> {
    fn find(&self, expression: &Expression) -> Option<Cow<'_, Value>> {
        match expression {
            Expression::Url | Expression::Component { .. } => None,
            Expression::Method => self.exchange?.method.as_ref().map(Cow::Borrowed),
            Expression::StatusCode => Some(Cow::Owned(self.exchange?.status?.as_u16().into())),
            Expression::Request(part) => self.exchange?.request(part),
            Expression::Response(part) => self.exchange?.response(part),
            Expression::Input(place) => {
                { member(self.locals, place).or_else(|| member(&self.frame.inputs, place)) }
                    .map(Cow::Borrowed)
            }
            Expression::Output(place) => {
                member(self.exchange?.answer.as_ref()?.as_object()?, place).map(Cow::Borrowed)
            }
            Expression::Step { step, output } => {
                member(self.frame.steps.get(step.as_str())?, output).map(Cow::Borrowed)
            }
            Expression::Workflow { workflow, side, name } => {
                let names = &self.frame.workflow.names;
                let (_, at) = names.iter().find(|(known, _)| known == workflow)?;
                let ended = self.ended.get(at)?;
                let values = match side {
                    Side::Inputs => &ended.inputs,
                    Side::Outputs => &ended.outputs,
                };
                member(values, name).map(Cow::Borrowed)
            }
            Expression::Source(rest) => self.source(rest).map(Cow::Owned),
        }
    }
}

impl Scope<'_> {
    fn source(&self, rest: &str) -> Option<Value> {
        let field = |(name, url): &(String, String)| match rest.strip_prefix(name.as_str())? {
            ".url" => Some(Value::String(url.clone())),
            ".name" => Some(Value::String(name.clone())),
            _ => None,
        };
        self.frame.workflow.sources.iter().find_map(field)
    }
}

impl Exchange {
    fn request(&self, part: &Part) -> Option<Cow<'_, Value>> {
        let given = |place: &str, name: &str| {
            let is_it = |known: &str| match place {
                "header" => known.eq_ignore_ascii_case(name),
                _ => known == name,
            };
            let mut all = self.parameters.iter();
            let found = all.find(|(at, known, _)| at.as_deref() == Some(place) && is_it(known));
            found.map(|(_, _, value)| Cow::Borrowed(value))
        };
        match part {
            Part::Header(name) => given("header", name),
            Part::Query(name) => given("query", name),
            Part::Path(name) => given("path", name),
            Part::Body(pointer) => self.body.as_ref()?.pointer(pointer).map(Cow::Borrowed),
        }
    }

    fn response(&self, part: &Part) -> Option<Cow<'_, Value>> {
        match part {
            Part::Header(name) => {
                let text = self.headers.get(name)?.to_str().ok()?;
                Some(Cow::Owned(Value::String(text.to_owned())))
            }
            Part::Body(pointer) => self.answer.as_ref()?.pointer(pointer).map(Cow::Borrowed),
            Part::Query(_) | Part::Path(_) => None,
        }
    }
}

/// The member of this name, or what stands inside of one behind a dot: names may hold dots.
fn member<'a>(members: &'a Map<String, Value>, place: &Place) -> Option<&'a Value> {
    if let Some(value) = members.get(&place.name) {
        return value.pointer(&place.pointer);
    }
    let mut at = place.name.len();
    while let Some(dot) = place.name[..at].rfind('.') {
        if let Some(value) = members.get(&place.name[..dot]) {
            let mut words = place.name[dot + 1..].split('.');
            let inner = words.try_fold(value, |value, word| match value {
                Value::Array(items) => items.get(word.parse::<usize>().ok()?),
                Value::Object(members) => members.get(word),
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
            });
            return inner?.pointer(&place.pointer);
        }
        at = dot;
    }
    None
}
