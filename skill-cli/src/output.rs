//! What commands print: tables and text on a terminal, JSON everywhere else.

use std::io::{self, IsTerminal as _, Write as _};

use comfy_table::{Table, presets};
use serde_json::Value;

/// How a command prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    /// For a person.
    Text,
    /// For a person who asked for JSON: spread over lines.
    PrettyJson,
    /// For a program: one line.
    Json,
}

impl Output {
    /// Chooses: JSON when it is asked for, and when standard output is no terminal.
    pub(crate) fn choose(wants_json: bool) -> Self {
        match (io::stdout().is_terminal(), wants_json) {
            (true, false) => Self::Text,
            (true, true) => Self::PrettyJson,
            (false, _) => Self::Json,
        }
    }

    /// Whether a person reads it.
    pub(crate) fn is_text(self) -> bool {
        self == Self::Text
    }

    /// Prints a value, or what `text` makes of it for a person.
    pub(crate) fn show(self, value: &Value, text: impl FnOnce() -> String) -> io::Result<()> {
        match self {
            Self::Text => line(&text()),
            Self::PrettyJson => line(&format!("{value:#}")),
            Self::Json => line(&value.to_string()),
        }
    }

    /// Prints JSON that came from elsewhere: for a program as it came, for a person spread out.
    pub(crate) fn pass(self, json: &str) -> io::Result<()> {
        let value = match self {
            Self::Json => None,
            Self::Text | Self::PrettyJson => serde_json::from_str::<Value>(json).ok(),
        };
        match value {
            Some(Value::String(text)) if self.is_text() => line(&escaped(&text)),
            Some(value) => line(&escaped(&format!("{value:#}"))),
            None => line(json),
        }
    }
}

/// Prints a line. A reader that has gone away is no mistake.
pub(crate) fn line(text: &str) -> io::Result<()> {
    let mut out = anstream::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Says something to a person, beside the output.
pub(crate) fn note(text: &str) {
    // Nobody may be listening, which changes nothing.
    let _ = writeln!(anstream::stderr(), "{text}");
}

/// Lays out a table; a cell shows control characters instead of obeying them.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(head.iter().map(|name| name.replace('_', " ").to_uppercase()));
    for row in rows {
        table.add_row(row.iter().map(|cell| escaped(cell).replace('\n', "\\n")));
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

/// The text with every control character but line feed and tab written out.
pub(crate) fn escaped(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        // What turns the direction of writing around forges a line as well.
        let turns = matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        let is_plain = matches!(character, '\n' | '\t') || !(character.is_control() || turns);
        if is_plain {
            shown.push(character);
        } else {
            shown.extend(character.escape_unicode());
        }
    }
    shown
}

/// A member of a JSON object as a person reads it; a dash when it is not there.
pub(crate) fn member(object: &Value, name: &str) -> String {
    match object.get(name) {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(items)) => {
            let texts =
                items.iter().map(|item| item.as_str().map_or_else(|| item.to_string(), Into::into));
            texts.collect::<Vec<_>>().join(",")
        }
        Some(other) => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_cannot_steer_the_terminal() {
        let shown = table(&["name"], &[vec!["a\u{1b}[2Jb\nc\u{202e}".to_owned()]]);
        assert!(shown.contains("a\\u{1b}[2Jb\\nc\\u{202e}"), "{shown}");
    }

    #[test]
    fn members_read_like_text() {
        let value = serde_json::json!({"a": ["x", "y"], "b": null, "c": 7});
        assert_eq!(["a", "b", "c", "d"].map(|name| member(&value, name)), ["x,y", "-", "7", "-"]);
    }
}
