//! Skills that do not behave, on a runtime of several threads.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde_json::json;
use skill_core::{ErrorKind, record::execution::State, store::MemoryStore};

use super::{
    super::fixture::call, answer, failure, flowing_over, read, settings, skill, skill_with,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_skill_that_spins_ends_in_an_error_and_takes_nobody_along() {
    let stop = Arc::new(AtomicBool::new(false));
    let seen = stop.clone();
    let brief = |info: &mut skill_core::skill::SkillInfo| {
        info.timeout = Duration::from_millis(300);
    };
    let spins = skill_with("spins", brief, move |_, _| {
        let seen = seen.clone();
        async move {
            while !seen.load(Ordering::Relaxed) {
                std::thread::yield_now();
            }
            Ok(json!(null))
        }
    });
    let good = skill("good", |_, input| async move { Ok(input) });
    let few = settings(|s| s.slots = 8);
    let world = flowing_over(Arc::new(MemoryStore::new()), |b| {
        b.queue(few).skill(spins.clone()).skill(good.clone())
    })
    .await;
    let mut poison = Vec::new();
    for _ in 0..4 {
        poison.push(world.submit(call("test", "spins")).await);
    }
    for n in 0..100 {
        let run = world.run(call("test", "good").param("n", n)).await;
        assert_eq!(answer(&run), json!({"n": n}));
    }
    assert_eq!(world.run(read()).await.execution.state, State::Success);
    for id in poison {
        let run = world.ended(id).await;
        assert_eq!(failure(&run).kind, ErrorKind::Timeout);
    }
    stop.store(true, Ordering::Relaxed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_skill_that_spins_can_be_cancelled() {
    let stop = Arc::new(AtomicBool::new(false));
    let seen = stop.clone();
    let spins = skill("spins", move |_, _| {
        let seen = seen.clone();
        async move {
            while !seen.load(Ordering::Relaxed) {
                std::thread::yield_now();
            }
            Ok(json!(null))
        }
    });
    let world = flowing_over(Arc::new(MemoryStore::new()), |b| b.skill(spins.clone())).await;
    let id = world.submit(call("test", "spins")).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    world.engine.runs().cancel(&world.caller, id).await.unwrap();
    stop.store(true, Ordering::Relaxed);
    assert_eq!(world.ended(id).await.execution.state, State::Cancelled);
}
