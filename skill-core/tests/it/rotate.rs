//! Keys that are replaced, and keys that are not to be revoked.

use std::{sync::Arc, time::Duration};

use skill_core::{
    ErrorKind,
    access::{Caller, NewKey, Plan, Plans},
    id::KeyId,
    record::{
        key::{Key, Kind, PlainKey},
        scope::Scopes,
    },
    store::MemoryStore,
};

use super::{
    fixture::{World, acting_for, noon, owner},
    watched::Watched,
};

const HOUR: Duration = Duration::from_secs(3600);
const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

async fn made(world: &World, wanted: NewKey) -> (Key, PlainKey) {
    world.engine.keys().create(&world.caller, wanted).await.unwrap()
}

async fn rotated(world: &World, id: KeyId, overlap: Option<Duration>) -> (Key, PlainKey) {
    world.engine.keys().rotate(&world.caller, id, overlap).await.unwrap()
}

async fn refused(
    world: &World,
    caller: &Caller,
    id: KeyId,
    overlap: Option<Duration>,
) -> ErrorKind {
    world.engine.keys().rotate(caller, id, overlap).await.err().unwrap().kind()
}

async fn opens(world: &World, key: &PlainKey) -> bool {
    world.present(key.expose()).await.is_some()
}

#[tokio::test]
async fn a_successor_is_like_the_key_it_follows() {
    let world = World::new().await;
    for kind in [Kind::Api, Kind::Admin, Kind::User, Kind::Service] {
        let wanted = NewKey {
            scopes: Scopes::parse(["desk", "keys"]).unwrap(),
            user: acting_for(&world.caller, "ann").user,
            tier: Some("premium".into()),
            expires_in: Some(WEEK * 9),
            ..NewKey::new("deploy", kind)
        };
        let (old, old_plain) = made(&world, wanted).await;
        let (new, plain) = rotated(&world, old.id, None).await;
        assert!(plain.expose().starts_with(kind.prefix()) && plain.expose() != old_plain.expose());
        assert_eq!((new.shown.clone(), new.hash), (plain.shown(), plain.hash()));
        let like = Key { id: new.id, shown: new.shown.clone(), hash: new.hash, ..old };
        assert_eq!(new, like);
        assert!(opens(&world, &plain).await);
    }
    assert_eq!(world.events().await[0], "key.rotated");
}

#[tokio::test]
async fn a_services_old_key_goes_on_for_the_overlap() {
    let world = World::new().await;
    for (overlap, lasts) in [(None, HOUR), (Some(WEEK), WEEK), (Some(HOUR / 60), HOUR / 60)] {
        let (old, plain) = made(&world, NewKey::new("worker", Kind::Service)).await;
        assert!(opens(&world, &plain).await);
        let (_, new) = rotated(&world, old.id, overlap).await;
        world.clock.advance(lasts - Duration::from_secs(1));
        assert!(opens(&world, &plain).await);
        world.clock.advance(Duration::from_secs(1));
        assert!(!opens(&world, &plain).await);
        assert!(opens(&world, &new).await);
    }
}

#[tokio::test]
async fn an_old_key_without_overlap_dies_at_once() {
    let world = World::new().await;
    let user = (Kind::User, None);
    for (kind, overlap) in
        [user, (Kind::User, Some(Duration::ZERO)), (Kind::Service, Some(Duration::ZERO))]
    {
        let (old, plain) = made(&world, NewKey::new("me", kind)).await;
        assert!(opens(&world, &plain).await);
        let (_, new) = rotated(&world, old.id, overlap).await;
        assert!(!opens(&world, &plain).await);
        assert!(opens(&world, &new).await);
        let listed = world.engine.keys().list(&world.caller).await.unwrap();
        let shown = listed.iter().find(|key| key.id == old.id).unwrap();
        assert_eq!(shown.revoked_at, Some(noon()));
    }
}

#[tokio::test]
async fn a_key_gets_no_more_overlap_than_its_kind_may_have() {
    let world = World::new().await;
    for (kind, overlap) in [
        (Kind::User, Duration::from_nanos(1)),
        (Kind::Service, WEEK + Duration::from_nanos(1)),
        (Kind::Api, Duration::MAX),
    ] {
        let (old, plain) = made(&world, NewKey::new("me", kind)).await;
        let kind = refused(&world, &world.caller, old.id, Some(overlap)).await;
        assert_eq!(kind, ErrorKind::InvalidInput);
        assert!(opens(&world, &plain).await);
    }
}

#[tokio::test]
async fn a_temporary_key_is_neither_replaced_nor_revoked_by_its_owner() {
    let world = World::new().await;
    let (key, plain) = made(&world, NewKey::new("ci", Kind::Temporary)).await;
    assert_eq!(refused(&world, &world.caller, key.id, None).await, ErrorKind::ScopeMissing);
    let keys = world.engine.keys();
    let error = keys.revoke_lasting(&world.caller, key.id).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ScopeMissing);
    assert!(opens(&world, &plain).await);
    keys.revoke(&world.caller, key.id).await.unwrap();
    assert!(!opens(&world, &plain).await);
    let (lasting, plain) = made(&world, NewKey::new("ci", Kind::Service)).await;
    keys.revoke_lasting(&world.caller, lasting.id).await.unwrap();
    assert!(!opens(&world, &plain).await);
}

#[tokio::test]
async fn a_key_that_ended_has_no_successor() {
    let world = World::new().await;
    let (revoked, _) = made(&world, NewKey::new("a", Kind::Service)).await;
    world.engine.keys().revoke(&world.caller, revoked.id).await.unwrap();
    let short = NewKey { expires_in: Some(HOUR), ..NewKey::new("b", Kind::Service) };
    let (expired, _) = made(&world, short).await;
    world.clock.advance(HOUR);
    for id in [revoked.id, expired.id] {
        assert_eq!(refused(&world, &world.caller, id, None).await, ErrorKind::Conflict);
    }
    world.clock.set(noon());
    assert_eq!(refused(&world, &world.caller, expired.id, None).await, ErrorKind::Conflict);
}

#[tokio::test]
async fn a_foreign_key_cannot_be_replaced() {
    let world = World::new().await;
    let (key, plain) = made(&world, NewKey::new("a", Kind::Service)).await;
    assert_eq!(refused(&world, &owner("rival"), key.id, None).await, ErrorKind::NotFound);
    let ann = acting_for(&world.caller, "ann");
    assert_eq!(refused(&world, &ann, key.id, None).await, ErrorKind::NotFound);
    world.clock.advance(WEEK);
    assert!(opens(&world, &plain).await);
    assert!(world.engine.audit(&owner("rival").owner, 9).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_key_replaces_no_stronger_key() {
    let world = World::new().await;
    let (strong, plain) = made(&world, NewKey::new("a", Kind::Service)).await;
    let weak = NewKey {
        scopes: Scopes::parse(["keys", "desk"]).unwrap(),
        ..NewKey::new("b", Kind::Service)
    };
    let (own, weak) = made(&world, weak).await;
    let weak = world.present(weak.expose()).await.unwrap();
    assert_eq!(refused(&world, &weak, strong.id, None).await, ErrorKind::ScopeMissing);
    let (ending, short) = made(&world, NewKey::new("c", Kind::Temporary)).await;
    let short = world.present(short.expose()).await.unwrap();
    assert_eq!(refused(&world, &short, strong.id, None).await, ErrorKind::ScopeMissing);
    assert!(ending.expires_at.is_some() && opens(&world, &plain).await);
    world.engine.keys().rotate(&weak, own.id, None).await.unwrap();
}

#[tokio::test]
async fn another_process_refuses_a_replaced_key_within_a_second() {
    let world = World::new().await;
    let another = world.another().await;
    let (key, plain) = made(&world, NewKey::new("me", Kind::User)).await;
    assert!(opens(&another, &plain).await);
    rotated(&world, key.id, None).await;
    world.clock.advance(Duration::from_secs(1));
    assert!(!opens(&another, &plain).await);
}

#[tokio::test]
async fn a_rotation_during_a_look_up_wins() {
    let store = Watched::new();
    let world = World::over(store.clone()).await;
    let (key, plain) = made(&world, NewKey::new("me", Kind::User)).await;
    let (engine, caller) = (world.engine.clone(), world.caller.clone());
    store.once_after("key_by_hash", move || {
        let (engine, caller) = (engine.clone(), caller.clone());
        Box::pin(async move {
            engine.keys().rotate(&caller, key.id, None).await.unwrap();
        })
    });
    opens(&world, &plain).await;
    assert!(!opens(&world, &plain).await);
}

#[tokio::test]
async fn a_plan_of_one_key_has_room_for_its_successor_and_no_more() {
    let plan = Plan { keys: Some(1), ..Plan::default() };
    let plans = Plans::new("free", [("free".to_owned(), plan)], []).unwrap();
    let store = Arc::new(MemoryStore::new());
    let world = World::with(store, |builder| builder.plans(plans.clone())).await;
    let (first, _) = made(&world, NewKey::new("a", Kind::Service)).await;
    let (second, _) = rotated(&world, first.id, None).await;
    for id in [first.id, second.id] {
        assert_eq!(refused(&world, &world.caller, id, None).await, ErrorKind::PlanLimit);
    }
    world.clock.advance(HOUR);
    let (third, _) = rotated(&world, second.id, None).await;
    rotated(&world, third.id, Some(Duration::ZERO)).await;
}
