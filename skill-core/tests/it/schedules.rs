//! Schedules: what the clock asks for runs once, on all nodes and through restarts.

use std::{path::Path, sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use skill_core::{
    Error, ErrorKind,
    access::{Caller, NewKey},
    catalog::Catalog,
    clock::ManualClock,
    id::ScheduleId,
    name::{ActionName, AgentId, Version},
    record::{
        delivery::State as Delivered,
        execution::{Execution, Origin, State, Trigger},
        key::Kind,
        schedule::Schedule,
        scope::Scopes,
        webhook::Event,
    },
    schedule::{Edit, Wanted},
    store::{ExecutionFilter, MemoryStore, Store, sqlite::SqliteStore},
    webhook::NewWebhook,
};

use super::{
    fixture::{World, members, noon, owner, services, slug},
    queue::{Flowing, flowing, flowing_over},
    script::{json as answers, me},
    webhooks::deliver::{HOOK, messages, until},
};

/// A schedule that reads an item of `open`.
fn every(cron: &str) -> Wanted {
    let action = ActionName { namespace: slug("open"), name: slug("get_item") };
    Wanted { input: members(json!({"id": "7"})), ..Wanted::new(action, cron) }
}

fn fields(error: &Error) -> Vec<&str> {
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    error.field_details().iter().map(|detail| detail.field.as_str()).collect()
}

impl World {
    async fn scheduled(&self, cron: &str) -> Schedule {
        self.engine.schedules().create(&self.caller, every(cron)).await.unwrap()
    }

    async fn schedule(&self, id: ScheduleId) -> Schedule {
        self.engine.schedules().get(&self.caller, id).await.unwrap()
    }

    /// The caller's runs, the oldest first.
    async fn runs(&self) -> Vec<Execution> {
        let filter = ExecutionFilter { limit: 1_000, ..ExecutionFilter::default() };
        let (mut runs, _) = self.engine.runs().list(&self.caller, &filter).await.unwrap();
        runs.reverse();
        runs
    }

    /// When its runs were asked for, in whole minutes after noon.
    async fn minutes(&self) -> Vec<i64> {
        let runs = self.runs().await;
        runs.iter().map(|run| run.created_at.duration_since(noon()).as_mins()).collect()
    }

    /// Who presents a key with these scopes.
    async fn key_with(&self, scopes: &str) -> (Caller, skill_core::id::KeyId) {
        let scopes = Scopes::parse([scopes]).unwrap();
        let wanted = NewKey { scopes, ..NewKey::new("maker", Kind::Api) };
        let (key, plain) = self.engine.keys().create(&self.caller, wanted).await.unwrap();
        (self.present(plain.expose()).await.unwrap(), key.id)
    }
}

async fn minutes_pass(minutes: u64) {
    tokio::time::sleep(Duration::from_secs(minutes * 60)).await;
}

#[tokio::test(start_paused = true)]
async fn a_schedule_runs_at_its_times_and_at_no_others() {
    let world = flowing().await;
    let made = world.scheduled("*/5 * * * *").await;
    assert!(made.id.to_string().starts_with("sched_"));
    assert_eq!(made.next_run_at, Some(noon() + SignedDuration::from_mins(5)));
    minutes_pass(26).await;
    assert_eq!(world.minutes().await, [5, 10, 15, 20, 25]);
    for run in world.runs().await {
        assert!(run.created_at.duration_since(noon()).as_millis() % 300_000 < 100, "{run:?}");
        assert_eq!(run.origin, Some(Origin::new(Trigger::Scheduled)));
        assert_eq!((run.state, run.key), (State::Success, None));
    }
    assert_eq!(world.script.count("open.test/items/7"), 5);
    let stands = world.schedule(made.id).await;
    assert_eq!(stands.next_run_at, Some(noon() + SignedDuration::from_mins(30)));
    assert_eq!(stands.last_due_at, Some(noon() + SignedDuration::from_mins(25)));
    assert_eq!((stands.last_run, stands.missed), (Some(world.runs().await[4].id), 0));
    assert_eq!(world.engine.schedules().input(&stands).unwrap(), members(json!({"id": "7"})));
    let sealed = String::from_utf8_lossy(&stands.input.0).into_owned();
    assert!(!sealed.contains("\"7\""), "{sealed}");
}

#[tokio::test(start_paused = true)]
async fn two_engines_on_one_store_make_one_run_of_a_due_time() {
    let (clock, store) = (Flowing::new(), Arc::new(MemoryStore::new()));
    let first = World::with(store, |builder| builder.clock(clock.clone())).await;
    let second = first.another_with(|builder| builder.clock(clock.clone())).await;
    for _ in 0..20 {
        first.scheduled("* * * * *").await;
    }
    minutes_pass(10).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let mut expected: Vec<_> = (1..=10).flat_map(|minute| [minute; 20]).collect();
    assert_eq!(second.minutes().await, expected);
    // One that dies leaves the other one all of them.
    drop(first);
    minutes_pass(1).await;
    expected.extend([11; 20]);
    assert_eq!(second.minutes().await, expected);
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_repeats_nothing() {
    let clock = Flowing::new();
    let world = {
        let clock = clock.clone();
        World::with(Arc::new(MemoryStore::new()), move |builder| builder.clock(clock.clone())).await
    };
    let made = world.scheduled("0 * * * *").await;
    minutes_pass(61).await;
    assert_eq!(world.runs().await.len(), 1);
    clock.jump(SignedDuration::from_mins(-30));
    minutes_pass(40).await;
    assert_eq!(world.runs().await.len(), 1, "one o'clock does not come again");
    clock.jump(SignedDuration::from_hours(5));
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(world.runs().await.len(), 2, "of many times the last one is caught up with");
    assert!(world.schedule(made.id).await.missed >= 3);
    minutes_pass(60).await;
    assert_eq!(world.runs().await.len(), 3);
}

/// One life of a process over the file: a runtime of its own until `life` ends, after which nothing is
/// left of it. The clock stands still.
fn live<T: Send + 'static, F>(
    file: &Path,
    clock: &Arc<ManualClock>,
    life: impl FnOnce(World) -> F + Send + 'static,
) -> T
where
    F: Future<Output = T> + Send + 'static,
{
    let (file, clock) = (file.to_owned(), clock.clone());
    let process = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let store: Arc<dyn Store> = Arc::new(open(&file));
            let world = World::with(store, |builder| builder.clock(clock.clone()));
            life(world.await).await
        })
    });
    process.join().unwrap()
}

/// Opens the file as soon as what the last life left running has let go of it.
fn open(file: &Path) -> SqliteStore {
    let begun = std::time::Instant::now();
    loop {
        match SqliteStore::open(file) {
            Ok(store) => return store,
            Err(error) => assert!(begun.elapsed().as_secs() < 5, "{error}"),
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until the schedule has used the time that is so many minutes after noon, or gone past it.
async fn moved_on(world: &World, id: ScheduleId, minutes: i64) -> Schedule {
    let next = noon() + SignedDuration::from_mins(minutes);
    for _ in 0..500 {
        let stands = world.schedule(id).await;
        if stands.next_run_at.is_some_and(|at| next < at) {
            return stands;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("it does not move on");
}

#[test]
fn what_went_by_while_nobody_ran_is_caught_up_with_once() {
    let folder = tempfile::tempdir().unwrap();
    let (file, clock) = (folder.path().join("skill.db"), Arc::new(ManualClock::new(noon())));
    let id = live(&file, &clock, |world| async move { world.scheduled("0 * * * *").await.id });
    // Three hours and a half later: what is longer ago than an hour is missed.
    clock.advance(Duration::from_secs(210 * 60));
    live(&file, &clock, move |world| async move {
        let stands = moved_on(&world, id, 210).await;
        assert_eq!(stands.next_run_at, Some(noon() + SignedDuration::from_mins(240)));
        assert_eq!(stands.last_due_at, Some(noon() + SignedDuration::from_mins(180)));
        assert_eq!((stands.missed, world.runs().await.len()), (2, 1));
        let run = world.ended(stands.last_run.unwrap()).await;
        assert_eq!(run.execution.state, State::Success);
    });
    // A restart in which nothing is due makes nothing.
    live(&file, &clock, |world| async move {
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(world.runs().await.len(), 1);
    });
    clock.advance(Duration::from_secs(30 * 60));
    live(&file, &clock, move |world| async move {
        moved_on(&world, id, 240).await;
        assert_eq!(world.runs().await.len(), 2);
        world.engine.stop().await;
    });
}

#[test]
fn what_is_too_long_ago_is_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let (file, clock) = (folder.path().join("skill.db"), Arc::new(ManualClock::new(noon())));
    let id = live(&file, &clock, |world| async move { world.scheduled("0 0 * * *").await.id });
    clock.advance(Duration::from_secs((3 * 24 + 2) * 3600));
    live(&file, &clock, move |world| async move {
        let stands = moved_on(&world, id, (3 * 24 + 2) * 60).await;
        assert_eq!((stands.missed, stands.last_due_at, world.runs().await.len()), (3, None, 0));
        let midnight: Timestamp = "2026-03-05T00:00:00Z".parse().unwrap();
        assert_eq!(stands.next_run_at, Some(midnight));
        world.engine.stop().await;
    });
}

#[tokio::test(start_paused = true)]
async fn a_revoked_key_stops_its_schedules_and_an_expired_one_does_not() {
    let world = flowing().await;
    let (caller, key) = world.key_with("open").await;
    let stops = world.engine.schedules().create(&caller, every("* * * * *")).await.unwrap();
    assert_eq!(stops.key, Some(key));
    let expires_in = Some(Duration::from_secs(90));
    let wanted = NewKey { expires_in, ..NewKey::new("short", Kind::Api) };
    let (_, plain) = world.engine.keys().create(&world.caller, wanted).await.unwrap();
    let short = world.present(plain.expose()).await.unwrap();
    let goes_on = world.engine.schedules().create(&short, every("* * * * *")).await.unwrap();
    minutes_pass(1).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(world.runs().await.len(), 2);
    world.engine.keys().revoke(&world.caller, key).await.unwrap();
    minutes_pass(3).await;
    let stands = world.schedule(stops.id).await;
    assert_eq!((stands.next_run_at, stands.last_run), (None, None));
    assert!(stands.stopped.as_ref().is_some_and(|why| why.contains("revoked")), "{stands:?}");
    assert_eq!(stands.last_error, stands.stopped);
    assert_eq!(world.runs().await.len(), 5, "those of the other one");
    assert!(world.schedule(goes_on.id).await.next_run_at.is_some());
    assert!(world.events().await.contains(&"schedule.stopped".to_owned()));
    // Whoever enables it vouches for it.
    let edit = Edit { is_enabled: Some(true), ..Edit::default() };
    let enabled = world.engine.schedules().change(&world.caller, stops.id, edit).await.unwrap();
    assert_eq!((enabled.key, enabled.stopped), (None, None));
    minutes_pass(1).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(world.runs().await.len(), 7);
}

#[tokio::test]
async fn a_schedule_may_do_no_more_than_its_maker() {
    let world = World::new().await;
    let schedules = world.engine.schedules();
    let (only, _) = world.key_with("scheduler").await;
    let error = schedules.create(&only, every("* * * * *")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ScopeMissing);
    let (maker, _) = world.key_with("open,scheduler").await;
    let wider = Some(Scopes::all());
    let wanted = Wanted { scopes: wider, ..every("* * * * *") };
    let error = schedules.create(&maker, wanted).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ScopeMissing);
    let narrow = Some(Scopes::parse(["open/get_item"]).unwrap());
    let wanted = Wanted { scopes: narrow.clone(), ..every("0 0 1 1 *") };
    let made = schedules.create(&maker, wanted).await.unwrap();
    assert_eq!(Some(made.scopes.clone()), narrow);
    // Neither changing it nor running it lends its scopes to somebody who has none.
    let edit = Edit { input: Some(members(json!({"id": "8"}))), ..Edit::default() };
    let error = schedules.change(&only, made.id, edit).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ScopeMissing);
    let error = schedules.run(&only, made.id, None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ScopeMissing);
    let run = schedules.run(&maker, made.id, None).await.unwrap();
    let run = world.ended(run.id).await.execution;
    assert_eq!(run.origin.map(|origin| origin.trigger), Some(Trigger::Scheduled));
    assert_eq!(world.schedule(made.id).await, made, "its times are what they were");
    // Another owner, and another user, finds nothing.
    let ann = super::fixture::acting_for(&world.caller, "ann");
    for stranger in [owner("rival"), ann] {
        let error = schedules.get(&stranger, made.id).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        let error = schedules.delete(&stranger, made.id).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert_eq!(schedules.list(&stranger).await.unwrap(), []);
    }
    schedules.delete(&world.caller, made.id).await.unwrap();
    assert_eq!(schedules.list(&world.caller).await.unwrap(), []);
}

#[tokio::test]
async fn what_could_never_run_is_refused_at_once() {
    let world = World::new().await;
    let schedules = world.engine.schedules();
    let refused = async |wanted: Wanted| schedules.create(&world.caller, wanted).await.unwrap_err();
    for cron in ["", "* * * *", "0 0 30 2 *", "@daily", "* * * * * *"] {
        assert_eq!(fields(&refused(every(cron)).await), ["cron_expression"], "{cron}");
    }
    let wrong = Wanted { input: members(json!({"id": 7})), ..every("* * * * *") };
    assert!(!fields(&refused(wrong).await).is_empty());
    let nowhere = ActionName { namespace: slug("open"), name: slug("nothing") };
    for wanted in [
        Wanted { action: nowhere, ..every("* * * * *") },
        Wanted { version: Version { major: 2, minor: None }, ..every("* * * * *") },
        Wanted { agent: AgentId::parse("nobody").unwrap(), ..every("* * * * *") },
    ] {
        assert_eq!(refused(wanted).await.kind(), ErrorKind::NotFound);
    }
    assert_eq!(schedules.list(&world.caller).await.unwrap(), []);
    for _ in 0..100 {
        world.scheduled("0 0 1 1 *").await;
    }
    assert_eq!(refused(every("0 0 1 1 *")).await.kind(), ErrorKind::PlanLimit);
}

#[tokio::test(start_paused = true)]
async fn a_disabled_schedule_goes_on_from_when_it_is_enabled() {
    let world = flowing().await;
    let wanted = Wanted { is_enabled: false, ..every("*/10 * * * *") };
    let made = world.engine.schedules().create(&world.caller, wanted).await.unwrap();
    assert_eq!(made.next_run_at, None);
    minutes_pass(25).await;
    let edit = Edit { is_enabled: Some(true), ..Edit::default() };
    let enabled = world.engine.schedules().change(&world.caller, made.id, edit).await.unwrap();
    assert_eq!(enabled.next_run_at, Some(noon() + SignedDuration::from_mins(30)));
    minutes_pass(6).await;
    let edit = Edit { cron: Some("*/7 * * * *".into()), ..Edit::default() };
    let moved = world.engine.schedules().change(&world.caller, made.id, edit).await.unwrap();
    assert_eq!(moved.next_run_at, Some(noon() + SignedDuration::from_mins(35)));
    minutes_pass(5).await;
    let edit = Edit { is_enabled: Some(false), ..Edit::default() };
    world.engine.schedules().change(&world.caller, made.id, edit).await.unwrap();
    minutes_pass(60).await;
    assert_eq!(world.minutes().await, [30, 35]);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_scheduled_run_is_told() {
    let world = flowing().await;
    let events = vec![Event::ScheduledJobCompleted, Event::ScheduledJobFailed, Event::AgentError];
    let wanted = NewWebhook {
        agent: Some(AgentId::standard()),
        ..NewWebhook::new(&format!("https://{HOOK}"), events)
    };
    let catalog = world.engine.catalog();
    let webhook = world.engine.webhooks().create(&world.caller, wanted, &catalog).await.unwrap().0;
    world.script.on(|sent| match sent.place().as_str() {
        HOOK => answers(200, ""),
        _ => me(),
    });
    let made = world.scheduled("0 * * * *").await;
    minutes_pass(61).await;
    until(&world, webhook.id, (1, Delivered::Delivered)).await;
    let run = world.runs().await.remove(0);
    let said = messages(&world)[0].json();
    assert_eq!(said["event"], "scheduled_job.completed");
    assert_eq!(said["data"]["scheduled_job_id"], made.id.to_string());
    assert_eq!(said["data"]["execution_id"], run.id.to_string());
    assert_eq!(said["data"]["agent_id"], "default");
    assert_eq!(said["data"]["trigger_type"], "scheduled");
    assert_eq!(said["data"]["result"], json!({"login": "ada"}));
    assert_eq!(said.get("type"), None);
    // What it runs is gone: it says so, and is looked for again the next time.
    let few = services().into_iter().filter(|it| it.info().slug.as_str() != "open");
    world.engine.replace_catalog(Catalog::build(few.collect::<Vec<_>>(), Vec::new()).unwrap());
    minutes_pass(60).await;
    until(&world, webhook.id, (2, Delivered::Delivered)).await;
    let said = messages(&world)[1].json();
    assert_eq!(said["event"], "scheduled_job.failed");
    let due = noon() + SignedDuration::from_hours(2);
    assert_eq!(said["data"]["due_at"], due.to_string());
    assert_eq!(said["data"]["scheduled_job_id"], made.id.to_string());
    assert!(said["data"]["error"]["message"].as_str().unwrap().contains("get_item"), "{said}");
    let stands = world.schedule(made.id).await;
    assert_eq!((stands.last_due_at, stands.last_run), (Some(due), None));
    assert!(stands.next_run_at.is_some() && stands.stopped.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_run_for_which_nobody_is_connected_is_an_error_of_its_agent() {
    let world = flowing_over(Arc::new(MemoryStore::new()), |builder| builder).await;
    let wanted = NewWebhook {
        agent: Some(AgentId::standard()),
        ..NewWebhook::new(&format!("https://{HOOK}"), vec![Event::AgentError])
    };
    let catalog = world.engine.catalog();
    let webhook = world.engine.webhooks().create(&world.caller, wanted, &catalog).await.unwrap().0;
    let action = ActionName { namespace: slug("desk"), name: slug("get_item") };
    let wanted = Wanted { action, ..every("* * * * *") };
    let made = world.engine.schedules().create(&world.caller, wanted).await.unwrap();
    minutes_pass(2).await;
    let edit = Edit { is_enabled: Some(false), ..Edit::default() };
    world.engine.schedules().change(&world.caller, made.id, edit).await.unwrap();
    until(&world, webhook.id, (1, Delivered::Delivered)).await;
    let said = messages(&world)[0].json();
    assert_eq!((&said["event"], &said["data"]["status"]), (&json!("agent.error"), &json!("error")));
    assert_eq!(said["data"]["error"]["code"], "not_connected");
    assert!(said["data"]["error"]["action_url"].is_string());
}
