//! What a service says of what is left is heard, and held to.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use serde_json::json;
use skill_core::{
    Engine, Error, ErrorKind, Result,
    access::{Admission, Caller},
    call::{CallRequest, Reply},
    clock::Deadline,
    executor::{Event, Observer},
    integration::{Integration, Overrides, declared},
    queue::Submission,
    record::execution::State,
    store::MemoryStore,
    transport::Response,
};

use super::{
    fixture::{World, call, owner},
    script::{json as answer, me, with},
};

const KEYED: &str = "scheme = \"api_key\"\nheader = \"X-Key\"";

/// A service whose limits are declared so.
fn limited(quota: &str) -> Arc<dyn Integration> {
    let text = format!(
        "name = \"Limited\"\ndescription = \"For tests.\"\nbase_url = \"https://limited.test\"\n\
         [auth]\n{KEYED}\n[quota]\n{quota}\n\
         [endpoints.whoami]\nsummary = \"Who\"\nmethod = \"GET\"\npath = \"/me\"\n\
         [endpoints.note]\nsummary = \"Note\"\nmethod = \"POST\"\npath = \"/note\"\n\
         [endpoints.search]\nsummary = \"Search\"\nmethod = \"GET\"\npath = \"/search\"\n"
    );
    declared("limited.toml", &text, &Overrides::default()).unwrap()
}

async fn world(quota: &str) -> World {
    let added = limited(quota);
    let store = Arc::new(MemoryStore::new());
    World::with(store, |builder| builder.integrations([added.clone()])).await
}

async fn connect(world: &World, caller: &Caller, service: &str, label: &str) {
    world.hand_over_as(caller, service, (json!({"api_key": "k"}), Some(label))).await;
}

/// An answer that says that nothing is left for so many seconds.
fn used_up(seconds: u64) -> Result<Response> {
    let left = with(answer(200, "{}"), "x-ratelimit-remaining", "0");
    with(left, "x-ratelimit-reset", &seconds.to_string())
}

fn keyed(label: &str) -> CallRequest {
    on(call("keyed", "whoami"), label)
}

fn on(mut call: CallRequest, label: &str) -> CallRequest {
    call.connection = Some(label.to_owned());
    call
}

fn held(outcome: Result<Reply>) -> Option<u64> {
    let error: Error = outcome.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::RateLimited);
    assert_eq!(error.field_details()[0].issue, "upstream_limit");
    error.retry_delay().map(|wait| wait.as_secs())
}

#[tokio::test]
async fn a_connection_that_is_used_up_is_held_back_and_no_other_is() {
    let world = World::new().await;
    let rival = owner("rival");
    connect(&world, &world.caller, "keyed", "one").await;
    connect(&world, &world.caller, "keyed", "two").await;
    connect(&world, &rival, "keyed", "one").await;
    world.script.queue([used_up(30), me(), me(), me()]);
    assert_eq!(world.engine.call(&world.caller, keyed("one")).await.unwrap().status, 200);
    world.clock.advance(Duration::from_secs(10));
    assert_eq!(held(world.engine.call(&world.caller, keyed("one")).await), Some(20));
    // Another connection of the same owner, and another owner's, know nothing of it.
    world.engine.call(&world.caller, keyed("two")).await.unwrap();
    world.engine.call(&rival, keyed("one")).await.unwrap();
    assert_eq!(world.script.sent().len(), 3);
    world.clock.advance(Duration::from_secs(20));
    world.engine.call(&world.caller, keyed("one")).await.unwrap();
    assert_eq!(world.script.sent().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_holds_later_calls_back_until_its_time() {
    let world = World::new().await;
    connect(&world, &world.caller, "keyed", "one").await;
    world.script.queue([with(answer(429, "{}"), "retry-after", "90"), me()]);
    // What it said is longer than the call may wait.
    assert_eq!(world.engine.call(&world.caller, keyed("one")).await.unwrap().status, 429);
    assert_eq!(held(world.engine.call(&world.caller, keyed("one")).await), Some(90));
    world.clock.advance(Duration::from_secs(90));
    world.engine.call(&world.caller, keyed("one")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_refusal_in_the_services_own_way_says_by_declared_headers_when_there_is_more() {
    let world = world("reset = \"X-Next\"\nreset_unit = \"s\"\n[[busy]]\nstatus = 400\n").await;
    connect(&world, &world.caller, "limited", "one").await;
    let whoami = || on(call("limited", "whoami"), "one");
    let busy = |seconds: &str| with(answer(400, "{}"), "x-next", seconds);
    // A short wait is part of the call.
    world.script.queue([busy("2"), me()]);
    let begun = tokio::time::Instant::now();
    assert_eq!(world.engine.call(&world.caller, whoami()).await.unwrap().status, 200);
    assert_eq!(begun.elapsed().as_secs(), 2);
    world.clock.advance(Duration::from_secs(2));
    world.script.queue([busy("90"), me()]);
    assert_eq!(world.engine.call(&world.caller, whoami()).await.unwrap().status, 400);
    assert_eq!(held(world.engine.call(&world.caller, whoami()).await), Some(90));
    world.clock.advance(Duration::from_secs(90));
    world.engine.call(&world.caller, whoami()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn calls_that_change_something_may_have_places_of_their_own() {
    let world = world("concurrent = 3\nconcurrent_writes = 1").await;
    connect(&world, &world.caller, "limited", "one").await;
    let under_way = Arc::new([AtomicU32::new(0), AtomicU32::new(0)]);
    let most = Arc::new([AtomicU32::new(0), AtomicU32::new(0)]);
    let seen = most.clone();
    world.script.play(move |sent| {
        let (under_way, most, kind) = (under_way.clone(), most.clone(), sent.url.path() == "/note");
        async move {
            let now = under_way[usize::from(kind)].fetch_add(1, Ordering::SeqCst) + 1;
            most[usize::from(kind)].fetch_max(now, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_secs(1)).await;
            under_way[usize::from(kind)].fetch_sub(1, Ordering::SeqCst);
            me()
        }
    });
    let names = ["whoami", "note", "whoami", "note", "whoami", "whoami", "note"];
    let calls =
        names.map(|name| world.engine.call(&world.caller, on(call("limited", name), "one")));
    let all = futures_util::future::join_all(calls).await;
    assert!(all.iter().all(Result::is_ok));
    assert_eq!([0, 1].map(|kind: usize| seen[kind].load(Ordering::SeqCst)), [3, 1]);
}

#[tokio::test]
async fn a_call_that_was_held_back_keeps_its_key() {
    let world = World::new().await;
    connect(&world, &world.caller, "keyed", "one").await;
    world.script.queue([used_up(30), me()]);
    world.engine.call(&world.caller, keyed("one")).await.unwrap();
    let again = || keyed("one").idempotency_key("once");
    held(world.engine.call(&world.caller, again()).await);
    world.clock.advance(Duration::from_secs(30));
    let reply = world.engine.call(&world.caller, again()).await.unwrap();
    assert!(!reply.is_replay);
}

#[tokio::test]
async fn a_connection_that_is_mended_may_be_another_account() {
    let world = World::new().await;
    connect(&world, &world.caller, "keyed", "one").await;
    world.script.queue([used_up(30), me(), me()]);
    world.engine.call(&world.caller, keyed("one")).await.unwrap();
    let given = super::fixture::members(json!({"api_key": "another"}));
    let connector = world.engine.connector();
    let slug = super::fixture::slug("keyed");
    connector.hand_over_again(&world.caller, &slug, ("one", &given)).await.unwrap();
    world.engine.call(&world.caller, keyed("one")).await.unwrap();
}

#[tokio::test]
async fn parts_of_a_limit_are_used_up_apart() {
    let world = world("bucket = \"X-Part\"").await;
    connect(&world, &world.caller, "limited", "one").await;
    world.script.on(|sent| match sent.url.path() {
        "/search" => with(used_up(30), "x-part", "search"),
        _ => with(me(), "x-part", "core"),
    });
    let search = || on(call("limited", "search"), "one");
    world.engine.call(&world.caller, search()).await.unwrap();
    assert_eq!(held(world.engine.call(&world.caller, search()).await), Some(30));
    world.engine.call(&world.caller, on(call("limited", "whoami"), "one")).await.unwrap();
    // A refusal that names no part is about all of it.
    world.clock.advance(Duration::from_secs(31));
    world.script.on(|_| with(answer(403, "{}"), "retry-after", "60"));
    world.engine.call(&world.caller, search()).await.unwrap();
    held(world.engine.call(&world.caller, on(call("limited", "whoami"), "one")).await);
}

#[tokio::test]
async fn endpoints_are_apart_where_the_declaration_says_so() {
    let world = world("per = \"endpoint\"").await;
    connect(&world, &world.caller, "limited", "one").await;
    world.script.queue([used_up(30), me()]);
    let search = || on(call("limited", "search"), "one");
    world.engine.call(&world.caller, search()).await.unwrap();
    held(world.engine.call(&world.caller, search()).await);
    world.engine.call(&world.caller, on(call("limited", "whoami"), "one")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn as_many_calls_at_one_time_as_the_declaration_says() {
    let world = world("concurrent = 2").await;
    connect(&world, &world.caller, "limited", "one").await;
    connect(&world, &world.caller, "limited", "two").await;
    let (now, most) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let seen = most.clone();
    world.script.play(move |_| {
        let (now, most) = (now.clone(), most.clone());
        async move {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_secs(1)).await;
            now.fetch_sub(1, Ordering::SeqCst);
            me()
        }
    });
    let whoami = |label: &str| on(call("limited", "whoami"), label);
    let at_once = async |engine: &Engine, labels: &[&str]| {
        let calls = labels.iter().map(|label| engine.call(&world.caller, whoami(label)));
        futures_util::future::join_all(calls).await
    };
    let all = at_once(&world.engine, &["one"; 7]).await;
    assert!(all.iter().all(Result::is_ok));
    assert_eq!(seen.load(Ordering::SeqCst), 2);
    at_once(&world.engine, &["one", "one", "one", "two", "two"]).await;
    assert_eq!(seen.load(Ordering::SeqCst), 4, "every connection has its own places");
    let late = whoami("one").timeout(Duration::from_millis(1500));
    let calls = (0..5).map(|_| world.engine.call(&world.caller, late.clone()));
    let refused = futures_util::future::join_all(calls).await;
    assert_eq!(refused.into_iter().filter(|outcome| outcome.is_err()).count(), 3);
}

async fn submitted(world: &World, call: CallRequest) -> skill_core::id::ExecutionId {
    let Admission::Admitted(by) = world.engine.keys().admit(world.caller.clone()).await.unwrap()
    else {
        panic!("no test has limits")
    };
    world.engine.runs().submit(&by, Submission::new(call)).await.unwrap().id
}

#[tokio::test(start_paused = true)]
async fn a_queued_run_waits_without_using_up_attempts() {
    let clock = super::queue::Flowing::new();
    let store = Arc::new(MemoryStore::new());
    let world = World::with(store, |builder| builder.clock(clock.clone())).await;
    connect(&world, &world.caller, "keyed", "one").await;
    world.script.queue([used_up(60), me(), me(), me()]);
    world.engine.call(&world.caller, keyed("one")).await.unwrap();
    let begun = tokio::time::Instant::now();
    let mut runs = Vec::new();
    for _ in 0..3 {
        runs.push(submitted(&world, keyed("one")).await);
    }
    for id in runs {
        let deadline = Deadline::after(Duration::from_secs(3600));
        let run = world.engine.runs().wait(&world.caller, id, deadline).await.unwrap();
        assert_eq!((run.execution.state, run.execution.attempts), (State::Success, 1));
    }
    let took = begun.elapsed().as_secs();
    assert!((60..95).contains(&took), "{took}");
    assert_eq!(world.script.sent().len(), 4, "nobody asked in between");
}

#[derive(Debug, Default)]
struct Heard(Mutex<Vec<String>>);

impl Observer for Heard {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the others are heard elsewhere")]
    fn hear(&self, event: &Event<'_>) {
        let line = match event {
            Event::UsedUp { integration, wait, .. } => format!("{integration} {wait:?}"),
            Event::HeldBack { integration, .. } => format!("{integration} held back"),
            _ => return,
        };
        self.0.lock().unwrap().push(line);
    }
}

#[tokio::test]
async fn an_observer_hears_of_it() {
    let heard = Arc::new(Heard::default());
    let store = Arc::new(MemoryStore::new());
    let world = World::with(store, |builder| builder.observer(heard.clone())).await;
    connect(&world, &world.caller, "keyed", "one").await;
    world.script.queue([used_up(30)]);
    world.engine.call(&world.caller, keyed("one")).await.unwrap();
    held(world.engine.call(&world.caller, keyed("one")).await);
    assert_eq!(*heard.0.lock().unwrap(), ["keyed 30s", "keyed held back"]);
}
