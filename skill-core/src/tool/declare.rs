//! The tool form of a declaration.
//!
//! | `tool` | Type | Meaning; default |
//! |---|---|---|
//! | (itself) | `false` | The action is no tool |
//! | `id` | name | Its id; `integration-endpoint` |
//! | `name` | string | What people call it; a title made of the names |
//! | `description` | string | What it does, in one line; the action's summary |
//! | `category` | string | `security`, `analysis`, `automation`, `integration`, `monitoring`; by kind of action |
//! | `inputs.PARAMETER` | string | The inputs that the parameter is made of: `{owner}/{repo}`; one of its own name |
//! | `inputs.PARAMETER.from` | string | The same, beside `describe` |
//! | `inputs.PARAMETER.describe.INPUT` | string | What the input is; as its parameter |
//! | `inputs.PARAMETER.value` | any | The parameter always has this value, and is no input |
//! | `outputs.NAME` | JSON Pointer | What is picked out of the answer, `""` for all of it; the answer as it is |
//! | `outputs.NAME.at` | JSON Pointer | The same, beside JSON Schema that says what it is |
//! | `outputs.NAME.count` | JSON Pointer | The number of items of the list there |
//! | `outputs.NAME.each.MEMBER` | JSON Pointer | `at` is a list: the member of each item, and where in the item it stands; the items as they are |
//! | `examples` | list of tables | `name`, `input`, and `output` |

use std::cell::Cell;

use serde_json::{Map, Value, json};

use super::{Category, Example, Feed, Form, Inputs, Output, Outputs, Pick, Template};
use crate::{declaration::Table, name::Slug, schema::Schema};

/// Reads the form under `tool` of an action's table. `shared` holds the `inputs` of parameters that
/// several actions have; `schema` is the action's own.
///
/// Problems are noted in the table's source.
pub fn declare(action: &Table<'_>, shared: Option<&Table<'_>>, schema: &Value) -> Form {
    if action.kind("tool") == Some("boolean") {
        if action.flag("tool") {
            action.problem("tool", "`tool`: expected a table, or `false` for no tool");
        }
        return Form { is_hidden: true, ..Form::default() };
    }
    let table = action.table_if_any("tool");
    let table = table.as_ref();
    let text = |key| table.and_then(|table| table.text(key)).map(str::to_owned);
    let inputs = inputs(table, shared, schema);
    let outputs = table.and_then(outputs);
    let form = Form {
        id: table.and_then(id),
        name: text("name"),
        description: text("description"),
        category: table.and_then(|table| category(table, "category")),
        is_hidden: false,
        examples: table.map(|t| examples(t, &inputs, schema, outputs.as_ref())).unwrap_or_default(),
        inputs,
        outputs,
    };
    if let Some(table) = table {
        table.end();
    }
    form
}

fn id(table: &Table<'_>) -> Option<Slug> {
    let text = table.text("id")?;
    let id = Slug::parse(text);
    if let Err(error) = &id {
        table.problem("id", format!("`id`: {error}"));
    }
    id.ok()
}

fn category(table: &Table<'_>, key: &str) -> Option<Category> {
    let text = table.text(key)?;
    let category = Category::parse(text);
    if category.is_none() {
        let known = Category::ALL.map(Category::as_str).join(", ");
        table.problem(key, format!("`{key}`: expected one of {known}, got `{text}`"));
    }
    category
}

/// The action's own inputs before those that it shares.
fn inputs(own: Option<&Table<'_>>, shared: Option<&Table<'_>>, schema: &Value) -> Inputs {
    let own = own.and_then(|table| table.table_if_any("inputs"));
    let has = |name: &str| schema.get("properties").is_some_and(|all| all.get(name).is_some());
    let mut feeds = Vec::new();
    if let Some(own) = &own {
        feeds.extend(
            own.keys().filter_map(|name| Some((name.to_owned(), feed(own, name, schema)?))),
        );
    }
    for name in shared.iter().flat_map(|shared| shared.keys()) {
        let is_own = own.as_ref().is_some_and(|own| own.has(name));
        if let (true, false, Some(shared)) = (has(name), is_own, shared) {
            feeds.extend(feed(shared, name, schema).map(|feed| (name.to_owned(), feed)));
        }
    }
    let inputs = Inputs::new(feeds);
    let place = own.as_ref().or(shared);
    if let (Err(what), Some(place)) = (inputs.schema(schema), place) {
        place.problem("", format!("`inputs`: {what}"));
    }
    inputs
}

fn feed(inputs: &Table<'_>, parameter: &str, schema: &Value) -> Option<Feed> {
    if inputs.is_text(parameter) {
        return template(inputs, parameter).map(Feed::Inputs);
    }
    let table = inputs.table(parameter)?;
    if table.has("value") {
        let value = table.json("value")?;
        let own = schema.get("properties").and_then(|all| all.get(parameter));
        let own = own.filter(|_| !table.is_trusted());
        let fits = own.and_then(|own| Schema::compile(own.clone()).ok());
        if let Some(Err(error)) = fits.map(|schema| schema.check(&value)) {
            let first = error.field_details().first().map(|detail| detail.issue.as_str());
            let issue = first.unwrap_or_else(|| error.message());
            table.problem("value", format!("the parameter `{parameter}`: {issue}"));
        }
        table.end();
        return Some(Feed::Fixed(value));
    }
    if !table.has("from") {
        table.problem("from", "expected `from`, a string such as `{owner}/{repo}`, or `value`");
        return None;
    }
    let mut template = template(&table, "from")?;
    if let Some(describe) = table.table_if_any("describe") {
        for input in describe.keys() {
            let Some(text) = describe.text(input) else { continue };
            if !template.describe(input, text) {
                describe.problem(input, format!("there is no input `{input}`"));
            }
        }
    }
    table.end();
    Some(Feed::Inputs(template))
}

fn template(table: &Table<'_>, key: &str) -> Option<Template> {
    Template::parse(table.text(key)?).map_err(|what| table.problem(key, what)).ok()
}

fn outputs(table: &Table<'_>) -> Option<Outputs> {
    let outputs = table.table_if_any("outputs")?;
    let made = outputs.keys().filter_map(|name| output(&outputs, name)).collect::<Vec<_>>();
    if made.is_empty() {
        outputs.problem("", "expected at least one output");
    }
    Some(Outputs::new(made))
}

fn output(outputs: &Table<'_>, name: &str) -> Option<Output> {
    let (pick, schema) = if outputs.is_text(name) {
        (Pick::At(outputs.text(name)?.to_owned()), json!({}))
    } else {
        described(&outputs.table(name)?)?
    };
    if !pick.is_pointer() {
        outputs.problem(name, format!("`{name}`: expected a JSON Pointer such as `/items`"));
    }
    Some(Output { name: name.to_owned(), pick, schema })
}

fn described(table: &Table<'_>) -> Option<(Pick, Value)> {
    let pick = match (table.text("at"), table.text("count")) {
        (Some(pointer), None) if table.has("each") => {
            let each = table.table("each")?;
            let member = |name: &str| Some((name.to_owned(), each.text(name)?.to_owned()));
            Pick::Each(pointer.to_owned(), each.keys().filter_map(member).collect())
        }
        (Some(pointer), None) => Pick::At(pointer.to_owned()),
        (None, Some(pointer)) => Pick::Count(pointer.to_owned()),
        (Some(_), Some(_)) | (None, None) => {
            table.problem("", "expected either `at` or `count`, a JSON Pointer");
            return None;
        }
    };
    let mut schema = Map::new();
    for key in table.keys().filter(|key| !["at", "count", "each"].contains(key)) {
        schema.insert(key.to_owned(), table.json(key)?);
    }
    if matches!(pick, Pick::Count(_)) {
        schema.entry("type").or_insert_with(|| "number".into());
    }
    let schema = Value::Object(schema);
    if !table.is_trusted()
        && let Err(error) = Schema::compile(schema.clone())
    {
        table.problem("", error.message().to_owned());
    }
    Some((pick, schema))
}

/// Reads the examples; one that could not be called, or that shows another output, is a problem.
fn examples(
    table: &Table<'_>,
    inputs: &Inputs,
    schema: &Value,
    outputs: Option<&Outputs>,
) -> Vec<Example> {
    if !table.has("examples") {
        return Vec::new();
    }
    let is_good = Cell::new(true);
    let wrong = |what: String| {
        is_good.set(false);
        table.problem("examples", format!("`examples`: {what}"));
    };
    let shape = "expected a list of tables with `name`, `input` and, if you like, `output`";
    let Some(Value::Array(items)) = table.json("examples") else {
        wrong(shape.to_owned());
        return Vec::new();
    };
    // As with the schemas: what was checked once is not compiled at every start.
    let tool = inputs.schema(schema).ok().filter(|_| !table.is_trusted());
    let tool = tool.and_then(|schema| Schema::compile(schema).ok());
    let mut made = Vec::new();
    for item in items {
        let Some(example) = example(item) else {
            wrong(shape.to_owned());
            continue;
        };
        let input = Value::Object(example.input.clone());
        if let Some(Err(error)) = tool.as_ref().map(|tool| tool.check(&input)) {
            wrong(format!("`{}`: {}", example.name, error.message()));
        }
        let shown = example.output.as_ref().and_then(Value::as_object);
        let unknown = shown.into_iter().flat_map(Map::keys).find(|name| {
            outputs.is_some_and(|outputs| outputs.names().all(|known| known != name.as_str()))
        });
        if let Some(name) = unknown {
            wrong(format!("`{}`: there is no output `{name}`", example.name));
        }
        made.push(example);
    }
    if is_good.get() { made } else { Vec::new() }
}

fn example(item: Value) -> Option<Example> {
    let Value::Object(mut item) = item else { return None };
    let name = item.remove("name")?.as_str()?.to_owned();
    let Value::Object(input) = item.remove("input")? else { return None };
    let output = item.remove("output");
    item.is_empty().then_some(Example { name, input, output })
}
