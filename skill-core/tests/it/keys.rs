//! Keys: made, presented, bounded and ended.

use std::{net::IpAddr, sync::Arc, time::Duration};

use skill_core::{
    ErrorKind,
    access::{Authentication, Caller, NewKey, Plan, Plans},
    record::{
        key::{Key, Kind, PlainKey},
        scope::Scopes,
    },
    store::{MemoryStore, Store, sqlite::SqliteStore},
};

use super::{
    fixture::{World, acting_for, noon, owner},
    watched::Watched,
};

async fn create(world: &World, caller: &Caller, wanted: NewKey) -> (Key, PlainKey) {
    world.engine.keys().create(caller, wanted).await.unwrap()
}

async fn refused(world: &World, caller: &Caller, wanted: NewKey) -> ErrorKind {
    world.engine.keys().create(caller, wanted).await.err().unwrap().kind()
}

fn api() -> NewKey {
    NewKey::new("agent", Kind::Api)
}

#[tokio::test]
async fn a_key_says_who_calls() {
    let world = World::new().await;
    for kind in Kind::ALL {
        let scopes = Scopes::parse(["desk", "keys"]).unwrap();
        let wanted = NewKey { scopes: scopes.clone(), ..NewKey::new("agent", kind) };
        let (key, plain) = create(&world, &world.caller, wanted).await;
        assert!(plain.expose().starts_with(kind.prefix()));
        let caller = world.present(plain.expose()).await.unwrap();
        assert_eq!((caller.owner, caller.user), (world.caller.owner.clone(), None));
        assert_eq!((caller.actor.to_string(), caller.scopes), (key.id.to_string(), scopes));
    }
}

#[tokio::test]
async fn a_revoked_key_is_refused_at_once() {
    let world = World::new().await;
    let (key, plain) = create(&world, &world.caller, api()).await;
    world.present(plain.expose()).await.unwrap();
    world.engine.keys().revoke(&world.caller, key.id).await.unwrap();
    assert!(world.present(plain.expose()).await.is_none());
    assert_eq!(world.events().await[..2], ["key.revoked", "key.created"]);
    world.engine.keys().revoke(&world.caller, key.id).await.unwrap();
}

#[tokio::test]
async fn another_process_refuses_a_revoked_key_within_a_second() {
    let world = World::new().await;
    let another = world.another().await;
    let (key, plain) = create(&world, &world.caller, api()).await;
    another.present(plain.expose()).await.unwrap();
    world.engine.keys().revoke(&world.caller, key.id).await.unwrap();
    world.clock.advance(Duration::from_secs(1));
    assert!(another.present(plain.expose()).await.is_none());
}

#[tokio::test]
async fn a_revocation_during_a_look_up_wins() {
    let store = Watched::new();
    let world = World::over(store.clone()).await;
    let (key, plain) = create(&world, &world.caller, api()).await;
    let (engine, caller) = (world.engine.clone(), world.caller.clone());
    store.once_after("key_by_hash", move || {
        let (engine, caller) = (engine.clone(), caller.clone());
        Box::pin(async move { engine.keys().revoke(&caller, key.id).await.unwrap() })
    });
    world.present(plain.expose()).await;
    assert!(world.present(plain.expose()).await.is_none());
}

#[tokio::test]
async fn a_look_up_that_takes_long_is_believed_no_longer_for_it() {
    let store = Watched::new();
    let world = World::over(store.clone()).await;
    let another = world.another().await;
    let (key, plain) = create(&world, &world.caller, api()).await;
    let clock = world.clock.clone();
    store.once_after("key_by_hash", move || {
        let clock = clock.clone();
        Box::pin(async move { clock.advance(Duration::from_millis(900)) })
    });
    another.present(plain.expose()).await.unwrap();
    // As far as that look-up knows, this was done while it went on.
    world.engine.keys().revoke(&world.caller, key.id).await.unwrap();
    world.clock.advance(Duration::from_millis(100));
    assert!(another.present(plain.expose()).await.is_none());
}

#[tokio::test]
async fn a_key_ends_when_it_was_to_end() {
    let world = World::new().await;
    let wanted = NewKey { expires_in: Some(Duration::from_secs(90)), ..api() };
    let (key, plain) = create(&world, &world.caller, wanted).await;
    assert_eq!(key.expires_at, Some(noon() + Duration::from_secs(90)));
    world.clock.advance(Duration::from_secs(89));
    assert!(world.present(plain.expose()).await.is_some());
    world.clock.advance(Duration::from_secs(1));
    assert!(world.present(plain.expose()).await.is_none());
}

#[tokio::test]
async fn an_ended_key_stays_ended_when_the_clock_goes_back() {
    let world = World::new().await;
    let wanted = NewKey { expires_in: Some(Duration::from_secs(90)), ..api() };
    let (_, plain) = create(&world, &world.caller, wanted).await;
    let (_, lasting) = create(&world, &world.caller, api()).await;
    world.clock.advance(Duration::from_secs(100));
    assert!(world.present(plain.expose()).await.is_none());
    world.clock.set(noon());
    assert!(world.present(plain.expose()).await.is_none());
    assert!(world.present(lasting.expose()).await.is_some());
}

#[tokio::test]
async fn a_temporary_key_lives_a_day_at_most() {
    let world = World::new().await;
    let day = Duration::from_secs(24 * 3600);
    let temporary = |expires_in| NewKey { expires_in, ..NewKey::new("ci", Kind::Temporary) };
    let (key, plain) = create(&world, &world.caller, temporary(None)).await;
    assert_eq!(key.expires_at, Some(noon() + day));
    create(&world, &world.caller, temporary(Some(day))).await;
    for life in [day + Duration::from_nanos(1), day * 2, Duration::MAX, Duration::ZERO] {
        let kind = refused(&world, &world.caller, temporary(Some(life))).await;
        assert_eq!(kind, ErrorKind::InvalidInput, "{life:?}");
    }
    world.clock.advance(day);
    assert!(world.present(plain.expose()).await.is_none());
}

#[tokio::test]
async fn odd_names_are_refused() {
    let world = World::new().await;
    for name in ["", "a\nb", "\u{7f}", "\u{85}", &"x".repeat(201)] {
        let wanted = NewKey::new(name, Kind::Api);
        assert_eq!(refused(&world, &world.caller, wanted).await, ErrorKind::InvalidInput);
    }
    create(&world, &world.caller, NewKey::new(&"\u{fc}".repeat(200), Kind::Api)).await;
}

#[tokio::test]
async fn a_key_makes_no_stronger_key() {
    let world = World::new().await;
    let scopes = |text: &str| Scopes::parse([text]).unwrap();
    let limited = NewKey { scopes: scopes("desk,keyed/get_item"), ..api() };
    let (_, plain) = create(&world, &world.caller, limited).await;
    let maker = world.present(plain.expose()).await.unwrap();
    for text in ["*", "desk,open", "keyed", "keyed/make_item"] {
        let wanted = NewKey { scopes: scopes(text), ..api() };
        assert_eq!(refused(&world, &maker, wanted).await, ErrorKind::ScopeMissing, "{text}");
    }
    for text in ["desk", "desk/get_item", "keyed/get-item"] {
        let wanted = NewKey { scopes: scopes(text), ..api() };
        let (key, _) = create(&world, &maker, wanted).await;
        assert_eq!(key.owner, world.caller.owner);
    }
}

#[tokio::test]
async fn a_key_of_a_user_makes_keys_of_that_user_only() {
    let world = World::new().await;
    let (ann, bob) = (acting_for(&world.caller, "ann"), acting_for(&world.caller, "bob"));
    let (_, plain) = create(&world, &ann, api()).await;
    let anns = world.present(plain.expose()).await.unwrap();
    assert_eq!(anns.user, ann.user);
    let (made, _) = create(&world, &anns, NewKey { user: bob.user.clone(), ..api() }).await;
    assert_eq!(made.user, ann.user);
    let (bobs, _) = create(&world, &world.caller, NewKey { user: bob.user, ..api() }).await;
    let seen = world.engine.keys().list(&anns).await.unwrap();
    assert!(seen.iter().all(|key| key.user == ann.user) && seen.len() == 2);
    let error = world.engine.keys().revoke(&anns, bobs.id).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(world.engine.keys().list(&world.caller).await.unwrap().len(), 3);
}

#[tokio::test]
async fn a_foreign_key_can_be_neither_seen_nor_revoked() {
    let world = World::new().await;
    let (key, plain) = create(&world, &world.caller, api()).await;
    let rival = owner("rival");
    assert!(world.engine.keys().list(&rival).await.unwrap().is_empty());
    let error = world.engine.keys().revoke(&rival, key.id).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(world.present(plain.expose()).await.is_some());
    assert!(world.engine.audit(&rival.owner, 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_mistyped_key_costs_no_look_up() {
    let store = Watched::new();
    let world = World::over(store.clone()).await;
    let (_, plain) = create(&world, &world.caller, api()).await;
    let mut typo = plain.expose().to_owned();
    let last = if typo.pop() == Some('x') { 'y' } else { 'x' };
    typo.push(last);
    for text in ["", "sk_", "Bearer x", &typo, &plain.expose().to_uppercase(), &"x".repeat(9999)] {
        assert!(world.present(text).await.is_none());
    }
    assert_eq!(store.count("key_by_hash"), 0);
}

#[tokio::test]
async fn wrong_keys_are_limited_per_address_and_a_good_one_is_not() {
    let store = Arc::new(MemoryStore::new());
    let world = World::with(store, |builder| builder.wrong_keys_per_minute(5)).await;
    let (_, plain) = create(&world, &world.caller, api()).await;
    let foreign = PlainKey::generate(Kind::Api).unwrap();
    let (here, there): (IpAddr, IpAddr) =
        ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
    let present = async |text: &str, address| {
        let keys = world.engine.keys();
        match keys.authenticate(text, Some(address)).await.unwrap() {
            Authentication::Good(_) => None,
            Authentication::Bad(allowance) => Some(allowance),
        }
    };
    for n in 1..=8 {
        let wrong = if n % 2 == 0 { "sk_wrong" } else { foreign.expose() };
        let allowance = present(wrong, here).await.unwrap();
        assert_eq!(allowance.retry_after.is_some(), n > 5, "{n}");
        assert_eq!(allowance.remaining, 5_u32.saturating_sub(n));
        assert!(present(plain.expose(), here).await.is_none());
    }
    assert!(present("sk_wrong", there).await.unwrap().retry_after.is_none());
    assert_eq!(world.engine.keys().address_allowance(Some(here)).remaining, 0);
    let wait = present("sk_wrong", here).await.unwrap().retry_after.unwrap();
    world.clock.advance(wait);
    assert!(present("sk_wrong", here).await.unwrap().retry_after.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_bounds_keys_whoever_is_first() {
    let plan = Plan { keys: Some(3), ..Plan::default() };
    let plans = Plans::new("free", [("free".to_owned(), plan)], []).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = SqliteStore::open(&dir.path().join("skill.db")).unwrap();
    for store in [Arc::new(MemoryStore::new()) as Arc<dyn Store>, Arc::new(file)] {
        let world = World::with(store, |builder| builder.plans(plans.clone())).await;
        let mut made = tokio::task::JoinSet::new();
        for _ in 0..20 {
            let (engine, caller) = (world.engine.clone(), world.caller.clone());
            made.spawn(
                async move { engine.keys().create(&caller, api()).await.map(|made| made.0) },
            );
        }
        let made = made.join_all().await;
        let refused = made.iter().filter_map(|made| made.as_ref().err());
        assert!(refused.clone().all(|error| error.kind() == ErrorKind::PlanLimit));
        assert_eq!(refused.count(), 17);
        let first = made.into_iter().find_map(Result::ok).unwrap();
        world.engine.keys().revoke(&world.caller, first.id).await.unwrap();
        world.clock.advance(Duration::from_secs(1));
        create(&world, &world.caller, api()).await;
        assert_eq!(refused_again(&world).await, ErrorKind::PlanLimit);
        world.engine.stop().await;
    }
}

async fn refused_again(world: &World) -> ErrorKind {
    refused(world, &world.caller, api()).await
}

#[tokio::test]
async fn a_key_makes_none_that_outlives_it() {
    let world = World::new().await;
    let hour = Duration::from_secs(3600);
    let short = NewKey { expires_in: Some(hour), ..NewKey::new("agent", Kind::Temporary) };
    let (maker, plain) = create(&world, &world.caller, short).await;
    let caller = world.present(plain.expose()).await.unwrap();
    let (made, _) = create(&world, &caller, api()).await;
    assert_eq!(made.expires_at, maker.expires_at);
    let longer = NewKey { expires_in: Some(hour * 2), ..api() };
    assert_eq!(refused(&world, &caller, longer).await, ErrorKind::ScopeMissing);
}
