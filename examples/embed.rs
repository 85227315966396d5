//! Embeds the engine: one integration, one call, no server and no network.
//!
//! Run with `cargo run --example embed`.

use std::{collections::BTreeMap, sync::Arc};

use skill_core::{
    Engine, Result,
    access::Caller,
    call::CallRequest,
    integration,
    name::{OwnerId, Slug},
};
use skill_examples::Answering;

#[tokio::main]
async fn main() -> Result<()> {
    let bundled = integration::bundled(&BTreeMap::new()).expect("the bundled ones are valid");
    let engine = Engine::builder(Arc::new(Answering(r#"{"number":7,"state":"open"}"#)))
        .integrations(bundled)
        .build()
        .await?;

    // A user's credential, sealed from here on.
    let caller = Caller::operator(OwnerId::parse("acme")?);
    let grant = serde_json::json!({"access_token": "gho_example"});
    let grant = grant.as_object().expect("an object");
    engine.connector().hand_over(&caller, &Slug::parse("github")?, grant, None).await?;

    let call = CallRequest::new("github", "create_issue")?
        .param("repo", "acme/webapp")
        .param("title", "Bug report");
    let reply = engine.call(&caller, call).await?;
    println!("<- {} {}", reply.status, reply.data.json()?);

    engine.stop().await;
    Ok(())
}
