//! Values with runtime expressions in them: parameters, payloads, replacements.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::{
    expression::Expression,
    tree::{Kind, Node},
};

/// What knows the values of expressions.
pub(super) trait Known {
    /// The value, when there is one.
    fn find(&self, expression: &Expression) -> Option<Cow<'_, Value>>;
}

/// A value that is filled in when it is needed.
///
/// An expression that has no value at that time leaves out what it stands for: the member, the item,
/// the text that it is embedded in; and an object or a list of which nothing is left.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Fill {
    Literal(Value),
    Expression(Expression),
    Text(Vec<Piece>),
    List(Vec<Fill>),
    Object(Vec<(String, Fill)>),
}

/// A piece of a text.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Piece {
    Literal(String),
    Value(Expression),
}

impl Fill {
    /// Reads a value; `wrong` hears what is wrong with it, and on which line.
    pub(super) fn read(node: &Node, wrong: &mut dyn FnMut(usize, String)) -> Self {
        match &node.kind {
            Kind::Null | Kind::Bool(_) | Kind::Number(_) => Self::Literal(node.json()),
            Kind::Text(text) => match Self::parse(text) {
                Ok(fill) => fill,
                Err(what) => {
                    wrong(node.line, what);
                    Self::Literal(Value::Null)
                }
            },
            Kind::List(items) => {
                let items = items.iter().map(|item| Self::read(item, wrong)).collect::<Vec<_>>();
                let literal = items.iter().map(Self::literal).collect::<Option<Vec<_>>>();
                let literal = literal.map(|items| items.into_iter().cloned().collect());
                literal.map_or(Self::List(items), |items| Self::Literal(Value::Array(items)))
            }
            Kind::Object(members) => {
                let members = members
                    .iter()
                    .map(|member| (member.name.clone(), Self::read(&member.value, wrong)))
                    .collect::<Vec<_>>();
                let literal = members
                    .iter()
                    .map(|(name, value)| Some((name.clone(), value.literal()?.clone())))
                    .collect::<Option<Map<_, _>>>();
                literal.map_or(Self::Object(members), |all| Self::Literal(Value::Object(all)))
            }
        }
    }

    /// Reads a text: a whole expression keeps the type of its value, in braces too; one among other
    /// text becomes text.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if Expression::is_meant(text) {
            return Expression::parse(text).map(Self::Expression);
        }
        let (mut pieces, mut rest, mut literal) = (Vec::new(), text, String::new());
        while let Some((before, after)) = rest.split_once("{$") {
            let Some((inner, after)) = after.split_once('}') else {
                return Err(format!("`{text}`: the brace before `$` is not closed"));
            };
            literal.push_str(before);
            if !literal.is_empty() {
                pieces.push(Piece::Literal(std::mem::take(&mut literal)));
            }
            pieces.push(Piece::Value(Expression::parse(&format!("${inner}"))?));
            rest = after;
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal));
        }
        Ok(match pieces.as_mut_slice() {
            [] => Self::Literal(Value::String(String::new())),
            [Piece::Literal(text)] => Self::Literal(Value::String(std::mem::take(text))),
            [Piece::Value(expression)] => Self::Expression(expression.clone()),
            _ => Self::Text(pieces),
        })
    }

    /// The value, when it holds no expression.
    pub(super) fn literal(&self) -> Option<&Value> {
        match self {
            Self::Literal(value) => Some(value),
            Self::Expression(_) | Self::Text(_) | Self::List(_) | Self::Object(_) => None,
        }
    }

    /// The value as of now.
    pub(super) fn fill(&self, known: &dyn Known) -> Option<Value> {
        match self {
            Self::Literal(value) => Some(value.clone()),
            Self::Expression(expression) => known.find(expression).map(Cow::into_owned),
            Self::Text(pieces) => text(pieces, known).map(Value::String),
            Self::List(items) => {
                let made = items.iter().filter_map(|item| item.fill(known)).collect::<Vec<_>>();
                (!made.is_empty()).then_some(Value::Array(made))
            }
            Self::Object(members) => {
                let made = members.iter();
                let made =
                    made.filter_map(|(name, value)| Some((name.clone(), value.fill(known)?)));
                let made = made.collect::<Map<_, _>>();
                (!made.is_empty()).then_some(Value::Object(made))
            }
        }
    }

    /// Shows each of its expressions.
    pub(super) fn each(&self, see: &mut dyn FnMut(&Expression)) {
        match self {
            Self::Literal(_) => {}
            Self::Expression(expression) => see(expression),
            Self::Text(pieces) => pieces.iter().for_each(|piece| match piece {
                Piece::Value(expression) => see(expression),
                Piece::Literal(_) => {}
            }),
            Self::List(items) => items.iter().for_each(|item| item.each(see)),
            Self::Object(members) => members.iter().for_each(|(_, value)| value.each(see)),
        }
    }
}

fn text(pieces: &[Piece], known: &dyn Known) -> Option<String> {
    let mut made = String::new();
    for piece in pieces {
        match piece {
            Piece::Literal(text) => made.push_str(text),
            Piece::Value(expression) => match known.find(expression)?.as_ref() {
                Value::Null => return None,
                Value::String(text) => made.push_str(text),
                value
                @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
                    made.push_str(&value.to_string());
                }
            },
        }
    }
    Some(made)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Knows its members as inputs.
    struct Inputs(Value);

    impl Known for Inputs {
        fn find(&self, expression: &Expression) -> Option<Cow<'_, Value>> {
            let Expression::Input(place) = expression else { return None };
            self.0.get(&place.name)?.pointer(&place.pointer).map(Cow::Borrowed)
        }
    }

    fn filled(value: Value) -> Option<Value> {
        let inputs = Inputs(json!({"n": 3, "s": "a\"b", "none": null, "o": {"x": [1]}}));
        let mut problems = Vec::new();
        let fill = Fill::read(&Node::of(value, 1), &mut |_, what| problems.push(what));
        assert!(problems.is_empty(), "{problems:?}");
        fill.fill(&inputs)
    }

    #[test]
    fn a_whole_expression_keeps_the_type_and_an_embedded_one_is_text() {
        let cases = [
            (json!("$inputs.n"), Some(json!(3))),
            (json!("{$inputs.n}"), Some(json!(3))),
            (json!("n={$inputs.n}"), Some(json!("n=3"))),
            (json!("{$inputs.s}/{$inputs.n}"), Some(json!("a\"b/3"))),
            (json!("{$inputs.o#/x}!"), Some(json!("[1]!"))),
            (json!("{x} {"), Some(json!("{x} {"))),
            (json!("$5"), Some(json!("$5"))),
            (json!("$inputs.none"), Some(json!(null))),
            (
                json!(["$inputs.n", "$inputs.gone", {"a": "$inputs.o#/x/0"}]),
                Some(json!([3, {"a": 1}])),
            ),
        ];
        for (value, expected) in cases {
            assert_eq!(filled(value.clone()), expected, "{value}");
        }
    }

    #[test]
    fn what_has_no_value_is_left_out_with_what_holds_nothing_else() {
        let value = json!({
            "a": "$inputs.gone",
            "b": [{"$gte": {"day": "$inputs.gone"}}, {"$lte": {"day": "$inputs.n"}}],
            "c": "from {$inputs.none}",
            "d": {},
        });
        assert_eq!(filled(value), Some(json!({"b": [{"$lte": {"day": 3}}], "d": {}})));
        assert_eq!(filled(json!({"a": ["$inputs.gone"]})), None);
    }

    #[test]
    fn what_is_meant_as_an_expression_has_to_be_one() {
        for text in ["$input.x", "a {$inputs} b", "{$inputs.a", "$steps.a"] {
            assert!(Fill::parse(text).is_err(), "{text}");
        }
    }
}
