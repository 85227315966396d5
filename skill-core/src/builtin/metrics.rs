//! `metrics-collect`: figures in the Prometheus text format.
//!
//! The format is a line for each figure, and read here: of the libraries that read it, none has
//! both a licence that fits and labels with commas.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use http::{HeaderValue, Method, header};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{form, reach};
use crate::{
    error::{Error, ErrorKind, Result},
    record::execution::Class,
    skill::{Skill, SkillContext, from_fn},
    tool::Category,
};

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(20);
/// The most bytes of an answer, and the most figures.
const LARGEST: usize = 8 << 20;
const MOST: usize = 20_000;

#[derive(Deserialize, JsonSchema)]
struct Input {
    /// Where the figures are: a public address.
    url: String,
    /// Only figures of these names; all of them when nobody says.
    #[serde(default)]
    names: Vec<String>,
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Output {
    /// The figures.
    metrics: Vec<Metric>,
}

/// A figure.
#[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
struct Metric {
    /// What it is called.
    name: String,
    /// What it is about.
    labels: BTreeMap<String, String>,
    /// What it is; `null` for what JSON has no number for, which `text` has.
    value: Option<f64>,
    /// The value as it was written, when it is no number of JSON: `NaN`, `+Inf`, `-Inf`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    /// What kind of figure it belongs to: counter, gauge, histogram, summary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    /// When it was taken, in milliseconds since 1970, when that is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timestamp_ms: Option<i64>,
}

pub(super) fn skill() -> Result<Arc<dyn Skill>> {
    from_fn("monitoring", "v1.0", "metrics-collect", run)
        .summary("Read figures that a service publishes in the Prometheus text format")
        .class(Class::Read)
        .timeout(Duration::from_secs(60))
        .tool(form("metrics-collect", Category::Monitoring)?)
        .build()
}

async fn run(context: SkillContext, input: Input) -> Result<Output> {
    let url = reach::address("url", &input.url)?;
    let read = || async {
        let mut request = reach::request(Method::GET, url);
        let accept = HeaderValue::from_static("text/plain; version=0.0.4");
        request.headers.insert(header::ACCEPT, accept);
        let answer = reach::fetch(&context, ("url", request), (TIMEOUT, LARGEST)).await?;
        if !answer.status.is_success() {
            let status = answer.status.as_u16();
            let message = format!("expected figures at this address, got status {status}");
            return Err(Error::new(ErrorKind::UpstreamInvalid, message));
        }
        let text = std::str::from_utf8(&answer.body).map_err(|_| unreadable(0))?;
        Ok(Output { metrics: parse(text, &input.names)? })
    };
    context.step("read", read).await
}

fn unreadable(line: usize) -> Error {
    let message = format!("expected the Prometheus text format; line {line} is none of it");
    Error::new(ErrorKind::UpstreamInvalid, message)
}

/// Reads figures, of `names` alone unless there are none.
fn parse(text: &str, names: &[String]) -> Result<Vec<Metric>> {
    let (mut kinds, mut metrics) = (BTreeMap::<&str, &str>::new(), Vec::new());
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if let Some(comment) = line.strip_prefix('#') {
            let mut words = comment.split_whitespace();
            if let (Some("TYPE"), Some(name), Some(kind)) =
                (words.next(), words.next(), words.next())
            {
                kinds.insert(name, kind);
            }
            continue;
        }
        if line.is_empty() {
            continue;
        }
        let mut metric = figure(line).ok_or_else(|| unreadable(at + 1))?;
        let family = kinds.get(metric.name.as_str()).or_else(|| {
            let suffixes = ["_bucket", "_sum", "_count", "_total", "_created"];
            suffixes.iter().find_map(|suffix| kinds.get(metric.name.strip_suffix(suffix)?))
        });
        metric.kind = family.map(|kind| (*kind).to_owned());
        if names.is_empty() || names.contains(&metric.name) {
            if metrics.len() >= MOST {
                let message = format!("expected at most {MOST} figures: name those that you need");
                return Err(Error::new(ErrorKind::UpstreamInvalid, message));
            }
            metrics.push(metric);
        }
    }
    Ok(metrics)
}

/// One line: `name{label="value"} 1 1395066363000`.
fn figure(line: &str) -> Option<Metric> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let end = line.find(|c| !is_word(c))?;
    let (name, mut rest) = line.split_at_checked(end).filter(|(name, _)| !name.is_empty())?;
    let mut labels = BTreeMap::new();
    if let Some(mut inner) = rest.trim_start().strip_prefix('{') {
        loop {
            inner = inner.trim_start_matches([' ', '\t', ',']);
            if let Some(after) = inner.strip_prefix('}') {
                rest = after;
                break;
            }
            let (label, value) = inner.split_once('=')?;
            let (value, after) = quoted(value.trim_start())?;
            labels.insert(label.trim().to_owned(), value);
            inner = after;
        }
    }
    let mut words = rest.split_whitespace();
    let text = words.next()?;
    let value = text.parse::<f64>().ok()?;
    let timestamp_ms = words.next().map(|time| time.parse().ok());
    if timestamp_ms == Some(None) || words.next().is_some_and(|word| word != "#") {
        return None;
    }
    Some(Metric {
        name: name.to_owned(),
        labels,
        value: Some(value).filter(|value| value.is_finite()),
        text: (!value.is_finite()).then(|| text.to_owned()),
        kind: None,
        timestamp_ms: timestamp_ms.flatten(),
    })
}

/// A text in quotes, unescaped, and what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let inner = text.strip_prefix('"')?;
    let (mut value, mut characters) = (String::new(), inner.char_indices());
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return Some((value, inner.get(at + 1..)?)),
            '\\' => match characters.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After the example of the format's own description.
    const TEXT: &str = r#"
# HELP http_requests_total The total number of HTTP requests.
# TYPE http_requests_total counter
http_requests_total{method="post",code="200"} 1027 1395066363000
msdos_file_access_time_seconds{path="C:\\DIR\\FILE.TXT",error="Cannot find file:\n\"FILE, TXT=\""} 1.458255915e9
metric_without_timestamp_and_labels 12.47
something_weird{problem="division by zero"} +Inf -3982045
# TYPE http_request_duration_seconds histogram
http_request_duration_seconds_bucket{le="+Inf",} 144320
job:rate:sum NaN
"#;

    #[test]
    fn the_example_of_the_format_is_read() {
        let all = parse(TEXT, &[]).unwrap();
        assert_eq!(all.len(), 6);
        assert_eq!((all[0].value, all[0].timestamp_ms), (Some(1027.0), Some(1_395_066_363_000)));
        assert_eq!(all[0].kind.as_deref(), Some("counter"));
        assert_eq!(all[1].labels["error"], "Cannot find file:\n\"FILE, TXT=\"");
        assert_eq!(all[1].labels["path"], "C:\\DIR\\FILE.TXT");
        assert_eq!((all[3].value, all[3].text.as_deref()), (None, Some("+Inf")));
        assert_eq!(all[4].kind.as_deref(), Some("histogram"));
        assert_eq!((all[5].name.as_str(), all[5].text.as_deref()), ("job:rate:sum", Some("NaN")));
        assert_eq!(parse(TEXT, &["job:rate:sum".into()]).unwrap().len(), 1);
    }

    #[test]
    fn what_is_no_figure_is_named_with_its_line() {
        for text in ["<html>", "a", "a{b=\"c\" 1", "a{b} 1", "a x", "a 1 x", "a{b=\"c} 1", "{} 1"] {
            let error = parse(&format!("# ok\n{text}"), &[]).unwrap_err();
            assert!(error.message().contains("line 2"), "{text}: {error}");
        }
    }
}
