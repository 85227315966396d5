//! The invariants of the workspace that its sources can show: who may use whom, where time,
//! randomness and secrets are read, how long a file may be.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use skill_core::{
    artifact, clock, credential, endpoint, executor, integration, skill, store, transport,
};

/// One file of Rust.
struct Source {
    /// Its path under the workspace.
    path: String,
    text: String,
}

impl Source {
    /// Whether the file holds tests only.
    fn is_test(&self) -> bool {
        self.path.split('/').any(|part| matches!(part, "tests" | "tests.rs" | "suite"))
    }

    /// What is compiled into the program: no comments, and none of the tests at the end.
    fn code(&self) -> String {
        let end = self.text.find("#[cfg(test)]\nmod tests {").unwrap_or(self.text.len());
        let lines = self.text[..end].lines().filter(|line| !line.trim_start().starts_with("//"));
        lines.collect::<Vec<_>>().join("\n")
    }
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a member of a workspace").to_owned()
}

/// The sources below `under`, in a fixed order.
fn sources(under: &str) -> Vec<Source> {
    let mut found = Vec::new();
    let mut open = vec![workspace().join(under)];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && path.file_name().is_none_or(|name| name != "target") {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let path = path.strip_prefix(workspace()).unwrap().to_str().unwrap().to_owned();
                found.push(Source { path, text });
            }
        }
    }
    assert!(!found.is_empty(), "there is nothing to look at below {under}");
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// The code of a crate without its tests.
fn program(crate_name: &str) -> Vec<(String, String)> {
    let files = sources(&format!("{crate_name}/src")).into_iter();
    files.filter(|file| !file.is_test()).map(|file| (file.path.clone(), file.code())).collect()
}

/// The files of `crate_name` that hold one of `words` and lie outside `allowed`.
fn holders(crate_name: &str, words: &[&str], allowed: &[&str]) -> Vec<String> {
    let of = |path: &str, text: &str| {
        let inside = path.strip_prefix(crate_name).and_then(|rest| rest.strip_prefix("/src/"));
        let is_free = allowed.iter().any(|place| inside.is_some_and(|at| at.starts_with(place)));
        let found = words.iter().filter(|word| !is_free && text.contains(**word));
        found.map(|word| format!("{path} has {word}")).collect::<Vec<_>>()
    };
    program(crate_name).iter().flat_map(|(path, text)| of(path, text)).collect()
}

fn assert_none(found: &[String], rule: &str) {
    assert!(found.is_empty(), "{rule}:\n  {}", found.join("\n  "));
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn first_word(text: &str) -> &str {
    let text = text.trim_start();
    &text[..text.find(|c| !is_word(c)).unwrap_or(text.len())]
}

/// The modules that a crate's root declares, in order.
fn modules(root: &str) -> Vec<String> {
    let declared = root.lines().filter_map(|line| {
        let line =
            line.strip_prefix("pub ").or_else(|| line.strip_prefix("pub(crate) ")).unwrap_or(line);
        line.strip_prefix("mod ")?.strip_suffix(';')
    });
    declared.map(str::to_owned).collect()
}

/// What `code` names right behind `crate::`, groups in braces included.
fn used(code: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (at, path) in code.match_indices("crate::") {
        let rest = &code[at + path.len()..];
        if code[..at].ends_with(is_word) {
            continue;
        }
        match rest.strip_prefix('{') {
            None => _ = names.insert(first_word(rest).to_owned()),
            Some(group) => names.extend(members(group)),
        }
    }
    names
}

/// The first word of each member of a group whose opening brace has been read.
fn members(group: &str) -> Vec<String> {
    let (mut depth, mut starts) = (0_usize, vec![0]);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => starts.push(at + 1),
            _ => {}
        }
    }
    starts.into_iter().map(|at| first_word(&group[at..]).to_owned()).collect()
}

#[test]
fn a_module_uses_only_modules_above_it() {
    let mut wrong = Vec::new();
    for (crate_name, root) in
        [("skill-core", "lib.rs"), ("skill-http", "lib.rs"), ("skill-cli", "main.rs")]
    {
        let files = program(crate_name);
        let root = format!("{crate_name}/src/{root}");
        let (_, text) = files.iter().find(|(path, _)| *path == root).expect("a root");
        let order = modules(text);
        let place = |name: &str| order.iter().position(|module| module == name);
        for (path, code) in &files {
            let inside = path.strip_prefix(&format!("{crate_name}/src/")).unwrap();
            let own = inside.split('/').next().unwrap().trim_end_matches(".rs");
            let Some(at) = place(own) else { continue };
            let below = used(code).into_iter().filter(|name| place(name).is_some_and(|n| n > at));
            wrong.extend(below.map(|name| format!("{path} uses {name}, which stands below {own}")));
        }
    }
    assert_none(&wrong, "the order of the `mod` lines is the dependency order");
}

#[test]
fn crates_depend_in_one_direction_only() {
    let mut wrong = holders("skill-core", &["skill_http", "skill_cli"], &[]);
    wrong.extend(holders("skill-http", &["skill_cli", "rusqlite", "reqwest"], &[]));
    assert_none(&wrong, "skill-cli uses skill-http uses skill-core, and never back");
}

#[test]
fn one_module_knows_each_engine_below() {
    let mut wrong = holders("skill-core", &["reqwest::"], &["transport/"]);
    wrong.extend(holders("skill-core", &["rusqlite"], &["store/sqlite/"]));
    assert_none(&wrong, "the client and the database stand behind doors");
}

#[test]
fn core_knows_no_wire() {
    let words = ["X-RateLimit", "x-api-key", "/healthz", "text/html", "hyper::"];
    assert_none(&holders("skill-core", &words, &[]), "routes and dialects are skill-http's");
}

#[test]
fn only_the_clock_reads_the_time() {
    let words = ["SystemTime::now", "Instant::now", "Timestamp::now", "Zoned::now"];
    assert_none(&holders("skill-core", &words, &["clock.rs"]), "take the time from a Clock");
    let words = ["SystemTime::now", "Timestamp::now", "Zoned::now"];
    assert_none(&holders("skill-http", &words, &[]), "take the time from a Clock");
}

#[test]
fn only_the_id_module_reads_randomness() {
    assert_none(&holders("skill-core", &["getrandom"], &["id.rs"]), "take it from id::random");
    assert_none(&holders("skill-http", &["getrandom"], &[]), "take it from skill-core");
}

#[test]
fn few_modules_expose_a_secret() {
    let allowed = [
        "credential/",
        "transport/",
        "link.rs",
        "connect/",
        "apps.rs",
        "trigger/",
        "webhook/",
        "executor/",
        // A key in plain text hashes itself, and is shown once to whoever made it.
        "record/key.rs",
    ];
    let found = holders("skill-core", &["expose_secret("], &allowed);
    assert_none(&found, "a secret is exposed only where it is sealed, hashed or sent");
}

#[test]
fn nothing_is_shared_between_engines() {
    let kinds = ["Mutex<", "RwLock<", "Atomic", "OnceLock<", "OnceCell<"];
    let mut wrong = Vec::new();
    for (path, code) in ["skill-core", "skill-http"].into_iter().flat_map(program) {
        let statics = code.lines().map(str::trim_start).filter(|line| {
            line.trim_start_matches("pub ").starts_with("static ")
                && kinds.iter().any(|kind| line.contains(kind))
        });
        wrong.extend(statics.map(|line| format!("{path} has {line}")));
        // Compiled for tests only.
        let is_seam = path == "skill-core/src/id/seeded.rs";
        wrong.extend(
            (code.contains("thread_local!") && !is_seam)
                .then(|| format!("{path} has thread_local!")),
        );
    }
    assert_none(&wrong, "two engines can live in one process");
}

/// Types that are a secret, or hold one and must not be shown.
const SECRETS: [&str; 6] =
    ["SecretString", "SecretBox", "Zeroizing", "Credential", "Keyring", "PlainKey"];

/// A struct or an enum: its name, the attributes in front of it, its fields.
struct Type<'a> {
    name: &'a str,
    attributes: String,
    body: &'a str,
}

fn types(code: &str) -> Vec<Type<'_>> {
    let mut found = Vec::new();
    let (mut attributes, mut at, mut in_attribute) = (String::new(), 0, false);
    for line in code.split_inclusive('\n') {
        let start = at;
        at += line.len();
        let words = line.trim_start();
        let item = words.trim_start_matches("pub(crate) ").trim_start_matches("pub(super) ");
        let item = item.trim_start_matches("pub ");
        if in_attribute || words.starts_with("#[") {
            attributes.push_str(words);
            in_attribute = !words.trim_end().ends_with(']');
        } else if let Some(rest) =
            item.strip_prefix("struct ").or_else(|| item.strip_prefix("enum "))
        {
            let (name, body) = (first_word(rest), body(&code[start..]));
            found.push(Type { name, attributes: std::mem::take(&mut attributes), body });
        } else {
            attributes.clear();
        }
    }
    found
}

/// The text of an item up to its closing brace, or to the semicolon of one without.
fn body(item: &str) -> &str {
    let mut depth = 0_usize;
    for (at, c) in item.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 1 => return &item[..at],
            '}' => depth -= 1,
            ';' if depth == 0 => return &item[..at],
            _ => {}
        }
    }
    item
}

fn has_word(text: &str, word: &str) -> bool {
    text.split(|c| !is_word(c)).any(|part| part == word)
}

#[test]
fn no_type_that_holds_a_secret_shows_it() {
    let (mut wrong, mut seen) = (Vec::new(), 0);
    let files: Vec<_> =
        ["skill-core", "skill-http", "skill-cli"].into_iter().flat_map(program).collect();
    for (path, code) in &files {
        let secret =
            types(code).into_iter().filter(|ty| SECRETS.iter().any(|word| has_word(ty.body, word)));
        for Type { name, attributes, .. } in secret {
            seen += 1;
            for shown in ["Debug", "Display", "Serialize"] {
                if attributes.contains("derive(") && has_word(&attributes, shown) {
                    wrong.push(format!("{path}: {name} derives {shown}"));
                }
            }
            for shown in ["fmt::Display", "Display", "Serialize"] {
                if code.contains(&format!("impl {shown} for {name} ")) {
                    wrong.push(format!("{path}: {name} implements {shown}"));
                }
            }
        }
    }
    assert!(seen >= 5, "the search is broken: only {seen} types hold a secret");
    assert_none(&wrong, "a secret is never shown; write Debug by hand and leave it out");
}

#[test]
fn no_file_is_longer_than_500_lines() {
    let all = ["skill-core", "skill-http", "skill-cli", "examples", "benches"];
    let files = all.into_iter().flat_map(sources);
    let long = files.filter_map(|file| {
        let lines = file.text.lines().count();
        (lines > 500).then(|| format!("{} has {lines}", file.path))
    });
    assert_none(&long.collect::<Vec<_>>(), "a file has 500 lines at most");
}

#[test]
fn every_bundled_integration_says_where_its_documentation_is() {
    let mut wrong = Vec::new();
    for entry in fs::read_dir(workspace().join("skill-core/integrations")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let file: toml::Table = fs::read_to_string(&path).unwrap().parse().unwrap();
        let name = path.file_name().unwrap().to_string_lossy();
        if name == "tracker.toml" {
            continue; // The demo's own service: the file is all the documentation there is.
        }
        if !file.contains_key("docs") {
            wrong.push(format!("{name} has no docs"));
        }
        let none = toml::Table::new();
        let endpoints = file.get("endpoints").and_then(toml::Value::as_table).unwrap_or(&none);
        let silent = endpoints.iter().filter(|(_, endpoint)| endpoint.get("docs").is_none());
        wrong.extend(silent.map(|(endpoint, _)| format!("{name}: {endpoint} has no docs")));
    }
    assert_none(&wrong, "a reader can look up what an integration calls");
}

fn shared<T: ?Sized + Send + Sync + 'static>() -> &'static str {
    std::any::type_name::<T>()
}

#[test]
fn every_public_trait_can_be_shared_as_an_object() {
    let known = [
        shared::<dyn artifact::ArtifactStore>(),
        shared::<dyn clock::Clock>(),
        shared::<dyn credential::AuthScheme>(),
        shared::<dyn credential::CredentialStore>(),
        shared::<dyn endpoint::Endpoint>(),
        shared::<dyn executor::Observer>(),
        shared::<dyn integration::Integration>(),
        shared::<dyn skill::Host>(),
        shared::<dyn skill::Skill>(),
        shared::<dyn store::Store>(),
        shared::<dyn transport::Transport>(),
    ];
    let files = program("skill-core").into_iter();
    let traits = files.flat_map(|(path, code)| {
        let named = code
            .lines()
            .filter_map(|line| Some(first_word(line.strip_prefix("pub trait ")?).to_owned()));
        named.map(|name| (path.clone(), name)).collect::<Vec<_>>()
    });
    // `Store` is all of the small traits of its module together.
    let missing = traits.filter(|(path, name)| {
        !path.starts_with("skill-core/src/store/")
            && !known.iter().any(|known| known.ends_with(&format!("::{name}")))
    });
    let missing: Vec<_> = missing.map(|(path, name)| format!("{name} of {path}")).collect();
    assert_none(&missing, "add the trait to the list above");
}
