//! `/v1/skills` and `/v1/{integration}/download`: what can be called, and how.

use http::Method;
use serde_json::{Value, json};

use crate::world::{TestServer, declarations::head, provider::json as json_answer, server, setup};

/// A service with an endpoint of a name that a route has as well.
const FILES: &str = r#"
[params.repo]
in = "path"
type = "string"

[endpoints.download]
summary = "Download a | file's content"
method = "POST"
path = "/files/{repo}"
class = "read"
rate_limit = 2
status = "beta"
group = "files"

[endpoints.download.params]
repo = "repo"

[endpoints.download.params.format]
type = "string"
enum = ["zip", "tar|gz"]
default = "zip"
description = "How it is\npacked."

[endpoints.download.tool]
inputs.repo = "{owner}~{name}"

[[endpoints.download.tool.examples]]
name = "Get it's zip"
input = { owner = "o'hara", name = "web", format = "zip" }
output = { size = 1 }

[endpoints.drop]
summary = "Throw everything away."
method = "DELETE"
path = "/files"
status = "deprecated"
"#;

async fn files() -> TestServer {
    let place = "127.0.0.1:9".parse().unwrap();
    let text = format!("{}{FILES}", head("Files", "http://127.0.0.1:9", "scheme = \"bearer\""));
    setup().public_url("https://skill.test").declare("my_files", place, text).start().await
}

async fn get(server: &TestServer, path: &str) -> Value {
    server.with_key(Method::GET, path).header("host", "skill.test").send().await.ok(200)
}

/// The integrations of a list, by slug.
fn slugs(list: &Value) -> Vec<&str> {
    let all = list["integrations"].as_array().unwrap();
    all.iter().map(|one| one["slug"].as_str().unwrap()).collect()
}

async fn is_connected(server: &TestServer, slug: &str) -> bool {
    let one = server.get(&format!("/v1/skills/{slug}")).await.ok(200);
    let list = server.get("/v1/skills").await.ok(200);
    let of_list = list["integrations"].as_array().unwrap().iter().find(|one| one["slug"] == slug);
    assert_eq!(of_list.unwrap()["connected"], one["connected"]);
    one["connected"].as_bool().unwrap()
}

#[tokio::test]
async fn the_list_says_what_there_is_and_who_is_connected() {
    let server = server().await;
    let list = server.get("/v1/skills").await.ok(200);
    assert_eq!(
        slugs(&list),
        ["basic", "github", "honest", "keyed", "lab", "open", "queried", "scripty", "tokened"]
    );
    let of = |slug: &str| {
        let all = list["integrations"].as_array().unwrap();
        all.iter().find(|one| one["slug"] == slug).unwrap().clone()
    };
    let keyed = json!({
        "slug": "keyed", "name": "Keyed", "description": "A test.", "auth_type": "api_key",
        "connected": false, "endpoint_count": 2, "docs": null, "verified": null,
    });
    assert_eq!(of("keyed"), keyed);
    assert_eq!(of("github")["auth_type"], "oauth2");
    assert_eq!(of("open")["connected"], true, "it needs no connection");
    let lab = of("lab");
    assert_eq!((&lab["name"], &lab["auth_type"]), (&json!("Lab"), &json!("none")), "skills");
}

#[tokio::test]
async fn connected_is_who_asks() {
    let server = server().await;
    assert!(!is_connected(&server, "keyed").await);
    server.answers("GET", "/whoami", json_answer(200, r#"{"login":"a"}"#)).await;
    let body = json!({"integration": "keyed", "credentials": {"api_key": "k"}});
    server.post("/v1/connect", &body).await.ok(200);
    assert!(is_connected(&server, "keyed").await);
    let other = server.key_of("other", "*").await;
    let list = server.ask(Method::GET, "/v1/skills/keyed").key(&other).send().await.ok(200);
    assert_eq!(list["connected"], false, "another owner");
}

#[tokio::test]
async fn an_integration_lists_its_endpoints() {
    let server = files().await;
    let shown = get(&server, "/v1/skills/my-files").await;
    assert_eq!((&shown["slug"], &shown["endpoint_count"]), (&json!("my_files"), &json!(2)));
    let endpoints = json!([
        {
            "name": "download", "method": "POST", "description": "Download a | file's content",
            "group": "files", "class": "read", "status": "beta",
        },
        {
            "name": "drop", "method": "DELETE", "description": "Throw everything away.",
            "group": "files", "class": "destructive", "status": "deprecated",
        },
    ]);
    assert_eq!(shown["endpoints"], endpoints);
}

#[tokio::test]
async fn an_endpoint_says_how_it_is_called() {
    let server = files().await;
    let mut shown = get(&server, "/v1/skills/my_files/download").await;
    let errors = shown["errors"].take();
    assert!(errors.as_array().unwrap().iter().any(|one| one["error"] == "token_expired"));
    insta::assert_snapshot!(serde_json::to_string_pretty(&shown).unwrap());
}

#[tokio::test]
async fn examples_show_the_actions_own_parameters() {
    let server = server().await;
    let shown = server.get("/v1/skills/github/list-prs").await.ok(200);
    let params = json!({"repo": "acme/webapp", "state": "open"});
    assert_eq!(shown["examples"][0]["params"], params);
    assert_eq!(shown["examples"][0]["data"], Value::Null, "the tool's output is none of the call");
    assert_eq!(shown["parameters"][0]["name"], "repo");
    assert_eq!(shown["parameters_schema"]["required"], json!(["repo"]));
}

#[tokio::test]
async fn skills_are_found_where_they_are_called() {
    let server = server().await;
    let shown = server.get("/v1/skills/lab").await.ok(200);
    let names = shown["endpoints"].as_array().unwrap().iter().map(|one| one["name"].clone());
    let names = names.collect::<Vec<_>>();
    assert!(names.contains(&json!("run")), "{names:?}");
    let run = server.get("/v1/skills/lab/run").await.ok(200);
    assert_eq!((&run["method"], &run["group"]), (&json!("POST"), &json!("skills")));
    assert!(run["errors"].as_array().unwrap().iter().all(|one| one["error"] != "token_expired"));
    let folder = server.get("/v1/lab/download").await.ok(200);
    let files = folder["files"].as_array().unwrap();
    assert_eq!(files.len(), names.len() + 1);
    assert!(files.iter().any(|file| file["file_path"] == "endpoints/skills/run.md"));
}

#[tokio::test]
async fn a_key_sees_what_it_may_call() {
    let server = server().await;
    let key = server.key_of("default", "keyed,open/search").await;
    let ask = |path: &'static str| server.ask(Method::GET, path).key(&key).send();
    assert_eq!(slugs(&ask("/v1/skills").await.ok(200)), ["keyed", "open"]);
    let open = ask("/v1/skills/open").await.ok(200);
    assert_eq!(
        (open["endpoint_count"].as_u64(), open["endpoints"].as_array()),
        (Some(1), { open["endpoints"].as_array().filter(|all| all[0]["name"] == "search") })
    );
    let folder = ask("/v1/open/download").await.ok(200);
    assert_eq!(folder["files"].as_array().unwrap().len(), 2);
    ask("/v1/skills/open/search").await.ok(200);
    for path in [
        "/v1/skills/open/create",
        "/v1/skills/open/nope",
        "/v1/skills/github",
        "/v1/skills/github/get_repo",
        "/v1/skills/nope",
        "/v1/github/download",
        "/v1/nope/download",
    ] {
        ask(path).await.is_error(403, "scope_not_allowed");
    }
    ask("/v1/skills/keyed/nope").await.is_error(404, "not_found");
}

#[tokio::test]
async fn what_is_not_there_is_404() {
    let server = server().await;
    for path in [
        "/v1/skills/nope",
        "/v1/skills/GitHub",
        "/v1/skills/github/nope",
        "/v1/skills/github/GET",
        "/v1/nope/download",
        "/v1/GitHub/download",
        "/v1/tools/download",
        "/v1/skills/",
    ] {
        assert_eq!(server.get(path).await.status.as_u16(), 404, "{path}");
    }
}

#[tokio::test]
async fn a_key_is_needed_and_other_methods_are_405() {
    let server = server().await;
    for path in ["/v1/skills", "/v1/skills/open", "/v1/skills/open/search", "/v1/open/download"] {
        server.ask(Method::GET, path).send().await.is_error(401, "unauthorized");
        let answer = server.ask(Method::PUT, path).send().await;
        assert_eq!(answer.status.as_u16(), 405, "{path}");
        let allow = if path.ends_with("download") { "GET, HEAD, POST" } else { "GET, HEAD" };
        assert_eq!(answer.header("allow"), allow, "{path}");
    }
}

#[tokio::test]
async fn an_endpoint_may_be_called_download() {
    let server = files().await;
    let call = server.with_key(Method::POST, "/v1/my_files/download").header("host", "skill.test");
    call.json(&json!({"params": {"repo": "a"}}))
        .send()
        .await
        .is_error(403, "integration_not_connected");
    let folder = get(&server, "/v1/my_files/download").await;
    assert_eq!(folder["slug"], "my_files");
}

#[tokio::test]
async fn a_folder_is_an_agent_skill() {
    let server = files().await;
    let folder = get(&server, "/v1/my_files/download").await;
    assert_eq!(folder, get(&server, "/v1/my-files/download").await);
    let mut text = String::new();
    for file in folder["files"].as_array().unwrap() {
        let (path, content) = (&file["file_path"], &file["content"]);
        text += &format!("==== {}\n{}", path.as_str().unwrap(), content.as_str().unwrap());
    }
    insta::assert_snapshot!(text);
}

#[tokio::test]
async fn the_front_matter_keeps_to_the_form() {
    let server = server().await;
    let folder = server.get("/v1/github/download").await.ok(200);
    let overview = folder["files"][0]["content"].as_str().unwrap();
    let (head, _) = overview.strip_prefix("---\n").unwrap().split_once("\n---\n").unwrap();
    let line = |key: &str| head.lines().find_map(|line| line.strip_prefix(&format!("{key}: ")));
    assert_eq!(line("name"), Some("github"));
    let description: String = serde_json::from_str(line("description").unwrap()).unwrap();
    assert!((1..=1024).contains(&description.chars().count()), "{description}");
    assert!(line("version").unwrap().starts_with("\"1.0.0+"));
    let links = overview.split("](").skip(1).map(|rest| rest.split_once(')').unwrap().0);
    let paths = folder["files"].as_array().unwrap().iter().skip(1);
    let paths = paths.map(|file| file["file_path"].as_str().unwrap());
    let (mut links, mut paths) = (links.collect::<Vec<_>>(), paths.collect::<Vec<_>>());
    links.sort_unstable();
    paths.sort_unstable();
    assert_eq!(links, paths, "every file is linked once");
}
