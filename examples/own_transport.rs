//! Wraps the transport: every request is counted before it goes on.
//!
//! Run with `cargo run --example own_transport`.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use skill_core::{
    Engine, Result,
    access::Caller,
    call::CallRequest,
    clock::Deadline,
    integration,
    name::OwnerId,
    transport::{
        Outgoing, ReqwestTransport, Response, Transport,
        egress::{Egress, Refused},
    },
};
use url::Url;

/// Counts requests and hands them on.
#[derive(Debug)]
struct Counting {
    inner: Arc<dyn Transport>,
    requests: AtomicU64,
}

#[async_trait]
impl Transport for Counting {
    async fn send(&self, request: Outgoing, deadline: Deadline) -> Result<Response> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.inner.send(request, deadline).await
    }

    fn admit(&self, url: &Url) -> Result<(), Refused> {
        self.inner.admit(url)
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let inner = Arc::new(ReqwestTransport::new(Egress::default())?);
    let transport = Arc::new(Counting { inner, requests: AtomicU64::new(0) });
    // The service is overridden with an address that the egress rules refuse: nothing leaves.
    let mut overrides = integration::Overrides::default();
    overrides.text("base_url", "https://127.0.0.1:1");
    let overrides = BTreeMap::from([("httpbin".to_owned(), overrides)]);
    let bundled = integration::bundled(&overrides).expect("the bundled ones are valid");
    let engine = Engine::builder(transport.clone()).integrations(bundled).build().await?;

    let caller = Caller::operator(OwnerId::standard());
    let refused = engine.call(&caller, CallRequest::new("httpbin", "get")?).await;
    println!(
        "{} after {} request(s)",
        refused.expect_err("a refusal"),
        transport.requests.load(Ordering::Relaxed)
    );
    engine.stop().await;
    Ok(())
}
