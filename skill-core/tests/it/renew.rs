//! Renewing access: once, whoever asks, and nothing is lost.

use std::{pin::pin, sync::Arc, time::Duration};

use serde_json::json;
use skill_core::{
    ErrorKind,
    connect::{Change, Return},
    credential::{Credential, CredentialStore, Vault},
    record::connection::{Connection, Status},
    store::{MemoryStore, Store, sqlite::SqliteStore},
};
use tokio::{sync::Notify, task::JoinSet};

use super::{
    fixture::{World, call, keyring, noon, page, read},
    provider::Provider,
    script::{cut, json as answer, typed, unreachable},
    watched::Watched,
};

const TOKEN: &str = "auth.test/token";

/// A world whose access to `desk` has ended, unknown to it.
async fn ended() -> (World, Provider, Connection) {
    ended_over(Arc::new(MemoryStore::new())).await
}

async fn ended_over(store: Arc<dyn Store>) -> (World, Provider, Connection) {
    let world = World::over(store).await;
    let connection = world.connect_desk().await;
    let provider = Provider::behind(&world.script);
    (world, provider, connection)
}

/// A world whose access to `desk` ended a minute ago, as the provider said it would.
async fn known_ended() -> (World, Provider, Connection) {
    let world = World::new().await;
    let end = (noon() + Duration::from_secs(3600)).to_string();
    let given =
        json!({"access_token": "access-0", "refresh_token": "refresh-0", "expires_at": end});
    let connection = world.hand_over("desk", given).await;
    world.clock.advance(Duration::from_secs(3660));
    let provider = Provider::behind(&world.script);
    (world, provider, connection)
}

/// The credentials, as a third process sees them.
fn vault(world: &World) -> Vault {
    Vault::new(world.store.clone(), keyring(), world.clock.clone())
}

async fn kept(world: &World, connection: &Connection) -> Connection {
    world.engine.connections().get(&world.caller, connection.id).await.unwrap()
}

#[tokio::test]
async fn access_that_is_known_to_have_ended_is_renewed_before_the_call() {
    let (world, provider, connection) = known_ended().await;
    provider.expires_in(600);
    let reply = world.engine.call(&world.caller, read()).await.unwrap();
    assert_eq!(reply.status, 200);
    let places = world.script.sent().iter().map(super::script::Sent::place).collect::<Vec<_>>();
    assert_eq!(places, [TOKEN, "desk.test/items/7"]);
    assert_eq!(provider.refreshes(), 1);
    let kept = kept(&world, &connection).await;
    assert_eq!(kept.expires_at, Some(noon() + Duration::from_secs(4260)));
    let asked = &world.script.sent()[0];
    assert_eq!(asked.field("grant_type").as_deref(), Some("refresh_token"));
    assert_eq!(asked.field("refresh_token").as_deref(), Some("refresh-0"));
    // client-1:client-secret, RFC 6749 section 2.3.1
    assert_eq!(asked.header("authorization"), Some("Basic Y2xpZW50LTE6Y2xpZW50LXNlY3JldA=="));
}

#[tokio::test]
async fn access_that_is_about_to_end_does_for_one_more_call() {
    let world = World::new().await;
    let end = (noon() + Duration::from_secs(3600)).to_string();
    let given =
        json!({"access_token": "access-0", "refresh_token": "refresh-0", "expires_at": end});
    world.hand_over("desk", given).await;
    world.script.on(|sent| match sent.place().as_str() {
        TOKEN => answer(500, ""),
        _ => answer(200, "{}"),
    });
    world.clock.advance(Duration::from_secs(3599));
    world.engine.call(&world.caller, read()).await.unwrap();
    world.clock.advance(Duration::from_secs(2));
    let error = world.engine.call(&world.caller, read()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UpstreamUnreachable);
}

#[tokio::test]
async fn a_401_renews_once_and_tries_once_more() {
    let (world, provider, _) = ended().await;
    let reply = world.engine.call(&world.caller, read()).await.unwrap();
    assert_eq!(reply.status, 200);
    assert_eq!((provider.refreshes(), world.script.count("desk.test/items/7")), (1, 2));
    let run = world.engine.runs().execution(&world.caller, reply.execution).await.unwrap();
    assert_eq!((run.attempts, run.upstream_status), (2, Some(200)));
    world.engine.call(&world.caller, read()).await.unwrap();
    assert_eq!((provider.refreshes(), world.script.count("desk.test/items/7")), (1, 3));
}

#[tokio::test]
async fn a_403_renews_nothing() {
    let (world, provider, _) = ended().await;
    world.script.on(|_| answer(403, "{}"));
    assert_eq!(world.engine.call(&world.caller, read()).await.unwrap().status, 403);
    assert_eq!((provider.refreshes(), world.script.sent().len()), (0, 1));
}

#[tokio::test]
async fn a_second_401_ends_the_call_and_leaves_the_connection() {
    let (world, provider, connection) = ended().await;
    world.script.on({
        let provider = provider.clone();
        move |sent| match sent.place().as_str() {
            TOKEN => provider.answer(sent),
            _ => answer(401, "{}"),
        }
    });
    let error = world.engine.call(&world.caller, read()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TokenExpired);
    world.engine.connector().open(&page(&error)).await.unwrap();
    assert_eq!((provider.refreshes(), world.script.count("desk.test/items/7")), (1, 2));
    assert_eq!(kept(&world, &connection).await.status, Status::Connected);
}

#[tokio::test]
async fn an_api_key_is_not_renewed() {
    let world = World::new().await;
    let connection = world.hand_over("keyed", json!({"api_key": "k"})).await;
    world.script.on(|_| answer(401, r#"{"message":"bad key"}"#));
    let get = || call("keyed", "get_item").param("id", "7");
    let reply = world.engine.call(&world.caller, get()).await.unwrap();
    assert_eq!((reply.status.as_u16(), world.script.sent().len()), (401, 1));
    let kept = kept(&world, &connection).await;
    assert_eq!(kept.status, Status::Connected);
    assert!(kept.last_error.unwrap().contains("401"));
}

#[tokio::test]
async fn a_refused_key_undoes_no_change_of_another_process() {
    let world = World::new().await;
    let connection = world.hand_over("keyed", json!({"api_key": "k"})).await;
    let get = || call("keyed", "get_item").param("id", "7");
    world.engine.call(&world.caller, get()).await.unwrap();
    let another = world.another().await;
    let change = Change { label: Some("work".into()), is_default: Some(true) };
    let connector = another.engine.connector();
    connector.change(&another.caller, connection.id, change).await.unwrap();
    world.script.on(|_| answer(401, "{}"));
    world.engine.call(&world.caller, get()).await.unwrap();
    let kept = kept(&world, &connection).await;
    assert_eq!((kept.label.as_deref(), kept.is_default), (Some("work"), true));
    assert!(kept.last_error.unwrap().contains("401"));
}

#[tokio::test]
async fn a_grant_that_was_taken_back_expires_the_connection() {
    let (world, provider, connection) = ended().await;
    provider.end_grant();
    let error = world.engine.call(&world.caller, read()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TokenExpired);
    world.engine.connector().open(&page(&error)).await.unwrap();
    let kept = kept(&world, &connection).await;
    assert_eq!(kept.status, Status::Expired);
    assert_eq!(kept.last_error.as_deref(), Some("the provider no longer accepts this grant"));
    assert_eq!(world.events().await[0], "connection.expired");
    world.script.forget();
    let error = world.engine.call(&world.caller, read()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TokenExpired);
    assert!(world.script.sent().is_empty());
}

#[tokio::test]
async fn reconnecting_restores_the_same_connection() {
    let (world, provider, connection) = ended().await;
    provider.end_grant();
    let error = world.engine.call(&world.caller, read()).await.unwrap_err();
    let connector = world.engine.connector();
    let leaving = connector.depart(&page(&error), None).await.unwrap();
    let state = leaving.url.query_pairs().find(|(name, _)| name == "state").unwrap().1;
    let back = Return {
        state: state.into_owned().into(),
        code: Some("code".into()),
        issuer: Some("https://auth.test".into()),
        ..Return::default()
    };
    let (restored, _) = connector.arrive(&back, &leaving.browser).await.unwrap();
    assert_eq!((restored.id, restored.status), (connection.id, Status::Connected));
    assert_eq!((restored.last_error, restored.account.as_deref()), (None, Some("ada")));
    let reply = world.engine.call(&world.caller, read()).await.unwrap();
    assert_eq!(reply.status, 200);
    assert_eq!(world.engine.connections().list(&world.caller).await.unwrap().len(), 1);
}

#[tokio::test]
async fn trouble_at_the_token_endpoint_keeps_the_grant() {
    type Trouble = fn() -> skill_core::Result<skill_core::transport::Response>;
    let troubles: [Trouble; 10] = [
        || answer(500, ""),
        || answer(503, r#"{"error":"invalid_grant"}"#),
        || answer(200, "<html>"),
        || answer(200, "{}"),
        || answer(200, r#"{"access_token":"line\nbreak"}"#),
        || answer(302, ""),
        || answer(400, r#"{"error":"invalid_client"}"#),
        || typed(200, "application/json", &[b' '; 70_000]),
        || Err(unreachable()),
        || Err(cut()),
    ];
    let (world, provider, connection) = ended().await;
    for trouble in troubles {
        world.script.on(move |sent| match sent.place().as_str() {
            TOKEN => trouble(),
            _ => answer(401, "{}"),
        });
        world.script.forget();
        let error = world.engine.call(&world.caller, read()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UpstreamUnreachable, "{error:?}");
        assert_eq!(world.script.count(TOKEN), 1);
        let kept = kept(&world, &connection).await;
        assert_eq!(kept.status, Status::Connected);
        assert!(kept.last_error.is_some());
    }
    let provider = provider.clone();
    world.script.on(move |sent| provider.answer(sent));
    world.engine.call(&world.caller, read()).await.unwrap();
    assert_eq!(kept(&world, &connection).await.last_error, None);
}

#[tokio::test]
async fn the_old_refresh_token_stays_when_none_comes_back() {
    let (world, provider, _) = ended().await;
    provider.keeps_refresh();
    for n in 1..=3 {
        let reply = world.engine.call(&world.caller, read()).await.unwrap();
        assert_eq!((reply.status.as_u16(), provider.refreshes()), (200, n));
        provider.end_access();
    }
}

/// How many calls of `each` world succeed, all at once.
async fn storm(worlds: &[&World], each: usize) -> usize {
    let mut calls = JoinSet::new();
    for world in worlds {
        for _ in 0..each {
            let (engine, caller) = (world.engine.clone(), world.caller.clone());
            calls.spawn(async move { engine.call(&caller, read()).await });
        }
    }
    let done = calls.join_all().await;
    done.iter().filter(|done| done.as_ref().is_ok_and(|reply| reply.status == 200)).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_calls_renew_once() {
    let (world, provider, _) = ended().await;
    assert_eq!(storm(&[&world], 50).await, 50);
    assert_eq!(provider.refreshes(), 1);
    let (world, provider, _) = known_ended().await;
    assert_eq!(storm(&[&world], 50).await, 50);
    assert_eq!(provider.refreshes(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_renew_once() {
    let dir = tempfile::tempdir().unwrap();
    let file = SqliteStore::open(&dir.path().join("skill.db")).unwrap();
    for store in [Arc::new(MemoryStore::new()) as Arc<dyn Store>, Arc::new(file)] {
        let (world, provider, _) = ended_over(store).await;
        let another = world.another().await;
        for round in 1..=3 {
            assert_eq!(storm(&[&world, &another], 25).await, 50, "round {round}");
            assert_eq!(provider.refreshes(), round);
            provider.end_access();
            // Each process believes its cache for a second.
            world.clock.advance(Duration::from_secs(2));
        }
        world.engine.stop().await;
        another.engine.stop().await;
    }
}

#[tokio::test]
async fn a_token_that_another_process_renewed_is_taken_over() {
    let (world, provider, _) = ended().await;
    let another = world.another().await;
    world.engine.call(&world.caller, read()).await.unwrap();
    another.engine.call(&another.caller, read()).await.unwrap();
    provider.end_access();
    // Both caches hold the ended access; the first to notice renews it for both.
    world.engine.call(&world.caller, read()).await.unwrap();
    another.engine.call(&another.caller, read()).await.unwrap();
    assert_eq!(provider.refreshes(), 2);
}

#[tokio::test]
async fn a_token_that_another_process_renewed_is_taken_over_while_others_change() {
    let store = Watched::new();
    let world = World::over(store.clone()).await;
    world.connect_desk().await;
    let other = world.hand_over("keyed", json!({"api_key": "k"})).await;
    let provider = Provider::behind(&world.script);
    world.engine.call(&world.caller, read()).await.unwrap();
    let another = world.another().await;
    another.engine.call(&another.caller, read()).await.unwrap();
    provider.end_access();
    world.engine.call(&world.caller, read()).await.unwrap();
    // A change of another grant falls into the moment in which this one is read anew.
    let (engine, caller) = (another.engine.clone(), another.caller.clone());
    store.once_after("grant", move || {
        let (engine, caller) = (engine.clone(), caller.clone());
        Box::pin(async move { engine.connector().disconnect(&caller, other.id).await.unwrap() })
    });
    let reply = another.engine.call(&another.caller, read()).await.unwrap();
    assert_eq!((reply.status.as_u16(), provider.refreshes()), (200, 2));
}

/// Lets the token endpoint wait for the returned signal.
fn slow_tokens(world: &World, provider: &Provider) -> Arc<Notify> {
    let (go, provider) = (Arc::new(Notify::new()), provider.clone());
    let waiting = go.clone();
    world.script.play(move |sent| {
        let (waiting, provider) = (waiting.clone(), provider.clone());
        async move {
            let answer = provider.answer(&sent);
            if sent.place() == TOKEN {
                waiting.notified().await;
            }
            answer
        }
    });
    go
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_hangs_up_loses_no_rotated_token() {
    let (world, provider, _) = ended().await;
    let go = slow_tokens(&world, &provider);
    {
        let mut going = pin!(world.engine.call(&world.caller, read()));
        assert!(tokio::time::timeout(Duration::from_secs(1), &mut going).await.is_err());
    }
    assert_eq!(provider.refreshes(), 1);
    go.notify_one();
    let reply = world.engine.call(&world.caller, read()).await.unwrap();
    assert_eq!((reply.status.as_u16(), provider.refreshes()), (200, 1));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_for_a_moment_loses_no_rotated_token() {
    let store = Watched::new();
    let (world, provider, connection) = ended_over(store.clone()).await;
    store.fail("replace_grant");
    let (engine, caller) = (world.engine.clone(), world.caller.clone());
    let going = tokio::spawn(async move { engine.call(&caller, read()).await });
    tokio::time::sleep(Duration::from_secs(5)).await;
    store.heal("replace_grant");
    assert_eq!(going.await.unwrap().unwrap().status, 200);
    assert_eq!(
        (provider.refreshes(), kept(&world, &connection).await.status),
        (1, Status::Connected)
    );
}

#[tokio::test(start_paused = true)]
async fn a_renewal_outlives_the_deadline_of_its_call() {
    let (world, provider, _) = ended().await;
    let go = slow_tokens(&world, &provider);
    let short = read().timeout(Duration::from_secs(2));
    let error = world.engine.call(&world.caller, short).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    go.notify_one();
    assert_eq!(world.engine.call(&world.caller, read()).await.unwrap().status, 200);
    assert_eq!(provider.refreshes(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_loser_of_a_race_uses_the_winners_token() {
    let (world, provider, connection) = ended().await;
    let go = slow_tokens(&world, &provider);
    let (engine, caller) = (world.engine.clone(), world.caller.clone());
    let going = tokio::spawn(async move { engine.call(&caller, read()).await });
    while world.script.count(TOKEN) == 0 {
        tokio::task::yield_now().await;
    }
    // Meanwhile a person hands over a grant that is better than what the provider is about to say.
    let vault = vault(&world);
    let (_, revision) = vault.load(&connection.at()).await.unwrap().unwrap();
    let won = Credential::new([("access_token", "won".into()), ("refresh_token", "r".into())]);
    assert!(vault.replace(&connection.at(), &won, Some(revision)).await.unwrap());
    world.script.forget();
    go.notify_one();
    going.await.unwrap().unwrap_err();
    let last = world.script.sent().pop().unwrap();
    assert_eq!(last.header("authorization"), Some("Bearer won"));
    let (kept, _) = vault.reload(&connection.at()).await.unwrap().unwrap();
    assert_eq!(kept.find("access_token"), Some("won"));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_does_not_count_when_the_grant_changed_meanwhile() {
    let (world, provider, connection) = ended().await;
    provider.end_grant();
    let go = slow_tokens(&world, &provider);
    let (engine, caller) = (world.engine.clone(), world.caller.clone());
    let going = tokio::spawn(async move { engine.call(&caller, read()).await });
    while world.script.count(TOKEN) == 0 {
        tokio::task::yield_now().await;
    }
    let vault = vault(&world);
    let (_, revision) = vault.load(&connection.at()).await.unwrap().unwrap();
    let won = Credential::new([("access_token", "won".into())]);
    assert!(vault.replace(&connection.at(), &won, Some(revision)).await.unwrap());
    go.notify_one();
    going.await.unwrap().unwrap_err();
    assert_eq!(kept(&world, &connection).await.status, Status::Connected);
}

#[tokio::test(start_paused = true)]
async fn a_lease_of_another_process_is_waited_for() {
    let (world, provider, connection) = ended().await;
    let another = world.another().await;
    let at = connection.at();
    let hold = Duration::from_secs(45);
    assert!(world.store.lease_renewal(&at, "another", noon(), hold).await.unwrap());
    let (engine, caller) = (world.engine.clone(), world.caller.clone());
    let going = tokio::spawn(async move { engine.call(&caller, read()).await });
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!((provider.refreshes(), going.is_finished()), (0, false));
    // It lets go of its lease and renews.
    world.store.release_renewal(&at, "another").await.unwrap();
    another.engine.call(&another.caller, read()).await.unwrap();
    assert_eq!(going.await.unwrap().unwrap().status, 200);
    assert_eq!(provider.refreshes(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_never_given_back_lapses() {
    let (world, provider, connection) = ended().await;
    let hold = Duration::from_secs(45);
    assert!(world.store.lease_renewal(&connection.at(), "dead", noon(), hold).await.unwrap());
    let slow = || read().timeout(Duration::from_secs(120));
    let error = world.engine.call(&world.caller, slow()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UpstreamUnreachable);
    assert_eq!(kept(&world, &connection).await.status, Status::Connected);
    world.clock.advance(Duration::from_secs(46));
    assert_eq!(world.engine.call(&world.caller, slow()).await.unwrap().status, 200);
    assert_eq!(provider.refreshes(), 1);
}

#[tokio::test]
async fn a_renewal_that_panics_blocks_no_later_one() {
    let (world, provider, _) = ended().await;
    world.script.on(|sent| match sent.place().as_str() {
        TOKEN => panic!("a bug of the transport, on purpose"),
        _ => answer(401, "{}"),
    });
    let error = world.engine.call(&world.caller, read()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);
    // The lease of the renewal that died lapses.
    world.clock.advance(Duration::from_secs(46));
    world.script.on(move |sent| provider.answer(sent));
    assert_eq!(world.engine.call(&world.caller, read()).await.unwrap().status, 200);
}

#[tokio::test]
async fn a_disconnected_account_is_not_renewed() {
    let (world, provider, connection) = ended().await;
    world.engine.connector().disconnect(&world.caller, connection.id).await.unwrap();
    let error = world.engine.call(&world.caller, read()).await.unwrap_err();
    assert_eq!((error.kind(), provider.refreshes()), (ErrorKind::NotConnected, 0));
}
