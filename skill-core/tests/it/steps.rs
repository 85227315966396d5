//! Durable steps: what a run has done it never does again.

mod calls;
mod file;
mod once;
mod order;
mod say;
mod sleep;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use skill_core::{
    Error, ErrorKind, Result,
    access::{Admission, Admitted, Caller},
    artifact::{ArtifactStore, MemoryArtifacts},
    call::{Failure, Outcome},
    clock::Deadline,
    engine::Builder,
    error::Retry,
    id::ExecutionId,
    queue::{Run, Settings, Submission},
    record::execution::State,
    skill::{self, Function, Skill, SkillContext},
    store::{MemoryStore, Store},
};
use tokio::sync::Semaphore;

use super::fixture::{World, call};

/// No input.
#[derive(Deserialize, JsonSchema)]
struct Nothing {}

/// What happened, in order.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    /// Notes that something happened; returns how often it has by now.
    fn add(&self, what: &str) -> usize {
        self.0.lock().unwrap().push(what.to_owned());
        self.count(what)
    }

    fn count(&self, what: &str) -> usize {
        self.0.lock().unwrap().iter().filter(|happened| *happened == what).count()
    }

    fn all(&self) -> String {
        self.lines().join(" ")
    }

    fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

/// A skill `shop/order` around a function of the context and a log.
fn order<F>(
    log: &Log,
    work: impl Fn(SkillContext, Log) -> F + Send + Sync + 'static,
) -> Arc<dyn Skill>
where
    F: Future<Output = Result<Value>> + Send + 'static,
{
    named("order", log, work).build().unwrap()
}

/// A skill of the category `shop` that is being made.
fn named<F>(
    name: &str,
    log: &Log,
    work: impl Fn(SkillContext, Log) -> F + Send + Sync + 'static,
) -> Function<Nothing, Value, impl Fn(SkillContext, Nothing) -> F + Send + Sync + 'static>
where
    F: Future<Output = Result<Value>> + Send + 'static,
{
    let log = log.clone();
    skill::from_fn("shop", "v1.0", name, move |context, Nothing {}| work(context, log.clone()))
}

/// A step that notes its name and is worth 1.
async fn step(context: &SkillContext, log: &Log, name: &str) -> Result<u32> {
    let work = || async {
        log.add(name);
        Ok(1)
    };
    context.step(name, work).await
}

/// An error after which a run is tried again.
fn passing() -> Error {
    Error::new(ErrorKind::Unavailable, "not now").retry(Retry::Safe)
}

/// An engine with skills over a store, and what its runs come to.
struct Desk {
    world: World,
}

impl Desk {
    async fn new(skills: impl IntoIterator<Item = Arc<dyn Skill>>) -> Self {
        Self::over(Arc::new(MemoryStore::new()), skills).await
    }

    async fn over(store: Arc<dyn Store>, skills: impl IntoIterator<Item = Arc<dyn Skill>>) -> Self {
        let skills = skills.into_iter().collect::<Vec<_>>();
        Self { world: World::with(store, |builder| with(builder, &skills)).await }
    }

    /// A process that starts after this one was lost, with these skills.
    async fn restarted(&self, skills: impl IntoIterator<Item = Arc<dyn Skill>>) -> Self {
        let skills = skills.into_iter().collect::<Vec<_>>();
        Self { world: self.world.another_with(|builder| with(builder, &skills)).await }
    }

    async fn admit(&self, caller: &Caller) -> Admitted {
        match self.world.engine.keys().admit(caller.clone()).await.unwrap() {
            Admission::Admitted(admitted) => admitted,
            Admission::Refused(_) => panic!("nothing is limited"),
        }
    }

    async fn submit(&self) -> ExecutionId {
        self.submit_as(&self.world.caller).await
    }

    async fn submit_as(&self, caller: &Caller) -> ExecutionId {
        let admitted = self.admit(caller).await;
        let submission = Submission::new(call("shop", "order"));
        self.world.engine.runs().submit(&admitted, submission).await.unwrap().id
    }

    /// The run at its end.
    async fn ended(&self, id: ExecutionId) -> Run {
        let (runs, caller) = (self.world.engine.runs(), &self.world.caller);
        let run = runs.wait(caller, id, Deadline::after(Duration::from_secs(600))).await.unwrap();
        assert!(run.execution.state.is_final(), "{:?}", run.execution);
        run
    }

    /// The value that the run came to.
    async fn value(&self, id: ExecutionId) -> Value {
        match self.ended(id).await.outcome {
            Some(Outcome::Answer { data, .. }) => data.json().unwrap(),
            other => panic!("no value: {other:?}"),
        }
    }

    /// The failure that the run came to.
    async fn failure(&self, id: ExecutionId) -> Failure {
        match self.ended(id).await.outcome {
            Some(Outcome::Failed(failure)) => failure,
            other => panic!("no failure: {other:?}"),
        }
    }

    async fn run(&self, id: ExecutionId) -> Run {
        self.world.engine.runs().get(&self.world.caller, id).await.unwrap()
    }

    /// Waits until something has happened this often.
    async fn until(&self, log: &Log, what: &str, times: usize) {
        let seen = async {
            while log.count(what) < times {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let in_time = Deadline::after(Duration::from_secs(60)).run(seen).await;
        in_time.unwrap_or_else(|| panic!("{what} did not happen: {}", log.all()));
    }

    /// Waits until the run waits in the queue.
    async fn until_queued(&self, id: ExecutionId) {
        let seen = async {
            while self.run(id).await.execution.state != State::Queued {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        Deadline::after(Duration::from_secs(60)).run(seen).await.unwrap();
    }
}

/// Runs are tried again at once: the clock stands still.
fn with(builder: Builder, skills: &[Arc<dyn Skill>]) -> Builder {
    let builder = builder.queue(Settings { backoff: Duration::ZERO, ..Settings::default() });
    skills.iter().fold(builder, |builder, skill| builder.skill(skill.clone()))
}

#[tokio::test(start_paused = true)]
async fn after_a_crash_finished_steps_are_not_done_again() {
    let log = Log::default();
    let skill = order(&log, |context, log| async move {
        let one = step(&context, &log, "pack").await?;
        let work = || async {
            if log.add("send") == 1 {
                std::future::pending::<()>().await;
            }
            Ok(10)
        };
        let ten: u32 = context.step("send", work).await?;
        Ok(json!({"sum": one + ten, "attempt": context.run().attempt}))
    });
    let first = Desk::new([skill.clone()]).await;
    let id = first.submit().await;
    first.until(&log, "send", 1).await;
    let second = first.restarted([skill]).await;
    assert_eq!(second.value(id).await, json!({"sum": 11, "attempt": 2}));
    assert_eq!(log.all(), "pack send send");
}

#[tokio::test(start_paused = true)]
async fn a_retry_goes_on_after_the_last_finished_step() {
    let log = Log::default();
    let desk = Desk::new([order(&log, |context, log| async move {
        step(&context, &log, "pack").await?;
        let work = || async {
            match log.add("send") {
                1 | 2 => Err(passing()),
                _ => Ok(()),
            }
        };
        context.step("send", work).await?;
        step(&context, &log, "bill").await?;
        Ok(json!(null))
    })])
    .await;
    let id = desk.submit().await;
    assert_eq!(desk.ended(id).await.execution.attempts, 3);
    assert_eq!(log.all(), "pack send send send bill");
}

#[tokio::test(start_paused = true)]
async fn an_error_that_the_skill_went_on_from_stays_what_it_was() {
    let log = Log::default();
    let desk = Desk::new([order(&log, |context, log| async move {
        let work = || async {
            log.add("ask");
            Err::<u32, _>(Error::new(ErrorKind::NotFound, "nobody there"))
        };
        let asked = context.step("ask", work).await;
        assert_eq!(asked.unwrap_err().message(), "nobody there");
        step(&context, &log, "instead").await?;
        if log.add("attempt") == 1 { Err(passing()) } else { Ok(json!("done")) }
    })])
    .await;
    let id = desk.submit().await;
    assert_eq!(desk.value(id).await, "done");
    assert_eq!(log.all(), "ask instead attempt attempt");
}

#[tokio::test(start_paused = true)]
async fn how_far_a_run_is_can_be_seen_and_never_goes_back() {
    let (log, gate) = (Log::default(), Arc::new(Semaphore::new(0)));
    let pass = gate.clone();
    let desk = Desk::new([order(&log, move |context, log| {
        let gate = pass.clone();
        async move {
            for percent in [40, 10, 250] {
                context.progress(percent).await?;
                log.add("said");
                gate.acquire().await.unwrap().forget();
            }
            Ok(json!(null))
        }
    })])
    .await;
    let id = desk.submit().await;
    for (times, seen) in [(1, 40), (2, 40), (3, 99)] {
        desk.until(&log, "said", times).await;
        assert_eq!(desk.run(id).await.execution.progress, seen);
        gate.add_permits(1);
    }
    assert_eq!(desk.ended(id).await.execution.progress, 100);
}

#[tokio::test(start_paused = true)]
async fn a_large_value_of_a_step_is_an_artifact_until_the_run_has_ended() {
    let log = Log::default();
    let skill = order(&log, |context, log| async move {
        let work = || async {
            log.add("read");
            Ok("x".repeat(1 << 20))
        };
        let text: String = context.step("read", work).await?;
        if log.add("attempt") == 1 { Err(passing()) } else { Ok(json!(text.len())) }
    });
    let artifacts = Arc::new(MemoryArtifacts::default());
    let world = World::with(Arc::new(MemoryStore::new()), |builder| {
        let queue = Settings { backoff: Duration::from_secs(60), ..Settings::default() };
        with(builder, std::slice::from_ref(&skill)).queue(queue).artifacts(artifacts.clone())
    });
    let desk = Desk { world: world.await };
    let id = desk.submit().await;
    desk.until(&log, "attempt", 1).await;
    desk.until_queued(id).await;
    let owner = desk.world.caller.owner.clone();
    assert_eq!(artifacts.runs().await.unwrap(), [(owner, id)]);
    desk.world.clock.advance(Duration::from_secs(60));
    assert_eq!(desk.value(id).await, 1 << 20);
    assert_eq!(log.all(), "read attempt attempt");
    assert!(artifacts.runs().await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_large_result_is_read_in_pieces_and_stays_when_its_steps_go() {
    let log = Log::default();
    let skill = order(&log, |context, log| async move {
        let text: String = context.step("read", || async { Ok("y".repeat(3 << 20)) }).await?;
        log.add("read");
        Ok(json!(text))
    });
    let artifacts = Arc::new(MemoryArtifacts::default());
    let world = World::with(Arc::new(MemoryStore::new()), |builder| {
        with(builder, std::slice::from_ref(&skill)).artifacts(artifacts.clone())
    });
    let desk = Desk { world: world.await };
    let id = desk.submit().await;
    let run = desk.ended(id).await;
    let length = (3 << 20) + 2;
    assert_eq!((run.outcome, run.result_bytes), (None, Some(length)));
    let (runs, caller) = (desk.world.engine.runs(), &desk.world.caller);
    let mut text = Vec::new();
    while (text.len() as u64) < length {
        let page = runs.result(caller, id, text.len() as u64, 1_000_000).await.unwrap();
        assert_eq!(page.total, length);
        text.extend_from_slice(&page.bytes);
    }
    assert_eq!(text, format!("\"{}\"", "y".repeat(3 << 20)).into_bytes());
    assert_eq!(artifacts.runs().await.unwrap().len(), 1);
    assert_eq!(artifacts.forget(&caller.owner, id, None).await.unwrap(), 1);
    let gone = runs.result(caller, id, 0, 10).await;
    assert_eq!(gone.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test(start_paused = true)]
async fn steps_are_kept_sealed_and_go_with_their_run() {
    let (log, gate) = (Log::default(), Arc::new(Semaphore::new(0)));
    let pass = gate.clone();
    let desk = Desk::new([order(&log, move |context, log| {
        let gate = pass.clone();
        async move {
            context.step("read", || async { Ok("SECRET".to_owned()) }).await?;
            log.add("read");
            gate.acquire().await.unwrap().forget();
            Ok(json!(null))
        }
    })])
    .await;
    let id = desk.submit().await;
    desk.until(&log, "read", 1).await;
    let (store, owner) = (&desk.world.store, &desk.world.caller.owner);
    let kept = store.steps(owner, id).await.unwrap();
    assert_eq!((kept.len(), kept[0].position, kept[0].name.as_str()), (1, 0, "read"));
    let sealed = kept[0].value.as_ref().unwrap();
    assert!(!sealed.0.windows(6).any(|bytes| bytes == b"SECRET"));
    gate.add_permits(1);
    desk.ended(id).await;
    assert!(store.steps(owner, id).await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_input_that_does_not_fit_never_becomes_a_run() {
    let log = Log::default();
    let skill =
        skill::from_fn(
            "shop",
            "v1.0",
            "order",
            |_, count: Count| async move { Ok(json!(count.count)) },
        );
    let desk = Desk::new([skill.build().unwrap()]).await;
    let admitted = desk.admit(&desk.world.caller).await;
    let asked = Submission::new(call("shop", "order").param("count", "many"));
    let refused = desk.world.engine.runs().submit(&admitted, asked).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    assert_eq!(refused.field_details()[0].field, "count");
    assert_eq!(log.all(), "");
}

#[derive(Deserialize, JsonSchema)]
struct Count {
    count: u32,
}
