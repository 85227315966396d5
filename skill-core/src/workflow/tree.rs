//! YAML and JSON as one tree that knows its lines.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value, value::RawValue};
use serde_saphyr::Spanned;

use crate::{declaration::Problem, json};

/// The most bytes of a document.
const LARGEST: usize = 1 << 20;
/// The most values of a document, what its aliases stand for included.
const NODES: usize = 100_000;

/// A value, and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    /// The line, from 1.
    pub(super) line: usize,
    pub(super) kind: Kind,
}

/// What a value is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Node>),
    Object(Vec<Member>),
}

/// A member of an object.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Member {
    pub(super) name: String,
    /// The line of its name.
    pub(super) line: usize,
    pub(super) value: Node,
}

impl Node {
    /// Reads a document: JSON when the name of its file says so, YAML otherwise.
    pub(super) fn parse(file: &str, text: &str) -> Result<Self, Problem> {
        let problem = |line: usize, what: String| Problem { file: file.to_owned(), line, what };
        if text.len() > LARGEST {
            return Err(problem(1, format!("expected at most {LARGEST} bytes")));
        }
        let is_json = std::path::Path::new(file)
            .extension()
            .is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
        if is_json {
            from_json(text).map_err(|(line, what)| problem(line, what))
        } else {
            from_yaml(text).map_err(|(line, what)| problem(line, what))
        }
    }

    /// What kind of value it is, as people call it.
    pub(super) fn kind(&self) -> &'static str {
        match self.kind {
            Kind::Null => "null",
            Kind::Bool(_) => "true or false",
            Kind::Number(_) => "a number",
            Kind::Text(_) => "a string",
            Kind::List(_) => "a list",
            Kind::Object(_) => "an object",
        }
    }

    /// The string that it is.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Text(text) => Some(text),
            Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::List(_) | Kind::Object(_) => None,
        }
    }

    /// The member of this name.
    pub(super) fn get(&self, name: &str) -> Option<&Node> {
        self.members().iter().find(|member| member.name == name).map(|member| &member.value)
    }

    /// Its members; none when it is no object.
    pub(super) fn members(&self) -> &[Member] {
        match &self.kind {
            Kind::Object(members) => members,
            Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Text(_) | Kind::List(_) => &[],
        }
    }

    /// Its items; none when it is no list.
    pub(super) fn items(&self) -> &[Node] {
        match &self.kind {
            Kind::List(items) => items,
            Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Text(_) | Kind::Object(_) => &[],
        }
    }

    /// The value without its lines.
    pub(super) fn json(&self) -> Value {
        match &self.kind {
            Kind::Null => Value::Null,
            Kind::Bool(flag) => Value::Bool(*flag),
            Kind::Number(number) => Value::Number(number.clone()),
            Kind::Text(text) => Value::String(text.clone()),
            Kind::List(items) => Value::Array(items.iter().map(Self::json).collect()),
            Kind::Object(members) => Value::Object(
                members.iter().map(|member| (member.name.clone(), member.value.json())).collect(),
            ),
        }
    }

    /// A value that came without lines, as if it stood in one.
    pub(super) fn of(value: Value, line: usize) -> Self {
        let kind = match value {
            Value::Null => Kind::Null,
            Value::Bool(flag) => Kind::Bool(flag),
            Value::Number(number) => Kind::Number(number),
            Value::String(text) => Kind::Text(text),
            Value::Array(items) => {
                Kind::List(items.into_iter().map(|item| Self::of(item, line)).collect())
            }
            Value::Object(members) => Kind::Object(Self::of_members(members, line)),
        };
        Self { line, kind }
    }

    fn of_members(members: Map<String, Value>, line: usize) -> Vec<Member> {
        let member = |(name, value)| Member { name, line, value: Self::of(value, line) };
        members.into_iter().map(member).collect()
    }
}

fn from_yaml(text: &str) -> Result<Node, (usize, String)> {
    let budget = serde_saphyr::budget! { max_nodes: NODES, max_depth: 64, max_documents: 1 };
    let limits = serde_saphyr::alias_limits! { max_total_replayed_events: NODES };
    let options = serde_saphyr::options! {
        strict_booleans: true,
        budget: budget,
        alias_limits: limits,
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options::<Node>(text, options).map_err(|error| {
        let line = error.location().map_or(1, |location| line(location.line()));
        let text = error.to_string();
        let what = text.split('\n').next().unwrap_or_default();
        (line, format!("expected YAML: {what}"))
    })
}

fn line(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX).max(1)
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Spanned { value, referenced, .. } = Spanned::<Kind>::deserialize(deserializer)?;
        Ok(Self { line: line(referenced.line()), kind: value })
    }
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Anything)
    }
}

struct Anything;

impl<'de> Visitor<'de> for Anything {
    type Value = Kind;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value that JSON has")
    }

    fn visit_unit<E>(self) -> Result<Kind, E> {
        Ok(Kind::Null)
    }

    fn visit_none<E>(self) -> Result<Kind, E> {
        Ok(Kind::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Kind, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Kind, E> {
        Ok(Kind::Bool(flag))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Kind, E> {
        Ok(Kind::Number(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Kind, E> {
        Ok(Kind::Number(number.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Kind, E> {
        let number = Number::from_f64(number);
        number.map(Kind::Number).ok_or_else(|| E::custom("a number that JSON has"))
    }

    fn visit_str<E>(self, text: &str) -> Result<Kind, E> {
        Ok(Kind::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Kind, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Kind::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Kind, A::Error> {
        let mut list = Vec::new();
        while let Some(name) = members.next_key::<Spanned<String>>()? {
            let value = members.next_value()?;
            let line = line(name.referenced.line());
            list.push(Member { name: name.value, line, value });
        }
        Ok(Kind::Object(list))
    }
}

fn from_json(text: &str) -> Result<Node, (usize, String)> {
    let limits = json::Limits { nodes: NODES, ..json::Limits::CALL };
    let lines = Lines::of(text);
    json::check(text.as_bytes(), &limits).map_err(|problem| {
        let at = problem.byte().unwrap_or_default();
        (lines.line(at), format!("expected JSON: {problem}"))
    })?;
    let unreadable = |_| (1, "expected JSON that can be read".to_owned());
    let raw = serde_json::from_str::<&RawValue>(text).map_err(unreadable)?;
    lines.node(raw).map_err(unreadable)
}

/// Where the lines of a text begin.
struct Lines<'a> {
    text: &'a str,
    ends: Vec<usize>,
}

impl<'a> Lines<'a> {
    fn of(text: &'a str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        Self { text, ends: ends.map(|(at, _)| at).collect() }
    }

    fn line(&self, at: usize) -> usize {
        self.ends.partition_point(|end| *end < at) + 1
    }

    /// The value that `raw`, which is a part of the text, says.
    fn node(&self, raw: &'a RawValue) -> serde_json::Result<Node> {
        let part = raw.get();
        let at = (part.as_ptr() as usize).saturating_sub(self.text.as_ptr() as usize);
        let line = self.line(at);
        let kind = match part.as_bytes().first() {
            Some(b'[') => {
                let items = serde_json::from_str::<Vec<&RawValue>>(part)?;
                Kind::List(items.into_iter().map(|item| self.node(item)).collect::<Result<_, _>>()?)
            }
            Some(b'{') => {
                let Members(members) = serde_json::from_str(part)?;
                let member = |(name, raw)| {
                    let value = self.node(raw)?;
                    Ok(Member { name, line: value.line, value })
                };
                Kind::Object(members.into_iter().map(member).collect::<serde_json::Result<_>>()?)
            }
            _ => Node::of(serde_json::from_str(part)?, line).kind,
        };
        Ok(Node { line, kind })
    }
}

/// The members of an object in their order.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Vec<(String, &'de RawValue)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(Reader).map(Members)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn yaml_and_json_are_one_tree_with_lines() {
        let yaml = "a: 1\nb:\n  - on\n  - x: ~\n    y: 1.5\n";
        let json = "{\"a\": 1,\n\"b\": [\n\"on\",\n{\"x\": null,\n\"y\": 1.5}]}";
        for (file, text) in [("x.yaml", yaml), ("x.json", json)] {
            let tree = Node::parse(file, text).unwrap();
            assert_eq!(tree.json(), json!({"a": 1, "b": ["on", {"x": null, "y": 1.5}]}), "{file}");
            let last = &tree.get("b").unwrap().items()[1].members()[1];
            assert_eq!((last.name.as_str(), last.line), ("y", 5), "{file}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_named_by_its_line() {
        let cases = [
            ("x.yaml", "a: 1\nb: [\n"),
            ("x.yaml", "a: 1\na: 2\n"),
            ("x.json", "{\"a\": 1,\n\"a\": 2}"),
            ("x.json", "{\"a\": 1,\nb: 2}"),
        ];
        for (file, text) in cases {
            let problem = Node::parse(file, text).unwrap_err();
            assert!(problem.line >= 2, "{problem}");
        }
        let bomb = (0..9).fold("a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned(), |text, n| {
            let many = vec![format!("*a{n}"); 9].join(", ");
            format!("{text}a{}: &a{} [{many}]\n", n + 1, n + 1)
        });
        assert!(Node::parse("x.yaml", &bomb).is_err());
    }
}
