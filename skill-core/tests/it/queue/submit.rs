//! What is queued, what is refused, and what a repeat is given.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use skill_core::{
    ErrorKind,
    access::Caller,
    call::CallRequest,
    queue::Submission,
    record::{execution::State, scope::Scopes},
    store::{ExecutionFilter, MemoryStore},
};

use super::{
    super::{
        fixture::{World, acting_for, call, owner},
        script::json as answers,
    },
    admit, answer, failure, flowing, flowing_over, read, settings, skill, write,
};

async fn total(world: &World) -> u64 {
    let filter = ExecutionFilter::default();
    world.engine.runs().list(&world.caller, &filter).await.unwrap().1
}

#[tokio::test(start_paused = true)]
async fn a_queued_call_goes_to_its_end_by_itself() {
    let world = flowing().await;
    world.script.on(|_| answers(200, r#"{"id": 7}"#));
    let run = world.run(read()).await;
    assert_eq!(answer(&run), json!({"id": 7}));
    assert_eq!(run.input, Some(json!({"id": "7"})));
    assert_eq!(run.result_bytes, Some(9));
    let execution = run.execution;
    assert_eq!((execution.state, execution.progress), (State::Success, 100));
    assert_eq!((execution.attempts, execution.upstream_status), (1, Some(200)));
    assert!(execution.started_at.is_some() && execution.ended_at.is_some());
    assert_eq!(total(&world).await, 1, "one row, not one for the queue and one for the call");
}

#[tokio::test(start_paused = true)]
async fn a_skill_runs_and_its_value_is_kept() {
    let double = skill("double", |_, input| async move {
        Ok(json!({"twice": input["n"].as_i64().unwrap() * 2}))
    });
    let world = flowing_over(Arc::new(MemoryStore::new()), |b| b.skill(double.clone())).await;
    let run = world.run(call("test", "double").param("n", 4)).await;
    assert_eq!(answer(&run), json!({"twice": 8}));
    assert_eq!(run.execution.version.unwrap().to_string(), "v1.0");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_run_is_refused_before_it_is_a_run() {
    let world = flowing().await;
    let refused = async |caller: &Caller, call: CallRequest| {
        world.submit_as(caller, Submission::new(call)).await.unwrap_err().kind()
    };
    let narrow = Caller { scopes: Scopes::parse(["github"]).unwrap(), ..world.caller.clone() };
    assert_eq!(refused(&narrow, read()).await, ErrorKind::ScopeMissing);
    assert_eq!(refused(&world.caller, call("open", "nothing")).await, ErrorKind::NotFound);
    assert_eq!(refused(&world.caller, call("open", "make_item")).await, ErrorKind::InvalidInput);
    let empty = call("open", "get_item").param("id", "..");
    assert_eq!(refused(&world.caller, empty).await, ErrorKind::InvalidInput);
    let bad_key = read().idempotency_key("not visible");
    assert_eq!(refused(&world.caller, bad_key).await, ErrorKind::InvalidInput);
    let late =
        Submission { delay: Some(Duration::from_secs(31 * 24 * 3600)), ..Submission::new(read()) };
    let error = world.submit_as(&world.caller, late).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert_eq!(total(&world).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_missing_connection_fails_the_run_not_the_submit() {
    let world = flowing().await;
    let run = world.run(call("desk", "get_item").param("id", "7")).await;
    assert_eq!(run.execution.state, State::Error);
    let failure = failure(&run);
    assert_eq!(failure.kind, ErrorKind::NotConnected);
    assert!(failure.action_url.as_ref().unwrap().starts_with("https://skill.test/connect/"));
}

#[tokio::test(start_paused = true)]
async fn a_repeat_is_given_the_first_run_whether_or_not_it_has_ended() {
    let world = flowing().await;
    world.script.hang();
    let first = world.submit(write().idempotency_key("k")).await;
    let admitted = admit(&world.engine, &world.caller).await;
    let again = Submission::new(write().idempotency_key("k"));
    let repeat = world.engine.runs().submit(&admitted, again.clone()).await.unwrap();
    assert_eq!((repeat.id, repeat.is_replay), (first, true));
    world.engine.runs().cancel(&world.caller, first).await.unwrap();
    let repeat = world.engine.runs().submit(&admitted, again).await.unwrap();
    assert_eq!((repeat.id, repeat.is_replay), (first, true));
    let other = Submission::new(write().param("note", "n").idempotency_key("k"));
    let error = world.engine.runs().submit(&admitted, other).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::IdempotencyMismatch);
    assert_eq!(total(&world).await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_key_is_shared_with_calls_that_do_not_wait_in_the_queue() {
    let world = flowing().await;
    world.script.on(|_| answers(200, r#"{"id": 1}"#));
    let run = world.run(write().idempotency_key("k")).await;
    let reply = world.engine.call(&world.caller, write().idempotency_key("k")).await.unwrap();
    assert_eq!((reply.execution, reply.is_replay), (run.execution.id, true));
    assert_eq!(reply.data.json().unwrap(), json!({"id": 1}));
    let reply = world.engine.call(&world.caller, write().idempotency_key("l")).await.unwrap();
    assert_eq!(world.submit(write().idempotency_key("l")).await, reply.execution);
    assert_eq!(world.script.count("open.test/items"), 2);
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_says_when_to_come_again() {
    let small = settings(|s| (s.slots, s.depth) = (1, 2));
    let world = flowing_over(Arc::new(MemoryStore::new()), |b| b.queue(small)).await;
    world.script.hang();
    for _ in 0..3 {
        world.submit(read()).await;
    }
    let error = world.submit_as(&world.caller, Submission::new(read())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.retry_delay().is_some());
    assert!(world.submit_as(&owner("other"), Submission::new(read())).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_run_is_seen_by_its_owner_and_its_user_only() {
    let world = flowing().await;
    let ada = acting_for(&world.caller, "ada");
    let id = world.submit_as(&ada, Submission::new(read())).await.unwrap();
    let runs = world.engine.runs();
    for stranger in [acting_for(&world.caller, "bob"), owner("rival")] {
        let unseen = runs.get(&stranger, id).await.unwrap_err();
        assert_eq!(unseen.kind(), ErrorKind::NotFound);
        let cancelled = runs.cancel(&stranger, id).await.unwrap_err();
        assert_eq!(cancelled.kind(), ErrorKind::NotFound);
        let filter = ExecutionFilter::default();
        assert_eq!(runs.list(&stranger, &filter).await.unwrap(), (vec![], 0));
    }
    assert!(runs.get(&ada, id).await.is_ok());
    assert!(runs.get(&world.caller, id).await.is_ok(), "the owner sees everybody's");
}

#[tokio::test(start_paused = true)]
async fn whoever_hangs_up_after_submitting_has_submitted() {
    let world = flowing().await;
    let admitted = admit(&world.engine, &world.caller).await;
    for wait in 0..20_u32 {
        let submitting = world.engine.runs().submit(&admitted, Submission::new(read()));
        let mut submitting = Box::pin(submitting);
        for _ in 0..wait {
            if futures_util::poll!(&mut submitting).is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
    tokio::time::sleep(Duration::from_secs(120)).await;
    let filter = ExecutionFilter::default();
    let (runs, total) = world.engine.runs().list(&world.caller, &filter).await.unwrap();
    assert!(total > 0);
    for run in runs {
        assert_eq!((run.state, run.attempts), (State::Success, 1), "{}", run.id);
    }
}

#[tokio::test(start_paused = true)]
async fn a_delayed_run_waits_for_its_time() {
    let world = flowing().await;
    let delay = Some(Duration::from_secs(3600));
    let later = Submission { delay, ..Submission::new(read()) };
    let id = world.submit_as(&world.caller, later).await.unwrap();
    tokio::time::sleep(Duration::from_secs(3590)).await;
    assert_eq!(world.state(id).await, State::Queued);
    let begun = tokio::time::Instant::now();
    assert_eq!(world.ended(id).await.execution.state, State::Success);
    assert!(begun.elapsed() < Duration::from_secs(12), "{:?}", begun.elapsed());
}
