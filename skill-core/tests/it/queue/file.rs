//! Runs over a file, through the deaths of their process.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::json;
use skill_core::{
    Error, ErrorKind,
    clock::SystemClock,
    id::ExecutionId,
    record::execution::State,
    skill::Skill,
    store::{Store, sqlite::SqliteStore},
};

use super::{
    super::{
        fixture::{World, call},
        script::{Script, me},
    },
    answer, settings, skill,
};

/// One life of a process: a runtime of its own, over the file, until `life` ends. What is under
/// way then is dropped where it stands.
fn live<T: Send + 'static, F>(file: &Path, life: impl FnOnce(World) -> F + Send + 'static) -> T
where
    F: Future<Output = T> + Send + 'static,
{
    let file = file.to_owned();
    let process = std::thread::spawn(move || {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.unwrap();
        runtime.block_on(async move {
            let store: Arc<dyn Store> = Arc::new(open(&file));
            let few = settings(|s| {
                (s.slots, s.backoff, s.longest_backoff) = (8, Duration::ZERO, Duration::ZERO);
            });
            let echo = skill("echo", |_, input| async move { Ok(input) });
            let world = World::with(store, |b| {
                let b = b.clock(Arc::new(SystemClock::new())).queue(few);
                b.skill(echo.clone()).skill(stumbling())
            });
            life(world.await).await
        })
    });
    process.join().unwrap()
}

/// A skill whose first three attempts cannot do anything yet.
fn stumbling() -> Arc<dyn Skill> {
    let begun = Arc::new(Mutex::new(BTreeMap::<String, u32>::new()));
    skill("stumble", move |_, input| {
        let attempts =
            *begun.lock().unwrap().entry(input.to_string()).and_modify(|n| *n += 1).or_insert(1);
        async move {
            match attempts {
                1..=3 => Err(Error::new(ErrorKind::Unavailable, "not yet")),
                _ => Ok(input),
            }
        }
    })
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

fn slow(script: &Script) {
    script.play(|_| async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        me()
    });
}

#[test]
fn what_was_acknowledged_ends_once_through_deaths_of_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("skill.db");
    let ids: Vec<ExecutionId> = live(&file, |world| async move {
        slow(&world.script);
        let mut ids = Vec::new();
        for n in 0..60 {
            ids.push(world.submit(call("open", "charge").param("amount", n)).await);
            ids.push(world.submit(call("test", "echo").param("n", n)).await);
        }
        ids
    });
    for pause in [30, 60, 90] {
        live(&file, move |world| async move {
            slow(&world.script);
            tokio::time::sleep(Duration::from_millis(pause)).await;
        });
    }
    live(&file, move |world| async move {
        for (n, id) in ids.into_iter().enumerate() {
            let run = world.ended(id).await;
            assert_eq!(run.execution.state, State::Success, "{n}");
            assert!(run.execution.attempts <= 5);
            let expected = match n % 2 {
                0 => json!({"login": "ada"}),
                _ => json!({"n": n / 2}),
            };
            assert_eq!(answer(&run), expected);
        }
        world.engine.stop().await;
    });
}

#[test]
fn a_run_that_was_given_back_may_be_begun_before_that_is_told() {
    let folder = tempfile::tempdir().unwrap();
    live(&folder.path().join("skill.db"), |world| async move {
        let mut ids = Vec::new();
        for n in 0..200 {
            ids.push(world.submit(call("test", "stumble").param("n", n)).await);
        }
        let ends = async {
            for id in ids {
                let run = world.ended(id).await;
                assert_eq!((run.execution.state, run.execution.attempts), (State::Success, 4));
            }
        };
        // Sooner than any lease lapses.
        tokio::time::timeout(Duration::from_secs(20), ends).await.expect("none is left behind");
    });
}

#[test]
fn five_thousand_runs_are_taken_over_in_a_moment() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("skill.db");
    live(&file, |world| async move {
        world.script.hang();
        let mut submitting = tokio::task::JoinSet::new();
        let world = Arc::new(world);
        for n in 0..5_000 {
            let world = world.clone();
            submitting.spawn(async move {
                world.submit(call("open", "charge").param("amount", n)).await
            });
        }
        assert_eq!(submitting.join_all().await.len(), 5_000);
    });
    let begun = std::time::Instant::now();
    live(&file, |world| async move {
        world.submit(call("test", "echo")).await;
    });
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}
