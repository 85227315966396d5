//! Cases: the outbox.

use std::{collections::HashSet, sync::Arc, time::Duration};

use super::{
    fixture::{
        acme, at, at_once, cancelled, claim_one, done, ended, enqueue, given_back, kept_connection,
        queued, rival, run, sealed, slug, user,
    },
    webhook::webhook,
};
use crate::{
    id::{ExecutionId, WebhookId},
    name::ActionName,
    record::{
        connection::{Connection, Status},
        delivery::{Claim, Claimed, Delivery, Next, Rooms, Settled, State, Subject},
        execution::{Execution, Recorded},
        run::Worker,
        scope::Scopes,
        webhook::{Change, Disabled, Event, Subscription},
    },
    store::{DeliveryFilter, Store},
};

/// A subscription of acme to everything, which is kept.
async fn subscribed(store: &dyn Store, seconds: i64) -> Subscription {
    let webhook = Subscription { events: Event::ALL.to_vec(), ..webhook(seconds) };
    assert!(store.insert_webhook(&webhook, 99).await.unwrap());
    webhook
}

/// A test message to a subscription, made at `seconds`, which is kept.
async fn message(store: &dyn Store, to: &Subscription, seconds: i64) -> Delivery {
    let made = Delivery::new(to, Event::Test, Subject::Webhook(to.id), at(seconds)).unwrap();
    store.insert_delivery(&made).await.unwrap();
    made
}

fn want(seconds: i64, rooms: Rooms) -> Claim {
    let (now, until) = (at(seconds), at(seconds + 60));
    Claim { worker: Worker("one".into()), now, until, rooms, after: None }
}

async fn claim(store: &dyn Store, seconds: i64) -> Vec<Claimed> {
    store.claim_deliveries(&want(seconds, Rooms::new(99, 99, 99))).await.unwrap()
}

fn settled(claimed: &Claimed, seconds: i64, next: Next) -> Settled {
    let (lease, at) = (claimed.lease.clone(), at(seconds));
    Settled { lease, at, status: Some(500), error: Some("no".into()), next }
}

async fn settle(store: &dyn Store, settled: Settled) -> bool {
    store.settle_deliveries(&[settled]).await.unwrap() == [true]
}

async fn to(store: &dyn Store, webhook: WebhookId) -> Vec<Delivery> {
    let filter = DeliveryFilter { limit: 1_000, ..DeliveryFilter::default() };
    store.deliveries(&acme(), webhook, &filter).await.unwrap().0
}

/// What a subscription was told of runs, the newest first.
async fn told(store: &dyn Store, webhook: WebhookId) -> Vec<(Event, ExecutionId)> {
    let run = |delivery: Delivery| {
        let Subject::Run(id) = delivery.subject else { panic!("a message about no run") };
        (delivery.event, id)
    };
    to(store, webhook).await.into_iter().map(run).collect()
}

pub(super) async fn a_run_is_announced_once_however_it_ends(store: Arc<dyn Store>) {
    let to = subscribed(&*store, 0).await.id;
    let mut expected = Vec::new();
    // Recorded after the fact, in two ways; a second record of the end is none.
    let bare = ended(&run(1));
    store.record(&[Recorded::bare(bare.clone())]).await.unwrap();
    let begun = run(2);
    store.begin(&begun, None, at(100)).await.unwrap();
    let failed = Execution { state: crate::record::execution::State::Error, ..ended(&begun) };
    for _ in 0..2 {
        store.record(&[Recorded::bare(failed.clone())]).await.unwrap();
    }
    expected.push((Event::ExecutionCompleted, bare.id));
    expected.push((Event::ExecutionFailed, begun.id));
    // Out of the queue: given back, ended, stopped.
    for seconds in [3, 4] {
        let asked = enqueue(&*store, &[queued(seconds)]).await.remove(0);
        let first = claim_one(&*store, seconds).await;
        assert_eq!(store.finish(&[given_back(&first, seconds)]).await.unwrap(), [true]);
        if seconds == 3 {
            let again = claim_one(&*store, seconds).await;
            assert_eq!(store.finish(&[done(&again, seconds)]).await.unwrap(), [true]);
            assert_eq!(store.finish(&[done(&again, seconds)]).await.unwrap(), [false]);
            expected.push((Event::ExecutionCompleted, asked.id));
        }
        let end = cancelled(&asked, seconds);
        assert!(store.end(&end, Some(&sealed("x"))).await.unwrap().is_some());
        if seconds == 4 {
            expected.push((Event::ExecutionFailed, asked.id));
        }
    }
    // What another run asked for is a part of that.
    let part = Execution { parent: Some(bare.id), ..ended(&run(5)) };
    store.record(&[Recorded::bare(part)]).await.unwrap();
    let mut told = told(&*store, to).await;
    told.sort();
    expected.sort();
    assert_eq!(told, expected);
    let first = self::to(&*store, to).await.pop().unwrap();
    assert_eq!((first.state, first.attempts, first.created_at), (State::Waiting, 0, at(2)));
    assert_eq!(first.due_at, Some(first.created_at));
}

pub(super) async fn runs_that_are_recorded_together_are_each_announced(store: Arc<dyn Store>) {
    let to = subscribed(&*store, 0).await.id;
    let runs: Vec<_> = (0..100).map(|seconds| ended(&run(seconds))).collect();
    let recorded: Vec<_> = runs.iter().cloned().map(Recorded::bare).collect();
    store.record(&recorded).await.unwrap();
    let told = told(&*store, to).await.into_iter().map(|(_, id)| id).collect::<HashSet<_>>();
    assert_eq!(told, runs.iter().map(|run| run.id).collect::<HashSet<_>>());
}

pub(super) async fn nobody_is_told_what_is_not_theirs(store: Arc<dyn Store>) {
    let (mine, other) = (run(0).action, ActionName { namespace: slug("x"), name: slug("y") });
    let wishes = [
        (true, webhook(0)),
        (false, Subscription { owner: rival(), ..webhook(1) }),
        (false, Subscription { events: vec![Event::ExecutionCompleted], ..webhook(2) }),
        (true, Subscription { user: user("ann"), ..webhook(3) }),
        (false, Subscription { user: user("bob"), ..webhook(4) }),
        (true, Subscription { actions: vec![other.clone(), mine], ..webhook(5) }),
        (false, Subscription { actions: vec![other], ..webhook(6) }),
        (true, Subscription { scopes: Scopes::parse(["github"]).unwrap(), ..webhook(7) }),
        (false, Subscription { scopes: Scopes::parse(["webhooks"]).unwrap(), ..webhook(8) }),
        (
            false,
            Subscription {
                disabled: Some(Disabled { at: at(0), reason: String::new() }),
                ..webhook(9)
            },
        ),
    ];
    for (_, wish) in &wishes {
        assert!(store.insert_webhook(wish, 99).await.unwrap());
    }
    let failed = Execution {
        state: crate::record::execution::State::Error,
        user: user("ann"),
        ..ended(&run(20))
    };
    store.record(&[Recorded::bare(failed)]).await.unwrap();
    for (is_told, wish) in wishes {
        let filter = DeliveryFilter::default();
        let (found, total) = store.deliveries(&wish.owner, wish.id, &filter).await.unwrap();
        assert_eq!((found.len(), total), (usize::from(is_told), u64::from(is_told)), "{wish:?}");
    }
}

pub(super) async fn a_connection_is_announced_when_it_works_expires_and_goes(
    store: Arc<dyn Store>,
) {
    let webhook = subscribed(&*store, 0).await;
    let connection = kept_connection(&*store, 1).await;
    for (seconds, status) in [
        (2, Status::Error),
        (3, Status::Connected),
        (4, Status::Connected),
        (5, Status::Expired),
        (6, Status::Connected),
    ] {
        let label = Some(format!("at {seconds}"));
        let (updated_at, known) = (at(seconds), connection.clone());
        let changed = Connection { status, label, updated_at, ..known };
        assert!(store.update_connection(&changed).await.unwrap());
    }
    assert!(store.delete_connection(&acme(), connection.id, at(7)).await.unwrap());
    assert!(!store.delete_connection(&acme(), connection.id, at(8)).await.unwrap());
    let pending = kept_connection(&*store, 9).await;
    assert!(store.delete_connection(&acme(), pending.id, at(10)).await.unwrap());
    let told = to(&*store, webhook.id).await.into_iter().rev().map(|delivery| {
        let Subject::Connection(facts) = delivery.subject else { panic!("no connection") };
        assert_eq!((facts.id, facts.integration), (connection.id, slug("github")));
        (delivery.event, delivery.created_at, facts.label.unwrap())
    });
    let expected = [
        (Event::ConnectionCreated, at(3), "at 3".to_owned()),
        (Event::ConnectionExpired, at(5), "at 5".to_owned()),
        (Event::ConnectionDeleted, at(7), "at 6".to_owned()),
    ];
    assert_eq!(told.collect::<Vec<_>>(), expected);
}

pub(super) async fn a_delivery_is_claimed_once_and_settled_by_its_holder(store: Arc<dyn Store>) {
    let webhook = subscribed(&*store, 0).await;
    let sent = message(&*store, &webhook, 1).await;
    assert_eq!(store.next_delivery(at(5)).await.unwrap(), Some(at(5)));
    let claimed = claim(&*store, 5).await.remove(0);
    assert_eq!(claimed.subscription, Some(webhook.clone()));
    assert_eq!((claimed.delivery.attempts, claimed.delivery.due_at), (1, None));
    assert_eq!(claim(&*store, 6).await, []);
    let mut foreign = settled(&claimed, 7, Next::Delivered);
    foreign.lease.worker = Worker("another".into());
    assert!(!settle(&*store, foreign).await);
    assert!(settle(&*store, settled(&claimed, 7, Next::Again(at(20)))).await);
    assert!(!settle(&*store, settled(&claimed, 8, Next::Delivered)).await);
    let waits = Delivery {
        attempts: 1,
        due_at: Some(at(20)),
        status: Some(500),
        error: Some("no".into()),
        attempted_at: Some(at(7)),
        ..sent
    };
    assert_eq!(to(&*store, webhook.id).await, std::slice::from_ref(&waits));
    assert_eq!(store.next_delivery(at(8)).await.unwrap(), Some(at(20)));
    assert_eq!(claim(&*store, 19).await, []);
    let undone = claim(&*store, 20).await.remove(0);
    assert!(settle(&*store, settled(&undone, 21, Next::Undone)).await);
    let due_at = Some(at(21));
    assert_eq!(to(&*store, webhook.id).await, [Delivery { due_at, ..waits }]);
    let last = claim(&*store, 22).await.remove(0);
    assert_eq!(last.delivery.attempts, 2);
    let arrived = Settled { status: Some(204), error: None, ..settled(&last, 23, Next::Delivered) };
    assert!(settle(&*store, arrived).await);
    let arrived = to(&*store, webhook.id).await.remove(0);
    assert_eq!((arrived.state, arrived.status, arrived.error), (State::Delivered, Some(204), None));
    assert_eq!((arrived.ended_at, arrived.due_at), (Some(at(23)), None));
    assert_eq!(store.next_delivery(at(99)).await.unwrap(), None);
}

pub(super) async fn a_delivery_that_is_lost_is_due_again(store: Arc<dyn Store>) {
    let webhook = subscribed(&*store, 0).await;
    message(&*store, &webhook, 1).await;
    let lost = claim(&*store, 5).await.remove(0);
    assert_eq!(store.next_delivery(at(5)).await.unwrap(), Some(at(65)));
    assert_eq!(claim(&*store, 64).await, []);
    let again = claim(&*store, 65).await.remove(0);
    assert_eq!((again.delivery.id, again.delivery.attempts), (lost.delivery.id, 2));
    assert!(lost.lease.fencing < again.lease.fencing);
    assert!(!settle(&*store, settled(&lost, 66, Next::Dead)).await);
    assert!(settle(&*store, settled(&again, 66, Next::Delivered)).await);
}

pub(super) async fn adopted_deliveries_are_due_at_once(store: Arc<dyn Store>) {
    let webhook = subscribed(&*store, 0).await;
    for seconds in [1, 2] {
        message(&*store, &webhook, seconds).await;
    }
    let [first, second] = <[Claimed; 2]>::try_from(claim(&*store, 5).await).unwrap();
    assert!(settle(&*store, settled(&second, 6, Next::Again(at(500)))).await);
    assert_eq!(store.adopt_deliveries(at(7)).await.unwrap(), 1);
    let again = claim(&*store, 7).await;
    assert_eq!(again.len(), 1, "what waits for its time still does");
    assert_eq!(again[0].delivery.id, first.delivery.id);
}

pub(super) async fn endpoints_take_turns(store: Arc<dyn Store>) {
    let mut webhooks = Vec::new();
    for seconds in 0..3 {
        webhooks.push(subscribed(&*store, seconds).await);
    }
    for seconds in 10..14 {
        for webhook in &webhooks[..2] {
            message(&*store, webhook, seconds).await;
        }
    }
    message(&*store, &webhooks[2], 20).await;
    let turns = |claimed: &[Claimed]| {
        let at = |claimed: &Claimed| {
            webhooks.iter().position(|webhook| Some(webhook.id) == claimed.delivery.webhook)
        };
        claimed.iter().map(|claimed| at(claimed).unwrap()).collect::<Vec<_>>()
    };
    let after = Some(webhooks[0].id.to_string());
    let behind = Claim { after, ..want(30, Rooms::new(4, 99, 99)) };
    let first = store.claim_deliveries(&behind).await.unwrap();
    assert_eq!(turns(&first), [1, 2, 0, 1]);
    assert!(first[0].delivery.created_at <= first[3].delivery.created_at, "the oldest goes first");
    let rest = claim(&*store, 31).await;
    assert_eq!(turns(&rest), [0, 1, 0, 1, 0]);
}

pub(super) async fn a_broken_endpoint_holds_up_nobody_else(store: Arc<dyn Store>) {
    let (broken, good) = (subscribed(&*store, 0).await, subscribed(&*store, 1).await);
    let elsewhere = Subscription { owner: rival(), ..webhook(2) };
    assert!(store.insert_webhook(&elsewhere, 9).await.unwrap());
    for seconds in 10..20 {
        for webhook in [&broken, &good, &elsewhere] {
            message(&*store, webhook, seconds).await;
        }
    }
    let mut rooms = Rooms::new(9, 4, 5);
    rooms.doubt(&acme(), &broken.id.to_string());
    let claimed = store.claim_deliveries(&want(30, rooms.clone())).await.unwrap();
    let count = |webhook: &Subscription| {
        claimed.iter().filter(|claimed| claimed.delivery.webhook == Some(webhook.id)).count()
    };
    assert_eq!((count(&broken), count(&good), count(&elsewhere)), (1, 4, 4));
    for claimed in &claimed {
        assert!(rooms.take(&claimed.delivery.owner, &claimed.delivery.endpoint));
    }
    assert_eq!(store.claim_deliveries(&want(31, rooms.clone())).await.unwrap(), []);
    rooms.give(&acme(), &good.id.to_string());
    let claimed = store.claim_deliveries(&want(32, rooms)).await.unwrap();
    assert_eq!(claimed.len(), 1);
    assert_eq!(claimed[0].delivery.webhook, Some(good.id));
}

pub(super) async fn many_claimers_never_get_the_same_delivery(store: Arc<dyn Store>) {
    let webhook = subscribed(&*store, 0).await;
    for seconds in 0..40 {
        message(&*store, &webhook, seconds).await;
    }
    let claimed = at_once(&store, 20, async |store, n| {
        let worker = Worker(format!("worker {n}"));
        let want = Claim { worker, ..want(50, Rooms::new(3, 3, 3)) };
        store.claim_deliveries(&want).await.unwrap()
    });
    let claimed = claimed.await.concat();
    let ids = claimed.iter().map(|claimed| claimed.delivery.id).collect::<HashSet<_>>();
    assert_eq!((claimed.len(), ids.len()), (40, 40));
}

pub(super) async fn deliveries_are_listed_the_newest_first(store: Arc<dyn Store>) {
    let webhook = subscribed(&*store, 0).await;
    let mut sent = Vec::new();
    for seconds in 1..5 {
        sent.push(message(&*store, &webhook, seconds).await);
    }
    sent.reverse();
    assert_eq!(to(&*store, webhook.id).await, sent);
    let page = DeliveryFilter { limit: 2, offset: 1, ..DeliveryFilter::default() };
    let found = store.deliveries(&acme(), webhook.id, &page).await.unwrap();
    assert_eq!(found, (sent[1..3].to_vec(), 4));
    let claimed = claim(&*store, 9).await;
    assert!(settle(&*store, settled(&claimed[0], 9, Next::Dead)).await);
    let dead = DeliveryFilter { state: Some(State::Dead), ..DeliveryFilter::default() };
    let (found, total) = store.deliveries(&acme(), webhook.id, &dead).await.unwrap();
    assert_eq!((found.len(), total, found[0].id), (1, 1, claimed[0].delivery.id));
}

pub(super) async fn another_owners_delivery_acts_like_a_missing_one(store: Arc<dyn Store>) {
    let webhook = subscribed(&*store, 0).await;
    let sent = message(&*store, &webhook, 1).await;
    let filter = DeliveryFilter::default();
    assert_eq!(store.deliveries(&rival(), webhook.id, &filter).await.unwrap(), (Vec::new(), 0));
    let other = subscribed(&*store, 2).await;
    for (owner, webhook) in [(rival(), webhook.id), (acme(), other.id)] {
        let revived = store.revive_delivery(&owner, (webhook, sent.id), at(9)).await.unwrap();
        assert_eq!(revived, None);
    }
    let claimed = claim(&*store, 5).await.remove(0);
    let mut foreign = settled(&claimed, 6, Next::Delivered);
    foreign.lease.owner = rival();
    assert!(!settle(&*store, foreign).await);
}

pub(super) async fn a_delivery_is_sent_again_by_hand(store: Arc<dyn Store>) {
    let webhook = subscribed(&*store, 0).await;
    let sent = message(&*store, &webhook, 1).await;
    let revive = async |seconds| {
        store.revive_delivery(&acme(), (webhook.id, sent.id), at(seconds)).await.unwrap().unwrap()
    };
    let held = claim(&*store, 5).await.remove(0);
    assert_eq!(revive(6).await.due_at, None, "it is under way");
    assert!(settle(&*store, settled(&held, 7, Next::Again(at(500)))).await);
    let waits = revive(8).await;
    assert_eq!((waits.due_at, waits.attempts), (Some(at(8)), 1));
    for end in [Next::Dead, Next::Delivered] {
        let last = claim(&*store, 10).await.remove(0);
        assert!(settle(&*store, settled(&last, 10, end)).await);
        assert_eq!(claim(&*store, 10).await, []);
        let again = revive(10).await;
        assert_eq!((again.state, again.attempts), (State::Waiting, 0));
        assert_eq!((again.due_at, again.ended_at), (Some(at(10)), None));
    }
    let change = Change::Disable(Disabled { at: at(11), reason: "gone".into() });
    assert!(store.change_webhook(&acme(), webhook.id, &change).await.unwrap());
    let claimed = claim(&*store, 12).await.remove(0);
    assert!(claimed.subscription.unwrap().disabled.is_some());
    assert!(store.delete_webhook(&acme(), webhook.id).await.unwrap());
    assert_eq!(store.adopt_deliveries(at(13)).await.unwrap(), 1);
    assert_eq!(claim(&*store, 13).await[0].subscription, None);
}

pub(super) async fn old_deliveries_are_pruned(store: Arc<dyn Store>) {
    let webhook = subscribed(&*store, 0).await;
    for seconds in 1..=5 {
        message(&*store, &webhook, seconds).await;
    }
    let claimed = claim(&*store, 10).await;
    for (n, next) in [(0, Next::Dead), (1, Next::Delivered), (2, Next::Delivered)] {
        let seconds = 10 + i64::try_from(n).unwrap();
        assert!(settle(&*store, settled(&claimed[n], seconds, next)).await);
    }
    assert_eq!(store.prune_deliveries(at(12), 1).await.unwrap(), 1);
    assert_eq!(store.prune_deliveries(at(12), 9).await.unwrap(), 1);
    assert_eq!(to(&*store, webhook.id).await.len(), 3);
}

pub(super) async fn what_is_kept_stirs_whoever_waits(store: Arc<dyn Store>) {
    let soon = Duration::from_secs(10);
    let stirred = async || tokio::time::timeout(soon, store.stirred()).await.is_ok();
    let webhook = subscribed(&*store, 0).await;
    let waiting = tokio::spawn({
        let store = store.clone();
        async move { tokio::time::timeout(soon, store.stirred()).await.is_ok() }
    });
    store.record(&[Recorded::bare(ended(&run(1)))]).await.unwrap();
    assert!(waiting.await.unwrap());
    // What came before anybody asked is not missed.
    let sent = message(&*store, &webhook, 2).await;
    assert!(stirred().await);
    store.revive_delivery(&acme(), (webhook.id, sent.id), at(9)).await.unwrap();
    assert!(stirred().await);
}
