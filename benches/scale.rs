//! One call while there is more and more of everything: what it costs has to stay flat.
//!
//! `SCALE=1000000 cargo bench --bench scale` goes on to a million owners, each with a key and a
//! connection; filling the store with them takes minutes.

use std::{env, hint::black_box, sync::Arc};

use async_trait::async_trait;
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use futures_util::{StreamExt, stream};
use skill_core::{
    Engine, Result,
    access::{Authentication, Caller, NewKey},
    call::CallRequest,
    clock::Deadline,
    credential::seal::Keyring,
    integration::{self, Integration, Overrides},
    name::{OwnerId, Slug},
    record::key::Kind,
    store::sqlite::SqliteStore,
    transport::{Body, Outgoing, Response, Transport},
};

/// How many owners are made at once: their writes share commits.
const AT_ONCE: usize = 256;

#[derive(Debug)]
struct AtOnce;

#[async_trait]
impl Transport for AtOnce {
    async fn send(&self, request: Outgoing, _: Deadline) -> Result<Response> {
        black_box(&request);
        Ok(Response::new(http::StatusCode::OK, Body::from(r#"{"id":42}"#)))
    }
}

/// An integration of one endpoint.
fn service(number: usize, scheme: &str) -> Arc<dyn Integration> {
    let text = format!(
        "name = \"Service {number}\"\ndescription = \"One of many.\"\n\
         base_url = \"https://service-{number}.test\"\nauth = {{ scheme = \"{scheme}\" }}\n\
         [endpoints.get_thing]\nsummary = \"Get a thing\"\nmethod = \"GET\"\npath = \"/{{id}}\"\n\
         params = {{ id = {{ in = \"path\", type = \"string\" }} }}\n"
    );
    let file = format!("service-{number}.toml");
    integration::declared(&file, &text, &Overrides::default()).expect("a declaration")
}

fn call(number: usize) -> CallRequest {
    let call = CallRequest::new(&format!("service-{number}"), "get_thing").expect("two slugs");
    call.param("id", "7")
}

/// The same call, of a catalogue that grows.
fn integrations(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let mut group = criterion.benchmark_group("scale/integrations");
    let caller = Caller::operator(OwnerId::standard());
    for count in [10, 100, 1_000, 10_000] {
        let all = (0..count).map(|number| service(number, "none"));
        let builder = Engine::builder(Arc::new(AtOnce)).integrations(all.collect::<Vec<_>>());
        let engine = runtime.block_on(builder.build()).expect("an engine");
        group.bench_function(BenchmarkId::from_parameter(count), |bencher| {
            bencher
                .to_async(&runtime)
                .iter(|| async { engine.call(&caller, call(count / 2)).await.expect("an answer") });
        });
        runtime.block_on(engine.stop());
    }
    group.finish();
}

/// An owner with a key and a connection; returns the key.
async fn owner(engine: &Engine, number: usize) -> Result<String> {
    let operator = Caller::operator(OwnerId::parse(&format!("owner-{number}"))?);
    let (_, key) = engine.keys().create(&operator, NewKey::new("bench", Kind::Api)).await?;
    let given = serde_json::json!({"token": format!("token-{number}")});
    let given = given.as_object().expect("an object");
    engine.connector().hand_over(&operator, &Slug::parse("service-0")?, given, None).await?;
    Ok(key.expose().to_owned())
}

/// A request as the server serves it: the key is looked up, then the call is made.
async fn request(engine: &Engine, key: &str) -> Result<()> {
    let Authentication::Good(caller) = engine.keys().authenticate(key, None).await? else {
        panic!("a good key");
    };
    engine.call(&caller, call(0)).await.map(drop)
}

/// The same call, of a store that fills: by one owner, whose records are in the caches, and by every
/// owner in turn, whose records are read again.
fn accounts(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = SqliteStore::open(&folder.path().join("skill.db")).expect("a store");
    let builder = Engine::builder(Arc::new(AtOnce))
        .store(Arc::new(store), Keyring::generate().expect("a keyring"))
        .integrations([service(0, "bearer")]);
    let engine = runtime.block_on(builder.build()).expect("an engine");
    let mut group = criterion.benchmark_group("scale/accounts");
    let most = env::var("SCALE").ok().and_then(|most| most.parse().ok()).unwrap_or(10_000);
    let mut keys = Vec::new();
    for count in [10, 1_000, 10_000, 100_000, 1_000_000].into_iter().filter(|n| *n <= most) {
        let added = stream::iter(keys.len()..count).map(|number| owner(&engine, number));
        keys.extend(runtime.block_on(added.buffered(AT_ONCE).collect::<Vec<_>>()));
        let key = |at: usize| keys[at % count].as_ref().expect("an owner").as_str();
        group.bench_function(BenchmarkId::new("one", count), |bencher| {
            let request = || async { request(&engine, key(count / 2)).await.expect("an answer") };
            bencher.to_async(&runtime).iter(request);
        });
        // A step that meets every owner before it comes back to one.
        let mut at = 0;
        group.bench_function(BenchmarkId::new("each_in_turn", count), |bencher| {
            bencher.to_async(&runtime).iter(|| {
                at += 7_919;
                let (engine, key) = (&engine, key(at));
                async move { request(engine, key).await.expect("an answer") }
            });
        });
    }
    group.finish();
    runtime.block_on(engine.stop());
}

criterion_group!(benches, integrations, accounts);
criterion_main!(benches);
