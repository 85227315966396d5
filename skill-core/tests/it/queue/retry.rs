//! What is tried again, when, and how often.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use skill_core::{
    Error, ErrorKind,
    access::Caller,
    queue::{Outcome, Submission},
    record::execution::State,
    store::MemoryStore,
};

use super::{
    super::{
        fixture::call,
        script::{cut, json as answers, me, unreachable, with},
    },
    answer, failure, flowing, flowing_over, read, settings, skill, skill_with, write,
};

#[tokio::test(start_paused = true)]
async fn a_refusal_for_now_is_tried_again_when_the_service_says() {
    let world = flowing().await;
    let busy = with(answers(429, "{}"), "retry-after", "90");
    world.script.queue([busy, answers(503, "{}"), answers(201, r#"{"id": 1}"#)]);
    let begun = tokio::time::Instant::now();
    let run = world.run(write()).await;
    assert_eq!(answer(&run), json!({"id": 1}));
    assert_eq!((run.execution.attempts, run.execution.upstream_status), (3, Some(201)));
    assert!(begun.elapsed() >= Duration::from_secs(90), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn what_never_left_is_tried_again() {
    let world = flowing().await;
    world.script.queue([Err(unreachable()), Err(unreachable()), me()]);
    let run = world.run(write()).await;
    assert_eq!((run.execution.state, run.execution.attempts), (State::Success, 3));
}

#[tokio::test(start_paused = true)]
async fn an_unknown_outcome_is_tried_again_only_when_that_is_harmless() {
    let world = flowing().await;
    for broken in [|| answers(500, r#"{"e": 1}"#), || answers(502, "{}"), || answers(504, "{}")] {
        world.script.forget();
        world.script.on(move |_| broken());
        let run = world.run(write()).await;
        assert_eq!((run.execution.state, run.execution.attempts), (State::Error, 1));
        assert!(matches!(run.outcome, Some(Outcome::Answer { .. })), "the answer is kept");
        assert_eq!(run.execution.error, None);
        let run = world.run(read()).await;
        assert_eq!((run.execution.state, run.execution.attempts), (State::Error, 5));
        assert_eq!(world.script.sent().len(), 6, "an attempt is one request");
    }
    world.script.on(|_| Err(cut()));
    let run = world.run(write()).await;
    assert_eq!(failure(&run).kind, ErrorKind::OutcomeUnknown);
    assert_eq!(run.execution.attempts, 1);
    let run = world.run(call("open", "pay").param("amount", 1)).await;
    assert_eq!(failure(&run).kind, ErrorKind::OutcomeUnknown);
    let run = world.run(call("open", "peek_once")).await;
    assert_eq!((run.execution.state, run.execution.attempts), (State::Error, 1));
}

#[tokio::test(start_paused = true)]
async fn every_attempt_carries_the_same_key() {
    let world = flowing().await;
    world.script.queue([Err(cut()), answers(500, "{}"), Err(unreachable()), me()]);
    let run = world.run(call("open", "charge").param("amount", 5)).await;
    assert_eq!((run.execution.state, run.execution.attempts), (State::Success, 4));
    let (sent, id) = (world.script.sent(), run.execution.id.to_string());
    assert!(sent.iter().all(|sent| sent.header("idempotency-key") == Some(&id)));
}

#[tokio::test(start_paused = true)]
async fn a_definite_refusal_is_final() {
    let world = flowing().await;
    for status in [400, 403, 404, 409, 422] {
        world.script.on(move |_| answers(status, r#"{"why": "no"}"#));
        let run = world.run(read()).await;
        assert_eq!((run.execution.state, run.execution.attempts), (State::Error, 1));
        assert_eq!(run.execution.upstream_status, Some(status));
        assert_eq!(answer(&run), json!({"why": "no"}));
    }
}

#[tokio::test(start_paused = true)]
async fn a_renewal_is_no_attempt_of_its_own() {
    let world = flowing().await;
    world.connect_desk().await;
    world.script.on(|sent| match sent.place().as_str() {
        "auth.test/token" => answers(200, r#"{"access_token": "access-1"}"#),
        _ if sent.header("authorization") == Some("Bearer access-1") => me(),
        _ => answers(401, "{}"),
    });
    let run = world.run(call("desk", "make_item").param("title", "x")).await;
    assert_eq!((run.execution.state, run.execution.attempts), (State::Success, 1));
    assert_eq!(world.script.count("desk.test/items"), 2);
}

#[tokio::test(start_paused = true)]
async fn the_deadline_is_the_outer_bound() {
    let many = settings(|s| s.attempts = 1_000);
    let world = flowing_over(Arc::new(MemoryStore::new()), |b| b.queue(many)).await;
    world.script.on(|_| Err(unreachable()));
    let begun = tokio::time::Instant::now();
    let deadline = Some(Duration::from_secs(60));
    let id = world
        .submit_as(&world.caller, Submission { deadline, ..Submission::new(read()) })
        .await
        .unwrap();
    let run = world.ended(id).await;
    assert_eq!(failure(&run).kind, ErrorKind::UpstreamUnreachable, "the reason stays visible");
    assert!(begun.elapsed() <= Duration::from_secs(61), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_run_that_hangs_ends_at_its_deadline() {
    let hangs = skill("hangs", |_, _| std::future::pending());
    let world = flowing_over(Arc::new(MemoryStore::new()), |b| b.skill(hangs.clone())).await;
    let begun = tokio::time::Instant::now();
    let run = world.run(call("test", "hangs")).await;
    assert_eq!(failure(&run).kind, ErrorKind::Timeout);
    assert!(begun.elapsed() <= Duration::from_secs(902), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_one_failed_attempt() {
    let panics = skill("panics", |_, _| async { panic!("on purpose") });
    let good = skill("good", |_, input| async move { Ok(input) });
    let world =
        flowing_over(Arc::new(MemoryStore::new()), |b| b.skill(panics.clone()).skill(good.clone()))
            .await;
    let poison = world.submit(call("test", "panics")).await;
    for n in 0..20 {
        let run = world.run(call("test", "good").param("n", n)).await;
        assert_eq!(answer(&run), json!({"n": n}));
    }
    let run = world.ended(poison).await;
    assert_eq!((run.execution.state, run.execution.attempts), (State::Error, 5));
    assert_eq!(failure(&run).kind, ErrorKind::ActionFailed);
    assert!(!failure(&run).message.contains("on purpose"), "what it says is for the log");
}

#[tokio::test(start_paused = true)]
async fn a_skill_says_whether_it_is_tried_again() {
    let busy = skill("busy", |context, _| async move {
        match context.run().attempt {
            1 | 2 => Err(Error::new(ErrorKind::Unavailable, "later")),
            _ => Ok(json!("done")),
        }
    });
    let broken = skill("broken", |_, _| async {
        Err(Error::new(ErrorKind::ActionFailed, "no").detail("why", "because"))
    });
    let twice = skill_with(
        "twice",
        |info| info.attempts = Some(2),
        |_, _| async { Err(Error::new(ErrorKind::Unavailable, "later")) },
    );
    let world = flowing_over(Arc::new(MemoryStore::new()), |b| {
        b.skill(busy.clone()).skill(broken.clone()).skill(twice.clone())
    })
    .await;
    let run = world.run(call("test", "busy")).await;
    assert_eq!((answer(&run), run.execution.attempts), (json!("done"), 3));
    let run = world.run(call("test", "broken")).await;
    assert_eq!((failure(&run).kind, run.execution.attempts), (ErrorKind::ActionFailed, 1));
    assert_eq!(failure(&run).details[0].issue, "because");
    assert_eq!(world.run(call("test", "twice")).await.execution.attempts, 2);
}

#[tokio::test(start_paused = true)]
async fn a_revoked_key_stops_its_runs_and_an_expired_one_does_not() {
    let world = flowing().await;
    let delay = Some(Duration::from_secs(600));
    let later = || Submission { delay, ..Submission::new(read()) };
    let revoked = world.key().await;
    let first = world.submit_as(&revoked, later()).await.unwrap();
    let keys = world.engine.keys();
    keys.revoke(&world.caller, revoked.key().unwrap()).await.unwrap();
    let wanted = skill_core::access::NewKey {
        expires_in: Some(Duration::from_secs(60)),
        ..skill_core::access::NewKey::new("brief", skill_core::record::key::Kind::Api)
    };
    let (_, plain) = keys.create(&world.caller, wanted).await.unwrap();
    let brief: Caller = world.present(plain.expose()).await.unwrap();
    let second = world.submit_as(&brief, later()).await.unwrap();
    let run = world.ended(first).await;
    assert_eq!(failure(&run).kind, ErrorKind::Unauthenticated);
    assert_eq!(run.execution.attempts, 1);
    assert!(world.present(plain.expose()).await.is_none(), "the key has ended");
    assert_eq!(world.ended(second).await.execution.state, State::Success);
}
