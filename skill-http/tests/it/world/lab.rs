//! A skill that does what a test says.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use serde_json::{Value, json};
use skill_core::{
    Error, ErrorKind, Result,
    call::CallRequest,
    name::{ActionName, Slug, Version},
    schema::Schema,
    skill::{Skill, SkillContext, SkillInfo},
};
use tokio::sync::watch;

/// `lab/run`: its input says what it does.
///
/// | `do` | what happens |
/// |---|---|
/// | `echo` | answers with its input |
/// | `wait` | reports the progress that [`Lab::say`] names, and ends at 100 |
/// | `deaf` | as `wait`, and does not stop when it is told to |
/// | `fail` | ends in an error |
/// | `panic` | panics |
/// | `big` | answers with `size` characters |
/// | `call` | calls `open/get_item` twice |
/// | `talk` | says something, calls `open/get_item`, and says something again |
pub(crate) struct Lab {
    info: SkillInfo,
    said: watch::Sender<u8>,
}

impl fmt::Debug for Lab {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lab")
    }
}

impl Lab {
    pub(crate) fn new() -> Arc<Self> {
        let schema = json!({
            "type": "object",
            "required": ["do"],
            "properties": {
                "do": {
                    "enum": ["echo", "wait", "deaf", "fail", "panic", "big", "call", "talk"],
                    "description": "What happens",
                },
                "size": {"type": "integer", "default": 1},
                "note": {"type": "string"},
            },
        });
        let slug = |text| Slug::parse(text).unwrap();
        let action = ActionName { namespace: slug("lab"), name: slug("run") };
        let version = Version::parse("v1.0").unwrap();
        let mut info = SkillInfo::new(action, version, Schema::compile(schema).unwrap());
        info.summary = "Do what a test says".to_owned();
        info.timeout = Duration::from_secs(60);
        info.attempts = Some(1);
        Arc::new(Self { info, said: watch::Sender::new(0) })
    }

    /// Says how far every run that waits is; 100 ends it.
    pub(crate) fn say(&self, percent: u8) {
        self.said.send_replace(percent);
    }

    async fn wait(&self, context: &SkillContext, is_deaf: bool) -> Result<Value> {
        let (mut said, stop) = (self.said.subscribe(), context.cancelled());
        loop {
            let percent = *said.borrow_and_update();
            if percent == 100 {
                return Ok(json!({"waited": true}));
            }
            context.progress(percent).await?;
            tokio::select! {
                _ = said.changed() => {}
                () = stop.cancelled(), if !is_deaf => {
                    return Err(Error::new(ErrorKind::Unavailable, "told to stop"));
                }
            }
        }
    }
}

#[async_trait]
impl Skill for Lab {
    fn info(&self) -> &SkillInfo {
        &self.info
    }

    async fn run(&self, context: SkillContext, input: Value) -> Result<Value> {
        match input["do"].as_str() {
            Some("wait") => self.wait(&context, false).await,
            Some("deaf") => self.wait(&context, true).await,
            Some("fail") => Err(Error::new(ErrorKind::ActionFailed, "it did not work")),
            Some("panic") => panic!("a skill that panics"),
            Some("big") => {
                let size = usize::try_from(input["size"].as_u64().unwrap_or(1)).unwrap();
                Ok(Value::String("é".repeat(size)))
            }
            Some("call") => {
                let mut answers = Vec::new();
                for item in ["1", "2"] {
                    let call = CallRequest::new("open", "get_item")?.param("item", item);
                    answers.push(context.call(call).await?.data.json()?);
                }
                Ok(Value::Array(answers))
            }
            Some("talk") => {
                context.say("Looking it up.").await?;
                let call = CallRequest::new("open", "get_item")?.param("item", "1");
                let found = context.call(call).await?.data.json()?;
                context.say("Found it.").await?;
                Ok(found)
            }
            _ => Ok(input),
        }
    }
}
