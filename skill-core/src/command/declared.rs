//! Reading declarations of commands. `commands/README.md` is their manual.

use std::{path::PathBuf, time::Duration};

use serde_json::{Map, Value, json};

use super::{
    answer::{Findings, Pattern},
    argument::{Arguments, Template},
    place::Kind,
};
use crate::{
    declaration::{Problem, Source, Table},
    name::{ActionName, Slug, Version},
    record::execution::Class,
    schema::Schema,
    skill::SkillInfo,
    tool,
};

/// How long a program may take when its declaration does not say.
const TIMEOUT: Duration = Duration::from_secs(300);
/// How long one may take at most.
const LONGEST: u32 = 86_400;
/// What names the skill's own directory of a run.
const SCRATCH: &str = "scratch";

/// How a program answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Json,
    Text,
}

/// What a program may use up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds {
    /// Address space of one process, and memory of all of them, in bytes.
    pub(super) memory: u64,
    /// The largest file that it may write, in bytes.
    pub(super) file: u64,
    /// Processes and threads, all together.
    pub(super) processes: u32,
    /// Open files of one process.
    pub(super) files: u32,
    /// Seconds of processor time of one process.
    pub(super) cpu: u32,
    /// What it may print, in bytes.
    pub(super) output: usize,
}

/// A program that an operator lets callers run, as it is declared.
///
/// ```
/// use skill_core::command::Declaration;
/// let text = r#"
/// skill = "files/v1.0/count-words"
/// summary = "Count the words of a file"
/// class = "read"
/// program = "/usr/bin/wc"
/// install = "apt install coreutils"
/// arguments = ["-w", "--", "{path}"]
/// answer = "text"
/// inputs.path = { type = "string", path = "file", required = true }
/// "#;
/// let declaration = Declaration::read("count-words.toml", text).unwrap();
/// assert_eq!(declaration.name().as_str(), "count-words");
/// ```
#[derive(Debug)]
pub struct Declaration {
    pub(super) file: String,
    pub(super) info: SkillInfo,
    /// What it is called when it has a directory, or is looked for.
    pub(super) program: String,
    pub(super) install: String,
    pub(super) arguments: Arguments,
    pub(super) stdin: Option<Template>,
    pub(super) environment: Vec<(String, String)>,
    /// Variables of the server's own environment that it gets.
    pub(super) pass: Vec<String>,
    /// The input whose directory it works in; its own otherwise.
    pub(super) directory: Option<String>,
    pub(super) paths: Vec<(String, Kind)>,
    pub(super) reads: Vec<PathBuf>,
    pub(super) writes: Vec<PathBuf>,
    pub(super) runs_roots: bool,
    pub(super) network: bool,
    pub(super) unix_sockets: bool,
    pub(super) may_detach: bool,
    pub(super) bounds: Bounds,
    pub(super) format: Format,
    pub(super) success: Vec<u8>,
    pub(super) findings: Option<Findings>,
    pub(super) defaults: Map<String, Value>,
}

impl Declaration {
    /// Reads a declaration. One that `extends` a bundled one has what that says wherever it says
    /// nothing else.
    ///
    /// # Errors
    /// Every problem, with its line.
    pub fn read(file: &str, text: &str) -> Result<Self, Vec<Problem>> {
        let source = Source::new(file, text);
        let Some(base) = Source::peek(text, "extends") else {
            return source.read(|top| declaration(file, top));
        };
        match super::bundled_text(&base) {
            Some((base, text)) => source.extending(base, text).read(|top| declaration(file, top)),
            None => {
                let problem = |top: &Table<'_>| {
                    top.problem("extends", format!("there is no bundled command `{base}`"));
                    None
                };
                source.read(problem)
            }
        }
    }

    /// The name under which a configuration lists it: that of its skill.
    pub fn name(&self) -> &Slug {
        &self.info.name
    }

    /// The program that it runs.
    pub fn program(&self) -> &str {
        &self.program
    }

    /// What it does, in one line.
    pub fn summary(&self) -> &str {
        &self.info.summary
    }
}

/// Whether `text`, which may be no declaration of a command at all, looks like one.
pub(super) fn is_command(text: &str) -> bool {
    let has = |key| Source::peek(text, key).is_some();
    let extends = Source::peek(text, "extends");
    has("skill")
        || has("program")
        || extends.is_some_and(|base| super::bundled_text(&base).is_some())
}

fn declaration(file: &str, top: &Table<'_>) -> Option<Declaration> {
    top.text("extends");
    let (inputs, paths, defaults) = inputs(top)?;
    let arguments = top.json("arguments").unwrap_or_else(|| json!([]));
    let arguments = Arguments::parse(&arguments).map_err(|what| top.problem("arguments", what));
    let stdin = match top.text("stdin").map(Template::parse) {
        Some(Err(what)) => {
            top.problem("stdin", what);
            None
        }
        Some(Ok(template)) => Some(template),
        None => None,
    };
    let directory = top.text("directory").map(str::to_owned);
    let info = info(top, &inputs);
    let program = program(top);
    let install = top.required_text("install").map(str::to_owned);
    let declaration = Declaration {
        file: file.to_owned(),
        arguments: arguments.ok()?,
        stdin,
        environment: environment(top),
        pass: variables(top, "pass"),
        directory,
        paths,
        reads: absolute(top, "reads"),
        writes: absolute(top, "writes"),
        runs_roots: top.flag("runs_roots"),
        network: top.flag("network"),
        unix_sockets: top.flag("unix_sockets"),
        may_detach: top.flag("may_detach"),
        bounds: bounds(top),
        format: format(top)?,
        success: success(top),
        findings: findings(top),
        defaults,
        info: info?,
        program: program?,
        install: install?,
    };
    check_inputs(top, &declaration);
    top.end();
    Some(with_output(declaration))
}

/// Its skill without its output.
fn info(top: &Table<'_>, inputs: &Value) -> Option<SkillInfo> {
    let summary = top.required_text("summary");
    let text = top.required_text("skill")?;
    let (action, version) = address(text).or_else(|| {
        let expected = "`skill`: expected category, version and name, such as \
                        `security/v1.0/semgrep-scan`";
        top.problem("skill", expected);
        None
    })?;
    let schema = Schema::compile(inputs.clone());
    let schema = schema.map_err(|error| top.problem("inputs", error.message().to_owned())).ok()?;
    let mut info = SkillInfo::new(action, version, schema);
    info.summary = summary?.to_owned();
    info.class = class(top)?;
    info.timeout = timeout(top);
    // What took all of its time once takes it again. What was lost with its process does not count.
    info.attempts = Some(1);
    info.tool = tool::declare(top, None, inputs);
    info.tool.id.get_or_insert_with(|| info.name.clone());
    if top.has("docs") {
        top.text("docs");
    }
    Some(info)
}

fn address(text: &str) -> Option<(ActionName, Version)> {
    let mut parts = text.split('/');
    let (category, version, name) = (parts.next()?, parts.next()?, parts.next()?);
    let action =
        ActionName { namespace: Slug::parse(category).ok()?, name: Slug::parse(name).ok()? };
    let version = Version::parse(version).ok()?;
    parts.next().is_none().then_some((action, version))
}

fn class(top: &Table<'_>) -> Option<Class> {
    match top.text("class") {
        Some("read") => Some(Class::Read),
        Some("write") | None => Some(Class::Write),
        Some("destructive") => Some(Class::Destructive),
        Some(other) => {
            let expected = "`class`: expected `read`, `write` or `destructive`";
            top.problem("class", format!("{expected}, got `{other}`"));
            None
        }
    }
}

fn timeout(top: &Table<'_>) -> Duration {
    let seconds = top.count("timeout_s");
    if seconds.is_some_and(|seconds| !(1..=LONGEST).contains(&seconds)) {
        top.problem("timeout_s", format!("`timeout_s`: expected 1 to {LONGEST}"));
    }
    seconds.map_or(TIMEOUT, |seconds| Duration::from_secs(seconds.into()))
}

fn program(top: &Table<'_>) -> Option<String> {
    let text = top.required_text("program")?;
    let is_path = text.contains('/');
    if text.is_empty() || text.contains('\0') || (is_path && !text.starts_with('/')) {
        top.problem("program", "`program`: expected a name, or an absolute path");
        return None;
    }
    Some(text.to_owned())
}

fn format(top: &Table<'_>) -> Option<Format> {
    match top.text("answer") {
        Some("json") | None => Some(Format::Json),
        Some("text") => Some(Format::Text),
        Some(other) => {
            top.problem("answer", format!("`answer`: expected `json` or `text`, got `{other}`"));
            None
        }
    }
}

fn success(top: &Table<'_>) -> Vec<u8> {
    if !top.has("success") {
        return vec![0];
    }
    let value = top.json("success").unwrap_or_default();
    let code = |code: &Value| u8::try_from(code.as_u64()?).ok();
    let codes = value.as_array().and_then(|codes| codes.iter().map(code).collect::<Option<_>>());
    codes.unwrap_or_else(|| {
        top.problem("success", "`success`: expected exit codes, such as [0, 1]");
        Vec::new()
    })
}

/// Variables that it always has.
fn environment(top: &Table<'_>) -> Vec<(String, String)> {
    let Some(table) = top.table_if_any("environment") else { return Vec::new() };
    let variables = table.keys().filter_map(|name| {
        if !is_variable(name) {
            table.problem(name, format!("`{name}`: expected the name of a variable"));
        }
        Some((name.to_owned(), table.text(name)?.to_owned()))
    });
    variables.collect()
}

fn variables(top: &Table<'_>, key: &str) -> Vec<String> {
    let names = top.texts(key);
    if let Some(name) = names.iter().find(|name| !is_variable(name)) {
        top.problem(key, format!("`{key}`: `{name}` is not the name of a variable"));
    }
    names.into_iter().map(str::to_owned).collect()
}

/// A name that changes which code a program loads would undo what its path was chosen for.
fn is_variable(name: &str) -> bool {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !name.is_empty() && name.chars().all(is_word) && !name.starts_with("LD_")
}

fn absolute(top: &Table<'_>, key: &str) -> Vec<PathBuf> {
    let paths = top.texts(key);
    if let Some(path) = paths.iter().find(|path| !path.starts_with('/')) {
        top.problem(key, format!("`{key}`: expected absolute paths, got `{path}`"));
    }
    paths.into_iter().map(PathBuf::from).collect()
}

fn bounds(top: &Table<'_>) -> Bounds {
    const MEBIBYTE: u64 = 1 << 20;
    let table = top.table_if_any("limits");
    let table = table.as_ref();
    let count = |key: &str, usual: u32| {
        let count = table.and_then(|table| table.count(key));
        if let (Some(0), Some(table)) = (count, table) {
            table.problem(key, format!("`{key}`: expected at least 1"));
        }
        count.unwrap_or(usual)
    };
    let bounds = Bounds {
        memory: u64::from(count("memory_mb", 2_048)) * MEBIBYTE,
        file: u64::from(count("file_mb", 256)) * MEBIBYTE,
        processes: count("processes", 64),
        files: count("open_files", 1_024),
        cpu: count("cpu_s", 3_600),
        output: usize::try_from(u64::from(count("output_mb", 8)) * MEBIBYTE).unwrap_or(usize::MAX),
    };
    if let Some(table) = table {
        table.end();
    }
    bounds
}

fn findings(top: &Table<'_>) -> Option<Findings> {
    let table = top.table_if_any("output")?;
    let pattern =
        |key: &str, text: &str| Pattern::parse(text).map_err(|what| table.problem(key, what)).ok();
    let each = table.texts("findings");
    if each.is_empty() {
        table.problem("findings", "expected `findings`, a list of JSON Pointers");
    }
    let each = each.into_iter().filter_map(|text| pattern("findings", text)).collect();
    let with = table.table_if_any("with").map(|with| {
        let read = |name: &str| Some((name.to_owned(), pattern("with", with.text(name)?)?));
        with.keys().filter_map(read).collect::<Vec<_>>()
    });
    let by = table.text("counts_by").and_then(|text| pattern("counts_by", text));
    table.end();
    let made = Findings::new(each, with.unwrap_or_default(), by);
    made.map_err(|what| table.problem("with", what)).ok()
}

type Inputs = (Value, Vec<(String, Kind)>, Map<String, Value>);

/// The schema of the inputs, which of them are paths, and what holds when they are not given.
fn inputs(top: &Table<'_>) -> Option<Inputs> {
    let (mut properties, mut required) = (Map::new(), Vec::new());
    let (mut paths, mut defaults) = (Vec::new(), Map::new());
    let table = top.table_if_any("inputs");
    for name in table.iter().flat_map(Table::keys) {
        let Some(input) = table.as_ref().and_then(|table| table.table(name)) else { continue };
        let mut schema = input.whole()?.as_object().cloned().unwrap_or_default();
        schema.remove("path");
        schema.remove("required");
        if input.flag("required") {
            required.push(Value::from(name));
        }
        if input.has("path") {
            match input.text("path").and_then(Kind::parse) {
                Some(kind) => paths.push((name.to_owned(), kind)),
                None => input.problem("path", "`path`: expected `any`, `file` or `directory`"),
            }
        }
        if let Some(default) = schema.get("default") {
            defaults.insert(name.to_owned(), default.clone());
        }
        if name == SCRATCH {
            input.problem("", "`scratch` is the program's own directory: choose another name");
        }
        properties.insert(name.to_owned(), Value::Object(schema));
    }
    let schema = json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    });
    Some((schema, paths, defaults))
}

/// Every input leads somewhere, and everything that is named is an input.
fn check_inputs(top: &Table<'_>, declaration: &Declaration) {
    let schema = declaration.info.input.as_value();
    let known = schema.get("properties").and_then(Value::as_object).cloned().unwrap_or_default();
    let stdin = declaration.stdin.iter().flat_map(Template::inputs);
    let named = declaration.arguments.inputs().map(|name| ("arguments", name));
    let named = named.chain(stdin.map(|name| ("stdin", name)));
    let named = named.chain(declaration.directory.as_deref().map(|name| ("directory", name)));
    let named = named.collect::<Vec<_>>();
    for (key, name) in &named {
        if *name != SCRATCH && !known.contains_key(*name) {
            top.problem(key, format!("`{key}`: there is no input `{name}`"));
        }
    }
    for name in known.keys().filter(|name| named.iter().all(|(_, used)| used != name)) {
        top.problem("inputs", format!("the input `{name}` is used nowhere"));
    }
    let is_directory = |name: &String| declaration.paths.contains(&(name.clone(), Kind::Directory));
    if declaration.directory.as_ref().is_some_and(|name| !is_directory(name)) {
        top.problem("directory", "`directory`: expected an input with `path = \"directory\"`");
    }
}

fn with_output(mut declaration: Declaration) -> Declaration {
    let schema = match (&declaration.findings, declaration.format) {
        (Some(_), _) => Some(Findings::schema()),
        (None, Format::Text) => Some(json!({
            "type": "object",
            "required": ["output"],
            "properties": {"output": {"type": "string", "description": "What the program printed"}},
        })),
        (None, Format::Json) => None,
    };
    declaration.info.output = schema.map(Schema::trusted);
    declaration
}
