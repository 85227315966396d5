//! `skill serve`: the server.

use std::process::ExitCode;

use tokio_util::sync::CancellationToken;

use crate::{
    config::{Flag, Loaded},
    global::Global,
    log,
    serving::{Open, Signals},
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
        open.greet().await?;
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
