//! Whoever closes the page or the connection in the middle loses nothing by it.

use std::{pin::pin, sync::Arc, time::Duration};

use serde_json::json;
use skill_core::{connect::Change, record::connection::Status};
use tokio::sync::Notify;

use super::{back, left};
use crate::{
    fixture::{World, members, slug},
    script::{json as answer, me},
};

/// Lets every request wait for the returned signal, and grants whatever it asks for.
fn slow(world: &World) -> Arc<Notify> {
    let go = Arc::new(Notify::new());
    let waiting = go.clone();
    world.script.play(move |sent| {
        let waiting = waiting.clone();
        async move {
            waiting.notified().await;
            match sent.place().as_str() {
                "auth.test/token" => answer(
                    200,
                    r#"{"access_token":"a","refresh_token":"r","expires_in":3600,"scope":"read"}"#,
                ),
                _ => me(),
            }
        }
    });
    go
}

/// Waits for `work` a moment and drops it then.
async fn hang_up(work: impl Future) {
    assert!(tokio::time::timeout(Duration::from_secs(1), pin!(work)).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_person_who_closes_the_page_too_early_is_connected() {
    let world = World::new().await;
    let (connection, leaving) = left(&world).await;
    let go = slow(&world);
    hang_up(world.engine.connector().arrive(&back(&leaving), &leaving.browser)).await;
    assert_eq!(world.script.sent().len(), 1);
    // The code is used up: what comes for it is kept.
    for _ in 0..2 {
        go.notify_one();
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let kept = world.engine.connections().get(&world.caller, connection.id).await.unwrap();
    assert_eq!((kept.status, kept.account.as_deref()), (Status::Connected, Some("ada")));
}

#[tokio::test(start_paused = true)]
async fn a_program_that_hangs_up_loses_no_rotated_token() {
    let world = World::new().await;
    let given = json!({
        "access_token": "a", "refresh_token": "r", "expires_at": "2020-01-01T00:00:00Z",
    });
    let (go, given) = (slow(&world), members(given));
    hang_up(world.engine.connector().hand_over(&world.caller, &slug("desk"), &given, None)).await;
    for _ in 0..2 {
        go.notify_one();
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let made = world.engine.connections().list(&world.caller).await.unwrap();
    assert_eq!(made.iter().map(|one| one.status).collect::<Vec<_>>(), [Status::Connected]);
}

#[tokio::test(start_paused = true)]
async fn what_an_owner_changes_while_a_person_arrives_stays() {
    let world = World::new().await;
    let (connection, leaving) = left(&world).await;
    let go = slow(&world);
    hang_up(world.engine.connector().arrive(&back(&leaving), &leaving.browser)).await;
    let change = Change { label: Some("work".into()), is_default: Some(true) };
    world.engine.connector().change(&world.caller, connection.id, change).await.unwrap();
    for _ in 0..2 {
        go.notify_one();
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let kept = world.engine.connections().get(&world.caller, connection.id).await.unwrap();
    assert_eq!((kept.status, kept.label.as_deref()), (Status::Connected, Some("work")));
    assert!(kept.is_default);
}

#[tokio::test(start_paused = true)]
async fn what_was_revoked_is_removed() {
    let world = World::new().await;
    let connection = world.connect_desk().await;
    let go = slow(&world);
    hang_up(world.engine.connector().disconnect(&world.caller, connection.id)).await;
    go.notify_one();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(world.engine.connections().list(&world.caller).await.unwrap().is_empty());
    assert_eq!(world.events().await.first().map(String::as_str), Some("connection.deleted"));
}
