//! An integration of one's own: a declaration, read at start, that nothing bundled knows.
//!
//! Run with `cargo run --example own_integration`.

use std::sync::Arc;

use serde_json::json;
use skill_core::{
    Engine, Result,
    access::Caller,
    call::CallRequest,
    integration::{Overrides, declared},
    name::{OwnerId, Slug},
};
use skill_examples::Answering;

const WAREHOUSE: &str = r#"
name = "Warehouse"
description = "Counts what is on the shelves."
base_url = "https://warehouse.example.com/api"
auth = { scheme = "api_key", header = "X-Warehouse-Key" }

[endpoints.count_items]
summary = "Count the items on a shelf"
method = "GET"
path = "/shelves/{shelf}/items"
params.shelf = { in = "path", type = "string", pattern = "^[A-Z][0-9]+$" }
params.kind = { type = "string", enum = ["small", "large"] }
"#;

#[tokio::main]
async fn main() -> Result<()> {
    let warehouse = declared("warehouse.toml", WAREHOUSE, &Overrides::default());
    let warehouse = warehouse.unwrap_or_else(|problems| panic!("{problems:?}"));
    let engine = Engine::builder(Arc::new(Answering(r#"{"items":42}"#)))
        .integrations([warehouse])
        .build()
        .await?;

    let caller = Caller::operator(OwnerId::standard());
    let key = json!({"api_key": "wh_example"});
    let key = key.as_object().expect("an object");
    engine.connector().hand_over(&caller, &Slug::parse("warehouse")?, key, None).await?;

    // The schema is checked before anything is sent, and a value never leaves its place in a URL.
    let call =
        |shelf: &str| Ok(CallRequest::new("warehouse", "count_items")?.param("shelf", shelf));
    let refused = engine.call(&caller, call("../A1")?).await.expect_err("a refusal");
    println!("<- {refused}");
    let reply = engine.call(&caller, call("A1")?.param("kind", "small")).await?;
    println!("<- {} {}", reply.status, reply.data.json()?);

    engine.stop().await;
    Ok(())
}
