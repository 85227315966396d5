//! Reading declarations: TOML tables, with every problem named at once by file and line.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    fmt,
    ops::Range,
};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// One thing that is wrong in a declaration.
///
/// ```
/// use skill_core::declaration::Problem;
/// let problem = Problem { file: "x.toml".into(), line: 3, what: "expected a string".into() };
/// assert_eq!(problem.to_string(), "x.toml:3: expected a string");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// What was expected, what came, what to do.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.what)
    }
}

/// One text of a declaration. Its spans count from `start`, so that a place says which text it is
/// in.
#[derive(Debug)]
struct Part<'a> {
    file: &'a str,
    text: &'a str,
    start: usize,
}

/// A declaration while it is being read: its text, those that it extends, and the problems found
/// so far.
#[derive(Debug)]
pub struct Source<'a> {
    parts: Vec<Part<'a>>,
    problems: RefCell<BTreeSet<Problem>>,
    is_trusted: bool,
}

impl<'a> Source<'a> {
    /// Returns a source that has no problems yet.
    pub fn new(file: &'a str, text: &'a str) -> Self {
        let parts = vec![Part { file, text, start: 0 }];
        Self { parts, problems: RefCell::default(), is_trusted: false }
    }

    /// Says that the text was checked when this crate was built: what is costly to check may wait
    /// until it is needed.
    #[must_use]
    pub(crate) fn trusted(self) -> Self {
        Self { is_trusted: true, ..self }
    }

    /// Adds a declaration that this one, with what was added before, extends: what its tables have
    /// holds wherever ours say nothing else.
    #[must_use]
    pub fn extending(mut self, file: &'a str, text: &'a str) -> Self {
        let start = self.parts.last().map_or(0, |part| part.start + part.text.len() + 1);
        self.parts.push(Part { file, text, start });
        self
    }

    /// The string that stands under a key at the top of `text`, whatever else is wrong with it.
    pub fn peek(text: &str, key: &str) -> Option<String> {
        let (tree, _) = DeTable::parse_recoverable(text);
        tree.get_ref().get(key)?.get_ref().as_str().map(str::to_owned)
    }

    /// Notes a problem at a place in the text.
    pub fn problem(&self, at: usize, what: impl Into<String>) {
        let Some(part) = self.parts.iter().rfind(|part| part.start <= at) else { return };
        let before = part.text.get(..at - part.start).unwrap_or(part.text);
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        let problem = Problem { file: part.file.to_owned(), line, what: what.into() };
        self.problems.borrow_mut().insert(problem);
    }

    /// Reads the text as TOML and hands the top table to `read`; returns what it made, or every
    /// problem.
    ///
    /// # Errors
    /// The problems, in the order of their lines.
    pub fn read<T>(self, read: impl FnOnce(&Table<'_>) -> Option<T>) -> Result<T, Vec<Problem>> {
        self.read_with(&BTreeMap::new(), read)
    }

    /// As [`Source::read`], with values that stand instead of the text's. The keys are dotted; one
    /// value replaces a string, several a list, none takes a string away.
    ///
    /// # Errors
    /// As [`Source::read`].
    pub fn read_with<T>(
        self,
        instead: &BTreeMap<String, Vec<String>>,
        read: impl FnOnce(&Table<'_>) -> Option<T>,
    ) -> Result<T, Vec<Problem>> {
        let mut tree = DeTable::new();
        for part in &self.parts {
            let (text, errors) = DeTable::parse_recoverable(part.text);
            for error in errors {
                let at = error.span().map_or(0, |span| span.start);
                self.problem(part.start + at, error.message());
            }
            extend(&mut tree, shifted(text.into_inner(), part.start));
        }
        for (key, values) in instead {
            put(&mut tree, key, values);
        }
        let made = if self.problems.borrow().is_empty() {
            read(&Table::new(&self, &tree, 0..0))
        } else {
            None
        };
        let problems = self.problems.into_inner();
        match made {
            Some(made) if problems.is_empty() => Ok(made),
            _ => Err(problems.into_iter().collect()),
        }
    }
}

/// The table with its spans moved behind the texts before it.
fn shifted(table: DeTable<'_>, by: usize) -> DeTable<'_> {
    fn inner(value: Spanned<DeValue<'_>>, by: usize) -> Spanned<DeValue<'_>> {
        let span = value.span();
        let moved = match value.into_inner() {
            DeValue::Table(table) => DeValue::Table(shifted(table, by)),
            DeValue::Array(items) => {
                DeValue::Array(items.into_iter().map(|item| inner(item, by)).collect())
            }
            plain @ (DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)) => plain,
        };
        Spanned::new(span.start + by..span.end + by, moved)
    }
    let moved = table.into_iter().map(|(key, value)| {
        let span = key.span();
        let key = Spanned::new(span.start + by..span.end + by, key.into_inner());
        (key, inner(value, by))
    });
    moved.collect()
}

/// Adds what `base` has and `table` lacks, tables within tables included. A table that names
/// another `scheme` than the base's has nothing in common with it.
fn extend<'a>(table: &mut DeTable<'a>, base: DeTable<'a>) {
    let scheme = |table: &DeTable<'_>| {
        table.get("scheme").and_then(|scheme| scheme.get_ref().as_str().map(str::to_owned))
    };
    for (key, value) in base {
        let Some(known) = table.get_mut(key.get_ref().as_ref()) else {
            table.insert(key, value);
            continue;
        };
        let (DeValue::Table(own), DeValue::Table(base)) = (known.get_mut(), value.into_inner())
        else {
            continue;
        };
        if scheme(own).is_none_or(|own| Some(own) == scheme(&base)) {
            extend(own, base);
        }
    }
}

/// Puts values under a dotted key of a table; a table on the way that is not there stays so.
fn put(table: &mut DeTable<'_>, key: &str, values: &[String]) {
    if let Some((first, rest)) = key.split_once('.') {
        if let Some(DeValue::Table(inner)) = table.get_mut(first).map(Spanned::get_mut) {
            put(inner, rest, values);
        }
        return;
    }
    if values.is_empty() && key != "scopes" {
        table.remove(key);
        return;
    }
    let text = |value: &String| DeValue::String(value.clone().into());
    let value = match values {
        [one] if key != "scopes" => text(one),
        _ => DeValue::Array(values.iter().map(|v| Spanned::new(0..0, text(v))).collect()),
    };
    table.insert(Spanned::new(0..0, key.to_owned().into()), Spanned::new(0..0, value));
}

/// One table of a declaration. Whatever is not asked for is reported by [`Table::end`].
#[derive(Debug)]
pub struct Table<'a> {
    source: &'a Source<'a>,
    tree: &'a DeTable<'a>,
    span: Range<usize>,
    asked: RefCell<BTreeSet<String>>,
}

impl<'a> Table<'a> {
    fn new(source: &'a Source<'a>, tree: &'a DeTable<'a>, span: Range<usize>) -> Self {
        Self { source, tree, span, asked: RefCell::default() }
    }

    /// Notes a problem with `key`, or with the whole table when it has no such key.
    pub fn problem(&self, key: &str, what: impl Into<String>) {
        let at = self.tree.get(key).map_or(self.span.start, |value| value.span().start);
        self.source.problem(at, what);
    }

    /// Whether the text was checked when this crate was built.
    pub(crate) fn is_trusted(&self) -> bool {
        self.source.is_trusted
    }

    /// Whether the table has `key`.
    pub fn has(&self, key: &str) -> bool {
        self.tree.contains_key(key)
    }

    /// Where the keys that `read` was not given stand.
    fn find(&self, key: &str) -> Option<&'a DeValue<'a>> {
        self.asked.borrow_mut().insert(key.to_owned());
        self.tree.get(key).map(Spanned::get_ref)
    }

    fn expect<T>(
        &self,
        key: &str,
        what: &str,
        read: impl FnOnce(&'a DeValue<'a>) -> Option<T>,
    ) -> Option<T> {
        let value = self.find(key)?;
        let read = read(value);
        if read.is_none() {
            self.problem(key, format!("`{key}`: expected {what}, got {}", value.type_str()));
        }
        read
    }

    /// A string.
    pub fn text(&self, key: &str) -> Option<&'a str> {
        self.expect(key, "a string", DeValue::as_str)
    }

    /// A string that must be there.
    pub fn required_text(&self, key: &str) -> Option<&'a str> {
        if !self.has(key) {
            self.problem(key, format!("expected `{key}`, a string"));
        }
        self.text(key)
    }

    /// `true` or `false`; `false` when it is not there.
    pub fn flag(&self, key: &str) -> bool {
        self.expect(key, "true or false", DeValue::as_bool).unwrap_or(false)
    }

    /// A whole number that is not negative.
    pub fn count(&self, key: &str) -> Option<u32> {
        self.expect(key, "a whole number", |value| {
            value.as_integer().and_then(|number| number.as_str().parse().ok())
        })
    }

    /// A list of strings; empty when it is not there.
    pub fn texts(&self, key: &str) -> Vec<&'a str> {
        let texts = self.expect(key, "a list of strings", |value| {
            value.as_array()?.iter().map(|item| item.get_ref().as_str()).collect()
        });
        texts.unwrap_or_default()
    }

    /// A table.
    pub fn table(&self, key: &str) -> Option<Table<'a>> {
        let span = self.tree.get(key).map_or(0..0, Spanned::span);
        let tree = self.expect(key, "a table", DeValue::as_table)?;
        Some(Self::new(self.source, tree, span))
    }

    /// A table, without a complaint when there is none.
    pub fn table_if_any(&self, key: &str) -> Option<Table<'a>> {
        if self.find(key).is_some() { self.table(key) } else { None }
    }

    /// Whether `key` is a string.
    pub fn is_text(&self, key: &str) -> bool {
        self.tree.get(key).is_some_and(|value| value.get_ref().is_str())
    }

    /// Tables, one after the other; none when it is not there.
    pub fn tables(&self, key: &str) -> Vec<Table<'a>> {
        let tables = self.expect(key, "a list of tables", |value| {
            let items = value.as_array()?.iter();
            items
                .map(|item| Some(Self::new(self.source, item.get_ref().as_table()?, item.span())))
                .collect::<Option<_>>()
        });
        tables.unwrap_or_default()
    }

    /// What kind of value `key` has, as TOML calls it.
    pub fn kind(&self, key: &str) -> Option<&'static str> {
        self.tree.get(key).map(|value| value.get_ref().type_str())
    }

    /// The keys of the table, as they are written.
    pub fn keys(&self) -> impl Iterator<Item = &'a str> {
        self.tree.keys().map(|key| key.get_ref().as_ref())
    }

    /// A value as JSON.
    pub fn json(&self, key: &str) -> Option<serde_json::Value> {
        self.expect(key, "a value that JSON has", json)
    }

    /// The whole table as JSON.
    pub fn whole(&self) -> Option<serde_json::Value> {
        let members = self.tree.iter();
        let members =
            members.map(|(key, value)| Some((key.get_ref().to_string(), json(value.get_ref())?)));
        members.collect::<Option<serde_json::Map<_, _>>>().map(serde_json::Value::Object)
    }

    /// Reports every key that nobody asked for.
    pub fn end(&self) {
        let asked = self.asked.borrow();
        for key in self.tree.keys().filter(|key| !asked.contains(key.get_ref().as_ref())) {
            let known = asked.iter().cloned().collect::<Vec<_>>().join("`, `");
            let what = format!("`{}` is not known here; known are `{known}`", key.get_ref());
            self.source.problem(key.span().start, what);
        }
    }
}

/// A TOML value as JSON; `None` for dates and for numbers that JSON cannot hold.
fn json(value: &DeValue<'_>) -> Option<serde_json::Value> {
    use serde_json::Value;
    Some(match value {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Integer(number) => Value::from(number.as_str().parse::<i64>().ok()?),
        DeValue::Float(number) => Value::from(number.as_str().parse::<f64>().ok()?),
        DeValue::Boolean(flag) => Value::Bool(*flag),
        DeValue::Datetime(_) => return None,
        DeValue::Array(items) => {
            Value::Array(items.iter().map(|item| json(item.get_ref())).collect::<Option<_>>()?)
        }
        DeValue::Table(table) => Value::Object(
            table
                .iter()
                .map(|(key, value)| Some((key.get_ref().to_string(), json(value.get_ref())?)))
                .collect::<Option<_>>()?,
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_is_named_with_its_line() {
        let source = Source::new("x.toml", "name = 1\nother = true\n\n[auth]\nscheme = [2]\n");
        let problems = source
            .read(|top| {
                top.text("name");
                top.required_text("base");
                let auth = top.table("auth")?;
                auth.text("scheme");
                auth.end();
                top.end();
                Some(())
            })
            .unwrap_err();
        let lines = problems.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(
            lines,
            [
                "x.toml:1: `name`: expected a string, got integer",
                "x.toml:1: expected `base`, a string",
                "x.toml:2: `other` is not known here; known are `auth`, `base`, `name`",
                "x.toml:5: `scheme`: expected a string, got array",
            ]
        );
    }

    #[test]
    fn what_a_declaration_extends_holds_where_it_says_nothing_else() {
        let base = "name = \"base\"\n[auth]\nscheme = \"a\"\nurl = 1\n[deep.er]\nx = \"x\"\n";
        let own = "name = \"own\"\n[deep.er]\ny = 2\n";
        let source = Source::new("own.toml", own).extending("base.toml", base);
        let problems = source
            .read(|top| {
                assert_eq!(top.text("name"), Some("own"));
                top.table("auth")?.text("url");
                let deeper = top.table("deep")?.table("er")?;
                assert_eq!(deeper.text("x"), Some("x"));
                deeper.text("y");
                Some(())
            })
            .unwrap_err();
        let lines = problems.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(
            lines,
            [
                "base.toml:4: `url`: expected a string, got integer",
                "own.toml:3: `y`: expected a string, got integer",
            ]
        );
        let own = "[auth]\nscheme = \"b\"\n";
        let source = Source::new("own.toml", own).extending("base.toml", base);
        let has_url = source.read(|top| Some(top.table("auth")?.has("url")));
        assert_eq!(has_url, Ok(false), "another scheme takes nothing over");
    }

    #[test]
    fn text_that_is_not_toml_is_one_problem_with_its_line() {
        let problems = Source::new("x.toml", "a = 1\nb = = 2\n").read(|_| Some(())).unwrap_err();
        assert_eq!(problems[0].line, 2);
    }
}
