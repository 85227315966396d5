//! `/openapi.json`: what it says, and that it says it of every route.

use http::Method;
use serde_json::Value;

use crate::world::server;

async fn document() -> Value {
    let server = server().await;
    let answer = server.ask(Method::GET, "/openapi.json").send().await;
    answer.ok(200)
}

/// Every operation: method, path and itself.
fn operations(document: &Value) -> Vec<(String, Value)> {
    let paths = document["paths"].as_object().unwrap();
    let of = |(path, item): (&String, &Value)| {
        let item = item.as_object().unwrap().clone();
        let path = path.clone();
        item.into_iter().map(move |(method, operation)| {
            (format!("{} {path}", method.to_uppercase()), operation)
        })
    };
    paths.iter().flat_map(of).collect()
}

#[tokio::test]
async fn every_route_and_every_endpoint_is_listed() {
    let document = document().await;
    let listed = operations(&document)
        .into_iter()
        .map(|(name, operation)| format!("{name} {}", operation["operationId"].as_str().unwrap()));
    // Of the bundled GitHub one endpoint will do.
    let is_shown = |line: &String| !line.contains("github") || line.contains("create_issue ");
    insta::assert_snapshot!(listed.filter(is_shown).collect::<Vec<_>>().join("\n"));
}

#[tokio::test]
async fn it_has_the_structure_of_openapi_3_1() {
    let document = document().await;
    assert_eq!(document["openapi"], "3.1.0");
    assert!(document["info"]["title"].is_string() && document["info"]["version"].is_string());
    assert!(document["servers"][0]["url"].as_str().unwrap().starts_with("http://127.0.0.1:"));
    let mut ids = Vec::new();
    for (name, operation) in operations(&document) {
        ids.push(operation["operationId"].as_str().unwrap().to_owned());
        let responses = operation["responses"].as_object().unwrap();
        assert!(!responses.is_empty(), "{name}");
        for (status, response) in responses {
            assert!(status.parse::<u16>().is_ok() && response["description"].is_string(), "{name}");
        }
        let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
        let named = parameters.iter().filter(|one| one["in"] == "path");
        let named = named.map(|one| one["name"].as_str().unwrap()).collect::<Vec<_>>();
        let braced = name.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
        assert_eq!(named, braced.collect::<Vec<_>>(), "{name}");
        assert!(parameters.iter().all(|one| one["schema"].is_object()), "{name}");
    }
    let count = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), count, "every operation has an id of its own");
}

#[tokio::test]
async fn every_reference_leads_somewhere() {
    let document = document().await;
    let mut found = 0;
    walk(&document, &mut |value| {
        let Some(reference) = value.get("$ref").and_then(Value::as_str) else { return };
        found += 1;
        let pointer = reference.strip_prefix('#').expect("a reference into the document");
        assert!(document.pointer(pointer).is_some(), "{reference}");
    });
    assert!(found > 10, "{found}");
}

fn walk(value: &Value, visit: &mut impl FnMut(&Value)) {
    visit(value);
    match value {
        Value::Array(items) => items.iter().for_each(|item| walk(item, visit)),
        Value::Object(members) => members.values().for_each(|member| walk(member, visit)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[tokio::test]
async fn an_endpoint_of_the_catalogue_is_a_path_with_its_schema() {
    let document = document().await;
    let operation = &document["paths"]["/v1/github/create_issue"]["post"];
    assert_eq!(operation["tags"], serde_json::json!(["github"]));
    let body = &operation["requestBody"]["content"]["application/json"]["schema"];
    let params = &body["properties"]["params"];
    assert_eq!(params["required"], serde_json::json!(["repo", "title"]));
    assert_eq!(params["properties"]["labels"]["type"], "array");
    assert_eq!(operation["x-skill"]["upstream"], "POST /repos/{owner}/{repo}/issues");
    assert!(operation["responses"]["200"].is_object());
    assert!(operation["responses"]["429"].is_object());
}

#[tokio::test]
async fn what_needs_no_key_says_so() {
    let document = document().await;
    assert_eq!(document["security"].as_array().unwrap().len(), 2);
    for (name, operation) in operations(&document) {
        let is_open = operation["security"] == serde_json::json!([]);
        // The token in the address of a trigger is all that it takes.
        let devices = ["/auth/device/code", "/auth/device/token", "/webhooks/{token}"];
        let watched = ["/healthz", "/readyz", "/metrics", "/openapi.json"];
        assert_eq!(
            is_open,
            devices.iter().chain(&watched).any(|path| name.ends_with(path)),
            "{name}"
        );
    }
}

#[tokio::test]
async fn text_is_not_called_json() {
    let document = document().await;
    let content = &document["paths"]["/metrics"]["get"]["responses"]["200"]["content"];
    assert!(content["text/plain"].is_object(), "{content}");
}

#[tokio::test]
async fn a_documented_status_is_the_one_that_comes() {
    let document = document().await;
    let server = server().await;
    let made = server.post("/api-keys", &serde_json::json!({"name": "a"})).await;
    let created = &document["paths"]["/api-keys"]["post"]["responses"];
    assert!(created[made.status.as_str()].is_object(), "{created}");
    let id = made.json()["api_key"]["id"].as_str().unwrap().to_owned();
    let gone = server.delete(&format!("/api-keys/{id}")).await;
    let responses = &document["paths"]["/api-keys/{key_id}"]["delete"]["responses"];
    assert!(responses[gone.status.as_str()]["content"].is_null(), "{responses}");
}
