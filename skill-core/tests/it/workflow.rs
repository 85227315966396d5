//! Skills that are documents.

mod crash;
mod examples;
mod problems;
mod running;
mod shipped;

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use skill_core::{
    access::{Admission, Caller},
    call::{Failure, Outcome},
    clock::Deadline,
    engine::Builder,
    id::ExecutionId,
    integration::Integration,
    queue::{Run, Settings, Submission},
    record::execution::State,
    store::{MemoryStore, Store},
    workflow::{self, Document, Loaded},
};

use super::fixture::{World, call, members, services};

/// A document of the category `shop` over the service `open`, with these workflows.
fn document(workflows: &str) -> Document {
    let text = format!(
        "arazzo: 1.0.1\n\
         info: {{title: Tests, version: 1.2.3, x-skill: {{category: shop}}}}\n\
         sourceDescriptions: [{{name: open, url: 'skill:open', type: openapi}}]\n\
         workflows:\n{workflows}"
    );
    Document { file: "tests.arazzo.yaml".into(), text }
}

fn load(workflows: &str) -> Vec<Loaded> {
    loaded(&[document(workflows)], &services())
}

fn loaded(documents: &[Document], integrations: &[Arc<dyn Integration>]) -> Vec<Loaded> {
    let loaded = workflow::load(documents, integrations);
    loaded.unwrap_or_else(|problems| {
        panic!("{}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    })
}

/// Runs are tried again at once: the clock stands still.
fn with(builder: Builder, skills: &[Loaded]) -> Builder {
    let builder = builder.queue(Settings { backoff: Duration::ZERO, ..Settings::default() });
    skills.iter().fold(builder, |builder, loaded| builder.skill(loaded.skill.clone()))
}

/// An engine with workflows, and what their runs come to.
struct Desk {
    world: World,
}

impl Desk {
    async fn new(workflows: &str) -> Self {
        let skills = load(workflows);
        Self::over(Arc::new(MemoryStore::new()), &skills).await
    }

    async fn over(store: Arc<dyn Store>, skills: &[Loaded]) -> Self {
        Self { world: World::with(store, |builder| with(builder, skills)).await }
    }

    async fn submit(&self, name: &str, inputs: Value) -> ExecutionId {
        self.submit_as(&self.world.caller, name, inputs).await
    }

    async fn submit_as(&self, caller: &Caller, name: &str, inputs: Value) -> ExecutionId {
        let admitted = match self.world.engine.keys().admit(caller.clone()).await.unwrap() {
            Admission::Admitted(admitted) => admitted,
            Admission::Refused(_) => panic!("nothing is limited"),
        };
        let (namespace, name) = name.split_once('/').unwrap();
        let mut call = call(namespace, name);
        call.params = members(inputs);
        let runs = self.world.engine.runs();
        runs.submit(&admitted, Submission::new(call)).await.unwrap().id
    }

    /// The run at its end.
    async fn ended(&self, id: ExecutionId) -> Run {
        let (runs, caller) = (self.world.engine.runs(), &self.world.caller);
        let run = runs.wait(caller, id, Deadline::after(Duration::from_secs(600))).await.unwrap();
        assert!(run.execution.state.is_final(), "{:?}", run.execution);
        run
    }

    async fn value(&self, id: ExecutionId) -> Value {
        match self.ended(id).await.outcome {
            Some(Outcome::Answer { data, .. }) => data.json().unwrap(),
            other => panic!("no value: {other:?}"),
        }
    }

    async fn failure(&self, id: ExecutionId) -> Failure {
        match self.ended(id).await.outcome {
            Some(Outcome::Failed(failure)) => failure,
            other => panic!("no failure: {other:?}"),
        }
    }

    /// What a run of this workflow comes to.
    async fn runs(&self, name: &str, inputs: Value) -> Value {
        let id = self.submit(name, inputs).await;
        self.value(id).await
    }

    async fn fails(&self, name: &str, inputs: Value) -> Failure {
        let id = self.submit(name, inputs).await;
        self.failure(id).await
    }

    /// Waits until the run, which has begun, waits in the queue.
    async fn until_queued(&self, id: ExecutionId) {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let seen = async {
            let runs = self.world.engine.runs();
            while runs.get(&self.world.caller, id).await.unwrap().execution.state != State::Queued {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        Deadline::after(Duration::from_secs(60)).run(seen).await.unwrap();
    }

    /// The paths that were asked for, with their queries.
    fn paths(&self) -> Vec<String> {
        let sent = self.world.script.sent().into_iter();
        let path = |sent: super::script::Sent| match sent.url.query() {
            None => format!("{} {}", sent.method, sent.url.path()),
            Some(query) => format!("{} {}?{query}", sent.method, sent.url.path()),
        };
        sent.map(path).collect()
    }
}
