//! The log: structured lines on standard error, without secrets at any level.

use std::{
    io::{self, Write},
    str::FromStr,
};

use serde::Deserialize;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{
    filter::Targets, fmt::MakeWriter, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

/// Libraries that log what goes over the wire, credentials included: never below info.
const LOUD: [&str; 2] = ["hyper", "h2"];
/// Libraries that tell much about themselves: below info only when they are named.
const TALKATIVE: [&str; 5] = ["hyper_util", "reqwest", "rustls", "tokio_util", "mio"];

/// How a line of the log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// What is logged, as people write it: `info,skill=debug`.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Level(Targets);

impl Level {
    /// Warnings and worse: for commands, whose output is not a log. What an answer says is printed
    /// anyway.
    pub(crate) fn quiet() -> Self {
        let warnings = Targets::new().with_default(LevelFilter::WARN);
        Self(warnings.with_target("skill_http", LevelFilter::ERROR))
    }

    /// What is really logged: the libraries that would log secrets are held back.
    fn capped(&self) -> Targets {
        let everywhere = self.0.default_level().unwrap_or(LevelFilter::OFF);
        let is_loud = |target: &str| LOUD.iter().any(|name| is_part(target, name));
        let mut targets = Targets::new().with_default(everywhere);
        for name in LOUD.iter().chain(&TALKATIVE) {
            targets = targets.with_target(*name, everywhere.min(LevelFilter::INFO));
        }
        for (target, level) in self.0.iter() {
            let most = if is_loud(target) { LevelFilter::INFO } else { LevelFilter::TRACE };
            targets = targets.with_target(target, level.min(most));
        }
        // The longest target wins, so that a prefix such as `h` opens nothing.
        targets
    }
}

/// Whether `target` is the crate `name` or a module of it.
fn is_part(target: &str, name: &str) -> bool {
    target.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
}

impl FromStr for Level {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let expected = "expected levels such as `info` or `warn,skill=debug`";
        text.parse().map(Self).map_err(|_| expected)
    }
}

impl TryFrom<String> for Level {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// Begins to log to standard error.
pub(crate) fn start(format: Format, level: &Level) {
    let lines = tracing_subscriber::fmt::layer().with_writer(Lines).with_ansi(false);
    let registry = tracing_subscriber::registry().with(level.capped());
    // A second start in one process changes nothing.
    let _ = match format {
        Format::Text => registry.with(lines).try_init(),
        Format::Json => registry.with(lines.json().flatten_event(true)).try_init(),
    };
}

/// Makes writers of whole lines.
struct Lines;

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line
    }
}

/// Writes one line of the log; what would steer a terminal or forge a line is escaped.
struct Line;

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        let mut line = crate::output::escaped(text.trim_end_matches('\n'));
        line.push('\n');
        io::stderr().lock().write_all(line.as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

#[cfg(test)]
mod tests {
    use tracing::Level as At;

    use super::*;

    #[test]
    fn the_libraries_that_log_secrets_stay_at_info_whatever_is_asked() {
        for text in ["trace", "trace,hyper=trace", "hyper::proto=trace,h2=debug,h=trace", "h2"] {
            let capped = text.parse::<Level>().unwrap().capped();
            for target in ["hyper", "hyper::proto::h1::io", "h2", "h2::codec::framed_read"] {
                assert!(!capped.would_enable(target, &At::DEBUG), "{text}: {target}");
            }
        }
        let capped = "trace".parse::<Level>().unwrap().capped();
        assert!(capped.would_enable("skill_core::engine", &At::TRACE));
        assert!(!capped.would_enable("reqwest::connect", &At::DEBUG));
    }

    #[test]
    fn a_named_library_tells_more_and_skill_means_every_part() {
        let capped = "warn,skill=debug,rustls=debug".parse::<Level>().unwrap().capped();
        assert!(capped.would_enable("rustls::client", &At::DEBUG));
        assert!(capped.would_enable("skill_http::server", &At::DEBUG));
        assert!(!capped.would_enable("hyper", &At::INFO));
    }

    #[test]
    fn what_is_no_level_is_refused() {
        assert!("skill=loud".parse::<Level>().is_err());
    }
}
