//! What a declaration says of an endpoint beside how it is called.

use serde_json::{Map, Value};

use crate::{declaration::Table, name::Slug, schema::Schema, tool::Status};

/// What endpoints share.
#[derive(Debug)]
pub(super) struct Shared<'a> {
    pub(super) params: Option<Table<'a>>,
    /// How parameters become a tool's inputs, wherever an endpoint has them.
    pub(super) inputs: Option<Table<'a>>,
}

impl<'a> Shared<'a> {
    pub(super) fn read(top: &Table<'a>) -> Self {
        let tools = top.table_if_any("tools");
        let inputs = tools.as_ref().and_then(|tools| tools.table_if_any("inputs"));
        if let Some(tools) = tools {
            tools.end();
        }
        Self { params: top.table("params"), inputs }
    }
}

pub(super) fn rate_limit(table: &Table<'_>) -> Option<u32> {
    let limit = table.count("rate_limit");
    if limit == Some(0) {
        let expected = "`rate_limit`: expected a number of calls per minute from 1 on";
        table.problem("rate_limit", expected);
    }
    limit
}

pub(super) fn status(table: &Table<'_>) -> Status {
    let Some(text) = table.text("status") else { return Status::default() };
    Status::parse(text).unwrap_or_else(|| {
        let expected = "`status`: expected `ready`, `beta` or `deprecated`";
        table.problem("status", format!("{expected}, got `{text}`"));
        Status::default()
    })
}

/// Which part of the service it belongs to: the first word of the path unless it is declared.
pub(super) fn group(table: &Table<'_>, path: &str) -> Option<Slug> {
    if let Some(text) = table.text("group") {
        let group = Slug::parse(text);
        if let Err(error) = &group {
            table.problem("group", format!("`group`: {error}"));
        }
        return group.ok();
    }
    let word = path.split('/').find_map(|segment| Slug::parse(&segment.to_lowercase()).ok());
    word.or_else(|| Slug::parse("general").ok())
}

/// A call that is worth showing. What was checked when this crate was built is not checked again.
pub(super) fn example(table: &Table<'_>, schema: &Schema) -> Option<Map<String, Value>> {
    let example = table.json("example")?;
    let Value::Object(params) = &example else {
        table.problem("example", "`example`: expected a table of parameters");
        return None;
    };
    let known = schema.as_value().get("properties").and_then(Value::as_object);
    let unknown = params.keys().find(|name| known.is_none_or(|known| !known.contains_key(*name)));
    if let Some(name) = unknown {
        table.problem("example", format!("`example`: there is no parameter `{name}`"));
    }
    if let (false, Err(error)) = (table.is_trusted(), schema.check(&example)) {
        let first = error.field_details().first();
        let issue = first.map(|detail| format!("`{}`: {}", detail.field, detail.issue));
        let issue = issue.unwrap_or_else(|| error.message().to_owned());
        table.problem("example", format!("`example`: {issue}"));
    }
    example.as_object().cloned()
}
