//! What an operator does to everything at once: sealing anew, beginning again from a backup,
//! revoking.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use serde_json::json;
use skill_core::{
    Engine, ErrorKind,
    artifact::{ArtifactStore, FileArtifacts},
    credential::seal::Keyring,
    engine::Extent,
    id::ConnectionId,
    name::OwnerId,
    queue::Submission,
    record::{
        connection::Status,
        execution::State,
        webhook::{Event, Subscription},
    },
    reseal::Keep,
    store::{MemoryStore, Part, Store, sqlite::SqliteStore},
    webhook::NewWebhook,
};

use super::{
    fixture::{World, call, keyring, noon, owner, read, slug},
    provider::Provider,
    script::{json as answer, unreachable},
};

/// Where the keys of a test are kept.
#[derive(Clone)]
struct Place(Arc<Mutex<String>>);

impl Place {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(keyring().expose().to_string())))
    }

    fn keys(&self) -> Keyring {
        self.0.lock().unwrap().parse().ok().unwrap()
    }

    fn keep(&self) -> Keep {
        let place = self.0.clone();
        Arc::new(move |keyring| {
            *place.lock().unwrap() = keyring.expose().to_string();
            Ok(())
        })
    }
}

/// An engine over a folder, with the keys of `place`.
async fn start(folder: &std::path::Path, place: &Place) -> World {
    let store = loop {
        match SqliteStore::open(&folder.join("skill.db")) {
            Ok(store) => break store,
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    };
    let store: Arc<dyn Store> = Arc::new(store);
    let kept = store.clone();
    World::with(store, move |builder| {
        let artifacts = FileArtifacts::open(folder.join("artifacts")).unwrap();
        let keys = place.keys();
        let small = skill_core::queue::Settings { result_bytes: 1000, ..Default::default() };
        builder
            .store(kept.clone(), keys)
            .keep_keys(place.keep())
            .artifacts(Arc::new(artifacts))
            .queue(small)
    })
    .await
}

/// Waits until nothing is sealed with an older key.
async fn sealed_anew(engine: &Engine) {
    for _ in 0..2_000 {
        if !engine.sealing().is_under_way {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{:?}", engine.sealing());
}

async fn until_keys(engine: &Engine, keys: &[u32]) {
    for _ in 0..2_000 {
        if engine.sealing().keys == keys {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{:?}", engine.sealing());
}

/// Seals everything anew with a second key, and finds nothing of the first one.
async fn rotated(world: &World) {
    let sealing = world.engine.rotate_seal().await.unwrap();
    assert_eq!(sealing.keys, [1, 2]);
    sealed_anew(&world.engine).await;
    let sealing = world.engine.sealing();
    assert!(sealing.resealed > 4 && sealing.unreadable == 0, "{sealing:?}");
    for part in Part::ALL {
        assert_eq!(world.store.sealed_before(part, 2, None, 9).await.unwrap(), [], "{part:?}");
    }
}

/// A subscription of the caller.
async fn subscribed(world: &World) -> Subscription {
    let hook = NewWebhook::new("https://hooks.test/x", vec![Event::ExecutionCompleted]);
    let catalog = world.engine.catalog();
    let made = world.engine.webhooks().create(&world.caller, hook, &catalog).await;
    made.unwrap().0
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_sealed_anew_while_calls_go_on_and_the_old_key_goes() {
    let (folder, place) = (tempfile::tempdir().unwrap(), Place::new());
    let world = start(folder.path(), &place).await;
    let connection = world.connect_desk().await;
    let large = format!("{{\"text\":\"{}\"}}", "x".repeat(200_000));
    world.script.on(move |sent| match sent.place().as_str() {
        "desk.test/items/7" => answer(200, &large),
        _ => answer(201, r#"{"id":1}"#),
    });
    let hook = subscribed(&world).await;
    let keyed = call("desk", "charge").param("amount", 5).idempotency_key("k");
    let first = world.engine.call(&world.caller, keyed.clone()).await.unwrap();
    let by = world.engine.keys().resume(world.caller.clone()).await.unwrap();
    let queued = world.engine.runs().submit(&by, Submission::new(read())).await.unwrap();
    let spilled = queued.id;
    ended(&world, spilled).await;

    // Callers go on through all of it.
    let (engine, caller) = (world.engine.clone(), world.caller.clone());
    let calls = tokio::spawn(async move {
        for _ in 0..200 {
            engine.call(&caller, call("desk", "whoami")).await.unwrap();
        }
    });
    rotated(&world).await;
    calls.await.unwrap();
    // Whoever runs keeps the old key: something may be in flight. The next start lets it go.
    assert_eq!(place.keys().versions(), [1, 2]);
    world.engine.stop().await;
    drop(world);
    let world = start(folder.path(), &place).await;
    until_keys(&world.engine, &[2]).await;
    world.engine.stop().await;
    drop(world);
    assert_eq!(place.keys().versions(), [2]);

    // Everything opens with the new key alone.
    let world = start(folder.path(), &place).await;
    world.script.on(|_| answer(200, r#"{"login":"ada"}"#));
    let again = world.engine.call(&world.caller, keyed).await.unwrap();
    assert!(again.is_replay && again.execution == first.execution);
    let run = world.engine.runs().get(&world.caller, spilled).await.unwrap();
    assert!(run.input.is_some() && run.result_bytes.unwrap() > 200_000);
    let page = world.engine.runs().result(&world.caller, spilled, 0, 9).await.unwrap();
    assert_eq!(page.bytes, Bytes::from_static(b"{\"text\":\""));
    acts_as_before(&world, connection.id, &hook).await;
    world.engine.stop().await;
    drop(world);

    // The first key alone opens nothing any more, and says so before anything is changed.
    let store: Arc<dyn Store> =
        Arc::new(SqliteStore::open(&folder.path().join("skill.db")).unwrap());
    let error = keyring().verify(&*store).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.message().contains("version 2"), "{error}");
}

/// The grant and the secret of the subscription open.
async fn acts_as_before(world: &World, connection: ConnectionId, hook: &Subscription) {
    assert_eq!(world.engine.call(&world.caller, read()).await.unwrap().status, 200);
    let sent = world.script.sent();
    assert_eq!(sent.last().unwrap().header("authorization"), Some("Bearer access-0"));
    let kept = world.engine.webhooks().list(&world.caller).await.unwrap();
    assert_eq!(kept[0].id, hook.id);
    assert!(world.engine.webhooks().secret(&kept[0]).is_ok());
    let found = world.engine.connections().get(&world.caller, connection).await.unwrap();
    assert_eq!(found.id, connection);
    assert!(world.events().await.contains(&"seal.rotated".to_owned()));
}

async fn ended(world: &World, id: skill_core::id::ExecutionId) {
    for _ in 0..2_000 {
        let run = world.engine.runs().execution(&world.caller, id).await.unwrap();
        if run.state == State::Success {
            return;
        }
        assert!(!run.state.is_final(), "{run:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("the run does not end");
}

#[tokio::test]
async fn keys_that_cannot_be_kept_are_not_rotated() {
    let world = World::new().await;
    let error = world.engine.rotate_seal().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let failing = |builder: skill_core::engine::Builder| {
        let keep: Keep = Arc::new(|_| Err(skill_core::Error::new(ErrorKind::Unavailable, "full")));
        builder.keep_keys(keep)
    };
    let world = World::with(Arc::new(MemoryStore::new()), failing).await;
    assert!(world.engine.rotate_seal().await.is_err());
    assert_eq!(world.engine.sealing().keys, [1]);
    world.connect_desk().await;
    world.script.on(|_| answer(200, "{}"));
    assert_eq!(world.engine.call(&world.caller, read()).await.unwrap().status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_died_in_the_middle_goes_on_at_the_next_start() {
    let (folder, place) = (tempfile::tempdir().unwrap(), Place::new());
    let world = start(folder.path(), &place).await;
    world.connect_desk().await;
    world.engine.stop().await;
    drop(world);
    // It died after it had kept the new key: nothing else was done.
    place.keep()(&place.keys().with_next().unwrap()).unwrap();
    let world = start(folder.path(), &place).await;
    until_keys(&world.engine, &[2]).await;
    assert_eq!(place.keys().versions(), [2]);
    world.script.on(|_| answer(200, "{}"));
    assert_eq!(world.engine.call(&world.caller, read()).await.unwrap().status, 200);
    world.engine.stop().await;
}

#[tokio::test]
async fn a_grant_out_of_a_backup_is_tried_before_it_is_renewed() {
    let world = World::new().await;
    let end = (noon() + Duration::from_secs(3600)).to_string();
    let given =
        json!({"access_token": "access-0", "refresh_token": "refresh-0", "expires_at": end});
    let connection = world.hand_over("desk", given).await;
    world.clock.advance(Duration::from_secs(7200));
    world.store.begin_epoch("another").await.unwrap();
    world.script.on(|_| answer(200, "{}"));
    // It says that it has ended, and may be good all the same; its refresh token may be spent.
    assert_eq!(world.engine.call(&world.caller, read()).await.unwrap().status, 200);
    assert_eq!(world.script.sent().iter().filter(|sent| sent.place().contains("token")).count(), 0);
    world.script.on(|sent| match sent.place().contains("token") {
        true => answer(400, r#"{"error":"invalid_grant"}"#),
        false => answer(401, "{}"),
    });
    let error = world.engine.call(&world.caller, read()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TokenExpired);
    let kept = world.engine.connections().get(&world.caller, connection.id).await.unwrap();
    assert_eq!(kept.status, Status::Expired);
    assert!(kept.last_error.unwrap().contains("out of a backup"));
}

#[tokio::test]
async fn a_grant_out_of_a_backup_that_renews_is_like_any_other() {
    let world = World::new().await;
    world.connect_desk().await;
    world.store.begin_epoch("another").await.unwrap();
    let provider = Provider::behind(&world.script);
    assert_eq!(world.engine.call(&world.caller, read()).await.unwrap().status, 200);
    assert_eq!(provider.refreshes(), 1);
}

#[tokio::test]
async fn held_runs_do_nothing_until_they_are_released() {
    let world = World::new().await;
    world.connect_desk().await;
    world.script.on(|_| answer(200, "{}"));
    let by = world.engine.keys().resume(world.caller.clone()).await.unwrap();
    let later = Some(Duration::from_secs(60));
    let wanted = || Submission { delay: later, ..Submission::new(read()) };
    let first = world.engine.runs().submit(&by, wanted()).await.unwrap();
    let second = world.engine.runs().submit(&by, wanted()).await.unwrap();
    assert_eq!(world.store.begin_epoch("another").await.unwrap().runs, 2);
    world.clock.advance(Duration::from_secs(7200));
    let runs = world.engine.runs();
    let error = runs.release(&owner("rival"), first.id).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(runs.cancel(&world.caller, second.id).await.unwrap().state, State::Cancelled);
    assert_eq!(runs.execution(&world.caller, first.id).await.unwrap().state, State::Held);
    assert!(world.script.sent().is_empty());
    runs.release(&world.caller, first.id).await.unwrap();
    ended(&world, first.id).await;
    assert_eq!(world.script.count("desk.test/items/7"), 1);
    let error = runs.release(&world.caller, first.id).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
}

#[tokio::test]
async fn everything_is_revoked_and_what_a_service_did_not_revoke_is_said() {
    let world = World::new().await;
    let key = world.key().await;
    world.connect_desk().await;
    world.hand_over("keyed", json!({"api_key": "planted"})).await;
    let rival = owner("rival");
    world.hand_over_as(&rival, "keyed", (json!({"api_key": "theirs"}), None)).await;
    let by = world.engine.keys().resume(world.caller.clone()).await.unwrap();
    let delay = Some(Duration::from_secs(600));
    let later = Submission { delay, ..Submission::new(read()) };
    let run = world.engine.runs().submit(&by, later).await.unwrap();
    world.script.on(|_| answer(200, "{}"));

    // One integration: keys go on, and so does what is elsewhere.
    let extent = Extent { integration: Some(slug("keyed")), owner: Some(rival.owner.clone()) };
    let revoked = world.engine.revoke_everything(&extent, Duration::from_secs(9)).await.unwrap();
    assert_eq!((revoked.keys, revoked.connections, revoked.runs), (0, 1, 0));
    assert!(revoked.unrevoked[0].why.contains("key"), "{revoked:?}");
    assert!(world.engine.call(&rival, call("keyed", "whoami")).await.is_err());
    assert_eq!(world.engine.call(&world.caller, read()).await.unwrap().status, 200);

    world.script.forget();
    let all = Extent::default();
    let revoked = world.engine.revoke_everything(&all, Duration::from_secs(9)).await.unwrap();
    assert_eq!((revoked.keys, revoked.connections, revoked.runs), (1, 2, 1));
    assert_eq!(world.script.count("auth.test/revoke"), 1);
    let left: Vec<_> = revoked.unrevoked.iter().map(|left| left.integration.as_str()).collect();
    assert_eq!(left, ["keyed"]);
    let stands = world.engine.runs().execution(&world.caller, run.id).await.unwrap();
    assert_eq!(stands.state, State::Cancelled);
    let keys = world.engine.keys().list(&world.caller).await.unwrap();
    assert!(keys.iter().all(|found| Some(found.id) == key.key() && found.revoked_at.is_some()));
    assert!(world.store.grants_after(None, 9).await.unwrap().is_empty());
    assert!(world.events().await.contains(&"everything.revoked".to_owned()));
    // Again there is nothing left.
    let revoked = world.engine.revoke_everything(&all, Duration::from_secs(9)).await.unwrap();
    assert_eq!((revoked.keys, revoked.connections, revoked.runs), (0, 0, 0));
}

#[tokio::test]
async fn a_service_that_does_not_answer_keeps_nothing_alive() {
    let world = World::new().await;
    world.connect_desk().await;
    world.script.on(|_| Err(unreachable()));
    let extent = Extent { owner: Some(OwnerId::standard()), integration: None };
    let revoked = world.engine.revoke_everything(&extent, Duration::ZERO).await.unwrap();
    assert_eq!((revoked.connections, revoked.unrevoked.len()), (1, 1));
    assert!(world.store.grants_after(None, 9).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_file_is_replaced_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let kept = FileArtifacts::open(folder.path().join("artifacts")).unwrap();
    let at = skill_core::artifact::ArtifactRef {
        owner: OwnerId::standard(),
        run: skill_core::id::ExecutionId::fresh(noon()).unwrap(),
        id: skill_core::id::ArtifactId::fresh(noon()).unwrap(),
    };
    kept.replace(&at, "new".into()).await.unwrap();
    assert_eq!(kept.read(&at, 0, 9).await.unwrap(), None, "what is gone stays gone");
    kept.write(&at, "old".into()).await.unwrap();
    kept.replace(&at, "newer".into()).await.unwrap();
    assert_eq!(kept.read(&at, 0, 9).await.unwrap().unwrap(), "newer");
    assert_eq!(kept.list(&at.owner, at.run).await.unwrap(), [at.id]);
    assert_eq!(kept.runs().await.unwrap(), [(at.owner.clone(), at.run)]);
}
