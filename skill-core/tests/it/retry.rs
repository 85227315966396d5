//! Sending again: where it is harmless, and nowhere else.

use std::time::Duration;

use serde_json::json;
use skill_core::{
    Error, ErrorKind, Result,
    call::{CallRequest, Reply},
    error::Retry,
    record::execution::State,
    store::ExecutionFilter,
    transport::Response,
};
use tokio::time::Instant;

use super::{
    fixture::{World, call},
    script::{cut, json as answer, late, unreachable, with},
};

type Answer = fn() -> Result<Response>;

const GOOD: Answer = || answer(200, "{}");
const UNREACHABLE: Answer = || Err(unreachable());
const CUT: Answer = || Err(cut());

fn busy(status: u16, after: &str) -> Result<Response> {
    with(answer(status, r#"{"busy":true}"#), "retry-after", after)
}

fn get() -> CallRequest {
    call("open", "whoami")
}

fn post() -> CallRequest {
    call("open", "make_item").param("title", "A")
}

/// The outcome of a call that gets these answers, and how many of them it took.
async fn after(call: CallRequest, answers: &[Answer]) -> (Result<Reply>, usize) {
    let world = World::new().await;
    world.script.queue(answers.iter().map(|answer| answer()));
    let outcome = world.engine.call(&world.caller, call).await;
    let sent = world.script.sent().len();
    let filter = ExecutionFilter::default();
    let (runs, _) = world.engine.runs().list(&world.caller, &filter).await.unwrap();
    assert_eq!(runs[0].attempts as usize, sent);
    assert_eq!(runs[0].state == State::Success, outcome.as_ref().is_ok_and(|r| r.status == 200));
    (outcome, sent)
}

fn kind(outcome: Result<Reply>) -> ErrorKind {
    outcome.unwrap_err().kind()
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_could_not_be_made_is_tried_once_more() {
    for call in [get(), post(), call("open", "pay"), call("open", "peek_once")] {
        let (outcome, sent) = after(call.clone(), &[UNREACHABLE, GOOD]).await;
        assert_eq!((outcome.unwrap().status.as_u16(), sent), (200, 2));
        let (outcome, sent) = after(call, &[UNREACHABLE, UNREACHABLE]).await;
        assert_eq!((kind(outcome), sent), (ErrorKind::UpstreamUnreachable, 2));
    }
}

#[tokio::test(start_paused = true)]
async fn an_address_that_is_refused_is_not_tried_again() {
    let refused = || Err(Error::new(ErrorKind::UpstreamUnreachable, "not public"));
    let (outcome, sent) = after(get(), &[refused]).await;
    assert_eq!((kind(outcome), sent), (ErrorKind::UpstreamUnreachable, 1));
}

#[tokio::test(start_paused = true)]
async fn a_busy_service_is_asked_again_when_it_said() {
    for status in [429, 503] {
        for call in [get(), post()] {
            let world = World::new().await;
            world.script.queue([busy(status, "7"), answer(200, "{}")]);
            let started = Instant::now();
            let reply = world.engine.call(&world.caller, call).await.unwrap();
            assert_eq!(reply.status, 200);
            assert_eq!(started.elapsed().as_secs(), 7);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_busy_service_is_asked_again_once() {
    let (outcome, sent) = after(get(), &[|| busy(503, "1"), || busy(429, "1")]).await;
    assert_eq!((outcome.unwrap().status.as_u16(), sent), (429, 2));
    let (outcome, sent) = after(get(), &[UNREACHABLE, || busy(429, "1")]).await;
    assert_eq!((outcome.unwrap().status.as_u16(), sent), (429, 2));
}

#[tokio::test(start_paused = true)]
async fn a_busy_service_is_not_waited_for_beyond_the_deadline() {
    let waits: [Answer; 6] = [
        || busy(503, "31"),
        || busy(429, "3600"),
        || busy(503, "99999999999999999999"),
        || busy(503, "soon"),
        || busy(503, "-1"),
        || answer(503, "{}"),
    ];
    for wait in waits {
        let started = Instant::now();
        let (outcome, sent) = after(post(), &[wait]).await;
        let status = outcome.unwrap().status.as_u16();
        assert!(matches!(status, 429 | 503));
        assert_eq!((sent, started.elapsed().as_millis() < 1000), (1, true));
    }
    let (outcome, sent) = after(get().timeout(Duration::from_secs(5)), &[|| busy(503, "6")]).await;
    assert_eq!((outcome.unwrap().status.as_u16(), sent), (503, 1));
}

#[tokio::test(start_paused = true)]
async fn other_answers_are_not_asked_for_again() {
    for status in [200, 400, 408, 409, 500, 502, 504] {
        let world = World::new().await;
        world.script.queue([busy(status, "1")]);
        let reply = world.engine.call(&world.caller, get()).await.unwrap();
        assert_eq!(reply.status, status);
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_cut_after_sending_is_unknown_and_not_repeated() {
    let (outcome, sent) = after(post(), &[CUT]).await;
    let error = outcome.unwrap_err();
    assert_eq!((error.kind(), sent), (ErrorKind::OutcomeUnknown, 1));
    assert_eq!(error.field_details()[0].issue, "outcome_unknown");
    assert!(!error.is_retryable());
    let (outcome, sent) = after(post(), &[|| Err(late())]).await;
    let error = outcome.unwrap_err();
    assert_eq!((error.kind(), sent), (ErrorKind::Timeout, 1));
    assert_eq!(error.field_details()[0].issue, "outcome_unknown");
    assert!(!error.is_retryable());
}

#[tokio::test(start_paused = true)]
async fn a_read_that_was_cut_is_repeated_once() {
    let (outcome, sent) = after(get(), &[CUT, GOOD]).await;
    assert_eq!((outcome.unwrap().status.as_u16(), sent), (200, 2));
    let (outcome, sent) = after(get(), &[CUT, CUT]).await;
    assert_eq!((kind(outcome), sent), (ErrorKind::UpstreamUnreachable, 2));
    let (outcome, sent) = after(get(), &[UNREACHABLE, CUT]).await;
    assert_eq!((kind(outcome), sent), (ErrorKind::UpstreamUnreachable, 2));
}

#[tokio::test(start_paused = true)]
async fn what_may_happen_once_is_never_repeated() {
    for name in ["pay", "peek_once"] {
        for failure in [CUT, || Err(late())] {
            let (outcome, sent) = after(call("open", name), &[failure]).await;
            let error = outcome.unwrap_err();
            assert_eq!(sent, 1, "{name}");
            assert!(matches!(error.kind(), ErrorKind::OutcomeUnknown | ErrorKind::Timeout));
            assert_eq!(error.field_details()[0].issue, "outcome_unknown");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn one_key_goes_out_with_every_attempt() {
    let world = World::new().await;
    let charge = || call("open", "charge").param("amount", 5).param("Idempotency-Key", "mine");
    let mut keys = Vec::new();
    for _ in 0..2 {
        world.script.forget();
        world.script.queue([Err(cut()), answer(200, "{}")]);
        let reply = world.engine.call(&world.caller, charge()).await.unwrap();
        let sent = world.script.sent();
        let [first, second] = &sent[..] else { panic!("two requests") };
        assert_eq!(first.header("idempotency-key"), Some(&*reply.execution.to_string()));
        assert_eq!(first.header("idempotency-key"), second.header("idempotency-key"));
        assert_eq!(first.body, second.body);
        keys.push(reply.execution);
    }
    assert_ne!(keys[0], keys[1]);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_cut_is_no_answer() {
    use futures_util::{StreamExt, stream};
    use skill_core::transport::Body;

    let half = || {
        let chunks = stream::iter([Ok("{\"a\":".into()), Err(cut())]).boxed();
        Ok(Response::new(http::StatusCode::OK, Body::Chunks(chunks)))
    };
    let (outcome, sent) = after(post(), &[half]).await;
    assert_eq!((kind(outcome), sent), (ErrorKind::OutcomeUnknown, 1));
    let (outcome, sent) = after(call("open", "pay"), &[half]).await;
    assert_eq!((kind(outcome), sent), (ErrorKind::OutcomeUnknown, 1));
    let world = World::new().await;
    world.script.on(move |_| half());
    let error = world.engine.call(&world.caller, get()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UpstreamUnreachable);
    assert!(world.script.sent().len() <= 2);
}

#[tokio::test(start_paused = true)]
async fn a_renewal_and_a_repeat_do_not_multiply() {
    let world = World::new().await;
    world.connect_desk().await;
    world.script.on(|sent| match (sent.place().as_str(), sent.header("authorization")) {
        ("auth.test/token", _) => answer(200, r#"{"access_token":"new","refresh_token":"r"}"#),
        (_, Some("Bearer new")) => busy(503, "1"),
        _ => answer(401, "{}"),
    });
    let reply = world.engine.call(&world.caller, super::fixture::read()).await.unwrap();
    assert_eq!(reply.status, 503);
    assert_eq!(world.script.count("desk.test/items/7"), 3);
    assert_eq!(world.script.count("auth.test/token"), 1);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_takes_back_its_promise_is_not_success() {
    let world = World::new().await;
    let _ = world.hand_over("keyed", json!({"api_key": "k"})).await;
    let failing =
        || Err(Error::new(ErrorKind::UpstreamInvalid, "no HTTP").retry(Retry::IfIdempotent));
    world.script.queue([failing()]);
    let make = call("keyed", "make_item").param("title", "A");
    let error = world.engine.call(&world.caller, make).await.unwrap_err();
    assert_eq!((error.kind(), world.script.sent().len()), (ErrorKind::UpstreamInvalid, 1));
}
