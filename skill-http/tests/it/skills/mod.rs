//! The *skills* dialect.

mod admin;
mod agent_webhooks;
mod agents;
mod conversations;
mod execute;
mod memories;
mod registry;
mod schedules;
mod triggers;

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};
use skill_core::{
    Result,
    name::{ActionName, Slug, Version},
    schema::Schema,
    skill::{Skill, SkillContext, SkillInfo},
};

use crate::world::{Setup, TestServer, setup};

/// A report that answers with its own version.
#[derive(Debug)]
struct Report(SkillInfo);

#[async_trait]
impl Skill for Report {
    fn info(&self) -> &SkillInfo {
        &self.0
    }

    async fn run(&self, _: SkillContext, input: Value) -> Result<Value> {
        Ok(json!({"version": self.0.version.to_string(), "input": input}))
    }
}

fn report(version: &str) -> SkillInfo {
    let slug = |text| Slug::parse(text).unwrap();
    let (namespace, name) = (slug("quickbooks"), slug("profit_and_loss_report"));
    let schema = json!({
        "type": "object",
        "properties": {"start_date": {"type": "string", "format": "date"}},
    });
    let version = Version::parse(version).unwrap();
    let schema = Schema::compile(schema).unwrap();
    SkillInfo::new(ActionName { namespace, name }, version, schema)
}

/// A server with a report in several versions; one of them is not active.
fn reports() -> Setup {
    let versions = ["v1.0", "v1.2", "v1.10", "v2.0"].map(report);
    let mut gone = report("v1.11");
    gone.is_active = false;
    versions
        .into_iter()
        .chain([gone])
        .fold(setup(), |setup, info| setup.skill(Arc::new(Report(info))))
}

/// Runs a skill of the lab; returns the job.
async fn job(server: &TestServer, input: &Value) -> String {
    let answer = server.post("/api/lab/v1/run", input).await;
    answer.ok(202)["job_id"].as_str().unwrap().to_owned()
}

/// The conversation that a job began.
fn conversation(job: &str) -> String {
    format!("/api/conversations/conv_{}", job.strip_prefix("job_").unwrap())
}

/// The conversation, once its run has ended.
async fn ended(server: &TestServer, job: &str) -> Value {
    let id = job.replace("job_", "exec_");
    server.ended(&id).await;
    server.get(&conversation(job)).await.ok(200)
}
