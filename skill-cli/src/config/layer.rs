//! Layers: settings by dotted name, each with its origin.

use std::path::Path;

use toml::{
    Table, Value,
    de::{DeTable, DeValue},
};

use super::{Origin, Problem};

/// One setting of one layer.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// Its dotted name.
    pub(super) name: String,
    /// Its value: no table, unless an empty one.
    pub(super) value: Value,
    /// Where it stands.
    pub(super) origin: Origin,
}

impl Entry {
    /// Returns a setting.
    pub(super) fn new(name: impl Into<String>, value: Value, origin: Origin) -> Self {
        Self { name: name.into(), value, origin }
    }
}

/// Reads a file.
///
/// # Errors
/// What is no TOML, without the line's text: it may hold a secret.
pub(super) fn read(path: &Path, text: &str) -> Result<Vec<Entry>, Problem> {
    let problem = |at: usize, what: &str| {
        let origin = Origin::File(path.to_owned(), line(text, at));
        Problem { origin, what: what.to_owned() }
    };
    let start = |error: &toml::de::Error| error.span().map_or(0, |span| span.start);
    let values = text.parse::<Table>().map_err(|error| problem(start(&error), error.message()))?;
    let spans = DeTable::parse(text).map_err(|error| problem(start(&error), error.message()))?;
    let spans = spans.get_ref();
    Ok(flatten(&values, |name| {
        Origin::File(path.to_owned(), line(text, offset(spans, name).unwrap_or_default()))
    }))
}

/// The leaves of a table, in its order.
pub(super) fn flatten(table: &Table, origin: impl Fn(&[&str]) -> Origin) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut path = Vec::new();
    visit(table, &mut path, &mut |path, value| {
        entries.push(Entry::new(path.join("."), value.clone(), origin(path)));
    });
    entries
}

fn visit<'t>(table: &'t Table, path: &mut Vec<&'t str>, leaf: &mut impl FnMut(&[&str], &Value)) {
    for (key, value) in table {
        path.push(key);
        match value.as_table().filter(|inner| !inner.is_empty()) {
            Some(inner) => visit(inner, path, leaf),
            None => leaf(path, value),
        }
        path.pop();
    }
}

/// Puts a value under a dotted name; whatever stands in the way goes.
pub(super) fn put(table: &mut Table, name: &str, value: Value) {
    let Some((first, rest)) = name.split_once('.') else {
        table.insert(name.to_owned(), value);
        return;
    };
    let inner = table.entry(first).or_insert_with(|| Table::new().into());
    if !inner.is_table() {
        *inner = Table::new().into();
    }
    if let Some(inner) = inner.as_table_mut() {
        put(inner, rest, value);
    }
}

/// Where the key of a setting stands in the text.
fn offset(table: &DeTable<'_>, path: &[&str]) -> Option<usize> {
    let (first, rest) = path.split_first()?;
    let (key, value) = table.get_key_value(*first)?;
    match (rest, value.get_ref()) {
        ([_, ..], DeValue::Table(inner)) => {
            Some(offset(inner, rest).unwrap_or_else(|| key.span().start))
        }
        (_, _) => Some(key.span().start),
    }
}

fn line(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
}
