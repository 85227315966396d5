//! Lists that come page by page: where an answer says that there is more, and what asks for it.
//!
//! The next page is always asked for with parameters of the same endpoint. An address that a service
//! names is read for those and never followed.

use std::collections::BTreeMap;

use http::{HeaderMap, header};
use serde_json::{Map, Value, value::RawValue};
use url::Url;

use crate::{
    error::{Error, Result},
    json::Pointer,
};

/// How far pages are gathered.
///
/// ```
/// use skill_core::pages::Collect;
/// assert_eq!(Collect::default().pages, 10);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Collect {
    /// The most pages that are asked for.
    pub pages: u32,
    /// No further page is asked for once there are this many items. A page is taken whole.
    pub items: u32,
}

impl Default for Collect {
    fn default() -> Self {
        Self { pages: 10, items: 1000 }
    }
}

impl Collect {
    /// The most that can be asked for.
    pub const MOST: Self = Self { pages: 100, items: 10_000 };

    /// Checks the bounds.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) past [`Collect::MOST`], and for
    /// nothing at all.
    pub fn check(self) -> Result<()> {
        let Self { pages, items } = Self::MOST;
        if (1..=pages).contains(&self.pages) && (1..=items).contains(&self.items) {
            return Ok(());
        }
        let issue = format!("expected `pages` from 1 to {pages} and `items` from 1 to {items}");
        Err(Error::invalid(format!("`collect`: {issue}")).detail("collect", issue))
    }
}

/// Where the pages of an endpoint's answers say what comes after them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pages {
    /// Where the items of a page stand.
    pub(crate) items: Pointer,
    /// Where a page says whether there are more, when it says so at all.
    pub(crate) more: Option<Pointer>,
    /// How the next page is asked for.
    pub(crate) turn: Turn,
}

/// How the next page is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Turn {
    /// What stands here goes into a parameter.
    Cursor { at: Pointer, to: String },
    /// What stands here in the last item goes into a parameter.
    Last { at: Pointer, to: String },
    /// The query of the address that the header `Link` calls `next` (RFC 8288).
    Link(Query),
    /// The query of the address that stands here.
    Url { at: Pointer, query: Query },
    /// A parameter counts pages.
    Page { to: String, first: u64 },
    /// A parameter counts items.
    Offset { to: String },
}

/// Parameters of an endpoint by their names in the query.
pub(crate) type Query = BTreeMap<String, Parameter>;

/// A parameter that a query fills.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Parameter {
    pub(crate) name: String,
    /// Whether it is a whole number.
    pub(crate) is_number: bool,
}

/// One page.
pub(crate) struct Page<'a> {
    /// Its items, as they came.
    pub(crate) items: Vec<&'a RawValue>,
    /// The parameters that ask for the next one; `None` when this is the last.
    pub(crate) next: Option<Map<String, Value>>,
}

impl Pages {
    /// How the next page is asked for, in one word.
    pub fn by(&self) -> &'static str {
        match self.turn {
            Turn::Cursor { .. } | Turn::Last { .. } => "cursor",
            Turn::Link(_) | Turn::Url { .. } => "link",
            Turn::Page { .. } => "page",
            Turn::Offset { .. } => "offset",
        }
    }

    /// Reads the answer to a call with `params`; `None` when it is no page.
    pub(crate) fn read<'a>(
        &self,
        text: &'a str,
        headers: &HeaderMap,
        params: &Map<String, Value>,
    ) -> Option<Page<'a>> {
        let whole = serde_json::from_str::<&RawValue>(text).ok()?;
        let items = serde_json::from_str::<Vec<&RawValue>>(self.items.find(whole)?.get()).ok()?;
        let says_more = self.more.as_ref().and_then(|more| value(more.find(whole)?));
        let ends = says_more.is_some_and(|more| more == Value::Bool(false) || more.is_null());
        let next = if ends { None } else { self.next(whole, &items, headers, params) };
        // A page that leads to itself would never end.
        Some(Page { items, next: next.filter(|next| next != params) })
    }

    fn next(
        &self,
        whole: &RawValue,
        items: &[&RawValue],
        headers: &HeaderMap,
        params: &Map<String, Value>,
    ) -> Option<Map<String, Value>> {
        let mut next = params.clone();
        let number = |to: &str| params.get(to).and_then(Value::as_u64);
        match &self.turn {
            Turn::Cursor { at, to } => {
                next.insert(to.clone(), cursor(at.find(whole)?)?);
            }
            Turn::Last { at, to } => {
                next.insert(to.clone(), cursor(at.find(items.last()?)?)?);
            }
            Turn::Link(query) => fill(&mut next, &linked(headers)?, query)?,
            Turn::Url { at, query } => fill(&mut next, value(at.find(whole)?)?.as_str()?, query)?,
            Turn::Page { to, first } => {
                items.first()?;
                next.insert(to.clone(), (number(to).unwrap_or(*first) + 1).into());
            }
            Turn::Offset { to } => {
                items.first()?;
                let count = number(to).unwrap_or(0) + items.len() as u64;
                next.insert(to.clone(), count.into());
            }
        }
        Some(next)
    }
}

fn value(raw: &RawValue) -> Option<Value> {
    serde_json::from_str(raw.get()).ok()
}

/// A cursor; an empty one is none.
fn cursor(raw: &RawValue) -> Option<Value> {
    value(raw).filter(|cursor| match cursor {
        Value::String(text) => !text.is_empty(),
        Value::Number(_) => true,
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => false,
    })
}

/// The address that `Link` calls `next`.
fn linked(headers: &HeaderMap) -> Option<String> {
    let values = headers.get_all(header::LINK).iter().filter_map(|value| value.to_str().ok());
    let mut links = values.flat_map(|text| text.split('<').skip(1));
    links.find_map(|link| {
        let (address, rest) = link.split_once('>')?;
        let is_next = rest.split(';').any(|part| {
            let part = part.trim().trim_end_matches(',').trim_end();
            let relation = part.strip_prefix("rel=").unwrap_or_default();
            relation.trim_matches('"').split(' ').any(|word| word == "next")
        });
        is_next.then(|| address.to_owned())
    })
}

/// Takes the parameters over that the address names; `None` when it names none of them.
fn fill(next: &mut Map<String, Value>, address: &str, query: &Query) -> Option<()> {
    // Where it leads does not matter, so a relative one will do.
    let base = Url::parse("http://localhost/").ok()?;
    let address = base.join(address).ok()?;
    let mut is_any = false;
    for (wire, text) in address.query_pairs() {
        let Some(parameter) = query.get(&*wire) else { continue };
        let value = match parameter.is_number {
            true => Value::from(text.parse::<u64>().ok()?),
            false => Value::from(text.into_owned()),
        };
        next.insert(parameter.name.clone(), value);
        is_any = true;
    }
    is_any.then_some(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pointer(text: &str) -> Pointer {
        Pointer::parse(text).unwrap()
    }

    fn pages(items: &str, turn: Turn) -> Pages {
        Pages { items: pointer(items), more: None, turn }
    }

    /// The items as text, and what asks for the next page.
    fn read(pages: &Pages, text: &str, link: &str, params: &Value) -> Option<(Vec<String>, Value)> {
        let mut headers = HeaderMap::new();
        if !link.is_empty() {
            headers.insert(header::LINK, link.parse().unwrap());
        }
        let page = pages.read(text, &headers, params.as_object().unwrap())?;
        let items = page.items.iter().map(|item| item.get().to_owned()).collect();
        Some((items, page.next.map_or(Value::Null, Value::Object)))
    }

    #[test]
    fn a_cursor_goes_on_until_it_is_empty_and_numbers_stay_as_they_are() {
        let pages = pages("/a/list", Turn::Cursor { at: pointer("/meta/next"), to: "c".into() });
        let text =
            r#"{"a": {"list": [{"n": 1.50000000000000000000001}, 2]}, "meta": {"next": "x"}}"#;
        let (items, next) = read(&pages, text, "", &json!({"q": 1})).unwrap();
        assert_eq!(items, [r#"{"n": 1.50000000000000000000001}"#, "2"]);
        assert_eq!(next, json!({"q": 1, "c": "x"}));
        for end in [r#"{"next": ""}"#, r#"{"next": null}"#, "{}", "null"] {
            let text = format!(r#"{{"a": {{"list": []}}, "meta": {end}}}"#);
            assert_eq!(read(&pages, &text, "", &json!({})).unwrap().1, Value::Null, "{end}");
        }
        // The same cursor again leads nowhere.
        assert_eq!(read(&pages, text, "", &json!({"c": "x"})).unwrap().1, Value::Null);
        assert!(read(&pages, r#"{"a": {}}"#, "", &json!({})).is_none());
        assert!(read(&pages, "no", "", &json!({})).is_none());
    }

    #[test]
    fn the_last_item_leads_on_while_the_answer_says_so() {
        let turn = Turn::Last { at: pointer("/id"), to: "after".into() };
        let pages = Pages { more: Some(pointer("/has_more")), ..pages("/data", turn) };
        let text = |more: bool| json!({"data": [{"id": "a"}, {"id": "b"}], "has_more": more});
        let next = |more| read(&pages, &text(more).to_string(), "", &json!({})).unwrap().1;
        assert_eq!(next(true), json!({"after": "b"}));
        assert_eq!(next(false), Value::Null);
    }

    #[test]
    fn of_a_link_only_declared_parameters_are_taken() {
        let page = Parameter { name: "page".into(), is_number: true };
        let pages = pages("", Turn::Link(BTreeMap::from([("page".to_owned(), page)])));
        let next = |link: &str| read(&pages, "[1]", link, &json!({})).unwrap().1;
        let link = r#"<https://evil.test/x?page=3&token=t>; rel="next", <https://a.test/?page=9>; rel="last""#;
        assert_eq!(next(link), json!({"page": 3}));
        let last_first = r#"<https://a.test/?page=1>; rel="prev first", </?page=4>; rel=next"#;
        assert_eq!(next(last_first), json!({"page": 4}));
        for none in
            ["", r#"</?page=1>; rel="last""#, r#"</?page=x>; rel="next""#, r#"</?q=1>; rel="next""#]
        {
            assert_eq!(next(none), Value::Null, "{none}");
        }
    }

    #[test]
    fn counting_goes_on_until_a_page_is_empty() {
        let by_page = pages("", Turn::Page { to: "page".into(), first: 1 });
        let next = |pages: &Pages, text, params: Value| read(pages, text, "", &params).unwrap().1;
        assert_eq!(next(&by_page, "[1,2]", json!({})), json!({"page": 2}));
        assert_eq!(next(&by_page, "[1,2]", json!({"page": 7})), json!({"page": 8}));
        assert_eq!(next(&by_page, "[]", json!({"page": 7})), Value::Null);
        let by_offset = pages("", Turn::Offset { to: "from".into() });
        assert_eq!(next(&by_offset, "[1,2]", json!({"from": 4})), json!({"from": 6}));
        assert_eq!(next(&by_offset, "[]", json!({"from": 4})), Value::Null);
    }

    #[test]
    fn what_is_gathered_has_bounds() {
        Collect::default().check().unwrap();
        Collect::MOST.check().unwrap();
        for (pages, items) in [(0, 1), (1, 0), (101, 1), (1, 10_001)] {
            assert!(Collect { pages, items }.check().is_err());
        }
    }
}
