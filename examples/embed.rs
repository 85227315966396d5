//! Embeds the engine: one integration, one call, no server and no network.
//!
//! Run with `cargo run --example embed`.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use skill_core::{
    Engine, Result,
    access::Caller,
    call::CallRequest,
    clock::Deadline,
    integration,
    name::{OwnerId, Slug},
    transport::{Body, Outgoing, Response, Transport},
};

/// Answers every request at once: what a `ReqwestTransport` would fetch from GitHub.
#[derive(Debug)]
struct Scripted;

#[async_trait]
impl Transport for Scripted {
    async fn send(&self, request: Outgoing, _: Deadline) -> Result<Response> {
        println!("-> {} {}", request.method, request.url.path());
        Ok(Response::new(http::StatusCode::CREATED, Body::from(r#"{"number":7,"state":"open"}"#)))
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let bundled = integration::bundled(&BTreeMap::new()).expect("the bundled ones are valid");
    let engine = Engine::builder(Arc::new(Scripted)).integrations(bundled).build().await?;

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
