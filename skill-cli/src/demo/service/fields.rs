//! What requests about issues may say: the fields of an issue, and which part of a list.

use serde_json::{Map, Value, json};
use url::form_urlencoded;

/// Longest title, in characters.
const TITLE_CHARACTERS: usize = 256;

/// Longest body of an issue or a comment, in characters.
const BODY_CHARACTERS: usize = 65_536;

/// Largest number of issues on one page.
const PAGE_ISSUES: usize = 100;

/// The fields of an issue that a request may set; absent ones are `None`.
#[derive(Default)]
pub(super) struct Draft {
    /// What it is about, in a line.
    pub(super) title: Option<String>,
    /// What it is about, at length; `null` takes it away.
    pub(super) body: Option<Option<String>>,
    /// Its labels, all of them.
    pub(super) labels: Option<Vec<String>>,
    /// Whether there is still something to do.
    pub(super) is_open: Option<bool>,
}

impl Draft {
    /// Reads and checks every field, and reports all that are wrong at once.
    pub(super) fn read(
        request: &Map<String, Value>,
        required: &[&str],
    ) -> Result<Self, Vec<Value>> {
        let missing = required.iter().filter(|field| request.get(**field).is_none_or(is_blank));
        let mut errors: Vec<Value> = missing.map(|field| wrong(field, "missing_field")).collect();
        let mut draft = Self::default();
        for (field, value) in request {
            let is_missing = required.contains(&field.as_str()) && is_blank(value);
            if !is_missing && draft.set(field, value).is_none() {
                errors.push(wrong(field, "invalid"));
            }
        }
        if errors.is_empty() { Ok(draft) } else { Err(errors) }
    }

    /// Sets one field; unknown ones are ignored, wrong ones are `None`.
    fn set(&mut self, field: &str, value: &Value) -> Option<()> {
        match (field, value) {
            ("title", _) => {
                let title = text(value, TITLE_CHARACTERS).filter(|_| !is_blank(value))?;
                self.title = Some(title);
            }
            ("body", Value::Null) => self.body = Some(None),
            ("body", _) => self.body = Some(Some(text(value, BODY_CHARACTERS)?)),
            ("labels", _) => {
                let labels: Option<Vec<String>> =
                    value.as_array()?.iter().map(|label| text(label, 50)).collect();
                self.labels = Some(labels?);
            }
            ("state", _) => self.is_open = Some(parse_state(value.as_str()?)?),
            _ => {}
        }
        Some(())
    }
}

/// Returns whether a value says nothing.
fn is_blank(value: &Value) -> bool {
    value.is_null() || value.as_str().is_some_and(|text| text.trim().is_empty())
}

/// Returns the text of a value that has at most `limit` characters.
fn text(value: &Value, limit: usize) -> Option<String> {
    value.as_str().filter(|text| text.chars().count() <= limit).map(str::to_owned)
}

/// Returns whether a state means open, if it is a state.
fn parse_state(text: &str) -> Option<bool> {
    match text {
        "open" => Some(true),
        "closed" => Some(false),
        _ => None,
    }
}

/// Which issues a list shows.
pub(super) struct Page {
    /// Shows open issues alone, closed ones alone, or all.
    pub(super) is_open: Option<bool>,
    /// How many issues a page has.
    pub(super) size: usize,
    /// Which page, from one.
    pub(super) number: usize,
    state: String,
}

impl Page {
    /// Reads the parameters of a list; unknown ones are ignored.
    pub(super) fn parse(query: &str) -> Result<Self, Vec<Value>> {
        let mut page = Self { is_open: Some(true), state: "open".into(), size: 30, number: 1 };
        let mut errors = Vec::new();
        for (field, value) in form_urlencoded::parse(query.as_bytes()) {
            if page.set(&field, &value).is_none() {
                errors.push(wrong(&field, "invalid"));
            }
        }
        if errors.is_empty() { Ok(page) } else { Err(errors) }
    }

    /// Sets one parameter; a wrong one is `None`.
    fn set(&mut self, field: &str, value: &str) -> Option<()> {
        match field {
            "state" => {
                self.is_open = if value == "all" { None } else { Some(parse_state(value)?) };
                value.clone_into(&mut self.state);
            }
            "per_page" => {
                self.size = value.parse().ok().filter(|size| (1..=PAGE_ISSUES).contains(size))?;
            }
            "page" => self.number = value.parse().ok().filter(|number| *number >= 1)?,
            _ => {}
        }
        Some(())
    }

    /// Returns the `Link` header of RFC 8288: the pages beside this one.
    pub(super) fn links(&self, address: &str, has_next: bool) -> String {
        let link = |number: usize, relation: &str| {
            let (state, size) = (&self.state, self.size);
            format!("<{address}?state={state}&per_page={size}&page={number}>; rel=\"{relation}\"")
        };
        let previous = (self.number > 1).then(|| link(self.number - 1, "prev"));
        let next = has_next.then(|| link(self.number + 1, "next"));
        previous.into_iter().chain(next).collect::<Vec<_>>().join(", ")
    }
}

/// Returns one entry of the errors of a validation.
fn wrong(field: &str, code: &str) -> Value {
    json!({ "field": field, "code": code })
}
