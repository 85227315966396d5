//! Who goes first, and who goes at the same time.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::json;
use skill_core::{queue::Submission, record::run::Group, skill::Skill, store::MemoryStore};

use super::{
    super::{
        fixture::{World, call, owner},
        script::me,
    },
    flowing_over, settings, skill_with,
};

/// Counts how many of its runs go on at once, and writes down who ran.
#[derive(Clone, Default)]
struct Meter {
    now: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
    order: Arc<Mutex<Vec<String>>>,
}

impl Meter {
    fn skill(&self, name: &str, group: Option<u32>) -> Arc<dyn Skill> {
        let meter = self.clone();
        let bounded = |info: &mut skill_core::skill::SkillInfo| {
            info.group = group.map(|most| Group { name: "test/one".into(), most });
        };
        skill_with(name, bounded, move |context, input| {
            let meter = meter.clone();
            async move {
                let now = meter.now.fetch_add(1, Ordering::SeqCst) + 1;
                meter.most.fetch_max(now, Ordering::SeqCst);
                let who = format!("{} {}", context.run().owner, input["n"]);
                meter.order.lock().unwrap().push(who);
                tokio::time::sleep(Duration::from_millis(100)).await;
                meter.now.fetch_sub(1, Ordering::SeqCst);
                Ok(json!(null))
            }
        })
    }

    fn order(&self) -> Vec<String> {
        self.order.lock().unwrap().clone()
    }
}

async fn metered(slots: u32, group: Option<u32>) -> (World, Meter) {
    let meter = Meter::default();
    let bounds = settings(|s| s.slots = slots);
    let skill = meter.skill("work", group);
    let store = Arc::new(MemoryStore::new());
    (flowing_over(store, |b| b.queue(bounds).skill(skill.clone())).await, meter)
}

fn work(n: u32) -> Submission {
    Submission::new(call("test", "work").param("n", n))
}

#[tokio::test(start_paused = true)]
async fn a_thousand_runs_of_one_owner_do_not_starve_one_of_another() {
    let (world, meter) = metered(4, None).await;
    for n in 0..100 {
        world.submit_as(&owner("many"), work(n)).await.unwrap();
    }
    tokio::time::sleep(Duration::from_millis(250)).await;
    let begun = tokio::time::Instant::now();
    let id = world.submit_as(&world.caller, work(0)).await.unwrap();
    world.ended(id).await;
    assert!(begun.elapsed() < Duration::from_millis(250), "{:?}", begun.elapsed());
    assert!(meter.most.load(Ordering::SeqCst) <= 4);
}

#[tokio::test(start_paused = true)]
async fn nobody_holds_more_than_three_quarters_of_the_places() {
    let (world, meter) = metered(8, None).await;
    let mut ids = Vec::new();
    for n in 0..40 {
        ids.push(world.submit_as(&world.caller, work(n)).await.unwrap());
    }
    for id in ids {
        world.ended(id).await;
    }
    assert_eq!(meter.most.load(Ordering::SeqCst), 6);
}

#[tokio::test(start_paused = true)]
async fn one_place_is_enough() {
    let (world, meter) = metered(1, None).await;
    let mut ids = Vec::new();
    for n in 0..10 {
        ids.push(world.submit_as(&world.caller, work(n)).await.unwrap());
    }
    let begun = tokio::time::Instant::now();
    for id in ids {
        world.ended(id).await;
    }
    assert_eq!(meter.most.load(Ordering::SeqCst), 1);
    assert!(begun.elapsed() < Duration::from_millis(1_500), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn owners_take_turns() {
    let (world, meter) = metered(1, None).await;
    for who in ["a", "b", "c"] {
        for n in 0..4 {
            world.submit_as(&owner(who), work(n)).await.unwrap();
        }
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    let order = meter.order();
    let order: Vec<_> = order.iter().map(|who| &who[..1]).collect();
    assert_eq!(order, ["a", "b", "c", "a", "b", "c", "a", "b", "c", "a", "b", "c"]);
}

#[tokio::test(start_paused = true)]
async fn the_higher_priority_goes_first() {
    let (world, meter) = metered(1, None).await;
    for (n, priority) in [(0, 0), (1, 0), (2, -5), (3, 7), (4, 0), (5, 7)] {
        tokio::time::sleep(Duration::from_millis(2)).await;
        let submission = Submission { priority, ..work(n) };
        world.submit_as(&world.caller, submission).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    let order: Vec<_> = meter.order().iter().map(|who| who[8..].to_owned()).collect();
    assert_eq!(order, ["0", "3", "5", "1", "4", "2"], "the first had begun already");
}

#[tokio::test(start_paused = true)]
async fn a_group_is_bounded_and_lets_others_pass() {
    let meter = Meter::default();
    let other = Meter::default();
    let (bounded, free) = (meter.skill("work", Some(2)), other.skill("free", None));
    let store = Arc::new(MemoryStore::new());
    let world = flowing_over(store, |b| b.skill(bounded.clone()).skill(free.clone())).await;
    let mut ids = Vec::new();
    for n in 0..10 {
        ids.push(world.submit_as(&world.caller, work(n)).await.unwrap());
    }
    let begun = tokio::time::Instant::now();
    world.run(call("test", "free").param("n", 0)).await;
    assert!(begun.elapsed() < Duration::from_millis(200));
    for id in ids {
        world.ended(id).await;
    }
    assert_eq!(meter.most.load(Ordering::SeqCst), 2);
    assert!(begun.elapsed() < Duration::from_millis(700), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_look_at_the_clock() {
    let (world, _) = metered(4, None).await;
    let begun = tokio::time::Instant::now();
    let mut ids = Vec::new();
    for n in 0..30 {
        ids.push(world.submit_as(&world.caller, work(n)).await.unwrap());
    }
    for id in ids {
        world.ended(id).await;
    }
    let ideal = Duration::from_millis(100) * 30 / 3;
    assert!(begun.elapsed() <= ideal + Duration::from_millis(50), "{:?}", begun.elapsed());
    world.script.on(|_| me());
}
