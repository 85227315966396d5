//! Cases: schedules.

use std::sync::Arc;

use super::fixture::{acme, at, at_once, claim, enqueue, kept, queued, rival, run, sealed, user};
use super::webhook::webhook;
use crate::{
    ErrorKind,
    id::{KeyId, ScheduleId},
    name::{AgentId, Version},
    record::{
        delivery::{FiringFacts, Subject},
        execution::{Execution, Origin, State, Trigger},
        run::{Enqueue, Enqueued},
        schedule::{Fired, Firing, Schedule},
        scope::Scopes,
        trigger::Source,
        webhook::{Event, Subscription},
    },
    store::Store,
};

/// A schedule of acme made at `seconds`, due a minute later.
pub(super) fn schedule(seconds: i64) -> Schedule {
    Schedule {
        id: ScheduleId::fresh(at(seconds)).unwrap(),
        owner: acme(),
        user: None,
        key: None,
        agent: AgentId::standard(),
        action: run(0).action,
        version: Version { major: 1, minor: Some(0) },
        cron: "* * * * *".into(),
        input: sealed("input"),
        scopes: Scopes::all(),
        tier: None,
        next_run_at: Some(at(seconds + 60)),
        stopped: None,
        last_due_at: None,
        last_run: None,
        last_error: None,
        missed: 0,
        created_at: at(seconds),
        updated_at: at(seconds),
    }
}

/// The run of a schedule, asked for at `seconds`.
fn run_of(schedule: &Schedule, seconds: i64) -> Enqueue {
    let mut asked = queued(seconds);
    asked.execution.origin = Some(Origin::new(Trigger::Scheduled));
    asked.source = Some(Source { schedule: Some(schedule.id), ..Source::default() });
    asked
}

/// The schedule fires for its due time and makes `run`; it is due a minute later again.
fn firing(seen: &Schedule, run: Enqueue) -> Firing {
    let due = seen.next_run_at.unwrap();
    let then = Schedule {
        next_run_at: Some(due + jiff::SignedDuration::from_mins(1)),
        last_due_at: Some(due),
        last_run: Some(run.execution.id),
        ..seen.clone()
    };
    Firing { seen: seen.clone(), then, run: Some(run), at: due }
}

pub(super) async fn a_schedule_reads_back_as_it_was_kept(store: Arc<dyn Store>) {
    let full = Schedule {
        user: user("ann"),
        key: Some(KeyId::fresh(at(0)).unwrap()),
        agent: AgentId::parse("month_end").unwrap(),
        version: Version { major: 2, minor: None },
        scopes: Scopes::parse(["github", "keyed/get_item"]).unwrap(),
        tier: Some("premium".into()),
        next_run_at: None,
        stopped: Some("it's over".into()),
        last_due_at: Some(at(7)),
        last_run: Some(run(7).id),
        last_error: Some("not then".into()),
        missed: 12,
        updated_at: at(9),
        ..schedule(1)
    };
    for kept in [schedule(0), full] {
        assert!(store.insert_schedule(&kept, 9).await.unwrap());
        assert_eq!(store.schedules(&acme()).await.unwrap()[0], kept);
    }
    let again = store.schedules(&acme()).await.unwrap().remove(0);
    let error = store.insert_schedule(&again, 9).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);
}

pub(super) async fn parallel_schedules_stop_at_the_cap(store: Arc<dyn Store>) {
    let elsewhere = Schedule { owner: rival(), ..schedule(0) };
    assert!(store.insert_schedule(&elsewhere, 1).await.unwrap());
    let kept =
        at_once(&store, 30, async |store, n| store.insert_schedule(&schedule(n), 7).await.unwrap());
    assert_eq!(kept.await.into_iter().filter(|kept| *kept).count(), 7);
    assert_eq!(store.schedules(&acme()).await.unwrap().len(), 7);
}

pub(super) async fn a_schedule_changes_only_as_it_was_seen(store: Arc<dyn Store>) {
    let seen = schedule(0);
    assert!(store.insert_schedule(&seen, 9).await.unwrap());
    let to = Schedule { cron: "0 0 * * *".into(), updated_at: at(5), ..seen.clone() };
    assert!(store.change_schedule(&seen, &to).await.unwrap());
    assert!(!store.change_schedule(&seen, &schedule(0)).await.unwrap());
    assert_eq!(store.schedules(&acme()).await.unwrap(), std::slice::from_ref(&to));
    let fired = store.fire(&firing(&seen, run_of(&seen, 60))).await.unwrap();
    assert_eq!(fired, Fired::Late, "it is another by now");
    assert!(store.delete_schedule(&acme(), to.id).await.unwrap());
    assert!(!store.delete_schedule(&acme(), to.id).await.unwrap());
    assert!(!store.change_schedule(&to, &to).await.unwrap());
    assert_eq!(store.fire(&firing(&to, run_of(&to, 60))).await.unwrap(), Fired::Late);
    assert!(claim(&*store, 900, 9).await.is_empty());
}

pub(super) async fn another_owners_schedule_acts_like_a_missing_one(store: Arc<dyn Store>) {
    let mine = schedule(0);
    assert!(store.insert_schedule(&mine, 9).await.unwrap());
    assert_eq!(store.schedules(&rival()).await.unwrap(), []);
    assert!(!store.delete_schedule(&rival(), mine.id).await.unwrap());
    assert_eq!(store.schedules(&acme()).await.unwrap(), [mine]);
}

pub(super) async fn due_schedules_come_in_the_order_of_their_times(store: Arc<dyn Store>) {
    assert_eq!(store.next_schedule().await.unwrap(), None);
    let disabled = Schedule { next_run_at: None, ..schedule(0) };
    let elsewhere = Schedule { owner: rival(), next_run_at: Some(at(30)), ..schedule(1) };
    let all = [schedule(2), schedule(2), disabled, elsewhere, schedule(4)];
    for kept in &all {
        assert!(store.insert_schedule(kept, 9).await.unwrap());
    }
    assert_eq!(store.next_schedule().await.unwrap(), Some(at(30)));
    assert_eq!(store.due_schedules(at(29), None, 9).await.unwrap(), []);
    let mut expected = vec![all[3].clone(), all[0].clone(), all[1].clone()];
    expected[1..].sort_by_key(|schedule| schedule.id);
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = store.due_schedules(at(62), after, 2).await.unwrap();
        let Some(last) = page.last() else { break };
        after = last.next_run_at.map(|due| (due, last.id));
        found.extend(page);
    }
    assert_eq!(found, expected);
}

pub(super) async fn a_due_time_makes_one_run_whoever_fires_it(store: Arc<dyn Store>) {
    let seen = schedule(0);
    assert!(store.insert_schedule(&seen, 9).await.unwrap());
    let fired = at_once(&store, 20, {
        let seen = seen.clone();
        move |store, _| {
            let firing = firing(&seen, run_of(&seen, 60));
            async move { (store.fire(&firing).await.unwrap(), firing) }
        }
    });
    let mut done = fired.await;
    done.retain(|(fired, _)| *fired != Fired::Late);
    let (fired, firing) = done.remove(0);
    assert!(done.is_empty());
    assert_eq!(fired, Fired::Done(Some(Enqueued::New(None))));
    assert_eq!(store.schedules(&acme()).await.unwrap(), std::slice::from_ref(&firing.then));
    let claimed = claim(&*store, 61, 9).await;
    assert_eq!(claimed.len(), 1);
    let id = claimed[0].execution.id;
    assert_eq!(Some(id), firing.then.last_run);
    assert_eq!(claimed[0].execution.origin, Some(Origin::new(Trigger::Scheduled)));
    let source = store.source(&acme(), id).await.unwrap().unwrap();
    assert_eq!(source, Source { schedule: Some(seen.id), ..Source::default() });
    assert_eq!(store.source(&rival(), id).await.unwrap(), None);
}

pub(super) async fn a_full_queue_leaves_a_schedule_due(store: Arc<dyn Store>) {
    let seen = schedule(0);
    assert!(store.insert_schedule(&seen, 9).await.unwrap());
    enqueue(&*store, &[queued(0)]).await;
    let full = Enqueue { most_queued: 1, ..run_of(&seen, 60) };
    assert_eq!(store.fire(&firing(&seen, full)).await.unwrap(), Fired::Full);
    assert_eq!(store.schedules(&acme()).await.unwrap(), std::slice::from_ref(&seen));
    let room = Enqueue { most_queued: 2, ..run_of(&seen, 61) };
    let fired = store.fire(&firing(&seen, room)).await.unwrap();
    assert_eq!(fired, Fired::Done(Some(Enqueued::New(None))));
}

/// A subscription to what the standard agent does.
pub(super) fn of_agent(seconds: i64) -> Subscription {
    let (agent, events) = (Some(AgentId::standard()), Event::OF_AGENTS.to_vec());
    Subscription { agent, events, ..webhook(seconds) }
}

pub(super) async fn the_end_of_a_scheduled_run_is_announced_as_one(store: Arc<dyn Store>) {
    let (seen, mine) = (schedule(0), of_agent(0));
    let other = Subscription { agent: Some(AgentId::parse("other").unwrap()), ..of_agent(1) };
    assert!(store.insert_schedule(&seen, 9).await.unwrap());
    for subscription in [&mine, &other] {
        assert!(store.insert_webhook(subscription, 9).await.unwrap());
    }
    store.fire(&firing(&seen, run_of(&seen, 60))).await.unwrap();
    let claimed = claim(&*store, 61, 9).await.remove(0);
    assert!(store.finish(&[super::fixture::done(&claimed, 62)]).await.unwrap()[0]);
    let told = async |of: &Subscription| {
        let (all, _) = store.deliveries(&acme(), of.id, &Default::default()).await.unwrap();
        let mut told: Vec<_> = all.iter().map(|one| one.event).collect();
        told.sort();
        told
    };
    let events = [Event::SkillCompleted, Event::ConversationCreated, Event::ScheduledJobCompleted];
    assert_eq!(told(&mine).await, events);
    assert_eq!(told(&other).await, []);
    assert_eq!(kept(&*store, claimed.execution.id).await.state, State::Success);
}

pub(super) async fn a_due_time_without_a_run_is_announced(store: Arc<dyn Store>) {
    let (seen, mine) = (schedule(0), of_agent(0));
    assert!(store.insert_schedule(&seen, 9).await.unwrap());
    assert!(store.insert_webhook(&mine, 9).await.unwrap());
    let mut firing = firing(&seen, run_of(&seen, 60));
    (firing.run, firing.then.last_run) = (None, None);
    firing.then.last_error = Some("there is no action".into());
    assert_eq!(store.fire(&firing).await.unwrap(), Fired::Done(None));
    // Missed times alone are none.
    let seen = firing.then.clone();
    let then = Schedule { missed: 3, next_run_at: Some(at(300)), ..seen.clone() };
    let skipped = Firing { seen, then, run: None, at: at(290) };
    assert_eq!(store.fire(&skipped).await.unwrap(), Fired::Done(None));
    let (all, _) = store.deliveries(&acme(), mine.id, &Default::default()).await.unwrap();
    assert_eq!(all.len(), 1);
    let facts = FiringFacts {
        schedule: skipped.then.id,
        agent: AgentId::standard(),
        action: skipped.then.action.clone(),
        due_at: at(60),
        error: "there is no action".into(),
    };
    assert_eq!(
        (all[0].event, &all[0].subject),
        (Event::ScheduledJobFailed, &Subject::Firing(facts))
    );
    assert_eq!(all[0].created_at, at(60));
}

pub(super) async fn runs_of_no_agent_are_told_to_no_agents_subscribers(store: Arc<dyn Store>) {
    let mine = of_agent(0);
    assert!(store.insert_webhook(&mine, 9).await.unwrap());
    let execution = Execution { origin: None, ..queued(0).execution };
    enqueue(&*store, &[Enqueue { execution, ..queued(0) }]).await;
    let claimed = claim(&*store, 1, 9).await.remove(0);
    assert!(store.finish(&[super::fixture::done(&claimed, 2)]).await.unwrap()[0]);
    let (all, _) = store.deliveries(&acme(), mine.id, &Default::default()).await.unwrap();
    assert_eq!(all, []);
}
