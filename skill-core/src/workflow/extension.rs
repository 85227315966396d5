//! What Arazzo has no word for: `x-skill` of a document, of a workflow and of a step.

use std::time::Duration;

use serde_json::Value;

use super::{
    function::{self, Function},
    plan::{Each, Made, Output},
    reader::{Object, is_key},
    site::{Site, When},
};
use crate::{
    name::{Slug, Version},
    record::{execution::Class, scope::Scope},
};

/// The most step executions of one run, when nothing is said.
const STEPS: u32 = 1_000;
/// The most that may be said: the journal has room for ten thousand, two for each with a pause.
const MOST_STEPS: u32 = 4_000;
/// The most calls of one step that go on at once.
const AT_ONCE: u32 = 16;

/// What `x-skill` says of a skill.
#[derive(Debug, Clone, Default)]
pub(super) struct Settings {
    pub(super) category: Option<Slug>,
    pub(super) name: Option<Slug>,
    pub(super) version: Option<Version>,
    pub(super) summary: Option<String>,
    pub(super) class: Option<Class>,
    pub(super) timeout: Option<Duration>,
    pub(super) deadline: Option<Duration>,
    pub(super) grants: Vec<Scope>,
    pub(super) attempts: Option<u32>,
    pub(super) rate_limit: Option<u32>,
    pub(super) steps: Option<u32>,
    pub(super) is_deprecated: bool,
}

impl Settings {
    /// Reads the part that workflows and documents share.
    pub(super) fn read(object: &Object<'_>) -> Self {
        let slug = |key| {
            let text = object.text(key)?;
            let slug = Slug::parse(text);
            slug.map_err(|error| object.problem_at(key, format!("`{key}`: {error}"))).ok()
        };
        let (category, version) = (slug("category"), version(object));
        let class = object.choice("class", &["read", "write", "destructive"]);
        Self {
            category,
            name: slug("name"),
            version,
            summary: object.text("summary").map(str::to_owned),
            class: class.and_then(Class::parse),
            timeout: seconds(object, "timeout"),
            deadline: seconds(object, "deadline"),
            grants: grants(object),
            attempts: from_one(object, "attempts", u32::MAX),
            rate_limit: from_one(object, "rate_limit", u32::MAX),
            steps: from_one(object, "steps", MOST_STEPS),
            is_deprecated: flag(object, "deprecated"),
        }
    }

    /// These, and where they say nothing what the document says.
    pub(super) fn over(self, document: &Self) -> Self {
        let Self {
            category, version, class, timeout, deadline, attempts, rate_limit, steps, ..
        } = document.clone();
        let grants = self.grants.iter().chain(&document.grants).cloned();
        Self {
            grants: grants.collect(),
            category: self.category.or(category),
            version: self.version.or(version),
            class: self.class.or(class),
            timeout: self.timeout.or(timeout),
            deadline: self.deadline.or(deadline),
            attempts: self.attempts.or(attempts),
            rate_limit: self.rate_limit.or(rate_limit),
            steps: self.steps.or(steps),
            is_deprecated: self.is_deprecated || document.is_deprecated,
            ..self
        }
    }

    /// The most step executions of one run.
    pub(super) fn most(&self) -> u32 {
        self.steps.unwrap_or(STEPS)
    }
}

fn version(object: &Object<'_>) -> Option<Version> {
    let text = object.text("version")?;
    let version = Version::parse(text);
    version.map_err(|error| object.problem_at("version", format!("`version`: {error}"))).ok()
}

fn seconds(object: &Object<'_>, key: &'static str) -> Option<Duration> {
    from_one(object, key, 30 * 24 * 3600).map(|count| Duration::from_secs(count.into()))
}

fn from_one(object: &Object<'_>, key: &'static str, most: u32) -> Option<u32> {
    let count = object.count(key)?;
    if (1..=most).contains(&count) {
        return Some(count);
    }
    let upto = if most == u32::MAX { String::new() } else { format!(" to {most}") };
    object.problem_at(key, format!("`{key}`: expected a number from 1{upto}, got {count}"));
    None
}

pub(super) fn flag(object: &Object<'_>, key: &'static str) -> bool {
    match object.get(key).map(super::tree::Node::json) {
        None | Some(Value::Bool(false)) => false,
        Some(Value::Bool(true)) => true,
        Some(_) => {
            object.problem_at(key, format!("`{key}`: expected true or false"));
            false
        }
    }
}

fn grants(object: &Object<'_>) -> Vec<Scope> {
    let read = object.texts("grants").into_iter().filter_map(|(text, line)| {
        let scope = Scope::parse(text).map_err(|error| error.message().to_owned());
        let scope = scope.and_then(|scope| match scope {
            Scope::All => Err("expected an integration or an action, not `*`".to_owned()),
            Scope::Namespace(_) | Scope::Action(_) => Ok(scope),
        });
        scope.map_err(|what| object.file.problem(line, format!("`grants`: {what}"))).ok()
    });
    read.collect()
}

/// What `x-skill` says of a step.
#[derive(Debug, Default)]
pub(super) struct StepSettings {
    pub(super) each: Option<Each>,
    pub(super) sleep: Option<super::fill::Fill>,
    pub(super) connection: Option<super::fill::Fill>,
    pub(super) values: Vec<(String, Made)>,
    pub(super) outputs: Vec<(String, Output)>,
    pub(super) error: Option<super::expression::Expression>,
}

impl StepSettings {
    /// Reads them.
    pub(super) fn read<'a>(site: &Site<'a>, object: &Object<'a>) -> Self {
        let each = each(site, object);
        let sleep = object.get("sleep").map(|node| site.fill(node, When::Call));
        let connection = object.get("connection").map(|node| site.fill(node, When::Call));
        let values = made(site, object, ("values", When::Call));
        let outputs = made(site, object, ("outputs", When::Answer));
        let error = object.get("error");
        let error = error.and_then(|node| site.expression(node, "`error`", When::Answer));
        object.end_strictly();
        let outputs = outputs.into_iter().map(|(name, made)| (name, Output::Made(made)));
        Self { each, sleep, connection, values, outputs: outputs.collect(), error }
    }
}

fn each<'a>(site: &Site<'a>, object: &Object<'a>) -> Option<Each> {
    let list = object.get("forEach");
    let (name, at_once) = (object.text("as"), from_one(object, "concurrency", AT_ONCE));
    let Some(list) = list else {
        if object.has("as") || object.has("concurrency") {
            object.problem("`as` and `concurrency` belong to `forEach`");
        }
        return None;
    };
    let list = site.expression(list, "`forEach`", When::Call)?;
    let name = name.unwrap_or("item");
    if !is_key(name) {
        object.problem_at("as", format!("`as`: expected a name, got `{name}`"));
    }
    let at_once = usize::try_from(at_once.unwrap_or(1)).unwrap_or(1);
    Some(Each { list, name: name.to_owned(), at_once })
}

/// Values that functions make.
fn made<'a>(
    site: &Site<'a>,
    object: &Object<'a>,
    (key, when): (&'static str, When),
) -> Vec<(String, Made)> {
    let read = object.named(key).iter().filter_map(|member| {
        let inner = Object::of(site.file, &member.value, &format!("`{}`", member.name))?;
        let function = inner.required_text("function");
        let with = inner.get("with").map(|node| site.fill(node, when));
        if with.is_none() {
            inner.problem("expected `with`, what the function takes");
        }
        inner.end_strictly();
        Some((member.name.clone(), Made { function: known(&inner, function?)?, with: with? }))
    });
    read.collect()
}

fn known(object: &Object<'_>, name: &str) -> Option<Function> {
    let found = function::find(name);
    if found.is_none() {
        let known = function::names().collect::<Vec<_>>().join("`, `");
        let what = format!("there is no function `{name}`; there are `{known}`");
        object.problem_at("function", what);
    }
    found
}
