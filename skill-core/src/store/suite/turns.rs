//! Cases: which run is claimed, and when.

use std::sync::Arc;

use super::fixture::{
    acme, at, at_once, claim, claim_one, done, enqueue, given_back, queued, queued_in, rival, slug,
    want,
};
use crate::{
    id::ExecutionId,
    record::run::{Claim, Claimed, Enqueue, Group, Lane, Worker},
    store::Store,
};

fn ids(claimed: &[Claimed]) -> Vec<ExecutionId> {
    claimed.iter().map(|claimed| claimed.execution.id).collect()
}

fn id(asked: &Enqueue) -> ExecutionId {
    asked.execution.id
}

/// A run that shares a bound.
fn grouped(most: u32, asked: Enqueue) -> Enqueue {
    let mut asked = asked;
    asked.work.group = Some(Group { name: "sync".into(), most });
    asked
}

pub(super) async fn nothing_runs_before_its_time(store: Arc<dyn Store>) {
    let [mut soon, mut later] = [queued(0), queued(1)];
    (soon.work.run_at, later.work.run_at) = (at(50), at(100));
    later.work.priority = 9;
    enqueue(&*store, &[later.clone(), soon.clone()]).await;
    assert_eq!(claim(&*store, 49, 9).await, []);
    assert_eq!(ids(&claim(&*store, 50, 9).await), [id(&soon)]);
    assert_eq!(claim(&*store, 99, 9).await, []);
    assert_eq!(ids(&claim(&*store, 100, 9).await), [id(&later)]);
}

pub(super) async fn a_delayed_run_does_not_hold_up_others(store: Arc<dyn Store>) {
    let (mut late, now) = (queued(0), queued(1));
    (late.work.run_at, late.work.priority) = (at(100), 9);
    enqueue(&*store, &[late.clone(), now.clone()]).await;
    assert_eq!(ids(&claim(&*store, 10, 9).await), [id(&now)]);
}

pub(super) async fn the_order_is_priority_time_and_age(store: Arc<dyn Store>) {
    let mut runs = [queued(5), queued(1), queued(2), queued(3), queued(4)];
    let order = [(9, 5), (9, 5), (1, 2), (1, 3), (-1, 0)];
    for (run, (priority, run_at)) in runs.iter_mut().zip(order) {
        (run.work.priority, run.work.run_at) = (priority, at(run_at));
    }
    for n in [3, 0, 4, 2, 1] {
        enqueue(&*store, &runs[n..=n]).await;
    }
    let expected = [&runs[1], &runs[0], &runs[2], &runs[3], &runs[4]].map(id);
    let mut found = ids(&claim(&*store, 9, 2).await);
    found.extend(ids(&claim(&*store, 9, 1).await));
    found.extend(ids(&claim(&*store, 9, 9).await));
    assert_eq!(found, expected);
}

pub(super) async fn a_claim_takes_as_many_as_it_wants(store: Arc<dyn Store>) {
    let runs: Vec<_> =
        (0..30).map(|n| queued_in(acme(), ["a1", "b1", "c1"][n as usize % 3], n)).collect();
    enqueue(&*store, &runs).await;
    assert_eq!(claim(&*store, 60, 0).await, []);
    assert_eq!(claim(&*store, 60, 1).await.len(), 1);
    assert_eq!(claim(&*store, 60, 8).await.len(), 8);
    assert_eq!(claim(&*store, 60, 100).await.len(), 21);
    assert_eq!(claim(&*store, 60, 100).await, []);
}

pub(super) async fn owners_take_turns(store: Arc<dyn Store>) {
    let many: Vec<_> = (0..1000).map(queued).collect();
    enqueue(&*store, &many).await;
    let one = queued_in(rival(), "github", 1001);
    enqueue(&*store, std::slice::from_ref(&one)).await;
    assert_eq!(
        ids(&claim(&*store, 2000, 4).await),
        [id(&many[0]), id(&one), id(&many[1]), id(&many[2])]
    );
}

pub(super) async fn integrations_of_one_owner_take_turns(store: Arc<dyn Store>) {
    let mut many: Vec<_> = (0..100).map(|n| queued_in(acme(), "git_lab", n)).collect();
    many.iter_mut().for_each(|run| run.work.priority = 9);
    enqueue(&*store, &many).await;
    let few = [queued_in(acme(), "jira", 101), queued_in(acme(), "jira", 102)];
    enqueue(&*store, &few).await;
    let claimed = ids(&claim(&*store, 200, 6).await);
    assert_eq!(claimed, [&many[0], &few[0], &many[1], &few[1], &many[2], &many[3]].map(id));
}

pub(super) async fn turns_begin_behind_the_lane_that_was_served_last(store: Arc<dyn Store>) {
    let mut runs = Vec::new();
    for n in 0..3 {
        for (owner, namespace) in [(acme(), "aa"), (acme(), "m_m"), (rival(), "aa")] {
            runs.push(queued_in(owner, namespace, n));
        }
    }
    enqueue(&*store, &runs).await;
    let behind = async |owner, namespace| {
        let after = Some(Lane { owner, namespace: slug(namespace) });
        ids(&store.claim(&Claim { after, ..want(9, 1) }).await.unwrap())
    };
    assert_eq!(behind(acme(), "aa").await, [id(&runs[1])]);
    assert_eq!(behind(acme(), "m-m").await, [id(&runs[2])]);
    assert_eq!(behind(rival(), "aa").await, [id(&runs[0])]);
    assert_eq!(behind(acme(), "bb").await, [id(&runs[4])]);
    assert_eq!(behind(rival(), "zz").await, [id(&runs[3])]);
    let after = Some(Lane { owner: acme(), namespace: slug("aa") });
    let claimed = ids(&store.claim(&Claim { after, ..want(9, 3) }).await.unwrap());
    assert_eq!(claimed, [&runs[7], &runs[5], &runs[6]].map(id));
}

pub(super) async fn saturated_owners_wait(store: Arc<dyn Store>) {
    let (mine, theirs) = (queued(0), queued_in(rival(), "github", 1));
    enqueue(&*store, &[mine.clone(), theirs.clone()]).await;
    let saturated = |owners| Claim { saturated: owners, ..want(9, 9) };
    let nobody = store.claim(&saturated(vec![acme(), rival()])).await.unwrap();
    assert_eq!(nobody, []);
    let claimed = store.claim(&saturated(vec![acme()])).await.unwrap();
    assert_eq!(ids(&claimed), [id(&theirs)]);
    assert_eq!(ids(&claim(&*store, 9, 9).await), [id(&mine)]);
    let lapsed = store.claim(&Claim { now: at(500), ..saturated(vec![acme()]) }).await.unwrap();
    assert_eq!(ids(&lapsed), [id(&theirs)]);
}

pub(super) async fn a_group_bounds_what_runs_at_once(store: Arc<dyn Store>) {
    let runs: Vec<_> = (0..5).map(|n| grouped(2, queued(n))).collect();
    enqueue(&*store, &runs).await;
    let first = claim(&*store, 9, 9).await;
    assert_eq!(ids(&first), [id(&runs[0]), id(&runs[1])]);
    assert_eq!(claim(&*store, 9, 9).await, []);
    assert_eq!(store.finish(&[done(&first[0], 10)]).await.unwrap(), [true]);
    assert_eq!(ids(&claim(&*store, 10, 9).await), [id(&runs[2])]);
    assert_eq!(store.finish(&[given_back(&first[1], 10)]).await.unwrap(), [true]);
    assert_eq!(ids(&claim(&*store, 10, 9).await), [id(&runs[3])]);
    let both = claim(&*store, 70, 9).await;
    assert_eq!(ids(&both), [id(&runs[2]), id(&runs[3])]);
}

pub(super) async fn a_jump_of_the_clock_leaves_a_group_its_bound(store: Arc<dyn Store>) {
    let runs: Vec<_> = (0..3).map(|n| grouped(2, queued(n))).collect();
    enqueue(&*store, &runs).await;
    let held = claim(&*store, 9, 9).await;
    // Their leases have lapsed by the time of day, and their worker lives.
    let mut late = grouped(2, queued(5000));
    late.claimed = Some((held[0].lease.worker.clone(), at(5060)));
    enqueue(&*store, &[late]).await;
    assert_eq!(ids(&claim(&*store, 5000, 9).await), [id(&runs[0]), id(&runs[1])]);
    // Of a worker that is gone nothing is left.
    let other = Claim { worker: Worker("two".into()), ..want(9000, 9) };
    let taken = store.claim(&other).await.unwrap();
    assert_eq!(ids(&taken), [id(&runs[0]), id(&runs[1])]);
    assert_eq!(store.finish(&[done(&taken[0], 9001)]).await.unwrap(), [true]);
    assert_eq!(ids(&claim(&*store, 9001, 9).await), [id(&runs[2])]);
}

pub(super) async fn a_full_group_holds_up_nobody_else(store: Arc<dyn Store>) {
    let mut runs: Vec<_> = (0..100).map(|n| grouped(1, queued(n))).collect();
    let mut other = grouped(1, queued(101));
    other.work.group = Some(Group { name: "other".into(), most: 1 });
    runs.extend([other, queued(102)]);
    enqueue(&*store, &runs).await;
    let claimed = ids(&claim(&*store, 200, 9).await);
    assert_eq!(claimed, [id(&runs[0]), id(&runs[100]), id(&runs[101])]);
}

pub(super) async fn a_group_is_one_owners_in_every_integration(store: Arc<dyn Store>) {
    let runs = [
        grouped(1, queued_in(acme(), "github", 0)),
        grouped(1, queued_in(acme(), "gitlab", 1)),
        grouped(1, queued_in(rival(), "github", 2)),
    ];
    enqueue(&*store, &runs).await;
    let claimed = claim(&*store, 9, 9).await;
    assert_eq!(ids(&claimed), [id(&runs[0]), id(&runs[2])]);
    assert_eq!(store.finish(&[done(&claimed[0], 10)]).await.unwrap(), [true]);
    assert_eq!(ids(&claim(&*store, 10, 9).await), [id(&runs[1])]);
}

pub(super) async fn a_lapsed_lease_is_taken_over_as_a_crash(store: Arc<dyn Store>) {
    enqueue(&*store, &[queued(0)]).await;
    let first = claim_one(&*store, 0).await;
    assert_eq!((first.lease.fencing, first.crashes, first.execution.attempts), (1, 0, 1));
    assert_eq!(claim(&*store, 59, 9).await, []);
    let other = Claim { worker: Worker("two".into()), ..want(60, 9) };
    let second = store.claim(&other).await.unwrap().remove(0);
    assert_eq!((second.lease.fencing, second.crashes, second.execution.attempts), (2, 1, 2));
    assert_eq!(second.lease.worker, Worker("two".into()));
    assert_eq!(second.lease.until, at(120));
    assert_eq!(second.execution.started_at, Some(at(0)));
    let third = claim_one(&*store, 500).await;
    assert_eq!((third.lease.fencing, third.crashes, third.execution.attempts), (3, 2, 3));
    assert_eq!(store.finish(&[given_back(&third, 500)]).await.unwrap(), [true]);
    let fourth = claim_one(&*store, 500).await;
    assert_eq!((fourth.lease.fencing, fourth.crashes, fourth.execution.attempts), (4, 2, 4));
}

pub(super) async fn lapsed_runs_wait_their_turn(store: Arc<dyn Store>) {
    let lost = queued(0);
    enqueue(&*store, std::slice::from_ref(&lost)).await;
    claim_one(&*store, 0).await;
    let mut urgent = queued(10);
    urgent.work.priority = 1;
    let other = queued_in(rival(), "github", 11);
    enqueue(&*store, &[urgent.clone(), queued(12), other.clone()]).await;
    let claimed = ids(&claim(&*store, 60, 3).await);
    assert_eq!(claimed, [id(&urgent), id(&other), id(&lost)]);
}

pub(super) async fn adopted_leases_lapse_at_once(store: Arc<dyn Store>) {
    enqueue(&*store, &[queued(0), queued(1), queued(2)]).await;
    let claimed = claim(&*store, 5, 2).await;
    assert_eq!(claim(&*store, 6, 9).await.len(), 1);
    assert_eq!(store.finish(&[done(&claimed[0], 6)]).await.unwrap(), [true]);
    assert_eq!(store.adopt(at(7)).await.unwrap(), 2);
    let again = claim(&*store, 7, 9).await;
    assert_eq!(again.len(), 2);
    assert!(again.iter().all(|claimed| claimed.crashes == 1 && claimed.lease.fencing == 2));
    assert_eq!(store.finish(&[done(&claimed[1], 8)]).await.unwrap(), [false]);
}

pub(super) async fn the_next_due_time_is_known(store: Arc<dyn Store>) {
    assert_eq!(store.next_due(at(0)).await.unwrap(), None);
    let mut late = queued(0);
    late.work.run_at = at(100);
    enqueue(&*store, &[late, queued(1)]).await;
    assert_eq!(store.next_due(at(1)).await.unwrap(), Some(at(100)));
    let claimed = claim_one(&*store, 1).await;
    assert_eq!(store.next_due(at(1)).await.unwrap(), Some(at(61)));
    assert_eq!(store.next_due(at(61)).await.unwrap(), Some(at(100)));
    assert_eq!(store.extend(&[(claimed.lease.clone(), 9)], at(200)).await.unwrap(), [true]);
    assert_eq!(store.next_due(at(61)).await.unwrap(), Some(at(100)));
    assert_eq!(store.next_due(at(100)).await.unwrap(), Some(at(200)));
    assert_eq!(store.finish(&[given_back(&claimed, 300)]).await.unwrap(), [true]);
    assert_eq!(store.next_due(at(100)).await.unwrap(), Some(at(300)));
    assert_eq!(store.next_due(at(300)).await.unwrap(), None);
    let both = claim(&*store, 300, 9).await;
    let done: Vec<_> = both.iter().map(|claimed| done(claimed, 301)).collect();
    assert_eq!(store.finish(&done).await.unwrap(), [true, true]);
    assert_eq!(store.next_due(at(301)).await.unwrap(), None);
}

pub(super) async fn many_claimers_never_get_the_same_run(store: Arc<dyn Store>) {
    let runs: Vec<_> = (0..400)
        .map(|n| {
            queued_in(
                [acme(), rival()][n as usize % 2].clone(),
                ["a1", "b1"][n as usize / 2 % 2],
                n,
            )
        })
        .collect();
    enqueue(&*store, &runs).await;
    let claimed = at_once(&store, 16, async |store, n| {
        let (mut all, worker) = (Vec::new(), Worker(n.to_string()));
        loop {
            let want = Claim { worker: worker.clone(), ..want(1000, 7) };
            let claimed = store.claim(&want).await.unwrap();
            if claimed.is_empty() {
                return all;
            }
            let done: Vec<_> = claimed.iter().map(|claimed| done(claimed, 1001)).collect();
            assert!(store.finish(&done).await.unwrap().into_iter().all(|is_mine| is_mine));
            all.extend(ids(&claimed));
        }
    });
    let mut found = claimed.await.concat();
    assert_eq!(found.len(), 400);
    found.sort();
    let mut expected: Vec<_> = runs.iter().map(id).collect();
    expected.sort();
    assert_eq!(found, expected);
}

pub(super) async fn submits_and_claimers_at_once_run_everything_once(store: Arc<dyn Store>) {
    let claimed = at_once(&store, 20, async |store, n| {
        let mut mine = Vec::new();
        for m in 0..20 {
            enqueue(&*store, &[queued(n * 100 + m)]).await;
            mine.extend(claim(&*store, 3000, 2).await);
        }
        ids(&mine)
    });
    let mut found = claimed.await.concat();
    found.extend(ids(&claim(&*store, 3000, 1000).await));
    assert_eq!(found.len(), 400);
    found.sort();
    found.dedup();
    assert_eq!(found.len(), 400);
}
