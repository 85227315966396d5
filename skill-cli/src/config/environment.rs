//! The environment as a layer: `SKILL_LIMITS__BODY_BYTES` is `limits.body_bytes`.

use toml::{Table, Value};

use super::{Entry, Origin, Problem, check};

/// What variables of settings begin with.
const PREFIX: &str = "SKILL_";
/// Variables that begin so and are no settings: where the file is, and what clients keep a key in.
const OTHERS: [&str; 3] = ["SKILL_CONFIG", "SKILL_KEY", "SKILL_API_KEY"];
/// The settings of an OAuth client, the longest first.
const CLIENT: [&str; 3] = ["client_secret_file", "client_secret", "client_id"];

/// What the environment says.
pub(super) struct Found {
    /// Settings.
    pub(super) entries: Vec<Entry>,
    /// Settings with a value that does not fit.
    pub(super) problems: Vec<Problem>,
    /// Variables that name no setting.
    pub(super) ignored: Vec<String>,
}

/// Reads every variable that names a setting.
pub(super) fn read(base: &Table, environment: &[(String, String)]) -> Found {
    let mut found = Found { entries: Vec::new(), problems: Vec::new(), ignored: Vec::new() };
    for (variable, text) in environment {
        let Some(name) = variable.strip_prefix(PREFIX) else { continue };
        if OTHERS.contains(&variable.as_str()) || text.is_empty() {
            continue;
        }
        match setting(base, variable, &name.to_ascii_lowercase(), text) {
            Some(Ok(entry)) => found.entries.push(entry),
            Some(Err(problem)) => found.problems.push(problem),
            None => found.ignored.push(variable.clone()),
        }
    }
    found
}

/// The setting that a variable means, or what is wrong with its value; `None` if it means none.
fn setting(base: &Table, variable: &str, name: &str, text: &str) -> Option<Result<Entry, Problem>> {
    let mut wrong = None;
    for name in names(name) {
        for value in readings(text) {
            let entry = Entry::new(&*name, value, Origin::Environment(variable.to_owned()));
            match check(base, &entry) {
                None => return Some(Ok(entry)),
                Some(problem) if problem.what.contains("unknown field") => break,
                Some(problem) => wrong = wrong.or(Some(problem)),
            }
        }
    }
    wrong.map(Err)
}

/// The settings that a name may stand for: `seal_key` is `seal_key` or `seal.key`.
fn names(name: &str) -> Vec<String> {
    for member in CLIENT {
        let slug = name.strip_suffix(member).and_then(|slug| slug.strip_suffix('_'));
        if let Some(slug) = slug.filter(|_| !name.contains("__")) {
            return vec![format!("integrations.{}.{member}", slug.replace('_', "-"))];
        }
    }
    if name.contains("__") {
        return vec![name.replace("__", ".")];
    }
    let split = |(at, _): (usize, &str)| format!("{}.{}", &name[..at], &name[at + 1..]);
    std::iter::once(name.to_owned()).chain(name.match_indices('_').map(split)).collect()
}

/// The values that a text may stand for, the likeliest first.
fn readings(text: &str) -> Vec<Value> {
    let items = || text.split(',').map(str::trim).filter(|item| !item.is_empty());
    let list = Value::Array(items().map(Value::from).collect());
    let numbers = items().map(|item| item.parse::<i64>().ok().map(Value::from));
    let numbers = numbers.collect::<Option<Vec<_>>>().map(Value::Array);
    let number = text.parse::<i64>().ok().map(Value::from);
    let flag = text.parse::<bool>().ok().map(Value::from);
    let rest = number.into_iter().chain(flag).chain([list]).chain(numbers);
    std::iter::once(Value::from(text)).chain(rest).collect()
}
