//! `x-skill.tool`: how a workflow shows itself as a tool.

use serde_json::{Map, Value, json};

use super::{
    reader::{File, Object},
    tree::{Kind, Node},
};
use crate::{
    name::Slug,
    schema::Schema,
    tool::{Category, Example, Feed, Form, Inputs, Output, Outputs, Pick, Template},
};

/// Reads the form; `schema` is that of the workflow's inputs.
pub(super) fn form(file: &File, node: &Node, schema: &Value) -> Form {
    if let Kind::Bool(flag) = node.kind {
        if flag {
            file.problem(node.line, "`tool`: expected an object, or `false` for no tool");
        }
        return Form { is_hidden: true, ..Form::default() };
    }
    let Some(object) = Object::of(file, node, "`tool`") else { return Form::default() };
    let text = |key| object.text(key).map(str::to_owned);
    let (name, description) = (text("name"), text("description"));
    let id = object.text("id").and_then(|id| {
        let slug = Slug::parse(id);
        slug.map_err(|error| object.problem_at("id", format!("`id`: {error}"))).ok()
    });
    let names = Category::ALL.map(Category::as_str);
    let category = object.choice("category", &names).and_then(Category::parse);
    let inputs = inputs(&object, schema);
    let outputs = outputs(&object);
    let examples = examples(&object, (&inputs, schema));
    object.end_strictly();
    Form { id, name, description, category, is_hidden: false, inputs, outputs, examples }
}

fn inputs(object: &Object<'_>, schema: &Value) -> Inputs {
    let feeds = object.map("inputs").iter().filter_map(|member| {
        let line = member.value.line;
        let template =
            |text: &str| Template::parse(text).map_err(|what| object.file.problem(line, what)).ok();
        if let Some(text) = member.value.text() {
            return Some((member.name.clone(), Feed::Inputs(template(text)?)));
        }
        let inner = Object::of(object.file, &member.value, &format!("`{}`", member.name))?;
        let (value, from) = (inner.get("value"), inner.text("from"));
        inner.end_strictly();
        let feed = match (value, from) {
            (Some(value), None) => Feed::Fixed(value.json()),
            (None, Some(from)) => Feed::Inputs(template(from)?),
            (Some(_), Some(_)) | (None, None) => {
                inner.problem("expected either `value` or `from`");
                return None;
            }
        };
        Some((member.name.clone(), feed))
    });
    let inputs = Inputs::new(feeds.collect::<Vec<_>>());
    if let Err(what) = inputs.schema(schema) {
        object.problem_at("inputs", format!("`inputs`: {what}"));
    }
    inputs
}

fn outputs(object: &Object<'_>) -> Option<Outputs> {
    if !object.has("outputs") {
        return None;
    }
    let made = object.map("outputs").iter().filter_map(|member| {
        let (pick, schema) = match member.value.text() {
            Some(text) => (Pick::At(text.to_owned()), json!({})),
            None => described(object.file, member)?,
        };
        if !pick.is_pointer() {
            let what = format!("`{}`: expected a JSON Pointer such as `/items`", member.name);
            object.file.problem(member.value.line, what);
        }
        Some(Output { name: member.name.clone(), pick, schema })
    });
    Some(Outputs::new(made.collect::<Vec<_>>()))
}

fn described(file: &File, member: &super::tree::Member) -> Option<(Pick, Value)> {
    let Value::Object(mut schema) = member.value.json() else {
        let what = format!("`{}`: expected a JSON Pointer, or an object", member.name);
        file.problem(member.value.line, what);
        return None;
    };
    let mut pointer = |key| schema.remove(key).and_then(|value| value.as_str().map(str::to_owned));
    let pick = match (pointer("at"), pointer("count")) {
        (Some(at), None) => Pick::At(at),
        (None, Some(count)) => Pick::Count(count),
        (Some(_), Some(_)) | (None, None) => {
            file.problem(member.value.line, "expected either `at` or `count`, a JSON Pointer");
            return None;
        }
    };
    let schema = Value::Object(schema);
    if let Err(error) = Schema::compile(schema.clone()) {
        file.problem(member.value.line, error.message().to_owned());
    }
    Some((pick, schema))
}

fn examples(object: &Object<'_>, (inputs, schema): (&Inputs, &Value)) -> Vec<Example> {
    let tool = inputs.schema(schema).ok().and_then(|schema| Schema::compile(schema).ok());
    let read = object.items("examples").iter().filter_map(|node| {
        let inner = Object::of(object.file, node, "an example")?;
        let name = inner.required_text("name");
        let input = inner.get("input").map(Node::json);
        let output = inner.get("output").map(Node::json);
        inner.end_strictly();
        let input: Map<String, Value> = match input {
            Some(Value::Object(members)) => members,
            Some(_) | None => {
                inner.problem("expected `input`, an object");
                return None;
            }
        };
        if let Some(Err(error)) = tool.as_ref().map(|tool| tool.check(&input.clone().into())) {
            inner.problem(format!("`{}`: {}", name.unwrap_or_default(), error.message()));
        }
        Some(Example { name: name?.to_owned(), input, output })
    });
    read.collect()
}
