use super::*;

const GOOD: &str = r#"
name = "Tasks"
description = "A list of tasks."
base_url = "https://tasks.test/v1"
auth = { scheme = "bearer" }
headers = { accept = "application/json" }

[params.repo]
in = "path"
type = "string"

[endpoints.create_task]
summary = "Add a task"
method = "POST"
path = "/repos/{owner}/{repo}/tasks"
param_mapping = { repo = "{owner}/{repo}" }
idempotency_header = "Idempotency-Key"

[endpoints.create_task.params]
repo = "repo"
title = { type = "string", required = true }
tags = { type = "array", items = { type = "string" } }
trace = { in = "header", name = "X-Trace", type = "string" }

[endpoints.list_tasks]
summary = "List tasks"
method = "GET"
path = "/tasks/{day}"
params = { day = { in = "path", type = "integer" }, tag = { type = "array", list = "comma" } }
"#;

fn load(text: &str) -> Result<Arc<dyn Integration>, Vec<Problem>> {
    declared("tasks.toml", text, &Overrides::default())
}

fn draft(endpoint: &str, params: &Value) -> Result<Draft> {
    let endpoint = load(GOOD).unwrap().endpoint(endpoint).unwrap();
    endpoint.request(params.as_object().unwrap(), &Fields::new())
}

fn body(draft: &Draft) -> &str {
    let Payload::Bytes(bytes) = &draft.body else { return "" };
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn parameters_go_where_they_are_declared_and_nothing_else_is_sent() {
    let made = draft(
        "create-task",
        &json!({
            "repo": "acme/web", "title": "t", "tags": ["x"], "trace": "7",
            "Authorization": "evil", "base_url": "http://evil.test", "host": "evil.test",
        }),
    )
    .unwrap();
    let base = "https://tasks.test/v1".parse().unwrap();
    assert_eq!(
        made.target.join(&base).unwrap().as_str(),
        "https://tasks.test/v1/repos/acme/web/tasks"
    );
    assert_eq!(body(&made), r#"{"tags":["x"],"title":"t"}"#);
    assert_eq!(made.headers["x-trace"], "7");
    assert!(!format!("{made:?}").contains("evil"));
}

#[test]
fn a_mapped_parameter_fills_exactly_its_places() {
    for repo in ["acme", "acme/web/x", "acme/", "/", "../x", "a/..", ""] {
        assert!(draft("create-task", &json!({"repo": repo, "title": "t"})).is_err(), "{repo}");
    }
}

#[test]
fn numbers_fill_paths_and_lists_fill_queries() {
    let made = draft("list-tasks", &json!({"day": 7, "tag": ["a", "b&c"]})).unwrap();
    let url = made.target.join(&"https://a.test".parse().unwrap()).unwrap();
    assert_eq!(url.as_str(), "https://a.test/tasks/7?tag=a%2Cb%26c");
}

#[test]
fn an_override_replaces_what_the_file_says() {
    let mut overrides = Overrides::default();
    overrides.text("base_url", "http://127.0.0.1:1/x");
    let changed = declared("tasks.toml", GOOD, &overrides).unwrap();
    assert_eq!(changed.base(&Fields::new()).unwrap().as_str(), "http://127.0.0.1:1/x");
}

#[test]
fn every_problem_of_a_file_is_named_with_its_line() {
    let text = r#"name = "X"
base_url = "ftp://x"
auth = { scheme = "magic" }
surprise = 1

[endpoints.one]
summary = "One"
method = "FETCH"
path = "/a/{b}"

[endpoints.two]
summary = "Two"
method = "GET"
path = "/a/{b}"
params = { c = { type = "nothing" }, host = { in = "header", type = "string" } }
"#;
    let problems = load(text).unwrap_err();
    let shown = problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    insta::assert_snapshot!(shown);
}

#[test]
fn the_revision_changes_with_the_meaning_only() {
    let revision =
        |text: &str| load(text).unwrap().endpoint("list-tasks").unwrap().info().revision.clone();
    assert_eq!(revision(GOOD), revision(&GOOD.replace("List tasks", "Show tasks")));
    assert_ne!(revision(GOOD), revision(&GOOD.replace("/tasks/{day}", "/jobs/{day}")));
}
