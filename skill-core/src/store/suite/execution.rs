//! Cases: executions.

use std::{sync::Arc, time::Duration};

use super::fixture::{acme, at, ended, kept_connection, key, rival, run, slug, user};
use crate::{
    ErrorKind,
    id::{AppId, ConnectionId, ExecutionId, KeyId},
    name::ActionName,
    record::{
        connection::Connection,
        execution::{Begun, Class, Execution, Recorded, State, Timing},
    },
    store::{ExecutionFilter, Store},
};

async fn listed(store: &dyn Store, filter: &ExecutionFilter) -> (Vec<ExecutionId>, u64) {
    let (page, total) = store.executions(&acme(), filter).await.unwrap();
    (page.into_iter().map(|run| run.id).collect(), total)
}

fn of(run: Execution, namespace: &str, state: State) -> Execution {
    let action = ActionName { namespace: slug(namespace), name: slug("act") };
    Execution { action, state, ..run }
}

/// A run of which everything is known.
fn full(seconds: i64) -> Execution {
    Execution {
        user: user("ann"),
        key: Some(KeyId::fresh(at(0)).unwrap()),
        action: ActionName { namespace: slug("my_crm"), name: slug("list-all_deals") },
        class: Class::Destructive,
        connection: Some(ConnectionId::fresh(at(0)).unwrap()),
        app: Some(AppId::fresh(at(0)).unwrap()),
        parent: Some(ExecutionId::fresh(at(0)).unwrap()),
        state: State::Error,
        attempts: 3,
        upstream_status: Some(502),
        error: Some(ErrorKind::UpstreamUnreachable),
        timing: Timing { total: Duration::from_micros(1), upstream: Duration::ZERO },
        ended_at: Some(at(9) + Duration::from_micros(7)),
        ..run(seconds)
    }
}

pub(super) async fn many_runs_are_kept_as_one_is(store: Arc<dyn Store>) {
    let runs: Vec<_> = (0..40).map(|n| if n % 2 == 0 { full(n) } else { ended(&run(n)) }).collect();
    let begun = Execution { state: State::Running, ended_at: None, ..runs[21].clone() };
    assert_eq!(store.begin(&begun, None, at(86_400)).await.unwrap(), Begun::New);
    store.record(&[Recorded::bare(runs[5].clone())]).await.unwrap();
    let later = Execution { attempts: 99, ..runs[5].clone() };
    let all = runs[..5].iter().chain([&later]).chain(&runs[6..]);
    store.record(&all.cloned().map(Recorded::bare).collect::<Vec<_>>()).await.unwrap();
    for kept in &runs {
        assert_eq!(store.execution(&acme(), kept.id).await.unwrap().as_ref(), Some(kept));
    }
    assert_eq!(listed(&*store, &ExecutionFilter::default()).await.1, 20, "no run within another");
}

pub(super) async fn a_run_reads_back_as_it_was_kept(store: Arc<dyn Store>) {
    for kept in [run(0), full(1), ended(&run(2))] {
        store.record(&[Recorded::bare(kept.clone())]).await.unwrap();
        let found = store.execution(&acme(), kept.id).await.unwrap().unwrap();
        assert_eq!(found, kept);
        assert_eq!(found.action.to_string(), kept.action.to_string());
        let filter = ExecutionFilter { parent: kept.parent, ..ExecutionFilter::default() };
        let (page, _) = store.executions(&acme(), &filter).await.unwrap();
        assert_eq!(page[0], kept);
    }
    let missing = ExecutionId::fresh(at(0)).unwrap();
    assert_eq!(store.execution(&acme(), missing).await.unwrap(), None);
}

pub(super) async fn a_begun_run_ends_once(store: Arc<dyn Store>) {
    let begun = run(0);
    assert_eq!(store.begin(&begun, None, at(86_400)).await.unwrap(), Begun::New);
    assert_eq!(store.execution(&acme(), begun.id).await.unwrap().as_ref(), Some(&begun));
    let error = store.begin(&begun, None, at(86_400)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);
    let first = ended(&begun);
    store.record(&[Recorded::bare(first.clone())]).await.unwrap();
    let second = Execution { state: State::Error, attempts: 9, ..first.clone() };
    store.record(&[Recorded::bare(second), Recorded::bare(ended(&run(1)))]).await.unwrap();
    assert_eq!(store.execution(&acme(), begun.id).await.unwrap(), Some(first));
    assert_eq!(listed(&*store, &ExecutionFilter::default()).await.1, 2);
}

pub(super) async fn runs_are_listed_the_newest_first(store: Arc<dyn Store>) {
    let runs: Vec<_> = (0..7).map(|n| ended(&run(n))).collect();
    for n in [4, 2, 6, 0, 5, 1, 3] {
        store.record(&[Recorded::bare(runs[n].clone())]).await.unwrap();
    }
    let newest: Vec<_> = runs.iter().rev().map(|run| run.id).collect();
    let all = ExecutionFilter::default();
    assert_eq!(listed(&*store, &all).await, (newest.clone(), 7));
    let page = ExecutionFilter { limit: 3, offset: 2, ..all.clone() };
    assert_eq!(listed(&*store, &page).await, (newest[2..5].to_vec(), 7));
    let last = ExecutionFilter { limit: 3, offset: 6, ..all.clone() };
    assert_eq!(listed(&*store, &last).await, (newest[6..].to_vec(), 7));
    let beyond = ExecutionFilter { offset: u64::MAX, ..all.clone() };
    assert_eq!(listed(&*store, &beyond).await, (vec![], 7));
    let none = ExecutionFilter { limit: 0, ..all };
    assert_eq!(listed(&*store, &none).await, (vec![], 7));
}

pub(super) async fn runs_are_counted_by_filter(store: Arc<dyn Store>) {
    let crm = of(run(0), "my_crm", State::Running);
    let failed = of(run(1), "my-crm", State::Error);
    let github = of(run(2), "github", State::Error);
    assert_eq!(store.begin(&crm, None, at(86_400)).await.unwrap(), Begun::New);
    store.record(&[Recorded::bare(failed.clone()), Recorded::bare(github.clone())]).await.unwrap();
    let filter = |state, namespace: Option<&str>| ExecutionFilter {
        state,
        namespace: namespace.map(slug),
        ..ExecutionFilter::default()
    };
    let both = filter(None, Some("my-crm"));
    assert_eq!(listed(&*store, &both).await, (vec![failed.id, crm.id], 2));
    let errors = filter(Some(State::Error), None);
    assert_eq!(listed(&*store, &errors).await, (vec![github.id, failed.id], 2));
    let one = filter(Some(State::Error), Some("my_crm"));
    assert_eq!(listed(&*store, &one).await, (vec![failed.id], 1));
    let done = Execution { ended_at: Some(at(5)), ..of(crm.clone(), "my_crm", State::Success) };
    store.record(&[Recorded::bare(done)]).await.unwrap();
    assert_eq!(listed(&*store, &filter(Some(State::Running), None)).await, (vec![], 0));
    assert_eq!(listed(&*store, &filter(Some(State::Success), None)).await, (vec![crm.id], 1));
    assert_eq!(listed(&*store, &filter(None, Some("crm"))).await, (vec![], 0));
}

pub(super) async fn use_is_noted_and_never_goes_back(store: Arc<dyn Store>) {
    let (key, connection) = (key(0), kept_connection(&*store, 0).await);
    assert!(store.insert_key(&key, None).await.unwrap());
    let using = |seconds| Execution {
        key: Some(key.id),
        connection: Some(connection.id),
        ..ended(&run(seconds))
    };
    let foreign = Execution { owner: rival(), ..using(900) };
    store
        .record(&[Recorded::bare(using(60)), Recorded::bare(using(70)), Recorded::bare(using(50))])
        .await
        .unwrap();
    store.record(&[Recorded::bare(using(40)), Recorded::bare(foreign)]).await.unwrap();
    let key = store.key_by_hash(&key.hash).await.unwrap().unwrap();
    assert_eq!(key.last_used_at, Some(at(70)));
    let used = store.connection(&acme(), connection.id).await.unwrap().unwrap();
    assert_eq!(used, Connection { last_used_at: Some(at(70)), ..connection });
}

pub(super) async fn another_owners_run_acts_like_a_missing_one(store: Arc<dyn Store>) {
    let mine = run(0);
    assert_eq!(store.begin(&mine, None, at(86_400)).await.unwrap(), Begun::New);
    assert_eq!(store.execution(&rival(), mine.id).await.unwrap(), None);
    let (page, total) = store.executions(&rival(), &ExecutionFilter::default()).await.unwrap();
    assert_eq!((page, total), (vec![], 0));
    let stolen = Execution { owner: rival(), ..ended(&mine) };
    store.record(&[Recorded::bare(stolen)]).await.unwrap();
    assert_eq!(store.execution(&acme(), mine.id).await.unwrap(), Some(mine));
}

pub(super) async fn pruning_leaves_what_is_young_or_unfinished(store: Arc<dyn Store>) {
    let (old, young, open) = (ended(&run(0)), ended(&run(9)), run(1));
    store.record(&[Recorded::bare(old.clone()), Recorded::bare(young.clone())]).await.unwrap();
    assert_eq!(store.begin(&open, None, at(86_400)).await.unwrap(), Begun::New);
    assert_eq!(store.prune(at(10), at(10), 100).await.unwrap(), 1);
    let left = vec![young.id, open.id];
    assert_eq!(listed(&*store, &ExecutionFilter::default()).await, (left, 2));
    assert_eq!(store.prune(at(10), at(10), 100).await.unwrap(), 0);
}

pub(super) async fn pruning_takes_as_many_as_it_was_told(store: Arc<dyn Store>) {
    let runs: Vec<_> = (0..1300).map(|n| Recorded::bare(ended(&run(n)))).collect();
    store.record(&runs).await.unwrap();
    assert_eq!(store.prune(at(9000), at(9000), 1).await.unwrap(), 1);
    assert_eq!(store.prune(at(9000), at(9000), 1200).await.unwrap(), 1200);
    assert_eq!(listed(&*store, &ExecutionFilter::default()).await.1, 99);
    assert_eq!(store.prune(at(9000), at(9000), 1200).await.unwrap(), 99);
    assert_eq!(listed(&*store, &ExecutionFilter::default()).await, (vec![], 0));
}
