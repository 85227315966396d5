//! Skills out of functions: what is derived, what is refused.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use skill_core::{
    ErrorKind, Result,
    call::{CallRequest, Reply},
    id::ExecutionId,
    name::{OwnerId, Slug, Version},
    record::{execution::Class, scope::Scope},
    skill::{self, Host, RunInfo, Skill, SkillContext, StepName, Work},
    transport::{Outgoing, Response},
};
use tokio_util::sync::CancellationToken;

use super::fixture::noon;

#[derive(Deserialize, JsonSchema)]
struct Order {
    /// What is bought.
    item: String,
    /// How many; one when nobody says.
    #[serde(default = "one")]
    count: u32,
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    by: Option<Slip>,
}

fn one() -> u32 {
    1
}

/// Something that its schema does not say everything about.
struct Slip;

impl<'de> Deserialize<'de> for Slip {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let wrong =
            || serde::de::Error::invalid_value(serde::de::Unexpected::Str(&text), &"a slip");
        if text == "slip" { Ok(Self) } else { Err(wrong()) }
    }
}

#[derive(Serialize, JsonSchema)]
struct Bill {
    total: u32,
    #[serde(default)]
    notes: Vec<String>,
}

async fn price(_: SkillContext, order: Order) -> Result<Bill> {
    assert!(order.by.is_none_or(|Slip| true));
    Ok(Bill { total: order.item.len() as u32 * order.count, notes: Vec::new() })
}

fn shop() -> Arc<dyn Skill> {
    skill::from_fn("shop", "v1.0", "price", price).summary("Price an order").build().unwrap()
}

#[test]
fn the_schemas_are_those_of_the_types() {
    let info_of = shop();
    let info = info_of.info();
    let input = info.input.as_value();
    assert_eq!(input["type"], "object");
    assert_eq!(
        input["properties"]["item"],
        json!({"type": "string", "description": "What is bought."})
    );
    assert_eq!(input["properties"]["count"]["default"], 1);
    assert_eq!(input["required"], json!(["item"]));
    assert!(input.get("title").is_none());
    let output = info.output.as_ref().unwrap().as_value();
    assert_eq!(output["required"], json!(["total", "notes"]));
}

#[test]
fn an_input_is_checked_against_the_schema() {
    let check = |input: Value| shop().info().input.check(&input);
    check(json!({"item": "tea"})).unwrap();
    check(json!({"item": "tea", "count": 2, "colour": "green"})).unwrap();
    let problem = |input| check(input).unwrap_err().field_details()[0].clone();
    assert_eq!(problem(json!({})).field, "item");
    assert_eq!(problem(json!({"item": 7})).issue, "expected type string, got a number");
    assert_eq!(problem(json!({"item": "tea", "count": -1})).field, "count");
}

#[test]
fn what_is_said_about_a_skill_is_known() {
    let said = skill::from_fn("shop", "v2", "price", price)
        .timeout(Duration::from_secs(7))
        .deadline(Duration::from_secs(70))
        .class(Class::Read)
        .group("till", 2)
        .attempts(3)
        .scopes([Scope::parse("bank").unwrap()])
        .inactive()
        .deprecated()
        .build()
        .unwrap();
    let info = said.info();
    assert_eq!((info.timeout.as_secs(), info.deadline.unwrap().as_secs()), (7, 70));
    assert_eq!((info.class, info.attempts), (Class::Read, Some(3)));
    let group = info.group.as_ref().unwrap();
    assert_eq!((group.name.as_str(), group.most), ("till", 2));
    assert_eq!(info.scopes, [Scope::parse("bank").unwrap()]);
    assert!(!info.is_active && info.is_deprecated);
    assert_eq!(info.version, Version::parse("v2").unwrap());
    assert_eq!(info.category, Slug::parse("shop").unwrap());
    assert_ne!(info.revision(), shop().info().revision());
}

#[test]
fn bad_names_and_bounds_are_errors() {
    let message = |made: Result<Arc<dyn Skill>>| made.unwrap_err().to_string();
    let named = |category, version, name| {
        message(skill::from_fn(category, version, name, price).summary("x").build())
    };
    assert!(named("Shop", "v1", "price").contains("the category of skill `Shop/v1/price`"));
    assert!(named("shop", "1", "price").contains("the version"));
    assert!(named("shop", "v1", "").contains("the name"));
    let good = || skill::from_fn("shop", "v1", "price", price);
    for made in [
        good().attempts(0),
        good().group("till", 0),
        good().group("", 1),
        good().timeout(Duration::ZERO),
        good().deadline(Duration::ZERO),
    ] {
        assert!(message(made.build()).contains("expected at least one attempt"));
    }
    let list = skill::from_fn("shop", "v1", "price", |_, _: Vec<u8>| async { Ok(()) });
    assert!(message(list.build()).contains("expected an object"));
}

#[tokio::test]
async fn an_input_that_the_type_refuses_is_said_without_its_value() {
    let good = shop().run(idle(), json!({"item": "tea", "by": "slip"})).await.unwrap();
    assert_eq!(good["total"], 3);
    let error = shop().run(idle(), json!({"item": "tea", "by": "SECRET"})).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert_eq!(error.message(), "the input cannot be used: expected a slip");
}

/// A host for skills that need nothing of it.
#[derive(Debug)]
struct Idle(RunInfo);

fn idle() -> SkillContext {
    SkillContext::new(Arc::new(Idle(RunInfo {
        id: ExecutionId::fresh(noon()).unwrap(),
        owner: OwnerId::standard(),
        user: None,
        action: shop().info().action(),
        version: shop().info().version,
        attempt: 1,
    })))
}

#[async_trait]
impl Host for Idle {
    fn run(&self) -> &RunInfo {
        &self.0
    }
    fn now(&self) -> Timestamp {
        noon()
    }
    async fn step(&self, _: &StepName, work: Work<'_>) -> Result<Value> {
        work.await
    }
    async fn once(&self, _: &StepName, work: Work<'_>) -> Result<Value> {
        work.await
    }
    async fn fetch(&self, _: Outgoing, _: Duration) -> Result<Response> {
        unreachable!("it fetches nothing")
    }
    fn find(&self, _: &Slug, _: Version, _: &Slug) -> Option<Arc<dyn Skill>> {
        None
    }
    async fn call(&self, _: CallRequest) -> Result<Reply> {
        unreachable!("it calls nothing")
    }
    async fn sleep_until(&self, _: Timestamp) -> Result<()> {
        Ok(())
    }
    async fn say(&self, _: &str) -> Result<()> {
        Ok(())
    }
    async fn progress(&self, _: u8) -> Result<()> {
        Ok(())
    }
    fn cancelled(&self) -> CancellationToken {
        CancellationToken::new()
    }
}
