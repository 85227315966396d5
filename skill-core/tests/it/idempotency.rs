//! Idempotency keys: the effect once, the answer as often as one asks.

use std::{pin::pin, sync::Arc, time::Duration};

use serde_json::json;
use skill_core::{
    ErrorKind,
    call::{CallRequest, Data},
    error::Retry,
    record::execution::State,
    store::{ExecutionFilter, MemoryStore, Store, sqlite::SqliteStore},
};
use tokio::sync::Notify;

use super::{
    fixture::{World, acting_for, call, owner},
    script::{cut, json as answer, late, typed, unreachable},
    watched::Watched,
};

fn make(key: &str) -> CallRequest {
    call("open", "make_item").param("title", "A").idempotency_key(key)
}

/// A store of each kind.
fn stores() -> (tempfile::TempDir, [Arc<dyn Store>; 2]) {
    let dir = tempfile::tempdir().unwrap();
    let file = SqliteStore::open(&dir.path().join("skill.db")).unwrap();
    (dir, [Arc::new(MemoryStore::new()), Arc::new(file)])
}

#[tokio::test]
async fn the_same_request_gets_the_first_answer_again() {
    let (_dir, stores) = stores();
    for store in stores {
        let world = World::over(store).await;
        world.script.on(|_| answer(201, r#"{ "id":9 }"#));
        let first = world.engine.call(&world.caller, make("k")).await.unwrap();
        world.script.on(|_| answer(500, "{}"));
        let again = world.engine.call(&world.caller, make("k")).await.unwrap();
        assert_eq!((first.is_replay, again.is_replay), (false, true));
        assert_eq!((again.execution, again.status), (first.execution, first.status));
        assert_eq!((&again.data, &first.data), (&first.data, &Data::Json(r#"{ "id":9 }"#.into())));
        assert_eq!(world.script.sent().len(), 1);
        let filter = ExecutionFilter::default();
        let (_, total) = world.engine.runs().list(&world.caller, &filter).await.unwrap();
        assert_eq!(total, 1);
        world.engine.stop().await;
    }
}

#[tokio::test]
async fn every_kind_of_answer_is_given_again() {
    let world = World::new().await;
    type Answer = (u16, &'static str, &'static [u8]);
    let answers: [Answer; 5] = [
        (204, "application/json", b""),
        (200, "text/plain", "gr\u{fc}n".as_bytes()),
        (200, "image/png", b"\x89\xff\x00"),
        (404, "application/json", b"{\"no\":1}"),
        (500, "application/json", b"[]"),
    ];
    for (n, (status, kind, body)) in answers.into_iter().enumerate() {
        world.script.on(move |_| typed(status, kind, body));
        let key = format!("k{n}");
        let first = world.engine.call(&world.caller, make(&key)).await.unwrap();
        let again = world.engine.call(&world.caller, make(&key)).await.unwrap();
        assert_eq!((first.status, first.data), (again.status, again.data));
        assert!(again.is_replay);
    }
    assert_eq!(world.script.sent().len(), answers.len());
}

#[tokio::test]
async fn members_in_another_order_are_the_same_inputs() {
    let world = World::new().await;
    let first = call("open", "make_item")
        .param("title", "A")
        .param("more", json!({"b": 1, "a": {"y": 2, "x": [1, 2]}}));
    let text = r#"{"more":{"a":{"x":[1,2],"y":2},"b":1},"title":"A"}"#;
    let mut again = call("open", "make-item");
    again.params = serde_json::from_str(text).unwrap();
    world.engine.call(&world.caller, first.idempotency_key("k")).await.unwrap();
    let reply = world.engine.call(&world.caller, again.idempotency_key("k")).await.unwrap();
    assert!(reply.is_replay);
    assert_eq!(world.script.sent().len(), 1);
}

#[tokio::test]
async fn other_inputs_under_the_same_key_are_refused() {
    let world = World::new().await;
    world.engine.call(&world.caller, make("k")).await.unwrap();
    for other in [
        make("k").param("title", "B"),
        make("k").param("note", ""),
        make("k").param("more", json!({"a": [1, 2]})),
    ] {
        let error = world.engine.call(&world.caller, other).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::IdempotencyMismatch);
    }
    assert_eq!(world.script.sent().len(), 1);
}

#[tokio::test]
async fn a_key_that_is_no_key_is_refused_before_anything_is_sent() {
    let world = World::new().await;
    for key in ["", " ", "a b", "\u{fc}", "a\n", &"x".repeat(256)] {
        let error = world.engine.call(&world.caller, make(key)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{key:?}");
    }
    assert!(world.script.sent().is_empty());
    world.engine.call(&world.caller, make(&"x".repeat(255))).await.unwrap();
}

/// Lets every request wait for the returned signal.
fn slow(world: &World) -> Arc<Notify> {
    let go = Arc::new(Notify::new());
    let waiting = go.clone();
    world.script.play(move |_| {
        let waiting = waiting.clone();
        async move {
            waiting.notified().await;
            answer(200, "{}")
        }
    });
    go
}

#[tokio::test(start_paused = true)]
async fn a_request_that_still_runs_is_a_conflict() {
    let world = World::new().await;
    let go = slow(&world);
    let (engine, caller) = (world.engine.clone(), world.caller.clone());
    let going = tokio::spawn(async move { engine.call(&caller, make("k")).await });
    while world.script.sent().is_empty() {
        tokio::task::yield_now().await;
    }
    let error = world.engine.call(&world.caller, make("k")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    let error = world.engine.call(&world.caller, make("k").param("title", "B")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::IdempotencyMismatch);
    go.notify_one();
    let first = going.await.unwrap().unwrap();
    let again = world.engine.call(&world.caller, make("k")).await.unwrap();
    assert_eq!((again.execution, again.is_replay), (first.execution, true));
    assert_eq!(world.script.sent().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_at_once_have_one_effect() {
    let (_dir, stores) = stores();
    for store in stores {
        let world = World::over(store).await;
        let another = world.another().await;
        let mut calls = tokio::task::JoinSet::new();
        for n in 0..100 {
            let side = if n % 2 == 0 { &world } else { &another };
            let (engine, caller) = (side.engine.clone(), side.caller.clone());
            calls.spawn(async move { engine.call(&caller, make("k")).await });
        }
        for done in calls.join_all().await {
            assert!(done.is_ok() || done.is_err_and(|error| error.kind() == ErrorKind::Conflict));
        }
        assert_eq!(world.script.sent().len(), 1);
        world.engine.stop().await;
        another.engine.stop().await;
    }
}

#[tokio::test]
async fn other_owners_and_actions_have_keys_of_their_own() {
    let world = World::new().await;
    world.engine.call(&world.caller, make("k")).await.unwrap();
    let theirs = world.engine.call(&owner("rival"), make("k")).await.unwrap();
    assert!(!theirs.is_replay);
    let charge = call("open", "charge").idempotency_key("k");
    assert!(!world.engine.call(&world.caller, charge).await.unwrap().is_replay);
    let other = world.engine.call(&world.caller, make("another")).await.unwrap();
    assert!(!other.is_replay);
    assert_eq!(world.script.sent().len(), 4);
    // Every key of an owner shares them.
    let key = world.key().await;
    assert!(world.engine.call(&key, make("k")).await.unwrap().is_replay);
}

#[tokio::test]
async fn one_person_never_gets_the_answer_to_another() {
    let (_dir, stores) = stores();
    for store in stores {
        let world = World::over(store).await;
        let (ada, bob) = (acting_for(&world.caller, "ada"), acting_for(&world.caller, "bob"));
        world.engine.call(&ada, make("k")).await.unwrap();
        assert!(world.engine.call(&ada, make("k")).await.unwrap().is_replay);
        for other in [&bob, &world.caller] {
            let error = world.engine.call(other, make("k")).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::IdempotencyMismatch);
        }
        world.engine.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_try_that_reached_nothing_takes_nothing_back() {
    let world = World::new().await;
    let charge = || call("open", "charge").param("amount", 5).idempotency_key("k");
    world.script.queue([Err(cut()), Err(unreachable())]);
    let first = world.engine.call(&world.caller, charge()).await.unwrap_err();
    assert_eq!(first.retry_state(), Retry::IfIdempotent);
    // Another run would go out under another key of the service's: a second charge.
    let again = world.engine.call(&world.caller, charge()).await.unwrap_err();
    assert_eq!(again.kind(), first.kind());
    assert_eq!(world.script.sent().len(), 2);
}

#[tokio::test]
async fn a_refusal_is_not_remembered() {
    let world = World::new().await;
    let bad = call("open", "make_item").idempotency_key("k");
    let error = world.engine.call(&world.caller, bad).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(!world.engine.call(&world.caller, make("k")).await.unwrap().is_replay);
    let keyed = || call("keyed", "make_item").param("title", "A").idempotency_key("k");
    let error = world.engine.call(&world.caller, keyed()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotConnected);
    world.hand_over("keyed", json!({"api_key": "k"})).await;
    assert!(!world.engine.call(&world.caller, keyed()).await.unwrap().is_replay);
}

#[tokio::test]
async fn the_answer_survives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("skill.db");
    let world = World::over(Arc::new(SqliteStore::open(&path).unwrap())).await;
    let first = world.engine.call(&world.caller, make("k")).await.unwrap();
    world.engine.stop().await;
    drop(world);
    let world = World::over(Arc::new(SqliteStore::open(&path).unwrap())).await;
    let again = world.engine.call(&world.caller, make("k")).await.unwrap();
    assert_eq!((again.execution, again.is_replay), (first.execution, true));
    assert_eq!(again.data, first.data);
    assert!(world.script.sent().is_empty());
    world.engine.stop().await;
}

#[tokio::test]
async fn a_key_is_forgotten_after_a_day() {
    let world = World::new().await;
    world.engine.call(&world.caller, make("k")).await.unwrap();
    world.clock.advance(Duration::from_secs(24 * 3600 - 1));
    assert!(world.engine.call(&world.caller, make("k")).await.unwrap().is_replay);
    world.clock.advance(Duration::from_secs(1));
    assert!(!world.engine.call(&world.caller, make("k")).await.unwrap().is_replay);
}

#[tokio::test]
async fn a_failure_without_effect_frees_the_key() {
    let (_dir, stores) = stores();
    for store in stores {
        let world = World::over(store).await;
        world.script.on(|_| Err(unreachable()));
        let error = world.engine.call(&world.caller, make("k")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UpstreamUnreachable);
        world.script.on(|_| answer(200, "{}"));
        let reply = world.engine.call(&world.caller, make("k")).await.unwrap();
        assert_eq!((reply.status.as_u16(), reply.is_replay), (200, false));
        assert!(world.engine.call(&world.caller, make("k")).await.unwrap().is_replay);
        world.engine.stop().await;
    }
}

#[tokio::test]
async fn an_unknown_outcome_is_given_again_and_not_tried_again() {
    let (_dir, stores) = stores();
    for store in stores {
        let world = World::over(store).await;
        for (key, kind) in [("cut", ErrorKind::OutcomeUnknown), ("late", ErrorKind::Timeout)] {
            world.script.forget();
            world.script.on(move |_| Err(if key == "cut" { cut() } else { late() }));
            let first = world.engine.call(&world.caller, make(key)).await.unwrap_err();
            world.script.on(|_| answer(200, "{}"));
            let again = world.engine.call(&world.caller, make(key)).await.unwrap_err();
            assert_eq!((first.kind(), again.kind()), (kind, kind));
            assert_eq!(first.message(), again.message());
            assert_eq!(first.field_details(), again.field_details());
            assert_eq!(world.script.sent().len(), 1);
        }
        world.engine.stop().await;
    }
}

#[tokio::test]
async fn a_caller_that_hangs_up_stops_nothing() {
    let (_dir, stores) = stores();
    for store in stores {
        let world = World::over(store).await;
        let go = slow(&world);
        {
            let mut going = pin!(world.engine.call(&world.caller, make("k")));
            while world.script.sent().is_empty() {
                tokio::select! {
                    _ = &mut going => panic!("nothing answers yet"),
                    () = tokio::time::sleep(Duration::from_millis(1)) => {}
                }
            }
        }
        go.notify_one();
        world.engine.stop().await;
        let world = world.another().await;
        let reply = world.engine.call(&world.caller, make("k")).await.unwrap();
        assert!(reply.is_replay);
        assert_eq!(world.script.sent().len(), 1);
        let run = world.engine.runs().execution(&world.caller, reply.execution).await.unwrap();
        assert_eq!(run.state, State::Success);
        world.engine.stop().await;
    }
}

#[tokio::test]
async fn nothing_is_sent_that_could_not_be_recorded_first() {
    let store = Watched::new();
    let world = World::over(store.clone()).await;
    store.fail("begin");
    for call in [make("k"), call("open", "pay")] {
        let error = world.engine.call(&world.caller, call).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
    }
    assert!(world.script.sent().is_empty());
    store.heal("begin");
    world.engine.call(&world.caller, make("k")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_effect_that_cannot_be_recorded_is_answered_and_not_repeated() {
    let store = Watched::new();
    let world = World::over(store.clone()).await;
    store.fail("record");
    let reply = world.engine.call(&world.caller, make("k")).await.unwrap();
    assert_eq!(reply.status, 200);
    let paid = world.engine.call(&world.caller, call("open", "pay")).await.unwrap();
    store.heal("record");
    let error = world.engine.call(&world.caller, make("k")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    // The store takes the outcome as soon as it takes anything.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let again = world.engine.call(&world.caller, make("k")).await.unwrap();
    assert_eq!((again.execution, again.is_replay), (reply.execution, true));
    assert_eq!(world.script.sent().len(), 2);
    world.engine.stop().await;
    for id in [paid.execution, reply.execution] {
        let run = world.store.execution(&world.caller.owner, id).await.unwrap();
        assert_eq!(run.unwrap().state, State::Success);
    }
}

#[tokio::test]
async fn what_is_kept_of_an_answer_is_sealed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("skill.db");
    let world = World::over(Arc::new(SqliteStore::open(&path).unwrap())).await;
    world.script.on(|_| answer(200, r#"{"private":"CANARY-ANSWER"}"#));
    world.engine.call(&world.caller, make("k")).await.unwrap();
    world.engine.stop().await;
    drop(world);
    let bytes = std::fs::read(&path).unwrap();
    assert!(!bytes.windows(13).any(|window| window == b"CANARY-ANSWER"));
}
