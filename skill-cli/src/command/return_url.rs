//! `skill return-url`: where an owner's people may be sent after connecting.

use std::process::ExitCode;

use http::Method;
use serde_json::{Value, json};

use super::Owner;
use crate::{
    context::Global,
    door::{Ask, Door},
};

/// Where an owner's people may be sent after connecting an account
///
/// URLs are compared character by character. An owner without a list of its own has the one of the
/// setting connect.return_urls.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum ReturnUrl {
    /// Add a URL to the owner's own list
    Add(Change),
    /// Take a URL from the owner's own list
    Remove(Change),
    /// Show where the owner's people may be sent
    List(List),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Change {
    /// The URL, such as `https://app.example.com/done`
    url: String,

    #[command(flatten)]
    owner: Owner,
}

#[derive(Debug, clap::Args)]
pub(crate) struct List {
    #[command(flatten)]
    owner: Owner,
}

impl ReturnUrl {
    pub(crate) async fn run(self, global: &Global) -> anyhow::Result<ExitCode> {
        let (method, url, owner) = match self {
            Self::Add(Change { url, owner }) => (Method::POST, Some(url), owner),
            Self::Remove(Change { url, owner }) => (Method::DELETE, Some(url), owner),
            Self::List(List { owner }) => (Method::GET, None, owner),
        };
        let context = global.context()?;
        let door = Door::open(&context.loaded.config, &owner.owner).await?;
        let ask = Ask::new(method, "/_operator/return-urls");
        let ask = match url {
            Some(url) => ask.body(json!({ "url": url })),
            None => ask,
        };
        let answer = door.send(ask).await.and_then(|answer| Ok(answer.json()?));
        door.close().await;
        let answer = answer?;
        context.output.show(&answer, || {
            let urls = answer["urls"].as_array().into_iter().flatten().filter_map(Value::as_str);
            urls.collect::<Vec<_>>().join("\n")
        })?;
        Ok(ExitCode::SUCCESS)
    }
}
