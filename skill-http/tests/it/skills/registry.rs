//! `/api/skills`.

use serde_json::{Value, json};

use super::reports;

#[tokio::test]
async fn every_active_version_is_listed_and_shown() {
    let server = reports().start().await;
    let page = server.get("/api/skills?category=quickbooks").await.ok(200);
    let versions = page["data"].as_array().unwrap().iter().map(|row| &row["version"]);
    assert_eq!(versions.collect::<Vec<_>>(), ["v1.0", "v1.2", "v1.10", "v2.0"]);
    assert_eq!((&page["total"], &page["has_more"]), (&json!(4), &json!(false)));
    let row = &page["data"][0];
    assert_eq!(row["category"], "quickbooks");
    assert_eq!(row["skill_name"], "profit-and-loss-report");
    assert_eq!(row["required_scopes"], json!(["quickbooks"]));
    assert_eq!(row["parameters_schema"]["properties"]["start_date"]["format"], "date");
    assert_eq!(row["is_active"], true);
    let path = "/api/skills/quickbooks/v1.0/profit_and_loss_report";
    assert_eq!(server.get(path).await.ok(200), *row);
    let newest = server.get("/api/skills/quickbooks/v1/profit-and-loss-report").await.ok(200);
    assert_eq!(newest["version"], "v1.10");
}

#[tokio::test]
async fn endpoints_stand_in_the_registry_as_well() {
    let server = reports().start().await;
    let row: Value = server.get("/api/skills/open/v1/get-item").await.ok(200);
    assert_eq!((&row["version"], &row["skill_name"]), (&json!("v1"), &json!("get-item")));
    let page = server.get("/api/skills?category=open&limit=1&offset=1").await.ok(200);
    assert_eq!((page["data"].as_array().unwrap().len(), &page["total"]), (1, &json!(3)));
    assert_eq!(page["has_more"], true);
}

#[tokio::test]
async fn what_is_not_there_is_not_found_and_bounds_are_strict() {
    let server = reports().start().await;
    for path in
        ["quickbooks/v9/profit-and-loss-report", "open/v2/get-item", "a/b/c", "open/v1/none"]
    {
        let answer = server.get(&format!("/api/skills/{path}")).await;
        answer.is_error(404, "skill_not_found");
    }
    for query in ["limit=0", "limit=101", "offset=-1", "category=Q", "limit=1&limit=2"] {
        let answer = server.get(&format!("/api/skills?{query}")).await;
        answer.is_error(400, "validation_error");
    }
    assert_eq!(server.get("/api/skills?category=nothing").await.ok(200)["total"], 0);
}
