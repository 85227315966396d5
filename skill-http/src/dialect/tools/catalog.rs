//! `/v1/tools`: what can be invoked.

use std::sync::Arc;

use http::{Method, StatusCode};
use serde_json::{Map, Value, json};
use skill_core::{
    Error,
    catalog::{Catalog, Tool, ToolFilter},
    integration::Verified,
    name::ActionName,
    schema::{Parameter, parameters},
    tool::{Category, Status},
};

use super::page::{self, Page};
use crate::{
    app::Context,
    app::route::{Access, Operation, Route},
    reply::{Failure, Reply},
};

/// The longest text that is searched for, in characters.
const SEARCH: usize = 200;

pub(super) fn routes() -> Vec<Route> {
    let key = || Access::Key(None);
    let categories = Category::ALL.map(Category::as_str);
    let listing = Operation::new("list_tools", "List the tools")
        .query("category", json!({"enum": categories}))
        .query("status", json!({"enum": Status::ALL.map(Status::as_str)}))
        .query("search", json!({"type": "string", "maxLength": SEARCH}));
    let listing = page::query(listing)
        .answer(200, "A page of tools, by id", page::schema("tools", &schema()))
        .errors(&[400, 401, 403, 429, 500, 503]);
    let mut details = schema();
    details["properties"]["examples"] = json!({"type": "array", "items": {
        "type": "object",
        "required": ["name", "input"],
        "properties": {"name": {"type": "string"}, "input": {"type": "object"}, "output": {}},
    }});
    details["properties"]["inputs_schema"] =
        json!({"type": "object", "description": "The JSON Schema of the inputs."});
    details["properties"]["documentation"] = json!({"type": ["string", "null"]});
    details["properties"]["verified"] = json!({
        "enum": ["described", "mocked", "live", null],
        "description": "How far the declaration of its integration is proven.",
    });
    let showing = Operation::new("show_tool", "Tell everything about a tool")
        .answer(200, "The tool", details)
        .errors(&[400, 401, 403, 404, 429, 500, 503]);
    vec![
        Route::new(Method::GET, "/v1/tools", key(), listing, |cx| Box::pin(list(cx))),
        Route::new(Method::GET, "/v1/tools/{tool_id}", key(), showing, |cx| Box::pin(show(cx))),
    ]
}

/// The schema of a tool in listings.
fn schema() -> Value {
    let text = || json!({"type": "string"});
    let fields = json!({"type": "object", "additionalProperties": {
        "type": "object",
        "properties": {
            "type": {}, "required": {"type": "boolean"}, "description": text(),
            "enum": {"type": "array"}, "default": {},
        },
    }});
    json!({
        "type": "object",
        "required": [
            "id", "name", "category", "description", "status", "inputs", "outputs", "rate_limit",
            "timeout",
        ],
        "properties": {
            "id": text(), "name": text(),
            "category": {"enum": Category::ALL.map(Category::as_str)},
            "description": text(),
            "status": {"enum": Status::ALL.map(Status::as_str)},
            "inputs": fields, "outputs": fields,
            "rate_limit": {"type": "string", "examples": ["100 calls/min"]},
            "timeout": {"type": "string", "examples": ["30s"]},
        },
    })
}

/// A tool in listings. `shared` is the limit that it shares with everything else that a key does.
fn shown(cx: &Context, tool: &Tool, shared: Option<u32>) -> Value {
    let limit = match (tool.rate_limit, shared) {
        (Some(own), Some(shared)) => Some(own.min(shared)),
        (own, shared) => own.or(shared),
    };
    let timeout = tool.timeout.unwrap_or_else(|| cx.app.engine.timeout()).as_secs();
    json!({
        "id": tool.id,
        "name": tool.name,
        "category": tool.category.as_str(),
        "description": tool.description,
        "status": tool.status.as_str(),
        "inputs": inputs(tool.inputs()),
        "outputs": tool.outputs().map_or_else(Map::new, fields),
        "rate_limit": limit.map_or_else(|| "unlimited".to_owned(), |most| format!("{most} calls/min")),
        "timeout": format!("{timeout}s"),
    })
}

/// Inputs as a flat map.
fn inputs(schema: &Value) -> Map<String, Value> {
    let mut all = fields(schema);
    for parameter in parameters(schema) {
        all[parameter.name]["required"] = parameter.is_required.into();
    }
    all
}

/// The members that a JSON Schema describes, each with the one type that it mostly has.
fn fields(schema: &Value) -> Map<String, Value> {
    let field = |parameter: &Parameter<'_>| {
        let kind = parameter.kind.split('|').find(|kind| *kind != "null").unwrap_or("any");
        let description = parameter.description.unwrap_or_default();
        let mut field = json!({"type": kind, "description": description});
        for (name, value) in [("enum", parameter.choices), ("default", parameter.default)] {
            if let Some(value) = value {
                field[name] = value.clone();
            }
        }
        (parameter.name.to_owned(), field)
    };
    parameters(schema).iter().map(field).collect()
}

async fn shared_limit(cx: &Context) -> Result<Option<u32>, Error> {
    Ok(cx.app.engine.keys().requests(cx.caller()?).await?.0.limit)
}

async fn list(cx: Context) -> Result<Reply, Failure> {
    let (bounds, query) = (page::bounds(&cx)?, cx.query());
    let categories = "security, analysis, automation, integration or monitoring";
    let search = query.one_of(
        "search",
        |text| (text.chars().count() <= SEARCH).then(|| text.to_owned()),
        "at most 200 characters",
    )?;
    let filter = ToolFilter {
        category: query.one_of("category", Category::parse, categories)?,
        status: query.one_of("status", Status::parse, "ready, beta or deprecated")?,
        search,
        scopes: None,
        limit: usize::try_from(bounds.limit).unwrap_or(usize::MAX),
        offset: bounds.offset,
    };
    let shared = shared_limit(&cx).await?;
    let (tools, total) = cx.app.engine.catalog().tools(&filter);
    let items: Vec<_> = tools.iter().map(|tool| shown(&cx, tool, shared)).collect();
    let has_more = bounds.offset.saturating_add(items.len() as u64) < total;
    let page = Page { items, total, bounds, has_more };
    Ok(Reply::json(StatusCode::OK, &page.named("tools")))
}

async fn show(cx: Context) -> Result<Reply, Failure> {
    let tool = find(&cx)?;
    let mut answer = shown(&cx, &tool, shared_limit(&cx).await?);
    let examples = tool.examples().iter().map(
        |example| json!({"name": example.name, "input": example.input, "output": example.output}),
    );
    answer["examples"] = examples.collect();
    answer["documentation"] = tool.documentation.clone().into();
    answer["inputs_schema"] = tool.inputs().clone();
    let catalog = cx.app.engine.catalog();
    let integration = catalog.integration(&tool.action.namespace);
    let verified = integration.and_then(|integration| integration.info().verified);
    answer["verified"] = verified.map(Verified::as_str).into();
    Ok(Reply::json(StatusCode::OK, &answer))
}

/// The tool that the path names.
pub(super) fn find(cx: &Context) -> Result<Arc<Tool>, Error> {
    let tool = cx.app.engine.catalog().tool(cx.value(0)).cloned();
    tool.ok_or_else(|| Error::not_found("there is no tool with this id"))
}

/// The id under which runs of an action are shown, whether or not it is a tool at present.
pub(super) fn tool_id(catalog: &Catalog, action: &ActionName) -> String {
    let derived = || format!("{}-{}", action.namespace.canonical(), action.name.canonical());
    catalog.tool_of(action).map_or_else(derived, |tool| tool.id.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_becomes_a_flat_map() {
        let schema = json!({
            "type": "object",
            "required": ["owner"],
            "properties": {
                "owner": {"type": "string", "description": "Who"},
                "state": {"enum": ["open", "closed"], "default": "open"},
                "count": {"type": ["null", "integer"]},
                "kind": {"$ref": "#/$defs/Kind"},
                "odd": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            },
            "$defs": {"Kind": {"type": "string", "enum": ["a"], "description": "Which"}},
        });
        let expected = json!({
            "owner": {"type": "string", "required": true, "description": "Who"},
            "state": {
                "type": "string", "required": false, "description": "",
                "enum": ["open", "closed"], "default": "open",
            },
            "count": {"type": "integer", "required": false, "description": ""},
            "kind": {"type": "string", "required": false, "description": "Which", "enum": ["a"]},
            "odd": {"type": "string", "required": false, "description": ""},
        });
        assert_eq!(Value::Object(inputs(&schema)), expected);
    }
}
