//! Cases: reserved shares of limits.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicI64, Ordering},
};

use tokio::sync::Barrier;

use super::fixture::{acme, at_once, rival};
use crate::{
    record::usage::{Reserve, Share, Window},
    store::Store,
};

/// A process asks for `want` of 100 a minute in the bucket `now`, to be spent within five more.
fn ask(node: &str, now: i64, want: u32) -> Reserve {
    Reserve {
        subject: "key".into(),
        window: Window::Minute,
        node: node.into(),
        spent: Vec::new(),
        now,
        until: now + 5,
        want,
        limit: 100,
    }
}

async fn granted(store: &dyn Store, reserve: &Reserve) -> u32 {
    store.reserve(&acme(), reserve).await.unwrap().granted
}

pub(super) async fn other_processes_are_shown(store: Arc<dyn Store>) {
    assert_eq!(granted(&*store, &ask("one", 1000, 30)).await, 30);
    let second = store.reserve(&acme(), &ask("two", 1001, 90)).await.unwrap();
    assert_eq!(second, Share { granted: 70, others: vec![(1005, 30)] });
    let spent = Reserve { spent: vec![(1000, 2), (1002, 3)], ..ask("one", 1002, 0) };
    let first = store.reserve(&acme(), &spent).await.unwrap();
    assert_eq!(first, Share { granted: 0, others: vec![(1006, 70)] });
    let third = store.reserve(&acme(), &ask("three", 1002, 0)).await.unwrap();
    assert_eq!(third.others, [(1000, 2), (1002, 3), (1006, 70)]);
}

pub(super) async fn what_was_not_spent_comes_back(store: Arc<dyn Store>) {
    assert_eq!(granted(&*store, &ask("one", 1000, 100)).await, 100);
    assert_eq!(granted(&*store, &ask("two", 1000, 1)).await, 0);
    let spent = Reserve { spent: vec![(1000, 10)], ..ask("one", 1001, 20) };
    assert_eq!(granted(&*store, &spent).await, 20);
    assert_eq!(granted(&*store, &ask("two", 1001, 100)).await, 70);
}

pub(super) async fn what_was_spent_counts(store: Arc<dyn Store>) {
    let spent = Reserve { spent: vec![(990, 60), (1000, 30)], ..ask("one", 1000, 50) };
    assert_eq!(granted(&*store, &spent).await, 10);
    assert_eq!(granted(&*store, &Reserve { limit: 5, ..ask("two", 1000, 50) }).await, 0);
    assert_eq!(granted(&*store, &ask("two", 1049, 50)).await, 0);
    assert_eq!(granted(&*store, &ask("two", 1050, 99)).await, 60);
}

pub(super) async fn a_grant_leaves_with_its_window(store: Arc<dyn Store>) {
    assert_eq!(granted(&*store, &ask("crashed", 1000, 100)).await, 100);
    assert_eq!(granted(&*store, &ask("next", 1064, 100)).await, 0);
    assert_eq!(granted(&*store, &ask("next", 1065, 100)).await, 100);
    let day = |node, now| Reserve { window: Window::Day, until: now, ..ask(node, now, 100) };
    assert_eq!(granted(&*store, &day("crashed", 20_000)).await, 100);
    assert_eq!(granted(&*store, &day("next", 20_000)).await, 0);
    assert_eq!(granted(&*store, &day("next", 20_001)).await, 100);
}

pub(super) async fn limits_are_apart_by_owner_subject_and_window(store: Arc<dyn Store>) {
    let first = ask("one", 1000, 100);
    assert_eq!(granted(&*store, &first).await, 100);
    let theirs = store.reserve(&rival(), &first).await.unwrap();
    assert_eq!(theirs, Share { granted: 100, others: vec![] });
    let subject = Reserve { subject: "another".into(), ..first.clone() };
    assert_eq!(granted(&*store, &subject).await, 100);
    let window = Reserve { window: Window::Day, ..first };
    assert_eq!(granted(&*store, &window).await, 100);
}

pub(super) async fn a_clock_that_was_set_back_blocks_for_two_windows_at_most(
    store: Arc<dyn Store>,
) {
    assert_eq!(granted(&*store, &ask("early", 900_000, 100)).await, 100);
    assert_eq!(granted(&*store, &ask("late", 1000, 100)).await, 0);
    assert_eq!(granted(&*store, &ask("late", 1065, 100)).await, 100);
    let near = Reserve { subject: "near".into(), ..ask("early", 1040, 100) };
    assert_eq!(granted(&*store, &near).await, 100);
    let late = |now| Reserve { node: "late".into(), ..ask("late", now, 100) };
    let late = |now| Reserve { subject: "near".into(), ..late(now) };
    assert_eq!(granted(&*store, &late(1000)).await, 0);
    assert_eq!(granted(&*store, &late(1104)).await, 0);
    assert_eq!(granted(&*store, &late(1120)).await, 100);
}

pub(super) async fn a_late_reading_of_the_clock_sees_its_window(store: Arc<dyn Store>) {
    assert_eq!(granted(&*store, &ask("one", 1000, 100)).await, 100);
    assert_eq!(granted(&*store, &ask("two", 1065, 0)).await, 0);
    assert_eq!(granted(&*store, &ask("three", 1064, 100)).await, 0);
}

/// One process that reserves shares and spends them, as the limiter does.
struct Node {
    name: String,
    spent: Vec<(i64, u32)>,
    left: u32,
    until: i64,
}

impl Node {
    fn new(n: usize) -> Self {
        Self { name: format!("node_{n}"), spent: Vec::new(), left: 0, until: 0 }
    }

    async fn refill(&mut self, store: &dyn Store, now: i64, (want, ahead): (u32, i64)) {
        let reserve = Reserve {
            spent: self.spent.clone(),
            until: now + ahead,
            limit: LIMIT,
            ..ask(&self.name, now, want)
        };
        let share = store.reserve(&acme(), &reserve).await.unwrap();
        (self.left, self.until) = (share.granted, reserve.until);
    }

    fn spend(&mut self, now: i64) -> bool {
        let may = self.left > 0 && now <= self.until;
        if may {
            self.left -= 1;
            self.spent.push((now, 1));
        }
        may
    }
}

const LIMIT: u32 = 40;

/// Checks every window of 60 buckets, and that the limit was worth reserving.
fn check(mut calls: Vec<i64>) {
    calls.sort_unstable();
    let most = LIMIT as usize;
    for window in calls.windows(most + 1) {
        assert!(window[most] - window[0] >= 60, "more than {most} calls from {}", window[0]);
    }
    assert!(calls.len() > most, "hardly any call was let through");
}

pub(super) async fn random_nodes_never_exceed_the_limit(store: Arc<dyn Store>) {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) % below
    };
    let mut nodes: Vec<_> = (0..4).map(Node::new).collect();
    let (mut calls, mut now, mut started) = (Vec::new(), 1000, nodes.len());
    for _ in 0..1500 {
        now += i64::from(random(4) == 0);
        let node = &mut nodes[random(4) as usize];
        // A process reads its clock a little before its transaction begins.
        let read = now - i64::from(random(2) == 0);
        match random(20) {
            0 => {
                *node = Node::new(started);
                started += 1;
            }
            1..7 => {
                let share = (1 + random(30) as u32, random(20) as i64);
                node.refill(&*store, read, share).await;
            }
            _ => {
                let share = random(8);
                calls.extend((0..share).filter(|_| node.spend(now)).map(|_| now));
            }
        }
    }
    check(calls);
}

pub(super) async fn parallel_nodes_never_exceed_the_limit(store: Arc<dyn Store>) {
    let (clock, calls) = (Arc::new(AtomicI64::new(1000)), Arc::new(Mutex::new(Vec::new())));
    // Keeps the processes' readings of the clock within a window of each other.
    let together = Arc::new(Barrier::new(4));
    let seen = calls.clone();
    let work = at_once(&store, 4, move |store, n| {
        let (clock, calls, together) = (clock.clone(), seen.clone(), together.clone());
        async move {
            let mut node = Node::new(n as usize);
            for step in 0..200 {
                if step % 10 == 0 {
                    together.wait().await;
                }
                let now = clock.load(Ordering::SeqCst);
                node.refill(&*store, now, (7, step % 9)).await;
                for _ in 0..(step % 11) {
                    // The call is noted while the clock stands still: a tick waits for the lock.
                    let mut calls = calls.lock().unwrap();
                    let now = clock.load(Ordering::SeqCst);
                    calls.extend(node.spend(now).then_some(now));
                }
                let _stand = calls.lock().unwrap();
                clock.fetch_add(i64::from(step % 3 == 0), Ordering::SeqCst);
            }
        }
    });
    work.await;
    let calls = std::mem::take(&mut *calls.lock().unwrap());
    check(calls);
}
