//! Functions of numbers and lists.

use std::collections::BTreeMap;

use serde_json::{Map, Number, Value, json};

use super::wrong;
use crate::error::Result;

/// The sum of numbers; whole as long as they are.
pub(super) fn add(value: Option<Value>) -> Result<Option<Value>> {
    let Some(Value::Array(items)) = value else { return wrong("add", "a list of numbers") };
    let whole = items.iter().map(Value::as_i64).collect::<Option<Vec<_>>>();
    let sum = whole.and_then(|all| all.into_iter().try_fold(0_i64, i64::checked_add));
    if let Some(sum) = sum {
        return Ok(Some(sum.into()));
    }
    let sum = items.iter().map(Value::as_f64).sum::<Option<f64>>().and_then(Number::from_f64);
    match sum {
        Some(sum) => Ok(Some(Value::Number(sum))),
        None => wrong("add", "a list of numbers"),
    }
}

/// How many items a list has.
pub(super) fn count(value: Option<Value>) -> Result<Option<Value>> {
    match value {
        None | Some(Value::Null) => Ok(Some(0.into())),
        Some(Value::Array(items)) => Ok(Some(items.len().into())),
        Some(_) => wrong("count", "a list"),
    }
}

/// A value as a list.
pub(super) fn list(value: Option<Value>) -> Result<Option<Value>> {
    Ok(Some(match value {
        None | Some(Value::Null) => json!([]),
        Some(items @ Value::Array(_)) => items,
        Some(value) => json!([value]),
    }))
}

/// A value as text.
pub(super) fn json_text(value: Option<Value>) -> Result<Option<Value>> {
    Ok(match value {
        None | Some(Value::Null) => None,
        Some(text @ Value::String(_)) => Some(text),
        Some(value) => Some(Value::String(value.to_string())),
    })
}

/// The order of a query.
pub(super) fn order_by(value: Option<Value>) -> Result<Option<Value>> {
    let Some(Value::Object(mut given)) = value else { return Ok(None) };
    match given.remove("field") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(field)) => Ok(Some(json!([{ field.as_str(): "asc" }]))),
        Some(_) => wrong("order-by", "`field`, a string"),
    }
}

/// Rows in groups: one for each value of a field, in the order of the values.
pub(super) fn group(value: Option<Value>) -> Result<Option<Value>> {
    let Some(Value::Object(mut given)) = value else { return Ok(None) };
    let by = match given.remove("by") {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(by)) => by,
        Some(_) => return wrong("group-rows", "`by`, a string"),
    };
    let sums = match given.remove("sum") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(names)) => names,
        Some(_) => return wrong("group-rows", "`sum`, a list of names"),
    };
    let sums = sums.iter().filter_map(Value::as_str).collect::<Vec<_>>();
    let rows = match given.remove("rows") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(rows)) => rows,
        Some(_) => return wrong("group-rows", "`rows`, a list"),
    };
    let mut groups = BTreeMap::<String, (Value, u64, Vec<f64>)>::new();
    for row in &rows {
        let key = member(row, &by).cloned().unwrap_or_default();
        let new = || (key.clone(), 0, vec![0.0; sums.len()]);
        let (_, count, totals) = groups.entry(key.to_string()).or_insert_with(new);
        *count += 1;
        for (total, name) in totals.iter_mut().zip(&sums) {
            *total += member(row, name).and_then(amount).unwrap_or_default();
        }
    }
    let made = groups.into_values().map(|(value, count, totals)| {
        let mut group =
            Map::from_iter([("value".to_owned(), value), ("count".to_owned(), count.into())]);
        for (total, name) in totals.into_iter().zip(&sums) {
            // Amounts have two places, or a few more: sums of them have no more than nine.
            let total = Number::from_f64((total * 1e9).round() / 1e9);
            group.insert((*name).to_owned(), total.map_or(Value::Null, Value::Number));
        }
        Value::Object(group)
    });
    Ok(Some(Value::Array(made.collect())))
}

/// The member of this name, or what stands inside of one behind a dot.
fn member<'a>(row: &'a Value, name: &str) -> Option<&'a Value> {
    row.get(name).or_else(|| {
        let (first, rest) = name.split_once('.')?;
        member(row.get(first)?, rest)
    })
}

/// A number, which some services write as text.
fn amount(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok().filter(|amount: &f64| amount.is_finite()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_counts_and_lists() {
        assert_eq!(add(Some(json!([1, 2]))).unwrap(), Some(json!(3)));
        assert_eq!(add(Some(json!([1, 0.5]))).unwrap(), Some(json!(1.5)));
        assert!(add(Some(json!(["1"]))).is_err() && add(None).is_err());
        assert_eq!(count(None).unwrap(), Some(json!(0)));
        assert_eq!(count(Some(json!([1, 2]))).unwrap(), Some(json!(2)));
        assert!(count(Some(json!("12"))).is_err());
        assert_eq!(list(Some(json!({"a": 1}))).unwrap(), Some(json!([{"a": 1}])));
        assert_eq!(list(None).unwrap(), Some(json!([])));
        assert_eq!(json_text(Some(json!([{"a": 1}]))).unwrap(), Some(json!(r#"[{"a":1}]"#)));
        assert_eq!(json_text(None).unwrap(), None);
        assert_eq!(order_by(Some(json!({"field": "id"}))).unwrap(), Some(json!([{"id": "asc"}])));
        assert_eq!(order_by(None).unwrap(), None);
    }

    #[test]
    fn rows_are_grouped_by_a_field_and_its_amounts_added_up() {
        let rows = json!([
            {"glAccount.id": "4000", "amount": "10.10"},
            {"glAccount": {"id": "1000"}, "amount": 5},
            {"glAccount.id": "4000", "amount": "0.20"},
        ]);
        let given = json!({"rows": rows, "by": "glAccount.id", "sum": ["amount"]});
        let expected = json!([
            {"value": "1000", "count": 1, "amount": 5.0},
            {"value": "4000", "count": 2, "amount": 10.3},
        ]);
        assert_eq!(group(Some(given)).unwrap(), Some(expected));
        assert_eq!(group(Some(json!({"rows": []}))).unwrap(), None);
    }
}
