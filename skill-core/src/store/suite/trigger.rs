//! Cases: triggers, and who is told how a single run ends.

use std::sync::Arc;

use super::fixture::{
    acme, at, at_once, cancelled, claim, done, ended, enqueue, queued, rival, run, sealed, slug,
    token, user,
};
use crate::{
    ErrorKind,
    id::{KeyId, TriggerId},
    name::{ActionName, AgentId, Version},
    record::{
        delivery::{self, Rooms, Subject},
        execution::{Execution, Origin, Trigger as Began},
        run::{Enqueue, Worker},
        scope::Scopes,
        trigger::{Callback, Source, Target, Trigger},
        webhook::Event,
    },
    store::Store,
};

/// A trigger of acme made at `seconds`.
pub(super) fn trigger(seconds: i64) -> Trigger {
    Trigger {
        id: TriggerId::fresh(at(seconds)).unwrap(),
        owner: acme(),
        user: None,
        key: None,
        agent: AgentId::standard(),
        name: None,
        targets: vec![Target { action: run(0).action, version: Version { major: 1, minor: None } }],
        token: token(),
        shown: "abcd...".into(),
        secret: sealed("secret"),
        is_signed: false,
        dedup_header: None,
        scopes: Scopes::all(),
        tier: None,
        created_at: at(seconds),
    }
}

/// A run that a trigger asked for, and who is told how it ends.
pub(super) fn called_back(seconds: i64) -> Enqueue {
    let mut asked = queued(seconds);
    asked.execution.origin = Some(Origin::new(Began::Webhook));
    let callback = Some(Callback {
        url: "https://hooks.example.com/é".into(),
        endpoint: "acme https://hooks.example.com".into(),
        secret: sealed("callback"),
    });
    let trigger = TriggerId::fresh(at(0)).ok();
    asked.source = Some(Source { schedule: None, trigger, callback });
    asked
}

pub(super) async fn a_trigger_reads_back_as_it_was_kept(store: Arc<dyn Store>) {
    let action = ActionName { namespace: slug("sage_intacct"), name: slug("query-gldetail") };
    let second = Target { action, version: Version { major: 2, minor: Some(10) } };
    let full = Trigger {
        user: user("ann"),
        key: Some(KeyId::fresh(at(0)).unwrap()),
        agent: AgentId::parse("month-end").unwrap(),
        name: Some("it's \"mine\"".into()),
        targets: [trigger(0).targets, vec![second]].concat(),
        is_signed: true,
        dedup_header: Some("x-github-delivery".into()),
        scopes: Scopes::parse(["github"]).unwrap(),
        tier: Some("premium".into()),
        ..trigger(1)
    };
    for kept in [trigger(0), full] {
        assert!(store.insert_trigger(&kept, 9).await.unwrap());
        assert_eq!(store.triggers(&acme()).await.unwrap()[0], kept);
        assert_eq!(store.trigger_by_token(&kept.token).await.unwrap().as_ref(), Some(&kept));
        let again = Trigger { id: TriggerId::fresh(at(9)).unwrap(), ..kept };
        let error = store.insert_trigger(&again, 9).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Internal, "its token is taken");
    }
    assert_eq!(store.trigger_by_token(&token()).await.unwrap(), None);
}

pub(super) async fn parallel_triggers_stop_at_the_cap(store: Arc<dyn Store>) {
    let kept =
        at_once(&store, 30, async |store, n| store.insert_trigger(&trigger(n), 7).await.unwrap());
    assert_eq!(kept.await.into_iter().filter(|kept| *kept).count(), 7);
    assert_eq!(store.triggers(&acme()).await.unwrap().len(), 7);
}

pub(super) async fn another_owners_trigger_acts_like_a_missing_one(store: Arc<dyn Store>) {
    let mine = trigger(0);
    assert!(store.insert_trigger(&mine, 9).await.unwrap());
    assert_eq!(store.triggers(&rival()).await.unwrap(), []);
    assert!(!store.delete_trigger(&rival(), mine.id).await.unwrap());
    assert!(store.delete_trigger(&acme(), mine.id).await.unwrap());
    assert!(!store.delete_trigger(&acme(), mine.id).await.unwrap());
    assert_eq!(store.trigger_by_token(&mine.token).await.unwrap(), None);
}

pub(super) async fn a_single_run_is_told_of_once_however_it_ends(store: Arc<dyn Store>) {
    let asked = [called_back(0), called_back(1), queued(2)];
    let runs = enqueue(&*store, &asked).await;
    let claimed = claim(&*store, 3, 9).await;
    let first = claimed.iter().find(|one| one.execution.id == runs[0].id).unwrap();
    assert_eq!(store.finish(&[done(first, 4)]).await.unwrap(), [true]);
    assert_eq!(store.finish(&[done(first, 5)]).await.unwrap(), [false]);
    for _ in 0..2 {
        store.end(&cancelled(&runs[1], 5), None).await.unwrap();
    }
    let third = claimed.iter().find(|one| one.execution.id == runs[2].id).unwrap();
    assert_eq!(store.finish(&[done(third, 6)]).await.unwrap(), [true]);
    let (worker, rooms) = (Worker("one".into()), Rooms::new(9, 9, 9));
    let want = delivery::Claim { worker, now: at(9), until: at(99), rooms, after: None };
    let claimed = store.claim_deliveries(&want).await.unwrap();
    let told: Vec<_> =
        claimed.iter().map(|one| (&one.delivery.subject, one.delivery.event)).collect();
    let [good, bad] = [&runs[0], &runs[1]].map(|run| Subject::Run(run.id));
    assert_eq!(told, [(&good, Event::SkillCompleted), (&bad, Event::SkillFailed)]);
    for one in claimed {
        assert_eq!((one.delivery.webhook, one.subscription), (None, None));
        assert_eq!(one.callback, asked[0].source.clone().unwrap().callback);
        assert_eq!(one.delivery.endpoint, "acme https://hooks.example.com");
    }
}

pub(super) async fn what_began_a_run_goes_with_it(store: Arc<dyn Store>) {
    let asked = called_back(0);
    let run = enqueue(&*store, std::slice::from_ref(&asked)).await.remove(0);
    assert_eq!(store.source(&acme(), run.id).await.unwrap(), asked.source);
    let over = Execution { ..ended(&run) };
    store.end(&over, None).await.unwrap();
    assert_eq!(store.prune(at(500), at(500), 9).await.unwrap(), 1);
    assert_eq!(store.source(&acme(), run.id).await.unwrap(), None);
    let (worker, rooms) = (Worker("one".into()), Rooms::new(9, 9, 9));
    let want = delivery::Claim { worker, now: at(9), until: at(99), rooms, after: None };
    let claimed = store.claim_deliveries(&want).await.unwrap();
    assert_eq!((claimed.len(), &claimed[0].callback), (1, &None));
}
