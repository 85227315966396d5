//! What is delivered, to whom, when, and that it is nobody else's.

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use sha2::Sha256;
use skill_core::{
    ErrorKind,
    access::Caller,
    id::WebhookId,
    integration::{Overrides, declared},
    queue::Submission,
    record::{
        delivery::{Delivery, State},
        scope::Scopes,
        webhook::{Event, Subscription},
    },
    store::{DeliveryFilter, MemoryStore, Store},
    webhook::NewWebhook,
};

use super::super::{
    fixture::{World, acting_for, call, owner},
    queue::{admit, flowing, flowing_over},
    script::{Sent, json as answers, me, with},
    watched::Watched,
};

/// Where messages go, as the script sees it.
pub(crate) const HOOK: &str = "hooks.example.com/skill";

/// A subscription of the caller to everything.
pub(super) async fn subscribed(world: &World, caller: &Caller) -> (Subscription, SecretString) {
    let wanted = NewWebhook::new(&format!("https://{HOOK}"), Event::ALL.to_vec());
    let catalog = world.engine.catalog();
    world.engine.webhooks().create(caller, wanted, &catalog).await.unwrap()
}

pub(super) async fn deliveries(world: &World, id: WebhookId) -> Vec<Delivery> {
    let filter = DeliveryFilter::default();
    let webhooks = world.engine.webhooks();
    webhooks.deliveries(&world.caller, id, &filter).await.unwrap().0
}

/// Waits until so many deliveries to a subscription stand in this state.
pub(crate) async fn until(world: &World, id: WebhookId, (count, state): (usize, State)) {
    let mut pause = Duration::from_millis(20);
    loop {
        let found = deliveries(world, id).await;
        if found.iter().filter(|delivery| delivery.state == state).count() >= count {
            return;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(600));
    }
}

/// The messages that went out.
pub(crate) fn messages(world: &World) -> Vec<Sent> {
    world.script.sent().into_iter().filter(|sent| sent.place() == HOOK).collect()
}

fn mac(secret: &SecretString, text: &[u8]) -> Vec<u8> {
    let key = secret.expose_secret().strip_prefix("whsec_").unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(&STANDARD.decode(key).unwrap()).unwrap();
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

/// Whether one of a message's signatures is made with this secret.
fn is_signed(sent: &Sent, secret: &SecretString) -> bool {
    let [id, time] = ["webhook-id", "webhook-timestamp"].map(|name| sent.header(name).unwrap());
    let text = [format!("{id}.{time}.").as_bytes(), &sent.body[..]].concat();
    let expected = format!("v1,{}", STANDARD.encode(mac(secret, &text)));
    sent.header("webhook-signature").unwrap().split(' ').any(|one| one == expected)
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_run_is_told_at_once_and_signed() {
    let world = flowing().await;
    let (webhook, secret) = subscribed(&world, &world.caller).await;
    let run = world.run(call("open", "get_item").param("id", "7")).await.execution;
    until(&world, webhook.id, (1, State::Delivered)).await;
    let [sent] = <[Sent; 1]>::try_from(messages(&world)).unwrap();
    let id = run.id.to_string();
    let said = sent.json();
    let expected = json!({
        "type": "execution.completed",
        "timestamp": run.ended_at.unwrap().to_string(),
        "data": {
            "execution_id": id,
            "job_id": id.replace("exec_", "job_"),
            "tool_id": "open-get-item",
            "status": "success",
            "result": {"login": "ada"},
        },
    });
    assert_eq!(said, expected);
    assert!(is_signed(&sent, &secret));
    let plain = data_encoding::HEXLOWER.encode(&mac(&secret, &sent.body));
    assert_eq!(sent.header("x-webhook-signature"), Some(&*format!("sha256={plain}")));
    assert_eq!(sent.header("content-type"), Some("application/json"));
    let delivery = deliveries(&world, webhook.id).await.remove(0);
    assert_eq!(sent.header("webhook-id"), Some(&*delivery.id.to_string()));
    assert_eq!((delivery.attempts, delivery.status), (1, Some(200)));
    let took = delivery.attempted_at.unwrap().duration_since(delivery.created_at);
    assert!(took.as_secs() < 1, "{took}");
}

#[tokio::test(start_paused = true)]
async fn every_way_in_which_a_run_ends_is_told() {
    let world = flowing().await;
    let (webhook, _) = subscribed(&world, &world.caller).await;
    world.script.on(|sent| match sent.place().as_str() {
        "open.test/items" => answers(404, r#"{"why": "no"}"#),
        _ => me(),
    });
    let make = || call("open", "make_item").param("title", "x");
    // Queued and refused; called past the queue, well and not; stopped while it waits.
    let failed = world.run(make()).await.execution.id;
    let admitted = admit(&world.engine, &world.caller).await;
    let item = call("open", "get_item").param("id", "7");
    let good = world.engine.execute(&admitted, item).await.unwrap().execution;
    let bad = world.engine.execute(&admitted, make()).await.unwrap().execution;
    let late = Submission { delay: Some(Duration::from_secs(600)), ..Submission::new(make()) };
    let late = world.engine.runs().submit(&admitted, late).await.unwrap().id;
    world.engine.runs().cancel(&world.caller, late).await.unwrap();
    let refused = world.engine.execute(&admitted, call("open", "make_item")).await.unwrap_err();
    until(&world, webhook.id, (5, State::Delivered)).await;
    let told = messages(&world).into_iter().map(|sent| sent.json()).collect::<Vec<_>>();
    let of = |id: String| {
        let mut found = told.iter().filter(|said| said["data"]["execution_id"] == *id);
        let one = found.next().unwrap();
        assert!(found.next().is_none(), "told twice");
        (one["type"].as_str().unwrap(), one["data"].clone())
    };
    let (event, data) = of(failed.to_string());
    assert_eq!((event, &data["status"]), ("execution.failed", &json!("error")));
    let details = json!({"upstream_status": "404", "upstream_body": r#"{"why": "no"}"#});
    let message = "the service answered with status 404";
    let error = json!({"code": "action_failed", "message": message, "details": details});
    assert_eq!(data["error"], error);
    let (event, data) = of(good.to_string());
    assert_eq!((event, &data["result"]), ("execution.completed", &Value::Null), "not kept");
    let (event, data) = of(bad.to_string());
    assert_eq!((event, &data["error"]["code"]), ("execution.failed", &json!("action_failed")));
    let (event, data) = of(late.to_string());
    assert_eq!((event, &data["status"]), ("execution.failed", &json!("cancelled")));
    assert_eq!(data["error"]["code"], "cancelled");
    let (event, data) = of(refused.execution().unwrap().to_owned());
    assert_eq!((event, &data["error"]["code"]), ("execution.failed", &json!("invalid_input")));
}

#[tokio::test(start_paused = true)]
async fn a_message_is_tried_ten_times_over_a_day_and_can_be_sent_again() {
    let world = flowing().await;
    let (webhook, secret) = subscribed(&world, &world.caller).await;
    world.script.on(|sent| if sent.place() == HOOK { answers(503, "later") } else { me() });
    let begun = tokio::time::Instant::now();
    world.run(call("open", "get_item").param("id", "7")).await;
    until(&world, webhook.id, (1, State::Dead)).await;
    let hours = begun.elapsed().as_secs() / 3600;
    assert!((18..=28).contains(&hours), "{hours} h");
    let sent = messages(&world);
    assert_eq!(sent.len(), 10);
    let time = |sent: &Sent| sent.header("webhook-timestamp").unwrap().parse::<u64>().unwrap();
    for pair in sent.windows(2) {
        assert!(time(&pair[0]) < time(&pair[1]), "the time is that of the attempt");
        assert_eq!(pair[0].header("webhook-id"), pair[1].header("webhook-id"));
        assert_eq!(pair[0].body, pair[1].body);
    }
    assert!(sent.iter().all(|sent| is_signed(sent, &secret)));
    let dead = deliveries(&world, webhook.id).await.remove(0);
    assert_eq!((dead.attempts, dead.status), (10, Some(503)));
    assert_eq!(dead.error.as_deref(), Some("the receiver answered 503"));
    world.script.on(|_| me());
    let (webhooks, caller) = (world.engine.webhooks(), &world.caller);
    let again = webhooks.replay(caller, webhook.id, dead.id).await.unwrap();
    assert_eq!((again.id, again.state, again.attempts), (dead.id, State::Waiting, 0));
    until(&world, webhook.id, (1, State::Delivered)).await;
    let last = messages(&world).pop().unwrap();
    assert_eq!(last.header("webhook-id"), sent[0].header("webhook-id"));
    let stranger = webhooks.replay(&owner("rival"), webhook.id, dead.id).await.unwrap_err();
    assert_eq!(stranger.kind(), ErrorKind::NotFound);
}

#[tokio::test(start_paused = true)]
async fn a_receiver_says_when_to_come_again() {
    let world = flowing().await;
    let (webhook, _) = subscribed(&world, &world.caller).await;
    world.script.queue([with(answers(429, ""), "retry-after", "900"), me()]);
    let begun = tokio::time::Instant::now();
    world.engine.webhooks().test(&world.caller, webhook.id).await.unwrap();
    until(&world, webhook.id, (1, State::Delivered)).await;
    assert!(begun.elapsed() >= Duration::from_secs(900), "{:?}", begun.elapsed());
    let sent = messages(&world).pop().unwrap().json();
    assert_eq!(sent["type"], "webhook.test");
    assert_eq!(sent["data"], json!({"webhook_id": webhook.id.to_string()}));
}

#[tokio::test(start_paused = true)]
async fn a_replaced_secret_signs_as_well_until_its_end() {
    let world = flowing().await;
    let (webhook, old) = subscribed(&world, &world.caller).await;
    let (webhooks, caller, id) = (world.engine.webhooks(), &world.caller, webhook.id);
    let long = (None, Some(Duration::from_secs(8 * 24 * 3600)));
    let error = webhooks.rotate(caller, id, long).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let (_, new) = webhooks.rotate(caller, id, (None, None)).await.unwrap();
    webhooks.test(caller, id).await.unwrap();
    until(&world, id, (1, State::Delivered)).await;
    tokio::time::sleep(Duration::from_secs(25 * 3600)).await;
    webhooks.test(caller, id).await.unwrap();
    until(&world, id, (2, State::Delivered)).await;
    let [both, one] = <[Sent; 2]>::try_from(messages(&world)).unwrap();
    assert!(is_signed(&both, &old) && is_signed(&both, &new));
    assert!(!is_signed(&one, &old) && is_signed(&one, &new));
    let plain = data_encoding::HEXLOWER.encode(&mac(&new, &both.body));
    assert_eq!(both.header("x-webhook-signature"), Some(&*format!("sha256={plain}")));
    let events = world.events().await;
    assert!(events.contains(&"webhook.rotated".to_owned()), "{events:?}");
}

#[tokio::test(start_paused = true)]
async fn nobody_hears_of_what_they_may_not_see() {
    let world = flowing().await;
    let narrow = Caller { scopes: Scopes::parse(["webhooks"]).unwrap(), ..world.caller.clone() };
    let ann = acting_for(&world.caller, "ann");
    let (all, _) = subscribed(&world, &world.caller).await;
    let (nothing, _) = subscribed(&world, &narrow).await;
    let (hers, _) = subscribed(&world, &ann).await;
    let (theirs, _) = subscribed(&world, &owner("rival")).await;
    world.run(call("open", "get_item").param("id", "7")).await;
    until(&world, all.id, (1, State::Delivered)).await;
    for webhook in [nothing, hers, theirs] {
        let filter = DeliveryFilter::default();
        let (found, _) = world.store.deliveries(&webhook.owner, webhook.id, &filter).await.unwrap();
        assert_eq!(found, []);
    }
}

#[tokio::test(start_paused = true)]
async fn what_becomes_of_a_connection_is_told() {
    let world = flowing().await;
    let (webhook, _) = subscribed(&world, &world.caller).await;
    world.script.on(|sent| match sent.place().as_str() {
        "auth.test/token" => answers(400, r#"{"error": "invalid_grant"}"#),
        "desk.test/items/7" => answers(401, "{}"),
        _ => me(),
    });
    let given = json!({"access_token": "a", "refresh_token": "r"});
    let connection = world.hand_over_as(&world.caller, "desk", (given, Some("work"))).await;
    let admitted = admit(&world.engine, &world.caller).await;
    let item = call("desk", "get_item").param("id", "7");
    let dead = world.engine.execute(&admitted, item).await.unwrap_err();
    assert_eq!(dead.kind(), ErrorKind::TokenExpired);
    world.engine.connector().disconnect(&world.caller, connection.id).await.unwrap();
    until(&world, webhook.id, (4, State::Delivered)).await;
    let data = json!({
        "connection_id": connection.id.to_string(), "integration": "desk", "label": "work",
        "user": null,
    });
    let delivered = deliveries(&world, webhook.id).await.into_iter().rev();
    let mut told = delivered.map(|delivery| delivery.event.as_str()).collect::<Vec<_>>();
    let mut expected =
        ["connection.created", "connection.expired", "execution.failed", "connection.deleted"];
    expected.sort_unstable();
    told.sort_unstable();
    assert_eq!(told, expected);
    let sent = messages(&world).into_iter().map(|sent| sent.json());
    let of_connections = sent.filter(|said| said["type"] != "execution.failed");
    // The first one may have been forgotten with the requests of connecting.
    assert!(of_connections.inspect(|said| assert_eq!(said["data"], data)).count() >= 2);
}

#[tokio::test(start_paused = true)]
async fn a_subscription_without_its_tool_hears_nothing_of_others() {
    let world = flowing().await;
    let wanted = NewWebhook {
        tool_ids: vec!["open-get-item".into()],
        ..NewWebhook::new(&format!("https://{HOOK}"), vec![Event::ExecutionCompleted])
    };
    let catalog = world.engine.catalog();
    let made = world.engine.webhooks().create(&world.caller, wanted, &catalog).await.unwrap();
    world.run(call("open", "make_item").param("title", "x")).await;
    let run = world.run(call("open", "get_item").param("id", "7")).await.execution;
    until(&world, made.0.id, (1, State::Delivered)).await;
    let told = messages(&world);
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].json()["data"]["execution_id"], run.id.to_string());
}

#[tokio::test(start_paused = true)]
async fn where_nobody_subscribes_nothing_is_claimed() {
    let store = Watched::new();
    let world = flowing_over(store.clone(), |builder| builder).await;
    subscribed(&world, &owner("rival")).await;
    for _ in 0..20 {
        world.run(call("open", "get_item").param("id", "7")).await;
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(store.count("claim_deliveries"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_its_process_lost_is_sent_by_the_next_one() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let world = flowing_over(store.clone(), |builder| builder).await;
    let (webhook, secret) = subscribed(&world, &world.caller).await;
    world.script.hang();
    world.engine.webhooks().test(&world.caller, webhook.id).await.unwrap();
    world.sent_to(HOOK, 1).await;
    let caller = world.caller.clone();
    drop(world);
    let next = flowing_over(store, |builder| builder).await;
    until(&next, webhook.id, (1, State::Delivered)).await;
    let sent = messages(&next).pop().unwrap();
    let delivery = deliveries(&next, webhook.id).await.remove(0);
    assert_eq!(sent.header("webhook-id"), Some(&*delivery.id.to_string()));
    assert!(is_signed(&sent, &secret));
    assert_eq!(delivery.attempts, 2);
    assert_eq!(next.engine.webhooks().list(&caller).await.unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn two_processes_send_each_message_once() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let world = flowing_over(store.clone(), |builder| builder).await;
    let other = flowing_over(store, |builder| builder).await;
    let (webhook, _) = subscribed(&world, &world.caller).await;
    for _ in 0..50 {
        world.engine.webhooks().test(&world.caller, webhook.id).await.unwrap();
    }
    until(&world, webhook.id, (50, State::Delivered)).await;
    assert_eq!(messages(&world).len() + messages(&other).len(), 50);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_arrived_is_not_sent_again_because_the_store_stumbles() {
    let store = Watched::new();
    let world = flowing_over(store.clone(), |builder| builder).await;
    let (webhook, _) = subscribed(&world, &world.caller).await;
    store.fail("settle_deliveries");
    world.engine.webhooks().test(&world.caller, webhook.id).await.unwrap();
    world.sent_to(HOOK, 1).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    store.heal("settle_deliveries");
    until(&world, webhook.id, (1, State::Delivered)).await;
    assert_eq!(messages(&world).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_long_result_is_read_where_the_run_is() {
    let world = flowing().await;
    let (webhook, _) = subscribed(&world, &world.caller).await;
    let long = format!("\"{}\"", "x".repeat(300 * 1024));
    let answer = long.clone();
    world.script.on(move |sent| if sent.place() == HOOK { me() } else { answers(200, &answer) });
    world.run(call("open", "get_item").param("id", "7")).await;
    until(&world, webhook.id, (1, State::Delivered)).await;
    let data = messages(&world).remove(0).json()["data"].clone();
    assert_eq!((&data["result"], &data["result_bytes"]), (&Value::Null, &json!(long.len())));
}

#[tokio::test(start_paused = true)]
async fn the_result_is_what_the_tool_returns() {
    let text = r#"
        name = "Shop"
        description = "For tests."
        base_url = "https://shop.test"
        [auth]
        scheme = "none"
        [endpoints.list]
        summary = "List"
        method = "GET"
        path = "/list"
        [endpoints.list.tool]
        id = "shop-count"
        outputs.count = { count = "", description = "How many there are." }
    "#;
    let shop = declared("shop.toml", text, &Overrides::default()).unwrap();
    let store = Arc::new(MemoryStore::new());
    let world = flowing_over(store, |builder| builder.integrations([shop.clone()])).await;
    let (webhook, _) = subscribed(&world, &world.caller).await;
    world.script.on(|sent| if sent.place() == HOOK { me() } else { answers(200, "[1, 2]") });
    world.run(call("shop", "list")).await;
    until(&world, webhook.id, (1, State::Delivered)).await;
    let data = messages(&world).remove(0).json()["data"].clone();
    assert_eq!((&data["tool_id"], &data["result"]), (&json!("shop-count"), &json!({"count": 2})));
}
