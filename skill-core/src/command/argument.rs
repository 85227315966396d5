//! Arguments of a program, made of a caller's inputs: one template is one argument, and no shell
//! reads any of it.

use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// The longest argument, in bytes; the kernel takes 128 KiB.
const LONGEST: usize = 64 << 10;
/// The most arguments of one program.
const MOST: usize = 4_096;

/// Text with places for inputs: `--config={config}`. `{{` and `}}` are braces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Input(String),
}

impl Template {
    /// Reads a template.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("expected text with inputs such as `{{path}}`, got `{text}`");
        let (mut pieces, mut plain) = (Vec::new(), String::new());
        let mut rest = text.chars().peekable();
        while let Some(c) = rest.next() {
            match (c, rest.peek()) {
                ('{', Some('{')) | ('}', Some('}')) => {
                    rest.next();
                    plain.push(c);
                }
                ('}', _) => return Err(wrong()),
                ('{', _) => {
                    let (mut name, mut is_closed) = (String::new(), false);
                    for c in rest.by_ref() {
                        if c == '}' {
                            is_closed = true;
                            break;
                        }
                        name.push(c);
                    }
                    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
                    if !is_closed || name.is_empty() || !name.chars().all(is_word) {
                        return Err(wrong());
                    }
                    if !plain.is_empty() {
                        pieces.push(Piece::Text(std::mem::take(&mut plain)));
                    }
                    pieces.push(Piece::Input(name));
                }
                (c, _) => plain.push(c),
            }
        }
        if !plain.is_empty() || pieces.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Ok(Self(pieces))
    }

    /// The inputs that it names.
    pub(super) fn inputs(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Input(name) => Some(name.as_str()),
            Piece::Text(_) => None,
        })
    }

    /// The text that it always is, when it names no input.
    pub(super) fn literal(&self) -> Option<&str> {
        match self.0.as_slice() {
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The text with the values of `inputs`, all of which are there.
    pub(super) fn fill(&self, inputs: &Map<String, Value>) -> String {
        let piece = |piece: &Piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Input(name) => inputs.get(name).map(written).unwrap_or_default(),
        };
        self.0.iter().map(piece).collect()
    }

    /// The input that a value of begins the text.
    fn first(&self) -> Option<&str> {
        match self.0.first() {
            Some(Piece::Input(name)) => Some(name),
            Some(Piece::Text(_)) | None => None,
        }
    }
}

/// A value as a program reads it.
fn written(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other @ (Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::Array(_)
        | Value::Object(_)) => other.to_string(),
    }
}

/// Arguments that stand or fall together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    /// The input that has to be true; those of the templates have to be there.
    pub(super) when: Option<String>,
    pub(super) templates: Vec<Template>,
    /// `--` stands somewhere before: what follows is no option, however it begins.
    pub(super) is_free: bool,
}

/// Every argument of a program, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Arguments(Vec<Group>);

impl Arguments {
    /// Reads a list of arguments: a string is one argument, a list some that stand or fall
    /// together, a table `{ when = "input", give = [..] }` some that stand when the input is true.
    pub(super) fn parse(value: &Value) -> Result<Self, String> {
        let shape = "`arguments`: expected strings, lists of strings, and tables such as \
                     `{ when = \"verbose\", give = [\"--verbose\"] }`";
        let items = value.as_array().ok_or(shape)?;
        let (mut groups, mut is_free) = (Vec::new(), false);
        for item in items {
            let (when, texts) = match item {
                Value::String(_) => (None, vec![item]),
                Value::Array(texts) => (None, texts.iter().collect()),
                Value::Object(table) => {
                    let when = table.get("when").and_then(Value::as_str).ok_or(shape)?;
                    let give = table.get("give").and_then(Value::as_array).ok_or(shape)?;
                    if table.len() > 2 {
                        return Err(shape.into());
                    }
                    (Some(when.to_owned()), give.iter().collect())
                }
                Value::Null | Value::Bool(_) | Value::Number(_) => return Err(shape.into()),
            };
            let templates = texts.into_iter().map(|text| match text.as_str() {
                Some(text) => Template::parse(text).map_err(|what| format!("`arguments`: {what}")),
                None => Err(shape.to_owned()),
            });
            let templates = templates.collect::<Result<Vec<_>, String>>()?;
            let is_separator = when.is_none()
                && matches!(templates.as_slice(), [one] if one.literal() == Some("--"));
            groups.push(Group { when, templates, is_free });
            is_free |= is_separator;
        }
        Ok(Self(groups))
    }

    /// The inputs that they name.
    pub(super) fn inputs(&self) -> impl Iterator<Item = &str> {
        self.0.iter().flat_map(|group| {
            let templates = group.templates.iter().flat_map(Template::inputs);
            templates.chain(group.when.as_deref())
        })
    }

    /// The arguments for these inputs. A group whose inputs are not all there is left out; one
    /// with a list is repeated for each of its items.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for a value that would be read
    /// as an option, that no argument can hold, or that is too long.
    pub(super) fn fill(&self, inputs: &Map<String, Value>) -> Result<Vec<String>> {
        let mut filled = Vec::new();
        for group in &self.0 {
            let is_on = |name: &String| inputs.get(name) == Some(&Value::Bool(true));
            let has = |name: &str| inputs.get(name).is_some_and(|value| !value.is_null());
            let mut named = group.templates.iter().flat_map(Template::inputs);
            if !group.when.as_ref().is_none_or(is_on) || !named.all(has) {
                continue;
            }
            for inputs in rounds(group, inputs) {
                for template in &group.templates {
                    check(group, template, &inputs)?;
                    filled.push(template.fill(&inputs));
                }
            }
            if filled.len() > MOST {
                return Err(Error::invalid(format!("expected at most {MOST} arguments")));
            }
        }
        Ok(filled)
    }
}

/// The inputs of each repetition of a group: one for each item of its list, or one.
fn rounds(group: &Group, inputs: &Map<String, Value>) -> Vec<Map<String, Value>> {
    let named = group.templates.iter().flat_map(Template::inputs);
    let list = named.filter_map(|name| Some((name, inputs.get(name)?.as_array()?))).next();
    let Some((name, items)) = list else { return vec![inputs.clone()] };
    let round = |item: &Value| {
        let mut round = inputs.clone();
        round.insert(name.to_owned(), item.clone());
        round
    };
    items.iter().map(round).collect()
}

fn check(group: &Group, template: &Template, inputs: &Map<String, Value>) -> Result<()> {
    for name in template.inputs() {
        let text = inputs.get(name).map(written).unwrap_or_default();
        let issue = if text.contains('\0') {
            "expected text without NUL"
        } else if text.len() > LONGEST {
            "expected at most 64 KiB"
        } else if !group.is_free && template.first() == Some(name) && text.starts_with('-') {
            "expected a value that does not begin with `-`: it would be read as an option"
        } else {
            continue;
        };
        return Err(Error::invalid("the program cannot be given this value").detail(name, issue));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn filled(arguments: &Value, inputs: &Value) -> Result<Vec<String>> {
        let inputs = inputs.as_object().unwrap();
        Arguments::parse(arguments).unwrap().fill(inputs)
    }

    #[test]
    fn one_template_is_one_argument_whatever_the_value_holds() {
        let value = "a b; rm -rf / $(id) `id` \"'\n*";
        let arguments = filled(&json!(["scan", "--x={x}", "{x}"]), &json!({"x": value})).unwrap();
        assert_eq!(arguments, ["scan", &format!("--x={value}"), value]);
    }

    #[test]
    fn a_value_never_becomes_an_option() {
        for value in ["-o", "--output=/etc/passwd", "-"] {
            for arguments in [json!(["{x}"]), json!(["--config", "{x}"]), json!([["-c", "{x}"]])] {
                let refused = filled(&arguments, &json!({"x": value})).unwrap_err();
                assert_eq!(refused.field_details()[0].field, "x");
            }
            let inputs = json!({"x": value});
            assert_eq!(filled(&json!(["--", "{x}"]), &inputs).unwrap(), ["--", value]);
            let joined = filled(&json!(["--config={x}"]), &inputs).unwrap();
            assert_eq!(joined, [format!("--config={value}")]);
        }
        assert!(filled(&json!(["{x}"]), &json!({"x": "a\0b"})).is_err());
    }

    #[test]
    fn groups_are_left_out_repeated_and_switched() {
        let arguments = json!([
            ["--exclude", "{exclude}"],
            { "when": "fix", "give": ["--fix"] },
            "{{literal}}",
            "{path}",
        ]);
        let none = filled(&arguments, &json!({"fix": false, "path": "x"})).unwrap();
        assert_eq!(none, ["{literal}", "x"]);
        let all = json!({"fix": true, "path": "x", "exclude": ["a", "b"]});
        let all = filled(&arguments, &all).unwrap();
        assert_eq!(all, ["--exclude", "a", "--exclude", "b", "--fix", "{literal}", "x"]);
    }

    #[test]
    fn what_is_no_template_is_refused() {
        for text in ["{", "}", "{}", "{a b}", "{a", "a}b"] {
            assert!(Template::parse(text).is_err(), "{text}");
        }
        for arguments in [json!("x"), json!([1]), json!([{"when": "x"}]), json!([["{"]])] {
            assert!(Arguments::parse(&arguments).is_err(), "{arguments}");
        }
    }
}
