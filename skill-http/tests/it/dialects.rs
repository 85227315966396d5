//! Dialects that are switched off.

use http::Method;
use serde_json::json;
use skill_http::Dialects;

use crate::world::setup;

#[tokio::test]
async fn a_dialect_that_is_switched_off_has_no_paths() {
    let off = Dialects { tools: false, ..Default::default() };
    let server = setup().settings(move |settings| settings.dialects = off).start().await;
    for path in ["/v1/tools", "/v1/executions", "/v1/quotas", "/v1/keys", "/executions/exec_x"] {
        let answer = server.get(path).await;
        answer.is_tools_error(404, "NOT_FOUND");
        let other = server.ask(Method::PATCH, path).send().await;
        other.is_tools_error(404, "NOT_FOUND");
    }
    server.get("/v1/connections").await.ok(200);
    let document = server.get("/openapi.json").await.ok(200);
    assert!(document["paths"]["/v1/tools"].is_null());
    assert!(document["paths"]["/v1/connections"].is_object());
}

#[tokio::test]
async fn skills_that_are_switched_off_have_no_paths() {
    let off = Dialects { skills: false, ..Default::default() };
    let server = setup().settings(move |settings| settings.dialects = off).start().await;
    for path in ["/api/skills", "/api/conversations", "/api/agents", "/admin/api-keys"] {
        server.get(path).await.is_error(404, "not_found");
    }
    let answer = server.post("/api/lab/v1/run", &json!({"do": "echo"})).await;
    answer.is_error(404, "skill_not_found");
    let document = server.get("/openapi.json").await.ok(200);
    assert!(document["paths"]["/api/conversations"].is_null());
    assert!(document["paths"]["/v1/tools"].is_object());
}

#[tokio::test]
async fn the_operator_speaks_every_dialect() {
    let off = Dialects { proxy: false, ..Default::default() };
    let server = setup().settings(move |settings| settings.dialects = off).start().await;
    for path in ["/v1/connections", "/api-keys", "/v1/open/search"] {
        server.post(path, &json!({})).await.is_error(404, "not_found");
    }
    server.get("/v1/tools").await.ok(200);
    server.ask(Method::GET, "/limits").send().await.ok_page();
    let document = server.get("/openapi.json").await.ok(200);
    assert!(document["paths"]["/v1/open/search"].is_null(), "{document}");
    let request = http::Request::get("/v1/connections").body(Default::default()).unwrap();
    assert_eq!(server.server.operator(request).await.status(), 200);
}
