//! The parts of a call that cost most, each alone: schema, sealing, addresses, catalogue, routing.

use std::{collections::BTreeMap, fmt::Write, hint::black_box};

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use serde_json::json;
use skill_core::{
    Engine,
    catalog::{Catalog, ToolFilter},
    credential::seal::{Binding, Keyring},
    integration::{self, Overrides},
    name::{ActionName, Slug},
    transport::{ReqwestTransport, egress::Egress, target::Target},
};

fn catalogue(criterion: &mut Criterion) {
    let bundled = integration::bundled(&BTreeMap::new()).expect("they are all valid");
    let catalog = Catalog::build(bundled, []).expect("a catalogue");
    let namespace = Slug::parse("github").expect("a slug");
    let name = ActionName { namespace, name: Slug::parse("create_issue").expect("a slug") };
    criterion.bench_function("catalogue/find", |bencher| {
        bencher.iter(|| catalog.find(black_box(&name)));
    });
    let action = catalog.find(&name).expect("an action");
    let params = json!({"repo": "acme/webapp", "title": "Bug report", "labels": ["bug"]});
    criterion.bench_function("schema/check", |bencher| {
        bencher.iter(|| action.endpoint.info().schema.check(black_box(&params)));
    });
    let (members, fields) = (params.as_object().expect("an object"), BTreeMap::new());
    criterion.bench_function("request/draft", |bencher| {
        bencher.iter(|| action.endpoint.request(black_box(members), &fields));
    });
    criterion.bench_function("catalogue/load_bundled", |bencher| {
        bencher.iter(|| integration::bundled(&BTreeMap::new()));
    });
}

/// Ten thousand tools, and searches for few, for many and for all of them.
fn search(criterion: &mut Criterion) {
    let verbs = ["list", "get", "create", "update", "delete", "search", "merge", "send"];
    let integrations = (0..100).map(|service| {
        let mut text = format!(
            "name = \"Service {service}\"\ndescription = \"One of many.\"\n\
             base_url = \"https://x.test\"\nauth = {{ scheme = \"none\" }}\n"
        );
        for n in 0..100 {
            let verb = verbs[n % verbs.len()];
            let _ = write!(
                text,
                "[endpoints.{verb}_thing_{n}]\nsummary = \"{verb} the things of a workspace\"\n\
                 method = \"GET\"\npath = \"/{n}\"\n\
                 params = {{ state = {{ type = \"string\" }}, page = {{ type = \"integer\" }} }}\n"
            );
        }
        let file = format!("service-{service}.toml");
        integration::declared(&file, &text, &Overrides::default()).expect("a declaration")
    });
    let catalog = Catalog::build(integrations.collect::<Vec<_>>(), []).expect("a catalogue");
    for (name, text) in [("few", "service-42 merge"), ("many", "list"), ("all", "s"), ("none", "%")]
    {
        let filter = ToolFilter { search: Some(text.to_owned()), ..ToolFilter::default() };
        criterion.bench_function(&format!("catalogue/search_{name}_of_10000"), |bencher| {
            bencher.iter(|| catalog.tools(black_box(&filter)));
        });
    }
}

fn address(criterion: &mut Criterion) {
    let base = "https://api.github.com".parse().expect("a URL");
    criterion.bench_function("target/join", |bencher| {
        bencher.iter(|| {
            let mut target = Target::default();
            target.literal("repos");
            target.segments("repo", black_box("acme/webapp")).expect("two segments");
            target.literal("issues");
            target.join(&base)
        });
    });
}

fn sealing(criterion: &mut Criterion) {
    let keyring = Keyring::generate().expect("a keyring");
    let binding = Binding::to("grant", ["default", "conn_1"]);
    let plain = [7; 512];
    let sealed = keyring.seal(&plain, &binding).expect("a sealed value");
    criterion.bench_function("seal/seal_512", |bencher| {
        bencher.iter(|| keyring.seal(black_box(&plain), &binding));
    });
    criterion.bench_function("seal/open_512", |bencher| {
        bencher.iter(|| keyring.open(black_box(&sealed), &binding));
    });
}

fn routing(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let server = runtime.block_on(async {
        let transport = ReqwestTransport::new(Egress::default()).expect("a transport");
        let engine = Engine::builder(std::sync::Arc::new(transport)).build().await?;
        let public = "http://127.0.0.1:8080".parse().expect("a URL");
        let settings = skill_http::Settings::new(public);
        skill_http::Server::new(engine, skill_http::Metrics::new(), settings)
    });
    let server = server.expect("a server");
    for (name, path) in [("routing/healthz", "/healthz"), ("routing/unknown", "/v1/a/b/c/d")] {
        criterion.bench_function(name, |bencher| {
            bencher.to_async(&runtime).iter(|| {
                let request = http::Request::get(path).body(Bytes::new()).expect("a request");
                server.operator(request)
            });
        });
    }
}

criterion_group!(benches, catalogue, search, address, sealing, routing);
criterion_main!(benches);
