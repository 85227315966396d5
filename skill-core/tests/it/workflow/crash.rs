//! Workflows over a file, through the death of their process.

use std::{path::Path, sync::Mutex};

use skill_core::{Engine, clock::ManualClock, name::OwnerId, store::sqlite::SqliteStore};

use super::*;
use crate::{
    fixture::{keyring, noon},
    script::{Script, json as answer},
};

const WORKFLOWS: &str = r"
  - workflowId: order
    steps:
      - {stepId: charge, operationId: charge, requestBody: {payload: {amount: 1}}, outputs: {id: $response.body#/id}}
      - stepId: read
        operationId: get_item
        parameters: [{name: id, in: path, value: $inputs.id}]
        x-skill: {forEach: $steps.charge.outputs.id, as: id, concurrency: 3}
        outputs: {id: $response.body#/id}
    outputs: {ids: $steps.read.outputs.id}
";

type Log = Arc<Mutex<Vec<String>>>;

fn count(log: &Log, what: &str) -> usize {
    log.lock().unwrap().iter().filter(|line| *line == what).count()
}

/// One life of a process over a file; requests whose path ends in one of `hanging` are never
/// answered.
fn live<T: Send + 'static, F>(
    (folder, log): (&Path, &Log),
    hanging: &'static [&'static str],
    life: impl FnOnce(Desk) -> F + Send + 'static,
) -> T
where
    F: Future<Output = T> + Send + 'static,
{
    let (file, log) = (folder.join("skill.db"), log.clone());
    let process = std::thread::spawn(move || {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        runtime.unwrap().block_on(async move {
            let (store, skills) = (Arc::new(open(&file).await), load(WORKFLOWS));
            let script = Script::new();
            // Before the engine begins: it goes on at once with what the life before left.
            script.play(move |sent| {
                let path = sent.url.path().to_owned();
                log.lock().unwrap().push(path.clone());
                async move {
                    if hanging.iter().any(|end| path.ends_with(end)) {
                        std::future::pending::<()>().await;
                    }
                    let id = path.rsplit('/').next().unwrap();
                    let id = if id == "charges" {
                        r#"["a", "b", "c"]"#.to_owned()
                    } else {
                        format!("\"{id}\"")
                    };
                    answer(200, &format!(r#"{{"id": {id}}}"#))
                }
            });
            let builder = Engine::builder(script.clone()).store(store.clone(), keyring());
            let engine = with(builder.integrations(services()), &skills).build().await.unwrap();
            let (clock, store) = (Arc::new(ManualClock::new(noon())), store as Arc<dyn Store>);
            let caller = Caller::operator(OwnerId::standard());
            life(Desk { world: World { engine, script, clock, store, caller } }).await
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

async fn until(log: &Log, what: &str) {
    while count(log, what) == 0 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    // Until the answer is on disk.
    tokio::time::sleep(Duration::from_millis(150)).await;
}

#[test]

fn a_crash_between_steps_repeats_no_finished_one_whatever_ended_first() {
    let (folder, log) = (tempfile::tempdir().unwrap(), Log::default());
    let place = (folder.path(), &log);
    let seen = log.clone();
    let id = live(place, &["a", "c"], |desk| async move {
        let id = desk.submit("shop/order", json!({})).await;
        until(&seen, "/items/c").await;
        id
    });
    let seen = log.clone();
    live(place, &["c"], |desk| async move {
        while count(&seen, "/items/c") < 2 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        tokio::time::sleep(Duration::from_millis(150)).await;
        drop(desk);
    });
    let made = live(place, &[], move |desk| async move {
        let made = desk.value(id).await;
        desk.world.engine.stop().await;
        made
    });
    assert_eq!(made, json!({"ids": ["a", "b", "c"]}));
    let times = ["/charges", "/items/b", "/items/a", "/items/c"].map(|path| count(&log, path));
    assert_eq!(times, [1, 1, 2, 3], "{:?}", log.lock().unwrap());
}
