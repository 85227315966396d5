//! Receivers that are slow, gone, endless or elsewhere: what they do to others, which is nothing.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::StreamExt;
use http::StatusCode;
use skill_core::{
    ErrorKind,
    clock::Deadline,
    record::{
        delivery::State,
        webhook::{Event, Subscription},
    },
    store::MemoryStore,
    transport::{
        Body, Outgoing, ReqwestTransport, Response, Transport,
        egress::{Egress, HostPort},
    },
    webhook::{NewWebhook, Settings},
};
use wiremock::{Mock, MockServer, ResponseTemplate, matchers::any};

use super::{
    super::{
        fixture::{World, call, keyring, owner},
        queue::{flowing, flowing_over},
        script::{json as answers, me, unreachable, with},
    },
    deliver::{HOOK, deliveries, messages, subscribed, until},
};

async fn to(world: &World, url: &str) -> Subscription {
    let wanted = NewWebhook::new(url, vec![Event::ExecutionCompleted]);
    let catalog = world.engine.catalog();
    world.engine.webhooks().create(&world.caller, wanted, &catalog).await.unwrap().0
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_is_gone_is_left_alone() {
    let world = flowing().await;
    let (webhook, _) = subscribed(&world, &world.caller).await;
    world.script.on(|sent| if sent.place() == HOOK { answers(410, "") } else { me() });
    let (webhooks, caller, id) = (world.engine.webhooks(), &world.caller, webhook.id);
    webhooks.test(caller, id).await.unwrap();
    until(&world, id, (1, State::Dead)).await;
    let disabled = webhooks.get(caller, id).await.unwrap().disabled.unwrap();
    assert_eq!(disabled.reason, "the receiver answered 410 Gone");
    world.run(call("open", "get_item").param("id", "7")).await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(messages(&world).len(), 1);
    assert_eq!(webhooks.test(caller, id).await.unwrap_err().kind(), ErrorKind::Conflict);
    let dead = deliveries(&world, id).await.remove(0).id;
    assert_eq!(webhooks.replay(caller, id, dead).await.unwrap_err().kind(), ErrorKind::Conflict);
    world.script.on(|_| me());
    let catalog = world.engine.catalog();
    let enabled = webhooks.enable(caller, id, &catalog).await.unwrap();
    assert_eq!(enabled.disabled, None);
    world.run(call("open", "get_item").param("id", "7")).await;
    until(&world, id, (1, State::Delivered)).await;
    let events = world.events().await;
    assert!(events.contains(&"webhook.disabled".to_owned()), "{events:?}");
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_webhook_that_is_disabled_or_deleted_is_dropped() {
    let world = flowing().await;
    let (webhook, _) = subscribed(&world, &world.caller).await;
    world.script.on(|_| answers(500, ""));
    let (webhooks, caller, id) = (world.engine.webhooks(), &world.caller, webhook.id);
    webhooks.test(caller, id).await.unwrap();
    world.sent_to(HOOK, 1).await;
    webhooks.disable(caller, id).await.unwrap();
    until(&world, id, (1, State::Dead)).await;
    let error = deliveries(&world, id).await.remove(0).error.unwrap();
    assert_eq!(error, "the webhook is disabled: it was disabled by hand");
    let (other, _) = subscribed(&world, caller).await;
    webhooks.test(caller, other.id).await.unwrap();
    world.sent_to(HOOK, 2).await;
    webhooks.delete(caller, other.id).await.unwrap();
    tokio::time::sleep(Duration::from_secs(48 * 3600)).await;
    assert_eq!(messages(&world).len(), 2);
    assert_eq!(world.store.next_delivery(jiff::Timestamp::MAX).await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_hangs_delays_nobody_else() {
    let world = flowing().await;
    let mut slow = Vec::new();
    for n in 0..20 {
        slow.push(to(&world, &format!("https://slow{n}.example.com/")).await);
    }
    let good = to(&world, &format!("https://{HOOK}")).await;
    world.script.play(|sent| async move {
        if sent.place().starts_with("slow") {
            std::future::pending::<()>().await;
        }
        me()
    });
    for webhook in &slow {
        for _ in 0..20 {
            world.engine.webhooks().test(&world.caller, webhook.id).await.unwrap();
        }
    }
    // By then everybody has seen that these are slow.
    tokio::time::sleep(Duration::from_secs(120)).await;
    for _ in 0..20 {
        let begun = tokio::time::Instant::now();
        let before = messages(&world).len();
        world.engine.webhooks().test(&world.caller, good.id).await.unwrap();
        world.sent_to(HOOK, before + 1).await;
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    }
    let attempts = deliveries(&world, slow[0].id).await;
    let late = attempts.iter().filter_map(|delivery| delivery.error.as_deref());
    assert!(late.clone().count() > 0);
    assert!(late.into_iter().all(|error| error == "the receiver did not answer in time"));
}

#[tokio::test(start_paused = true)]
async fn so_many_messages_are_under_way_to_one_endpoint_and_no_more() {
    let most = Settings { at_once_per_endpoint: 3, ..Settings::default() };
    let store = Arc::new(MemoryStore::new());
    let world = flowing_over(store, |builder| builder.webhooks(most.clone())).await;
    let webhook = to(&world, &format!("https://{HOOK}")).await;
    world.script.hang();
    for _ in 0..10 {
        world.engine.webhooks().test(&world.caller, webhook.id).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(14)).await;
    assert_eq!(messages(&world).len(), 3);
    tokio::time::sleep(Duration::from_secs(12)).await;
    assert_eq!(messages(&world).len(), 4, "one at a time where the last ones failed");
}

#[tokio::test(start_paused = true)]
async fn a_redirect_is_not_followed_and_a_silent_place_is_tried_again() {
    let world = flowing().await;
    let (webhook, _) = subscribed(&world, &world.caller).await;
    let elsewhere = with(answers(302, ""), "location", "https://evil.example.com/");
    world.script.queue([elsewhere, Err(unreachable()), me()]);
    world.engine.webhooks().test(&world.caller, webhook.id).await.unwrap();
    world.sent_to(HOOK, 1).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let failed = deliveries(&world, webhook.id).await.remove(0);
    let error = failed.error.unwrap();
    assert!(error.contains("redirects are not followed"), "{error}");
    until(&world, webhook.id, (1, State::Delivered)).await;
    assert_eq!(world.script.sent().len(), 3, "nothing went elsewhere");
}

/// Gives an endless answer, and counts what is read of it.
#[derive(Debug)]
struct Endless(Arc<std::sync::atomic::AtomicUsize>);

#[async_trait::async_trait]
impl Transport for Endless {
    async fn send(&self, _: Outgoing, _: Deadline) -> skill_core::Result<Response> {
        let read = self.0.clone();
        let chunks = futures_util::stream::repeat_with(move || {
            read.fetch_add(1024, std::sync::atomic::Ordering::Relaxed);
            Ok(Bytes::from(vec![b'x'; 1024]))
        });
        Ok(Response::new(StatusCode::OK, Body::Chunks(chunks.boxed())))
    }
}

#[tokio::test(start_paused = true)]
async fn an_endless_answer_is_read_to_64_kib() {
    let read = Arc::<std::sync::atomic::AtomicUsize>::default();
    let transport = Arc::new(Endless(read.clone()));
    let engine = skill_core::Engine::builder(transport).build().await.unwrap();
    let wanted = NewWebhook::new(&format!("https://{HOOK}"), vec![Event::ExecutionCompleted]);
    let caller = owner("acme");
    let (webhooks, catalog) = (engine.webhooks(), engine.catalog());
    let (webhook, _) = webhooks.create(&caller, wanted, &catalog).await.unwrap();
    webhooks.test(&caller, webhook.id).await.unwrap();
    loop {
        let (found, _) =
            webhooks.deliveries(&caller, webhook.id, &Default::default()).await.unwrap();
        if found[0].state == State::Delivered {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let read = read.load(std::sync::atomic::Ordering::Relaxed);
    assert!((64 * 1024..=66 * 1024).contains(&read), "{read}");
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_stops_lets_attempts_end_and_begins_none() {
    let world = flowing().await;
    let (webhook, _) = subscribed(&world, &world.caller).await;
    world.script.play(|_| async {
        tokio::time::sleep(Duration::from_secs(10)).await;
        me()
    });
    let webhooks = world.engine.webhooks().clone();
    webhooks.test(&world.caller, webhook.id).await.unwrap();
    world.sent_to(HOOK, 1).await;
    let stopping = world.engine.clone();
    let stopping = tokio::spawn(async move { stopping.stop().await });
    tokio::time::sleep(Duration::from_secs(1)).await;
    webhooks.test(&world.caller, webhook.id).await.unwrap();
    stopping.await.unwrap();
    let states = deliveries(&world, webhook.id).await;
    let states = states.iter().map(|delivery| (delivery.state, delivery.attempts));
    assert_eq!(states.collect::<Vec<_>>(), [(State::Waiting, 0), (State::Delivered, 1)]);
}

/// A name that led to a public place when the subscription was made, and now to this machine.
#[tokio::test]
async fn a_place_is_checked_again_when_it_is_called() {
    let server = MockServer::start().await;
    Mock::given(any()).respond_with(ResponseTemplate::new(204)).mount(&server).await;
    let door = HostPort::parse(&server.address().to_string()).unwrap();
    let store: Arc<dyn skill_core::store::Store> = Arc::new(MemoryStore::new());
    let engine = async |allow: Vec<HostPort>| {
        let transport = Arc::new(ReqwestTransport::new(Egress::new(allow)).unwrap());
        let builder = skill_core::Engine::builder(transport).store(store.clone(), keyring());
        builder.build().await.unwrap()
    };
    let caller = owner("acme");
    let open = engine(vec![door]).await;
    let wanted = NewWebhook::new(&server.uri(), vec![Event::ExecutionCompleted]);
    let (webhook, _) = open.webhooks().create(&caller, wanted, &open.catalog()).await.unwrap();
    open.stop().await;
    // The operator has closed the door since.
    let closed = engine(Vec::new()).await;
    closed.webhooks().test(&caller, webhook.id).await.unwrap();
    let failed = loop {
        let all = Default::default();
        let (found, _) = closed.webhooks().deliveries(&caller, webhook.id, &all).await.unwrap();
        if let Some(error) = &found[0].error {
            break error.clone();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(failed.starts_with("the receiver cannot be reached"), "{failed}");
    assert!(!failed.contains("127.0.0.1"), "{failed}");
    assert_eq!(server.received_requests().await.unwrap().len(), 0);
}
