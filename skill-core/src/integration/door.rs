//! The raw door of a declared integration.

use http::HeaderName;
use url::Url;

use super::{base, declared::Headers};
use crate::{
    declaration::Table,
    error::Result,
    raw::{Door, may_pass},
    record::connection::Fields,
    transport::target,
};

/// What a declaration says of its raw door.
#[derive(Debug)]
pub(super) struct Doorway {
    /// The path on the service's host that it opens onto, when it is not that of `base_url`.
    root: Option<String>,
    passes: Vec<HeaderName>,
    headers: Headers,
}

/// Reads `raw`; `None` when the door is shut. The headers that the rest of the declaration names
/// pass without being named again: `known` are those that parameters fill.
pub(super) fn declare(
    top: &Table<'_>,
    headers: Headers,
    known: Vec<HeaderName>,
) -> Option<Doorway> {
    let mut passes = known;
    passes.extend(headers.fixed.keys().cloned());
    let Some(table) = top.table_if_any("raw") else {
        return Some(Doorway { root: None, passes, headers });
    };
    for text in table.texts("headers") {
        match HeaderName::try_from(text).ok().filter(may_pass) {
            Some(name) => passes.push(name),
            None => table.problem("headers", format!("`{text}` cannot be a header that passes")),
        }
    }
    let root = base::path(&table, "root");
    let is_shut = table.flag("shut");
    table.end();
    (!is_shut).then_some(Doorway { root, passes, headers })
}

impl Doorway {
    /// The door of one connection.
    pub(super) fn open(&self, base: Url, fields: &Fields) -> Result<Door> {
        let base = match &self.root {
            Some(root) => target::rooted(&base, root),
            None => base,
        };
        let mut door = Door::new(base);
        door.passes.clone_from(&self.passes);
        door.defaults = self.headers.fixed.clone();
        for (name, value) in &self.headers.filled {
            let find = |name: &str| fields.get(name).map(String::as_str);
            door.always.insert(name, value.header(&find)?);
        }
        Ok(door)
    }
}
