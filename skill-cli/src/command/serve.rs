//! `skill serve`: the server.

use std::process::ExitCode;

use secrecy::{ExposeSecret as _, SecretString};
use skill_core::{
    access::{Caller, NewKey},
    name::OwnerId,
    record::key::Kind,
};
use tokio_util::sync::CancellationToken;

use crate::{
    assemble::Parts,
    config::{Flag, Loaded},
    context::Global,
    log,
    output::line,
    server::{Open, Signals},
};

/// Serve the API
///
/// The first start makes the data directory and one API key, which is printed once. SIGTERM and
/// Ctrl-C let requests under way end; a second one does not.
#[derive(Debug, clap::Args)]
pub(crate) struct Serve {
    /// The address to listen on [default: 127.0.0.1:8080]; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,

    /// How people and providers reach the server [default: http://ADDRESS:PORT]
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
}

impl Serve {
    pub(crate) async fn run(self, global: &Global) -> anyhow::Result<ExitCode> {
        let listen = self.listen.map(|listen| ("listen", "--listen", listen));
        let public_url = self.public_url.map(|url| ("public_url", "--public-url", url));
        let flags = listen.into_iter().chain(public_url).collect::<Vec<Flag>>();
        let Loaded { config, .. } = global.load(&flags)?;
        log::start(config.log.format, &config.log.level);
        let mut signals = Signals::new()?;
        let open = Open::new(&config).await?;
        greet(&open).await?;
        let stop = CancellationToken::new();
        let served = open.serve(stop.clone());
        tokio::pin!(served);
        tokio::select! {
            () = &mut served => {}
            _ = signals.next() => {
                tracing::info!("stopping: requests under way may end");
                stop.cancel();
                tokio::select! {
                    () = &mut served => {}
                    code = signals.next() => std::process::exit(code),
                }
            }
        }
        tracing::info!("stopped");
        Ok(ExitCode::SUCCESS)
    }
}

/// Says where the server is, and on the first start what to do next.
async fn greet(open: &Open) -> anyhow::Result<()> {
    let url = open.url.as_str().trim_end_matches('/');
    line(&format!("listening on {url}"))?;
    let Some(key) = first_key(open.parts()).await? else { return Ok(()) };
    let data = open.home().path().display();
    line(&first_steps(url, &data.to_string(), &key))?;
    Ok(())
}

/// Makes the first key of the owner `default`, if there never was one.
async fn first_key(parts: &Parts) -> anyhow::Result<Option<SecretString>> {
    let operator = Caller::operator(OwnerId::standard());
    if !parts.engine.keys().list(&operator).await?.is_empty() {
        return Ok(None);
    }
    let wanted = NewKey::new("first key", Kind::Api);
    let (_, key) = parts.engine.keys().create(&operator, wanted).await?;
    Ok(Some(key.expose().into()))
}

/// What a newcomer reads.
fn first_steps(url: &str, data: &str, key: &SecretString) -> String {
    let key = key.expose_secret();
    format!(
        r#"data in {data}

Your first API key, which is shown this once:

  export SKILL_KEY={key}

A first call:

  curl -s {url}/v1/httpbin/get -H "Authorization: Bearer $SKILL_KEY" \
    -H "Content-Type: application/json" -d '{{"params":{{"q":"hello"}}}}'

In another terminal:

  skill setup github                   register an OAuth client and connect an account
  skill call github list_issues --repo acme/webapp
  skill tools list                     what there is to call and to run
  skill key create NAME                another key
  skill config --defaults              every setting

Ctrl-C stops the server."#
    )
}
