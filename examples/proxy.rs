//! The server as a library: the proxy inside a program of one's own, with one key.
//!
//! Run with `cargo run --example proxy`.

use std::sync::Arc;

use skill_core::{
    Engine,
    access::{Caller, NewKey},
    integration,
    name::OwnerId,
    record::{key::Kind, scope::Scopes},
};
use skill_examples::Answering;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let bundled = integration::bundled(&Default::default()).expect("the bundled ones are valid");
    let metrics = skill_http::Metrics::new();
    let builder =
        Engine::builder(Arc::new(Answering(r#"{"origin":"here"}"#))).integrations(bundled);
    let engine = builder.observer(metrics.clone()).build().await?;

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let settings = skill_http::Settings::new(format!("http://{address}").parse()?);
    let server = skill_http::Server::new(engine.clone(), metrics, settings)?;
    let shutdown = CancellationToken::new();
    let serving = tokio::spawn({
        let shutdown = shutdown.clone();
        async move { server.serve(listener, shutdown).await }
    });

    // A key that may call this one integration and nothing else.
    let mut wanted = NewKey::new("agent", Kind::Api);
    wanted.scopes = Scopes::parse(["httpbin"])?;
    let operator = Caller::operator(OwnerId::standard());
    let (_, key) = engine.keys().create(&operator, wanted).await?;

    // What an agent sends; any HTTP client does.
    let mut agent = tokio::net::TcpStream::connect(address).await?;
    let request = format!(
        "POST /v1/httpbin/get HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {}\r\n\
         Content-Length: 0\r\nConnection: close\r\n\r\n",
        key.expose()
    );
    agent.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    agent.read_to_string(&mut answer).await?;
    println!("<- {}", answer.lines().next_back().unwrap_or_default());

    shutdown.cancel();
    serving.await?;
    engine.stop().await;
    Ok(())
}
