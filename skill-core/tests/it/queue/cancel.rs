//! Stopping runs: final at once, down to the request under way.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::json;
use skill_core::{
    ErrorKind,
    queue::{Invoked, OnDeadline, Submission},
    record::execution::State,
    store::MemoryStore,
};

use super::{
    super::{
        fixture::call,
        script::{json as answers, me},
    },
    admit, answer, flowing, flowing_over, read, settings, skill, write,
};

/// Counts what was dropped before it ended.
#[derive(Clone, Default)]
struct Cut(Arc<AtomicUsize>);

impl Drop for Cut {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_that_waits_is_cancelled_and_never_sent() {
    let one = settings(|s| s.slots = 1);
    let world = flowing_over(Arc::new(MemoryStore::new()), |b| b.queue(one)).await;
    world.script.hang();
    let first = world.submit(read()).await;
    let second = world.submit(write()).await;
    let run = world.engine.runs().cancel(&world.caller, second).await.unwrap();
    assert_eq!((run.state, run.progress), (State::Cancelled, 100));
    world.engine.runs().cancel(&world.caller, first).await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(world.script.count("open.test/items"), 0);
    let again = world.engine.runs().cancel(&world.caller, second).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::Conflict);
    assert_eq!(world.engine.runs().get(&world.caller, second).await.unwrap().outcome, None);
}

#[tokio::test(start_paused = true)]
async fn a_request_under_way_is_cut() {
    let world = flowing().await;
    let cut = Arc::new(AtomicUsize::new(0));
    let seen = cut.clone();
    world.script.play(move |_| {
        let guard = Cut(seen.clone());
        async move {
            tokio::time::sleep(Duration::from_secs(20)).await;
            std::mem::forget(guard);
            me()
        }
    });
    let id = world.submit(write()).await;
    world.sent_to("open.test/items", 1).await;
    let run = world.engine.runs().cancel(&world.caller, id).await.unwrap();
    assert_eq!(run.state, State::Cancelled);
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(cut.load(Ordering::Relaxed), 1, "the request goes on");
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(world.state(id).await, State::Cancelled);
    assert_eq!(world.run(call("open", "whoami")).await.execution.state, State::Success);
}

#[tokio::test(start_paused = true)]
async fn a_skill_is_told_and_dropped() {
    let cut = Arc::new(AtomicUsize::new(0));
    let seen = cut.clone();
    let hangs = skill("hangs", move |_, _| {
        let guard = Cut(seen.clone());
        async move {
            std::future::pending::<()>().await;
            drop(guard);
            Ok(json!(null))
        }
    });
    let world = flowing_over(Arc::new(MemoryStore::new()), |b| b.skill(hangs.clone())).await;
    let id = world.submit(call("test", "hangs")).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.engine.runs().cancel(&world.caller, id).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(cut.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn cancelled_and_success_exclude_each_other() {
    for delay in 0..40 {
        let world = flowing().await;
        world.script.play(|_| async {
            tokio::time::sleep(Duration::from_millis(2)).await;
            me()
        });
        let id = world.submit(read()).await;
        tokio::time::sleep(Duration::from_micros(delay * 100)).await;
        let cancelled = world.engine.runs().cancel(&world.caller, id).await;
        let run = world.ended(id).await;
        tokio::time::sleep(Duration::from_secs(40)).await;
        let later = world.state(id).await;
        assert_eq!(later, run.execution.state, "what is final changed");
        match cancelled {
            Ok(run) => assert_eq!((run.state, later), (State::Cancelled, State::Cancelled)),
            Err(error) => {
                assert_eq!((error.kind(), later), (ErrorKind::Conflict, State::Success));
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_invocation_past_its_time_is_stopped_and_names_its_run() {
    let hangs = skill("hangs", |_, _| std::future::pending());
    let world = flowing_over(Arc::new(MemoryStore::new()), |b| b.skill(hangs.clone())).await;
    let admitted = admit(&world.engine, &world.caller).await;
    let invoke = async |call: skill_core::call::CallRequest, on_deadline| {
        let asked = Submission::new(call.timeout(Duration::from_secs(2)));
        world.engine.runs().invoke(&admitted, asked, on_deadline).await
    };
    world.script.hang();
    for slow in [call("test", "hangs"), read()] {
        let begun = tokio::time::Instant::now();
        let error = invoke(slow, OnDeadline::Abort).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert!(begun.elapsed() < Duration::from_secs(4));
        let id = skill_core::id::ExecutionId::parse(error.execution().unwrap()).unwrap();
        let run = world.ended(id).await;
        assert_eq!(run.execution.state, State::Error);
        assert_eq!(run.execution.error, Some(ErrorKind::Timeout));
    }
    for slow in [call("test", "hangs"), read()] {
        let Invoked::Continues(id) = invoke(slow, OnDeadline::Continue).await.unwrap() else {
            panic!("it ended")
        };
        assert_eq!(world.state(id).await, State::Running);
        world.engine.runs().cancel(&world.caller, id).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn an_invocation_that_ends_in_time_is_answered() {
    let good = skill("good", |_, input| async move { Ok(input) });
    let world = flowing_over(Arc::new(MemoryStore::new()), |b| b.skill(good.clone())).await;
    let admitted = admit(&world.engine, &world.caller).await;
    world.script.on(|_| answers(200, r#"{"id": 3}"#));
    for on_deadline in [OnDeadline::Abort, OnDeadline::Continue] {
        for (asked, value) in
            [(call("test", "good").param("a", 1), json!({"a": 1})), (read(), json!({"id": 3}))]
        {
            let asked = Submission::new(asked);
            let invoked = world.engine.runs().invoke(&admitted, asked, on_deadline).await.unwrap();
            let Invoked::Ended(run) = invoked else { panic!("it goes on") };
            assert_eq!(answer(&run), value);
            assert_eq!(run.execution.state, State::Success);
            let kept = world.engine.runs().get(&world.caller, run.execution.id).await.unwrap();
            assert_eq!((kept.outcome, kept.input.is_some()), (run.outcome, true));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_repeated_invocation_is_given_the_first_outcome() {
    let slow = skill("slow", |context, _| async move {
        context.sleep(Duration::from_secs(1)).await?;
        Ok(json!("done"))
    });
    let world = flowing_over(Arc::new(MemoryStore::new()), |b| b.skill(slow.clone())).await;
    let admitted = admit(&world.engine, &world.caller).await;
    let asked = Submission::new(call("test", "slow").idempotency_key("k"));
    let invoke = || world.engine.runs().invoke(&admitted, asked.clone(), OnDeadline::Abort);
    let (first, meanwhile) = tokio::join!(invoke(), async {
        tokio::time::sleep(Duration::from_millis(10)).await;
        invoke().await
    });
    assert_eq!(meanwhile.unwrap_err().kind(), ErrorKind::Conflict);
    let Invoked::Ended(first) = first.unwrap() else { panic!("it goes on") };
    let Invoked::Ended(again) = invoke().await.unwrap() else { panic!("it goes on") };
    assert_eq!((again.execution.id, again.is_replay), (first.execution.id, true));
    assert_eq!(answer(&again), json!("done"));
}

#[tokio::test(start_paused = true)]
async fn a_call_past_the_queue_is_cancelled_when_others_can_see_it() {
    let world = flowing().await;
    world.script.hang();
    let (engine, caller) = (world.engine.clone(), world.caller.clone());
    let calling =
        tokio::spawn(async move { engine.call(&caller, write().idempotency_key("k")).await });
    world.sent_to("open.test/items", 1).await;
    let filter = skill_core::store::ExecutionFilter::default();
    let (runs, _) = world.engine.runs().list(&world.caller, &filter).await.unwrap();
    let run = world.engine.runs().cancel(&world.caller, runs[0].id).await.unwrap();
    assert_eq!(run.state, State::Cancelled);
    let error = calling.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(world.state(run.id).await, State::Cancelled);
    let again = world.engine.call(&world.caller, write().idempotency_key("k")).await.unwrap_err();
    assert_eq!((again.kind(), again.execution()), (ErrorKind::Conflict, error.execution()));
    assert_eq!(world.script.count("open.test/items"), 1);
}
