//! Cases: runs that are queued.

use std::sync::Arc;

use super::fixture::{
    acme, at, at_once, cancelled, claim, claim_one, done, enqueue, kept, queued, queued_in, rival,
    run, sealed, slug, user,
};
use crate::{
    ErrorKind,
    id::{AppId, ConnectionId, ExecutionId, KeyId},
    name::Version,
    record::{
        execution::{Begun, Class, Execution, Idempotency, State},
        run::{Enqueue, Enqueued, Group, Lease, Work, Worker},
        scope::Scopes,
    },
    store::{ExecutionFilter, Store},
};

/// A key that ends at 600.
fn once() -> Option<Idempotency> {
    Some(Idempotency { key: "once".into(), inputs: [7; 32], expires_at: at(600) })
}

/// The same key with other inputs.
fn otherwise() -> Option<Idempotency> {
    once().map(|once| Idempotency { inputs: [8; 32], ..once })
}

fn under(idempotency: Option<Idempotency>, seconds: i64) -> Enqueue {
    Enqueue { idempotency, ..queued(seconds) }
}

/// Claimed by worker `one` on the way, for a minute.
fn at_work(asked: Enqueue) -> Enqueue {
    let until = asked.execution.created_at + std::time::Duration::from_secs(60);
    Enqueue { claimed: Some((Worker("one".into()), until)), ..asked }
}

async fn one(store: &dyn Store, asked: &Enqueue) -> Enqueued {
    store.enqueue(std::slice::from_ref(asked)).await.unwrap().remove(0)
}

pub(super) async fn a_queued_run_reads_back_as_it_was_kept(store: Arc<dyn Store>) {
    let plain = queued(0);
    let full = queued(1);
    let full = Enqueue {
        execution: Execution {
            user: user("ann"),
            key: Some(KeyId::fresh(at(0)).unwrap()),
            version: Some(Version::parse("v1.2").unwrap()),
            class: Class::Destructive,
            connection: Some(ConnectionId::fresh(at(0)).unwrap()),
            app: Some(AppId::fresh(at(0)).unwrap()),
            parent: Some(ExecutionId::fresh(at(0)).unwrap()),
            ..full.execution
        },
        work: Work {
            input: sealed("more"),
            scopes: Scopes::parse(["github", "gmail"]).unwrap(),
            tier: Some("pro".into()),
            priority: -7,
            group: Some(Group { name: "github/sync".into(), most: 3 }),
            ..full.work
        },
        ..full
    };
    enqueue(&*store, &[plain.clone(), full.clone()]).await;
    for asked in [&plain, &full] {
        assert_eq!(kept(&*store, asked.execution.id).await, asked.execution);
        let bodies = store.bodies(&acme(), asked.execution.id).await.unwrap();
        assert_eq!(bodies, (Some(asked.work.input.clone()), None));
    }
    let claimed = claim(&*store, 5, 9).await;
    for (claimed, asked) in claimed.iter().zip([plain, full]) {
        assert_eq!(claimed.work, asked.work);
        let (state, started_at) = (State::Running, Some(at(5)));
        let running = Execution { state, started_at, attempts: 1, ..asked.execution };
        assert_eq!(claimed.execution, running);
        assert_eq!(kept(&*store, running.id).await, running);
    }
    assert_eq!(claimed.len(), 2);
}

pub(super) async fn a_run_may_be_claimed_as_it_is_queued(store: Arc<dyn Store>) {
    let asked = at_work(queued(0));
    let run = &asked.execution;
    let worker = Worker("one".into());
    let lease = Lease { owner: acme(), id: run.id, worker, fencing: 1, until: at(60) };
    assert_eq!(one(&*store, &asked).await, Enqueued::New(Some(lease.clone())));
    let (state, started_at) = (State::Running, Some(at(0)));
    let running = Execution { state, started_at, attempts: 1, ..run.clone() };
    assert_eq!(kept(&*store, run.id).await, running);
    assert_eq!(claim(&*store, 59, 9).await, []);
    assert_eq!(store.extend(&[(lease, 5)], at(90)).await.unwrap(), [true]);
    assert_eq!(claim_one(&*store, 90).await.lease.fencing, 2);
}

pub(super) async fn a_run_that_has_to_wait_is_not_claimed_as_it_is_queued(store: Arc<dyn Store>) {
    let mut late = at_work(queued(0));
    late.work.run_at = at(1);
    let group = Some(Group { name: "sync".into(), most: 1 });
    let [mut first, mut second] = [at_work(queued(0)), at_work(queued(0))];
    (first.work.group, second.work.group) = (group.clone(), group);
    let made = store.enqueue(&[late.clone(), first, second.clone()]).await.unwrap();
    assert!(matches!(
        &made[..],
        [Enqueued::New(None), Enqueued::New(Some(_)), Enqueued::New(None)]
    ));
    for waits in [late, second] {
        assert_eq!(kept(&*store, waits.execution.id).await, waits.execution);
    }
}

pub(super) async fn all_runs_are_queued_or_none(store: Arc<dyn Store>) {
    let [first, second] = [queued(0), queued(1)];
    enqueue(&*store, std::slice::from_ref(&second)).await;
    let error = store.enqueue(&[first.clone(), second.clone()]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);
    assert_eq!(store.execution(&acme(), first.execution.id).await.unwrap(), None);
    let (page, total) = store.executions(&acme(), &ExecutionFilter::default()).await.unwrap();
    assert_eq!((page, total), (vec![second.execution], 1));
    assert_eq!(claim(&*store, 9, 9).await.len(), 1);
}

pub(super) async fn a_repeat_of_a_queued_run_is_the_same_run(store: Arc<dyn Store>) {
    let first = under(once(), 0);
    let id = first.execution.id;
    let asked = [first, under(once(), 1), under(otherwise(), 2)];
    let made = store.enqueue(&asked).await.unwrap();
    assert_eq!(made, [Enqueued::New(None), Enqueued::Same(id), Enqueued::Differs]);
    let claimed = claim_one(&*store, 9).await;
    assert_eq!(one(&*store, &under(once(), 10)).await, Enqueued::Same(id));
    assert_eq!(store.finish(&[done(&claimed, 10)]).await.unwrap(), [true]);
    assert_eq!(one(&*store, &under(once(), 11)).await, Enqueued::Same(id));
    assert_eq!(one(&*store, &under(otherwise(), 599)).await, Enqueued::Differs);
    assert_eq!(one(&*store, &under(otherwise(), 600)).await, Enqueued::New(None));
    let foreign = Enqueue { idempotency: once(), ..queued_in(rival(), "github", 1) };
    assert_eq!(one(&*store, &foreign).await, Enqueued::New(None));
}

pub(super) async fn a_repeat_is_found_where_the_queue_is_full(store: Arc<dyn Store>) {
    let first = under(once(), 0);
    let id = first.execution.id;
    enqueue(&*store, &[first]).await;
    let most_queued = 1;
    let again = Enqueue { most_queued, ..under(once(), 1) };
    assert_eq!(one(&*store, &again).await, Enqueued::Same(id));
    let other = Enqueue { most_queued, ..queued(1) };
    assert_eq!(one(&*store, &other).await, Enqueued::Full);
}

pub(super) async fn a_queued_run_and_a_begun_one_share_their_keys(store: Arc<dyn Store>) {
    let asked = under(once(), 0);
    let id = asked.execution.id;
    enqueue(&*store, &[asked]).await;
    let begin = async |seconds, asked: Option<Idempotency>| {
        store.begin(&run(seconds), asked.as_ref(), at(900)).await.unwrap()
    };
    assert_eq!(begin(1, once()).await, Begun::Running(id));
    assert_eq!(begin(1, otherwise()).await, Begun::Differs);
    let claimed = claim_one(&*store, 2).await;
    assert_eq!(begin(3, once()).await, Begun::Running(id));
    assert_eq!(store.finish(&[done(&claimed, 4)]).await.unwrap(), [true]);
    assert_eq!(begin(5, once()).await, Begun::Same(id, sealed("outcome")));
    let begun = run(700);
    assert_eq!(store.begin(&begun, once().as_ref(), at(900)).await.unwrap(), Begun::New);
    let later = once().map(|once| Idempotency { expires_at: at(2000), ..once });
    assert_eq!(one(&*store, &under(later, 701)).await, Enqueued::New(None));
}

pub(super) async fn a_begun_run_is_found_by_the_queue(store: Arc<dyn Store>) {
    let begun = run(0);
    assert_eq!(store.begin(&begun, once().as_ref(), at(900)).await.unwrap(), Begun::New);
    assert_eq!(one(&*store, &under(once(), 1)).await, Enqueued::Same(begun.id));
    assert_eq!(claim(&*store, 9, 9).await, []);
}

pub(super) async fn a_queued_run_that_ends_without_an_outcome_frees_its_key(store: Arc<dyn Store>) {
    let first = under(once(), 0);
    let run = enqueue(&*store, &[first]).await.remove(0);
    assert!(store.end(&cancelled(&run, 1), None).await.unwrap().is_some());
    assert_eq!(one(&*store, &under(otherwise(), 2)).await, Enqueued::New(None));
}

pub(super) async fn the_outcome_outlives_a_queued_run(store: Arc<dyn Store>) {
    let run = enqueue(&*store, &[under(once(), 0)]).await.remove(0);
    store.end(&cancelled(&run, 1), Some(&sealed("cancelled"))).await.unwrap();
    assert_eq!(store.prune(at(500), at(500), 10).await.unwrap(), 1);
    assert_eq!(one(&*store, &under(once(), 501)).await, Enqueued::Same(run.id));
    let repeat = super::fixture::run(501);
    let found = store.begin(&repeat, once().as_ref(), at(900)).await.unwrap();
    assert_eq!(found, Begun::Same(run.id, sealed("cancelled")));
}

pub(super) async fn the_depth_is_each_owners(store: Arc<dyn Store>) {
    let capped = |asked| Enqueue { most_queued: 2, ..asked };
    let three = [0, 1, 2].map(|n| capped(queued(n)));
    let made = store.enqueue(&three).await.unwrap();
    assert_eq!(made, [Enqueued::New(None), Enqueued::New(None), Enqueued::Full]);
    let refused = three[2].execution.id;
    assert_eq!(store.execution(&acme(), refused).await.unwrap(), None);
    let other = capped(queued_in(acme(), "gitlab", 3));
    assert_eq!(one(&*store, &other).await, Enqueued::Full);
    let foreign = capped(queued_in(rival(), "github", 3));
    assert_eq!(one(&*store, &foreign).await, Enqueued::New(None));
    let at_once = at_work(capped(queued(3)));
    assert!(matches!(one(&*store, &at_once).await, Enqueued::New(Some(_))));
    assert_eq!(one(&*store, &capped(queued(3))).await, Enqueued::Full);
    assert_eq!(claim(&*store, 9, 1).await.len(), 1);
    assert_eq!(one(&*store, &capped(queued(4))).await, Enqueued::New(None));
    assert_eq!(one(&*store, &capped(queued(5))).await, Enqueued::Full);
    let waits = ExecutionFilter { state: Some(State::Queued), ..ExecutionFilter::default() };
    let (page, _) = store.executions(&acme(), &waits).await.unwrap();
    store.end(&cancelled(&page[0], 6), None).await.unwrap();
    assert_eq!(one(&*store, &capped(queued(6))).await, Enqueued::New(None));
}

pub(super) async fn parallel_repeats_queue_one_run(store: Arc<dyn Store>) {
    let made = at_once(&store, 50, async |store, n| one(&*store, &under(once(), n)).await).await;
    assert_eq!(made.iter().filter(|made| **made == Enqueued::New(None)).count(), 1);
    let run = claim_one(&*store, 60).await;
    let same = Enqueued::Same(run.execution.id);
    assert_eq!(made.into_iter().filter(|made| *made == same).count(), 49);
}

pub(super) async fn parallel_submits_stop_at_the_depth(store: Arc<dyn Store>) {
    let made = at_once(&store, 50, async |store, n| {
        one(&*store, &Enqueue { most_queued: 20, ..queued(n) }).await
    });
    let made = made.await;
    assert_eq!(made.iter().filter(|made| **made == Enqueued::New(None)).count(), 20);
    assert_eq!(made.iter().filter(|made| **made == Enqueued::Full).count(), 30);
}

pub(super) async fn another_owners_queued_run_acts_like_a_missing_one(store: Arc<dyn Store>) {
    let run = enqueue(&*store, &[queued(0)]).await.remove(0);
    assert_eq!(store.execution(&rival(), run.id).await.unwrap(), None);
    assert_eq!(store.bodies(&rival(), run.id).await.unwrap(), (None, None));
    assert_eq!(store.steps(&rival(), run.id).await.unwrap(), []);
    let stolen = Execution { owner: rival(), ..cancelled(&run, 1) };
    assert_eq!(store.end(&stolen, None).await.unwrap(), None);
    let mut claimed = claim_one(&*store, 1).await;
    claimed.lease.owner = rival();
    assert_eq!(store.finish(&[done(&claimed, 2)]).await.unwrap(), [false]);
    assert!(!store.note_sent(&claimed.lease).await.unwrap());
    assert_eq!(store.extend(&[(claimed.lease, 9)], at(900)).await.unwrap(), [false]);
    let found = kept(&*store, run.id).await;
    assert_eq!(found, claimed.execution);
    assert_eq!(found.action.namespace, slug("github"));
}

pub(super) async fn a_failed_submit_counts_nothing(store: Arc<dyn Store>) {
    let first = queued(0);
    enqueue(&*store, std::slice::from_ref(&first)).await;
    let made = at_once(&store, 40, move |store, n| {
        let taken = first.clone();
        async move {
            match n % 2 {
                0 => store.enqueue(&[queued(n)]).await.is_ok(),
                _ => store.enqueue(&[queued(n), taken]).await.is_ok(),
            }
        }
    });
    assert_eq!(made.await.into_iter().filter(|is_made| *is_made).count(), 20);
    let all = ExecutionFilter { limit: 100, ..ExecutionFilter::default() };
    let (page, total) = store.executions(&acme(), &all).await.unwrap();
    assert_eq!((page.len(), total), (21, 21));
    let capped = |most_queued| Enqueue { most_queued, ..queued(50) };
    assert_eq!(one(&*store, &capped(21)).await, Enqueued::Full);
    assert_eq!(one(&*store, &capped(22)).await, Enqueued::New(None));
}
