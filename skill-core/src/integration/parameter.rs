//! Declared parameters: where a value goes in the request, and how it is written there.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, Value};
use url::form_urlencoded;

use crate::{
    declaration::Table,
    error::{Error, Result},
    raw::may_fill,
    transport::target::{LONGEST, Target},
};

/// Where a value goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// Into the path.
    Path,
    /// Into the query, under a name.
    Query(String, List),
    /// Into a header.
    Header(HeaderName),
    /// Into the JSON or form body, under a name.
    Body(String),
    /// It is the whole JSON body.
    WholeBody,
}

/// How a list is written in a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum List {
    /// `a=1&a=2`
    Repeat,
    /// `a=1,2`
    Comma,
    /// `a[]=1&a[]=2`
    Brackets,
}

/// One declared parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Parameter {
    pub(super) name: String,
    pub(super) place: Place,
    pub(super) is_required: bool,
    pub(super) schema: Value,
}

/// The members of a parameter's table that are ours; all others are JSON Schema.
const KNOWN: &[&str] = &["in", "name", "required", "list", "whole"];

impl Parameter {
    /// Reads the table of the parameter `name`; `standard` is where it goes when it does not say.
    pub(super) fn declare(name: &str, table: &Table<'_>, standard: &str) -> Option<Self> {
        let wire = table.text("name").unwrap_or(name).to_owned();
        let place = match table.text("in").unwrap_or(standard) {
            "path" => Place::Path,
            "query" => Place::Query(wire, list(table)?),
            "header" => Place::Header(header(table, &wire)?),
            "body" if table.flag("whole") => Place::WholeBody,
            "body" => Place::Body(wire),
            other => {
                let expected = "`in`: expected `path`, `query`, `header` or `body`";
                table.problem("in", format!("{expected}, got `{other}`"));
                return None;
            }
        };
        let mut schema = Map::new();
        for key in table.keys().filter(|key| !KNOWN.contains(key)) {
            schema.insert(key.to_owned(), table.json(key)?);
        }
        if !schema.contains_key("type")
            && !schema.contains_key("enum")
            && !schema.contains_key("anyOf")
        {
            table.problem("type", format!("the parameter `{name}`: expected `type`"));
        }
        let is_required = table.flag("required") || place == Place::Path;
        Some(Self { name: name.to_owned(), place, is_required, schema: Value::Object(schema) })
    }
}

fn list(table: &Table<'_>) -> Option<List> {
    match table.text("list") {
        None | Some("repeat") => Some(List::Repeat),
        Some("comma") => Some(List::Comma),
        Some("brackets") => Some(List::Brackets),
        Some(other) => {
            table.problem(
                "list",
                format!("expected `repeat`, `comma` or `brackets`, got `{other}`"),
            );
            None
        }
    }
}

fn header(table: &Table<'_>, wire: &str) -> Option<HeaderName> {
    let name = HeaderName::try_from(wire).ok().filter(may_fill);
    if name.is_none() {
        table.problem("name", format!("`{wire}` cannot be a header that callers fill"));
    }
    name
}

/// One value as text; `None` for null, lists and objects.
pub(super) fn text(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(text.into()),
        Value::Number(number) => Some(number.to_string().into()),
        Value::Bool(flag) => Some(flag.to_string().into()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// As [`text`], for good.
pub(super) fn scalar(value: &Value) -> Option<String> {
    text(value).map(Cow::into_owned)
}

/// One value as text, or the list of its values.
fn scalars(name: &str, value: &Value) -> Result<Vec<String>> {
    let one = |value| {
        let issue = "expected text, a number, true or false";
        scalar(value).ok_or_else(|| Error::invalid(issue).detail(name, issue))
    };
    let Value::Array(items) = value else { return Ok(vec![one(value)?]) };
    items.iter().map(one).collect()
}

/// Writes a value into the query.
pub(super) fn query(target: &mut Target, wire: &str, list: List, value: &Value) -> Result<()> {
    let values = scalars(wire, value)?;
    match list {
        List::Comma => target.query(wire, values.join(",")),
        List::Brackets if value.is_array() => {
            values.into_iter().for_each(|text| target.query(&format!("{wire}[]"), text));
        }
        List::Repeat | List::Brackets => {
            values.into_iter().for_each(|text| target.query(wire, text));
        }
    }
    Ok(())
}

/// Writes a value into a header. Only visible ASCII and inner spaces can stand there
/// (RFC 9110 section 5.5, less the obsolete bytes).
pub(super) fn fill_header(headers: &mut HeaderMap, name: &HeaderName, value: &Value) -> Result<()> {
    let text = scalars(name.as_str(), value)?.join(", ");
    let fits = text.len() <= LONGEST && text.bytes().all(|byte| (0x20..=0x7e).contains(&byte));
    let header = HeaderValue::from_str(&text).ok().filter(|_| fits).ok_or_else(|| {
        let issue = "expected visible ASCII characters and at most 8 KiB";
        Error::invalid("a header cannot hold this value").detail(name.as_str(), issue)
    })?;
    headers.insert(name, header);
    Ok(())
}

/// Writes body members as a form; lists and objects in brackets, as most form APIs read them.
pub(super) fn form(members: &Map<String, Value>) -> String {
    fn add(form: &mut form_urlencoded::Serializer<'_, String>, name: &str, value: &Value) {
        match value {
            Value::Null => {}
            Value::Array(items) => {
                for (at, item) in items.iter().enumerate() {
                    add(form, &format!("{name}[{at}]"), item);
                }
            }
            Value::Object(members) => {
                for (key, value) in members {
                    add(form, &format!("{name}[{key}]"), value);
                }
            }
            Value::String(_) | Value::Number(_) | Value::Bool(_) => {
                form.append_pair(name, &scalar(value).unwrap_or_default());
            }
        }
    }
    let mut form = form_urlencoded::Serializer::new(String::new());
    members.iter().for_each(|(name, value)| add(&mut form, name, value));
    form.finish()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::declaration::Source;

    #[test]
    fn header_values_are_refused_and_never_trimmed_into_shape() {
        let name = HeaderName::from_static("x-tag");
        for value in ["a\r\nB: c", "a\0", "a\u{7f}", "ü", "a\tb"] {
            assert!(fill_header(&mut HeaderMap::new(), &name, &json!(value)).is_err(), "{value:?}");
        }
        assert!(fill_header(&mut HeaderMap::new(), &name, &json!("v1 beta")).is_ok());
    }

    #[test]
    fn callers_get_no_header_of_ours_to_fill() {
        for name in ["Authorization", "content-type", "host", "Content-Length", "x-real-ip"] {
            let text = "in = \"header\"\ntype = \"string\"\n";
            let read = |top: &Table<'_>| Parameter::declare(name, top, "query");
            assert!(Source::new("x.toml", text).read(read).is_err(), "{name}");
        }
    }

    #[test]
    fn forms_write_lists_and_objects_in_brackets() {
        let members = json!({"a": 1, "b": [true, "x&y"], "c": {"d": "e"}, "n": null});
        assert_eq!(
            form(members.as_object().unwrap()),
            "a=1&b%5B0%5D=true&b%5B1%5D=x%26y&c%5Bd%5D=e"
        );
    }
}
