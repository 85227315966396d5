//! The limits of single actions: shared by the keys of an owner, over processes and restarts.

use std::{sync::Arc, time::Duration};

use proptest::prelude::*;
use skill_core::{
    Engine, ErrorKind, Result,
    access::{Admission, Admitted, Caller, Keys, Plans},
    clock::{Clock, ManualClock},
    id::KeyId,
    integration::{Integration, Overrides, declared},
    name::{ActionName, OwnerId},
    record::audit::Actor,
    store::{MemoryStore, Store, sqlite::SqliteStore},
};

use super::fixture::{World, call, noon, owner, slug};

fn action(namespace: &str, name: &str) -> ActionName {
    ActionName { namespace: slug(namespace), name: slug(name) }
}

fn process(store: &Arc<dyn Store>, clock: &Arc<ManualClock>) -> Arc<Keys> {
    Arc::new(Keys::new(store.clone(), clock.clone(), Plans::unlimited(), 60).unwrap())
}

/// A key of an owner, let in.
async fn key_of(keys: &Keys, name: &str) -> Admitted {
    let actor = Actor::Key(KeyId::fresh(noon()).unwrap());
    match keys.admit(Caller { actor, ..owner(name) }).await.unwrap() {
        Admission::Admitted(admitted) => admitted,
        Admission::Refused(_) => panic!("nothing is limited"),
    }
}

/// One call of `desk/read-it`, at most `most` a minute.
async fn once(keys: &Keys, admitted: &Admitted, most: u32) -> Result<()> {
    keys.admit_action(admitted, &action("desk", "read-it"), most).await
}

#[tokio::test(flavor = "multi_thread")]
async fn of_four_hundred_at_once_exactly_as_many_pass_as_are_allowed() {
    let directory = tempfile::tempdir().unwrap();
    let file = SqliteStore::open(&directory.path().join("skill.db")).unwrap();
    for store in [Arc::new(MemoryStore::new()) as Arc<dyn Store>, Arc::new(file)] {
        let clock = Arc::new(ManualClock::new(noon()));
        let keys = process(&store, &clock);
        for most in [1, 7, 100] {
            let limited = action("desk", &format!("call-{most}"));
            let mut storm = tokio::task::JoinSet::new();
            for _ in 0..400 {
                let (keys, limited) = (keys.clone(), limited.clone());
                storm.spawn(async move {
                    let admitted = key_of(&keys, "default").await;
                    keys.admit_action(&admitted, &limited, most).await.is_ok()
                });
            }
            let passed = storm.join_all().await.into_iter().filter(|passed| *passed).count();
            assert_eq!(passed, most as usize);
        }
    }
}

#[tokio::test]
async fn a_refused_call_says_when_to_come_back_and_does_not_count() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let clock = Arc::new(ManualClock::new(noon()));
    let keys = process(&store, &clock);
    let admitted = key_of(&keys, "default").await;
    once(&keys, &admitted, 2).await.unwrap();
    clock.advance(Duration::from_secs(10));
    once(&keys, &admitted, 2).await.unwrap();
    for _ in 0..5 {
        let error = once(&keys, &admitted, 2).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::RateLimited);
        assert_eq!(error.retry_delay(), Some(Duration::from_secs(50)));
    }
    clock.advance(Duration::from_secs(50));
    once(&keys, &admitted, 2).await.unwrap();
}

#[tokio::test]
async fn keys_of_an_owner_share_it_and_nothing_else_does() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let clock = Arc::new(ManualClock::new(noon()));
    let keys = process(&store, &clock);
    let (one, two) = (key_of(&keys, "default").await, key_of(&keys, "default").await);
    once(&keys, &one, 1).await.unwrap();
    assert!(once(&keys, &two, 1).await.is_err(), "another key of the owner");
    let written = keys.admit_action(&two, &action("desk", "read_it"), 1).await;
    assert!(written.is_err(), "the other spelling");
    once(&keys, &key_of(&keys, "other").await, 1).await.unwrap();
    keys.admit_action(&one, &action("desk", "write-it"), 1).await.unwrap();
    keys.admit_action(&one, &action("shop", "read-it"), 1).await.unwrap();
}

#[tokio::test]
async fn it_holds_over_a_restart() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let clock = Arc::new(ManualClock::new(noon()));
    let before = process(&store, &clock);
    once(&before, &key_of(&before, "default").await, 1).await.unwrap();
    let after = process(&store, &clock);
    assert!(once(&after, &key_of(&after, "default").await, 1).await.is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn no_minute_holds_more_on_all_processes_together(
        most in 1..30_u32,
        history in prop::collection::vec((0..3_usize, 0..9_000_u64), 1..150),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let passed = runtime.block_on(async {
            let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
            let clock = Arc::new(ManualClock::new(noon()));
            let processes = [0; 3].map(|_| process(&store, &clock));
            let mut passed = Vec::new();
            for (who, millis) in history {
                clock.advance(Duration::from_millis(millis));
                for _ in 0..5 {
                    let keys = &processes[who];
                    let admitted = key_of(keys, "default").await;
                    if once(keys, &admitted, most).await.is_ok() {
                        passed.push(clock.steady().as_secs());
                    }
                }
            }
            passed
        });
        for window in passed.windows(most as usize + 1) {
            prop_assert!(window[most as usize] - window[0] >= 60, "{passed:?}");
        }
    }
}

/// `shop`, whose `read_it` takes two calls a minute.
fn shop() -> Arc<dyn Integration> {
    let text = r#"
name = "Shop"
description = "For tests."
base_url = "https://shop.test"
auth = { scheme = "none" }
[endpoints.read_it]
summary = "Read it"
method = "GET"
path = "/it"
rate_limit = 2
params = { q = { type = "string" } }
"#;
    declared("shop.toml", text, &Overrides::default()).unwrap()
}

async fn kind(
    engine: &Engine,
    caller: &Caller,
    q: impl Into<serde_json::Value>,
) -> Option<ErrorKind> {
    let read = call("shop", "read-it").param("q", q);
    engine.call(caller, read).await.err().map(|error| error.kind())
}

#[tokio::test]
async fn a_call_counts_after_its_scope_and_before_its_inputs() {
    let world = World::with(Arc::new(MemoryStore::new()), |b| b.integrations([shop()])).await;
    let engine = &world.engine;
    let other = skill_core::record::scope::Scopes::parse(["desk"]).unwrap();
    let stranger = Caller { scopes: other, ..world.key().await };
    for _ in 0..5 {
        assert_eq!(kind(engine, &stranger, "a").await, Some(ErrorKind::ScopeMissing));
    }
    let (one, two) = (world.key().await, world.key().await);
    assert_eq!(kind(engine, &one, 7).await, Some(ErrorKind::InvalidInput));
    assert_eq!(kind(engine, &two, "a").await, None);
    assert_eq!(kind(engine, &one, 7).await, Some(ErrorKind::RateLimited));
    let operator = Caller::operator(OwnerId::standard());
    assert_eq!(kind(engine, &operator, "a").await, Some(ErrorKind::RateLimited));
    assert_eq!(world.script.sent().len(), 1);
}
