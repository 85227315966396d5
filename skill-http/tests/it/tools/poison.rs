//! Skills that panic or spin, among many that do not.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use http::Method;
use serde_json::{Value, json};
use skill_core::skill::{self, Skill, SkillContext};

use crate::world::{TestServer, setup};

/// The most attempts that a poisonous run gets.
const ATTEMPTS: u32 = 3;

/// `lab/poison`: panics or spins, and counts how often it was begun.
fn poison(begun: &Arc<AtomicU32>, is_over: &Arc<AtomicBool>) -> Arc<dyn Skill> {
    let (begun, is_over) = (begun.clone(), is_over.clone());
    let work = move |_: SkillContext, input: BTreeMap<String, bool>| {
        let (begun, is_over) = (begun.clone(), is_over.clone());
        async move {
            begun.fetch_add(1, Ordering::Relaxed);
            assert!(input.get("spins") == Some(&true), "on purpose");
            while !is_over.load(Ordering::Relaxed) {
                // It never gives its thread back; a core of its own it need not have.
                std::thread::sleep(Duration::from_millis(1));
            }
            Ok(())
        }
    };
    let poison = skill::from_fn("lab", "v1.0", "poison", work).summary("Harm the server");
    poison.timeout(Duration::from_millis(200)).attempts(ATTEMPTS).build().unwrap()
}

/// A key that may ask a thousand times in a minute.
async fn eager_key(server: &TestServer) -> String {
    let body = json!({"name": "eager", "tier": "premium"}).to_string();
    let request = http::Request::post("/_operator/keys").body(body.into()).unwrap();
    let made: Value = serde_json::from_slice(server.server.operator(request).await.body()).unwrap();
    made["full_key"].as_str().unwrap().to_owned()
}

async fn queue(server: &TestServer, key: &str, (tool, inputs): (&str, &Value)) -> String {
    let path = format!("/v1/tools/{tool}/invoke?async=true");
    let answer = server.ask(Method::POST, &path).key(key).json(inputs).send().await;
    answer.ok(202)["execution_id"].as_str().unwrap().to_owned()
}

async fn ended(server: &TestServer, key: &str, id: &str) -> Value {
    let path = format!("/v1/executions/{id}?wait=20");
    server.ask(Method::GET, &path).key(key).send().await.ok(200)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn poison_ends_in_an_error_and_a_hundred_good_runs_pass_it() {
    let (begun, is_over) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicBool::new(false)));
    let runs = |runs: &mut skill_core::queue::Settings| {
        (runs.slots, runs.backoff) = (8, Duration::ZERO);
        runs.longest_backoff = Duration::ZERO;
    };
    let server = setup().on_disk().runs(runs).skill(poison(&begun, &is_over)).start().await;
    let key = eager_key(&server).await;
    let (mut bad, mut good) = (Vec::new(), Vec::new());
    for spins in [true, false, true, false] {
        bad.push(queue(&server, &key, ("lab-poison", &json!({"spins": spins}))).await);
    }
    for number in 0..100 {
        let inputs = json!({"do": "echo", "note": number.to_string()});
        good.push((queue(&server, &key, ("lab-run", &inputs)).await, inputs));
    }
    for (id, inputs) in &good {
        let run = ended(&server, &key, id).await;
        assert_eq!((&run["status"], &run["result"]["note"]), (&json!("success"), &inputs["note"]));
    }
    for id in &bad {
        let run = ended(&server, &key, id).await;
        assert_eq!(run["status"], "error", "{run}");
        assert!(run["error"]["message"].is_string(), "the reason is to be seen: {run}");
        assert!(run["attempts"].as_u64().unwrap() <= u64::from(ATTEMPTS), "{run}");
    }
    // Nothing begins them again, and the server is well.
    let times = begun.load(Ordering::Relaxed);
    assert!(times <= ATTEMPTS * 4, "{times} attempts of four runs");
    assert_eq!(
        ended(&server, &key, &queue(&server, &key, ("lab-run", &json!({"do": "echo"}))).await)
            .await["status"],
        "success"
    );
    assert_eq!(begun.load(Ordering::Relaxed), times);
    is_over.store(true, Ordering::Relaxed);
}
