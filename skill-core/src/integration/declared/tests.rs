use serde_json::json;

use super::*;
use crate::{endpoint::Draft, transport::Payload};

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

const GRAPH: &str = r#"
name = "Graph"
description = "One address for everything."
base_url = "https://graph.test"
auth = { scheme = "bearer" }
source = ["https://graph.test/docs"]
verified = "described"

[[expired]]
status = 400
at = "/errors/0/code"
is = ["AUTH", "7"]

[[expired]]
status = 419

[endpoints.rename]
summary = "Rename a thing"
method = "POST"
path = "/graphql"
fixed = { query = "mutation($id: ID!) { x }" }

[endpoints.rename.params]
id = { type = "string", required = true, name = "/variables/id" }
title = { type = "string", name = "/variables/input/title" }

[endpoints.list]
summary = "List things"
method = "GET"
path = "/things"
fixed = { all = true }
"#;

#[test]
fn what_is_fixed_is_always_sent_and_names_lead_into_the_body() {
    let graph = load(GRAPH).unwrap();
    let draft = |name: &str, params: Value| {
        graph.endpoint(name).unwrap().request(params.as_object().unwrap(), &Fields::new()).unwrap()
    };
    let rename = draft("rename", json!({"id": "1", "title": "T", "query": "evil"}));
    let sent: Value = serde_json::from_str(body(&rename)).unwrap();
    let expected = json!({
        "query": "mutation($id: ID!) { x }", "variables": {"id": "1", "input": {"title": "T"}},
    });
    assert_eq!(sent, expected);
    let list = draft("list", json!({}));
    let url = list.target.join(&"https://graph.test".parse().unwrap()).unwrap();
    assert_eq!(url.as_str(), "https://graph.test/things?all=true");
    for clash in ["/variables/id", "/variables"] {
        let text = GRAPH.replace("/variables/input/title", clash);
        assert!(load(&text).is_err(), "{clash}");
    }
}

#[test]
fn what_says_that_access_has_ended_is_a_status_or_a_place_in_the_body() {
    let graph = load(GRAPH).unwrap();
    let says = |status, body: Option<Value>| {
        graph.says_expired(StatusCode::from_u16(status).unwrap(), body.as_ref())
    };
    assert!(says(401, None) && says(419, None));
    assert!(says(400, Some(json!({"errors": [{"code": "AUTH"}]}))));
    assert!(says(400, Some(json!({"errors": [{"code": 7}]}))));
    assert!(!says(400, Some(json!({"errors": [{"code": "OTHER"}]}))));
    assert!(!says(400, None) && !says(403, Some(json!({"errors": [{"code": "AUTH"}]}))));
    let reads = |status| graph.reads_refusal(StatusCode::from_u16(status).unwrap());
    assert!(reads(400) && !reads(401) && !reads(419) && !reads(200));
    assert_eq!(graph.info().verified, Some(Verified::Described));
}

#[test]
fn a_declaration_extends_a_bundled_one_and_says_what_differs() {
    let text = "extends = \"github\"\nname = \"Our GitHub\"\nbase_url = \"https://git.acme.test/api/v3\"\n\
                [auth]\nauthorize_url = \"https://git.acme.test/login/oauth/authorize\"\n";
    let own = declared("our_github.toml", text, &Overrides::default()).unwrap();
    assert_eq!(own.info().slug.as_str(), "our_github");
    assert_eq!(own.base(&Fields::new()).unwrap().as_str(), "https://git.acme.test/api/v3");
    assert!(own.endpoint("create-issue").is_some() && own.auth().asks_a_person());
    let keyed = format!("{text}scheme = \"bearer\"\n").replace("authorize_url", "#");
    let keyed = declared("keyed.toml", &keyed, &Overrides::default()).unwrap();
    assert_eq!(keyed.auth().kind(), "bearer");
    for (text, line, file) in [
        ("\nextends = \"nowhere\"\n", 2, "x.toml"),
        ("extends = \"x\"\n", 1, "x.toml"),
        ("extends = \"github\"\n[auth]\nsurprise = 1\n", 3, "x.toml"),
    ] {
        let problems = declared("x.toml", text, &Overrides::default()).unwrap_err();
        let found = problems.iter().any(|p| p.line == line && p.file == file);
        assert!(found, "{text}: {problems:?}");
    }
    // What breaks in the file that is extended is named there.
    let text = "extends = \"github\"\n[params.repo]\npattern = \"(\"\n";
    let problems = declared("x.toml", text, &Overrides::default()).unwrap_err();
    assert!(problems.iter().all(|p| p.file == "github.toml"), "{problems:?}");
}

const BUSY: &str = r#"
[[busy]]
status = 403
at = "/error/errors/0/reason"
is = ["rateLimitExceeded"]

[[busy]]
status = 403
at = "/message"
like = "(?i)rate limit"
"#;

#[test]
fn a_service_says_in_its_own_way_that_it_is_busy() {
    let text = GOOD.replacen("\n[params.repo]", &format!("{BUSY}\n[params.repo]"), 1);
    let tasks = load(&text).unwrap();
    let busy = json!({"error": {"errors": [{"reason": "rateLimitExceeded"}]}});
    let refused = json!({"error": {"errors": [{"reason": "forbidden"}]}});
    assert!(tasks.reads_refusal(StatusCode::FORBIDDEN) && !tasks.reads_refusal(StatusCode::OK));
    assert!(tasks.says_busy(StatusCode::FORBIDDEN, Some(&busy)));
    assert!(!tasks.says_busy(StatusCode::FORBIDDEN, Some(&refused)));
    assert!(!tasks.says_busy(StatusCode::FORBIDDEN, None));
    let said = json!({"message": "You have exceeded a secondary rate limit."});
    assert!(tasks.says_busy(StatusCode::FORBIDDEN, Some(&said)));
    assert!(!tasks.says_busy(StatusCode::FORBIDDEN, Some(&json!({"message": "Not yours."}))));
    assert!(tasks.says_busy(StatusCode::TOO_MANY_REQUESTS, None));
}

#[test]
fn an_example_is_held_to_the_parameters() {
    let with = |example: &str| {
        let summary = "summary = \"List tasks\"";
        load(&GOOD.replace(summary, &format!("{summary}\nexample = {example}")))
    };
    let tasks = with("{ day = 7, tag = [\"a\"] }").unwrap();
    let endpoint = tasks.endpoint("list-tasks").unwrap();
    let example = endpoint.info().example.clone().unwrap();
    assert_eq!(example["day"], 7);
    let shown = &endpoint.info().tool.examples[0];
    assert_eq!((shown.name.as_str(), &shown.input), ("List tasks", &example));
    let line = 1 + GOOD.lines().position(|line| line == "summary = \"List tasks\"").unwrap() + 1;
    for (wrong, issue) in [
        ("{ day = \"x\" }", "`example`: `day`: expected type integer"),
        ("{ tag = [\"a\"] }", "day"),
        ("{ day = 7, week = 2 }", "there is no parameter `week`"),
        ("[1]", "expected a table"),
    ] {
        let problems = with(wrong).unwrap_err();
        assert!(problems.iter().any(|p| p.what.contains(issue) && p.line == line), "{problems:?}");
    }
}

/// Another service, with one endpoint that has these lines besides.
fn lies(top: &str, lines: &str) -> Result<Arc<dyn Integration>, Vec<Problem>> {
    load(&format!(
        "name = \"Files\"\ndescription = \"Files.\"\nbase_url = \"https://api.files.test/v1\"\n\
         {top}\n[auth]\nscheme = \"bearer\"\n[endpoints.put]\nsummary = \"Put\"\n\
         method = \"POST\"\npath = \"/items\"\n{lines}\n"
    ))
}

#[test]
fn an_endpoint_lies_elsewhere_only_on_hosts_that_the_declaration_lists() {
    let hosts = "hosts = [\"content.files.test\"]";
    for (own, expected) in [
        ("/upload/v1", "https://api.files.test/upload/v1/items"),
        ("https://api.files.test/v2", "https://api.files.test/v2/items"),
        ("https://content.files.test", "https://content.files.test/items"),
    ] {
        let service = lies(hosts, &format!("base_url = \"{own}\"")).unwrap();
        let draft =
            service.endpoint("put").unwrap().request(&serde_json::Map::new(), &Fields::new());
        let url = draft.unwrap().url(&service.base(&Fields::new()).unwrap()).unwrap();
        assert_eq!(url.as_str(), expected);
    }
    for elsewhere in [
        "https://evil.test",
        "https://content.files.test.evil.test",
        "https://x.content.files.test",
        "//content.files.test/x",
        "/a?b",
        "/a/{x}",
        "upload",
        "https://content.files.test/?a=b",
        "https://user@content.files.test/",
    ] {
        let refused = lies(hosts, &format!("base_url = \"{elsewhere}\""));
        assert!(refused.is_err(), "{elsewhere}");
    }
    for host in ["*.files.test", "files.test:443", "https://files.test", "localhost", "a b.test"] {
        assert!(lies(&format!("hosts = [\"{host}\"]"), "").is_err(), "{host}");
    }
    let of = |own: &str| {
        let service = lies(hosts, own).unwrap();
        service.endpoint("put").unwrap().info().revision.clone()
    };
    assert_ne!(of(""), of("base_url = \"/v2\""), "it means another request");
}

#[test]
fn a_file_goes_out_in_a_form_that_has_room_for_the_rest() {
    let text = "{ type = \"string\" }";
    for good in [
        "body = \"file\"\nparams = { q = { in = \"query\", type = \"string\" } }".to_owned(),
        format!("body = \"multipart\"\nfile = \"upload\"\nparams = {{ title = {text} }}"),
        "body = \"related\"\nparams = { a = { name = \"/a/b\", type = \"string\" } }".to_owned(),
    ] {
        let service = lies("", &format!("tool = false\n{good}")).unwrap();
        assert!(service.endpoint("put").unwrap().info().takes_file, "{good}");
        assert!(lies("", &good).is_err(), "a tool carries no file: {good}");
        assert!(lies("", &format!("tool = false\nat_most_once = true\n{good}")).is_err(), "{good}");
    }
    for wrong in [
        format!("body = \"file\"\nparams = {{ title = {text} }}"),
        "body = \"file\"\nfile = \"x\"".to_owned(),
        format!("body = \"multipart\"\nparams = {{ file = {text} }}"),
        "body = \"multipart\"\nfile = \"a\\\"; filename=\\\"b\"".to_owned(),
        format!("body = \"multipart\"\nparams = {{ \"a\\r\\nb\" = {text} }}"),
        "body = \"multipart\"\nparams = { a = { name = \"/a/b\", type = \"string\" } }".to_owned(),
        "body = \"related\"\nparams = { a = { whole = true, type = \"object\" } }".to_owned(),
        "body = \"tar\"".to_owned(),
        "answer = \"stream\"".to_owned(),
    ] {
        assert!(lies("", &format!("tool = false\n{wrong}")).is_err(), "{wrong}");
    }
}
