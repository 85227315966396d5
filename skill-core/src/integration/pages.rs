//! How a declaration says that answers come in pages.

use serde_json::Value;

use super::parameter::{Parameter, Place};
use crate::{
    declaration::Table,
    json::Pointer,
    pages::{self, Pages, Query, Turn},
};

/// Reads `pages`: a table, or the name of one that endpoints share.
pub(super) fn declare(
    table: &Table<'_>,
    shared: Option<&Table<'_>>,
    parameters: &[Parameter],
) -> Option<Pages> {
    if !table.has("pages") {
        return None;
    }
    let own = if table.is_text("pages") {
        let name = table.text("pages")?;
        let found = shared.and_then(|shared| shared.table_if_any(name));
        if found.is_none() {
            table.problem("pages", format!("expected a shared table `pages.{name}`"));
        }
        found?
    } else {
        table.table("pages")?
    };
    let items = pointer(&own, "items");
    let more = own.has("more").then(|| pointer(&own, "more")).flatten();
    let turn = turn(&own, parameters);
    own.end();
    Some(Pages { items: items?, more, turn: turn? })
}

fn turn(own: &Table<'_>, parameters: &[Parameter]) -> Option<Turn> {
    let known = ["cursor", "last", "link", "url", "page", "offset"];
    let ways = known.into_iter().filter(|way| own.has(way)).collect::<Vec<_>>();
    let &[way] = &ways[..] else {
        own.problem("", format!("expected exactly one of `{}`", known.join("`, `")));
        return None;
    };
    match way {
        "cursor" => {
            Some(Turn::Cursor { at: pointer(own, way)?, to: parameter(own, "to", parameters)? })
        }
        "last" => {
            Some(Turn::Last { at: pointer(own, way)?, to: parameter(own, "to", parameters)? })
        }
        "url" => Some(Turn::Url { at: pointer(own, way)?, query: query(own, parameters)? }),
        "page" => {
            let first = own.count("first").unwrap_or(1).into();
            Some(Turn::Page { to: parameter(own, way, parameters)?, first })
        }
        "offset" => Some(Turn::Offset { to: parameter(own, way, parameters)? }),
        _ => own.flag(way).then(|| query(own, parameters)).flatten().map(Turn::Link),
    }
}

/// The name of a parameter of this endpoint.
fn parameter(own: &Table<'_>, key: &str, parameters: &[Parameter]) -> Option<String> {
    let name = own.required_text(key)?;
    let is_known = parameters.iter().any(|parameter| parameter.name == name);
    if !is_known {
        own.problem(key, format!("`{key}`: expected a parameter of this endpoint, got `{name}`"));
    }
    is_known.then(|| name.to_owned())
}

fn pointer(own: &Table<'_>, key: &str) -> Option<Pointer> {
    let text = own.required_text(key)?;
    let pointer = Pointer::parse(text);
    if pointer.is_none() {
        own.problem(key, format!("`{key}`: expected a pointer such as `/data/next`, got `{text}`"));
    }
    pointer
}

/// The parameters in the query, by their names there.
fn query(own: &Table<'_>, parameters: &[Parameter]) -> Option<Query> {
    let in_query = parameters.iter().filter_map(|parameter| match &parameter.place {
        Place::Query(wire, _) => {
            let is_number = parameter.schema.get("type").and_then(Value::as_str) == Some("integer");
            Some((wire.clone(), pages::Parameter { name: parameter.name.clone(), is_number }))
        }
        Place::Path | Place::Header(_) | Place::Body(_) | Place::WholeBody => None,
    });
    let query = in_query.collect::<Query>();
    if query.is_empty() {
        own.problem("", "the next page is asked for by the query, and no parameter stands there");
    }
    (!query.is_empty()).then_some(query)
}
