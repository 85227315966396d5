//! `GET /v1/{slug}/download`: an integration as an Agent Skill, a folder that a coding agent reads.
//!
//! The form is that of <https://agentskills.io/specification>: `SKILL.md` with front matter, and
//! files that it refers to.

use std::{collections::BTreeMap, fmt::Write};

use askama::Template;
use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use skill_core::{
    Error,
    catalog::{Action, Catalog},
    record::execution::Class,
    schema::{Parameter, parameters},
    tool::Status,
};

use super::{
    manual,
    skills::{self, Shelf},
};
use crate::{
    app::Context,
    app::route::{Access, Operation, Route},
    reply::{Failure, Reply},
};

/// The longest description that the form allows, in characters.
const DESCRIPTION: usize = 1024;

pub(super) fn routes() -> Vec<Route> {
    let file = json!({
        "type": "object",
        "required": ["file_path", "content"],
        "properties": {"file_path": {"type": "string"}, "content": {"type": "string"}},
    });
    let folder = json!({
        "type": "object",
        "required": ["slug", "files"],
        "properties": {"slug": {"type": "string"}, "files": {"type": "array", "items": file}},
    });
    let operation = Operation::new("download", "Download an integration as an Agent Skill")
        .answer(200, "The files of the folder", folder)
        .errors(&[401, 403, 404, 429, 500, 503]);
    vec![Route::new(
        Method::GET,
        "/v1/{integration}/download",
        Access::Key(None),
        operation,
        |cx| Box::pin(async move { download(&cx) }),
    )]
}

fn download(cx: &Context) -> Result<Reply, Failure> {
    let catalog = cx.app.engine.catalog();
    let shelf = skills::find(cx, &catalog)?;
    let server = cx.app.public_url.as_str().trim_end_matches('/');
    let writer = Writer { catalog: &catalog, server, mirrors: cx.app.mirror_status, shelf: &shelf };
    let text = if shelf.is_partial {
        writer.folder()?
    } else {
        cx.app.rendered.get(&catalog, shelf.slug.canonical(), || writer.folder())?
    };
    Ok(Reply::raw_json(StatusCode::OK, [text].into_iter().collect()))
}

#[derive(Template)]
#[template(path = "skill.md")]
struct Overview<'a> {
    folder: String,
    when: String,
    version: String,
    quoted_slug: String,
    quoted_server: String,
    server: &'a str,
    docs: Option<String>,
    name: String,
    description: String,
    example: Option<String>,
    mirrors: bool,
    needs_connection: bool,
    groups: BTreeMap<&'a str, Vec<Row>>,
    errors: String,
}

/// An action in the overview.
struct Row {
    name: String,
    path: String,
    what: String,
    class: &'static str,
}

#[derive(Template)]
#[template(path = "action.md")]
struct Page {
    name: String,
    what: String,
    class: &'static str,
    status: Option<&'static str>,
    docs: Option<String>,
    rate_limit: Option<u32>,
    parameters: String,
    call: String,
    examples: Vec<Shown>,
}

/// An example on a page.
struct Shown {
    title: String,
    call: String,
    answer: Option<String>,
}

/// Writes the folder of one integration.
struct Writer<'a> {
    catalog: &'a Catalog,
    /// The address of this server.
    server: &'a str,
    /// Whether calls answer with the service's status.
    mirrors: bool,
    shelf: &'a Shelf,
}

impl Writer<'_> {
    fn folder(&self) -> Result<Bytes, Error> {
        let overview = written(&self.overview())?;
        let mut files = vec![json!({"file_path": "SKILL.md", "content": overview})];
        for action in &self.shelf.actions {
            let page = written(&self.page(action))?;
            files.push(json!({"file_path": path(action), "content": page}));
        }
        let folder = json!({"slug": self.shelf.slug.as_str(), "files": files});
        Ok(folder.to_string().into())
    }

    fn overview(&self) -> Overview<'_> {
        let shelf = self.shelf;
        let mut groups = BTreeMap::<_, Vec<_>>::new();
        for action in &shelf.actions {
            groups.entry(action.group()).or_default().push(row(action));
        }
        Overview {
            folder: folder_name(shelf.slug.canonical()),
            when: quoted(&self.when()),
            version: quoted(&self.version()),
            quoted_slug: quoted(shelf.slug.as_str()),
            quoted_server: quoted(self.server),
            server: self.server,
            docs: shelf.docs.as_deref().map(quoted),
            name: inline(&shelf.name),
            description: sentence(&inline(&shelf.description)),
            example: shelf.actions.first().map(|action| self.call(action)),
            mirrors: self.mirrors,
            needs_connection: shelf.needs_connection,
            groups,
            errors: errors(shelf.needs_connection),
        }
    }

    /// What it does and when to use it, within the bound of the form.
    fn when(&self) -> String {
        let Shelf { name, description, actions, .. } = self.shelf;
        let (description, name) = (sentence(&inline(description)), inline(name));
        let mut text = format!("{description} Use it for whatever involves {name}. Actions: ");
        text = text.chars().take(DESCRIPTION).collect();
        for (at, action) in actions.iter().enumerate() {
            let next = format!("{}{}", if at == 0 { "" } else { ", " }, action.name().name);
            if text.chars().count() + next.chars().count() > DESCRIPTION {
                break;
            }
            text.push_str(&next);
        }
        text
    }

    /// Changes with what the actions mean.
    fn version(&self) -> String {
        let mut hash = Sha256::new();
        for action in &self.shelf.actions {
            let (name, schema) = (action.name(), action.schema().as_value());
            hash.update(format!("{name} {} {schema}\n", action.summary()));
        }
        let start = hash.finalize().iter().take(4).fold(0_u32, |sum, b| sum << 8 | u32::from(*b));
        format!("1.0.0+{start:08x}")
    }

    fn page(&self, action: &Action) -> Page {
        let example = |(title, params, data): (String, _, Option<Value>)| Shown {
            title: inline(&title),
            call: self.command(action, &params),
            answer: data.map(|data| format!("{:#}", json!({"status": 200, "data": data}))),
        };
        let examples = manual::examples(self.catalog, action);
        Page {
            name: action.name().name.to_string(),
            what: sentence(&inline(action.summary())),
            class: class(action),
            status: status(action),
            docs: action.documentation().map(inline),
            rate_limit: action.rate_limit(),
            parameters: table(&parameters(action.schema().as_value())),
            call: self.call(action),
            examples: examples.into_iter().map(example).collect(),
        }
    }

    /// A call with placeholders.
    fn call(&self, action: &Action) -> String {
        self.command(action, &manual::placeholders(action))
    }

    fn command(&self, action: &Action, params: &Map<String, Value>) -> String {
        let (name, server) = (action.name(), self.server);
        // Within single quotes of a shell nothing but the quote itself has a meaning.
        let quoted = |value: Value| value.to_string().replace('\'', r"'\''");
        let sent = match manual::takes_file(action) {
            false => {
                let body = quoted(json!({ "params": params }));
                format!("  -H 'Content-Type: application/json' \\\n  -d '{body}'")
            }
            true => {
                let params = quoted(Value::Object(params.clone()));
                format!(
                    "  -H 'Skill-Params: {params}' \\\n  -H 'Skill-Filename: a.bin' \\\n  \
                     -H 'Content-Type: application/octet-stream' \\\n  --data-binary @a.bin"
                )
            }
        };
        let lines = [
            "```sh".to_owned(),
            format!("curl -sS \"${{SKILL_URL:-{server}}}/v1/{}/{}\" \\", name.namespace, name.name),
            "  -H \"Authorization: Bearer $SKILL_KEY\" \\".to_owned(),
            sent,
            "```\n".to_owned(),
        ];
        lines.join("\n")
    }
}

/// The text of a file, with a line's end at its end.
fn written(file: &impl Template) -> Result<String, Error> {
    let text = file.render().map_err(Error::internal)?;
    Ok(format!("{}\n", text.trim_end()))
}

fn row(action: &Action) -> Row {
    Row {
        name: action.name().name.to_string(),
        path: path(action),
        what: match status(action) {
            Some(status) => cell(&format!("{} {status}.", sentence(&inline(action.summary())))),
            None => cell(action.summary()),
        },
        class: action.class().as_str(),
    }
}

/// A string of JSON, which is one of YAML as well.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// The file of an action.
fn path(action: &Action) -> String {
    format!("endpoints/{}/{}.md", action.group(), action.name().name)
}

/// The name of the folder: lower-case words with single hyphens between them.
fn folder_name(canonical: &str) -> String {
    let words = canonical.split('-').filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-")
}

/// What to know of one that is not simply there to be called.
fn status(action: &Action) -> Option<&'static str> {
    match action.status() {
        Status::Ready => None,
        Status::Beta => Some("Beta, it may change"),
        Status::Deprecated => Some("Deprecated, it will go"),
    }
}

fn class(action: &Action) -> &'static str {
    match action.class() {
        Class::Read => "read, it changes nothing",
        Class::Write => "write, it changes something",
        Class::Destructive => "destructive, what it takes away does not come back",
    }
}

fn table(rows: &[Parameter<'_>]) -> String {
    if rows.is_empty() {
        return "None.\n".to_owned();
    }
    let mut text = "| Name | Type | Required | Description |\n|---|---|---|---|\n".to_owned();
    for row in rows {
        let mut what = cell(row.description.unwrap_or_default());
        if let Some(choices) = row.choices.and_then(Value::as_array) {
            let choices = choices.iter().map(|choice| format!("`{}`", cell(&plain(choice))));
            let _ = write!(what, " One of {}.", choices.collect::<Vec<_>>().join(", "));
        }
        if let Some(default) = row.default {
            let _ = write!(what, " Default: `{}`.", cell(&plain(default)));
        }
        let (name, kind) = (cell(row.name), cell(&row.kind));
        let required = if row.is_required { "yes" } else { "no" };
        let _ = writeln!(text, "| `{name}` | {kind} | {required} | {} |", what.trim());
    }
    text
}

fn errors(needs_connection: bool) -> String {
    let mut text = "| HTTP | `error` | What to do |\n|---|---|---|\n".to_owned();
    for (status, code, what) in manual::errors(needs_connection) {
        let _ = writeln!(text, "| {status} | `{code}` | {what} |");
    }
    text
}

/// A value as people write it.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Text on one line.
fn inline(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Text in a cell of a table.
fn cell(text: &str) -> String {
    inline(text).replace('|', "\\|")
}

fn sentence(text: &str) -> String {
    let ends = text.ends_with(['.', '!', '?', '…']);
    if ends { text.to_owned() } else { format!("{text}.") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_folder_is_made_of_words() {
        assert_eq!(folder_name("my--tool-"), "my-tool");
    }

    #[test]
    fn text_stays_in_its_cell() {
        assert_eq!(cell("a | b\n\n| c"), "a \\| b \\| c");
    }
}
