//! A server on this machine: its doors, and the signals that stop it.

use anyhow::Context as _;
use tokio::{
    net::{TcpListener, UnixListener, UnixStream},
    signal::unix::{Signal, SignalKind, signal},
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::{
    assemble::{self, Busy, Parts, Workers},
    config::Config,
    failure::Failure,
    home::Home,
};

/// How long a command may hold the data directory before the server gives up.
const PATIENCE: Duration = Duration::from_secs(3);

/// A server whose doors are open, but answer nobody yet.
pub(crate) struct Open {
    parts: Parts,
    home: Home,
    tcp: TcpListener,
    operator: UnixListener,
    /// The address that a program on this machine calls.
    pub(crate) url: Url,
}

impl Open {
    /// Opens the data directory, the address and the operator's socket.
    pub(crate) async fn new(config: &Config) -> anyhow::Result<Self> {
        let home = Home::of(config);
        if UnixStream::connect(home.socket()).await.is_ok() {
            return Err(taken(&home));
        }
        let tcp = TcpListener::bind(config.listen).await.map_err(|error| {
            let failure = Failure::new(format!("cannot listen on {}: {error}", config.listen));
            failure.hint("choose another address: --listen 127.0.0.1:0 takes a free port")
        })?;
        let address = tcp.local_addr().context("the listener has no address")?;
        let public = assemble::public_url(config, address)?;
        let url = Url::parse(&format!("http://{address}")).context("the address makes no URL")?;
        if config.public_url.is_none() && address.ip().is_unspecified() {
            tracing::warn!("set public_url: nobody can open a link to {public}");
        }
        let parts = patiently(config, &home, &public).await?;
        let operator = home.listen()?;
        tracing::info!(%address, public_url = %public, data = %home.path().display(), "listening");
        Ok(Self { parts, home, tcp, operator, url })
    }

    /// The engine and its doors.
    pub(crate) fn parts(&self) -> &Parts {
        &self.parts
    }

    /// Its data directory.
    pub(crate) fn home(&self) -> &Home {
        &self.home
    }

    /// Serves until `stop`, then lets what is under way end.
    pub(crate) async fn serve(self, stop: CancellationToken) {
        let Self { parts, home, tcp, operator, .. } = self;
        let server = &parts.server;
        // Runs get the same time as requests, so that a stop takes no longer for them.
        let drain = async {
            stop.cancelled().await;
            parts.engine.drain().await;
        };
        tokio::join!(
            server.serve(tcp, stop.clone()),
            server.serve_operator(operator, stop.clone()),
            drain
        );
        parts.engine.stop().await;
        // It is this server's: whoever comes next waits for the store's lock.
        if let Err(error) = std::fs::remove_file(home.socket()) {
            tracing::debug!(%error, "the operator's socket was gone already");
        }
    }
}

/// Opens the data directory; a command that holds it for a moment is waited for.
async fn patiently(config: &Config, home: &Home, public: &Url) -> anyhow::Result<Parts> {
    let until = Instant::now() + PATIENCE;
    loop {
        match assemble::parts(config, home, (public.clone(), Workers::Here)).await {
            Err(error) if error.is::<Busy>() && Instant::now() < until => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(error) if error.is::<Busy>() => return Err(taken(home)),
            done => return done,
        }
    }
}

fn taken(home: &Home) -> anyhow::Error {
    let message = format!("another server holds the data directory {}", home.path().display());
    Failure::new(message).hint("stop it, or choose another directory with --data").into()
}

/// The signals that stop the server.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Takes the signals over from here on.
    pub(crate) fn new() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("signals cannot be heard");
        let (interrupt, terminate) =
            (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
        Ok(Self { interrupt, terminate })
    }

    /// Waits for the next one; returns the exit code of a program that it ended.
    pub(crate) async fn next(&mut self) -> i32 {
        tokio::select! {
            _ = self.interrupt.recv() => 130,
            _ = self.terminate.recv() => 143,
        }
    }
}
