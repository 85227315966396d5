//! Skills that come with the crate: what they fetch and send, and what they never do.

use std::time::Duration;

use serde_json::{Value, json};
use skill_core::{
    ErrorKind,
    access::Admission,
    builtin,
    call::{Failure, Outcome},
    clock::Deadline,
    error::{Error, Retry},
    queue::{Run, Settings, Submission},
    store::MemoryStore,
    transport::Response,
};

use super::{
    fixture::{World, call},
    script::{json as answer, typed},
};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8G";

async fn world() -> World {
    let skills = builtin::skills().unwrap();
    World::with(std::sync::Arc::new(MemoryStore::new()), |builder| {
        let builder = builder.queue(Settings { backoff: Duration::ZERO, ..Settings::default() });
        skills.iter().fold(builder, |builder, skill| builder.skill(skill.clone()))
    })
    .await
}

async fn ended(world: &World, action: (&str, &str), inputs: Value) -> Run {
    let admitted = match world.engine.keys().admit(world.caller.clone()).await.unwrap() {
        Admission::Admitted(admitted) => admitted,
        Admission::Refused(_) => panic!("nothing is limited"),
    };
    let inputs = inputs.as_object().unwrap().clone();
    let call = inputs
        .into_iter()
        .fold(call(action.0, action.1), |call, (name, value)| call.param(name, value));
    let runs = world.engine.runs();
    let id = runs.submit(&admitted, Submission::new(call)).await.unwrap().id;
    runs.wait(&world.caller, id, Deadline::after(Duration::from_secs(600))).await.unwrap()
}

async fn value(world: &World, action: (&str, &str), inputs: Value) -> Value {
    match ended(world, action, inputs).await.outcome {
        Some(Outcome::Answer { data, .. }) => data.json().unwrap(),
        other => panic!("no value: {other:?}"),
    }
}

async fn failure(world: &World, action: (&str, &str), inputs: Value) -> Failure {
    match ended(world, action, inputs).await.outcome {
        Some(Outcome::Failed(failure)) => failure,
        other => panic!("no failure: {other:?}"),
    }
}

fn redirect(to: &str) -> Result<Response, Error> {
    let mut answer = typed(302, "text/html", b"").unwrap();
    answer.headers.insert("location", to.parse().unwrap());
    Ok(answer)
}

#[tokio::test(start_paused = true)]
async fn a_page_is_fetched_hop_by_hop_without_a_credential() {
    let world = world().await;
    let page = typed(200, "text/html", b"<title>T</title><p>Hi <a href=/x>x</a>");
    world.script.queue([redirect("/b"), redirect("https://other.test/c"), page]);
    let found = value(&world, ("web", "retrieve-site"), json!({"url": "https://one.test/a"})).await;
    let links = json!([{"url": "https://other.test/x", "text": "x"}]);
    assert_eq!(
        (&found["title"], &found["content"], &found["links"]),
        (&json!("T"), &json!("Hi x"), &links)
    );
    let places = world.script.sent().iter().map(|sent| sent.place()).collect::<Vec<_>>();
    assert_eq!(places, ["one.test/a", "one.test/b", "other.test/c"]);
    assert!(world.script.sent().iter().all(|sent| sent.header("authorization").is_none()));
}

#[tokio::test(start_paused = true)]
async fn redirects_without_end_and_addresses_that_are_closed_are_refused() {
    let world = world().await;
    world.script.on(|_| redirect("https://one.test/again"));
    let url = json!({"url": "https://one.test/a"});
    let failed = failure(&world, ("web", "retrieve-site"), url.clone()).await;
    assert_eq!((failed.kind, world.script.sent().len()), (ErrorKind::UpstreamInvalid, 6));
    world.script.on(|_| {
        let message = "the service cannot be reached: the address is not public";
        Err(Error::new(ErrorKind::UpstreamUnreachable, message))
    });
    let failed = failure(&world, ("web", "retrieve-site"), url).await;
    assert_eq!(failed.kind, ErrorKind::InvalidInput);
    let failed =
        failure(&world, ("web", "retrieve-site"), json!({"url": "file:///etc/passwd"})).await;
    assert_eq!(failed.kind, ErrorKind::InvalidInput);
}

#[tokio::test(start_paused = true)]
async fn a_message_is_sent_until_it_is_taken_under_one_id() {
    let world = world().await;
    world.script.queue([answer(503, "{}"), answer(200, "{}")]);
    let inputs = json!({"url": "https://hook.test/in", "payload": {"n": 1}, "secret": SECRET});
    let run = ended(&world, ("automation", "webhook-trigger"), inputs).await;
    let shown = format!("{:?}", run.outcome);
    assert!(!shown.contains("MfKQ9r8GKYqrTwjUPD8"), "the secret is in the outcome");
    let Some(Outcome::Answer { data, .. }) = run.outcome else { panic!("{shown}") };
    assert_eq!(data.json().unwrap(), json!({"status": 200, "attempts": 2, "delivered": true}));
    let sent = world.script.sent();
    assert!(sent.iter().all(|one| one.header("webhook-id") == sent[0].header("webhook-id")));
    assert!(sent.iter().all(|one| one.header("webhook-signature").is_some()));
    assert_eq!(sent[0].json(), json!({"n": 1}));
}

#[tokio::test(start_paused = true)]
async fn a_message_whose_fate_is_unknown_is_not_sent_again() {
    let world = world().await;
    world.script.on(|_| {
        let cut = Error::new(ErrorKind::UpstreamUnreachable, "the connection was cut");
        Err(cut.retry(Retry::IfIdempotent))
    });
    let inputs = json!({"url": "https://hook.test/in", "payload": {}});
    let failed = failure(&world, ("automation", "webhook-trigger"), inputs).await;
    assert_eq!((failed.kind, world.script.sent().len()), (ErrorKind::OutcomeUnknown, 1));
    let bad = json!({"url": "https://hook.test/in", "payload": {}, "secret": "short"});
    let failed = failure(&world, ("automation", "webhook-trigger"), bad).await;
    assert_eq!(failed.kind, ErrorKind::InvalidInput);
}

#[tokio::test(start_paused = true)]
async fn what_is_down_is_unhealthy_and_no_error() {
    let world = world().await;
    let ask = json!({"url": "https://up.test/", "expect_status": 200, "expect_body": "pong"});
    world.script.queue([typed(200, "text/plain", b"pong!"), typed(200, "text/plain", b"?")]);
    let found = value(&world, ("monitoring", "health-check"), ask.clone()).await;
    assert_eq!((&found["healthy"], &found["status"]), (&json!(true), &json!(200)));
    let found = value(&world, ("monitoring", "health-check"), ask.clone()).await;
    assert_eq!(found["reason"], "the answer does not hold the expected text");
    world.script.on(|_| {
        let away = Error::new(ErrorKind::UpstreamUnreachable, "the service cannot be reached");
        Err(away.retry(Retry::Safe))
    });
    let found = value(&world, ("monitoring", "health-check"), ask).await;
    assert_eq!((&found["healthy"], &found["status"]), (&json!(false), &Value::Null));
}
