//! Measures the queue in process; prints one JSON object per measurement. See `benches/queue/run`.
//!
//! Usage: `queue store FILE SECONDS [HISTORY]`, `queue submit FILE SECONDS`,
//! `queue drain FILE SECONDS JOBS`, `queue serve FILE ADDRESS SECONDS`

mod engine;
mod http;
mod store;

use std::{env, error::Error, path::Path, time::Duration};

use serde_json::Value;

/// The program's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What a measurement may end in.
type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Outcome {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Runtime::new()?;
    match arguments[..] {
        ["store", file, seconds] => {
            runtime.block_on(store::run(Path::new(file), time(seconds)?, 0))
        }
        ["store", file, seconds, history] => {
            runtime.block_on(store::run(Path::new(file), time(seconds)?, history.parse()?))
        }
        ["submit", file, seconds] => {
            runtime.block_on(engine::submit(Path::new(file), time(seconds)?))
        }
        ["drain", file, seconds, jobs] => {
            runtime.block_on(engine::drain(Path::new(file), time(seconds)?, jobs.parse()?))
        }
        ["serve", file, address, seconds] => {
            runtime.block_on(http::serve(Path::new(file), address, time(seconds)?))
        }
        _ => Err("usage: queue store|submit|drain|serve FILE ... SECONDS ...".into()),
    }
}

fn time(seconds: &str) -> Outcome<Duration> {
    Ok(Duration::try_from_secs_f64(seconds.parse()?)?)
}

/// Prints a measurement.
#[expect(clippy::print_stdout, reason = "this is what the program is for")]
fn print(row: &Value) {
    println!("{row}");
}
