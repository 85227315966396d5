//! Simple conditions: literals, operators and runtime expressions.
//!
//! | Grammar | |
//! |---|---|
//! | condition | and-terms between `\|\|` |
//! | and-term | terms between `&&` |
//! | term | `!` and a term, or an operand, or two with a comparison between them |
//! | operand | a literal, an expression with `[0]` and `.name` behind it, or a condition in `( )` |
//!
//! Comparisons are loose, as the specification says: strings are compared without case, a number
//! and a string that reads as one are numbers. What has no value counts as null.

use std::{borrow::Cow, cmp::Ordering};

use serde_json::Value;

use super::{
    expression::{Expression, Part},
    fill::Known,
};

/// How deep a condition may nest.
const DEEPEST: usize = 32;

/// A simple condition.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Condition {
    Any(Vec<Condition>),
    All(Vec<Condition>),
    Not(Box<Condition>),
    Is(Operand),
    Compare(Operand, Operator, Operand),
}

/// One side of a comparison.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Operand {
    Literal(Value),
    Value(Expression, Vec<Member>),
    Condition(Box<Condition>),
}

/// What is taken out of a value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Member {
    Index(usize),
    Name(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

const OPERATORS: [(&str, Operator); 6] = [
    ("==", Operator::Equal),
    ("!=", Operator::Unequal),
    ("<=", Operator::LessOrEqual),
    (">=", Operator::GreaterOrEqual),
    ("<", Operator::Less),
    (">", Operator::Greater),
];

impl Condition {
    /// Reads a condition.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let inner = text.trim();
        // The specification writes some of its own in braces.
        let braced = inner.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        let mut reader = Reader { rest: braced.unwrap_or(inner), depth: 0 };
        let read = reader.any().and_then(|condition| match reader.rest.trim() {
            "" => Ok(condition),
            rest => Err(format!("expected an operator before `{rest}`")),
        });
        read.map_err(|what| format!("the condition `{text}`: {what}"))
    }

    /// Whether it holds.
    pub(super) fn holds(&self, known: &dyn Known) -> bool {
        match self {
            Self::Any(terms) => terms.iter().any(|term| term.holds(known)),
            Self::All(terms) => terms.iter().all(|term| term.holds(known)),
            Self::Not(term) => !term.holds(known),
            Self::Is(operand) => is_true(&operand.value(known)),
            Self::Compare(left, operator, right) => {
                operator.holds(&left.value(known), &right.value(known))
            }
        }
    }

    /// Shows each of its expressions.
    pub(super) fn each(&self, see: &mut dyn FnMut(&Expression)) {
        match self {
            Self::Any(terms) | Self::All(terms) => terms.iter().for_each(|term| term.each(see)),
            Self::Not(term) => term.each(see),
            Self::Is(operand) => operand.each(see),
            Self::Compare(left, _, right) => {
                left.each(see);
                right.each(see);
            }
        }
    }
}

impl Operand {
    fn value<'a>(&'a self, known: &'a dyn Known) -> Cow<'a, Value> {
        match self {
            Self::Literal(value) => Cow::Borrowed(value),
            Self::Condition(condition) => Cow::Owned(Value::Bool(condition.holds(known))),
            Self::Value(expression, members) => match known.find(expression) {
                None => Cow::Owned(Value::Null),
                Some(Cow::Borrowed(value)) => {
                    taken(value, members).map_or(Cow::Owned(Value::Null), Cow::Borrowed)
                }
                Some(Cow::Owned(value)) => {
                    Cow::Owned(taken(&value, members).cloned().unwrap_or_default())
                }
            },
        }
    }

    fn each(&self, see: &mut dyn FnMut(&Expression)) {
        match self {
            Self::Literal(_) => {}
            Self::Value(expression, _) => see(expression),
            Self::Condition(condition) => condition.each(see),
        }
    }
}

fn taken<'a>(value: &'a Value, members: &[Member]) -> Option<&'a Value> {
    members.iter().try_fold(value, |value, member| match member {
        Member::Index(at) => value.get(at),
        Member::Name(name) => value.get(name),
    })
}

fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(flag) => *flag,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(_) | Value::Object(_) => true,
    }
}

impl Operator {
    fn holds(self, left: &Value, right: &Value) -> bool {
        let order = || order(left, right);
        match self {
            Self::Equal => is_equal(left, right),
            Self::Unequal => !is_equal(left, right),
            Self::Less => order() == Some(Ordering::Less),
            Self::LessOrEqual => matches!(order(), Some(Ordering::Less | Ordering::Equal)),
            Self::Greater => order() == Some(Ordering::Greater),
            Self::GreaterOrEqual => matches!(order(), Some(Ordering::Greater | Ordering::Equal)),
        }
    }
}

fn is_equal(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Bool(flag), Value::String(text)) | (Value::String(text), Value::Bool(flag)) => {
            text.eq_ignore_ascii_case(if *flag { "true" } else { "false" })
        }
        _ => left == right || order(left, right) == Some(Ordering::Equal),
    }
}

/// How numbers and strings stand to one another; nothing else has an order.
fn order(left: &Value, right: &Value) -> Option<Ordering> {
    if let (Value::String(left), Value::String(right)) = (left, right) {
        return Some(left.to_lowercase().cmp(&right.to_lowercase()));
    }
    number(left)?.partial_cmp(&number(right)?)
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok().filter(|number: &f64| number.is_finite()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

struct Reader<'a> {
    rest: &'a str,
    depth: usize,
}

impl<'a> Reader<'a> {
    /// Takes `word` when it comes next.
    fn takes(&mut self, word: &str) -> bool {
        let rest = self.rest.trim_start().strip_prefix(word);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn any(&mut self) -> Result<Condition, String> {
        let mut terms = vec![self.all()?];
        while self.takes("||") {
            terms.push(self.all()?);
        }
        Ok(one_or(terms, Condition::Any))
    }

    fn all(&mut self) -> Result<Condition, String> {
        let mut terms = vec![self.term()?];
        while self.takes("&&") {
            terms.push(self.term()?);
        }
        Ok(one_or(terms, Condition::All))
    }

    fn term(&mut self) -> Result<Condition, String> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(format!("it nests more than {DEEPEST} deep"));
        }
        let term = if !self.rest.trim_start().starts_with("!=") && self.takes("!") {
            Condition::Not(Box::new(self.term()?))
        } else {
            self.comparison()?
        };
        self.depth -= 1;
        Ok(term)
    }

    fn comparison(&mut self) -> Result<Condition, String> {
        let left = self.operand()?;
        let operator = OPERATORS.into_iter().find(|(word, _)| self.takes(word));
        let Some((_, operator)) = operator else {
            return Ok(match left {
                Operand::Condition(condition) => *condition,
                Operand::Literal(_) | Operand::Value(..) => Condition::Is(left),
            });
        };
        Ok(Condition::Compare(left, operator, self.operand()?))
    }

    fn operand(&mut self) -> Result<Operand, String> {
        if self.takes("(") {
            let condition = self.any()?;
            if !self.takes(")") {
                return Err("a parenthesis is not closed".to_owned());
            }
            return Ok(Operand::Condition(Box::new(condition)));
        }
        if self.takes("'") {
            return self.string().map(|text| Operand::Literal(Value::String(text)));
        }
        let word = self.word();
        match word {
            "" => Err(match self.rest.trim_start().chars().next() {
                None => "expected a value at its end".to_owned(),
                Some('"') => "strings stand in single quotes".to_owned(),
                Some(found) => format!("expected a value, found `{found}`"),
            }),
            "true" => Ok(Operand::Literal(true.into())),
            "false" => Ok(Operand::Literal(false.into())),
            "null" => Ok(Operand::Literal(Value::Null)),
            _ if word.starts_with('$') => self.value(word),
            _ => match serde_json::from_str::<Value>(word) {
                Ok(number @ Value::Number(_)) => Ok(Operand::Literal(number)),
                _ => {
                    Err(format!("expected a value, found `{word}`: strings stand in single quotes"))
                }
            },
        }
    }

    /// Takes everything up to a blank, an operator, a bracket or a quote.
    fn word(&mut self) -> &'a str {
        let rest = self.rest.trim_start();
        let ends = |c: char| c.is_whitespace() || "()[]<>=!&|',\"".contains(c);
        let (word, rest) = rest.split_at(rest.find(ends).unwrap_or(rest.len()));
        if !word.is_empty() {
            self.rest = rest;
        }
        word
    }

    /// The rest of a string whose first quote was read; two quotes stand for one.
    fn string(&mut self) -> Result<String, String> {
        let mut text = String::new();
        loop {
            let end = self.rest.find('\'').ok_or("a string is not closed")?;
            text.push_str(&self.rest[..end]);
            self.rest = &self.rest[end + 1..];
            match self.rest.strip_prefix('\'') {
                Some(rest) => {
                    text.push('\'');
                    self.rest = rest;
                }
                None => return Ok(text),
            }
        }
    }

    /// An expression, and what is taken out of its value.
    fn value(&mut self, word: &str) -> Result<Operand, String> {
        let mut members = Vec::new();
        let expression = match dotted(word) {
            Some((body, names)) => {
                members.extend(names);
                body
            }
            None => Expression::parse(word)?,
        };
        while let Some(rest) = self.rest.strip_prefix('[') {
            let (index, rest) = rest.split_once(']').ok_or("a bracket is not closed")?;
            let index = index
                .trim()
                .parse()
                .map_err(|_| format!("expected a number from 0 in brackets, found `{index}`"))?;
            members.push(Member::Index(index));
            self.rest = rest;
            if self.rest.starts_with('.') {
                let names = self.word();
                members.extend(names.split('.').skip(1).map(|name| Member::Name(name.to_owned())));
            }
        }
        Ok(Operand::Value(expression, members))
    }
}

/// `$response.body.a.b`: the body, and names that lead into it.
fn dotted(word: &str) -> Option<(Expression, impl Iterator<Item = Member> + '_)> {
    let whole = || Part::Body(String::new());
    let (expression, names) = match word.strip_prefix("$response.body.") {
        Some(names) => (Expression::Response(whole()), names),
        None => (Expression::Request(whole()), word.strip_prefix("$request.body.")?),
    };
    Some((expression, names.split('.').map(|name| Member::Name(name.to_owned()))))
}

fn one_or(
    mut terms: Vec<Condition>,
    several: impl FnOnce(Vec<Condition>) -> Condition,
) -> Condition {
    match terms.pop() {
        Some(term) if terms.is_empty() => term,
        Some(term) => {
            terms.push(term);
            several(terms)
        }
        None => several(terms),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Knows a status, a body and inputs.
    struct Facts(Value);

    impl Known for Facts {
        fn find(&self, expression: &Expression) -> Option<Cow<'_, Value>> {
            if let Expression::StatusCode = expression {
                return self.0.get("status").map(Cow::Borrowed);
            }
            if let Expression::Response(Part::Body(pointer)) = expression {
                return self.0["body"].pointer(pointer).map(Cow::Borrowed);
            }
            let Expression::Input(place) = expression else { panic!("nobody asks for this") };
            self.0["inputs"].get(&place.name).map(Cow::Borrowed)
        }
    }

    fn holds(text: &str) -> bool {
        let facts = Facts(json!({
            "status": 200,
            "body": {"ok": true, "name": "Ada", "n": "12", "list": [{"id": 7}], "none": null, "q": "it's"},
            "inputs": {"name": "ADA", "limit": 10},
        }));
        Condition::parse(text).unwrap_or_else(|what| panic!("{what}")).holds(&facts)
    }

    #[test]
    fn conditions_that_hold() {
        for text in [
            "$statusCode == 200",
            "{$statusCode == 200}",
            "$statusCode==200",
            "$statusCode >= 200 && $statusCode < 300",
            "$statusCode == 404 || $statusCode == 200",
            "$statusCode == 404 || $statusCode == 200 && $response.body#/ok",
            "!($statusCode == 404)",
            "! $response.body#/none",
            "!!true",
            "$response.body#/ok == true",
            "$response.body#/ok == 'TRUE'",
            "$response.body#/name == 'aDA'",
            "$response.body#/name == $inputs.name",
            "$response.body.name != 'Grace'",
            "$response.body#/q == 'it''s'",
            "$response.body#/n > $inputs.limit",
            "$response.body#/n == 12",
            "$response.body#/list[0].id == 7",
            "$response.body.list[0].id <= 7.0",
            "$response.body#/gone == null",
            "$response.body#/none == null",
            "$response.body#/list != null",
            "'a' < 'B'",
            "-1 < 0",
        ] {
            assert!(holds(text), "{text}");
        }
    }

    #[test]
    fn conditions_that_do_not() {
        for text in [
            "$statusCode != 200",
            "$statusCode > '200'",
            "$response.body#/name == 7",
            "$response.body#/name < 7",
            "$response.body#/ok < 2",
            "$response.body#/list[1].id == 7",
            "$response.body#/gone",
            "$response.body#/none == false",
            "($statusCode == 404 || $statusCode == 200) && false",
            "0",
            "''",
            "null",
        ] {
            assert!(!holds(text), "{text}");
        }
    }

    #[test]
    fn what_is_no_condition_is_refused() {
        let deep = "(".repeat(100);
        for text in [
            "",
            "==",
            "$statusCode ==",
            "$statusCode = 200",
            "$statusCode == 200 200",
            "$statusCode == OK",
            "$statusCode == \"200\"",
            "$status == 200",
            "($statusCode == 200",
            "$response.body#/a[x] == 1",
            "$response.body#/a[0 == 1",
            "'open",
            "1 == 1 &&",
            "1 == 1 & 2 == 2",
            &deep,
            &"!".repeat(100),
        ] {
            assert!(Condition::parse(text).is_err(), "{text}");
        }
    }
}
