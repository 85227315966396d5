//! Cases: the store as a whole.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    agent::memory,
    fixture::{
        acme, at, cancelled, claim, claim_one, departure, done, enqueue, flow, kept,
        kept_connection, queued, queued_in, replayable, rival, run, sealed, slug,
    },
    schedule::schedule,
    trigger::{called_back, trigger},
    webhook::webhook,
};
use crate::{
    id::AppId,
    record::{
        Sealed,
        agent::{Kept, Memory},
        app::{App, Holder},
        connection::Revision,
        conversation::Said,
        execution::{Execution, Idempotency, Recorded, State},
        owner::Owner,
        run::{Enqueued, Step},
        schedule::Schedule,
        trigger::Trigger,
    },
    store::{Aged, ExecutionFilter, Part, Place, Store},
};

pub(super) async fn every_owner_is_found(store: Arc<dyn Store>) {
    assert_eq!(store.owners(None, 9).await.unwrap(), []);
    kept_connection(&*store, 0).await;
    store.ensure_owner(&Owner::new(rival(), at(0))).await.unwrap();
    assert_eq!(store.owners(None, 9).await.unwrap(), [acme(), rival()]);
    assert_eq!(store.owners(None, 1).await.unwrap(), [acme()]);
    assert_eq!(store.owners(Some(&acme()), 9).await.unwrap(), [rival()]);
}

pub(super) async fn facts_are_listed_and_forgotten(store: Arc<dyn Store>) {
    for (name, value) in [("a_1", b"x"), ("a_2", b"y"), ("b_1", b"z")] {
        store.meta_or_insert(name, value).await.unwrap();
    }
    let mut facts = store.facts("a_").await.unwrap();
    facts.sort();
    assert_eq!(facts, [("a_1".into(), b"x".to_vec()), ("a_2".into(), b"y".to_vec())]);
    store.forget_fact("a_1").await.unwrap();
    assert_eq!(store.meta("a_1").await.unwrap(), None);
    assert_eq!(store.facts("a_").await.unwrap().len(), 1);
}

/// How many runs of acme are in this state.
async fn count(store: &dyn Store, state: State) -> u64 {
    let filter = ExecutionFilter { state: Some(state), ..ExecutionFilter::default() };
    let (runs, total) = store.executions(&acme(), &filter).await.unwrap();
    assert_eq!(runs.len() as u64, total);
    total
}

pub(super) async fn a_new_epoch_holds_what_had_not_ended(store: Arc<dyn Store>) {
    enqueue(&*store, &[queued(0), queued(1), queued(2)]).await;
    let taken = claim_one_of(&*store, 3).await;
    let over = claim_one_of(&*store, 4).await;
    assert_eq!(store.finish(&[done(&over, 5)]).await.unwrap(), [true]);
    store.begin(&run(6), None, at(60)).await.unwrap();
    let disabled = Schedule { next_run_at: None, ..schedule(1) };
    for kept in [schedule(0), disabled.clone()] {
        assert!(store.insert_schedule(&kept, 9).await.unwrap());
    }

    let restored = store.begin_epoch("another").await.unwrap();
    assert_eq!((restored.runs, restored.grants, restored.schedules), (2, 0, 1));
    let schedules = store.schedules(&acme()).await.unwrap();
    assert!(schedules.iter().all(|schedule| schedule.next_run_at.is_none()));
    assert!(schedules[1].stopped.is_some() && schedules[0] == disabled);
    assert_eq!(store.meta("epoch").await.unwrap().unwrap(), b"another");
    let states = [State::Held, State::Queued, State::Running, State::Success];
    let mut counts = Vec::new();
    for state in states {
        counts.push(count(&*store, state).await);
    }
    // The call past the queue is no run of the queue.
    assert_eq!(counts, [2, 0, 1, 1]);
    assert!(claim(&*store, 9000, 9).await.is_empty());
    assert_eq!(store.next_due(at(9000)).await.unwrap(), None);
    assert_eq!(store.finish(&[done(&taken, 7)]).await.unwrap(), [false]);
    // Held runs take no place in the queue, and can be cancelled.
    let one = enqueue_with_room(&*store, 1).await;
    let held = kept(&*store, taken.execution.id).await;
    let ended = store.end(&cancelled(&held, 8), None).await.unwrap().unwrap();
    assert_eq!((ended.state, one), (State::Cancelled, Enqueued::New(None)));
    assert_eq!((count(&*store, State::Held).await, count(&*store, State::Queued).await), (1, 1));
}

/// The next of the runs that wait.
async fn claim_one_of(store: &dyn Store, seconds: i64) -> crate::record::run::Claimed {
    claim(store, seconds, 1).await.remove(0)
}

/// Queues a run where so many may wait.
async fn enqueue_with_room(store: &dyn Store, most: u64) -> Enqueued {
    let mut asked = queued(10);
    asked.most_queued = most;
    store.enqueue(&[asked]).await.unwrap().remove(0)
}

pub(super) async fn a_held_run_goes_on_when_it_is_released(store: Arc<dyn Store>) {
    let mine = enqueue(&*store, &[queued(0)]).await.remove(0);
    let theirs = enqueue(&*store, &[queued_in(rival(), "github", 0)]).await.remove(0);
    let claimed = claim(&*store, 1, 9).await;
    let lease = &claimed.iter().find(|c| c.execution.id == mine.id).unwrap().lease;
    assert!(store.note_sent(lease).await.unwrap());
    let unheld = store.release(&acme(), mine.id, at(2)).await.unwrap().unwrap();
    assert_eq!(unheld.state, State::Running);

    store.begin_epoch("another").await.unwrap();
    assert_eq!(store.release(&rival(), mine.id, at(2)).await.unwrap(), None);
    let released = store.release(&acme(), mine.id, at(5000)).await.unwrap().unwrap();
    assert_eq!(
        (released.state, kept(&*store, mine.id).await.state),
        (State::Queued, State::Queued)
    );
    let again = claim_one(&*store, 5001).await;
    // What was sent before the backup is not forgotten, and the time begins anew.
    assert!(again.may_have_happened);
    assert_eq!((again.execution.id, again.work.deadline), (mine.id, at(5900)));
    assert!(claim(&*store, 9999, 9).await.iter().all(|c| c.execution.id != theirs.id));
}

pub(super) async fn grants_are_doubted_until_they_are_renewed(store: Arc<dyn Store>) {
    let connection = kept_connection(&*store, 0).await;
    let at = connection.at();
    let seen = store.replace_grant(&at, &sealed("1"), None).await.unwrap().unwrap();
    store.insert_flow(&flow(&connection, 0), super::fixture::at(0)).await.unwrap();
    let now = super::fixture::at(0);
    assert!(store.lease_renewal(&at, "a", now, std::time::Duration::from_secs(60)).await.unwrap());
    assert!(!store.is_restored(&at, seen).await.unwrap());
    assert_eq!(store.begin_epoch("another").await.unwrap().grants, 1);
    assert!(store.is_restored(&at, seen).await.unwrap());
    assert!(!store.is_restored(&at, Revision(seen.0 + 1)).await.unwrap());
    assert!(store.lease_renewal(&at, "b", now, std::time::Duration::from_secs(60)).await.unwrap());
    let renewed = store.replace_grant(&at, &sealed("2"), Some(seen)).await.unwrap().unwrap();
    assert!(!store.is_restored(&at, renewed).await.unwrap());
}

/// Something sealed with the key of this version.
fn with(version: u8, text: &str) -> Sealed {
    Sealed([&[1, 0, 0, 0, version], text.as_bytes()].concat())
}

/// Keeps a value of every part, sealed with the first key, and one run with the second.
async fn fill(store: &dyn Store) {
    let connection = kept_connection(store, 0).await;
    store.replace_grant(&connection.at(), &with(1, "grant"), None).await.unwrap();
    let app = App {
        id: AppId::fresh(at(0)).unwrap(),
        holder: Holder::System,
        integration: slug("github"),
        client_id: "client".into(),
        client_secret: Some(with(1, "client")),
        created_at: at(0),
    };
    store.put_app(&app).await.unwrap();
    let flow = flow(&connection, 0);
    store.insert_flow(&flow, at(0)).await.unwrap();
    let mut left = departure(600);
    left.verifier = with(1, "verifier");
    assert!(store.depart(&flow.link, Some(&left), at(1)).await.unwrap());
    let mut hook = webhook(0);
    hook.secret = with(1, "webhook");
    hook.previous = Some((with(1, "retiring"), at(9000)));
    assert!(store.insert_webhook(&hook, 9).await.unwrap());
    let mut asked = queued(0);
    asked.work.input = with(1, "input");
    enqueue(store, &[asked]).await;
    let claimed = claim_one(store, 1).await;
    let step = Step { position: 3, name: "s".into(), value: Some(with(1, "step")) };
    assert!(store.record_step(&claimed.lease, &step).await.unwrap());
    let said = Said { position: 4, at: at(1), text: with(1, "said") };
    assert!(store.say(&claimed.lease, &said).await.unwrap());
    let memory = Memory { content: with(1, "memory"), ..memory(0) };
    assert_eq!(store.insert_memory(&memory, 9).await.unwrap(), Kept::Done);
    let begun = run(2);
    let key = Idempotency { key: "k".into(), inputs: [0; 32], expires_at: at(9000) };
    store.begin(&begun, Some(&key), at(60)).await.unwrap();
    let over = Execution { state: State::Success, ended_at: Some(at(3)), ..begun };
    let (input, outcome) = (Some(with(2, "input")), Some(with(1, "outcome")));
    let recorded = Recorded { input, outcome, ..replayable(over, with(1, "replay")) };
    store.record(&[recorded]).await.unwrap();
    let scheduled = Schedule { input: with(1, "schedule"), ..schedule(0) };
    assert!(store.insert_schedule(&scheduled, 9).await.unwrap());
    let addressed = Trigger { secret: with(1, "trigger"), ..trigger(0) };
    assert!(store.insert_trigger(&addressed, 9).await.unwrap());
    let mut asked = called_back(4);
    asked.work.input = with(2, "input");
    if let Some(callback) = asked.source.as_mut().and_then(|source| source.callback.as_mut()) {
        callback.secret = with(1, "callback");
    }
    enqueue(store, &[asked]).await;
}

/// The values of a part that are older than `version`, in pages of one.
async fn older(store: &dyn Store, part: Part, version: u32) -> Vec<Aged> {
    let mut all: Vec<Aged> = Vec::new();
    loop {
        let after = all.last().map(|value| value.cursor);
        let page = store.sealed_before(part, version, after, 1).await.unwrap();
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}

pub(super) async fn sealed_values_of_every_part_are_found_by_their_key(store: Arc<dyn Store>) {
    fill(&*store).await;
    let mut found = BTreeSet::new();
    for part in Part::ALL {
        assert_eq!(older(&*store, part, 1).await, []);
        let values = older(&*store, part, 2).await;
        assert_eq!(values.len(), 1, "{part:?}");
        let value = &values[0];
        found.insert(String::from_utf8(value.sealed.0[5..].to_vec()).unwrap());
        let is_right = match (part, &value.place) {
            (Part::Grants, Place::Grant(at)) => at.owner == acme(),
            (Part::Clients, Place::Client { holder, .. }) => *holder == Holder::System,
            (Part::Flows, Place::Verifier { owner, .. })
            | (Part::Webhooks | Part::RetiringSecrets, Place::Webhook { owner, .. })
            | (Part::Inputs, Place::Input { owner, .. })
            | (Part::Outcomes | Part::Replays, Place::Outcome { owner, .. }) => *owner == acme(),
            (Part::Schedules, Place::Schedule { owner, .. })
            | (Part::Triggers, Place::Trigger { owner, .. })
            | (Part::Callbacks, Place::Callback { owner, .. }) => *owner == acme(),
            (Part::Steps, Place::Step { position, name, .. }) => (*position, &**name) == (3, "s"),
            (Part::Said, Place::Said { position, .. }) => *position == 4,
            (Part::Memories, Place::Memory { owner, .. }) => *owner == acme(),
            (_, _) => false,
        };
        assert!(is_right, "{part:?}: {:?}", value.place);
        let new = with(2, "new");
        assert_eq!(store.reseal(part, &[(value.clone(), new.clone())]).await.unwrap(), 1);
        assert_eq!(older(&*store, part, 2).await, []);
        assert!(older(&*store, part, 3).await.iter().any(|value| value.sealed == new));
    }
    let all = [
        "callback", "client", "grant", "input", "memory", "outcome", "replay", "retiring", "said",
        "schedule", "step", "trigger", "verifier", "webhook",
    ];
    assert_eq!(found, all.map(String::from).into());
}

pub(super) async fn only_what_still_stands_is_resealed(store: Arc<dyn Store>) {
    let at = kept_connection(&*store, 0).await.at();
    let seen = store.replace_grant(&at, &with(1, "a"), None).await.unwrap();
    let read = older(&*store, Part::Grants, 2).await.remove(0);
    let renewed = store.replace_grant(&at, &with(1, "b"), seen).await.unwrap().unwrap();
    let new = (read, with(2, "a"));
    assert_eq!(store.reseal(Part::Grants, &[new]).await.unwrap(), 0);
    assert_eq!(store.grant(&at).await.unwrap(), Some((with(1, "b"), renewed)));
    let read = older(&*store, Part::Grants, 2).await.remove(0);
    assert_eq!(store.reseal(Part::Grants, &[(read, with(2, "b"))]).await.unwrap(), 1);
    // The grant is the same one: whoever saw its revision may still replace it.
    assert_eq!(store.grant(&at).await.unwrap(), Some((with(2, "b"), renewed)));
}
