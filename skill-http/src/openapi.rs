//! `/openapi.json`: built from the route table and the catalogue, so that it cannot disagree with
//! either. OpenAPI 3.1.

mod webhooks;

use std::collections::BTreeMap;

use http::{Method, StatusCode};
use serde_json::{Map, Value, json};
use skill_core::{catalog::Catalog, endpoint::EndpointInfo, integration::IntegrationInfo};

use self::webhooks::Audience;
use crate::{
    app::route::{Access, CALL, Operation, Route, Table},
    app::{App, Context},
    dialect,
    reply::Reply,
};

/// Where one subscribes to the messages that the document describes.
const SUBSCRIPTIONS: [(&str, Audience); 2] =
    [("/v1/webhooks", Audience::Tools), ("/api/agent-webhooks", Audience::Agents)];

/// The route of the document itself.
pub(crate) fn routes() -> Vec<Route> {
    let operation = Operation::new("openapi", "This document").answer(
        200,
        "An OpenAPI 3.1 document",
        json!({"type": "object"}),
    );
    vec![Route::new(Method::GET, "/openapi.json", Access::Open, operation, |cx| {
        Box::pin(async move { Ok(show(&cx)) })
    })]
}

fn show(cx: &Context) -> Reply {
    Reply::json(StatusCode::OK, &document(&cx.app))
}

/// The whole document.
fn document(app: &App) -> Value {
    let catalog = app.engine.catalog();
    let mut paths = table_paths(app);
    let is_called = !app.hidden.contains(CALL);
    for integration in catalog.integrations().filter(|_| is_called) {
        for endpoint in integration.endpoints() {
            let (info, of) = (endpoint.info(), integration.info());
            let path = format!("/v1/{}/{}", of.slug, info.name);
            paths.insert(path, json!({"post": call(&app.table, of, info)}));
        }
    }
    let told = SUBSCRIPTIONS.into_iter().filter(|(path, _)| !app.hidden.contains(path));
    let told = told.flat_map(|(_, audience)| webhooks::all(audience)).collect::<Map<_, _>>();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "skill",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Runs an AI agent's actions against outside services.",
        },
        "servers": [{"url": app.public_url.as_str().trim_end_matches('/')}],
        "security": [{"bearer": []}, {"header": []}],
        "tags": tags(&catalog),
        "paths": paths,
        "webhooks": told,
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "header": {"type": "apiKey", "in": "header", "name": "x-api-key"},
                "admin": {"type": "apiKey", "in": "header", "name": "x-admin-secret"},
            },
            "schemas": error_schemas(),
        },
    })
}

fn tags(catalog: &Catalog) -> Vec<Value> {
    let tag = |info: &IntegrationInfo| json!({"name": info.slug.as_str(), "description": info.description});
    catalog.integrations().map(|integration| tag(integration.info())).collect()
}

/// What errors look like, by the dialect of the path.
fn error_schemas() -> Map<String, Value> {
    let shapes = ["/v1/tools", "/v1/connect"].map(|path| dialect::of(path).shape());
    shapes.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect()
}

/// The paths of the table. Pages and the operator's door are no part of the API.
fn table_paths(app: &App) -> BTreeMap<String, Value> {
    let mut paths = BTreeMap::<String, Value>::new();
    for route in app.table.iter() {
        let is_part = !matches!(route.access, Access::Page | Access::Operator);
        if !is_part || app.hidden.contains(route.path) {
            continue;
        }
        let item = paths.entry(route.path.replace("{*", "{")).or_insert_with(|| json!({}));
        item[route.method.as_str().to_ascii_lowercase()] = operation(route);
    }
    paths
}

fn operation(route: &Route) -> Value {
    let documented = &route.operation;
    let mut operation = json!({
        "operationId": documented.id,
        "summary": documented.summary,
        "parameters": parameters(route),
        "responses": responses(route),
    });
    if let Some(schema) = &documented.body {
        operation["requestBody"] = json!({"content": {"application/json": {"schema": schema}}});
    }
    match route.access {
        Access::Open | Access::Monitor => operation["security"] = json!([]),
        Access::Admin => operation["security"] = json!([{"admin": []}, {"bearer": []}]),
        Access::Page | Access::Key(_) | Access::Operator => {}
    }
    operation
}

fn parameters(route: &Route) -> Vec<Value> {
    let names = route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let names = names.map(|name| name.trim_start_matches('*'));
    let path = names.map(
        |name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}),
    );
    let query = route.operation.query.iter();
    let query = query.map(|(name, schema)| json!({"name": name, "in": "query", "schema": schema}));
    let headers = route.operation.headers.iter();
    let headers =
        headers.map(|(name, schema)| json!({"name": name, "in": "header", "schema": schema}));
    path.chain(query).chain(headers).collect()
}

fn responses(route: &Route) -> Map<String, Value> {
    let (operation, mut responses) = (&route.operation, Map::new());
    for (status, what, schema) in &operation.answers {
        let mut answer = json!({"description": what});
        if !schema.is_null() {
            let is_text = schema["type"] == "string";
            let kind = if is_text { "text/plain" } else { "application/json" };
            let kind = schema["contentMediaType"].as_str().unwrap_or(kind);
            answer["content"] = json!({ kind: {"schema": schema} });
        }
        responses.insert(status.to_string(), answer);
    }
    let (shape, _) = dialect::of(route.path).shape();
    for status in operation.errors {
        let name = StatusCode::from_u16(*status).ok().and_then(|s| s.canonical_reason());
        let schema = json!({"$ref": format!("#/components/schemas/{shape}")});
        let answer = json!({
            "description": name.unwrap_or("An error"),
            "content": {"application/json": {"schema": schema}},
        });
        responses.insert(status.to_string(), answer);
    }
    responses
}

/// One endpoint of the catalogue, as the call that it is.
fn call(table: &Table, of: &IntegrationInfo, info: &EndpointInfo) -> Value {
    let mut body = json!({
        "type": "object",
        "properties": {
            "params": info.schema.as_value(),
            "connection": {"type": "string"},
        },
    });
    let needed = info.schema.as_value()["required"].as_array();
    if needed.is_some_and(|needed| !needed.is_empty()) {
        body["required"] = json!(["params"]);
    }
    let generic = table.iter().find(|route| route.path == CALL);
    let mut responses = generic.map(responses).unwrap_or_default();
    if info.answers_file
        && let Some(good) = responses.get_mut("200")
    {
        // Where `Accept` names neither JSON nor everything.
        good["content"]["application/octet-stream"] = json!({});
    }
    let mut operation = json!({
        "operationId": format!("{}_{}", of.slug, info.name),
        "summary": info.summary,
        "tags": [of.slug.as_str()],
        "requestBody": {"content": {"application/json": {"schema": body}}},
        "responses": responses,
        "x-skill": {
            "class": info.class.as_str(),
            "idempotent": info.is_idempotent,
            "upstream": format!("{} {}", info.method, info.path),
        },
    });
    if info.takes_file {
        carry_file(&mut operation, info);
    }
    if let Some(docs) = &info.docs {
        operation["externalDocs"] = json!({"url": docs});
    }
    operation
}

/// The body is a file, and what else there is to say stands in headers.
fn carry_file(operation: &mut Value, info: &EndpointInfo) {
    let header = |name: &str| json!({"name": name, "in": "header"});
    let mut params = header("Skill-Params");
    params["required"] = true.into();
    params["content"] = json!({"application/json": {"schema": info.schema.as_value()}});
    let mut others = ["Skill-Filename", "Skill-Connection"].map(header).to_vec();
    others.iter_mut().for_each(|other| other["schema"] = json!({"type": "string"}));
    others.insert(0, params);
    operation["parameters"] = others.into();
    operation["requestBody"] =
        json!({"required": true, "content": {"application/octet-stream": {}}});
}
