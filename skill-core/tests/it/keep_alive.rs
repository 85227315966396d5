//! Grants that rest are renewed before the provider takes them back.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use skill_core::{
    record::connection::{Connection, Status},
    store::{MemoryStore, Store},
};

use super::{
    fixture::{OAUTH, World, call, noon, service, slug},
    provider::Provider,
    script::json as answer,
};

const DAY: u64 = 24 * 3600;
/// Two rounds, a little more.
const ROUNDS: Duration = Duration::from_secs(125);

/// A world where what rests for 60 days is taken back.
async fn world(store: Arc<dyn Store>) -> World {
    let resting = format!("{OAUTH}refresh_token_idle_s = 5184000\n");
    World::with(store, |builder| builder.integrations([service("sleepy", &resting)])).await
}

/// A connection that was made now, and the provider behind it.
async fn resting(world: &World) -> (Provider, Connection) {
    let given = json!({"access_token": "access-0", "refresh_token": "refresh-0"});
    let apps = world.engine.apps();
    let holder = skill_core::record::app::Holder::System;
    apps.put(holder, &slug("sleepy"), "client-9", None).await.unwrap();
    let connection = world.hand_over("sleepy", given).await;
    (Provider::behind(&world.script), connection)
}

async fn kept(world: &World, connection: &Connection) -> Connection {
    world.engine.connections().get(&world.caller, connection.id).await.unwrap()
}

async fn days(world: &World, days: u64) {
    world.clock.advance(Duration::from_secs(days * DAY));
    tokio::time::sleep(ROUNDS).await;
}

#[tokio::test(start_paused = true)]
async fn a_grant_that_rests_is_renewed_at_half_of_its_life() {
    let world = world(Arc::new(MemoryStore::new())).await;
    let (provider, connection) = resting(&world).await;
    days(&world, 29).await;
    assert_eq!(provider.refreshes(), 0);
    days(&world, 1).await;
    assert_eq!(provider.refreshes(), 1);
    let now = noon() + Duration::from_secs(30 * DAY);
    assert_eq!(kept(&world, &connection).await.rests_since, Some(now));
    days(&world, 29).await;
    assert_eq!(provider.refreshes(), 1);
    days(&world, 1).await;
    assert_eq!(provider.refreshes(), 2);
    let reply = world.engine.call(&world.caller, call("sleepy", "whoami")).await;
    assert_eq!(reply.unwrap().status, 200);
}

#[tokio::test(start_paused = true)]
async fn one_that_is_used_and_one_whose_provider_takes_nothing_back_are_left_alone() {
    let world = world(Arc::new(MemoryStore::new())).await;
    world.connect_desk().await;
    let (provider, _) = resting(&world).await;
    days(&world, 20).await;
    // The access ended, and a call renewed it.
    world.engine.call(&world.caller, call("sleepy", "whoami")).await.unwrap();
    assert_eq!(provider.refreshes(), 1);
    days(&world, 20).await;
    assert_eq!(provider.refreshes(), 1);
    world.script.forget();
    days(&world, 10).await;
    assert_eq!(world.script.count("auth.test/token"), 1, "only the one that rests");
}

#[tokio::test(start_paused = true)]
async fn of_two_processes_one_renews_and_a_restart_forgets_nothing() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let world = world(store.clone()).await;
    let (provider, connection) = resting(&world).await;
    world.clock.advance(Duration::from_secs(30 * DAY));
    world.engine.stop().await;
    let resting = format!("{OAUTH}refresh_token_idle_s = 5184000\n");
    let started =
        |builder: skill_core::engine::Builder| builder.integrations([service("sleepy", &resting)]);
    let (first, second) = (world.another_with(started).await, world.another_with(started).await);
    tokio::time::sleep(ROUNDS).await;
    assert_eq!(provider.refreshes(), 1);
    assert_eq!(kept(&first, &connection).await.status, Status::Connected);
    first.engine.stop().await;
    second.engine.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_is_away_is_asked_again_in_an_hour_and_the_connection_says_why() {
    let world = world(Arc::new(MemoryStore::new())).await;
    let (provider, connection) = resting(&world).await;
    world.script.on(|_| answer(503, "{}"));
    days(&world, 30).await;
    let asked = world.script.count("auth.test/token");
    assert_eq!(asked, 1);
    let waiting = kept(&world, &connection).await;
    assert_eq!(waiting.status, Status::Connected);
    assert!(waiting.last_error.is_some());
    world.clock.advance(Duration::from_secs(3599));
    tokio::time::sleep(ROUNDS).await;
    assert_eq!(world.script.count("auth.test/token"), asked);
    world.script.on(move |sent| provider.answer(sent));
    world.clock.advance(Duration::from_secs(61));
    tokio::time::sleep(ROUNDS).await;
    let renewed = kept(&world, &connection).await;
    assert_eq!((renewed.status, renewed.last_error), (Status::Connected, None));
}

#[tokio::test(start_paused = true)]
async fn a_grant_that_was_taken_back_ends_the_connection_once() {
    let world = world(Arc::new(MemoryStore::new())).await;
    let (provider, connection) = resting(&world).await;
    provider.end_grant();
    days(&world, 30).await;
    let ended = kept(&world, &connection).await;
    assert_eq!(ended.status, Status::Expired);
    assert!(ended.last_error.is_some());
    assert_eq!(world.events().await[0], "connection.expired");
    days(&world, 30).await;
    assert_eq!(provider.refreshes(), 1);
}

#[tokio::test(start_paused = true)]
async fn one_that_cannot_be_renewed_is_in_nobodys_way() {
    let world = world(Arc::new(MemoryStore::new())).await;
    let (provider, _) = resting(&world).await;
    for label in ["a", "b"] {
        let given = json!({"access_token": "for ever"});
        provider.keeps_refresh();
        world.script.on(|_| super::script::me());
        world.hand_over_as(&world.caller, "sleepy", (given, Some(label))).await;
    }
    let answering = provider.clone();
    world.script.on(move |sent| answering.answer(sent));
    days(&world, 30).await;
    assert_eq!(provider.refreshes(), 1);
}
