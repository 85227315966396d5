//! Reading one document: its head, its sources, its components, its workflows.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde_json::{Map, Value, json};

use super::{
    action::{self, Outcome},
    check::{self, Checked},
    extension::Settings,
    form, parameter,
    plan::Workflow,
    reader::{File, Object, is_id, is_key},
    site::{Origin, Site, Sketch, Source, When},
    step::{self, Common},
    tree::Node,
};
use crate::{
    integration::Integration,
    name::{Slug, Version},
    schema::Schema,
    tool::Form,
};

/// What a URL of a declared integration begins with.
const OURS: &str = "skill:";

/// The head of a document.
#[derive(Debug, Default)]
pub(super) struct Head {
    version: Option<Version>,
    settings: Settings,
}

/// A workflow that was read: how it runs, and what is known about it as a skill.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) plan: Workflow,
    pub(super) schema: Option<Schema>,
    pub(super) output: Value,
    pub(super) settings: Settings,
    pub(super) version: Option<Version>,
    pub(super) form: Form,
    pub(super) line: usize,
}

/// Reads everything of a document but its workflows.
pub(super) fn head(file: &File, top: &Object<'_>) -> Head {
    if let Some(version) = top.required_text("arazzo")
        && version.strip_prefix("1.0.").is_none_or(|patch| patch.parse::<u32>().is_err())
    {
        let what =
            format!("`arazzo`: expected a version 1.0.x of the specification, got `{version}`");
        top.problem_at("arazzo", what);
    }
    let mut head = Head::default();
    match top.object("info") {
        None if !top.has("info") => top.problem("expected `info`, an object"),
        None => {}
        Some(info) => {
            info.required_text("title");
            info.text("summary");
            info.text("description");
            head.version = info.required_text("version").and_then(version);
            if let Some(extension) = info.object("x-skill") {
                head.settings = Settings::read(&extension);
                extension.end_strictly();
                for key in ["name", "summary"].into_iter().filter(|key| extension.has(key)) {
                    let what = format!("`{key}` belongs to the `x-skill` of a workflow");
                    extension.problem_at(key, what);
                }
            }
            info.end();
        }
    }
    top.required_items("sourceDescriptions");
    top.required_items("workflows");
    top.get("components");
    top.end();
    _ = file;
    head
}

/// `1.0.0` as v1.0.
fn version(text: &str) -> Option<Version> {
    let mut words = text.split('.');
    let (major, minor) = (words.next()?, words.next().unwrap_or("0"));
    Version::parse(&format!("v{major}.{minor}")).ok()
}

/// Reads the sources. `files` are the names of the documents of the set.
pub(super) fn sources(
    file: &File,
    top: &Object<'_>,
    (files, integrations): (&[&str], &[Arc<dyn Integration>]),
) -> Vec<Source> {
    let mut names = BTreeSet::new();
    let mut read = Vec::new();
    for node in top.items("sourceDescriptions") {
        let Some(object) = Object::of(file, node, "a source description") else { continue };
        let (name, url) = (object.required_text("name"), object.required_text("url"));
        let kind = object.choice("type", &["openapi", "arazzo"]);
        let mapped = object.object("x-skill").and_then(|extension| {
            let slug = extension.required_text("integration");
            extension.end_strictly();
            slug
        });
        let is_typed = !object.has("type") || kind.is_some();
        object.end();
        let (Some(name), Some(url)) = (name, url) else { continue };
        if !is_id(name) {
            let what = format!("`name`: expected letters, digits, `-` and `_`, got `{name}`");
            object.problem_at("name", what);
        }
        if !names.insert(name) {
            object.problem_at("name", format!("the source description `{name}` stands twice"));
        }
        let origin = if is_typed {
            origin(&object, (url, kind, mapped), (files, integrations))
        } else {
            None
        };
        let origin = origin.unwrap_or(Origin::Unknown);
        read.push(Source { name: name.to_owned(), url: url.to_owned(), origin });
    }
    read
}

fn origin(
    object: &Object<'_>,
    (url, kind, mapped): (&str, Option<&str>, Option<&str>),
    (files, integrations): (&[&str], &[Arc<dyn Integration>]),
) -> Option<Origin> {
    let wrong = |what: String| {
        object.problem_at("url", what);
        None
    };
    if kind == Some("arazzo") {
        let wanted = url.strip_prefix("./").unwrap_or(url);
        let base = |file: &str| file.rsplit('/').next().unwrap_or(file).to_owned();
        let found = files.iter().position(|file| base(file) == wanted);
        return found.map(Origin::Document).or_else(|| {
            wrong(format!(
                "`url`: expected a document beside this one, such as `./other.arazzo.yaml`, got `{url}`"
            ))
        });
    }
    let Some(slug) = mapped.or_else(|| url.strip_prefix(OURS)) else {
        return wrong(format!(
            "`url`: `{url}` is not fetched: operations are endpoints of a declared integration; \
             name it as `{OURS}NAME`, or beside the URL as `x-skill: {{integration: NAME}}`"
        ));
    };
    let slug = slug.trim();
    let found = Slug::parse(slug)
        .ok()
        .and_then(|slug| integrations.iter().find(|integration| integration.info().slug == slug));
    match found {
        Some(integration) => Some(Origin::Integration(integration.clone())),
        None => wrong(format!("there is no integration `{slug}`: `skill catalog list` lists them")),
    }
}

/// What others need to know of a workflow.
pub(super) fn sketch(node: &Node, components: Option<&Node>) -> Sketch {
    let id = node.get("workflowId").and_then(Node::text).unwrap_or_default().to_owned();
    let inputs = node.get("inputs").map_or_else(|| json!({}), |inputs| schema(inputs, components));
    let outputs = node.get("outputs").map(Node::members).unwrap_or_default();
    let outputs = outputs.iter().map(|member| member.name.clone()).collect();
    Sketch { id, inputs, outputs }
}

/// The schema of inputs: an object, with the components that it refers to inside of it.
fn schema(inputs: &Node, components: Option<&Node>) -> Value {
    let shared = components.and_then(|all| all.get("inputs")).map(Node::json);
    let shared = shared.as_ref().and_then(Value::as_object);
    let mut own = inputs.json();
    let name = own.get("$ref").and_then(Value::as_str).and_then(component).map(str::to_owned);
    if let Some(found) = name.and_then(|name| shared?.get(&name)) {
        own = found.clone();
    }
    let mut used = BTreeMap::new();
    point(&mut own, shared, &mut used);
    if let Value::Object(members) = &mut own {
        members.entry("type").or_insert_with(|| "object".into());
        if !used.is_empty() {
            members.insert("$defs".to_owned(), Value::Object(used.into_iter().collect()));
        }
    }
    own
}

fn component(reference: &str) -> Option<&str> {
    reference.strip_prefix("#/components/inputs/")
}

/// Turns references to components into references to definitions, and collects those.
fn point(
    value: &mut Value,
    shared: Option<&Map<String, Value>>,
    used: &mut BTreeMap<String, Value>,
) {
    match value {
        Value::Object(members) => {
            let name = members.get("$ref").and_then(Value::as_str).and_then(component);
            if let Some(name) = name.map(str::to_owned) {
                members.insert("$ref".to_owned(), format!("#/$defs/{name}").into());
                if let (false, Some(found)) =
                    (used.contains_key(&name), shared.and_then(|all| all.get(&name)))
                {
                    used.insert(name.clone(), Value::Null);
                    let mut found = found.clone();
                    point(&mut found, shared, used);
                    used.insert(name, found);
                }
            }
            members.values_mut().for_each(|inner| point(inner, shared, used));
        }
        Value::Array(items) => items.iter_mut().for_each(|inner| point(inner, shared, used)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Reads the components, so that what nobody refers to is checked too.
pub(super) fn components(site: &Site<'_>) {
    let Some(node) = site.components else { return };
    let Some(object) = Object::of(site.file, node, "`components`") else { return };
    for member in object.named("inputs") {
        if let Err(error) = Schema::compile(schema(&member.value, Some(node))) {
            let what = format!("`{}`: {}", member.name, error.message());
            site.file.problem(member.line, what);
        }
    }
    for member in object.named("parameters") {
        parameter::parameter(site, &member.value);
    }
    // Which steps there are depends on who refers to them.
    for outcome in [Outcome::Success, Outcome::Failure] {
        for member in object.named(outcome.components()) {
            if member.value.get("stepId").is_none() {
                action::action(site, &member.value, (outcome, &[]));
            }
        }
    }
    object.end();
    site.uses.borrow_mut().clear();
}

/// Reads one workflow.
pub(super) fn workflow<'a>(site: &Site<'a>, node: &'a Node, head: &Head) -> Option<Read> {
    let object = Object::of(site.file, node, "a workflow")?;
    let id = object.required_text("workflowId").unwrap_or_default();
    if object.has("workflowId") && !is_id(id) {
        let what = format!("`workflowId`: expected letters, digits, `-` and `_`, got `{id}`");
        object.problem_at("workflowId", what);
    }
    let (summary, description) = (object.text("summary"), object.text("description"));
    let sketch = sketch(node, site.components);
    let schema = inputs(&object, &sketch);
    let depends = object.texts("dependsOn").into_iter();
    let depends = depends.filter_map(|(text, line)| site.workflow(text, line)).collect::<Vec<_>>();
    let (settings, form) = extension(site, &object, (head, &sketch));
    let nodes = object.required_items("steps");
    let ids = step::ids(nodes);
    let common = Common {
        parameters: object.items("parameters"),
        success: object.items("successActions"),
        failure: object.items("failureActions"),
        ids: &ids,
    };
    let steps = steps(site, nodes, &common);
    site.step.set(None);
    let outputs = outputs(site, &object);
    object.end();
    let own = check::inputs(&sketch);
    check_locals(site, &steps, own.as_deref().unwrap_or_default());
    let checked = Checked { site, steps: &steps, inputs: own.as_deref(), depends: &depends };
    checked.check(&site.uses.take());
    let summary = settings.summary.clone().or_else(|| one_line(summary.or(description)));
    let names = site.workflows.get(site.document).into_iter().flatten();
    let plan = Workflow {
        id: id.to_owned(),
        defaults: defaults(&sketch.inputs),
        inputs: own,
        depends,
        steps,
        outputs,
        sources: site.sources.iter().map(|s| (s.name.clone(), s.url.clone())).collect(),
        names: names.map(|(name, at)| (name.clone(), *at)).collect(),
        most: settings.most(),
    };
    let settings = Settings { summary, ..settings };
    let properties = sketch.outputs.iter().map(|name| (name.clone(), json!({})));
    let output = json!({"type": "object", "properties": properties.collect::<Map<_, _>>()});
    Some(Read { plan, schema, output, version: head.version, settings, form, line: node.line })
}

/// What is an input in one step alone has a name of its own.
fn check_locals(site: &Site<'_>, steps: &[super::plan::Step], inputs: &[String]) {
    for step in steps {
        for local in step.locals().filter(|name| inputs.iter().any(|own| own == name)) {
            let what =
                format!("`{local}` is an input of the workflow already: choose another name");
            site.file.problem(step.line, what);
        }
    }
}

fn one_line(text: Option<&str>) -> Option<String> {
    let line = text?.trim().lines().next()?.trim().to_owned();
    (!line.is_empty()).then_some(line)
}

fn inputs(object: &Object<'_>, sketch: &Sketch) -> Option<Schema> {
    object.get("inputs");
    let is_object = sketch.inputs.get("type").is_none_or(|kind| kind == "object");
    if !is_object || !sketch.inputs.is_object() {
        object.problem_at("inputs", "`inputs`: expected the JSON Schema of an object");
    }
    let mut whole = sketch.inputs.clone();
    if let Value::Object(members) = &mut whole {
        members.entry("type").or_insert_with(|| "object".into());
    }
    let compiled = Schema::compile(whole);
    compiled
        .map_err(|error| object.problem_at("inputs", format!("`inputs`: {}", error.message())))
        .ok()
}

/// The defaults of the members of an object.
fn defaults(schema: &Value) -> Map<String, Value> {
    let properties = schema.get("properties").and_then(Value::as_object);
    let given = properties.into_iter().flatten();
    given.filter_map(|(name, own)| Some((name.clone(), own.get("default")?.clone()))).collect()
}

fn extension(
    site: &Site<'_>,
    object: &Object<'_>,
    (head, sketch): (&Head, &Sketch),
) -> (Settings, Form) {
    let Some(inner) = object.object("x-skill") else {
        return (Settings::default().over(&head.settings), Form::default());
    };
    let settings = Settings::read(&inner).over(&head.settings);
    let form = inner.get("tool").map(|node| form::form(site.file, node, &sketch.inputs));
    inner.end_strictly();
    (settings, form.unwrap_or_default())
}

fn steps<'a>(site: &Site<'a>, nodes: &'a [Node], common: &Common<'a>) -> Vec<super::plan::Step> {
    let (mut steps, mut taken, mut seen) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
    for object in site.objects(nodes, "a step") {
        site.step.set(Some(steps.len()));
        let read = step::step(site, &object, common);
        if !seen.insert(read.step.id.clone()) && !read.step.id.is_empty() {
            object.problem_at("stepId", format!("the step `{}` stands twice", read.step.id));
        }
        taken.extend(read.takes);
        steps.push(read.step);
    }
    for given in parameter::given(site, common.parameters) {
        if !taken.contains(&given.name) && !steps.is_empty() {
            let (name, place) = (&given.name, given.place.as_deref().unwrap_or("input"));
            let what = match place {
                "cookie" => format!("the parameter `{name}`: cookies are not supported"),
                _ => format!("no step of the workflow takes the parameter `{name}` ({place})"),
            };
            site.file.problem(given.line, what);
        }
    }
    steps
}

fn outputs(site: &Site<'_>, object: &Object<'_>) -> Vec<(String, super::expression::Expression)> {
    let read = object.map("outputs").iter().filter_map(|member| {
        if !is_key(&member.name) {
            let what =
                format!("`{}`: expected a name of letters, digits, `.`, `-` and `_`", member.name);
            site.file.problem(member.line, what);
        }
        let what = format!("the output `{}`", member.name);
        Some((member.name.clone(), site.expression(&member.value, &what, When::End)?))
    });
    read.collect()
}
