//! Cases: listings of runs.

use std::sync::Arc;

use super::fixture::{
    acme, at, cancelled, claim, done, ended, enqueue, given_back, queued, rival, run, slug, user,
};
use crate::{
    id::ExecutionId,
    name::ActionName,
    record::execution::{Execution, Recorded, State},
    store::{ExecutionFilter, Store},
};

async fn listed(store: &dyn Store, filter: &ExecutionFilter) -> (Vec<ExecutionId>, u64) {
    let (page, total) = store.executions(&acme(), filter).await.unwrap();
    (page.into_iter().map(|run| run.id).collect(), total)
}

fn all() -> ExecutionFilter {
    ExecutionFilter::default()
}

fn of(name: &str, namespace: &str, person: &str, seconds: i64) -> Execution {
    let action = ActionName { namespace: slug(namespace), name: slug(name) };
    Execution { action, user: user(person), ..ended(&run(seconds)) }
}

async fn recorded(store: &dyn Store, runs: &[Execution]) {
    let runs: Vec<_> = runs.iter().cloned().map(Recorded::bare).collect();
    store.record(&runs).await.unwrap();
}

pub(super) async fn runs_are_listed_by_what_is_asked(store: Arc<dyn Store>) {
    let mut runs = vec![
        of("list_deals", "my_crm", "ann", 0),
        of("list-deals", "my-crm", "bob", 1),
        of("close", "my_crm", "ann", 2),
        of("list_deals", "github", "ann", 3),
        of("list_deals", "my_crm", "bob", 4),
    ];
    runs[4].state = State::Error;
    runs[2].state = State::Error;
    runs.push(Execution { user: None, ..of("close", "github", "ann", 5) });
    recorded(&*store, &runs).await;
    recorded(&*store, &[Execution { owner: rival(), ..of("close", "my_crm", "ann", 6) }]).await;
    for state in [None, Some(State::Error), Some(State::Success), Some(State::Cancelled)] {
        for namespace in [None, Some("my-crm"), Some("git_hub"), Some("github")] {
            for name in [None, Some("list-deals"), Some("close"), Some("open")] {
                for person in [None, Some("ann"), Some("bob"), Some("eve")] {
                    let filter = ExecutionFilter {
                        state,
                        namespace: namespace.map(slug),
                        name: name.map(slug),
                        user: person.and_then(user),
                        ..all()
                    };
                    let expected = expected(&runs, &filter);
                    assert_eq!(listed(&*store, &filter).await, expected, "{filter:?}");
                    let page = ExecutionFilter { limit: 1, offset: 1, ..filter };
                    let (ids, total) = expected;
                    let second = ids.into_iter().skip(1).take(1).collect();
                    assert_eq!(listed(&*store, &page).await, (second, total), "{page:?}");
                }
            }
        }
    }
}

fn expected(runs: &[Execution], filter: &ExecutionFilter) -> (Vec<ExecutionId>, u64) {
    let wanted = runs.iter().rev().filter(|run| {
        filter.state.is_none_or(|state| run.state == state)
            && filter.namespace.as_ref().is_none_or(|slug| run.action.namespace == *slug)
            && filter.name.as_ref().is_none_or(|slug| run.action.name == *slug)
            && (filter.user.is_none() || run.user == filter.user)
    });
    let ids: Vec<_> = wanted.map(|run| run.id).collect();
    let total = ids.len() as u64;
    (ids, total)
}

pub(super) async fn calls_of_a_run_are_listed_apart(store: Arc<dyn Store>) {
    let parent = of("sync", "my_crm", "ann", 0);
    let mut calls = vec![
        of("list_deals", "my_crm", "ann", 1),
        of("close", "my_crm", "ann", 2),
        of("close", "github", "ann", 3),
    ];
    calls.iter_mut().for_each(|call| call.parent = Some(parent.id));
    let other = Execution { parent: Some(calls[0].id), ..of("close", "github", "ann", 4) };
    recorded(&*store, std::slice::from_ref(&parent)).await;
    recorded(&*store, &calls).await;
    recorded(&*store, &[other]).await;
    assert_eq!(listed(&*store, &all()).await, (vec![parent.id], 1));
    let anns = ExecutionFilter { user: user("ann"), state: Some(State::Success), ..all() };
    assert_eq!(listed(&*store, &anns).await, (vec![parent.id], 1));
    let crm = ExecutionFilter { namespace: Some(slug("my_crm")), ..all() };
    assert_eq!(listed(&*store, &crm).await, (vec![parent.id], 1));
    let inside = ExecutionFilter { parent: Some(parent.id), ..all() };
    let ids = vec![calls[2].id, calls[1].id, calls[0].id];
    assert_eq!(listed(&*store, &inside).await, (ids, 3));
    let crm =
        ExecutionFilter { namespace: Some(slug("my_crm")), name: Some(slug("close")), ..inside };
    assert_eq!(listed(&*store, &crm).await, (vec![calls[1].id], 1));
    let none = ExecutionFilter { parent: Some(run(9).id), ..all() };
    assert_eq!(listed(&*store, &none).await, (vec![], 0));
}

pub(super) async fn a_cursor_shows_every_run_once(store: Arc<dyn Store>) {
    let mut runs: Vec<_> = (0..10).map(|n| of("close", "my_crm", "ann", n)).collect();
    runs.extend((10..20).map(|n| of("open", "my_crm", "bob", n)));
    runs.extend(
        (20..30).map(|n| Execution { state: State::Error, ..of("open", "github", "ann", n) }),
    );
    recorded(&*store, &runs).await;
    let filters = [
        all(),
        ExecutionFilter { user: user("ann"), ..all() },
        ExecutionFilter { namespace: Some(slug("my_crm")), ..all() },
        ExecutionFilter { namespace: Some(slug("my_crm")), name: Some(slug("open")), ..all() },
        ExecutionFilter { state: Some(State::Error), ..all() },
    ];
    for filter in filters {
        let (expected, total) = expected(&runs, &filter);
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = ExecutionFilter { limit: 7, after, ..filter.clone() };
            let (ids, counted) = listed(&*store, &page).await;
            assert_eq!(counted, total);
            let Some(last) = ids.last() else { break };
            after = Some(*last);
            found.extend(ids);
            // What comes meanwhile is newer than the cursor.
            recorded(&*store, &[Execution { owner: rival(), ..of("open", "my_crm", "ann", 99) }])
                .await;
        }
        assert_eq!(found, expected, "{filter:?}");
    }
    let both = ExecutionFilter { after: Some(runs[20].id), offset: 3, limit: 2, ..all() };
    assert_eq!(listed(&*store, &both).await, (vec![runs[16].id, runs[15].id], 30));
}

pub(super) async fn totals_follow_a_run_through_its_states(store: Arc<dyn Store>) {
    let runs: Vec<_> = (0..4).map(queued).collect();
    enqueue(&*store, &runs).await;
    let counts = async || {
        let mut counts = Vec::new();
        for state in [State::Queued, State::Running, State::Success, State::Cancelled] {
            let filter = ExecutionFilter { state: Some(state), ..all() };
            let (ids, total) = listed(&*store, &filter).await;
            assert_eq!(ids.len() as u64, total);
            assert!(ids.is_sorted_by(|a, b| a > b));
            counts.push(total);
        }
        assert_eq!(listed(&*store, &all()).await.1, counts.iter().sum::<u64>());
        counts
    };
    assert_eq!(counts().await, [4, 0, 0, 0]);
    let claimed = claim(&*store, 9, 3).await;
    assert_eq!(counts().await, [1, 3, 0, 0]);
    let both = [done(&claimed[0], 10), given_back(&claimed[1], 20)];
    assert_eq!(store.finish(&both).await.unwrap(), [true, true]);
    assert_eq!(store.finish(&both).await.unwrap(), [false, false]);
    assert_eq!(counts().await, [2, 1, 1, 0]);
    store.end(&cancelled(&runs[3].execution, 11), None).await.unwrap();
    store.end(&cancelled(&runs[2].execution, 11), None).await.unwrap();
    assert_eq!(counts().await, [1, 0, 1, 2]);
    assert_eq!(claim(&*store, 80, 9).await.len(), 1);
    assert_eq!(counts().await, [0, 1, 1, 2]);
    assert_eq!(claim(&*store, 180, 9).await.len(), 1);
    assert_eq!(counts().await, [0, 1, 1, 2]);
    assert_eq!(store.prune(at(500), at(500), 2).await.unwrap(), 2);
    assert_eq!(store.prune(at(500), at(500), 2).await.unwrap(), 1);
    assert_eq!(counts().await, [0, 1, 0, 0]);
}
