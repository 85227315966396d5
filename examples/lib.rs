//! What the examples share: a transport that answers without a network.

use async_trait::async_trait;
use http::StatusCode;
use skill_core::{
    Result,
    clock::Deadline,
    transport::{Body, Outgoing, Response, Transport},
};

/// Answers every request with this text, and shows the request. A `ReqwestTransport` would ask the
/// service.
///
/// ```
/// let transport = skill_examples::Answering("{}");
/// # let _: std::sync::Arc<dyn skill_core::transport::Transport> = std::sync::Arc::new(transport);
/// ```
#[derive(Debug)]
pub struct Answering(pub &'static str);

#[async_trait]
impl Transport for Answering {
    async fn send(&self, request: Outgoing, _: Deadline) -> Result<Response> {
        println!("-> {} {}", request.method, request.url);
        Ok(Response::new(StatusCode::OK, Body::from(self.0)))
    }
}
