//! Answers as text that stays the same from run to run.

use super::{TestServer, client::Answer};

/// Headers that a golden file shows.
const SHOWN: [&str; 11] = [
    "content-type",
    "cache-control",
    "x-content-type-options",
    "www-authenticate",
    "retry-after",
    "x-ratelimit-limit",
    "x-ratelimit-remaining",
    "idempotent-replayed",
    "location",
    "content-security-policy",
    "referrer-policy",
];

/// Status, the headers that matter and the body, with ids and addresses replaced.
pub(crate) fn golden(server: &TestServer, answer: &Answer) -> String {
    let mut text = format!("{}\n", answer.status);
    for name in SHOWN {
        if let Some(value) = answer.headers.get(name) {
            text.push_str(&format!("{name}: {}\n", value.to_str().unwrap()));
        }
    }
    text.push('\n');
    text.push_str(&answer.text());
    redact(server, &text)
}

/// Replaces what differs between runs.
pub(crate) fn redact(server: &TestServer, text: &str) -> String {
    let text = text.replace(&server.public, "http://PUBLIC").replace(&server.key, "KEY");
    let text = text.replace(&server.upstream.uri(), "http://UPSTREAM");
    let text = after(&text, "/connect/", 43, "TOKEN");
    let text = after(&text, "conn_", 26, "ID");
    let text = after(&text, "exec_", 26, "ID");
    let text = after(&text, "hook_", 26, "ID");
    let text = after(&text, "sched_", 26, "ID");
    after(&text, "key_", 26, "ID")
}

/// Replaces what follows `mark`, when it is a word of at least `least` characters.
fn after(text: &str, mark: &str, least: usize, instead: &str) -> String {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let mut parts = text.split(mark);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|c| !is_word(c)).unwrap_or(part.len());
        out.push_str(mark);
        out.push_str(if end >= least { instead } else { &part[..end] });
        out.push_str(&part[end..]);
    }
    out
}
