//! Steps over a file, through the deaths of their process.

use std::{collections::HashMap, path::Path};

use skill_core::{
    artifact::FileArtifacts, clock::SystemClock, name::OwnerId, store::sqlite::SqliteStore,
};

use super::*;
use crate::script::me;

/// How many steps a run has before its last call.
const STEPS: usize = 12;

/// One life of a process over a folder: a runtime of its own, until `life` ends. What is under way
/// then is dropped where it stands.
fn live<T: Send + 'static, F>(
    (folder, log): (&Path, &Log),
    life: impl FnOnce(Desk) -> F + Send + 'static,
) -> T
where
    F: Future<Output = T> + Send + 'static,
{
    let (folder, log) = (folder.to_owned(), log.clone());
    let process = std::thread::spawn(move || {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        runtime.unwrap().block_on(async move {
            let store = Arc::new(open(&folder.join("skill.db")).await);
            let skill = order(&log, work);
            let world = World::with(store, |builder| {
                let files = FileArtifacts::open(folder.join("artifacts")).unwrap();
                with(builder, std::slice::from_ref(&skill))
                    .clock(Arc::new(SystemClock::new()))
                    .artifacts(Arc::new(files))
            });
            let desk = Desk { world: world.await };
            desk.world.script.play(|_| async {
                tokio::time::sleep(Duration::from_millis(3)).await;
                me()
            });
            life(desk).await
        })
    });
    process.join().unwrap()
}

/// Opens the file as soon as the threads of the life before have noticed that it is over.
async fn open(file: &Path) -> SqliteStore {
    for _ in 0..1_000 {
        if let Ok(store) = SqliteStore::open(file) {
            return store;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    SqliteStore::open(file).unwrap()
}

/// Steps of some milliseconds; one of them is large, and every other one is followed by a call.
async fn work(context: SkillContext, log: Log) -> Result<Value> {
    let (id, mut sum) = (context.run().id, 0);
    for n in 0..STEPS {
        let work = || async {
            log.add(&format!("{id} {n}"));
            tokio::time::sleep(Duration::from_millis(2)).await;
            let filler = if n == 3 { "z".repeat(400_000) } else { String::new() };
            Ok((n, filler))
        };
        let (value, _): (usize, String) = context.step("count", work).await?;
        sum += value;
        if n % 2 == 0 {
            let call = call("open", "charge").param("amount", n);
            assert_eq!(context.call(call).await?.data.json()?["login"], "ada");
        }
    }
    Ok(json!(sum))
}

#[test]
fn a_step_that_was_gone_on_from_is_never_done_again_however_often_the_process_dies() {
    let (folder, log) = (tempfile::tempdir().unwrap(), Log::default());
    let place = (folder.path(), &log);
    let ids: Vec<ExecutionId> = live(place, |desk| async move {
        let mut ids = Vec::new();
        for _ in 0..10 {
            ids.push(desk.submit().await);
        }
        tokio::time::sleep(Duration::from_millis(15)).await;
        ids
    });
    for pause in [20, 35, 50, 65] {
        live(place, move |_| tokio::time::sleep(Duration::from_millis(pause)));
    }
    let runs = ids.clone();
    live(place, move |desk| async move {
        for id in runs {
            assert_eq!(desk.value(id).await, STEPS * (STEPS - 1) / 2);
        }
        desk.world.engine.stop().await;
    });
    let mut furthest = HashMap::new();
    for line in log.lines() {
        let (id, n) = line.split_once(' ').unwrap();
        let n: usize = n.parse().unwrap();
        let before = furthest.insert(id.to_owned(), n);
        assert!(
            before.is_none_or(|before| n == before || n == before + 1),
            "{line} after {before:?}"
        );
    }
    assert_eq!(furthest.len(), ids.len());
    // The steps went, and their artifacts with them.
    let owners = std::fs::read_dir(folder.path().join("artifacts")).unwrap();
    let left = owners.flat_map(|owner| std::fs::read_dir(owner.unwrap().path()).unwrap());
    assert_eq!(left.count(), 0, "of {}", OwnerId::standard());
}
