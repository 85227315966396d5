//! Pages of a listing.

use serde_json::{Map, Value, json};
use skill_core::Error;

use crate::{app::Context, app::route::Operation};

/// How many a page holds when nobody says.
const USUAL: u64 = 50;
/// How many a page holds at most.
const MOST: u64 = 100;

/// Which part of a listing is wanted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) limit: u64,
    pub(crate) offset: u64,
}

/// Reads `limit` and `offset`.
pub(crate) fn bounds(cx: &Context) -> Result<Bounds, Error> {
    let query = cx.query();
    let limit = query.number("limit", 1, MOST)?.unwrap_or(USUAL);
    let offset = query.number("offset", 0, i64::MAX as u64)?.unwrap_or(0);
    Ok(Bounds { limit, offset })
}

/// One page.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) items: Vec<Value>,
    pub(crate) total: u64,
    pub(crate) bounds: Bounds,
    /// Whether something stands behind it.
    pub(crate) has_more: bool,
}

impl Page {
    /// Cuts a page out of everything.
    pub(crate) fn cut<T>(all: &[T], bounds: Bounds, show: impl Fn(&T) -> Value) -> Self {
        let skip = usize::try_from(bounds.offset).unwrap_or(usize::MAX);
        let most = usize::try_from(bounds.limit).unwrap_or(usize::MAX);
        let items = all.iter().skip(skip).take(most).map(show).collect();
        let has_more = skip.saturating_add(most) < all.len();
        Self { items, total: all.len() as u64, bounds, has_more }
    }

    /// The page as an answer, its items under `name`.
    pub(crate) fn named(self, name: &str) -> Value {
        let Bounds { limit, offset } = self.bounds;
        Value::from(Map::from_iter([
            (name.to_owned(), self.items.into()),
            ("total".to_owned(), self.total.into()),
            ("limit".to_owned(), limit.into()),
            ("offset".to_owned(), offset.into()),
            ("has_more".to_owned(), self.has_more.into()),
        ]))
    }
}

/// Documents the query of a listing.
pub(crate) fn query(operation: Operation) -> Operation {
    let limit = json!({"type": "integer", "minimum": 1, "maximum": MOST, "default": USUAL});
    operation
        .query("limit", limit)
        .query("offset", json!({"type": "integer", "minimum": 0, "default": 0}))
}

/// Documents a page of items under `name`.
pub(crate) fn schema(name: &str, item: &Value) -> Value {
    let items = json!({"type": "array", "items": item});
    json!({
        "type": "object",
        "required": [name, "total", "limit", "offset", "has_more"],
        "properties": {
            name: items,
            "total": {"type": "integer"}, "limit": {"type": "integer"},
            "offset": {"type": "integer"}, "has_more": {"type": "boolean"},
        },
    })
}
