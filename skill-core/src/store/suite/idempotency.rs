//! Cases: repeated requests.

use std::sync::Arc;

use super::fixture::{acme, at, at_once, ended, replayable, rival, run, sealed, slug};
use crate::{
    name::ActionName,
    record::execution::{Begun, Execution, Idempotency, Recorded},
    store::Store,
};

/// A key that ends at 600.
fn once() -> Idempotency {
    Idempotency { key: "once".into(), inputs: [7; 32], expires_at: at(600) }
}

/// A run that began under [`once`] at 0.
async fn begun(store: &dyn Store) -> Execution {
    let run = run(0);
    assert_eq!(store.begin(&run, Some(&once()), at(86_400)).await.unwrap(), Begun::New);
    run
}

pub(super) async fn a_repeat_finds_the_outcome(store: Arc<dyn Store>) {
    let first = begun(&*store).await;
    let second = run(1);
    let found = store.begin(&second, Some(&once()), at(86_400)).await.unwrap();
    assert_eq!(found, Begun::Running(first.id));
    store.record(&[replayable(ended(&first), sealed("answer"))]).await.unwrap();
    let found = store.begin(&second, Some(&once()), at(86_400)).await.unwrap();
    assert_eq!(found, Begun::Same(first.id, sealed("answer")));
    assert_eq!(store.execution(&acme(), second.id).await.unwrap(), None);
}

pub(super) async fn a_run_that_never_ends_is_running(store: Arc<dyn Store>) {
    let first = begun(&*store).await;
    store.record(&[Recorded::bare(first.clone()), Recorded::bare(ended(&run(1)))]).await.unwrap();
    assert_eq!(store.prune(at(500), at(500), 10).await.unwrap(), 1);
    let found = store.begin(&run(599), Some(&once()), at(86_400)).await.unwrap();
    assert_eq!(found, Begun::Running(first.id));
}

pub(super) async fn a_run_that_ends_without_an_outcome_frees_its_key(store: Arc<dyn Store>) {
    let first = begun(&*store).await;
    store.record(&[Recorded::bare(ended(&first))]).await.unwrap();
    let second = run(1);
    let other = Idempotency { inputs: [8; 32], ..once() };
    assert_eq!(store.begin(&second, Some(&other), at(86_400)).await.unwrap(), Begun::New);
    store.record(&[replayable(ended(&first), sealed("late"))]).await.unwrap();
    let found = store.begin(&run(2), Some(&other), at(86_400)).await.unwrap();
    assert_eq!(found, Begun::Running(second.id));
}

pub(super) async fn a_repeat_with_other_inputs_differs(store: Arc<dyn Store>) {
    let first = begun(&*store).await;
    let other = Idempotency { inputs: [8; 32], ..once() };
    assert_eq!(store.begin(&run(1), Some(&other), at(86_400)).await.unwrap(), Begun::Differs);
    store.record(&[replayable(ended(&first), sealed("answer"))]).await.unwrap();
    assert_eq!(store.begin(&run(2), Some(&other), at(86_400)).await.unwrap(), Begun::Differs);
}

pub(super) async fn a_run_that_ended_keeps_its_outcome(store: Arc<dyn Store>) {
    let first = begun(&*store).await;
    store.record(&[replayable(ended(&first), sealed("answer"))]).await.unwrap();
    store.record(&[replayable(ended(&first), sealed("another"))]).await.unwrap();
    let found = store.begin(&run(1), Some(&once()), at(86_400)).await.unwrap();
    assert_eq!(found, Begun::Same(first.id, sealed("answer")));
}

pub(super) async fn the_scope_is_owner_action_and_key(store: Arc<dyn Store>) {
    let first = begun(&*store).await;
    let act = |namespace, name| ActionName { namespace: slug(namespace), name: slug(name) };
    let others = [
        Execution { owner: rival(), ..run(1) },
        Execution { action: act("gitlab", "create_issue"), ..run(1) },
        Execution { action: act("github", "close_issue"), ..run(1) },
    ];
    for other in &others {
        assert_eq!(store.begin(other, Some(&once()), at(86_400)).await.unwrap(), Begun::New);
    }
    let twice = Idempotency { key: "twice".into(), ..once() };
    assert_eq!(store.begin(&run(1), Some(&twice), at(86_400)).await.unwrap(), Begun::New);
    let alike = Execution { action: act("github", "create-issue"), ..run(1) };
    let found = store.begin(&alike, Some(&once()), at(86_400)).await.unwrap();
    assert_eq!(found, Begun::Running(first.id));
}

pub(super) async fn an_expired_repeat_is_a_new_run(store: Arc<dyn Store>) {
    let first = begun(&*store).await;
    store.record(&[replayable(ended(&first), sealed("answer"))]).await.unwrap();
    let next = Idempotency { inputs: [8; 32], expires_at: at(1200), ..once() };
    assert_eq!(store.begin(&run(599), Some(&next), at(86_400)).await.unwrap(), Begun::Differs);
    let second = run(600);
    assert_eq!(store.begin(&second, Some(&next), at(86_400)).await.unwrap(), Begun::New);
    let found = store.begin(&run(601), Some(&next), at(86_400)).await.unwrap();
    assert_eq!(found, Begun::Running(second.id));
}

pub(super) async fn parallel_repeats_begin_one_run(store: Arc<dyn Store>) {
    let found = at_once(&store, 50, async |store, n| {
        let run = run(n);
        (run.id, store.begin(&run, Some(&once()), at(86_400)).await.unwrap())
    });
    let found = found.await;
    let new: Vec<_> = found.iter().filter(|(_, begun)| *begun == Begun::New).collect();
    assert_eq!(new.len(), 1);
    let running = Begun::Running(new[0].0);
    assert_eq!(found.iter().filter(|(_, begun)| *begun == running).count(), 49);
}

pub(super) async fn the_outcome_outlives_the_run(store: Arc<dyn Store>) {
    let first = begun(&*store).await;
    store.record(&[replayable(ended(&first), sealed("answer"))]).await.unwrap();
    assert_eq!(store.prune(at(500), at(500), 10).await.unwrap(), 1);
    assert_eq!(store.execution(&acme(), first.id).await.unwrap(), None);
    let found = store.begin(&run(501), Some(&once()), at(86_400)).await.unwrap();
    assert_eq!(found, Begun::Same(first.id, sealed("answer")));
    assert_eq!(store.prune(at(500), at(600), 10).await.unwrap(), 0);
    assert_eq!(store.begin(&run(502), Some(&once()), at(86_400)).await.unwrap(), Begun::New);
}
