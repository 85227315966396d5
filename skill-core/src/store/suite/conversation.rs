//! Cases: conversations.

use std::sync::Arc;

use super::fixture::{
    acme, at, claim_one, done, ended, enqueue, given_back, queued, rival, sealed, slug, user,
};
use crate::{
    id::ExecutionId,
    name::AgentId,
    record::{
        conversation::{Filter, Said},
        execution::{Execution, Origin, Recorded, State, Trigger},
        run::Enqueue,
        scope::Scopes,
    },
    store::Store,
};

/// A run of acme that is to be queued at `seconds`: it begins a conversation, or follows in one.
fn spoken(seconds: i64, conversation: Option<ExecutionId>) -> Enqueue {
    let mut asked = queued(seconds);
    asked.execution.origin = Some(Origin { conversation, ..Origin::new(Trigger::Api) });
    asked
}

async fn listed(store: &dyn Store, filter: Filter) -> Vec<ExecutionId> {
    let found = store.conversations(&acme(), &filter).await.unwrap();
    found.into_iter().map(|one| one.start.id).collect()
}

pub(super) async fn a_run_of_no_conversation_is_in_no_listing(store: Arc<dyn Store>) {
    let plain = enqueue(&*store, &[queued(0)]).await.remove(0);
    assert_eq!(store.conversation(&acme(), plain.id).await.unwrap(), None);
    assert_eq!(listed(&*store, Filter::default()).await, []);
    let kept = store.execution(&acme(), plain.id).await.unwrap().unwrap();
    assert_eq!((kept.origin, plain.origin), (None, None));
}

pub(super) async fn a_conversation_stands_as_its_runs_do(store: Arc<dyn Store>) {
    let start = enqueue(&*store, &[spoken(0, None)]).await.remove(0);
    let stands = || async { store.conversation(&acme(), start.id).await.unwrap().unwrap() };
    assert_eq!((stands().await.state, stands().await.updated_at), (State::Queued, at(0)));
    let claimed = claim_one(&*store, 1).await;
    assert_eq!(claimed.execution.origin, start.origin);
    store.finish(&[given_back(&claimed, 5)]).await.unwrap();
    let claimed = claim_one(&*store, 5).await;
    assert_eq!(stands().await.state, State::Running);
    store.finish(&[done(&claimed, 7)]).await.unwrap();
    assert_eq!((stands().await.state, stands().await.updated_at), (State::Success, at(7)));
    let next = enqueue(&*store, &[spoken(8, Some(start.id))]).await.remove(0);
    assert_eq!((stands().await.state, stands().await.updated_at), (State::Queued, at(8)));
    assert_eq!(stands().await.start.origin, start.origin);
    let runs = store.conversation_runs(&acme(), start.id, 9).await.unwrap();
    assert_eq!(runs.iter().map(|run| run.id).collect::<Vec<_>>(), [start.id, next.id]);
    assert_eq!(runs[1].origin, next.origin);
    assert_eq!(store.conversation_runs(&acme(), start.id, 1).await.unwrap().len(), 1);
    let failed = Execution { state: State::Error, ended_at: Some(at(9)), ..next };
    store.end(&failed, None).await.unwrap();
    assert_eq!((stands().await.state, stands().await.updated_at), (State::Error, at(9)));
    assert_eq!(store.conversation(&rival(), start.id).await.unwrap(), None);
    assert_eq!(store.conversation_runs(&rival(), start.id, 9).await.unwrap(), []);
    assert_eq!(store.conversation(&acme(), failed.id).await.unwrap(), None);
}

pub(super) async fn conversations_are_listed_by_filter(store: Arc<dyn Store>) {
    let mut hooked = spoken(1, None);
    hooked.execution.user = user("ann");
    let agent = AgentId::parse("bookkeeper").unwrap();
    let trigger = Trigger::Webhook;
    hooked.execution.origin = Some(Origin { agent: agent.clone(), ..Origin::new(trigger) });
    let mut elsewhere = spoken(2, None);
    elsewhere.execution.action.namespace = slug("slack");
    let plain = spoken(0, None);
    let follows = spoken(3, Some(plain.execution.id));
    let runs = enqueue(&*store, &[plain, hooked, elsewhere, follows]).await;
    let [plain, hooked, elsewhere] = [runs[0].id, runs[1].id, runs[2].id];
    let over = Execution { origin: runs[0].origin.clone(), ..ended(&super::fixture::run(4)) };
    store.record(&[Recorded::bare(over.clone())]).await.unwrap();
    let all = Filter::default();
    assert_eq!(listed(&*store, all.clone()).await, [over.id, elsewhere, hooked, plain]);
    let page = Filter { limit: 2, offset: 1, ..all.clone() };
    assert_eq!(listed(&*store, page).await, [elsewhere, hooked]);
    let by_agent = Filter { agent: Some(agent), ..all.clone() };
    let by_trigger = Filter { trigger: Some(Trigger::Webhook), ..all.clone() };
    let by_user = Filter { user: user("ann"), ..all.clone() };
    for filter in [by_agent, by_trigger, by_user] {
        assert_eq!(listed(&*store, filter).await, [hooked]);
    }
    let by_scope = Filter { scopes: Scopes::parse(["slack"]).unwrap(), ..all.clone() };
    assert_eq!(listed(&*store, by_scope).await, [elsewhere]);
    let by_state = Filter { states: vec![State::Success, State::Error], ..all.clone() };
    assert_eq!(listed(&*store, by_state).await, [over.id]);
    let far = Filter { offset: u64::MAX, ..all.clone() };
    assert_eq!(listed(&*store, far).await, []);
    assert_eq!(store.conversations(&rival(), &all).await.unwrap(), []);
}

pub(super) async fn what_a_run_says_is_kept_once_and_under_its_lease(store: Arc<dyn Store>) {
    let run = enqueue(&*store, &[spoken(0, None)]).await.remove(0);
    let claimed = claim_one(&*store, 1).await;
    let said = |position, text| Said { position, at: at(2), text: sealed(text) };
    for (position, text) in [(3, "later"), (1, "first"), (3, "again")] {
        assert!(store.say(&claimed.lease, &said(position, text)).await.unwrap());
    }
    let kept = [said(1, "first"), said(3, "again")];
    assert_eq!(store.said(&acme(), run.id).await.unwrap(), kept);
    assert_eq!(store.said(&rival(), run.id).await.unwrap(), []);
    store.finish(&[done(&claimed, 3)]).await.unwrap();
    assert!(!store.say(&claimed.lease, &said(4, "too late")).await.unwrap());
    assert_eq!(store.said(&acme(), run.id).await.unwrap(), kept);
    assert_eq!(store.prune(at(100), at(100), 9).await.unwrap(), 1);
    assert_eq!(store.said(&acme(), run.id).await.unwrap(), []);
}
