//! Skills declared in documents of the Arazzo Specification, one or several in each.
//!
#![doc = include_str!("../../skills/README.md")]
//!
//! How a document becomes skills: `tree.rs` reads YAML and JSON with their lines, `reader.rs` objects
//! whose unknown members are problems; `document.rs`, `step.rs`, `action.rs`, `parameter.rs`,
//! `extension.rs` and `form.rs` read what the specification defines, against the endpoints that
//! `operation.rs` finds; `check.rs` checks every expression; what comes out is a `plan.rs`, and
//! `run.rs` and `call.rs` run it.

mod action;
mod call;
mod check;
mod condition;
mod criterion;
mod document;
mod expression;
mod extension;
mod fill;
mod form;
mod function;
mod operation;
mod parameter;
mod plan;
mod reader;
mod run;
mod scope;
mod site;
mod step;
mod tree;

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    fmt,
    sync::Arc,
};

use async_trait::async_trait;
use serde_json::Value;

use self::{
    document::Read,
    plan::{Act, Action, Target, To, Workflow},
    reader::{File, Object},
    run::Run,
    site::{Site, Sketch, Source},
    tree::Node,
};
use crate::{
    declaration::Problem,
    error::{Error, Result},
    integration::Integration,
    name::{ActionName, Slug, Version},
    record::{execution::Class, scope::Scope},
    schema::Schema,
    skill::{Skill, SkillContext, SkillInfo},
};

include!(concat!(env!("OUT_DIR"), "/workflows.rs"));

/// The category of workflows that name none.
const CATEGORY: &str = "workflows";

/// A document: the name of its file and its text.
///
/// ```
/// use skill_core::workflow::Document;
/// let document = Document { file: "release.arazzo.yaml".into(), text: "arazzo: 1.0.1".into() };
/// assert!(Document::is_named("release.arazzo.yaml") && !Document::is_named("release.yaml"));
/// # let _ = document;
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// The file. Documents beside one another name each other by the last part of it.
    pub file: String,
    /// YAML, or JSON when the file's name ends in `.json`.
    pub text: String,
}

impl Document {
    /// Whether a file is one, by its name: `*.arazzo.yaml`, `*.arazzo.yml`, `*.arazzo.json`.
    pub fn is_named(file: &str) -> bool {
        let ends = [".arazzo.yaml", ".arazzo.yml", ".arazzo.json"];
        ends.iter().any(|end| file.ends_with(end))
    }
}

/// A skill, and where it is declared.
///
/// ```
/// use skill_core::workflow::Loaded;
/// fn place(loaded: &Loaded) -> String { format!("{}:{}", loaded.file, loaded.line) }
/// ```
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The file of its document.
    pub file: String,
    /// The line of its workflow.
    pub line: usize,
    /// The skill.
    pub skill: Arc<dyn Skill>,
}

/// Makes skills of documents, which may refer to one another and to `integrations`.
///
/// # Errors
/// Every problem of every document, with file and line.
///
/// ```
/// use skill_core::{integration, workflow::{Document, load}};
/// let text = r#"
/// arazzo: 1.0.1
/// info: {title: Echo, version: 1.0.0}
/// sourceDescriptions: [{name: httpbin, url: "skill:httpbin", type: openapi}]
/// workflows:
///   - workflowId: who-am-i
///     x-skill: {category: tests}
///     steps:
///       - stepId: ask
///         operationId: get
///         outputs: {address: $response.body#/origin}
///     outputs: {address: $steps.ask.outputs.address}
/// "#;
/// let all = integration::bundled(&Default::default()).expect("bundled integrations");
/// let document = Document { file: "echo.arazzo.yaml".into(), text: text.into() };
/// let skills = load(&[document], &all).expect("a document without problems");
/// assert_eq!(skills[0].skill.info().action().to_string(), "tests/who-am-i");
/// ```
pub fn load(
    documents: &[Document],
    integrations: &[Arc<dyn Integration>],
) -> Result<Vec<Loaded>, Vec<Problem>> {
    let mut problems = Vec::new();
    let trees = documents.iter().map(|document| {
        let tree = Node::parse(&document.file, &document.text);
        tree.map_err(|problem| problems.push(problem)).ok()
    });
    let trees = trees.collect::<Vec<_>>();
    let files = documents.iter().map(|document| File::new(&document.file)).collect::<Vec<_>>();
    let read = read(&trees, &files, integrations);
    for (at, (file, _)) in files.iter().zip(documents).enumerate() {
        let first = files.iter().position(|other| other.name == file.name);
        if first != Some(at) {
            file.problem(1, "this file stands twice");
        }
    }
    let made = made(read, &files);
    problems.extend(files.iter().flat_map(File::problems));
    if problems.is_empty() {
        return Ok(made);
    }
    problems.sort();
    problems.dedup();
    Err(problems)
}

/// The skills that come with this crate, and the problems of those that do not fit `integrations`:
/// an operator's own integration may lack what a bundled document calls.
pub fn bundled(integrations: &[Arc<dyn Integration>]) -> (Vec<Loaded>, Vec<Problem>) {
    let (mut loaded, mut problems) = (Vec::new(), Vec::new());
    for (file, text) in DOCUMENTS {
        let document = Document { file: (*file).to_owned(), text: (*text).to_owned() };
        match load(&[document], integrations) {
            Ok(skills) => loaded.extend(skills),
            Err(found) => problems.extend(found),
        }
    }
    (loaded, problems)
}

/// The documents that come with this crate.
pub fn bundled_documents() -> impl Iterator<Item = Document> {
    let document = |(file, text): &(&str, &str)| Document {
        file: (*file).to_owned(),
        text: (*text).to_owned(),
    };
    DOCUMENTS.iter().map(document)
}

/// Reads all workflows of all documents; `None` stands for one that cannot be read.
fn read(
    trees: &[Option<Node>],
    files: &[File],
    integrations: &[Arc<dyn Integration>],
) -> Vec<(usize, Option<Read>)> {
    let names = files.iter().map(|file| file.name.as_str()).collect::<Vec<_>>();
    let (mut ids, mut sketches) = (Vec::<BTreeMap<String, usize>>::new(), Vec::<Sketch>::new());
    for (tree, file) in trees.iter().zip(files) {
        let mut own = BTreeMap::new();
        let components = tree.as_ref().and_then(|tree| tree.get("components"));
        for node in tree.iter().filter_map(|tree| tree.get("workflows")).flat_map(Node::items) {
            let sketch = document::sketch(node, components);
            let id = sketch.id.clone();
            if own.insert(id.clone(), sketches.len()).is_some() && !id.is_empty() {
                file.problem(node.line, format!("the workflow `{id}` stands twice"));
            }
            sketches.push(sketch);
        }
        ids.push(own);
    }
    let mut all = Vec::new();
    for (document, (tree, file)) in trees.iter().zip(files).enumerate() {
        let Some(tree) = tree else { continue };
        let Some(top) = Object::of(file, tree, "the document") else { continue };
        let head = document::head(file, &top);
        let sources: Vec<Source> = document::sources(file, &top, (&names, integrations));
        let site = Site {
            file,
            sources: &sources,
            components: tree.get("components"),
            workflows: &ids,
            document,
            sketches: &sketches,
            uses: RefCell::default(),
            step: Cell::new(None),
        };
        document::components(&site);
        for node in tree.get("workflows").map(Node::items).unwrap_or_default() {
            all.push((document, document::workflow(&site, node, &head)));
        }
    }
    all
}

/// Makes the skills; notes what is wrong with what they are called.
fn made(read: Vec<(usize, Option<Read>)>, files: &[File]) -> Vec<Loaded> {
    let known = read.iter().map(|(at, read)| {
        let read = read.as_ref()?;
        let info = info(&files[*at], read)?;
        Some((*at, read.line, info))
    });
    let known = known.collect::<Vec<_>>();
    let mut taken = BTreeMap::<_, &str>::new();
    for (at, line, info) in known.iter().flatten() {
        let file = &files[*at];
        let name = (info.category.clone(), info.name.clone(), info.version);
        if let Some(other) = taken.insert(name, &file.name) {
            let what = format!(
                "`{}` {} stands in {other} already: give one of them another name in `x-skill`",
                info.action(),
                info.version
            );
            file.problem(*line, what);
        }
    }
    let waits = |index| waits_for_itself(&read, index);
    let waiting = (0..read.len()).map(waits).collect::<Vec<_>>();
    for ((at, read), _) in read.iter().zip(waiting).filter(|(_, waits)| *waits) {
        if let Some(read) = read {
            let what = format!("`dependsOn`: `{}` would wait for itself", read.plan.id);
            files[*at].problem(read.line, what);
        }
    }
    let is_whole =
        known.iter().all(Option::is_some) && files.iter().all(|f| f.problems().is_empty());
    if !is_whole {
        return Vec::new();
    }
    let mut settings = Vec::new();
    let mut plans = Vec::new();
    for (_, read) in read {
        let Some(read) = read else { return Vec::new() };
        settings.push((read.settings.class, read.settings.grants));
        plans.push(read.plan);
    }
    let plans = Arc::new(plans);
    let skills = known.into_iter().flatten().enumerate().map(|(index, (at, line, mut info))| {
        let (class, grants) = derived(&plans, &settings, index);
        info.class = settings[index].0.unwrap_or(class);
        info.grants = grants;
        let skill = Arc::new(Declared { info, plans: plans.clone(), index });
        Loaded { file: files[at].name.clone(), line, skill }
    });
    skills.collect()
}

/// Whether what a workflow depends on depends on it.
fn waits_for_itself(read: &[(usize, Option<Read>)], index: usize) -> bool {
    let depends = |at: usize| {
        let found = read.get(at).and_then(|(_, read)| read.as_ref());
        found.map(|read| read.plan.depends.clone()).unwrap_or_default()
    };
    let (mut seen, mut open) = (vec![false; read.len()], depends(index));
    while let Some(at) = open.pop() {
        if at == index {
            return true;
        }
        if !std::mem::replace(&mut seen[at], true) {
            open.extend(depends(at));
        }
    }
    false
}

/// What a workflow does to the outside, and what it was granted, with all that it can run.
fn derived(
    plans: &[Workflow],
    settings: &[(Option<Class>, Vec<Scope>)],
    index: usize,
) -> (Class, Vec<Scope>) {
    let (mut class, mut grants) = (Class::Read, Vec::new());
    let (mut seen, mut open) = (vec![false; plans.len()], vec![index]);
    while let Some(at) = open.pop() {
        if std::mem::replace(&mut seen[at], true) {
            continue;
        }
        grants.extend(settings[at].1.iter().cloned());
        let plan = &plans[at];
        open.extend(&plan.depends);
        for step in &plan.steps {
            match &step.target {
                Some(Target::Endpoint(call)) => class = worse(class, call.class),
                Some(Target::Workflow(other)) => open.push(*other),
                None => {}
            }
            let actions = step.on_success.iter().chain(&step.on_failure);
            open.extend(actions.filter_map(leads_to));
        }
    }
    grants.sort();
    grants.dedup();
    (class, grants)
}

fn leads_to(action: &Action) -> Option<usize> {
    match action.act {
        Act::Goto(To::Workflow(at)) | Act::Retry { first: Some(To::Workflow(at)), .. } => Some(at),
        Act::Goto(To::Step(_)) | Act::Retry { .. } | Act::End => None,
    }
}

fn worse(one: Class, other: Class) -> Class {
    let rank = |class| match class {
        Class::Read => 0,
        Class::Write => 1,
        Class::Destructive => 2,
    };
    if rank(other) > rank(one) { other } else { one }
}

/// What is known about a workflow as a skill.
fn info(file: &File, read: &Read) -> Option<SkillInfo> {
    let settings = &read.settings;
    let wrong = |what: String| {
        file.problem(read.line, what);
        None::<()>
    };
    let name = settings.name.clone().or_else(|| operation::slug(&read.plan.id));
    if name.is_none() {
        let id = &read.plan.id;
        wrong(format!("`{id}` is no name of a skill: give it one as `x-skill.name`"));
    }
    let version = settings.version.or(read.version);
    if version.is_none() {
        wrong(
            "`info.version` is no version such as `1.0.0`: give one as `x-skill.version`"
                .to_owned(),
        );
    }
    let category = settings.category.clone().or_else(|| Slug::parse(CATEGORY).ok());
    let input = Schema::compile(read.schema.as_ref()?.as_value().clone()).ok()?;
    let name = ActionName { namespace: category?, name: name? };
    let version: Version = version?;
    let mut info = SkillInfo::new(name, version, input);
    info.summary = settings.summary.clone().unwrap_or_default();
    info.output = Schema::compile(read.output.clone()).ok();
    info.timeout = settings.timeout.unwrap_or(info.timeout);
    info.deadline = settings.deadline;
    info.attempts = settings.attempts;
    info.rate_limit = settings.rate_limit;
    info.is_deprecated = settings.is_deprecated;
    info.tool = read.form.clone();
    Some(info)
}

/// A workflow as a skill.
struct Declared {
    info: SkillInfo,
    /// All workflows that were loaded with it.
    plans: Arc<Vec<Workflow>>,
    index: usize,
}

impl fmt::Debug for Declared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Workflow({} {})", self.info.action(), self.info.version)
    }
}

#[async_trait]
impl Skill for Declared {
    fn info(&self) -> &SkillInfo {
        &self.info
    }

    async fn run(&self, context: SkillContext, input: Value) -> Result<Value> {
        let Value::Object(input) = input else {
            return Err(Error::invalid("the input of a workflow is an object"));
        };
        Run::start(context, &self.plans, (self.index, input)).await
    }
}
