//! Processes that die, sleep too long, or come back too late.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::FutureExt;
use jiff::SignedDuration;
use serde_json::json;
use skill_core::{
    ErrorKind,
    queue::Submission,
    record::execution::State,
    store::{ExecutionFilter, MemoryStore, Store},
};

use super::{
    super::{
        fixture::{World, call},
        script::{json as answers, me},
        watched::Watched,
    },
    Flowing, answer, failure, flowing, flowing_over, read, settings, skill, write,
};

/// Ends the engine as a crash does, and starts another over the same store.
async fn crash(world: World) -> World {
    let World { engine, script, clock, store, caller } = world;
    drop(engine);
    tokio::time::sleep(Duration::from_millis(1)).await;
    let world = flowing_over(store, |builder| builder).await;
    let _ = (script, clock);
    World { caller, ..world }
}

#[tokio::test(start_paused = true)]
async fn what_was_queued_or_under_way_ends_after_a_crash() {
    let world = flowing().await;
    world.script.hang();
    let mut ids = Vec::new();
    for _ in 0..100 {
        ids.push(world.submit(read()).await);
    }
    world.sent_to("open.test/items/7", 24).await;
    let world = crash(world).await;
    for id in ids {
        assert_eq!(world.ended(id).await.execution.state, State::Success);
    }
    assert_eq!(world.script.count("open.test/items/7"), 100);
}

#[tokio::test(start_paused = true)]
async fn an_effect_is_repeated_after_a_crash_only_where_that_is_harmless() {
    for (asked, place, repeats) in [
        (write(), "open.test/items", false),
        (call("open", "pay").param("amount", 1), "open.test/payments", false),
        (call("open", "peek_once"), "open.test/once", false),
        (call("open", "charge").param("amount", 1), "open.test/charges", true),
        (read(), "open.test/items/7", true),
    ] {
        let world = flowing().await;
        world.script.hang();
        let id = world.submit(asked).await;
        world.sent_to(place, 1).await;
        let world = crash(world).await;
        let run = world.ended(id).await;
        assert_eq!(run.execution.attempts, 2, "{place}");
        assert_eq!(world.script.count(place), usize::from(repeats), "{place}");
        if repeats {
            assert_eq!(run.execution.state, State::Success);
            let sent = world.script.sent();
            let key = sent[0].header("idempotency-key");
            assert!(place.ends_with('7') || key == Some(&id.to_string()));
        } else {
            assert_eq!(failure(&run).kind, ErrorKind::OutcomeUnknown);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_that_takes_its_process_down_ends_in_an_error() {
    let mut world = flowing().await;
    world.script.hang();
    let id = world.submit(read()).await;
    let mut starts = 0;
    while !world.state(id).await.is_final() {
        world.script.hang();
        tokio::time::sleep(Duration::from_secs(1)).await;
        if world.state(id).await.is_final() {
            break;
        }
        let World { engine, script, clock, store, caller } = world;
        drop(engine);
        tokio::time::sleep(Duration::from_millis(1)).await;
        let next = flowing_over(store, |builder| builder).await;
        next.script.hang();
        let _ = (script, clock);
        world = World { caller, ..next };
        starts += 1;
        assert!(starts < 20, "it never ends");
    }
    let run = world.ended(id).await;
    assert_eq!(failure(&run).kind, ErrorKind::ActionFailed);
    assert_eq!(starts, 6);
}

#[tokio::test(start_paused = true)]
async fn a_crash_is_no_attempt_that_failed() {
    let world = flowing().await;
    world.script.hang();
    let id = world.submit(read()).await;
    world.sent_to("open.test/items/7", 1).await;
    let World { engine, store, caller, .. } = world;
    drop(engine);
    let world = flowing_over(store, |builder| builder).await;
    world.script.on(|_| answers(500, "{}"));
    let world = World { caller, ..world };
    let run = world.ended(id).await;
    assert_eq!((run.execution.state, run.execution.attempts), (State::Error, 6));
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_comes_too_late_changes_nothing() {
    let inner: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let watched = Watched::over(inner.clone());
    let clock = Flowing::new();
    let slow = World::with(watched.clone(), |b| b.clock(clock.clone())).await;
    let quick = World::with(inner, |b| b.clock(clock.clone())).await;
    slow.script.play(|_| async {
        tokio::time::sleep(Duration::from_secs(29)).await;
        answers(200, r#""late""#)
    });
    quick.script.on(|_| answers(200, r#""quick""#));
    watched.fail("extend");
    let id = slow.submit(read().timeout(Duration::from_secs(200))).await;
    slow.sent_to("open.test/items/7", 1).await;
    // The answer comes when the lease still lasts, but the store is away until it has lapsed.
    watched.fail("finish");
    let run = quick.ended(id).await;
    assert_eq!(answer(&run), json!("quick"));
    watched.heal("finish");
    tokio::time::sleep(Duration::from_secs(60)).await;
    let run = quick.ended(id).await;
    assert_eq!((answer(&run), run.execution.attempts), (json!("quick"), 2));
}

#[tokio::test(start_paused = true)]
async fn a_worker_whose_lease_may_have_lapsed_sends_nothing() {
    let watched = Watched::over(Arc::new(MemoryStore::new()));
    let world = flowing_over(watched.clone(), |builder| builder).await;
    watched.fail("extend");
    // Everything stands still right before the request goes out.
    watched.once_after("note_sent", || tokio::time::sleep(Duration::from_secs(31)).boxed());
    let id = world.submit(write()).await;
    tokio::time::sleep(Duration::from_secs(32)).await;
    assert_eq!(world.script.count("open.test/items"), 0);
    watched.heal("extend");
    let run = world.ended(id).await;
    assert_eq!(failure(&run).kind, ErrorKind::OutcomeUnknown, "nobody knows that it was not sent");
    assert_eq!(world.script.count("open.test/items"), 0);
}

#[tokio::test(start_paused = true)]
async fn what_was_done_is_not_done_again_because_the_store_was_away() {
    let watched = Watched::over(Arc::new(MemoryStore::new()));
    let world = flowing_over(watched.clone(), |builder| builder).await;
    watched.fail("finish");
    let id = world.submit(read()).await;
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert_eq!(world.state(id).await, State::Running);
    watched.heal("finish");
    assert_eq!(world.ended(id).await.execution.state, State::Success);
    assert_eq!(world.script.count("open.test/items/7"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_was_away_is_asked_again() {
    let watched = Watched::over(Arc::new(MemoryStore::new()));
    let world = flowing_over(watched.clone(), |builder| builder).await;
    let delay = Some(Duration::from_secs(10));
    let later = Submission { delay, ..Submission::new(read()) };
    let id = world.submit_as(&world.caller, later).await.unwrap();
    watched.fail("claim");
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(world.state(id).await, State::Queued);
    watched.heal("claim");
    tokio::time::timeout(Duration::from_secs(6), world.ended(id)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_jump_of_the_clock_runs_nothing_twice_and_loses_nothing() {
    let clock = Flowing::new();
    let one = settings(|s| s.slots = 1);
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let world = World::with(store, |b| b.clock(clock.clone()).queue(one)).await;
    world.script.play(|sent| async move {
        let takes = if sent.place().ends_with("/7") { 100 } else { 0 };
        tokio::time::sleep(Duration::from_secs(takes)).await;
        me()
    });
    let under_way = world.submit(read().timeout(Duration::from_secs(200))).await;
    world.sent_to("open.test/items/7", 1).await;
    let queued = world.submit(call("open", "whoami")).await;
    let delay = Some(Duration::from_secs(3600));
    let later = || Submission { delay, ..Submission::new(call("open", "whoami")) };
    let before = world.submit_as(&world.caller, later()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(20)).await;
    clock.jump(SignedDuration::from_hours(30 * 24));
    tokio::time::sleep(Duration::from_secs(20)).await;
    let between = world.submit_as(&world.caller, later()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(20)).await;
    clock.jump(SignedDuration::from_hours(-2));
    let after = world.submit_as(&world.caller, later()).await.unwrap();
    let begun = tokio::time::Instant::now();
    for id in [under_way, queued, before] {
        let run = world.ended(id).await;
        assert_eq!((run.execution.state, run.execution.attempts), (State::Success, 1));
    }
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    for id in [between, after] {
        let run = world.ended(id).await;
        assert_eq!((run.execution.state, run.execution.attempts), (State::Success, 1));
        let waited = begun.elapsed().as_secs();
        assert!((3_570..3_610).contains(&waited), "{waited}");
    }
    assert_eq!(world.script.count("open.test/items/7"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_was_lost_with_its_process_is_known_to_be_in_doubt() {
    let world = flowing().await;
    world.script.hang();
    let (engine, caller) = (world.engine.clone(), world.caller.clone());
    let calling =
        tokio::spawn(async move { engine.call(&caller, write().idempotency_key("k")).await });
    world.sent_to("open.test/items", 1).await;
    let filter = ExecutionFilter::default();
    let id = world.store.executions(&world.caller.owner, &filter).await.unwrap().0[0].id;
    let next = flowing_over(world.store.clone(), |builder| builder).await;
    let run = next.ended(id).await;
    assert_eq!(failure(&run).kind, ErrorKind::OutcomeUnknown);
    let repeat = next.engine.call(&next.caller, write().idempotency_key("k")).await.unwrap_err();
    assert_eq!(repeat.kind(), ErrorKind::OutcomeUnknown);
    assert_eq!(repeat.execution(), Some(id.to_string().as_str()));
    assert_eq!(next.script.count("open.test/items"), 0);
    calling.abort();
}

#[tokio::test(start_paused = true)]
async fn a_call_that_goes_on_here_is_not_lost_whatever_the_clock_says() {
    let clock = Flowing::new();
    let store = Arc::new(MemoryStore::new());
    let world = World::with(store, |builder| builder.clock(clock.clone())).await;
    world.script.play(|_| async {
        tokio::time::sleep(Duration::from_secs(90)).await;
        answers(201, r#"{"id": 1}"#)
    });
    let (engine, caller) = (world.engine.clone(), world.caller.clone());
    let request = || write().idempotency_key("k").timeout(Duration::from_secs(200));
    let calling = tokio::spawn(async move { engine.call(&caller, request()).await });
    world.sent_to("open.test/items", 1).await;
    clock.jump(SignedDuration::from_hours(1));
    // Longer than it takes until somebody looks for lost calls.
    let reply = calling.await.unwrap().unwrap();
    assert_eq!(reply.status, 201);
    let again = world.engine.call(&world.caller, request()).await.unwrap();
    assert!(again.is_replay && again.execution == reply.execution, "{again:?}");
    assert_eq!((again.status, world.state(reply.execution).await), (reply.status, State::Success));
}

#[tokio::test(start_paused = true)]
async fn finished_steps_answer_from_the_journal_after_a_crash() {
    let done = Arc::new(AtomicUsize::new(0));
    let count = done.clone();
    let steps = skill("steps", move |context, _| {
        let count = count.clone();
        async move {
            let first: u32 = context
                .step("first", || async {
                    count.fetch_add(1, Ordering::Relaxed);
                    Ok(41)
                })
                .await?;
            let reply = context.call(call("open", "get_item").param("id", "7")).await?;
            Ok(json!({"first": first, "reply": reply.data.json()?}))
        }
    });
    let world = flowing_over(Arc::new(MemoryStore::new()), |b| b.skill(steps.clone())).await;
    world.script.hang();
    let id = world.submit(call("test", "steps")).await;
    world.sent_to("open.test/items/7", 1).await;
    let World { engine, store, .. } = world;
    drop(engine);
    tokio::time::sleep(Duration::from_millis(1)).await;
    let world = flowing_over(store, |b| b.skill(steps.clone())).await;
    let run = world.ended(id).await;
    assert_eq!(answer(&run), json!({"first": 41, "reply": {"login": "ada"}}));
    assert_eq!(done.load(Ordering::Relaxed), 1);
    let calls = world.engine.runs().calls(&world.caller, id).await.unwrap();
    // The one that was dropped with its engine may be there too, as cancelled.
    assert!(calls.iter().all(|call| call.parent == Some(id)));
    assert_eq!(calls.iter().filter(|call| call.state == State::Success).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn many_runs_survive_a_crash_of_many_under_way() {
    let small = settings(|s| s.slots = 80);
    let good = skill("good", |_, input| async move { Ok(input) });
    let hangs = skill("good", |_, _| std::future::pending());
    let world =
        flowing_over(Arc::new(MemoryStore::new()), |b| b.queue(small).skill(hangs.clone())).await;
    let mut ids = Vec::new();
    for n in 0..300 {
        ids.push(world.submit(call("test", "good").param("n", n)).await);
    }
    let World { engine, store, .. } = world;
    drop(engine);
    tokio::time::sleep(Duration::from_millis(1)).await;
    let world = flowing_over(store, |b| b.queue(small).skill(good.clone())).await;
    for id in ids {
        let run = world.ended(id).await;
        assert_eq!(run.execution.state, State::Success);
        assert!(run.execution.attempts <= 2);
    }
}
