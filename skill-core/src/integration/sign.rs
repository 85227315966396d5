//! Signs by which answers are known: the access has ended, or the service is busy.

use http::StatusCode;
use serde_json::{Value, json};

use crate::{declaration::Table, schema::Schema};

/// What stands in a body.
#[derive(Debug)]
enum Text {
    /// One of these.
    Is(Vec<String>),
    /// Text that fits a pattern.
    Like(Schema),
}

/// One kind of such answers: a status, and what stands in the body.
#[derive(Debug)]
pub(super) struct Sign {
    status: Option<StatusCode>,
    /// Where in the body, and what there says it.
    body: Option<(String, Text)>,
}

impl Sign {
    /// Reads one table of `[[expired]]` or `[[busy]]`.
    pub(super) fn declare(table: &Table<'_>) -> Option<Self> {
        let status = table.count("status");
        let code = status.and_then(|code| StatusCode::from_u16(u16::try_from(code).ok()?).ok());
        if status.is_some() && code.is_none() {
            table.problem("status", "`status`: expected a status such as 403");
        }
        let (at, is, like) = (table.text("at"), table.texts("is"), table.text("like"));
        table.end();
        let body = match (at, is.is_empty(), like) {
            (Some(at), false, None) if at.starts_with('/') => {
                Some((at.to_owned(), Text::Is(is.into_iter().map(str::to_owned).collect())))
            }
            (Some(at), true, Some(pattern)) if at.starts_with('/') => {
                Some((at.to_owned(), Text::Like(like_this(table, pattern)?)))
            }
            (None, true, None) if code.is_some() => None,
            _ => {
                let expected = "expected a `status`, or a JSON Pointer `at` and the values it `is`, \
                                or what it is `like`";
                table.problem("at", expected);
                return None;
            }
        };
        Some(Self { status: code, body })
    }

    /// Whether it takes the body to say.
    pub(super) fn needs_body(&self, status: StatusCode) -> bool {
        self.body.is_some() && self.status.is_none_or(|own| own == status)
    }

    pub(super) fn fits(&self, status: StatusCode, body: Option<&Value>) -> bool {
        if self.status.is_some_and(|own| own != status) {
            return false;
        }
        let Some((at, text)) = &self.body else { return true };
        let found = match body.and_then(|body| body.pointer(at)) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            Some(Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_)) | None => {
                return false;
            }
        };
        match text {
            Text::Is(values) => values.contains(&found),
            Text::Like(pattern) => pattern.check(&Value::String(found)).is_ok(),
        }
    }
}

/// A pattern; what was checked when this crate was built is compiled when it is first needed.
fn like_this(table: &Table<'_>, pattern: &str) -> Option<Schema> {
    let schema = json!({ "type": "string", "pattern": pattern });
    if table.is_trusted() {
        return Some(Schema::trusted(schema));
    }
    let compiled = Schema::compile(schema);
    compiled.map_err(|_| table.problem("like", "`like`: expected a regular expression")).ok()
}
