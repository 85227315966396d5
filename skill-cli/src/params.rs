//! Parameters of a call as words of a command line: `--repo acme/webapp --labels a,b --draft`.
//!
//! What a word means is the endpoint's to say: where its schema has a string, `007` stays one. A
//! parameter without a schema follows the rule of [`guess`].

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::{
    failure::Failure,
    output::{member, table},
};

/// Words after the action that are the command's own, unless the action has such a parameter;
/// whether a value follows.
pub(crate) type Own = [(&'static str, bool)];

/// What the words say.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Given {
    /// Parameters of the call.
    pub(crate) params: Map<String, Value>,
    /// The command's own options.
    pub(crate) own: BTreeMap<&'static str, String>,
}

/// Reads the words; `schema` is the action's, if it is known.
///
/// # Errors
/// The first word that fits nowhere.
pub(crate) fn read(
    words: &[String],
    schema: Option<&Value>,
    own_words: &Own,
) -> Result<Given, Failure> {
    let (mut given, mut rest) = (Given::default(), words.iter().map(String::as_str).peekable());
    let known = schema.and_then(|schema| schema.get("properties")).and_then(Value::as_object);
    while let Some(word) = rest.next() {
        let Some(word) = word.strip_prefix("--").filter(|word| !word.is_empty()) else {
            let message = format!("expected `--NAME VALUE`, got `{word}`");
            return Err(Failure::usage(message));
        };
        let (name, written) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (word, None),
        };
        let declared = known.and_then(|known| known.iter().find(|(key, _)| is_same(key, name)));
        let own = own_words.iter().find(|(own, _)| *own == name && declared.is_none());
        let wants_value = match (own, declared) {
            (Some((_, wants_value)), _) => *wants_value,
            (None, Some((_, schema))) if Types::of(schema).is_flag() => {
                rest.peek().is_some_and(|next| ["true", "false"].contains(next))
            }
            (None, _) => rest.peek().is_some_and(|next| !next.starts_with("--")),
        };
        let value = written.or_else(|| if wants_value { rest.next() } else { None });
        match (own, declared) {
            (Some((own, true)), _) if value.is_none() => return Err(no_value(own)),
            (Some((own, _)), _) => {
                drop(given.own.insert(own, value.unwrap_or_default().to_owned()))
            }
            (None, Some((key, schema))) => add(&mut given.params, key, typed(name, value, schema)?),
            (None, None) => match known {
                Some(known) => return Err(unknown(name, known)),
                None => add(&mut given.params, name, value.map_or(Value::Bool(true), guess)),
            },
        }
    }
    Ok(given)
}

/// Lists the parameters that a schema has, for a person.
pub(crate) fn described(schema: &Value) -> String {
    let required = schema.get("required").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let parameters = schema.get("properties").and_then(Value::as_object);
    let rows = parameters.into_iter().flatten().map(|(name, schema)| {
        let is_required = required.iter().any(|one| one.as_str() == Some(name));
        let need = if is_required { "required" } else { "" };
        let kind = member(schema, if schema.get("enum").is_some() { "enum" } else { "type" });
        vec![format!("--{name}"), kind, need.to_owned(), member(schema, "description")]
    });
    table(&["parameter", "type", "", "description"], &rows.collect::<Vec<_>>())
}

/// Adds a parameter; a second value of the same name makes a list.
fn add(params: &mut Map<String, Value>, name: &str, value: Value) {
    let value = match (params.remove(name), value) {
        (None, value) => value,
        (Some(Value::Array(mut items)), Value::Array(more)) => {
            items.extend(more);
            Value::Array(items)
        }
        (Some(Value::Array(mut items)), value) => {
            items.push(value);
            Value::Array(items)
        }
        (Some(first), value) => Value::Array(vec![first, value]),
    };
    params.insert(name.to_owned(), value);
}

fn is_same(key: &str, name: &str) -> bool {
    key.replace('-', "_") == name.replace('-', "_")
}

fn no_value(name: &str) -> Failure {
    Failure::usage(format!("`--{name}` expects a value"))
}

fn unknown(name: &str, known: &Map<String, Value>) -> Failure {
    let names = known.keys().map(|key| format!("--{key}")).collect::<Vec<_>>().join(", ");
    let failure = Failure::usage(format!("the action has no parameter `--{name}`"));
    match names.is_empty() {
        true => failure.hint("it has none"),
        false => failure.hint(format!("it has {names}")),
    }
}

/// The types that a schema allows.
struct Types<'a>(Vec<&'a str>);

impl<'a> Types<'a> {
    fn of(schema: &'a Value) -> Self {
        let mut types = Vec::new();
        match schema.get("type") {
            Some(Value::String(one)) => types.push(one.as_str()),
            Some(Value::Array(several)) => types.extend(several.iter().filter_map(Value::as_str)),
            _ => {}
        }
        for value in schema.get("enum").and_then(Value::as_array).into_iter().flatten() {
            types.push(type_of(value));
        }
        for branch in ["anyOf", "oneOf"] {
            for inner in schema.get(branch).and_then(Value::as_array).into_iter().flatten() {
                types.extend(Types::of(inner).0);
            }
        }
        Self(types)
    }

    fn allow(&self, name: &str) -> bool {
        self.0.contains(&name)
    }

    /// Whether it is true or false and nothing else.
    fn is_flag(&self) -> bool {
        !self.0.is_empty() && self.0.iter().all(|name| *name == "boolean")
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Reads a value as its schema has it; what does not fit stays text, and the engine says so.
fn typed(name: &str, text: Option<&str>, schema: &Value) -> Result<Value, Failure> {
    let types = Types::of(schema);
    let Some(text) = text else {
        let may_be_flag = types.0.is_empty() || types.allow("boolean");
        return if may_be_flag { Ok(Value::Bool(true)) } else { Err(no_value(name)) };
    };
    if types.0.is_empty() {
        return Ok(guess(text));
    }
    let json = serde_json::from_str::<Value>(text).ok();
    let fits = |value: &Value| match value {
        Value::Number(_) => {
            let is_number = types.allow("number") || types.allow("integer");
            is_number && (!types.allow("string") || is_canonical(value, text))
        }
        Value::String(_) => false,
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
            types.allow(type_of(value))
        }
    };
    if let Some(value) = json.filter(fits) {
        return Ok(value);
    }
    if types.allow("array") && !types.allow("string") {
        let item = schema.get("items").unwrap_or(&Value::Null);
        let items = text.split(',').filter(|item| !item.is_empty());
        return items.map(|text| typed(name, Some(text), item)).collect();
    }
    Ok(text.into())
}

/// Reads a value that no schema describes: JSON where it can be nothing else, a list where there
/// are commas without spaces, otherwise text.
fn guess(text: &str) -> Value {
    match serde_json::from_str::<Value>(text) {
        Ok(value @ (Value::Bool(_) | Value::Null | Value::Array(_) | Value::Object(_))) => value,
        Ok(value @ Value::Number(_)) if is_canonical(&value, text) => value,
        Ok(_) | Err(_) if text.contains(',') && !text.contains(char::is_whitespace) => {
            text.split(',').map(guess).collect()
        }
        Ok(_) | Err(_) => text.into(),
    }
}

/// Whether a number is written as it would be written back, so that nothing is lost.
fn is_canonical(value: &Value, text: &str) -> bool {
    let written = value.to_string();
    written == text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const OWN: &Own = &[("connection", true), ("owner", true), ("json", false), ("help", false)];

    fn words(line: &str) -> Vec<String> {
        line.split('|').filter(|word| !word.is_empty()).map(str::to_owned).collect()
    }

    fn schema() -> Value {
        json!({"type": "object", "properties": {
            "repo": {"type": "string"},
            "title": {"type": ["string", "integer"]},
            "number": {"type": "integer"},
            "labels": {"type": "array", "items": {"type": "string"}},
            "ids": {"type": "array", "items": {"type": "integer"}},
            "draft": {"type": "boolean"},
            "document": {"type": "object"},
            "per_page": {"type": "integer"},
            "owner": {"type": "string"},
            "state": {"enum": ["open", "closed"]},
        }})
    }

    fn params(line: &str) -> Value {
        Value::Object(read(&words(line), Some(&schema()), OWN).unwrap().params)
    }

    fn guessed(line: &str) -> Value {
        Value::Object(read(&words(line), None, OWN).unwrap().params)
    }

    fn problem(line: &str) -> String {
        read(&words(line), Some(&schema()), OWN).unwrap_err().to_string()
    }

    #[test]
    fn a_string_of_the_schema_stays_text_whatever_it_looks_like() {
        for text in ["007", "1", "true", "a,b", "{\"a\":1}", "null", "1e3"] {
            assert_eq!(params(&format!("--repo|{text}")), json!({"repo": text}));
        }
        assert_eq!(params("--state|open"), json!({"state": "open"}));
    }

    #[test]
    fn values_take_the_type_of_the_schema() {
        assert_eq!(params("--number|7|--draft"), json!({"number": 7, "draft": true}));
        assert_eq!(params("--draft|false|--number=-1"), json!({"draft": false, "number": -1}));
        assert_eq!(params("--number|-1"), json!({"number": -1}));
        assert_eq!(params("--labels|a,2"), json!({"labels": ["a", "2"]}));
        assert_eq!(params("--labels|[\"a,b\"]"), json!({"labels": ["a,b"]}));
        assert_eq!(params("--labels|a|--labels|b"), json!({"labels": ["a", "b"]}));
        assert_eq!(params("--ids|1,2"), json!({"ids": [1, 2]}));
        assert_eq!(params("--document|{\"a\": [1]}"), json!({"document": {"a": [1]}}));
        assert_eq!(params("--title|7|--repo|x"), json!({"title": 7, "repo": "x"}));
        assert_eq!(params("--title|007"), json!({"title": "007"}));
        assert_eq!(params("--per-page|5"), json!({"per_page": 5}));
    }

    #[test]
    fn a_value_that_does_not_fit_is_left_for_the_engine_to_refuse() {
        assert_eq!(params("--number|many"), json!({"number": "many"}));
    }

    #[test]
    fn a_value_may_begin_with_hyphens_after_an_equals_sign() {
        assert_eq!(params("--repo=--x=y"), json!({"repo": "--x=y"}));
    }

    #[test]
    fn the_commands_own_options_yield_to_parameters_of_the_same_name() {
        let given =
            read(&words("--owner|acme|--connection|work|--json"), Some(&schema()), OWN).unwrap();
        assert_eq!(Value::Object(given.params), json!({"owner": "acme"}));
        assert_eq!(given.own["connection"], "work");
        assert!(given.own.contains_key("json") && !given.own.contains_key("owner"));
    }

    #[test]
    fn without_a_schema_the_form_of_a_value_decides() {
        assert_eq!(guessed("--a|7|--b|007|--c|1.50"), json!({"a": 7, "b": "007", "c": "1.50"}));
        assert_eq!(
            guessed("--a|x,y|--b|Hello, world"),
            json!({"a": ["x", "y"], "b": "Hello, world"})
        );
        assert_eq!(guessed("--a|--b|{\"c\":1}"), json!({"a": true, "b": {"c": 1}}));
        assert_eq!(
            guessed("--a|{x|--b|12345678901234567890123"),
            json!({"a": "{x", "b": "12345678901234567890123"})
        );
    }

    #[test]
    fn what_fits_nowhere_is_named() {
        assert_eq!(problem("--ttle|x"), "the action has no parameter `--ttle`");
        assert_eq!(problem("x"), "expected `--NAME VALUE`, got `x`");
        assert_eq!(problem("--draft|x"), "expected `--NAME VALUE`, got `x`");
        assert_eq!(problem("--number"), "`--number` expects a value");
        assert_eq!(problem("--connection"), "`--connection` expects a value");
    }
}
