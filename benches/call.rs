//! One call through every stage of the engine, in process: a transport that answers at once.

use std::{hint::black_box, sync::Arc};

use async_trait::async_trait;
use criterion::{Criterion, criterion_group, criterion_main};
use skill_core::{
    Engine, Result,
    access::{Caller, NewKey, Plan, Plans},
    call::CallRequest,
    clock::Deadline,
    credential::seal::Keyring,
    integration,
    name::{OwnerId, Slug},
    record::{audit::Actor, key::Kind},
    store::{MemoryStore, Store, sqlite::SqliteStore},
    transport::{Body, Outgoing, Response, Transport},
};

#[derive(Debug)]
struct AtOnce;

#[async_trait]
impl Transport for AtOnce {
    async fn send(&self, request: Outgoing, _: Deadline) -> Result<Response> {
        black_box(&request);
        let body = r#"{"id":42,"number":7,"title":"Bug report","state":"open"}"#;
        let mut response = Response::new(http::StatusCode::CREATED, Body::from(body));
        let json = http::HeaderValue::from_static("application/json");
        response.headers.insert(http::header::CONTENT_TYPE, json);
        Ok(response)
    }
}

/// An engine with one connected account, and a caller with a limited key.
async fn engine(store: Arc<dyn Store>) -> Result<(Engine, Caller)> {
    let bundled = integration::bundled(&Default::default()).expect("they are all valid");
    let plan = Plan { per_minute: Some(u32::MAX), ..Plan::default() };
    let engine = Engine::builder(Arc::new(AtOnce))
        .store(store, Keyring::generate()?)
        .integrations(bundled)
        .plans(Plans::new("standard", [("standard".to_owned(), plan)], [])?)
        .build()
        .await?;
    let owner = Caller::operator(OwnerId::standard());
    let (key, _) = engine.keys().create(&owner, NewKey::new("bench", Kind::Api)).await?;
    let given = serde_json::json!({"access_token": "token", "refresh_token": "token"});
    let given = given.as_object().expect("an object");
    engine.connector().hand_over(&owner, &Slug::parse("github")?, given, None).await?;
    let caller = Caller { actor: Actor::Key(key.id), ..owner };
    Ok((engine, caller))
}

fn call() -> CallRequest {
    CallRequest::new("github", "create_issue")
        .expect("two slugs")
        .param("repo", "acme/webapp")
        .param("title", "Bug report")
        .param("body", "Steps to reproduce...")
        .param("labels", serde_json::json!(["bug", "priority"]))
}

fn calls(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let sqlite = SqliteStore::open(&folder.path().join("skill.db")).expect("a store");
    let stores: [(&str, Arc<dyn Store>); 2] =
        [("memory", Arc::new(MemoryStore::new())), ("sqlite", Arc::new(sqlite))];
    let mut group = criterion.benchmark_group("call");
    for (name, store) in stores {
        let (engine, caller) = runtime.block_on(engine(store)).expect("an engine");
        group.bench_function(name, |bencher| {
            bencher
                .to_async(&runtime)
                .iter(|| async { engine.call(&caller, call()).await.expect("an answer") });
        });
        runtime.block_on(engine.stop());
    }
    group.finish();
}

criterion_group!(benches, calls);
criterion_main!(benches);
