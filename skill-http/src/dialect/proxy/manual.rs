//! How an action is called, in words and examples, for whoever lists actions.

use serde_json::{Map, Value};
use skill_core::catalog::{Action, Catalog};

/// The errors of a call: status, code, and what to do.
const ERRORS: [(u16, &str, &str); 14] = [
    (400, "bad_request", "A parameter is missing or wrong: `details` names it."),
    (401, "unauthorized", "The API key is missing, wrong, expired or revoked."),
    (401, "token_expired", "The account's access has ended: a person opens `action_url`."),
    (403, "integration_not_connected", "No account is connected: a person opens `action_url`."),
    (403, "scope_not_allowed", "The API key may not call this action."),
    (404, "not_found", "There is no such integration, action or connection."),
    (409, "choose_connection", "Several accounts are connected: name one of `details`."),
    (409, "conflict", "A call with this idempotency key is still running."),
    (429, "rate_limit_exceeded", "Too many calls: wait for `retry_after` seconds."),
    (429, "daily_limit_reached", "The calls of today are used up."),
    (502, "upstream_error", "The service's answer cannot be passed on."),
    (502, "upstream_unavailable", "The service was not reached: nothing took effect."),
    (502, "outcome_unknown", "The connection was cut: nobody knows whether it took effect."),
    (504, "upstream_timeout", "The service did not answer in time."),
];

/// Errors that only calls with a connection can end in.
const OF_CONNECTIONS: [&str; 3] =
    ["token_expired", "integration_not_connected", "choose_connection"];

/// The errors that a call can end in.
pub(super) fn errors(
    needs_connection: bool,
) -> impl Iterator<Item = (u16, &'static str, &'static str)> {
    let can_be = move |code: &str| needs_connection || !OF_CONNECTIONS.contains(&code);
    ERRORS.into_iter().filter(move |(_, code, _)| can_be(code))
}

/// Whether a call acts as somebody's account.
pub(super) fn needs_connection(action: &Action) -> bool {
    match action {
        Action::Endpoint(operation) => operation.integration.auth().needs_connection(),
        Action::Skill(_) => false,
    }
}

/// Calls that show how an action is used: what each does, its parameters, what came back.
pub(super) type Examples = Vec<(String, Map<String, Value>, Option<Value>)>;

/// The declared examples, in the action's own parameters.
pub(super) fn examples(catalog: &Catalog, action: &Action) -> Examples {
    let Some(tool) = catalog.tool_of(&action.name()) else { return own(action) };
    // What a tool picks out of the answer is not what this call returns.
    let is_whole = action.form().outputs.is_none();
    let examples = tool.examples().iter().filter_map(|example| {
        let params = tool.call(example.input.clone()).ok()?;
        Some((example.name.clone(), params, example.output.clone().filter(|_| is_whole)))
    });
    examples.collect()
}

/// The declared example of an action that is no tool.
fn own(action: &Action) -> Examples {
    let Action::Endpoint(operation) = action else { return Vec::new() };
    let info = operation.endpoint.info();
    let example = info.example.iter().map(|params| (info.summary.clone(), params.clone(), None));
    example.collect()
}

/// Whether a call carries a file.
pub(super) fn takes_file(action: &Action) -> bool {
    match action {
        Action::Endpoint(operation) => operation.endpoint.info().takes_file,
        Action::Skill(_) => false,
    }
}

/// Parameters with placeholders: those that have to be given.
pub(super) fn placeholders(action: &Action) -> Map<String, Value> {
    let schema = action.schema().as_value();
    let required = schema.get("required").and_then(Value::as_array);
    let names = required.into_iter().flatten().filter_map(Value::as_str);
    let value = |name: &str| {
        let own = schema.get("properties").and_then(|all| all.get(name)).unwrap_or(&Value::Null);
        (name.to_owned(), placeholder(name, own))
    };
    names.map(value).collect()
}

fn placeholder(name: &str, schema: &Value) -> Value {
    let first =
        |key| schema.get(key).and_then(Value::as_array).and_then(|all| all.first()).cloned();
    let said = schema.get("default").or_else(|| schema.get("const")).cloned();
    let said = said.or_else(|| first("examples")).or_else(|| first("enum"));
    said.unwrap_or_else(|| match schema.get("type").and_then(Value::as_str) {
        Some("integer" | "number") => schema.get("minimum").cloned().unwrap_or_else(|| 1.into()),
        Some("boolean") => true.into(),
        Some("array") => Value::Array(Vec::new()),
        Some("object") => Value::Object(Map::new()),
        Some(_) | None => format!("<{name}>").into(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_placeholder_is_what_the_schema_would_take() {
        for (schema, expected) in [
            (json!({"type": "string"}), json!("<x>")),
            (json!({"enum": ["open", "closed"]}), json!("open")),
            (json!({"type": "string", "default": "a"}), json!("a")),
            (json!({"type": "integer", "minimum": 7}), json!(7)),
            (json!({"type": "array"}), json!([])),
            (json!({"type": ["string", "null"]}), json!("<x>")),
        ] {
            assert_eq!(placeholder("x", &schema), expected, "{schema}");
        }
    }

    #[test]
    fn what_needs_no_connection_has_no_errors_of_one() {
        assert!(errors(true).any(|(_, code, _)| code == "token_expired"));
        assert!(errors(false).all(|(_, code, _)| !OF_CONNECTIONS.contains(&code)));
    }
}
