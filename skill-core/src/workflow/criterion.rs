//! Criteria: what has to be true of an answer.

use std::fmt;

use regex::{Regex, RegexBuilder};
use serde_json::Value;
use serde_json_path::JsonPath;

use super::{
    condition::Condition,
    expression::Expression,
    fill::Known,
    reader::Object,
    tree::{Kind, Node},
};

/// The most bytes that a compiled pattern may take.
const PATTERN: usize = 1 << 20;

/// One assertion.
#[derive(Debug)]
pub(super) struct Criterion {
    /// As it was written, for people.
    text: String,
    test: Test,
}

#[derive(Debug)]
enum Test {
    Simple(Condition),
    /// A pattern that fits somewhere in the text of a value.
    Regex(Expression, Regex),
    /// A query (RFC 9535) that finds something in a value.
    JsonPath(Expression, JsonPath),
}

impl Criterion {
    /// Reads a criterion.
    pub(super) fn read(object: &Object<'_>) -> Option<Self> {
        let condition = object.required_text("condition");
        let context = context(object);
        let kind = object.get("type");
        let (kind, has_type) =
            (kind.map_or(Some("simple"), |node| kind_of(object, node)), kind.is_some());
        object.end();
        let (condition, kind) = (condition?, kind?);
        if kind != "simple" && context.is_none() && !object.has("context") {
            object.problem(format!("a condition of type `{kind}` needs a `context`"));
        }
        let test = match kind {
            "regex" => regex(condition).map(|regex| Some(Test::Regex(context?, regex))),
            "jsonpath" => json_path(condition).map(|path| Some(Test::JsonPath(context?, path))),
            _ => {
                if has_type || !object.has("context") {
                    Condition::parse(condition).map(|condition| Some(Test::Simple(condition)))
                } else {
                    Err("a `context` needs a `type`: `regex` or `jsonpath`".to_owned())
                }
            }
        };
        match test {
            Ok(test) => Some(Self { text: condition.to_owned(), test: test? }),
            Err(what) => {
                object.problem_at("condition", what);
                None
            }
        }
    }

    /// Whether it holds.
    pub(super) fn holds(&self, known: &dyn Known) -> bool {
        match &self.test {
            Test::Simple(condition) => condition.holds(known),
            Test::Regex(context, regex) => {
                let value = known.find(context);
                value.and_then(|value| text(&value)).is_some_and(|text| regex.is_match(&text))
            }
            Test::JsonPath(context, path) => {
                let value = known.find(context);
                value.is_some_and(|value| !path.query(&value).is_empty())
            }
        }
    }

    /// Shows each of its expressions.
    pub(super) fn each(&self, see: &mut dyn FnMut(&Expression)) {
        match &self.test {
            Test::Simple(condition) => condition.each(see),
            Test::Regex(context, _) | Test::JsonPath(context, _) => see(context),
        }
    }
}

impl fmt::Display for Criterion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn context(object: &Object<'_>) -> Option<Expression> {
    let text = object.text("context")?;
    Expression::parse(text).map_err(|what| object.problem_at("context", what)).ok()
}

/// The type of a condition; notes the reason for one that is refused.
fn kind_of<'a>(object: &Object<'_>, node: &'a Node) -> Option<&'a str> {
    let refused = |what: String| {
        object.file.problem(node.line, what);
        None
    };
    let xpath = "`xpath` is not supported: answers are JSON here; use `jsonpath`";
    match &node.kind {
        Kind::Text(text) => match text.as_str() {
            "simple" | "regex" | "jsonpath" => Some(text),
            "xpath" => refused(xpath.to_owned()),
            _ => refused(format!("`type`: expected `simple`, `regex` or `jsonpath`, got `{text}`")),
        },
        Kind::Object(_) => {
            let inner = Object::of(object.file, node, "`type`")?;
            let (kind, version) = (inner.required_text("type"), inner.required_text("version"));
            inner.end();
            match (kind?, version?) {
                ("xpath", _) => refused(xpath.to_owned()),
                ("jsonpath", version) => refused(format!(
                    "`jsonpath` of version `{version}` is not supported: write it as RFC 9535 says, \
                     with `type: jsonpath`"
                )),
                (other, _) => refused(format!("`type`: expected `jsonpath`, got `{other}`")),
            }
        }
        Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::List(_) => {
            refused(format!("`type`: expected a string, got {}", node.kind()))
        }
    }
}

fn regex(text: &str) -> Result<Regex, String> {
    let built = RegexBuilder::new(text).size_limit(PATTERN).build();
    built.map_err(|_| {
        format!("`{text}` is no regular expression (references and look-around are not supported)")
    })
}

fn json_path(text: &str) -> Result<JsonPath, String> {
    JsonPath::parse(text).map_err(|error| format!("`{text}` is no JSONPath (RFC 9535): {error}"))
}

/// A value as the text that patterns fit.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            Some(value.to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use serde_json::json;

    use super::{super::reader::File, *};

    /// Everything is this value.
    struct One(Value);

    impl Known for One {
        fn find(&self, _: &Expression) -> Option<Cow<'_, Value>> {
            Some(Cow::Borrowed(&self.0))
        }
    }

    fn read(value: Value) -> Result<Criterion, String> {
        let (file, node) = (File::new("x.yaml"), Node::of(value, 3));
        let criterion = Object::of(&file, &node, "criterion").and_then(|o| Criterion::read(&o));
        let problems = file.problems();
        match criterion {
            Some(criterion) if problems.is_empty() => Ok(criterion),
            _ => Err(problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")),
        }
    }

    #[test]
    fn the_three_types_hold_and_do_not() {
        let pets = json!({"pets": [{"name": "Rex", "age": 3}], "token": "t"});
        let cases = [
            (json!({"condition": "$response.body.token == 'T'"}), true),
            (json!({"condition": "$response.body == 7", "type": "simple"}), false),
            (json!({"context": "$response.body", "type": "regex", "condition": "Rex"}), true),
            (json!({"context": "$response.body", "type": "regex", "condition": "^Rex"}), false),
            (
                json!({"context": "$response.body", "type": "jsonpath", "condition": "$.pets[?@.age > 2]"}),
                true,
            ),
            (
                json!({"context": "$response.body", "type": "jsonpath", "condition": "$.pets[?@.age > 3]"}),
                false,
            ),
            (
                json!({"context": "$response.body", "type": "jsonpath", "condition": "$[?count(@.*) > 0]"}),
                true,
            ),
        ];
        for (criterion, expected) in cases {
            let read = read(criterion.clone()).unwrap();
            assert_eq!(read.holds(&One(pets.clone())), expected, "{criterion}");
        }
    }

    #[test]
    fn what_is_refused_has_a_reason() {
        let with =
            |kind: Value| json!({"context": "$response.body", "type": kind, "condition": "$.a"});
        let old = json!({"type": "jsonpath", "version": "draft-goessner-dispatch-jsonpath-00"});
        let cases = [
            (with("xpath".into()), "x.yaml:3: `xpath` is not supported"),
            (with(json!({"type": "xpath", "version": "xpath-30"})), "x.yaml:3: `xpath` is not"),
            (with(old), "x.yaml:3: `jsonpath` of version `draft-goessner"),
            (with("sql".into()), "x.yaml:3: `type`: expected"),
            (
                json!({"condition": "^200$", "type": "regex"}),
                "x.yaml:3: a condition of type `regex` needs",
            ),
            (json!({"condition": "x", "context": "$url"}), "x.yaml:3: a `context` needs a `type`"),
            (
                json!({"condition": "(", "type": "regex", "context": "$statusCode"}),
                "x.yaml:3: `(` is no",
            ),
            (
                json!({"condition": "$[", "type": "jsonpath", "context": "$statusCode"}),
                "x.yaml:3: `$[` is no",
            ),
            (json!({"type": "simple"}), "x.yaml:3: expected `condition`"),
        ];
        for (criterion, expected) in cases {
            let problem = read(criterion).unwrap_err();
            assert!(problem.starts_with(expected), "{problem}");
        }
    }
}
