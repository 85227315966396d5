//! The store alone: durable submits, claims and ends of runs, beside a history.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::json;
use skill_benches::{done, ended, queued, want};
use skill_core::{
    name::{OwnerId, Slug},
    record::{
        Sealed,
        execution::{Recorded, State},
        run::{Enqueue, Enqueued},
    },
    store::{ExecutionFilter, ExecutionStore, QueueStore, sqlite::SqliteStore},
};

use crate::{Outcome, print};

/// How many runs are claimed and ended at once.
const BATCH: u32 = 64;

/// Measures on a fresh file, or beside so many runs that ended before.
pub(crate) async fn run(file: &Path, time: Duration, history: u64) -> Outcome {
    let store = Arc::new(SqliteStore::open(file)?);
    fill(&store, history).await?;
    for width in [32, 256] {
        let (runs, commits) = (AtomicU64::new(0), store.commits());
        let (runs, begun) = (Arc::new(runs), Instant::now());
        let producers = (0..width).map(|_| tokio::spawn(submit(store.clone(), runs.clone(), time)));
        for producer in producers.collect::<Vec<_>>() {
            producer.await??;
        }
        let (runs, rate) = (runs.load(Ordering::Relaxed), rate(&runs, begun));
        let per_commit = runs as f64 / (store.commits() - commits) as f64;
        print(&json!({ "queue": "store", "what": "enqueue", "width": width, "history": history,
            "jobs": runs, "jobs_per_s": rate, "jobs_per_commit": per_commit.round() }));
    }
    list(&store, history).await?;
    let runs = AtomicU64::new(0);
    let begun = Instant::now();
    while drain(&store, &runs).await? {}
    print(
        &json!({ "queue": "store", "what": "claim and finish", "batch": BATCH, "history": history,
        "jobs": runs.load(Ordering::Relaxed), "jobs_per_s": rate(&runs, begun) }),
    );
    Ok(())
}

fn rate(runs: &AtomicU64, begun: Instant) -> f64 {
    (runs.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64()).round()
}

async fn submit(store: Arc<SqliteStore>, runs: Arc<AtomicU64>, time: Duration) -> Outcome {
    let begun = Instant::now();
    while begun.elapsed() < time {
        if store.enqueue(&[queued()?]).await? != [Enqueued::New(None)] {
            return Err("a run was not queued".into());
        }
        runs.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// Claims and ends a batch; false when nothing is left.
async fn drain(store: &SqliteStore, runs: &AtomicU64) -> Outcome<bool> {
    let claimed = store.claim(&want(BATCH)).await?;
    let done: Vec<_> = claimed.into_iter().map(done).collect();
    store.finish(&done).await?;
    runs.fetch_add(done.len() as u64, Ordering::Relaxed);
    Ok(!done.is_empty())
}

/// Runs that ended before, with their bodies; never fewer than fill every page that is listed.
async fn fill(store: &SqliteStore, history: u64) -> Outcome {
    let begun = Instant::now();
    for _ in 0..(history / 2000).max(1) {
        let runs = (0..2000).map(|_| {
            let Enqueue { execution, work, .. } = queued()?;
            let (input, outcome) = (Some(work.input), Some(Sealed(vec![7; 64])));
            Ok(Recorded { execution: ended(execution), input, outcome, replay: None })
        });
        store.record(&runs.collect::<Outcome<Vec<_>>>()?).await?;
    }
    if history > 0 {
        let rate = (history as f64 / begun.elapsed().as_secs_f64()).round();
        print(&json!({ "queue": "store", "what": "record", "jobs": history, "jobs_per_s": rate }));
    }
    Ok(())
}

/// Pages of everything, of one state and of one action.
async fn list(store: &SqliteStore, history: u64) -> Outcome {
    let all = ExecutionFilter::default();
    let namespace = Some(Slug::parse("bench")?);
    let filters = [
        ("all", all.clone()),
        ("success", ExecutionFilter { state: Some(State::Success), ..all.clone() }),
        ("namespace", ExecutionFilter { namespace: namespace.clone(), ..all.clone() }),
        ("action", ExecutionFilter { namespace, name: Some(Slug::parse("noop")?), ..all }),
    ];
    for (what, filter) in filters {
        let begun = Instant::now();
        for _ in 0..200 {
            store.executions(&OwnerId::standard(), &filter).await?;
        }
        let each = begun.elapsed().as_micros() / 200;
        print(&json!({ "queue": "store", "what": format!("list {what}"), "history": history,
            "us": each as u64 }));
    }
    Ok(())
}
