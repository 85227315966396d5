//! A skill that walks through the moves of its input, and tells the world of every step.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use skill_core::{
    Error, ErrorKind, Result,
    call::CallRequest,
    name::{ActionName, Slug, Version},
    record::run::Group,
    schema::Schema,
    skill::{Skill, SkillContext, SkillInfo},
};

use super::{node::Node, upstream::Kind, world::World};

/// What a walk does next.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) enum Move {
    /// A durable step of so many milliseconds.
    Step(u64),
    /// A call of the service; its number in [`Kind::ALL`].
    Call(usize),
    /// A durable sleep of so many milliseconds.
    Sleep(u64),
    /// Work between steps.
    Work(u64),
    /// Progress in percent.
    Progress(u8),
    /// Perhaps an error or a panic, the more often the worse the weather.
    Stumble,
}

/// One of the skills: `walk`, and `file`, of which one owner has at most two at once.
#[derive(Debug)]
pub(crate) struct Walk {
    info: SkillInfo,
    node: Arc<Node>,
    world: Arc<World>,
}

impl Walk {
    pub(crate) fn skill(name: &str, node: &Arc<Node>, world: &Arc<World>) -> Arc<dyn Skill> {
        let action = ActionName {
            namespace: Slug::parse("walks").unwrap(),
            name: Slug::parse(name).unwrap(),
        };
        let input = Schema::compile(json!({"type": "object"})).unwrap();
        let mut info = SkillInfo::new(action, Version::parse("v1.0").unwrap(), input);
        info.timeout = Duration::from_secs(120);
        if name == "file" {
            info.group = Some(Group { name: "file".into(), most: 2 });
        }
        Arc::new(Self { info, node: node.clone(), world: world.clone() })
    }

    async fn one(&self, context: &SkillContext, tag: &str, step: Move) -> Result<()> {
        match step {
            Move::Step(millis) => {
                let value: u64 = context.step(tag, || self.work(tag, millis)).await?;
                self.world.step_finished(tag, value);
            }
            Move::Call(kind) => {
                let kind = Kind::ALL[kind];
                let call = CallRequest::new("desk", kind.name())?.param("tag", tag);
                let reply = context.call(call).await?;
                if reply.status.as_u16() >= 400 {
                    return Err(Error::new(ErrorKind::ActionFailed, "the service said no"));
                }
            }
            Move::Sleep(millis) => context.sleep(Duration::from_millis(millis)).await?,
            Move::Work(millis) => tokio::time::sleep(Duration::from_millis(millis)).await,
            Move::Progress(percent) => context.progress(percent).await?,
            Move::Stumble => {
                if self.world.dice.in_thousand(self.world.faults().skill) {
                    match self.world.dice.below(3) {
                        0 => panic!("simulated"),
                        1 => return Err(Error::new(ErrorKind::Unavailable, "not now")),
                        _ => return Err(Error::new(ErrorKind::ActionFailed, "never")),
                    }
                }
            }
        }
        Ok(())
    }

    async fn work(&self, tag: &str, millis: u64) -> Result<u64> {
        self.node.pass().await;
        self.world.step_begins(&self.node, tag);
        tokio::time::sleep(Duration::from_millis(millis)).await;
        self.node.pass().await;
        Ok(self.world.dice.below(1_000_000))
    }
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "World({})", self.plan.seed)
    }
}

#[async_trait]
impl Skill for Walk {
    fn info(&self) -> &SkillInfo {
        &self.info
    }

    async fn run(&self, context: SkillContext, input: Value) -> Result<Value> {
        self.node.pass().await;
        let tag = input["tag"].as_str().unwrap_or_default();
        let moves: Vec<Move> = serde_json::from_value(input["moves"].clone()).unwrap();
        for (n, step) in moves.into_iter().enumerate() {
            self.one(&context, &format!("{tag}.{n}"), step).await?;
            self.node.pass().await;
        }
        Ok(json!({"walked": tag}))
    }
}
