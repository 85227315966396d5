//! The walk: from a fresh server to a call that outlives its token, as anybody could type it.

use std::{
    env, fs,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use skill_core::{
    access::{Caller, NewKey},
    name::OwnerId,
    record::key::Kind,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::{
    browser::{Browser, send},
    service::{Client, DemoService, Settings},
};
use crate::{
    config::{self, Config, Inputs},
    failure::Failure,
    log,
    output::line,
    server::{Open, Signals},
};

/// How long Tracker's access tokens work.
const TOKEN: Duration = Duration::from_secs(5);
/// The repository that the walk works on.
const REPO: &str = "acme/webapp";
/// The OAuth client that stands for skill at Tracker.
const CLIENT: &str = "skill-demo";

/// Runs the demo. Unless it is for `once`, it serves on until it is stopped.
pub(crate) async fn run(level: Option<&str>, once: bool) -> anyhow::Result<()> {
    let mut signals = Signals::new()?;
    let scratch = Scratch::new()?;
    let stop = CancellationToken::new();
    let (open, tracker) = start(&scratch, level).await?;
    let walk = Walk { base: open.url.clone(), key: make_key(&open).await?, tracker };
    let serving = tokio::spawn(open.serve(stop.clone()));
    let walked = tokio::select! {
        walked = walk.walk(&scratch) => walked,
        _ = signals.next() => Err(Failure::new("the walk was interrupted").into()),
    };
    if walked.is_ok() && !once {
        line(&format!("\nStill serving at {}: Ctrl-C ends the demo.", walk.base()))?;
        signals.next().await;
    }
    stop.cancel();
    serving.await.context("the server ended early")?;
    walked
}

/// Starts Tracker and the server, each on a free port.
async fn start(scratch: &Scratch, level: Option<&str>) -> anyhow::Result<(Open, DemoService)> {
    let listener = TcpListener::bind("127.0.0.1:0").await.context("no loopback port is free")?;
    let secret = random()?;
    let config = configuration(scratch, &listener.local_addr()?.to_string(), &secret, level)?;
    log::start(config.log.format, &config.log.level);
    let open = Open::new(&config).await?;
    let callback = open.url.join("oauth/callback")?;
    let client = Client {
        id: CLIENT.to_owned(),
        secret: secret.into(),
        name: "skill demo".to_owned(),
        redirect_uris: vec![callback.into()],
    };
    let settings = Settings {
        auto_approve: true,
        repositories: vec![REPO.to_owned()],
        access_token_life: TOKEN,
        ..Settings::new(client)
    };
    Ok((open, DemoService::start(listener, settings)?))
}

/// The configuration of the demo: nothing of this machine's.
fn configuration(
    scratch: &Scratch,
    tracker: &str,
    secret: &str,
    level: Option<&str>,
) -> anyhow::Result<Config> {
    // Strings of JSON are strings of TOML.
    let data = json!(scratch.0.to_string_lossy());
    let level = json!(level.unwrap_or("warn"));
    let text = format!(
        "data = {data}\n\
         listen = \"127.0.0.1:0\"\n\
         log.level = {level}\n\
         egress.allow = [\"{tracker}\"]\n\
         [integrations.tracker]\n\
         base_url = \"http://{tracker}\"\n\
         authorize_url = \"http://{tracker}/oauth/authorize\"\n\
         token_url = \"http://{tracker}/oauth/token\"\n\
         revoke_url = \"http://{tracker}/oauth/revoke\"\n\
         issuer = \"http://{tracker}\"\n\
         client_id = \"{CLIENT}\"\n\
         client_secret = \"{secret}\"\n"
    );
    let inputs = Inputs { file: Some((Path::new("demo"), &text)), ..Inputs::default() };
    let loaded = config::load(&inputs).map_err(|problems| {
        let failure = Failure::usage("the demo cannot be set up");
        problems.iter().fold(failure, |all, one| all.detail(one.to_string()))
    })?;
    Ok(loaded.config)
}

async fn make_key(open: &Open) -> anyhow::Result<SecretString> {
    let operator = Caller::operator(OwnerId::standard());
    let keys = open.parts().engine.keys();
    let (_, key) = keys.create(&operator, NewKey::new("demo", Kind::Api)).await?;
    Ok(key.expose().into())
}

/// A walker: a program with a key, and a person with a browser.
struct Walk {
    base: Url,
    key: SecretString,
    tracker: DemoService,
}

impl Walk {
    async fn walk(&self, scratch: &Scratch) -> anyhow::Result<()> {
        line(&format!(
            "Tracker, a small issue tracker with OAuth, runs at {}; skill at {}.\n\n\
             1. A key.\n\n   $ skill --data {} key create demo\n   $ export SKILL_KEY={}",
            self.tracker.base_url(),
            self.base(),
            scratch.0.display(),
            self.key.expose_secret(),
        ))?;
        self.connect().await?;
        self.work().await?;
        self.outlive().await
    }

    fn base(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// Connects an account of Tracker.
    async fn connect(&self) -> anyhow::Result<()> {
        line(
            "\n2. A program asks for an account of Tracker; the answer has a page for a person.\n",
        )?;
        let begun = self.post("/v1/connect", &json!({ "integration": "tracker" })).await?;
        let page = begun["oauth_url"].as_str().context("expected `oauth_url`")?.parse::<Url>()?;
        let id = begun["connection_id"].as_str().context("expected `connection_id`")?;
        line(&format!(
            "\n3. The person opens it, presses the button, says yes at Tracker and is sent back.\n\n   \
             $ curl -sL -b \"\" -d \"\" {page}"
        ))?;
        self.say_yes(&page).await?;
        line("")?;
        let state = self.get(&format!("/v1/connect/{id}")).await?;
        ensure!(state["status"] == "connected", "expected the account to be connected");
        Ok(())
    }

    async fn say_yes(&self, page: &Url) -> anyhow::Result<()> {
        let mut browser = Browser::default();
        let shown = browser.open(page).await?;
        ensure!(shown.status() == StatusCode::OK, "expected the page, got {}", shown.status());
        let provider = browser.press(page).await?;
        let is_tracker = provider.as_str().starts_with(self.tracker.base_url());
        ensure!(is_tracker, "expected the button to lead to Tracker");
        let back = browser.pass(&provider).await?;
        let is_callback =
            back.authority() == self.base.authority() && back.path() == "/oauth/callback";
        ensure!(is_callback, "expected Tracker to send the person back");
        let done = browser.open(&back).await?;
        ensure!(
            done.status() == StatusCode::OK,
            "expected a page at the end, got {}",
            done.status()
        );
        line("   … 303 to Tracker … 303 back to skill … 200: a page that says it worked")?;
        Ok(())
    }

    /// Makes two calls.
    async fn work(&self) -> anyhow::Result<()> {
        line("\n4. Calls. skill adds the token; the program never sees it.\n")?;
        let title = "Bug report";
        let params = json!({ "repo": REPO, "title": title, "labels": ["bug"] });
        let created = self.post("/v1/tracker/create_issue", &json!({ "params": params })).await?;
        ensure!(created["status"] == 201, "expected Tracker to create the issue");
        ensure!(created["data"]["title"] == title, "expected the issue that was asked for");
        line("")?;
        self.list().await
    }

    async fn list(&self) -> anyhow::Result<()> {
        let body = json!({ "params": { "repo": REPO } });
        let listed = self.post("/v1/tracker/list_issues", &body).await?;
        ensure!(listed["status"] == 200, "expected Tracker to list the issues");
        let count = listed["data"].as_array().map(Vec::len);
        ensure!(count == Some(1), "expected one issue");
        Ok(())
    }

    /// Waits until the token has died, and calls again.
    async fn outlive(&self) -> anyhow::Result<()> {
        let (refreshes, tokens) = (self.tracker.refreshes(), self.tracker.tokens_issued());
        let life = TOKEN.as_secs();
        line(&format!(
            "\n5. Tracker's tokens die after {life} s. Waiting until this one is dead …\n"
        ))?;
        tokio::time::sleep(TOKEN + Duration::from_millis(300)).await;
        self.list().await?;
        let refreshed = self.tracker.refreshes() - refreshes;
        let issued = self.tracker.tokens_issued() - tokens;
        ensure!(refreshed == 1 && issued == 1, "expected one refresh, got {refreshed}");
        line(&format!(
            "\nThe same call worked: skill renewed the access behind it. refreshes = {refreshed}; \
             the refresh token\nwas used up and rotated, {issued} new access token was issued, \
             and nobody was asked again."
        ))?;
        Ok(())
    }

    /// Sends a request as a program does, and shows it as one types it.
    async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        line(&format!(
            "   $ curl -s {}{path} -H \"Authorization: Bearer $SKILL_KEY\" \\\n       \
             -H \"Content-Type: application/json\" -d '{body}'",
            self.base()
        ))?;
        self.exchange(Method::POST, path, body.to_string().into()).await
    }

    async fn get(&self, path: &str) -> anyhow::Result<Value> {
        let base = self.base();
        line(&format!("   $ curl -s {base}{path} -H \"Authorization: Bearer $SKILL_KEY\""))?;
        self.exchange(Method::GET, path, Bytes::new()).await
    }

    async fn exchange(&self, method: Method, path: &str, body: Bytes) -> anyhow::Result<Value> {
        let mut headers = HeaderMap::new();
        let key = format!("Bearer {}", self.key.expose_secret());
        headers.insert(header::AUTHORIZATION, HeaderValue::try_from(key)?);
        if !body.is_empty() {
            let json = HeaderValue::from_static("application/json");
            headers.insert(header::CONTENT_TYPE, json);
        }
        let answer = send(method, &self.base.join(path)?, headers, body).await?;
        line(&format!("   {}", String::from_utf8_lossy(answer.body())))?;
        let status = answer.status();
        ensure!(status.is_success(), "expected success, got {status}");
        serde_json::from_slice(answer.body()).context("expected JSON")
    }
}

/// A directory that goes when this is dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> anyhow::Result<Self> {
        let path = env::temp_dir().join(format!("skill-demo-{}", &random()?[..12]));
        let made = fs::DirBuilder::new().mode(0o700).create(&path);
        made.with_context(|| format!("the directory {} cannot be made", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!(%error, path = %self.0.display(), "the demo's directory stays");
        }
    }
}

/// A text that nobody can guess: 128 random bits.
fn random() -> anyhow::Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|_| Failure::new("the system gives no randomness"))?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}
