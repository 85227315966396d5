//! The stores: durable writes with many writers, reads, reserved shares, the queue. What a history of
//! a million runs costs is measured by `benches/queue/run`.

use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use jiff::Timestamp;
use skill_benches::{done, queued, want};
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
/// How many runs are claimed and ended at once.
const BATCH: u32 = 64;

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

/// One durable run by each of many producers at once.
async fn enqueue(store: &Arc<dyn Store>, producers: u64) {
    let producers = (0..producers).map(|_| {
        let (store, run) = (store.clone(), queued().expect("a run"));
        tokio::spawn(async move { store.enqueue(&[run]).await })
    });
    for producer in producers.collect::<Vec<_>>() {
        producer.await.expect("a task").expect("a durable run");
    }
}

/// A batch of runs from its submit to its end, three commits.
async fn cycle(store: &Arc<dyn Store>) {
    let runs: Vec<_> = (0..BATCH).map(|_| queued().expect("a run")).collect();
    store.enqueue(&runs).await.expect("durable runs");
    let claimed = store.claim(&want(BATCH)).await.expect("claimed runs");
    let done: Vec<_> = claimed.into_iter().map(done).collect();
    store.finish(&done).await.expect("durable ends");
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
        group.throughput(Throughput::Elements(u64::from(BATCH)));
        group.bench_function(format!("enqueue_claim_and_finish_{BATCH}"), |bencher| {
            bencher.to_async(&runtime).iter(|| cycle(&store));
        });
        // What is submitted here stays in the queue, which the memory store looks through.
        for producers in [32, 256].into_iter().filter(|_| name == "sqlite") {
            group.throughput(Throughput::Elements(producers));
            group.bench_function(format!("enqueue_{producers}_producers"), |bencher| {
                bencher.to_async(&runtime).iter(|| enqueue(&store, producers));
            });
        }
        group.finish();
    }
}

criterion_group!(benches, stores);
criterion_main!(benches);
