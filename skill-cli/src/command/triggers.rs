//! `skill triggers`: addresses whose requests make runs.

use std::process::ExitCode;

use http::Method;

use super::{Owner, schedules::rows};
use crate::{
    context::Global,
    door::{Ask, Door, segment},
};

/// List the addresses whose requests run skills, and close one
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Triggers {
    /// List the triggers; nothing shows an address a second time
    List(Owner),
    /// Close an address, at once; runs that it made go on
    Remove(One),
}

#[derive(Debug, clap::Args)]
pub(crate) struct One {
    /// The trigger's identifier, as `triggers list` prints it
    id: String,

    #[command(flatten)]
    owner: Owner,
}

impl Triggers {
    pub(crate) async fn run(self, global: &Global) -> anyhow::Result<ExitCode> {
        let context = global.context()?;
        let (Self::List(owner) | Self::Remove(One { owner, .. })) = &self;
        let door = Door::open(&context.loaded.config, &owner.owner).await?;
        let answer = door.send(self.ask()).await.and_then(|answer| Ok(answer.json()?));
        door.close().await;
        let answer = answer?;
        match &self {
            Self::Remove(One { id, .. }) => {
                let gone = serde_json::json!({"id": id, "removed": true});
                context.output.show(&gone, || format!("{id} is closed"))?;
            }
            Self::List(_) => {
                let columns = ["id", "name", "skills", "signed", "token_prefix", "created_at"];
                context.output.show(&answer, || rows(&answer, &columns))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    fn ask(&self) -> Ask {
        match self {
            Self::List(_) => Ask::new(Method::GET, "/api/triggers"),
            Self::Remove(One { id, .. }) => {
                Ask::new(Method::DELETE, format!("/api/triggers/{}", segment(id)))
            }
        }
    }
}
