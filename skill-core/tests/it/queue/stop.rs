//! Engines that stop in order.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use skill_core::{ErrorKind, queue::Submission, record::execution::State, store::MemoryStore};

use super::{
    super::{
        fixture::{World, call},
        script::me,
    },
    failure, flowing, flowing_over, read, settings, skill, write,
};

/// Stops the engine in order and starts another over the same store.
async fn restart(world: World) -> World {
    world.engine.stop().await;
    let World { store, caller, .. } = world;
    let next = flowing_over(store, |builder| builder).await;
    World { caller, ..next }
}

#[tokio::test(start_paused = true)]
async fn what_is_under_way_ends_and_what_waits_stays() {
    let two = settings(|s| s.slots = 2);
    let world = flowing_over(Arc::new(MemoryStore::new()), |b| b.queue(two)).await;
    world.script.play(|_| async {
        tokio::time::sleep(Duration::from_secs(10)).await;
        me()
    });
    let first = world.submit(read()).await;
    let waiting = world.submit(read()).await;
    world.sent_to("open.test/items/7", 1).await;
    let begun = tokio::time::Instant::now();
    world.engine.stop().await;
    assert!(begun.elapsed() < Duration::from_secs(12), "{:?}", begun.elapsed());
    assert_eq!(world.state(first).await, State::Success);
    assert_eq!(world.state(waiting).await, State::Queued);
    let refused = world.submit_as(&world.caller, Submission::new(read())).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unavailable);
    let world = restart(world).await;
    let run = world.ended(waiting).await;
    assert_eq!((run.execution.state, run.execution.attempts), (State::Success, 1));
}

#[tokio::test(start_paused = true)]
async fn what_does_not_end_in_time_is_given_back_by_the_rules_of_repeats() {
    let hangs = skill("hangs", |_, _| std::future::pending());
    let world = flowing_over(Arc::new(MemoryStore::new()), |b| b.skill(hangs.clone())).await;
    world.script.hang();
    let long = Duration::from_secs(200);
    let harmless = world.submit(read().timeout(long)).await;
    let once = world.submit(write().timeout(long)).await;
    let asleep = world.submit(call("test", "hangs")).await;
    world.sent_to("open.test/items", 1).await;
    let begun = tokio::time::Instant::now();
    world.engine.stop().await;
    assert!(begun.elapsed() < Duration::from_secs(35), "{:?}", begun.elapsed());
    let run = world.ended(once).await;
    assert_eq!(failure(&run).kind, ErrorKind::OutcomeUnknown);
    let runs = world.engine.runs();
    let run = runs.execution(&world.caller, harmless).await.unwrap();
    assert_eq!((run.state, run.attempts), (State::Queued, 1));
    let run = runs.execution(&world.caller, asleep).await.unwrap();
    assert_eq!((run.state, run.attempts), (State::Queued, 0), "it was not its fault");
    let next = flowing_over(world.store.clone(), |b| {
        b.skill(skill("hangs", |_, _| async { Ok(json!("done")) }))
    })
    .await;
    for id in [harmless, asleep] {
        assert_eq!(next.ended(id).await.execution.state, State::Success);
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_that_sleeps_takes_no_place_and_survives_a_restart() {
    let naps = || {
        skill("naps", |context, _| async move {
            context.sleep(Duration::from_secs(600)).await?;
            Ok(json!("awake"))
        })
    };
    let one = settings(|s| s.slots = 1);
    let world = flowing_over(Arc::new(MemoryStore::new()), |b| b.queue(one).skill(naps())).await;
    let id = world.submit(call("test", "naps")).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(world.state(id).await, State::Queued);
    assert_eq!(world.run(read()).await.execution.state, State::Success);
    world.engine.stop().await;
    let world = World {
        engine: flowing_over(world.store.clone(), |b| b.skill(naps())).await.engine,
        ..world
    };
    let run = world.ended(id).await;
    assert_eq!((run.execution.state, run.execution.attempts), (State::Success, 1));
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_drains_begins_nothing_new() {
    let world = flowing().await;
    world.engine.drain().await;
    let refused = world.submit_as(&world.caller, Submission::new(read())).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unavailable);
    assert!(world.engine.call(&world.caller, read()).await.is_ok(), "calls go on");
    world.engine.stop().await;
}
