//! A simulation of the queue and its workers: one thread, a clock that stands still, and a seed
//! from which everything follows. Processes die, stop and jump in time, the store and the service
//! fail, and what was promised holds.
//!
//! `cargo test -p skill-core --test simulation` plays a few seeds. `SEEDS=10000` plays more,
//! `FROM=n` begins at another one, `SEED=n` plays one and shows everything that happens in it.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod client;
mod cluster;
mod dice;
mod node;
mod store;
mod upstream;
mod verdict;
mod walk;
mod watch;
mod world;

use std::{
    env, panic,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use skill_core::{clock::Clock, id::seeded::Seeded};
use tokio::time::{Instant, sleep};

use self::{
    client::{Client, Notes, Request},
    cluster::Cluster,
    verdict::Verdict,
    world::{Lie, Plan, World},
};

/// When all is well again, everything has to end within this time.
const PEACE: Duration = Duration::from_secs(600);

/// What one seed came to.
struct Played {
    broken: Vec<String>,
    trace: u64,
    runs: usize,
    takeovers: u32,
}

fn play(seed: u64, lie: Option<Lie>, is_loud: bool) -> Played {
    let _seeded = Seeded::begin(seed);
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(scene(Plan { lie, ..Plan::of(seed) }, is_loud))
}

async fn scene(plan: Plan, is_loud: bool) -> Played {
    if is_loud {
        eprintln!("{plan:#?}");
    }
    let chaos = plan.chaos;
    let world = World::new(plan, is_loud);
    let cluster = Cluster::start(world.clone()).await;
    let requests: Vec<_> =
        (0..world.plan.requests).map(|n| Request::of(n, chaos, &world.dice)).collect();
    if is_loud {
        eprintln!("{requests:#?}");
    }
    let notes = Arc::new(Notes::default());
    world.begin();
    let clients: Vec<_> = requests
        .iter()
        .map(|request| {
            let (world, cluster) = (world.clone(), cluster.clone());
            let client = Client { world, cluster, notes: notes.clone(), request: request.clone() };
            tokio::spawn(client.run())
        })
        .collect();
    cluster.chaos().await;
    // Who is frozen wakes by itself.
    world.heal();
    let node = cluster.node(0);
    world.note(&node, "all", "is well");
    let verdict = Verdict { world: &world, cluster: &cluster, notes: &notes, requests: &requests };
    let healed = Instant::now();
    for client in clients {
        if let Err(error) = client.await {
            world.breaks(format!("a client broke: {error}"));
        }
    }
    while !(verdict.is_over().await && world.watch().is_over()) && healed.elapsed() < PEACE {
        sleep(Duration::from_millis(500)).await;
    }
    verdict.speak().await;
    // What ended has ended for every later process, too.
    cluster.restart().await;
    sleep(Duration::from_secs(60)).await;
    verdict.speak().await;
    world.line(node.steady(), "all", "ends", "");
    let mut watch = world.watch();
    let (runs, takeovers) = (watch.runs.len(), watch.takeovers);
    let mut broken = std::mem::take(&mut watch.broken);
    drop(watch);
    broken.sort();
    broken.dedup();
    Played { broken, trace: world.trace(), runs, takeovers }
}

/// Panics that are part of the play are not shown.
fn hush() {
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if info.payload().downcast_ref::<&str>() != Some(&"simulated") {
            usual(info);
        }
    }));
}

fn setting(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().expect("a number"))
}

#[test]
fn nothing_is_lost_and_nothing_is_doubled() {
    hush();
    if let Some(seed) = setting("SEED") {
        let played = play(seed, None, true);
        assert!(played.broken.is_empty(), "seed {seed}:\n  {}", played.broken.join("\n  "));
        return;
    }
    let (from, count) = (setting("FROM").unwrap_or(0), setting("SEEDS").unwrap_or(300));
    let (next, failures) = (AtomicU64::new(from), Mutex::new(Vec::new()));
    let (runs, takeovers) = (AtomicU64::new(0), AtomicU64::new(0));
    let begun = std::time::Instant::now();
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= from + count || failures.lock().unwrap().len() >= 20 {
                        return;
                    }
                    let played = play(seed, None, false);
                    runs.fetch_add(played.runs as u64, Ordering::Relaxed);
                    takeovers.fetch_add(u64::from(played.takeovers), Ordering::Relaxed);
                    if !played.broken.is_empty() {
                        failures.lock().unwrap().push((seed, played.broken));
                    }
                }
            });
        }
    });
    let (runs, takeovers) = (runs.into_inner(), takeovers.into_inner());
    eprintln!(
        "{count} seeds, {runs} queued runs, {takeovers} takeovers in {:.1} s",
        begun.elapsed().as_secs_f64()
    );
    let mut failures = failures.into_inner().unwrap();
    failures.sort();
    let report: Vec<_> = failures
        .iter()
        .map(|(seed, broken)| format!("SEED={seed}\n    {}", broken.join("\n    ")))
        .collect();
    assert!(report.is_empty(), "promises were broken:\n  {}", report.join("\n  "));
}

#[test]
fn a_seed_repeats_exactly() {
    hush();
    for seed in 0..setting("SEEDS").map_or(25, |seeds| seeds / 20) {
        let (first, second) = (play(seed, None, false).trace, play(seed, None, false).trace);
        assert_eq!(first, second, "seed {seed} went two ways");
    }
}

#[test]
fn every_lie_of_the_store_is_found() {
    hush();
    for lie in Lie::ALL {
        let found = (0..2_000).find(|seed| !play(*seed, Some(lie), false).broken.is_empty());
        assert!(found.is_some(), "{lie:?} was not found in 2,000 seeds");
        eprintln!("{lie:?} was found by seed {}", found.unwrap());
    }
}
