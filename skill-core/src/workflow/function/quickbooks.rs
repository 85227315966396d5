//! QuickBooks: its query language, and its reports as a table.

use serde_json::{Map, Value, json};

use super::wrong;
use crate::error::Result;

/// The most rows of one answer of its query language.
const MOST: u64 = 1_000;
/// The most characters of a condition.
const LONGEST: usize = 2_000;
/// How deep the rows of a report may nest.
const DEEPEST: usize = 32;

/// A query that reads one entity: `select * from Customer where Active = true startposition 1
/// maxresults 100`.
///
/// Source of the grammar: <https://developer.intuit.com/app/developer/qbo/docs/learn/explore-the-quickbooks-online-api/data-queries>
pub(super) fn query(value: Option<Value>) -> Result<Option<Value>> {
    let given = value.unwrap_or_default();
    let is_word = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric());
    let Some(entity) = given.get("entity").and_then(Value::as_str).filter(|e| is_word(e)) else {
        return wrong("quickbooks-query", "`entity`, the name of one kind of record");
    };
    let number = |name: &str, standard: u64| match given.get(name) {
        None | Some(Value::Null) => Some(standard),
        Some(value) => value.as_u64(),
    };
    let (Some(limit), Some(offset)) = (number("limit", 100), number("offset", 0)) else {
        return wrong("quickbooks-query", "`limit` and `offset`, whole numbers");
    };
    if !(1..=MOST).contains(&limit) || offset > 10_000_000 {
        return wrong("quickbooks-query", "a `limit` of 1 to 1000 and an `offset` from 0");
    }
    let condition = match given.get("where") {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) if text.trim().is_empty() => String::new(),
        Some(Value::String(text)) => match conditions(text) {
            Ok(text) => format!(" where {text}"),
            Err(what) => return wrong("where", &what),
        },
        Some(_) => return wrong("where", "text"),
    };
    let start = offset + 1;
    let text =
        format!("select * from {entity}{condition} startposition {start} maxresults {limit}");
    Ok(Some(Value::String(text)))
}

/// A word of a condition.
#[derive(Debug, Clone, PartialEq)]
enum Token {
    Name(String),
    Text(String),
    Number(String),
    Sign(&'static str),
}

/// Reads conditions joined by `and` and writes them anew: whatever is anything else is refused, so
/// that no text can end the `where` and begin something else.
fn conditions(text: &str) -> Result<String, String> {
    if text.len() > LONGEST {
        return Err(format!("at most {LONGEST} characters"));
    }
    let tokens = tokens(text)?;
    let mut rest = tokens.iter().peekable();
    let mut made = Vec::new();
    loop {
        made.push(condition(&mut rest)?);
        match rest.next() {
            None => return Ok(made.join(" and ")),
            Some(Token::Name(word)) if word.eq_ignore_ascii_case("and") => {}
            Some(_) => return Err("`and` between conditions: there is no `or`".to_owned()),
        }
    }
}

type Rest<'a> = std::iter::Peekable<std::slice::Iter<'a, Token>>;

fn condition(rest: &mut Rest<'_>) -> Result<String, String> {
    let expected = || "conditions such as `Active = true and DisplayName like 'A%'`".to_owned();
    let Some(Token::Name(field)) = rest.next() else { return Err(expected()) };
    let words = [
        "select",
        "from",
        "where",
        "and",
        "or",
        "not",
        "in",
        "like",
        "startposition",
        "maxresults",
        "order",
        "orderby",
        "true",
        "false",
        "iterator",
    ];
    if words.contains(&field.to_ascii_lowercase().as_str()) {
        return Err(expected());
    }
    match rest.next() {
        Some(Token::Sign(sign)) if ["=", "<", ">", "<=", ">=", "!="].contains(sign) => {
            Ok(format!("{field} {sign} {}", literal(rest)?))
        }
        Some(Token::Name(word)) if word.eq_ignore_ascii_case("like") => match rest.next() {
            Some(Token::Text(text)) => Ok(format!("{field} like '{text}'")),
            Some(_) | None => Err("text in single quotes behind `like`".to_owned()),
        },
        Some(Token::Name(word)) if word.eq_ignore_ascii_case("in") => {
            let list = || "a list such as `('1', '2')` behind `in`".to_owned();
            if rest.next() != Some(&Token::Sign("(")) {
                return Err(list());
            }
            let mut items = vec![literal(rest)?];
            loop {
                match rest.next() {
                    Some(Token::Sign(",")) => items.push(literal(rest)?),
                    Some(Token::Sign(")")) => {
                        return Ok(format!("{field} in ({})", items.join(", ")));
                    }
                    Some(_) | None => return Err(list()),
                }
            }
        }
        Some(_) | None => Err(expected()),
    }
}

fn literal(rest: &mut Rest<'_>) -> Result<String, String> {
    match rest.next() {
        Some(Token::Text(text)) => Ok(format!("'{text}'")),
        Some(Token::Number(number)) => Ok(number.clone()),
        Some(Token::Name(word))
            if ["true", "false"].contains(&word.to_ascii_lowercase().as_str()) =>
        {
            Ok(word.to_ascii_lowercase())
        }
        Some(_) | None => Err("a value: text in single quotes, a number, true or false".to_owned()),
    }
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let signs = ["<=", ">=", "!=", "=", "<", ">", "(", ")", ","];
    let mut rest = text.trim_start();
    let mut tokens = Vec::new();
    while let Some(first) = rest.chars().next() {
        let token = if first == '\'' {
            let (inner, after) = quoted(&rest[1..])?;
            rest = after;
            Token::Text(inner.to_owned())
        } else if let Some(sign) = signs.into_iter().find(|sign| rest.starts_with(sign)) {
            rest = &rest[sign.len()..];
            Token::Sign(sign)
        } else {
            let is_word = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-';
            let end = rest.find(|c: char| !is_word(c)).unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            rest = after;
            match word.chars().next() {
                Some(c) if c.is_ascii_alphabetic() && !word.contains('-') => {
                    Token::Name(word.to_owned())
                }
                Some(_) if word.parse::<f64>().is_ok_and(f64::is_finite) => {
                    Token::Number(word.to_owned())
                }
                _ => return Err(format!("no `{first}`: text stands in single quotes")),
            }
        };
        tokens.push(token);
        rest = rest.trim_start();
    }
    Ok(tokens)
}

/// The text up to the closing quote, and what is behind it; `\'` is a quote inside.
fn quoted(text: &str) -> Result<(&str, &str), String> {
    let mut is_escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if c.is_control() => return Err("text without control characters".to_owned()),
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '\'' => return Ok((&text[..at], &text[at + 1..])),
            _ => {}
        }
    }
    Err("a closing quote".to_owned())
}

/// A report as a table: a row for each line, whatever it is nested in.
///
/// A report has `Columns.Column`, and `Rows.Row` of sections (`Header`, `Rows`, `Summary`) and data
/// (`ColData`), each with one value for each column.
pub(super) fn table(value: Option<Value>) -> Result<Option<Value>> {
    let report = value.unwrap_or_default();
    let Some(columns) = report.pointer("/Columns/Column").and_then(Value::as_array) else {
        return wrong("quickbooks-table", "a report with `Columns`");
    };
    let titles = titles(columns);
    let mut rows = Vec::new();
    walk(report.get("Rows"), &titles, &mut Vec::new(), &mut rows);
    let described = titles.iter().zip(columns).map(|(title, column)| {
        json!({"name": title, "type": column.get("ColType").cloned().unwrap_or_default()})
    });
    let described = described.collect::<Vec<_>>();
    Ok(Some(json!({"columns": described, "rows": rows})))
}

/// A name for each column, none of them twice.
fn titles(columns: &[Value]) -> Vec<String> {
    let mut titles = Vec::<String>::new();
    for (at, column) in columns.iter().enumerate() {
        let title = column.get("ColTitle").and_then(Value::as_str).unwrap_or_default().trim();
        let kind = column.get("ColType").and_then(Value::as_str).unwrap_or("Column");
        let title = if title.is_empty() { kind } else { title };
        let is_taken = titles.iter().any(|known| known == title);
        titles.push(if is_taken { format!("{title} {}", at + 1) } else { title.to_owned() });
    }
    titles
}

fn walk(rows: Option<&Value>, titles: &[String], path: &mut Vec<String>, made: &mut Vec<Value>) {
    let rows = rows.and_then(|rows| rows.get("Row")).and_then(Value::as_array);
    for row in rows.into_iter().flatten() {
        let data = |name: &str| row.get(name)?.get("ColData")?.as_array();
        if let Some(cells) = row.get("ColData").and_then(Value::as_array) {
            made.push(line("data", cells, titles, path));
        }
        let header = data("Header");
        if let Some(cells) = header {
            made.push(line("header", cells, titles, path));
        }
        let name = header.and_then(|cells| cells.first()?.get("value")?.as_str());
        let name = name.or_else(|| row.get("group").and_then(Value::as_str));
        let is_inside = row.get("Rows").is_some() && path.len() < DEEPEST;
        if is_inside {
            path.push(name.unwrap_or_default().to_owned());
            walk(row.get("Rows"), titles, path, made);
            path.pop();
        }
        if let Some(cells) = data("Summary") {
            made.push(line("summary", cells, titles, path));
        }
    }
}

fn line(kind: &str, cells: &[Value], titles: &[String], path: &[String]) -> Value {
    let mut values = Map::new();
    for (title, cell) in titles.iter().zip(cells) {
        values.insert(title.clone(), amount(cell.get("value")));
    }
    let id = cells.first().and_then(|cell| cell.get("id")).cloned().unwrap_or_default();
    let section = path.join(" / ");
    json!({"kind": kind, "section": section, "depth": path.len(), "id": id, "values": values})
}

/// A cell: an amount as a number, everything else as text, an empty one as nothing.
fn amount(cell: Option<&Value>) -> Value {
    let Some(text) = cell.and_then(Value::as_str) else { return cell.cloned().unwrap_or_default() };
    let is_amount =
        text.bytes().all(|b| b.is_ascii_digit() || b == b'.' || b == b'-') && text.contains('.');
    match serde_json::from_str::<Value>(text) {
        Ok(number @ Value::Number(_)) if is_amount => number,
        _ if text.is_empty() => Value::Null,
        _ => Value::String(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(condition: &str) -> Result<String> {
        let given = json!({"entity": "Customer", "where": condition, "limit": 10, "offset": 20});
        query(Some(given)).map(|made| made.unwrap().as_str().unwrap().to_owned())
    }

    #[test]
    fn a_query_reads_one_entity() {
        let plain = query(Some(json!({"entity": "Customer"}))).unwrap().unwrap();
        assert_eq!(plain, "select * from Customer startposition 1 maxresults 100");
        assert_eq!(
            asked(r"Active=true AND DisplayName LIKE 'O\'Brien%' and Balance >= 10.5").unwrap(),
            r"select * from Customer where Active = true and DisplayName like 'O\'Brien%' and Balance >= 10.5 startposition 21 maxresults 10"
        );
        assert_eq!(
            asked("Id in ('1', '2') and MetaData.CreateTime > '2026-01-01'").unwrap(),
            "select * from Customer where Id in ('1', '2') and MetaData.CreateTime > '2026-01-01' startposition 21 maxresults 10"
        );
    }

    #[test]
    fn nothing_ends_the_condition_and_begins_something_else() {
        for text in [
            "Active = true maxresults 1000",
            "Active = true startposition 1",
            "Active = true; delete from Customer",
            "Active = true order by Id",
            "Active = true or Active = false",
            "Id = '1' from Invoice",
            "Id = '1' and select * from Invoice",
            "select * from Invoice",
            "Id = (select Id from Invoice)",
            "Id in ()",
            "Id in ('1'",
            "Id in '1'",
            "Id = 'open",
            r"Id = 'open\'",
            "Id = \"1\"",
            "Id == '1'",
            "Id = Id",
            "maxresults = 1",
            "Id like 7",
            "-- comment",
            "Id = '1' --",
            "Id = '1'\u{0} x",
            "Id = '\n'",
            "and",
        ] {
            let error = asked(text).unwrap_err();
            assert!(error.message().starts_with("`where`: expected"), "{text}: {error}");
        }
        for given in [
            json!({}),
            json!({"entity": "Customer where"}),
            json!({"entity": "A", "limit": 0}),
            json!({"entity": "A", "offset": -1}),
        ] {
            assert!(query(Some(given.clone())).is_err(), "{given}");
        }
    }

    #[test]
    fn a_report_becomes_a_table() {
        let report = json!({
            "Columns": {"Column": [{"ColTitle": "", "ColType": "Account"}, {"ColTitle": "Total", "ColType": "Money"}]},
            "Rows": {"Row": [
                {"Header": {"ColData": [{"value": "Income"}, {"value": ""}]},
                 "Rows": {"Row": [{"ColData": [{"value": "Sales", "id": "79"}, {"value": "100.50"}], "type": "Data"}]},
                 "Summary": {"ColData": [{"value": "Total Income"}, {"value": "100.50"}]}, "type": "Section", "group": "Income"},
                {"Summary": {"ColData": [{"value": "Net Income"}, {"value": "-3.00"}]}, "type": "Section", "group": "NetIncome"},
            ]},
        });
        let table = table(Some(report)).unwrap().unwrap();
        assert_eq!(table["columns"][1], json!({"name": "Total", "type": "Money"}));
        let rows = table["rows"].as_array().unwrap();
        let kinds = rows.iter().map(|row| row["kind"].as_str().unwrap()).collect::<Vec<_>>();
        assert_eq!(kinds, ["header", "data", "summary", "summary"]);
        let sales = json!({"kind": "data", "section": "Income", "depth": 1, "id": "79", "values": {"Account": "Sales", "Total": 100.5}});
        assert_eq!(rows[1], sales);
        assert_eq!(rows[3]["values"], json!({"Account": "Net Income", "Total": -3.0}));
        assert!(self::table(Some(json!({"Fault": {}}))).is_err());
    }
}
