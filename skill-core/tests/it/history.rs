//! The history: nothing is lost, and nobody waits for ever.

use std::{sync::Arc, time::Duration};

use futures_util::FutureExt;
use skill_core::{record::execution::State, store::ExecutionFilter};

use super::{
    fixture::{World, call},
    watched::Watched,
};

/// Lets a run end whenever a batch has been written, again and again.
fn never_idle(world: &Arc<World>, store: &Arc<Watched>) {
    let (in_hook, again) = (Arc::downgrade(world), store.clone());
    store.once_after("record", move || {
        let (world, store) = (in_hook.upgrade(), again.clone());
        async move {
            let Some(world) = world else { return };
            never_idle(&world, &store);
            tokio::time::sleep(Duration::from_millis(2)).await;
            world.engine.call(&world.caller, call("open", "whoami")).await.unwrap();
        }
        .boxed()
    });
}

#[tokio::test]
async fn a_listing_does_not_wait_for_runs_that_come_after_it() {
    let store = Watched::new();
    let world = Arc::new(World::over(store.clone()).await);
    never_idle(&world, &store);
    world.engine.call(&world.caller, call("open", "whoami")).await.unwrap();
    let filter = ExecutionFilter::default();
    let listing = world.engine.runs().list(&world.caller, &filter);
    let listed = tokio::time::timeout(Duration::from_secs(5), listing).await;
    assert!(listed.expect("it ends").unwrap().1 > 0);
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_stops_waits_for_nobody_for_long() {
    let world = World::new().await;
    world.script.hang();
    let slow = call("open", "whoami").idempotency_key("k").timeout(Duration::from_secs(300));
    let (engine, caller) = (world.engine.clone(), world.caller.clone());
    let going = tokio::spawn(async move { engine.call(&caller, slow).await });
    while world.script.sent().is_empty() {
        tokio::task::yield_now().await;
    }
    let stopped = tokio::time::timeout(Duration::from_secs(40), world.engine.stop()).await;
    assert!(stopped.is_ok());
    let filter = ExecutionFilter { state: Some(State::Running), ..ExecutionFilter::default() };
    assert_eq!(world.store.executions(&world.caller.owner, &filter).await.unwrap().1, 1);
    going.abort();
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_stops_gives_a_failing_store_another_chance() {
    let store = Watched::new();
    let world = World::over(store.clone()).await;
    store.fail("record");
    world.engine.call(&world.caller, call("open", "whoami")).await.unwrap();
    let engine = world.engine.clone();
    let stopping = tokio::spawn(async move { engine.stop().await });
    tokio::time::sleep(Duration::from_secs(1)).await;
    store.heal("record");
    stopping.await.unwrap();
    let filter = ExecutionFilter::default();
    assert_eq!(world.store.executions(&world.caller.owner, &filter).await.unwrap().1, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_run_is_listed_as_soon_as_it_has_ended() {
    let world = Arc::new(World::new().await);
    for n in 1..=300_u64 {
        world.engine.call(&world.caller, call("open", "whoami")).await.unwrap();
        if n % 7 == 0 {
            let filter = ExecutionFilter::default();
            let (_, total) = world.engine.runs().list(&world.caller, &filter).await.unwrap();
            assert_eq!(total, n);
        }
    }
}
