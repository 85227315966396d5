//! Cases: attempts, and how runs of the queue end.

use std::sync::Arc;

use super::fixture::{
    acme, at, at_once, cancelled, claim, claim_one, done, ended, enqueue, given_back, kept,
    kept_connection, key, queued, rival, run, sealed, want,
};
use crate::{
    ErrorKind,
    record::{
        execution::{Begun, Execution, Idempotency, Recorded, State},
        run::{Claim, Claimed, Enqueue, Finished, Lease, Step, Worker},
    },
    store::Store,
};

/// A run that a worker holds from 0 to 60.
async fn held(store: &dyn Store) -> Claimed {
    enqueue(store, &[queued(0)]).await;
    claim_one(store, 0).await
}

fn step(position: u32, value: Option<&str>) -> Step {
    Step { position, name: format!("step {position}"), value: value.map(sealed) }
}

/// Whether the lease does anything; when it does not, that nothing of the run changes.
async fn is_lost(store: &dyn Store, lost: &Claimed) -> bool {
    let lease = &lost.lease;
    let before = kept(store, lease.id).await;
    let steps = store.steps(&acme(), lease.id).await.unwrap();
    let bodies = store.bodies(&acme(), lease.id).await.unwrap();
    let mut held = vec![
        store.extend(&[(lease.clone(), 77)], at(5000)).await.unwrap()[0],
        store.note_sent(lease).await.unwrap(),
        store.record_step(lease, &step(7, Some("late"))).await.unwrap(),
    ];
    held.extend(store.finish(&[given_back(lost, 5000), done(lost, 5000)]).await.unwrap());
    assert_eq!(kept(store, lease.id).await, before);
    assert_eq!(store.steps(&acme(), lease.id).await.unwrap(), steps);
    assert_eq!(store.bodies(&acme(), lease.id).await.unwrap(), bodies);
    held.into_iter().all(|is_held| !is_held)
}

pub(super) async fn a_lost_lease_changes_nothing(store: Arc<dyn Store>) {
    let first = held(&*store).await;
    let second = claim_one(&*store, 60).await;
    assert!(is_lost(&*store, &first).await);
    assert_eq!(store.finish(&[given_back(&second, 61)]).await.unwrap(), [true]);
    assert!(is_lost(&*store, &first).await);
    assert!(is_lost(&*store, &second).await);
    let third = claim_one(&*store, 61).await;
    assert!(!third.may_have_happened);
    assert_eq!(store.finish(&[done(&third, 62)]).await.unwrap(), [true]);
    for lost in [first, second, third] {
        assert!(is_lost(&*store, &lost).await);
    }
}

pub(super) async fn another_workers_lease_is_nobody_elses(store: Arc<dyn Store>) {
    let mine = held(&*store).await;
    let lease = Lease { worker: Worker("two".into()), ..mine.lease.clone() };
    assert!(is_lost(&*store, &Claimed { lease, ..mine.clone() }).await);
    let lease = Lease { fencing: 2, ..mine.lease.clone() };
    assert!(is_lost(&*store, &Claimed { lease, ..mine }).await);
}

pub(super) async fn an_extended_lease_lapses_later(store: Arc<dyn Store>) {
    let held = held(&*store).await;
    assert_eq!(store.extend(&[(held.lease.clone(), 40)], at(100)).await.unwrap(), [true]);
    assert_eq!(kept(&*store, held.lease.id).await.progress, 40);
    assert_eq!(claim(&*store, 99, 9).await, []);
    // It lapsed, but nobody took it.
    assert_eq!(store.extend(&[(held.lease.clone(), 41)], at(200)).await.unwrap(), [true]);
    assert_eq!(claim(&*store, 199, 9).await, []);
    assert_eq!(claim_one(&*store, 200).await.execution.progress, 41);
    let unknown = Lease { id: run(0).id, ..held.lease.clone() };
    let both = [(unknown, 1), (held.lease, 1)];
    assert_eq!(store.extend(&both, at(300)).await.unwrap(), [false, false]);
}

pub(super) async fn of_two_extensions_the_longer_one_stands(store: Arc<dyn Store>) {
    let held = held(&*store).await;
    for until in [300, 100] {
        assert_eq!(store.extend(&[(held.lease.clone(), 1)], at(until)).await.unwrap(), [true]);
    }
    assert_eq!(claim(&*store, 299, 9).await, []);
    claim_one(&*store, 300).await;
}

pub(super) async fn a_run_ends_with_its_outcome(store: Arc<dyn Store>) {
    let [first, second] = [held(&*store).await, held(&*store).await];
    let failed = Finished {
        execution: Execution {
            state: State::Error,
            error: Some(ErrorKind::UpstreamUnreachable),
            ..done(&second, 9).execution
        },
        outcome: None,
        ..done(&second, 9)
    };
    let done = done(&first, 9);
    assert_eq!(store.finish(&[done.clone(), failed.clone()]).await.unwrap(), [true, true]);
    for (ended, outcome) in [(done, Some(sealed("outcome"))), (failed, None)] {
        assert_eq!(kept(&*store, ended.lease.id).await, ended.execution);
        let bodies = store.bodies(&acme(), ended.lease.id).await.unwrap();
        assert_eq!(bodies, (Some(sealed("input")), outcome));
    }
    assert_eq!(claim(&*store, 9999, 9).await, []);
}

pub(super) async fn cancelling_beats_a_late_finish(store: Arc<dyn Store>) {
    let held = held(&*store).await;
    let asked = cancelled(&held.execution, 5);
    let ended = store.end(&asked, Some(&sealed("cancelled"))).await.unwrap();
    assert_eq!(ended.as_ref(), Some(&asked));
    assert!(is_lost(&*store, &held).await);
    assert_eq!(kept(&*store, asked.id).await, asked);
    let bodies = store.bodies(&acme(), asked.id).await.unwrap();
    assert_eq!(bodies, (Some(sealed("input")), Some(sealed("cancelled"))));
    assert_eq!(claim(&*store, 9999, 9).await, []);
}

pub(super) async fn a_finish_beats_late_cancelling(store: Arc<dyn Store>) {
    let held = held(&*store).await;
    let done = done(&held, 5);
    assert_eq!(store.finish(std::slice::from_ref(&done)).await.unwrap(), [true]);
    let late = cancelled(&held.execution, 6);
    let found = store.end(&late, Some(&sealed("cancelled"))).await.unwrap();
    assert_eq!(found, Some(done.execution));
    let (_, outcome) = store.bodies(&acme(), late.id).await.unwrap();
    assert_eq!(outcome, Some(sealed("outcome")));
    let missing = cancelled(&run(0), 6);
    assert_eq!(store.end(&missing, None).await.unwrap(), None);
}

pub(super) async fn a_finish_and_an_end_at_once_agree(store: Arc<dyn Store>) {
    for _ in 0..20 {
        let held = held(&*store).await;
        let (done, asked) = (done(&held, 5), cancelled(&held.execution, 5));
        let both = at_once(&store, 2, move |store, n| {
            let (done, asked) = (done.clone(), asked.clone());
            async move {
                match n {
                    0 => store.finish(&[done]).await.unwrap()[0],
                    _ => store.end(&asked, None).await.unwrap().unwrap().state == State::Cancelled,
                }
            }
        });
        assert_eq!(both.await.into_iter().filter(|has_won| *has_won).count(), 1);
    }
}

pub(super) async fn a_queued_run_is_ended_before_it_began(store: Arc<dyn Store>) {
    let run = enqueue(&*store, &[queued(0)]).await.remove(0);
    let asked = cancelled(&run, 5);
    assert_eq!(store.end(&asked, None).await.unwrap().as_ref(), Some(&asked));
    assert_eq!(kept(&*store, run.id).await.started_at, None);
    assert_eq!(claim(&*store, 9, 9).await, []);
    assert_eq!(store.next_due(at(0)).await.unwrap(), None);
}

pub(super) async fn ending_needs_a_final_state(store: Arc<dyn Store>) {
    let run = enqueue(&*store, &[queued(0)]).await.remove(0);
    let asked = Execution { state: State::Running, progress: 5, ..run.clone() };
    assert_eq!(store.end(&asked, None).await.unwrap().as_ref(), Some(&run));
    assert_eq!(kept(&*store, run.id).await, run);
}

pub(super) async fn a_begun_run_is_ended_too(store: Arc<dyn Store>) {
    let once = Idempotency { key: "once".into(), inputs: [7; 32], expires_at: at(600) };
    let begun = run(0);
    assert_eq!(store.begin(&begun, Some(&once), at(30)).await.unwrap(), Begun::New);
    let asked =
        Execution { error: Some(ErrorKind::Timeout), state: State::Error, ..cancelled(&begun, 5) };
    assert_eq!(store.end(&asked, Some(&sealed("late"))).await.unwrap().as_ref(), Some(&asked));
    store.record(&[Recorded::bare(ended(&begun))]).await.unwrap();
    assert_eq!(kept(&*store, begun.id).await, asked);
    let found = store.begin(&run(6), Some(&once), at(30)).await.unwrap();
    assert_eq!(found, Begun::Same(begun.id, sealed("late")));
    assert_eq!(store.orphans(at(900), 9).await.unwrap(), []);
}

pub(super) async fn a_run_that_is_given_back_waits_for_its_time(store: Arc<dyn Store>) {
    let first = held(&*store).await;
    assert!(store.extend(&[(first.lease.clone(), 30)], at(60)).await.unwrap()[0]);
    assert!(store.record_step(&first.lease, &step(0, Some("one"))).await.unwrap());
    let back = given_back(&first, 20);
    let back = Finished { execution: Execution { progress: 30, ..back.execution }, ..back };
    assert_eq!(store.finish(&[back]).await.unwrap(), [true]);
    let waits = kept(&*store, first.lease.id).await;
    let queued = Execution {
        state: State::Queued,
        upstream_status: Some(503),
        progress: 0,
        ended_at: None,
        ..first.execution.clone()
    };
    assert_eq!(waits, queued);
    assert_eq!(claim(&*store, 19, 9).await, []);
    let second = claim_one(&*store, 20).await;
    assert_eq!((second.execution.attempts, second.lease.fencing, second.crashes), (2, 2, 0));
    assert_eq!(second.execution.started_at, Some(at(0)));
    assert_eq!(second.work.run_at, at(20));
    assert_eq!(store.steps(&acme(), first.lease.id).await.unwrap(), [step(0, Some("one"))]);
}

pub(super) async fn an_undone_attempt_does_not_count(store: Arc<dyn Store>) {
    let first = held(&*store).await;
    let execution = Execution { started_at: None, ..given_back(&first, 5).execution };
    let undone = Finished { is_undone: true, execution, ..given_back(&first, 5) };
    assert_eq!(store.finish(&[undone]).await.unwrap(), [true]);
    let waits = kept(&*store, first.lease.id).await;
    assert_eq!((waits.attempts, waits.started_at), (0, None));
    let second = claim_one(&*store, 9).await;
    assert_eq!((second.execution.attempts, second.lease.fencing), (1, 2));
    assert_eq!(second.execution.started_at, Some(at(9)));
}

pub(super) async fn a_note_of_sending_outlives_its_worker(store: Arc<dyn Store>) {
    let first = held(&*store).await;
    assert!(!first.may_have_happened);
    assert!(store.note_sent(&first.lease).await.unwrap());
    let second = claim_one(&*store, 60).await;
    assert!(second.may_have_happened);
    let third = claim_one(&*store, 120).await;
    assert!(third.may_have_happened);
    assert_eq!(store.finish(&[given_back(&third, 121)]).await.unwrap(), [true]);
    assert!(!claim_one(&*store, 121).await.may_have_happened);
}

pub(super) async fn steps_are_kept_until_the_end(store: Arc<dyn Store>) {
    let first = held(&*store).await;
    let id = first.lease.id;
    for step in
        [step(1, None), step(0, Some("zero")), step(11, Some("eleven")), step(1, Some("one"))]
    {
        assert!(store.record_step(&first.lease, &step).await.unwrap());
    }
    let all = [step(0, Some("zero")), step(1, Some("one")), step(11, Some("eleven"))];
    assert_eq!(store.steps(&acme(), id).await.unwrap(), all);
    assert_eq!(store.steps(&rival(), id).await.unwrap(), []);
    let second = claim_one(&*store, 60).await;
    assert_eq!(store.steps(&acme(), id).await.unwrap(), all);
    assert_eq!(store.finish(&[done(&second, 61)]).await.unwrap(), [true]);
    assert_eq!(store.steps(&acme(), id).await.unwrap(), []);
}

pub(super) async fn attempts_that_end_together_end_each_for_itself(store: Arc<dyn Store>) {
    let once = Idempotency { key: "once".into(), inputs: [1; 32], expires_at: at(600) };
    let keyed = Enqueue { idempotency: Some(once.clone()), ..queued(0) };
    enqueue(&*store, &[keyed, queued(1), queued(2), queued(3), queued(4)]).await;
    let claimed: [Claimed; 5] = claim(&*store, 9, 9).await.try_into().unwrap();
    let [keyed, stepped, returned, lost, plain] = &claimed;
    assert!(store.record_step(&stepped.lease, &step(0, Some("zero"))).await.unwrap());
    assert!(store.record_step(&returned.lease, &step(0, Some("kept"))).await.unwrap());
    let stale = Lease { fencing: 0, ..lost.lease.clone() };
    let stale = Finished { lease: stale, ..done(lost, 10) };
    let unsaid = Finished { outcome: None, ..done(plain, 10) };
    let ends = [
        done(keyed, 10),
        done(stepped, 10),
        given_back(returned, 20),
        stale,
        unsaid,
        done(plain, 11),
    ];
    let held = store.finish(&ends).await.unwrap();
    assert_eq!(held, [true, true, true, false, true, false]);
    for (claimed, state) in claimed.iter().zip([
        State::Success,
        State::Success,
        State::Queued,
        State::Running,
        State::Success,
    ]) {
        assert_eq!(kept(&*store, claimed.lease.id).await.state, state);
    }
    let outcome = async |of: &Claimed| store.bodies(&acme(), of.lease.id).await.unwrap().1;
    assert_eq!(outcome(keyed).await, Some(sealed("outcome")));
    assert_eq!((outcome(lost).await, outcome(plain).await), (None, None));
    let repeat = store.begin(&run(30), Some(&once), at(900)).await.unwrap();
    assert_eq!(repeat, Begun::Same(keyed.lease.id, sealed("outcome")));
    assert_eq!(store.steps(&acme(), stepped.lease.id).await.unwrap(), []);
    let again = claim_one(&*store, 20).await;
    assert_eq!(again.lease.id, returned.lease.id);
    let all = [step(0, Some("kept"))];
    assert_eq!(store.steps(&acme(), again.lease.id).await.unwrap(), all);
    assert_eq!(store.finish(&[done(&again, 21)]).await.unwrap(), [true]);
    assert_eq!(store.steps(&acme(), again.lease.id).await.unwrap(), []);
}

pub(super) async fn ending_a_run_notes_what_it_used(store: Arc<dyn Store>) {
    let (key, connection) = (key(0), kept_connection(&*store, 0).await);
    assert!(store.insert_key(&key, None).await.unwrap());
    let mut asked = queued(5);
    asked.execution.key = Some(key.id);
    asked.execution.connection = Some(connection.id);
    enqueue(&*store, &[asked]).await;
    let claimed = claim_one(&*store, 7).await;
    assert_eq!(store.finish(&[done(&claimed, 9)]).await.unwrap(), [true]);
    let key = store.key_by_hash(&key.hash).await.unwrap().unwrap();
    assert_eq!(key.last_used_at, Some(at(7)));
    let used = store.connection(&acme(), connection.id).await.unwrap().unwrap();
    assert_eq!(used.last_used_at, Some(at(7)));
}

pub(super) async fn lost_calls_are_found(store: Arc<dyn Store>) {
    let runs = [run(0), run(1), run(2), run(3)];
    for (run, until) in runs.iter().zip([40, 20, 30, 20]) {
        assert_eq!(store.begin(run, None, at(until)).await.unwrap(), Begun::New);
    }
    enqueue(&*store, &[queued(0)]).await;
    claim_one(&*store, 0).await;
    store.record(&[Recorded::bare(ended(&runs[3]))]).await.unwrap();
    assert_eq!(store.orphans(at(19), 9).await.unwrap(), []);
    assert_eq!(store.orphans(at(20), 9).await.unwrap(), [runs[1].clone()]);
    let all = [runs[1].clone(), runs[2].clone(), runs[0].clone()];
    assert_eq!(store.orphans(at(500), 9).await.unwrap(), all);
    assert_eq!(store.orphans(at(500), 2).await.unwrap(), all[..2]);
    store.record(&[Recorded::bare(ended(&runs[1]))]).await.unwrap();
    assert_eq!(store.orphans(at(500), 9).await.unwrap(), all[1..]);
}

pub(super) async fn adopting_finds_lost_calls_at_once(store: Arc<dyn Store>) {
    let (lost, over) = (run(0), run(1));
    for run in [&lost, &over] {
        assert_eq!(store.begin(run, None, at(900)).await.unwrap(), Begun::New);
    }
    store.record(&[Recorded::bare(ended(&over))]).await.unwrap();
    assert_eq!(store.adopt(at(5)).await.unwrap(), 0);
    assert_eq!(store.orphans(at(4), 9).await.unwrap(), []);
    assert_eq!(store.orphans(at(5), 9).await.unwrap(), [lost]);
}

pub(super) async fn bodies_are_kept_with_a_call(store: Arc<dyn Store>) {
    let [begun, direct] = [run(0), run(1)];
    assert_eq!(store.begin(&begun, None, at(900)).await.unwrap(), Begun::New);
    assert_eq!(store.bodies(&acme(), begun.id).await.unwrap(), (None, None));
    let large = "x".repeat(1 << 20);
    for (run, text) in [(&begun, "out"), (&direct, large.as_str())] {
        let (input, outcome) = (Some(sealed("in")), Some(sealed(text)));
        let recorded = Recorded { input, outcome, ..Recorded::bare(ended(run)) };
        store.record(&[recorded]).await.unwrap();
        let bodies = store.bodies(&acme(), run.id).await.unwrap();
        assert_eq!(bodies, (Some(sealed("in")), Some(sealed(text))));
    }
    assert_eq!(store.bodies(&rival(), begun.id).await.unwrap(), (None, None));
    assert_eq!(store.bodies(&acme(), run(2).id).await.unwrap(), (None, None));
    assert_eq!(store.prune(at(900), at(900), 9).await.unwrap(), 2);
    assert_eq!(store.bodies(&acme(), begun.id).await.unwrap(), (None, None));
}

pub(super) async fn pruning_takes_what_belongs_to_a_run_and_no_run_that_waits(
    store: Arc<dyn Store>,
) {
    let over = held(&*store).await;
    assert_eq!(store.finish(&[done(&over, 1)]).await.unwrap(), [true]);
    let running = held(&*store).await;
    assert!(store.record_step(&running.lease, &step(0, Some("zero"))).await.unwrap());
    let waits = enqueue(&*store, &[Enqueue { ..queued(0) }]).await.remove(0);
    assert_eq!(store.prune(at(5000), at(5000), 100).await.unwrap(), 1);
    assert_eq!(store.execution(&acme(), over.lease.id).await.unwrap(), None);
    assert_eq!(store.bodies(&acme(), over.lease.id).await.unwrap(), (None, None));
    assert_eq!(store.steps(&acme(), running.lease.id).await.unwrap(), [step(0, Some("zero"))]);
    assert_eq!(kept(&*store, running.lease.id).await, running.execution);
    assert_eq!(kept(&*store, waits.id).await, waits);
    let claimed = store.claim(&Claim { saturated: vec![rival()], ..want(30, 9) }).await.unwrap();
    assert_eq!(claimed[0].execution.id, waits.id);
    assert_eq!(claimed[0].work.input, sealed("input"));
}
