//! Functions that documents may name where expressions do not reach: of values, to a value. They
//! know nothing else, so that a repeat comes to the same.
//!
//! | function | takes | makes |
//! |---|---|---|
//! | `add` | numbers | their sum |
//! | `count` | a list | how many items it has; 0 when there is none |
//! | `list` | a value | the list that it is, the list of it, an empty one when there is none |
//! | `json-text` | a value | its JSON as text, text as it is; nothing when there is none |
//! | `order-by` | `field` | `[{FIELD: "asc"}]`; nothing when there is no field |
//! | `group-rows` | `rows`, `by`, `sum` | for each value of the field `by`: `value`, `count`, and the sums of the fields in `sum`; nothing when there is no `by` |
//! | `quickbooks-query` | `entity`, `where`, `limit`, `offset` | a query of QuickBooks that reads one entity and nothing else |
//! | `quickbooks-table` | a report of QuickBooks | `columns`, and `rows` with `section`, `depth`, `kind` and a value for each column |

mod quickbooks;
mod rows;

use std::fmt;

use serde_json::Value;

use crate::error::{Error, Result};

/// What a function does with what it takes.
type Work = fn(Option<Value>) -> Result<Option<Value>>;

/// A function.
#[derive(Clone, Copy)]
pub(super) struct Function {
    name: &'static str,
    work: Work,
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Function({})", self.name)
    }
}

/// All of them.
const ALL: [(&str, Work); 8] = [
    ("add", rows::add),
    ("count", rows::count),
    ("list", rows::list),
    ("json-text", rows::json_text),
    ("order-by", rows::order_by),
    ("group-rows", rows::group),
    ("quickbooks-query", quickbooks::query),
    ("quickbooks-table", quickbooks::table),
];

/// Finds a function.
pub(super) fn find(name: &str) -> Option<Function> {
    let (name, work) = ALL.into_iter().find(|(known, _)| *known == name)?;
    Some(Function { name, work })
}

/// The names of all.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    ALL.iter().map(|(name, _)| *name)
}

impl Function {
    /// Makes a value; `None` is that there is none.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) when it does not take what is given.
    pub(super) fn call(self, value: Option<Value>) -> Result<Option<Value>> {
        (self.work)(value)
    }
}

/// That a function does not take what was given.
fn wrong<T>(function: &str, expected: &str) -> Result<T> {
    Err(Error::invalid(format!("`{function}`: expected {expected}")))
}
