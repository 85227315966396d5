//! The engine in process: submits, a backlog worked off, and how long a run takes from its submit
//! to its end. The runs are of a skill that does nothing.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use serde_json::{Value, json};
use skill_core::{
    Engine, Error, Result,
    access::{Admission, Admitted, Caller, Plan, Plans},
    call::CallRequest,
    clock::Deadline,
    credential::seal::Keyring,
    engine::Builder,
    name::OwnerId,
    queue::{Settings, Submission},
    record::execution::State,
    skill::{self, SkillContext},
    store::{ExecutionFilter, Store, sqlite::SqliteStore},
    transport::{Outgoing, Response, Transport},
};

use crate::{Outcome, print};

/// How many runs are worked on at once. One owner gets three quarters of it: 50, as many as the kit
/// gives BullMQ.
const SLOTS: u32 = 67;
/// How many runs are submitted in a second while latency is measured.
const RATE: u64 = 100;

/// Nothing leaves.
#[derive(Debug)]
struct Nowhere;

#[async_trait]
impl Transport for Nowhere {
    async fn send(&self, _: Outgoing, _: Deadline) -> Result<Response> {
        Err(Error::internal("nothing is sent"))
    }
}

async fn noop(_: SkillContext, _: Value) -> Result<Value> {
    Ok(json!({ "ok": true }))
}

/// An engine over the file, which works on so many runs at once.
pub(crate) async fn engine(
    store: Arc<dyn Store>,
    keyring: Keyring,
    slots: u32,
) -> Outcome<Builder> {
    let plan = Plan { per_minute: None, ..Plan::default() };
    let queue = Settings { slots, depth: u64::MAX >> 1, ..Settings::default() };
    Ok(Engine::builder(Arc::new(Nowhere))
        .store(store, keyring)
        .skill(skill::from_fn("bench", "v1.0", "noop", noop).build()?)
        .plans(Plans::new("standard", [("standard".to_owned(), plan)], [])?)
        .queue(queue))
}

/// A run as the kit's payload describes it.
fn submission(n: u64) -> Outcome<Submission> {
    let call = CallRequest::new("bench", "noop")?
        .param("start_date", "2026-01-01")
        .param("end_date", "2026-03-31")
        .param("accounting_method", "Accrual")
        .param("note", ".".repeat(120))
        .param("i", n);
    Ok(Submission::new(call))
}

async fn admitted(engine: &Engine) -> Outcome<Admitted> {
    match engine.keys().admit(Caller::operator(OwnerId::standard())).await? {
        Admission::Admitted(admitted) => Ok(admitted),
        Admission::Refused(_) => Err("the operator is limited".into()),
    }
}

/// Submits with a fresh file, by 32 and by 256 producers. Nothing is worked on.
pub(crate) async fn submit(file: &Path, time: Duration) -> Outcome {
    let store = Arc::new(SqliteStore::open(file)?);
    let idle = engine(store.clone(), Keyring::generate()?, 0).await?.build().await?;
    for width in [32, 256] {
        let commits = store.commits();
        let begun = Instant::now();
        let runs = at_once(width, Some(time), u64::MAX, &idle).await?;
        let per_commit = (runs as f64 / (store.commits() - commits) as f64).round();
        print(&json!({ "queue": "skill", "what": "enqueue", "width": width, "jobs": runs,
            "jobs_per_s": rate(runs, begun), "jobs_per_commit": per_commit }));
    }
    idle.stop().await;
    Ok(())
}

/// Works a backlog of so many runs off, with a fresh file, and then as they come.
pub(crate) async fn drain(file: &Path, time: Duration, runs: u64) -> Outcome {
    let keyring = Keyring::generate()?;
    let store = Arc::new(SqliteStore::open(file)?);
    let idle = engine(store.clone(), keyring.expose().parse()?, 0).await?.build().await?;
    at_once(256, None, runs, &idle).await?;
    idle.stop().await;
    let (commits, cpu) = (store.commits(), cpu()?);
    let begun = Instant::now();
    let busy = engine(store.clone(), keyring, SLOTS).await?.build().await?;
    loop {
        // Looking costs something, too: seldom as long as there is much left.
        let pause = match unfinished(&*store).await? {
            0 => break,
            left => Duration::from_micros((left * 5).clamp(1_000, 20_000)),
        };
        tokio::time::sleep(pause).await;
    }
    let per_s = rate(runs, begun);
    let per_commit = (runs as f64 / (store.commits() - commits) as f64).round();
    let cpu_us = ((self::cpu()? - cpu) * 1e6 / runs as f64).round();
    print(&json!({ "queue": "skill", "what": "drain", "jobs": runs, "jobs_per_s": per_s,
        "jobs_per_commit": per_commit, "cpu_us": cpu_us }));
    latency(&busy, time).await?;
    busy.stop().await;
    Ok(())
}

/// The seconds that this process has computed.
fn cpu() -> Outcome<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(')').ok_or("no name in /proc/self/stat")?;
    let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<f64>);
    // A tick is a hundredth of a second wherever Linux runs.
    Ok(ticks.sum::<std::result::Result<f64, _>>()? / 100.0)
}

fn rate(runs: u64, begun: Instant) -> f64 {
    (runs as f64 / begun.elapsed().as_secs_f64()).round()
}

/// Submits runs by so many producers at once, each one by one, for so long or until there are so
/// many; returns how many there are.
async fn at_once(width: u64, time: Option<Duration>, most: u64, engine: &Engine) -> Outcome<u64> {
    let (admitted, next) = (admitted(engine).await?, Arc::new(AtomicU64::new(0)));
    let tasks = (0..width).map(|_| {
        let (engine, admitted, next) = (engine.clone(), admitted.clone(), next.clone());
        tokio::spawn(async move {
            let (begun, mut runs) = (Instant::now(), 0);
            while time.is_none_or(|time| begun.elapsed() < time) {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= most {
                    break;
                }
                engine.runs().submit(&admitted, submission(n)?).await?;
                runs += 1;
            }
            Outcome::Ok(runs)
        })
    });
    let mut runs = 0;
    for task in tasks.collect::<Vec<_>>() {
        runs += task.await??;
    }
    Ok(runs)
}

/// How many runs wait or are worked on.
async fn unfinished(store: &dyn Store) -> Outcome<u64> {
    let mut sum = 0;
    for state in [State::Queued, State::Running] {
        let filter = ExecutionFilter { state: Some(state), limit: 0, ..ExecutionFilter::default() };
        sum += store.executions(&OwnerId::standard(), &filter).await?.1;
    }
    Ok(sum)
}

/// From when a run was due to be submitted to when somebody who waits for it hears of its end.
async fn latency(engine: &Engine, time: Duration) -> Outcome {
    let admitted = admitted(engine).await?;
    let (count, begun) = (time.as_secs().max(1) * RATE, Instant::now());
    let mut pending = Vec::new();
    for n in 0..count {
        let due = begun + Duration::from_micros(n * 1_000_000 / RATE);
        tokio::time::sleep_until(due.into()).await;
        let (engine, admitted) = (engine.clone(), admitted.clone());
        pending.push(tokio::spawn(async move {
            let run = engine.runs().submit(&admitted, submission(n)?).await?;
            let until = Deadline::after(Duration::from_secs(15));
            let run = engine.runs().wait(admitted.caller(), run.id, until).await?;
            if run.execution.state != State::Success {
                return Err("a run did not end well".into());
            }
            Outcome::Ok(due.elapsed())
        }));
    }
    let mut times = Vec::new();
    for run in pending {
        times.push(run.await??);
    }
    times.sort();
    let quantile = |q: f64| {
        let at = ((times.len() as f64 * q).ceil() as usize).clamp(1, times.len()) - 1;
        times.get(at).map(|time| (time.as_secs_f64() * 100_000.0).round() / 100.0)
    };
    print(&json!({ "queue": "skill", "what": "latency", "rate": RATE, "p50_ms": quantile(0.5),
        "p90_ms": quantile(0.9), "p99_ms": quantile(0.99) }));
    Ok(())
}
