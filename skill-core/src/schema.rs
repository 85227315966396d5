//! Schemas of parameters: JSON Schema 2020-12, compiled once.

use std::{fmt, sync::OnceLock};

use jsonschema::{
    Draft, PatternOptions, ValidationError, Validator,
    error::{TypeKind, ValidationErrorKind},
};
use serde_json::{Map, Value};

use crate::error::{Detail, Error, Result};

/// The most problems that one answer names.
const MOST: usize = 20;
/// The most bytes that one compiled pattern may take.
const PATTERN: usize = 1 << 20;

/// A compiled schema.
///
/// Patterns run on a linear engine and references never leave the document, so that no schema can
/// stall the engine or make it fetch anything.
///
/// ```
/// use serde_json::json;
/// use skill_core::schema::Schema;
/// let schema = Schema::compile(json!({"type": "object", "required": ["title"]}))?;
/// let error = schema.check(&json!({})).unwrap_err();
/// assert_eq!(error.field_details()[0].field, "title");
/// # Ok::<(), skill_core::Error>(())
/// ```
pub struct Schema {
    value: Value,
    /// Whether somebody has compiled it before.
    is_trusted: bool,
    /// `None` inside: it is no schema, which can only be one that was trusted to be one.
    validator: OnceLock<Option<Validator>>,
}

impl Schema {
    /// Compiles a schema.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) when it is no schema.
    pub fn compile(value: Value) -> Result<Self> {
        let validator = build(&value).map_err(|cause| {
            Error::invalid(format!("expected a JSON Schema: {}", cause.masked()))
        })?;
        Ok(Self { value, is_trusted: false, validator: OnceLock::from(Some(validator)) })
    }

    /// A schema that somebody has compiled before, such as those that come with this crate: it is
    /// compiled when it is first needed.
    pub(crate) fn trusted(value: Value) -> Self {
        Self { value, is_trusted: true, validator: OnceLock::new() }
    }

    /// A schema that is made of this one, and trusted as this one is.
    ///
    /// # Errors
    /// As [`Schema::compile`].
    pub(crate) fn derive(&self, value: Value) -> Result<Self> {
        if self.is_trusted { Ok(Self::trusted(value)) } else { Self::compile(value) }
    }

    /// The schema as it was written.
    pub fn as_value(&self) -> &Value {
        &self.value
    }

    /// Checks an instance.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) with one detail per problem:
    /// the field, what was expected and what came. Values are never repeated.
    pub fn check(&self, instance: &Value) -> Result<()> {
        let validator = self.validator.get_or_init(|| build(&self.value).ok());
        let validator =
            validator.as_ref().ok_or_else(|| Error::internal("a trusted schema is none"))?;
        if validator.is_valid(instance) {
            return Ok(());
        }
        let details = validator.iter_errors(instance).take(MOST).map(|e| detail(&e));
        let mut details = details.collect::<Vec<_>>();
        details.dedup();
        let first = details.first().map(|detail| format!("`{}`: {}", detail.field, detail.issue));
        let message = first.unwrap_or_else(|| "the parameters do not fit the schema".to_owned());
        Err(Error::invalid(message).details(details))
    }

    /// Checks an object by its members, which are not copied for it and stand there afterwards as
    /// they did before.
    ///
    /// # Errors
    /// As [`Schema::check`].
    pub fn check_members(&self, members: &mut Map<String, Value>) -> Result<()> {
        let object = Value::Object(std::mem::take(members));
        let checked = self.check(&object);
        if let Value::Object(whole) = object {
            *members = whole;
        }
        checked
    }
}

fn build(value: &Value) -> Result<Validator, ValidationError<'_>> {
    jsonschema::options()
        .with_draft(Draft::Draft202012)
        .should_validate_formats(true)
        .with_pattern_options(PatternOptions::regex().size_limit(PATTERN))
        .build(value)
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Schema({})", self.value)
    }
}

/// One member of an object that a schema describes.
///
/// ```
/// use serde_json::json;
/// let schema = json!({
///     "type": "object",
///     "required": ["state"],
///     "properties": {"state": {"type": ["string", "null"], "enum": ["open", null]}},
/// });
/// let rows = skill_core::schema::parameters(&schema);
/// assert_eq!((rows[0].name, rows[0].kind.as_str(), rows[0].is_required), ("state", "string|null", true));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its type; several with `|` between them, `any` when nobody says.
    pub kind: String,
    /// Whether it has to be given.
    pub is_required: bool,
    /// What it is.
    pub description: Option<&'a str>,
    /// The only values that it takes.
    pub choices: Option<&'a Value>,
    /// What holds when it is not given.
    pub default: Option<&'a Value>,
}

/// The members of the object that `schema` describes, those that have to be given first and then
/// by name.
pub fn parameters(schema: &Value) -> Vec<Parameter<'_>> {
    let required = schema.get("required").and_then(Value::as_array);
    let is_required = |name: &str| required.is_some_and(|names| names.iter().any(|n| n == name));
    let properties = schema.get("properties").and_then(Value::as_object);
    let mut rows = properties
        .into_iter()
        .flatten()
        .map(|(name, own)| {
            let own = followed(schema, own);
            Parameter {
                name,
                kind: kinds(schema, own),
                is_required: is_required(name),
                description: own.get("description").and_then(Value::as_str),
                choices: own.get("enum"),
                default: own.get("default"),
            }
        })
        .collect::<Vec<_>>();
    rows.sort_by(|a, b| b.is_required.cmp(&a.is_required).then(a.name.cmp(b.name)));
    rows
}

/// What a schema that only refers to another part of its document stands for.
fn followed<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    let reference = schema.get("$ref").and_then(Value::as_str);
    let target = reference.and_then(|text| document.pointer(text.strip_prefix('#')?));
    target.unwrap_or(schema)
}

/// The types that a schema allows.
fn kinds<'a>(document: &'a Value, schema: &'a Value) -> String {
    let mut kinds = Vec::<&'a str>::new();
    match (schema.get("type"), schema.get("enum").and_then(Value::as_array)) {
        (Some(Value::String(kind)), _) => kinds.push(kind),
        (Some(Value::Array(several)), _) => kinds.extend(several.iter().filter_map(Value::as_str)),
        (_, Some(choices)) => choices.iter().for_each(|choice| kinds.push(type_of(choice))),
        _ => {
            let either = ["anyOf", "oneOf"].into_iter().find_map(|key| schema.get(key)?.as_array());
            let parts = either.into_iter().flatten().map(|part| followed(document, part));
            kinds.extend(parts.filter_map(|part| part.get("type")?.as_str()));
        }
    }
    kinds.dedup();
    if kinds.is_empty() { "any".to_owned() } else { kinds.join("|") }
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

/// Says a problem in our words; a kind we have no words for in the library's, without values.
#[expect(clippy::wildcard_enum_match_arm, reason = "the library has words for every kind")]
fn detail(error: &ValidationError<'_>) -> Detail {
    let place = error.instance_path().to_string();
    let field = place.trim_start_matches('/').replace('/', ".");
    let came = kind_of(error.instance());
    match error.kind() {
        ValidationErrorKind::Required { property } => {
            let name = property.as_str().unwrap_or_default();
            let full = if field.is_empty() { name.to_owned() } else { format!("{field}.{name}") };
            Detail::new(full, "expected a value, got nothing")
        }
        ValidationErrorKind::Type { kind } => {
            Detail::new(named(field), format!("expected {}, got {came}", expected(kind)))
        }
        ValidationErrorKind::Enum { options } => Detail::new(
            named(field),
            format!("expected one of {options}, got {came} that is none of them"),
        ),
        ValidationErrorKind::Pattern { pattern } => {
            Detail::new(named(field), format!("expected text that matches `{pattern}`"))
        }
        ValidationErrorKind::Format { format } => {
            Detail::new(named(field), format!("expected text in the format `{format}`"))
        }
        _ => Detail::new(named(field), error.masked().to_string()),
    }
}

fn named(field: String) -> String {
    if field.is_empty() { "params".to_owned() } else { field }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

fn expected(kind: &TypeKind) -> String {
    match kind {
        TypeKind::Single(one) => format!("type {one}"),
        TypeKind::Multiple(several) => {
            let names = several.iter().map(|one| one.to_string()).collect::<Vec<_>>();
            format!("one of the types {}", names.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schema() -> Schema {
        Schema::compile(json!({
            "type": "object",
            "required": ["title"],
            "properties": {
                "title": {"type": "string", "minLength": 1},
                "labels": {"type": "array", "items": {"type": "string"}},
                "state": {"enum": ["open", "closed"]},
                "site": {"type": "string", "format": "uri"},
                "name": {"type": "string", "pattern": "^[a-z]+$"},
            },
        }))
        .unwrap()
    }

    fn problem(instance: &Value) -> (String, String) {
        let error = schema().check(instance).unwrap_err();
        let detail = error.field_details()[0].clone();
        (detail.field, detail.issue)
    }

    #[test]
    fn problems_name_field_expectation_and_what_came() {
        let case = |instance, field: &str, issue: &str| {
            assert_eq!(problem(&instance), (field.to_owned(), issue.to_owned()));
        };
        case(json!({}), "title", "expected a value, got nothing");
        case(json!({"title": 7}), "title", "expected type string, got a number");
        case(
            json!({"title": "a", "labels": ["b", {}]}),
            "labels.1",
            "expected type string, got an object",
        );
        case(
            json!({"title": "a", "state": "secret"}),
            "state",
            r#"expected one of ["open","closed"], got a string that is none of them"#,
        );
        case(json!({"title": "a", "site": "no"}), "site", "expected text in the format `uri`");
        case(json!({"title": "a", "name": "A"}), "name", "expected text that matches `^[a-z]+$`");
    }

    #[test]
    fn values_are_never_repeated() {
        let error =
            schema().check(&json!({"title": "", "name": "SECRET", "state": "SECRET"})).unwrap_err();
        let shown = format!("{error} {:?}", error.field_details());
        assert!(!shown.contains("SECRET"), "{shown}");
    }

    #[test]
    fn a_reference_that_leaves_the_document_is_refused() {
        for reference in ["http://127.0.0.1:1/x", "file:///etc/passwd"] {
            assert!(Schema::compile(json!({"$ref": reference})).is_err(), "{reference}");
        }
    }
}
