//! Outputs of a tool: values picked out of a service's answer, without building the rest of it.

use std::{borrow::Cow, fmt};

use bytes::Bytes;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value, json, value::RawValue};

use crate::call::Data;

/// What an output is made of. Pointers are JSON Pointers (RFC 6901); the empty one is the whole.
///
/// ```
/// use skill_core::tool::Pick;
/// assert_ne!(Pick::At("/items".into()), Pick::Count("/items".into()));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pick {
    /// The value there; null when there is none.
    At(String),
    /// The number of items of the list there; null when there is no list.
    Count(String),
    /// Each item of the list there as an object of these members: a name, and a pointer into the
    /// item. Null when there is no list.
    Each(String, Vec<(String, String)>),
}

impl Pick {
    fn pointer(&self) -> &str {
        match self {
            Self::At(pointer) | Self::Count(pointer) | Self::Each(pointer, _) => pointer,
        }
    }

    /// Whether its pointers are such.
    pub fn is_pointer(&self) -> bool {
        let inner: &[(String, String)] = match self {
            Self::At(_) | Self::Count(_) => &[],
            Self::Each(_, members) => members,
        };
        let pointers = inner.iter().map(|(_, pointer)| pointer.as_str());
        pointers.chain([self.pointer()]).all(|pointer| {
            let escapes = pointer.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
            escapes && (pointer.is_empty() || pointer.starts_with('/'))
        })
    }

    /// The JSON of the output.
    fn of(&self, body: &str) -> String {
        let at = follow(body, self.pointer());
        let found = match self {
            Self::At(_) => at.map(str::to_owned),
            Self::Count(_) => at.and_then(count).map(|count| count.to_string()),
            Self::Each(_, members) => at.and_then(|list| each(list, members)),
        };
        found.unwrap_or_else(|| "null".to_owned())
    }
}

/// The value that a pointer leads to.
fn follow<'a>(body: &'a str, pointer: &str) -> Option<&'a str> {
    let steps = pointer.split('/').skip(1);
    let mut steps = steps.map(|step| step.replace("~1", "/").replace("~0", "~"));
    steps.try_fold(body, |text, step| member(text, &step))
}

/// A list whose items have only these members; `None` when it is none.
fn each(list: &str, members: &[(String, String)]) -> Option<String> {
    let items = serde_json::from_str::<Vec<&RawValue>>(list).ok()?;
    let item = |item: &&RawValue| {
        let parts = members.iter().map(|(name, at)| (name, follow(item.get(), at)));
        object(parts.map(|(name, value)| (name.as_str(), value.unwrap_or("null"))))
    };
    Some(format!("[{}]", items.iter().map(item).collect::<Vec<_>>().join(",")))
}

/// The JSON of an object; its values are JSON already.
fn object<'a>(members: impl Iterator<Item = (&'a str, impl AsRef<str>)>) -> String {
    let mut made = String::from("{");
    for (name, value) in members {
        if made.len() > 1 {
            made.push(',');
        }
        made.push_str(&Value::from(name).to_string());
        made.push(':');
        made.push_str(value.as_ref());
    }
    made.push('}');
    made
}

/// One output.
///
/// ```
/// use skill_core::tool::{Output, Pick};
/// let count = Output { name: "count".into(), pick: Pick::Count("".into()), schema: serde_json::json!({}) };
/// assert!(count.pick.is_pointer());
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Output {
    /// Its name.
    pub name: String,
    /// What it is made of.
    pub pick: Pick,
    /// What it looks like.
    pub schema: Value,
}

/// What a tool picks out of an answer.
///
/// ```
/// use skill_core::{call::Data, tool::{Output, Outputs, Pick}};
/// let output = |name: &str, pick| Output { name: name.into(), pick, schema: true.into() };
/// let outputs = Outputs::new([
///     output("prs", Pick::At(String::new())),
///     output("count", Pick::Count(String::new())),
/// ]);
/// let answer = Data::Json("[{\"number\":1.50}]".into());
/// let picked = Data::Json("{\"prs\":[{\"number\":1.50}],\"count\":1}".into());
/// assert_eq!(outputs.project(&answer), picked);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Outputs(Vec<Output>);

impl Outputs {
    /// Returns these outputs, in this order.
    pub fn new(outputs: impl IntoIterator<Item = Output>) -> Self {
        Self(outputs.into_iter().collect())
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|output| output.name.as_str())
    }

    /// The schema of what [`Outputs::project`] returns.
    pub fn schema(&self) -> Value {
        let properties = self.0.iter().map(|output| (output.name.clone(), output.schema.clone()));
        json!({"type": "object", "properties": properties.collect::<Map<_, _>>()})
    }

    /// Picks the outputs out of an answer. What is picked stays as it was written, byte for byte.
    /// An empty answer gives null for each; text and binary data are passed on as they are.
    #[must_use]
    pub fn project(&self, data: &Data) -> Data {
        let body = match data {
            Data::Empty => "null",
            Data::Json(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => text,
                Err(_) => return data.clone(),
            },
            Data::Text(_) | Data::Binary { .. } => return data.clone(),
        };
        let outputs = self.0.iter().map(|output| (output.name.as_str(), output.pick.of(body)));
        Data::Json(Bytes::from(object(outputs)))
    }
}

/// The value of the member or the item that `step` names.
fn member<'a>(text: &'a str, step: &str) -> Option<&'a str> {
    let mut reader = serde_json::Deserializer::from_str(text);
    Member(step).deserialize(&mut reader).ok().flatten().map(RawValue::get)
}

/// How many items a list has; `None` for anything else.
fn count(text: &str) -> Option<usize> {
    let mut reader = serde_json::Deserializer::from_str(text);
    Count.deserialize(&mut reader).ok()
}

/// Finds one member, and builds none of the others.
struct Member<'s>(&'s str);

impl<'de> DeserializeSeed<'de> for Member<'_> {
    type Value = Option<&'de RawValue>;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Self::Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Member<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or a list")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(key) = map.next_key::<Cow<'_, str>>()? {
            if key == self.0 {
                found = Some(map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        // "01" is no index (RFC 6901 section 4).
        let is_index = self.0 == "0" || !self.0.starts_with('0');
        let wanted = self.0.parse::<usize>().ok().filter(|_| is_index && !self.0.starts_with('+'));
        let (mut at, mut found) = (0, None);
        while let Some(item) = items.next_element::<&RawValue>()? {
            if Some(at) == wanted {
                found = Some(item);
            }
            at += 1;
        }
        Ok(found)
    }
}

/// Counts the items of a list, and builds none of them.
struct Count;

impl<'de> DeserializeSeed<'de> for Count {
    type Value = usize;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<usize, D::Error> {
        reader.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Count {
    type Value = usize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<usize, A::Error> {
        let mut count = 0;
        while items.next_element::<IgnoredAny>()?.is_some() {
            count += 1;
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_lead_through_objects_and_lists() {
        let body = r#"{"a/b": {"~": [1, {"c": 2.50}]}, "n": null, "items": [1, 2, 3]}"#;
        let at = |pointer: &str| Pick::At(pointer.to_owned()).of(body);
        assert_eq!(at("/a~1b/~0/1/c"), "2.50");
        assert_eq!(at(""), body);
        for nowhere in ["/x", "/items/3", "/items/01", "/items/-", "/items/+1", "/n/x", "/items/a"]
        {
            assert_eq!(at(nowhere), "null", "{nowhere}");
        }
        let count = |pointer: &str| Pick::Count(pointer.to_owned()).of(body);
        assert_eq!(
            (count("/items"), count("/n"), count("")),
            ("3".into(), "null".into(), "null".into())
        );
    }

    #[test]
    fn items_are_cut_down_to_the_members_that_are_asked_for() {
        let body = r#"{"items": [{"n": 1.50, "user": {"login": "a\"b"}, "x": 1}, {}, 7]}"#;
        let members = [("n", "/n"), ("author", "/user/login")];
        let members = members.map(|(name, at)| (name.to_owned(), at.to_owned())).to_vec();
        let picked = Pick::Each("/items".to_owned(), members.clone()).of(body);
        let nothing = r#"{"n":null,"author":null}"#;
        assert_eq!(picked, format!(r#"[{{"n":1.50,"author":"a\"b"}},{nothing},{nothing}]"#));
        assert_eq!(Pick::Each(String::new(), members).of(body), "null");
    }

    #[test]
    fn pointers_that_are_none_are_known() {
        for text in ["a", "/a~", "/a~2", "~0"] {
            assert!(!Pick::At(text.to_owned()).is_pointer(), "{text}");
        }
        assert!(Pick::Count("/a~0/b~1".to_owned()).is_pointer());
        let inner = vec![("a".to_owned(), "a".to_owned())];
        assert!(!Pick::Each(String::new(), inner).is_pointer());
    }

    #[test]
    fn what_is_no_json_is_passed_on() {
        let outputs = Outputs::new([Output {
            name: "all".to_owned(),
            pick: Pick::At(String::new()),
            schema: json!({}),
        }]);
        let text = Data::Text("plain".to_owned());
        assert_eq!(outputs.project(&text), text);
        assert_eq!(outputs.project(&Data::Empty), Data::Json("{\"all\":null}".into()));
    }
}
