//! The stores: durable writes with many writers, reads, reserved shares.

use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use jiff::Timestamp;
use skill_core::{
    name::OwnerId,
    record::{
        audit::{Actor, Entry},
        owner::Owner,
        usage::{Reserve, Window},
    },
    store::{MemoryStore, Store, sqlite::SqliteStore},
};

const WRITERS: usize = 32;

/// One durable entry by each of many writers at once.
async fn append(store: &Arc<dyn Store>) {
    let entry = |n: usize| {
        let entry = Entry::new(Timestamp::UNIX_EPOCH, Actor::System, OwnerId::standard());
        entry.event("bench").target(n)
    };
    let writers = (0..WRITERS).map(|n| {
        let (store, entry) = (store.clone(), entry(n));
        tokio::spawn(async move { store.append_audit(&entry).await })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.expect("a task").expect("a durable entry");
    }
}

fn stores(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let sqlite = SqliteStore::open(&folder.path().join("skill.db")).expect("a store");
    let stores: [(&str, Arc<dyn Store>); 2] =
        [("memory", Arc::new(MemoryStore::new())), ("sqlite", Arc::new(sqlite))];
    for (name, store) in stores {
        let mut group = criterion.benchmark_group(format!("store/{name}"));
        group.throughput(Throughput::Elements(WRITERS as u64));
        group.bench_function("append_32_writers", |bencher| {
            bencher.to_async(&runtime).iter(|| append(&store));
        });
        group.throughput(Throughput::Elements(1));
        let owner = Owner::new(OwnerId::standard(), Timestamp::UNIX_EPOCH);
        runtime.block_on(store.ensure_owner(&owner)).expect("an owner");
        group.bench_function("read_owner", |bencher| {
            bencher.to_async(&runtime).iter(|| store.owner(&owner.id));
        });
        let reserve = Reserve {
            subject: "key".into(),
            window: Window::Minute,
            node: "node".into(),
            spent: Vec::new(),
            now: 0,
            until: 5,
            want: 10,
            limit: 100,
        };
        group.bench_function("reserve", |bencher| {
            bencher.to_async(&runtime).iter(|| store.reserve(&owner.id, &reserve));
        });
        group.finish();
    }
}

criterion_group!(benches, stores);
criterion_main!(benches);
