//! Queued runs, through the public door: nothing is lost, nothing is doubled, nobody starves.

mod cancel;
mod crash;
mod fair;
mod file;
mod look;
mod retry;
mod skills;
mod stop;
mod submit;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use skill_core::{
    Engine, Result,
    access::{Admission, Admitted, Caller},
    call::{CallRequest, Outcome},
    clock::{Clock, Deadline},
    engine::Builder,
    id::ExecutionId,
    queue::{self, Run, Submission},
    record::execution::State,
    schema::Schema,
    skill::{Skill, SkillContext, SkillInfo},
    store::{MemoryStore, Store},
};

use super::fixture::{World, call, noon};

/// A clock that goes with tokio's, which a paused runtime moves by itself.
#[derive(Debug)]
pub(crate) struct Flowing {
    start: tokio::time::Instant,
    set: Mutex<SignedDuration>,
}

impl Flowing {
    pub(crate) fn new() -> Arc<Self> {
        let (start, set) = (tokio::time::Instant::now(), Mutex::default());
        Arc::new(Self { start, set })
    }

    /// Sets the time of day, as an operator does.
    pub(crate) fn jump(&self, by: SignedDuration) {
        *self.set.lock().unwrap() += by;
    }
}

impl Clock for Flowing {
    fn now(&self) -> Timestamp {
        noon() + self.steady() + *self.set.lock().unwrap()
    }

    fn steady(&self) -> Duration {
        self.start.elapsed()
    }
}

/// An engine whose time flows.
pub(crate) async fn flowing() -> World {
    flowing_over(Arc::new(MemoryStore::new()), |builder| builder).await
}

pub(crate) async fn flowing_over(
    store: Arc<dyn Store>,
    change: impl Fn(Builder) -> Builder,
) -> World {
    let clock = Flowing::new();
    World::with(store, |builder| change(builder.clock(clock.clone()))).await
}

fn settings(change: impl FnOnce(&mut queue::Settings)) -> queue::Settings {
    let mut settings = queue::Settings::default();
    change(&mut settings);
    settings
}

pub(crate) async fn admit(engine: &Engine, caller: &Caller) -> Admitted {
    match engine.keys().admit(caller.clone()).await.unwrap() {
        Admission::Admitted(admitted) => admitted,
        Admission::Refused(_) => panic!("no test has limits"),
    }
}

impl World {
    pub(crate) async fn submit(&self, call: CallRequest) -> ExecutionId {
        self.submit_as(&self.caller, Submission::new(call)).await.unwrap()
    }

    async fn submit_as(&self, caller: &Caller, submission: Submission) -> Result<ExecutionId> {
        let admitted = admit(&self.engine, caller).await;
        Ok(self.engine.runs().submit(&admitted, submission).await?.id)
    }

    /// Waits for the end of a run of the world's caller, a day at most.
    pub(crate) async fn ended(&self, id: ExecutionId) -> Run {
        let deadline = Deadline::after(Duration::from_secs(24 * 3600));
        let run = self.engine.runs().wait(&self.caller, id, deadline).await.unwrap();
        assert!(run.execution.state.is_final(), "the run does not end");
        run
    }

    pub(crate) async fn run(&self, call: CallRequest) -> Run {
        self.ended(self.submit(call).await).await
    }

    async fn state(&self, id: ExecutionId) -> State {
        self.engine.runs().execution(&self.caller, id).await.unwrap().state
    }

    /// Waits until `count` requests went to `place`.
    pub(crate) async fn sent_to(&self, place: &str, count: usize) {
        while self.script.count(place) < count {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// The JSON of a good outcome, or of a bad answer.
fn answer(run: &Run) -> Value {
    match &run.outcome {
        Some(Outcome::Answer { data, .. }) => data.json().unwrap(),
        other => panic!("no answer: {other:?}"),
    }
}

fn failure(run: &Run) -> &queue::Failure {
    match &run.outcome {
        Some(Outcome::Failed(failure)) => failure,
        other => panic!("no failure: {other:?}"),
    }
}

fn read() -> CallRequest {
    call("open", "get_item").param("id", "7")
}

fn write() -> CallRequest {
    call("open", "make_item").param("title", "x")
}

type Work = Arc<
    dyn Fn(SkillContext, Value) -> futures_util::future::BoxFuture<'static, Result<Value>>
        + Send
        + Sync,
>;

/// A skill of a function on JSON.
struct Plain {
    info: SkillInfo,
    work: Work,
}

impl std::fmt::Debug for Plain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Plain({})", self.info.name)
    }
}

#[async_trait]
impl Skill for Plain {
    fn info(&self) -> &SkillInfo {
        &self.info
    }

    async fn run(&self, context: SkillContext, input: Value) -> Result<Value> {
        (self.work)(context, input).await
    }
}

fn skill_with<F>(
    name: &str,
    change: impl FnOnce(&mut SkillInfo),
    work: impl Fn(SkillContext, Value) -> F + Send + Sync + 'static,
) -> Arc<dyn Skill>
where
    F: Future<Output = Result<Value>> + Send + 'static,
{
    let schema = Schema::compile(serde_json::json!({"type": "object"})).unwrap();
    let version = skill_core::name::Version::parse("v1.0").unwrap();
    let mut info = SkillInfo::new(call("test", name).action, version, schema);
    change(&mut info);
    let work: Work = Arc::new(move |context, input| Box::pin(work(context, input)));
    Arc::new(Plain { info, work })
}

fn skill<F>(
    name: &str,
    work: impl Fn(SkillContext, Value) -> F + Send + Sync + 'static,
) -> Arc<dyn Skill>
where
    F: Future<Output = Result<Value>> + Send + 'static,
{
    skill_with(name, |_| (), work)
}
