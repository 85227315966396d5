//! The history: nothing is lost, and nobody waits for ever.

use std::{sync::Arc, time::Duration};

use futures_util::FutureExt;
use skill_core::store::ExecutionFilter;

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
    let listing = world.engine.executions(&world.caller.owner, &filter);
    let listed = tokio::time::timeout(Duration::from_secs(5), listing).await;
    assert!(listed.expect("it ends").unwrap().1 > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_run_is_listed_as_soon_as_it_has_ended() {
    let world = Arc::new(World::new().await);
    for n in 1..=300_u64 {
        world.engine.call(&world.caller, call("open", "whoami")).await.unwrap();
        if n % 7 == 0 {
            let filter = ExecutionFilter::default();
            let (_, total) = world.engine.executions(&world.caller.owner, &filter).await.unwrap();
            assert_eq!(total, n);
        }
    }
}
