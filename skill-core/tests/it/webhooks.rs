//! Webhooks: subscriptions, where nobody may be sent, and what is delivered.

pub(crate) mod deliver;
mod receivers;

use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};
use skill_core::{
    Engine, Error, ErrorKind, Result,
    access::Caller,
    record::webhook::{Event, Subscription},
    store::{MemoryStore, Store},
    transport::{
        ReqwestTransport,
        egress::{Egress, HostPort},
    },
    webhook::NewWebhook,
};

use super::fixture::{World, acting_for, keyring, owner};

const PLACE: &str = "https://hooks.example.com/skill";

fn to(url: &str) -> NewWebhook {
    NewWebhook::new(url, vec![Event::ExecutionCompleted])
}

async fn create(
    engine: &Engine,
    caller: &Caller,
    wanted: NewWebhook,
) -> Result<(Subscription, SecretString)> {
    engine.webhooks().create(caller, wanted, &engine.catalog()).await
}

/// The fields that an error names.
fn fields(error: &Error) -> Vec<&str> {
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    error.field_details().iter().map(|detail| detail.field.as_str()).collect()
}

#[tokio::test]
async fn a_webhook_is_shown_with_its_secret_once_and_kept_sealed() {
    let world = World::new().await;
    let (made, secret) = create(&world.engine, &world.caller, to(PLACE)).await.unwrap();
    assert!(made.id.to_string().starts_with("hook_"));
    let encoded = secret.expose_secret().strip_prefix("whsec_").unwrap();
    assert_eq!(encoded.len(), 44);
    let plain = secret.expose_secret().as_bytes();
    assert!(!made.secret.0.windows(plain.len()).any(|bytes| bytes == plain));
    let listed = world.engine.webhooks().list(&world.caller).await.unwrap();
    assert_eq!(listed, std::slice::from_ref(&made));
    let opened = world.engine.webhooks().secret(&listed[0]).unwrap();
    assert_eq!(opened.expose_secret(), secret.expose_secret());
    let moved = Subscription { owner: owner("rival").owner, ..made };
    assert!(world.engine.webhooks().secret(&moved).is_err());
    let (_, another) = create(&world.engine, &world.caller, to(PLACE)).await.unwrap();
    assert_ne!(another.expose_secret(), secret.expose_secret());
    assert_eq!(world.events().await[..2], ["webhook.created", "webhook.created"]);
}

#[tokio::test]
async fn a_webhook_goes_to_public_https_only() {
    let world = World::new().await;
    for url in [
        "",
        "not a url",
        "hooks.example.com",
        "http://hooks.example.com/",
        "file:///etc/passwd",
        "ftp://hooks.example.com/",
        "https://user@hooks.example.com/",
        "https://user:pass@hooks.example.com/",
        "https://127.0.0.1/",
        "https://2130706433/",
        "https://0x7f.1/",
        "https://[::1]/",
        "https://[::ffff:10.0.0.1]/",
        "https://localhost:8443/",
        "https://api.localhost./",
        "https://169.254.169.254/latest/meta-data/",
        "https://10.1.2.3/",
        "https://134744072/",
        "https://8.8.2056/",
        "https://0010.8.8.8/",
        "https:\\\\hooks.example.com/",
        " https://hooks.example.com/",
        "https://hooks.example.com/a b",
        "https://hooks.exa\nmple.com/",
        "https:/hooks.example.com@10.0.0.1/",
        "https://./",
        "https://",
        &format!("https://hooks.example.com/{}", "x".repeat(2048)),
    ] {
        let error = create(&world.engine, &world.caller, to(url)).await.unwrap_err();
        assert_eq!(fields(&error), ["url"], "{url}");
    }
    let longest = format!("https://hooks.example.com/{}", "x".repeat(2048 - 26));
    for url in [PLACE, "https://8.8.8.8:8443/x", "HTTPS://Hooks.Example.com:8443/?a=b", &longest] {
        let (made, _) = create(&world.engine, &world.caller, to(url)).await.unwrap();
        assert_eq!(made.url, url);
    }
}

#[tokio::test]
async fn a_listed_place_is_open_at_its_exact_port() {
    let listed = Egress::new(vec![HostPort::parse("127.0.0.1:18902").unwrap()]);
    let transport = Arc::new(ReqwestTransport::new(listed).unwrap());
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let engine = Engine::builder(transport).store(store, keyring()).build().await.unwrap();
    let caller = owner("acme");
    for url in ["http://127.0.0.1:18902/hook", "https://127.0.0.1:18902/"] {
        create(&engine, &caller, to(url)).await.unwrap();
    }
    for url in ["http://127.0.0.1:18901/", "https://localhost:18902/", "https://0x7f.1:18902/"] {
        let error = create(&engine, &caller, to(url)).await.unwrap_err();
        assert_eq!(fields(&error), ["url"], "{url}");
    }
}

#[tokio::test]
async fn every_problem_of_a_webhook_is_named() {
    let world = World::new().await;
    let wanted = NewWebhook {
        tool_ids: vec!["desk-get-item".into(), "desk-get-item".into()],
        secret: Some("whsec_short".into()),
        ..NewWebhook::new("http://a", Vec::new())
    };
    let error = create(&world.engine, &world.caller, wanted).await.unwrap_err();
    assert_eq!(fields(&error), ["url", "events", "tool_ids", "secret"]);
    for events in [vec![Event::ExecutionFailed; 2], vec![Event::Test]] {
        let wanted = NewWebhook::new(PLACE, events);
        let error = create(&world.engine, &world.caller, wanted).await.unwrap_err();
        assert_eq!(fields(&error), ["events"]);
    }
}

#[tokio::test]
async fn a_webhook_names_tools_that_there_are() {
    let world = World::new().await;
    let naming = |ids: &[&str]| NewWebhook {
        tool_ids: ids.iter().map(ToString::to_string).collect(),
        ..to(PLACE)
    };
    let known = ["desk-get-item", "open_get_item"];
    let (made, _) = create(&world.engine, &world.caller, naming(&known)).await.unwrap();
    assert_eq!(made.tool_ids, ["desk-get-item", "open-get-item"]);
    let (one, other) = ("desk-get-item", "desk_get_item");
    for wrong in [&["desk-get"][..], &[one, "no"], &[one, one], &[one, other], &[""; 101]] {
        let error = create(&world.engine, &world.caller, naming(wrong)).await.unwrap_err();
        assert_eq!(fields(&error), ["tool_ids"], "{wrong:?}");
    }
}

#[tokio::test]
async fn a_caller_may_bring_a_secret() {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let world = World::new().await;
    let secret = |bytes: usize| format!("whsec_{}", STANDARD.encode(vec![7; bytes]));
    for bytes in [24, 25, 32, 64] {
        let wanted = NewWebhook { secret: Some(secret(bytes).into()), ..to(PLACE) };
        let (made, shown) = create(&world.engine, &world.caller, wanted).await.unwrap();
        assert_eq!(shown.expose_secret(), secret(bytes));
        let opened = world.engine.webhooks().secret(&made).unwrap();
        assert_eq!(opened.expose_secret(), secret(bytes));
    }
    let bare = STANDARD.encode([7; 32]);
    for wrong in [secret(23), secret(65), bare, "whsec_".into(), "whsec_\u{fc}".into()] {
        let wanted = NewWebhook { secret: Some(wrong.into()), ..to(PLACE) };
        let error = create(&world.engine, &world.caller, wanted).await.unwrap_err();
        assert_eq!(fields(&error), ["secret"]);
    }
}

#[tokio::test]
async fn a_foreign_webhook_can_be_neither_seen_nor_deleted() {
    let world = World::new().await;
    let (ann, bob) = (acting_for(&world.caller, "ann"), acting_for(&world.caller, "bob"));
    let (mine, _) = create(&world.engine, &world.caller, to(PLACE)).await.unwrap();
    let (anns, _) = create(&world.engine, &ann, to(PLACE)).await.unwrap();
    assert_eq!(anns.user, ann.user);
    let webhooks = world.engine.webhooks();
    for (caller, id) in [(&owner("rival"), mine.id), (&ann, mine.id), (&bob, anns.id)] {
        let error = webhooks.delete(caller, id).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(!webhooks.list(caller).await.unwrap().iter().any(|webhook| webhook.id == id));
    }
    assert_eq!(webhooks.list(&world.caller).await.unwrap().len(), 2);
    webhooks.delete(&ann, anns.id).await.unwrap();
    webhooks.delete(&world.caller, mine.id).await.unwrap();
    assert_eq!(webhooks.list(&world.caller).await.unwrap(), []);
    assert_eq!(world.events().await[0], "webhook.deleted");
}

#[tokio::test]
async fn an_owner_has_a_hundred_webhooks_at_most() {
    let world = World::new().await;
    for _ in 0..100 {
        create(&world.engine, &world.caller, to(PLACE)).await.unwrap();
    }
    let error = create(&world.engine, &world.caller, to(PLACE)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PlanLimit);
    create(&world.engine, &owner("rival"), to(PLACE)).await.unwrap();
}
