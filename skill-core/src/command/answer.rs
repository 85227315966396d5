//! What a program prints, as the skill's output.

use serde_json::{Map, Value, json};

/// Where things stand in an answer: a JSON Pointer in which a step `*` is every member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern(Vec<String>);

impl Pattern {
    /// Reads a pattern.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let escapes = text.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
        if !escapes || !(text.is_empty() || text.starts_with('/')) {
            return Err(format!("expected a JSON Pointer such as `/results/*`, got `{text}`"));
        }
        let steps = text.split('/').skip(1).map(|step| step.replace("~1", "/").replace("~0", "~"));
        Ok(Self(steps.collect()))
    }

    fn stars(&self) -> usize {
        self.0.iter().filter(|step| *step == "*").count()
    }

    /// Everything that stands there, each with the members that its stars stood for.
    fn all<'a>(&self, value: &'a Value) -> Vec<(Vec<String>, &'a Value)> {
        let mut found = vec![(Vec::new(), value)];
        for step in &self.0 {
            found = found.into_iter().flat_map(|(stars, at)| members(step, stars, at)).collect();
        }
        found
    }

    /// What stands there when its stars stand for `stars`.
    fn one<'a>(&self, value: &'a Value, stars: &[String]) -> Option<&'a Value> {
        let mut stars = stars.iter();
        self.0.iter().try_fold(value, |at, step| {
            let step = if step == "*" { stars.next()? } else { step };
            member(at, step)
        })
    }
}

fn member<'a>(value: &'a Value, step: &str) -> Option<&'a Value> {
    match value {
        Value::Object(members) => members.get(step),
        Value::Array(items) => items.get(step.parse::<usize>().ok()?),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

fn members<'a>(step: &str, stars: Vec<String>, value: &'a Value) -> Vec<(Vec<String>, &'a Value)> {
    let with = |key: String| [stars.as_slice(), &[key]].concat();
    match (step, value) {
        ("*", Value::Object(members)) => {
            members.iter().map(|(key, value)| (with(key.clone()), value)).collect()
        }
        ("*", Value::Array(items)) => {
            let numbered = items.iter().enumerate();
            numbered.map(|(at, value)| (with(at.to_string()), value)).collect()
        }
        (step, value) => member(value, step).map(|value| (stars, value)).into_iter().collect(),
    }
}

/// The findings of a scanner, and how many there are of each kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Findings {
    each: Vec<Pattern>,
    /// What each finding gets from around it: a name, and where its value stands.
    with: Vec<(String, Pattern)>,
    /// What they are counted by, seen from the finding.
    by: Option<Pattern>,
}

impl Findings {
    /// Returns findings that stand at `each`.
    pub(super) fn new(
        each: Vec<Pattern>,
        with: Vec<(String, Pattern)>,
        by: Option<Pattern>,
    ) -> Result<Self, String> {
        for (name, pattern) in &with {
            if each.iter().any(|each| each.stars() < pattern.stars()) {
                return Err(format!("`{name}` has more `*` than a pattern of `each`"));
            }
        }
        Ok(Self { each, with, by })
    }

    /// Picks them out of an answer: `{"findings": [..], "counts": {"total": n, ..}}`.
    pub(super) fn of(&self, answer: &Value) -> Value {
        let mut findings = Vec::new();
        for each in &self.each {
            for (stars, item) in each.all(answer) {
                findings.push(self.finding(answer, &stars, item));
            }
        }
        let mut counts = Map::new();
        counts.insert("total".into(), findings.len().into());
        for kind in findings.iter().filter_map(|finding| self.kind(finding)) {
            let count = counts.get(&kind).and_then(Value::as_u64).unwrap_or(0);
            counts.insert(kind, (count + 1).into());
        }
        json!({"findings": findings, "counts": counts})
    }

    fn finding(&self, answer: &Value, stars: &[String], item: &Value) -> Value {
        let mut finding = match item {
            Value::Object(members) => members.clone(),
            plain @ (Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_)) => Map::from_iter([("value".to_owned(), plain.clone())]),
        };
        for (name, pattern) in &self.with {
            let around = pattern.one(answer, stars).cloned().unwrap_or_default();
            finding.entry(name.clone()).or_insert(around);
        }
        Value::Object(finding)
    }

    fn kind(&self, finding: &Value) -> Option<String> {
        match self.by.as_ref()?.one(finding, &[])? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        }
    }

    /// What they look like.
    pub(super) fn schema() -> Value {
        json!({
            "type": "object",
            "required": ["findings", "counts"],
            "properties": {
                "findings": {
                    "type": "array",
                    "description": "What was found, as the program says it",
                    "items": {"type": "object"},
                },
                "counts": {
                    "type": "object",
                    "description": "How many there are: in `total`, and of each kind",
                    "required": ["total"],
                    "additionalProperties": {"type": "integer"},
                },
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::parse(text).unwrap()
    }

    #[test]
    fn findings_know_what_they_were_found_in() {
        let answer = json!({"dependencies": [
            {"name": "a", "vulns": [{"id": "1"}, {"id": "2"}]},
            {"name": "b", "vulns": []},
            {"name": "c"},
            {"name": "d", "vulns": [{"id": "1"}]},
        ]});
        let with = vec![("package".to_owned(), pattern("/dependencies/*/name"))];
        let each = vec![pattern("/dependencies/*/vulns/*"), pattern("/nothing/*/x/*")];
        let found = Findings::new(each, with, Some(pattern("/id"))).unwrap().of(&answer);
        assert_eq!(
            found,
            json!({
                "findings": [
                    {"id": "1", "package": "a"}, {"id": "2", "package": "a"},
                    {"id": "1", "package": "d"},
                ],
                "counts": {"total": 3, "1": 2, "2": 1},
            })
        );
    }

    #[test]
    fn an_answer_that_is_a_list_or_empty_is_counted_too() {
        let findings = Findings::new(vec![pattern("/*")], Vec::new(), None).unwrap();
        assert_eq!(findings.of(&json!([{"a": 1}]))["counts"], json!({"total": 1}));
        assert_eq!(findings.of(&json!(null))["counts"], json!({"total": 0}));
        assert!(Pattern::parse("results").is_err() && Pattern::parse("/a~2").is_err());
        let more = vec![("x".to_owned(), pattern("/*/*"))];
        assert!(Findings::new(vec![pattern("/*")], more, None).is_err());
    }
}
