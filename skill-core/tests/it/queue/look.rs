//! Looking at runs while they go on and after they ended.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use skill_core::{
    ErrorKind,
    clock::Deadline,
    record::execution::State,
    store::{ExecutionFilter, MemoryStore, Store},
};

use super::{
    super::{
        fixture::{World, call},
        script::me,
    },
    Flowing, answer, flowing, flowing_over, read, skill,
};

#[tokio::test(start_paused = true)]
async fn progress_is_seen_at_once_by_whoever_watches() {
    let climbs = skill("climbs", |context, _| async move {
        for percent in [10, 50, 30, 100] {
            tokio::time::sleep(Duration::from_millis(300)).await;
            context.progress(percent).await?;
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        Ok(json!(null))
    });
    let world = flowing_over(Arc::new(MemoryStore::new()), |b| b.skill(climbs.clone())).await;
    let begun = tokio::time::Instant::now();
    let id = world.submit(call("test", "climbs")).await;
    let mut watch = world.engine.runs().watch(&world.caller, id).await.unwrap();
    let mut seen = Vec::new();
    while let Some(run) = watch.next().await.unwrap() {
        seen.push((run.state, run.progress, begun.elapsed().as_millis() / 100));
    }
    use State::{Running, Success};
    let expected = [
        (Running, 0, 0),
        (Running, 10, 3),
        (Running, 50, 6),
        (Running, 99, 12),
        (Success, 100, 15),
    ];
    assert_eq!(seen, expected);
    assert!(watch.next().await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn progress_reaches_other_processes_with_the_next_sign_of_life() {
    let climbs = skill("climbs", |context, _| async move {
        context.progress(40).await?;
        tokio::time::sleep(Duration::from_secs(60)).await;
        Ok(json!(null))
    });
    let (store, clock): (Arc<dyn Store>, _) = (Arc::new(MemoryStore::new()), Flowing::new());
    let other = World::with(store.clone(), |b| b.clock(clock.clone())).await;
    let world = World::with(store, |b| b.clock(clock.clone()).skill(climbs.clone())).await;
    let id = world.submit(call("test", "climbs")).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(other.engine.runs().execution(&world.caller, id).await.unwrap().progress, 0);
    tokio::time::sleep(Duration::from_secs(12)).await;
    assert_eq!(other.engine.runs().execution(&world.caller, id).await.unwrap().progress, 40);
    let begun = tokio::time::Instant::now();
    assert_eq!(other.ended(id).await.execution.state, State::Success);
    assert!(begun.elapsed() < Duration::from_secs(49), "another process hears of it too");
}

#[tokio::test(start_paused = true)]
async fn waiting_ends_with_the_run_or_the_deadline() {
    let world = flowing().await;
    world.script.play(|_| async {
        tokio::time::sleep(Duration::from_secs(10)).await;
        me()
    });
    let id = world.submit(read()).await;
    let begun = tokio::time::Instant::now();
    let runs = world.engine.runs();
    let soon = Deadline::after(Duration::from_secs(3));
    let run = runs.wait(&world.caller, id, soon).await.unwrap();
    assert_eq!(run.execution.state, State::Running);
    assert_eq!(begun.elapsed().as_secs(), 3);
    world.ended(id).await;
    assert_eq!(begun.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn calls_past_the_queue_are_found_and_listed_too() {
    let world = flowing().await;
    let reply = world.engine.call(&world.caller, read()).await.unwrap();
    let runs = world.engine.runs();
    let run = runs.get(&world.caller, reply.execution).await.unwrap();
    assert_eq!((run.execution.state, run.outcome, run.input), (State::Success, None, None));
    let kept = world.engine.call(&world.caller, read().keeping_bodies()).await.unwrap();
    let run = runs.get(&world.caller, kept.execution).await.unwrap();
    assert_eq!((answer(&run), run.input), (json!({"login": "ada"}), Some(json!({"id": "7"}))));
    tokio::time::sleep(Duration::from_millis(2)).await;
    let id = world.submit(read()).await;
    world.ended(id).await;
    let filter = ExecutionFilter::default();
    let (all, total) = runs.list(&world.caller, &filter).await.unwrap();
    assert_eq!(total, 3);
    assert_eq!(all[0].id, id);
}

#[tokio::test(start_paused = true)]
async fn a_result_is_read_in_pages() {
    let long = skill("long", |_, input| async move {
        let length = usize::try_from(input["length"].as_u64().unwrap()).unwrap();
        Ok(json!("x".repeat(length)))
    });
    let world = flowing_over(Arc::new(MemoryStore::new()), |b| b.skill(long.clone())).await;
    for (length, is_held) in [(1_000_usize, true), (3 << 20, false)] {
        let run = world.run(call("test", "long").param("length", length)).await;
        let total = length as u64 + 2;
        assert_eq!(run.execution.state, State::Success);
        assert_eq!((run.outcome.is_some(), run.result_bytes), (is_held, Some(total)));
        let (runs, id) = (world.engine.runs(), run.execution.id);
        let (mut bytes, mut offset) = (Vec::new(), 0);
        while offset < total {
            let page = runs.result(&world.caller, id, offset, 700_000).await.unwrap();
            assert_eq!(page.total, total);
            offset += page.bytes.len() as u64;
            bytes.extend_from_slice(&page.bytes);
        }
        assert_eq!(serde_json::from_slice::<String>(&bytes).unwrap().len(), length);
        assert!(runs.result(&world.caller, id, total, 10).await.unwrap().bytes.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_result_that_is_not_there_is_not_paged() {
    let world = flowing().await;
    world.script.hang();
    let id = world.submit(read()).await;
    let runs = world.engine.runs();
    let early = runs.result(&world.caller, id, 0, 10).await.unwrap_err();
    assert_eq!(early.kind(), ErrorKind::Conflict);
    runs.cancel(&world.caller, id).await.unwrap();
    let none = runs.result(&world.caller, id, 0, 10).await.unwrap_err();
    assert_eq!(none.kind(), ErrorKind::NotFound);
}
