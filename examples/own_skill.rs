//! Writes a skill: its steps survive crashes, retries and sleeps.
//!
//! Run with `cargo run --example own_skill`.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use skill_core::{
    Engine, Error, ErrorKind, Result,
    access::Caller,
    call::CallRequest,
    clock::Deadline,
    integration,
    name::OwnerId,
    skill::{self, SkillContext},
    transport::{Body, Outgoing, Response, Transport},
};

/// Stands for the service: answers every request at once.
#[derive(Debug)]
struct Scripted;

#[async_trait]
impl Transport for Scripted {
    async fn send(&self, request: Outgoing, _: Deadline) -> Result<Response> {
        println!("-> {} {}", request.method, request.url.path());
        Ok(Response::new(http::StatusCode::OK, Body::from(r#"{"origin":"203.0.113.7"}"#)))
    }
}

#[derive(Deserialize, JsonSchema)]
struct Input {
    /// Whom to greet.
    name: String,
}

#[derive(Serialize, JsonSchema)]
struct Output {
    greeting: String,
}

async fn greet(context: SkillContext, input: Input) -> Result<Output> {
    // Recorded with its answer: however often the run is tried again, this is sent once.
    let reply = context.call(CallRequest::new("httpbin", "get")?).await?;
    let data = reply.data.json()?;
    context.progress(50).await?;
    // Anything else that has an effect, or is not the same every time, is a step of its own.
    let attempt = context.run().attempt;
    let visit: u32 = context.step("count", || async move { Ok(attempt) }).await?;
    context.sleep(Duration::from_millis(10)).await?;
    if attempt == 1 {
        println!("   something fails");
        return Err(Error::new(ErrorKind::Unavailable, "not now: try again"));
    }
    let origin = data["origin"].as_str().unwrap_or("nowhere");
    Ok(Output { greeting: format!("Hello {} from {origin}, visit {visit}", input.name) })
}

#[tokio::main]
async fn main() -> Result<()> {
    let greet = skill::from_fn("demo", "v1.0", "greet", greet).summary("Greet somebody").build()?;
    let bundled = integration::bundled(&Default::default()).expect("the bundled ones are valid");
    let engine =
        Engine::builder(Arc::new(Scripted)).integrations(bundled).skill(greet).build().await?;

    let caller = Caller::operator(OwnerId::standard());
    let call = CallRequest::new("demo", "greet")?.param("name", "Ada");
    let reply = engine.call(&caller, call).await?;
    println!("<- {}", reply.data.json()?["greeting"]);

    engine.stop().await;
    Ok(())
}
