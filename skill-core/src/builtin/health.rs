//! `health-check`: whether something answers as it should.

use std::{sync::Arc, time::Duration};

use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    form,
    reach::{self, Answer},
};
use crate::{
    clock::Stopwatch,
    error::{ErrorKind, Result},
    record::execution::Class,
    skill::{Skill, SkillContext, from_fn},
    tool::Category,
};

/// The most bytes of an answer.
const LARGEST: usize = 1 << 20;
/// How long an answer may take when nobody says, and at most, in seconds.
const USUAL: u64 = 10;
const LONGEST: u64 = 60;

/// How it is asked. None of these changes anything.
#[derive(Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
enum Verb {
    #[default]
    Get,
    Head,
    Options,
}

#[derive(Deserialize, JsonSchema)]
struct Input {
    /// What is asked: a public address.
    url: String,
    /// How it is asked.
    #[serde(default)]
    method: Verb,
    /// The status that it should answer; any from 200 to 299 when nobody says.
    #[serde(default)]
    #[schemars(range(min = 100, max = 599))]
    expect_status: Option<u16>,
    /// A text that the answer should hold.
    #[serde(default)]
    #[schemars(length(min = 1, max = 10_000))]
    expect_body: Option<String>,
    /// How long it may take, in seconds; 10 when nobody says.
    #[serde(default)]
    #[schemars(range(min = 1, max = 60))]
    timeout: Option<u64>,
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Output {
    /// Whether it answered as it should.
    healthy: bool,
    /// What it answered.
    status: Option<u16>,
    /// How long that took, in milliseconds.
    latency_ms: u64,
    /// Why it is not healthy.
    reason: Option<String>,
}

pub(super) fn skill() -> Result<Arc<dyn Skill>> {
    from_fn("monitoring", "v1.0", "health-check", run)
        .summary("Ask a URL, and say whether it answers as it should")
        .class(Class::Read)
        .timeout(Duration::from_secs(LONGEST + 30))
        .tool(form("health-check", Category::Monitoring)?)
        .build()
}

async fn run(context: SkillContext, input: Input) -> Result<Output> {
    let url = reach::address("url", &input.url)?;
    let timeout = Duration::from_secs(input.timeout.unwrap_or(USUAL).clamp(1, LONGEST));
    let method = match input.method {
        Verb::Get => Method::GET,
        Verb::Head => Method::HEAD,
        Verb::Options => Method::OPTIONS,
    };
    let ask = || async {
        let watch = Stopwatch::start();
        let request = ("url", reach::request(method, url));
        let answer = reach::fetch(&context, request, (timeout, LARGEST)).await;
        let latency_ms = u64::try_from(watch.elapsed().as_millis()).unwrap_or(u64::MAX);
        let (status, reason) = match answer {
            Ok(answer) => (Some(answer.status.as_u16()), complaint(&answer, &input)),
            Err(error) if is_its_fault(error.kind()) => (None, Some(error.message().to_owned())),
            Err(error) => return Err(error),
        };
        Ok(Output { healthy: reason.is_none(), status, latency_ms, reason })
    };
    context.step("ask", ask).await
}

fn is_its_fault(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::UpstreamUnreachable | ErrorKind::UpstreamInvalid | ErrorKind::Timeout)
}

/// What is wrong with an answer.
fn complaint(answer: &Answer, input: &Input) -> Option<String> {
    let status = answer.status.as_u16();
    match input.expect_status {
        Some(expected) if expected != status => {
            return Some(format!("expected status {expected}, got {status}"));
        }
        None if !answer.status.is_success() => {
            return Some(format!("expected a status from 200 to 299, got {status}"));
        }
        Some(_) | None => {}
    }
    let text = input.expect_body.as_deref()?;
    let body = String::from_utf8_lossy(&answer.body);
    (!body.contains(text)).then(|| "the answer does not hold the expected text".to_owned())
}
