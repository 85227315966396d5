//! Signs by which answers are known: the access has ended, or the service is busy.

use http::StatusCode;
use serde_json::Value;

use crate::declaration::Table;

/// One kind of such answers: a status, and what stands in the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sign {
    status: Option<StatusCode>,
    /// Where in the body, and the values there that say it.
    body: Option<(String, Vec<String>)>,
}

impl Sign {
    /// Reads one table of `[[expired]]` or `[[busy]]`.
    pub(super) fn declare(table: &Table<'_>) -> Option<Self> {
        let status = table.count("status");
        let code = status.and_then(|code| StatusCode::from_u16(u16::try_from(code).ok()?).ok());
        if status.is_some() && code.is_none() {
            table.problem("status", "`status`: expected a status such as 403");
        }
        let (at, is) = (table.text("at"), table.texts("is"));
        table.end();
        let body = match (at, is.is_empty()) {
            (Some(at), false) if at.starts_with('/') => {
                Some((at.to_owned(), is.into_iter().map(str::to_owned).collect()))
            }
            (None, true) if code.is_some() => None,
            _ => {
                let expected = "expected a `status`, or a JSON Pointer `at` and the values it `is`";
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
        let Some((at, values)) = &self.body else { return true };
        let found = match body.and_then(|body| body.pointer(at)) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            Some(Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_)) | None => {
                return false;
            }
        };
        values.contains(&found)
    }
}
