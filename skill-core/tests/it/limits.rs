//! Limits: never too much, never for longer than said, and mostly without the store.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use proptest::prelude::*;
use skill_core::{
    ErrorKind,
    access::{Admission, Allowance, Caller, Keys, Plan, Plans},
    clock::{Clock, ManualClock},
    id::KeyId,
    name::OwnerId,
    record::{audit::Actor, connection::Status},
    store::{MemoryStore, Store, sqlite::SqliteStore},
};

use super::{
    fixture::{World, call, members, noon, slug},
    watched::Watched,
};

fn plans(plan: Plan) -> Plans {
    let free = Plan { per_day: Some(3), ..Plan::default() };
    let named = [("standard".to_owned(), plan), ("free".to_owned(), free)];
    Plans::new("standard", named, [("premium".to_owned(), 50)]).unwrap()
}

fn per_minute(most: u32) -> Plans {
    plans(Plan { per_minute: Some(most), ..Plan::default() })
}

fn per_day(most: u32) -> Plans {
    plans(Plan { per_day: Some(most), ..Plan::default() })
}

fn somebody() -> Caller {
    let id = KeyId::fresh(noon()).unwrap();
    Caller { actor: Actor::Key(id), ..Caller::operator(OwnerId::standard()) }
}

/// A process that does nothing but admit.
fn process(store: &Arc<dyn Store>, clock: &Arc<ManualClock>, plans: &Plans) -> Keys {
    Keys::new(store.clone(), clock.clone(), plans.clone(), 60).unwrap()
}

async fn admit(keys: &Keys, caller: &Caller) -> Result<Allowance, Allowance> {
    match keys.admit(caller.clone()).await.unwrap() {
        Admission::Admitted(admitted) => Ok(*admitted.allowance()),
        Admission::Refused(allowance) => Err(allowance),
    }
}

/// How many of `calls` at once are admitted.
async fn storm(keys: &Arc<Keys>, caller: &Caller, calls: usize) -> usize {
    let mut storm = tokio::task::JoinSet::new();
    for _ in 0..calls {
        let (keys, caller) = (keys.clone(), caller.clone());
        storm.spawn(async move { admit(&keys, &caller).await.is_ok() });
    }
    storm.join_all().await.into_iter().filter(|is_in| *is_in).count()
}

/// What happens in a random history.
#[derive(Debug, Clone)]
enum Happening {
    /// Some calls by one of three processes.
    Calls(usize, u8),
    /// Time passes, in milliseconds.
    Pass(u64),
    /// A process starts anew: what it held in memory is gone.
    Restart(usize),
    /// Somebody sets the system's clock back, in seconds.
    SetBack(i64),
}

/// What happens to `processes` of them.
fn happening(processes: usize) -> impl Strategy<Value = Happening> {
    prop_oneof![
        6 => (0..processes, 1..12_u8).prop_map(|(who, n)| Happening::Calls(who, n)),
        4 => (0..9_000_u64).prop_map(Happening::Pass),
        1 => (9_000..70_000_u64).prop_map(Happening::Pass),
        1 => (0..processes).prop_map(Happening::Restart),
    ]
}

/// What happens to one process on a machine whose clock somebody sets.
fn happening_to_one() -> impl Strategy<Value = Happening> {
    prop_oneof![9 => happening(1), 1 => (1..5_000_i64).prop_map(Happening::SetBack)]
}

/// The steady seconds at which calls were admitted.
async fn live(most: u32, history: Vec<Happening>) -> Vec<u64> {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let (clock, plans) = (Arc::new(ManualClock::new(noon())), per_minute(most));
    let mut processes = [0; 3].map(|_| process(&store, &clock, &plans));
    let (caller, mut admitted) = (somebody(), Vec::new());
    for happening in history {
        match happening {
            Happening::Calls(who, n) => {
                for _ in 0..n {
                    if admit(&processes[who], &caller).await.is_ok() {
                        admitted.push(clock.steady().as_secs());
                    }
                }
            }
            Happening::Pass(millis) => clock.advance(Duration::from_millis(millis)),
            Happening::Restart(who) => processes[who] = process(&store, &clock, &plans),
            Happening::SetBack(seconds) => {
                clock.set(clock.now() - jiff::SignedDuration::from_secs(seconds));
            }
        }
    }
    admitted
}

fn check(most: u32, admitted: &[u64]) -> Result<(), TestCaseError> {
    for window in admitted.windows(most as usize + 1) {
        prop_assert!(window[most as usize] - window[0] >= 60, "{admitted:?}");
    }
    Ok(())
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_minute_ever_holds_more_than_the_limit(
        most in 1..30_u32,
        history in prop::collection::vec(happening(3), 1..150),
    ) {
        check(most, &run(live(most, history)))?;
    }

    #[test]
    fn no_minute_holds_more_when_the_clock_is_set_back_between_restarts(
        most in 1..30_u32,
        history in prop::collection::vec(happening_to_one(), 1..150),
    ) {
        check(most, &run(live(most, history)))?;
    }

    #[test]
    fn a_call_after_the_time_that_was_said_is_accepted(
        most in 1..30_u32,
        pauses in prop::collection::vec((0..20_u8, 0..9_000_u64), 1..60),
    ) {
        run(async {
            let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
            let clock = Arc::new(ManualClock::new(noon()));
            let (keys, caller) = (process(&store, &clock, &per_minute(most)), somebody());
            for (calls, pause) in pauses {
                for _ in 0..calls {
                    let Err(refused) = admit(&keys, &caller).await else { continue };
                    let wait = refused.retry_after.unwrap();
                    assert!((1..=60).contains(&wait.as_secs()) && !refused.is_daily);
                    clock.advance(wait);
                    assert!(admit(&keys, &caller).await.is_ok(), "after {wait:?}");
                }
                clock.advance(Duration::from_millis(pause));
            }
        });
    }
}

#[tokio::test]
async fn figures_say_what_is_left() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let clock = Arc::new(ManualClock::new(noon()));
    let (keys, caller) = (process(&store, &clock, &per_minute(10)), somebody());
    for left in (0..10).rev() {
        let allowance = admit(&keys, &caller).await.unwrap();
        assert_eq!((allowance.limit, allowance.remaining), (Some(10), left));
        clock.advance(Duration::from_secs(1));
    }
    let refused = admit(&keys, &caller).await.unwrap_err();
    assert_eq!((refused.remaining, refused.retry_after), (0, Some(Duration::from_secs(50))));
    let error = refused.refusal().unwrap();
    assert_eq!((error.kind(), error.retry_delay()), (ErrorKind::RateLimited, refused.retry_after));
    // What was refused does not count.
    clock.advance(Duration::from_secs(50));
    admit(&keys, &caller).await.unwrap();
    admit(&keys, &caller).await.unwrap_err();
}

#[tokio::test]
async fn a_day_ends_at_midnight_utc() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let clock = Arc::new(ManualClock::new(noon()));
    let (keys, caller) = (process(&store, &clock, &per_day(3)), somebody());
    for _ in 0..2 {
        for _ in 0..3 {
            admit(&keys, &caller).await.unwrap();
        }
        let refused = admit(&keys, &caller).await.unwrap_err();
        assert!(refused.is_daily);
        assert_eq!(refused.refusal().unwrap().kind(), ErrorKind::DailyLimit);
        let wait = refused.retry_after.unwrap();
        clock.advance(wait - Duration::from_secs(1));
        admit(&keys, &caller).await.unwrap_err();
        clock.advance(Duration::from_secs(1));
        let midnight = clock.now().to_string();
        assert!(midnight.ends_with("T00:00:00Z"), "{midnight}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_four_hundred_at_once_exactly_a_hundred_pass() {
    for plans in [per_day(100), per_minute(100)] {
        let dir = tempfile::tempdir().unwrap();
        let file = SqliteStore::open(&dir.path().join("skill.db")).unwrap();
        for store in [Arc::new(MemoryStore::new()) as Arc<dyn Store>, Arc::new(file)] {
            let clock = Arc::new(ManualClock::new(noon()));
            let (one, other) = (
                Arc::new(process(&store, &clock, &plans)),
                Arc::new(process(&store, &clock, &plans)),
            );
            let caller = somebody();
            assert_eq!(storm(&one, &caller, 400).await, 100);
            assert_eq!(storm(&other, &caller, 400).await, 0);
            // The next day, on two processes at once.
            clock.advance(Duration::from_secs(24 * 3600));
            let (here, there) =
                tokio::join!(storm(&one, &caller, 200), storm(&other, &caller, 200));
            assert_eq!(here + there, 100);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_one_owner_share_the_day_and_not_the_minute() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let clock = Arc::new(ManualClock::new(noon()));
    let keys = Arc::new(process(&store, &clock, &per_day(100)));
    let (one, other) = (somebody(), somebody());
    let (here, there) = tokio::join!(storm(&keys, &one, 200), storm(&keys, &other, 200));
    assert_eq!(here + there, 100);
    let rival = Caller { owner: OwnerId::parse("rival").unwrap(), ..somebody() };
    assert_eq!(storm(&keys, &rival, 200).await, 100);
    let keys = Arc::new(process(&store, &clock, &per_minute(30)));
    assert_eq!((storm(&keys, &one, 50).await, storm(&keys, &other, 50).await), (30, 30));
}

#[tokio::test]
async fn a_clock_that_is_set_neither_frees_nor_blocks() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let clock = Arc::new(ManualClock::new(noon()));
    let (keys, caller) = (process(&store, &clock, &per_minute(5)), somebody());
    let drain = async || while admit(&keys, &caller).await.is_ok() {};
    for set in ["2026-03-01T11:00:00Z", "2026-03-02T00:00:00Z", "1970-01-01T00:00:00Z"] {
        drain().await;
        clock.set(set.parse::<Timestamp>().unwrap());
        admit(&keys, &caller).await.unwrap_err();
        clock.advance(Duration::from_secs(59));
        admit(&keys, &caller).await.unwrap_err();
        clock.advance(Duration::from_secs(1));
        admit(&keys, &caller).await.unwrap();
    }
}

#[tokio::test]
async fn a_restart_with_the_clock_set_back_blocks_for_two_windows_at_most() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let clock = Arc::new(ManualClock::new(noon()));
    let (plans, caller) = (per_minute(5), somebody());
    let keys = process(&store, &clock, &plans);
    while admit(&keys, &caller).await.is_ok() {}
    for back in [30, 100, 5000, 1_000_000] {
        clock.set(clock.now() - jiff::SignedDuration::from_secs(back));
        let keys = process(&store, &clock, &plans);
        admit(&keys, &caller).await.unwrap_err();
        clock.advance(Duration::from_secs(130));
        assert!(admit(&keys, &caller).await.is_ok(), "blocked after {back} seconds back");
        while admit(&keys, &caller).await.is_ok() {}
    }
}

#[tokio::test]
async fn most_calls_touch_no_store() {
    let store = Watched::new();
    let shared: Arc<dyn Store> = store.clone();
    let clock = Arc::new(ManualClock::new(noon()));
    let plan = Plan { per_minute: Some(1000), per_day: Some(100_000), ..Plan::default() };
    let (keys, caller) = (process(&shared, &clock, &plans(plan)), somebody());
    for _ in 0..1000 {
        admit(&keys, &caller).await.unwrap();
    }
    assert!(store.count("reserve") <= 10, "{} reservations", store.count("reserve"));
    let before = store.count("reserve");
    for _ in 0..1000 {
        admit(&keys, &caller).await.unwrap_err();
    }
    assert!(store.count("reserve") <= before + 1);
    // Five calls a second over ten minutes.
    let before = store.count("reserve");
    for _ in 0..600 {
        clock.advance(Duration::from_secs(1));
        for _ in 0..5 {
            let _ = admit(&keys, &caller).await;
        }
    }
    let asked = store.count("reserve") - before;
    assert!(asked <= 3000 / 20, "{asked} reservations for 3000 calls");
}

#[tokio::test]
async fn without_a_limit_the_store_is_not_asked() {
    let store = Watched::new();
    let shared: Arc<dyn Store> = store.clone();
    let clock = Arc::new(ManualClock::new(noon()));
    let keys = process(&shared, &clock, &Plans::unlimited());
    for _ in 0..100 {
        assert_eq!(admit(&keys, &somebody()).await.unwrap(), Allowance::unlimited());
    }
    assert_eq!(store.count("reserve"), 0);
}

#[tokio::test]
async fn a_tier_decides_the_minute() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let clock = Arc::new(ManualClock::new(noon()));
    let keys = process(&store, &clock, &per_minute(5));
    let tier = |tier: &str| Caller { tier: Some(tier.into()), ..somebody() };
    assert_eq!(admit(&keys, &tier("premium")).await.unwrap().limit, Some(50));
    assert_eq!(admit(&keys, &tier("no such")).await.unwrap().limit, Some(5));
}

#[tokio::test]
async fn another_plan_holds_at_once() {
    let store = Arc::new(MemoryStore::new());
    let world = World::with(store, |builder| builder.plans(per_minute(1000))).await;
    let caller = world.key().await;
    for _ in 0..5 {
        world.engine.call(&caller, call("open", "whoami")).await.unwrap();
    }
    world.engine.set_plan(&caller.owner, "free").await.unwrap();
    for _ in 0..3 {
        world.engine.call(&caller, call("open", "whoami")).await.unwrap();
    }
    let error = world.engine.call(&caller, call("open", "whoami")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DailyLimit);
    let error = world.engine.set_plan(&caller.owner, "no such").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

#[tokio::test]
async fn a_better_plan_holds_on_a_day_that_is_used_up() {
    let store = Arc::new(MemoryStore::new());
    let world = World::with(store, |builder| builder.plans(per_day(10))).await;
    let caller = world.key().await;
    world.engine.set_plan(&caller.owner, "free").await.unwrap();
    for n in 0..5 {
        let went = world.engine.call(&caller, call("open", "whoami")).await;
        assert_eq!(went.is_ok(), n < 3);
    }
    world.engine.set_plan(&caller.owner, "standard").await.unwrap();
    for n in 3..12 {
        let went = world.engine.call(&caller, call("open", "whoami")).await;
        assert_eq!(went.is_ok(), n < 10, "{n}");
    }
}

#[tokio::test]
async fn a_slow_store_refuses_what_it_refuses() {
    let (store, clock) = (Watched::new(), Arc::new(ManualClock::new(noon())));
    let (shared, caller) = (store.clone() as Arc<dyn Store>, somebody());
    let keys = process(&shared, &clock, &per_minute(1));
    admit(&keys, &caller).await.unwrap();
    clock.advance(Duration::from_secs(1));
    let before = store.count("reserve");
    let late = clock.clone();
    store.once_after("reserve", move || {
        let late = late.clone();
        Box::pin(async move { late.advance(Duration::from_secs(2)) })
    });
    let refused = admit(&keys, &caller).await.unwrap_err();
    assert!(refused.retry_after.is_some_and(|after| after <= Duration::from_secs(59)));
    assert_eq!(store.count("reserve"), before + 1);
}

/// There are more callers than meters are kept for.
#[tokio::test]
async fn a_meter_that_was_forgotten_grants_nothing_twice() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let clock = Arc::new(ManualClock::new(noon()));
    let (keys, caller) = (process(&store, &clock, &per_day(1)), somebody());
    admit(&keys, &caller).await.unwrap();
    for n in 0..100_000 {
        let owner = OwnerId::parse(&format!("owner-{n}")).unwrap();
        admit(&keys, &Caller { owner, ..somebody() }).await.unwrap();
    }
    assert!(admit(&keys, &caller).await.unwrap_err().is_daily);
}

#[tokio::test]
async fn a_refused_call_goes_nowhere() {
    let store = Arc::new(MemoryStore::new());
    let world = World::with(store, |builder| builder.plans(per_minute(2))).await;
    let caller = world.key().await;
    for _ in 0..2 {
        world.engine.call(&caller, call("open", "whoami")).await.unwrap();
    }
    for _ in 0..5 {
        let error = world.engine.call(&caller, call("open", "whoami")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::RateLimited);
        assert_eq!(error.retry_delay(), Some(Duration::from_secs(60)));
    }
    assert_eq!(world.script.sent().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_bounds_connections_whoever_is_first() {
    let plans = plans(Plan { connections: Some(3), ..Plan::default() });
    let dir = tempfile::tempdir().unwrap();
    let file = SqliteStore::open(&dir.path().join("skill.db")).unwrap();
    for store in [Arc::new(MemoryStore::new()) as Arc<dyn Store>, Arc::new(file)] {
        let world = World::with(store, |builder| builder.plans(plans.clone())).await;
        let another = world.another_with(|builder| builder.plans(plans.clone())).await;
        let mut made = tokio::task::JoinSet::new();
        for n in 0..20 {
            let side = if n % 2 == 0 { &world } else { &another };
            let (engine, caller) = (side.engine.clone(), side.caller.clone());
            made.spawn(async move {
                let given = members(serde_json::json!({"api_key": "k"}));
                engine.connector().hand_over(&caller, &slug("keyed"), &given, None).await
            });
        }
        let made = made.join_all().await;
        let refused = made.iter().filter_map(|made| made.as_ref().err());
        assert!(refused.clone().all(|error| error.kind() == ErrorKind::PlanLimit));
        assert_eq!(refused.count(), 17);
        let mine = world.engine.connections().list(&world.caller).await.unwrap();
        assert_eq!(mine.len(), 3);
        assert!(mine.iter().all(|connection| connection.status == Status::Connected));
        world.engine.stop().await;
        another.engine.stop().await;
    }
}
