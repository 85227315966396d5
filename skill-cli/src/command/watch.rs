//! Watching a run to its end, and printing how it ended.

use std::{
    io::{self, IsTerminal as _, Write as _},
    process::ExitCode,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::Method;
use serde::Deserialize;
use serde_json::{Value, value::RawValue};
use tokio::time::{Instant, sleep};

use crate::{
    door::{Answer, Ask, Door, explained, segment},
    failure::Failure,
    output::{Output, member, note},
    server::Signals,
};

/// How long a server may be away, for example to start again.
const AWAY: Duration = Duration::from_secs(30);
/// The shortest time between two looks at a run.
const PAUSE: Duration = Duration::from_millis(200);
/// How many bytes of a large result are read at once.
const PART: u64 = 1 << 20;
/// How wide the bar is, in characters.
const WIDTH: usize = 30;

/// What is known of a run.
#[derive(Deserialize)]
struct Run<'a> {
    status: &'a str,
    progress: u8,
    #[serde(borrow, default)]
    result: Option<&'a RawValue>,
    #[serde(default)]
    result_bytes: Option<u64>,
    #[serde(default)]
    error: Value,
}

impl<'a> Run<'a> {
    fn of(answer: &'a Answer) -> Result<Self, Failure> {
        let run = serde_json::from_str(answer.text()?);
        run.map_err(|_| Failure::new("expected a run as the answer"))
    }

    fn has_ended(&self) -> bool {
        !matches!(self.status, "queued" | "running")
    }
}

/// Watches a run until it has ended, prints its result and closes the door. One of the `signals`
/// ends the watching and leaves the run alone.
pub(super) async fn to_the_end(
    door: Door,
    id: &str,
    output: Output,
    mut signals: Signals,
) -> anyhow::Result<ExitCode> {
    let outcome = tokio::select! {
        outcome = outcome(&door, id, output) => outcome,
        code = signals.next() => {
            let state = match door.has_server() {
                true => "goes on",
                false => "ends now or with the next server",
            };
            note(&format!("{id} {state}; to come back: skill runs watch{} {id}", door.for_owner()));
            Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
        }
    };
    // What this process works on ends first, unless a person is in a hurry.
    tokio::select! {
        () = door.close() => outcome,
        code = signals.next() => std::process::exit(code),
    }
}

/// Sends a request that may be sent twice, and again when the server is away for a while. One of
/// the `signals` ends the program.
pub(super) async fn outlast(
    door: &Door,
    ask: Ask,
    signals: &mut Signals,
) -> anyhow::Result<Answer> {
    let began = Instant::now();
    loop {
        let answered = tokio::select! {
            answered = door.send(ask.clone()) => answered,
            code = signals.next() => std::process::exit(code),
        };
        match answered {
            Err(_) if door.has_server() && began.elapsed() < AWAY => sleep(PAUSE).await,
            answered => return answered,
        }
    }
}

async fn outcome(door: &Door, id: &str, output: Output) -> anyhow::Result<ExitCode> {
    let mut bar = Bar::new(output);
    let ended = ended(door, id, &mut bar).await;
    bar.clear();
    let answer = ended?;
    print(door, id, &Run::of(&answer)?, output).await
}

/// Looks at the run until it has ended.
async fn ended(door: &Door, id: &str, bar: &mut Bar) -> anyhow::Result<Answer> {
    let path = format!("/v1/executions/{}?wait={}", segment(id), if bar.is_seen { 1 } else { 30 });
    let mut seen = Instant::now();
    loop {
        let looked = Instant::now();
        let answer = door.send(Ask::new(Method::GET, &*path)).await;
        match answer {
            Ok(answer) if !answer.is_unavailable() => {
                seen = Instant::now();
                let run = Run::of(&answer)?;
                if run.has_ended() {
                    return Ok(answer);
                }
                bar.show(&run);
            }
            // It may start again; the run is on disk.
            Err(_) | Ok(_) if door.has_server() && seen.elapsed() < AWAY => {}
            Err(error) => return Err(error),
            Ok(answer) => drop(answer.text()?),
        }
        sleep(PAUSE.saturating_sub(looked.elapsed())).await;
    }
}

/// Prints what a run that ended has to say.
async fn print(door: &Door, id: &str, run: &Run<'_>, output: Output) -> anyhow::Result<ExitCode> {
    match (run.status, run.result, run.result_bytes) {
        ("success", None, Some(bytes)) => print_parts(door, id, bytes, output).await?,
        ("success", result, _) => output.pass(result.map_or("null", RawValue::get))?,
        ("cancelled", ..) => return Err(Failure::new(format!("{id} was cancelled")).into()),
        _ => {
            let failure = Failure::new(member(&run.error, "message"));
            return Err(explained(failure, &run.error).detail(format!("run: {id}")).into());
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints a result that is too large for one answer.
async fn print_parts(door: &Door, id: &str, total: u64, output: Output) -> anyhow::Result<()> {
    let mut bytes = Vec::with_capacity(usize::try_from(total).unwrap_or(0));
    let mut offset = Some(0);
    while let Some(at) = offset {
        let path = format!("/v1/executions/{}/result?offset={at}&limit={PART}", segment(id));
        let part = door.send(Ask::new(Method::GET, path)).await?.json()?;
        let text = part["data"].as_str().unwrap_or_default();
        match part["encoding"].as_str() {
            Some("base64") => bytes.extend(STANDARD.decode(text)?),
            _ => bytes.extend_from_slice(text.as_bytes()),
        }
        offset = part["next_offset"].as_u64().filter(|next| *next > at);
    }
    match String::from_utf8(bytes) {
        Ok(text) => output.pass(&text)?,
        Err(binary) => io::stdout().lock().write_all(binary.as_bytes())?,
    }
    Ok(())
}

/// A line that shows how far a run is, for a person at a terminal.
struct Bar {
    is_seen: bool,
    is_drawn: bool,
    began: Instant,
}

impl Bar {
    fn new(output: Output) -> Self {
        let is_seen = output.is_text() && io::stderr().is_terminal();
        Self { is_seen, is_drawn: false, began: Instant::now() }
    }

    fn show(&mut self, run: &Run<'_>) {
        let done = usize::from(run.progress.min(100)) * WIDTH / 100;
        let (done, left) = ("█".repeat(done), "░".repeat(WIDTH - done));
        let (progress, status, seconds) =
            (run.progress, run.status, self.began.elapsed().as_secs());
        self.draw(&format!("{done}{left} {progress:3} %  {status}, {seconds} s"));
    }

    fn clear(&mut self) {
        if self.is_drawn {
            self.draw("");
        }
    }

    /// Replaces the line.
    fn draw(&mut self, text: &str) {
        if self.is_seen {
            self.is_drawn = true;
            // A terminal that went away changes nothing.
            let _ = write!(io::stderr(), "\r\x1b[K{text}");
        }
    }
}
