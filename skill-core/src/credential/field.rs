//! What a person or a program fills in about a connection: facts of it, and credentials.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Map, Value, json};

use crate::{
    declaration::Table,
    error::Detail,
    schema::Schema,
    template::{Address, HostRule, Template, is_under},
};

/// The longest value, in bytes.
const LONGEST: usize = 16 * 1024;

/// What a field takes.
#[derive(Debug, Clone)]
enum Takes {
    /// Text without control characters.
    Text,
    /// Text of several lines, such as a key in PEM.
    Lines,
    /// Text that fits a pattern.
    Pattern(String, Arc<Schema>),
    /// One of these.
    OneOf(Vec<String>),
    /// A host that fits one of these patterns, such as `*.example.com`.
    Host(Vec<String>),
}

impl PartialEq for Takes {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Text, Self::Text) | (Self::Lines, Self::Lines) => true,
            (Self::Pattern(own, _), Self::Pattern(text, _)) => own == text,
            (Self::OneOf(own), Self::OneOf(list)) | (Self::Host(own), Self::Host(list)) => {
                own == list
            }
            _ => false,
        }
    }
}

impl Eq for Takes {}

/// One thing that a person or a program fills in to connect an account.
///
/// ```
/// use skill_core::credential::Field;
/// let field = Field::secret("api_key", "API key");
/// assert!(field.is_required && field.is_secret);
/// assert_eq!(field.normal("key"), Ok("key".to_owned()));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Its name in the API.
    pub name: String,
    /// What a form calls it.
    pub label: String,
    /// What it is and where it is found; may be empty.
    pub description: String,
    /// What a value looks like; may be empty.
    pub example: String,
    /// What holds when nothing is given.
    pub default: Option<String>,
    /// Whether it must be given.
    pub is_required: bool,
    /// Whether it is hidden while it is typed.
    pub is_secret: bool,
    takes: Takes,
}

impl Field {
    /// Returns a required secret.
    pub fn secret(name: &str, label: &str) -> Self {
        Self {
            name: name.into(),
            label: label.into(),
            description: String::new(),
            example: String::new(),
            default: None,
            is_required: true,
            is_secret: true,
            takes: Takes::Text,
        }
    }

    /// Returns a required field that may be seen.
    pub fn plain(name: &str, label: &str) -> Self {
        Self { is_secret: false, ..Self::secret(name, label) }
    }

    /// Returns the field as one that may be left out.
    #[must_use]
    pub fn optional(self) -> Self {
        Self { is_required: false, ..self }
    }

    /// Returns the field as one that takes several lines.
    #[must_use]
    pub fn lines(self) -> Self {
        Self { takes: Takes::Lines, ..self }
    }

    /// Returns the field as a choice between these values.
    #[must_use]
    pub fn among<'a>(self, values: impl IntoIterator<Item = &'a str>) -> Self {
        let values = values.into_iter().map(str::to_owned).collect();
        Self { takes: Takes::OneOf(values), ..self }
    }

    /// Whether a value may have several lines.
    pub fn has_lines(&self) -> bool {
        self.takes == Takes::Lines
    }

    /// The values to choose from; empty when any text will do.
    pub fn choices(&self) -> &[String] {
        match &self.takes {
            Takes::OneOf(values) => values,
            Takes::Text | Takes::Lines | Takes::Pattern(..) | Takes::Host(_) => &[],
        }
    }

    /// A value in the form in which it is kept: without spaces around it unless it is secret, a host
    /// without `https://` before it.
    ///
    /// # Errors
    /// What is expected, when the value is something else. The value is not repeated.
    pub fn normal(&self, text: &str) -> Result<String, String> {
        let text = if self.is_secret { text } else { text.trim() };
        let is_odd = |c: char| c.is_control() && !(self.has_lines() && matches!(c, '\r' | '\n'));
        if text.contains(is_odd) {
            return Err("expected no control characters".to_owned());
        }
        if text.is_empty() || text.len() > LONGEST {
            return Err("expected a string of 1 to 16384 bytes".to_owned());
        }
        match &self.takes {
            Takes::Text | Takes::Lines => Ok(text.to_owned()),
            Takes::Pattern(pattern, schema) => match schema.check(&json!(text)) {
                Ok(()) => Ok(text.to_owned()),
                Err(_) => Err(format!("expected text of the form `{pattern}`{}", self.such_as())),
            },
            Takes::OneOf(values) if values.iter().any(|known| known == text) => Ok(text.to_owned()),
            Takes::OneOf(values) => Err(format!("expected one of `{}`", values.join("`, `"))),
            Takes::Host(patterns) => {
                let host = text.strip_prefix("https://").unwrap_or(text);
                let host = host.strip_suffix('/').unwrap_or(host).to_ascii_lowercase();
                let expected = || {
                    format!("expected a host such as `{}`{}", patterns.join("`, `"), self.such_as())
                };
                if is_under(patterns, &host) { Ok(host) } else { Err(expected()) }
            }
        }
    }

    fn such_as(&self) -> String {
        if self.example.is_empty() { String::new() } else { format!(", as `{}`", self.example) }
    }

    /// What a value of this field may be in a place of a host.
    pub(crate) fn host_rule(&self) -> HostRule {
        match &self.takes {
            Takes::Text | Takes::Lines | Takes::Pattern(..) => HostRule::Label,
            Takes::OneOf(values) => HostRule::OneOf(values.clone()),
            Takes::Host(patterns) => HostRule::Under(patterns.clone()),
        }
    }

    /// Reads `fields.NAME`; what it must be unless it says otherwise is in `standard`.
    fn declare(name: &str, table: &Table<'_>, standard: &Self) -> Option<Self> {
        let text = |key: &str| table.text(key).unwrap_or_default().to_owned();
        let label = table.text("label").map_or_else(|| standard.label.clone(), str::to_owned);
        let flag = |key, standard| if table.has(key) { table.flag(key) } else { standard };
        let field = Self {
            name: name.to_owned(),
            label,
            description: text("description"),
            example: text("example"),
            default: table.text("default").map(str::to_owned),
            is_required: flag("required", standard.is_required) && !table.has("default"),
            is_secret: flag("secret", standard.is_secret),
            takes: takes(table)?,
        };
        table.end();
        for (key, value) in [("example", &field.example), ("default", &text("default"))] {
            if let (false, Err(expected)) = (value.is_empty(), field.normal(value)) {
                table.problem(key, format!("`{key}`: {expected}"));
            }
        }
        Some(field)
    }
}

fn takes(table: &Table<'_>) -> Option<Takes> {
    let list = |key| table.texts(key).into_iter().map(str::to_owned).collect::<Vec<_>>();
    let (pattern, choices, hosts) = (table.text("pattern"), list("enum"), list("hosts"));
    match (pattern, choices.is_empty(), hosts.is_empty()) {
        (None, true, true) if table.flag("lines") => Some(Takes::Lines),
        (None, true, true) => Some(Takes::Text),
        (None, false, true) => Some(Takes::OneOf(choices)),
        (None, true, false) => {
            if hosts.iter().any(|host| !host.trim_start_matches("*.").contains('.')) {
                table.problem("hosts", "`hosts`: expected hosts such as `*.example.com`");
            }
            Some(Takes::Host(hosts))
        }
        (Some(pattern), true, true) if pattern.starts_with('^') && pattern.ends_with('$') => {
            let schema = Schema::compile(json!({"type": "string", "pattern": pattern}));
            let schema =
                schema.inspect_err(|error| table.problem("pattern", error.message().to_owned()));
            Some(Takes::Pattern(pattern.to_owned(), Arc::new(schema.ok()?)))
        }
        (Some(_), true, true) => {
            table.problem("pattern", "`pattern`: expected it whole, between `^` and `$`");
            None
        }
        _ => {
            table.problem("", "expected one of `pattern`, `enum` and `hosts`");
            None
        }
    }
}

/// Reads the tables under `fields`. Whether they are secret, they say; or else `are_secret`.
pub(crate) fn declare(table: &Table<'_>, are_secret: bool) -> Vec<Field> {
    let Some(tables) = table.table("fields") else { return Vec::new() };
    let fields = tables.keys().filter_map(|name| {
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            tables.problem(name, format!("`{name}`: expected letters, digits and `_`"));
            return None;
        }
        let standard =
            if are_secret { Field::secret(name, name) } else { Field::plain(name, name) };
        Field::declare(name, &tables.table(name)?, &standard)
    });
    fields.collect()
}

/// Checks what was given for fields. With `is_all`, what is required must be there, and defaults
/// stand in for what is not.
pub(crate) fn check(
    fields: &[Field],
    given: &Map<String, Value>,
    is_all: bool,
) -> Result<BTreeMap<String, String>, Vec<Detail>> {
    let unknown = given.keys().filter(|name| fields.iter().all(|field| field.name != **name));
    let mut details = unknown
        .map(|name| Detail::new(name, format!("not known; expected {}", listed(fields))))
        .collect::<Vec<_>>();
    let mut values = BTreeMap::new();
    for field in fields {
        let value = match given.get(&field.name) {
            Some(Value::String(text)) => field.normal(text).map(Some),
            Some(_) => Err("expected a string".to_owned()),
            None if is_all && field.is_required => Err("expected a string, got nothing".to_owned()),
            None if is_all => Ok(field.default.clone()),
            None => Ok(None),
        };
        match value {
            Ok(Some(value)) => _ = values.insert(field.name.clone(), value),
            Ok(None) => {}
            Err(issue) => details.push(Detail::new(&field.name, issue)),
        }
    }
    if details.is_empty() { Ok(values) } else { Err(details) }
}

/// Reads an address that may have places for `fields`.
pub(crate) fn address(text: &str, fields: &[Field]) -> Result<Address, String> {
    let rule = |name: &str| fields.iter().find(|f| f.name == name).map(Field::host_rule);
    let address = Address::parse(text, &rule)?;
    check_names(address.names(), fields)?;
    Ok(address)
}

/// Reads a text that may have places for `fields`.
pub(crate) fn template(text: &str, fields: &[Field]) -> Result<Template, String> {
    let template = Template::parse(text)?;
    check_names(template.names(), fields)?;
    Ok(template)
}

fn check_names<'a>(
    names: impl IntoIterator<Item = &'a str>,
    fields: &[Field],
) -> Result<(), String> {
    let unknown = names.into_iter().find(|name| fields.iter().all(|field| field.name != **name));
    match unknown {
        Some(name) => Err(format!("`{{{name}}}`: there is no field `{name}`")),
        None => Ok(()),
    }
}

fn listed(fields: &[Field]) -> String {
    match fields {
        [] => "no fields".to_owned(),
        _ => fields.iter().map(|field| format!("`{}`", field.name)).collect::<Vec<_>>().join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::declaration::Source;

    fn fields(text: &str) -> Vec<Field> {
        Source::new("x.toml", text).read(|top| Some(declare(top, false))).unwrap()
    }

    #[test]
    fn a_value_fits_its_field_or_is_refused_without_being_repeated() {
        let all = fields(
            "[fields.shop]\npattern = \"^[a-z0-9-]+$\"\n[fields.region]\nenum = [\"eu\", \"us\"]\n\
             [fields.site]\nhosts = [\"*.example.com\"]\n",
        );
        let field = |name: &str| all.iter().find(|field| field.name == name).unwrap();
        assert_eq!(field("shop").normal(" acme ").as_deref(), Ok("acme"));
        assert!(!field("shop").normal("A SECRET").unwrap_err().contains("SECRET"));
        assert!(Field::secret("key", "Key").normal("a\nb").is_err());
        assert!(Field::secret("key", "Key").lines().normal("a\nb").is_ok());
        assert_eq!(field("region").choices(), ["eu", "us"]);
        assert!(field("region").normal("cn").is_err());
        let site = field("site");
        assert_eq!(site.normal("https://A.example.com/").as_deref(), Ok("a.example.com"));
        for value in ["http://a.example.com", "a.example.com/x", "example.com", "a.example.com:1"] {
            assert!(site.normal(value).is_err(), "{value}");
        }
    }

    #[test]
    fn a_default_stands_in_and_what_is_required_is_asked_for() {
        let all = fields("[fields.a]\n[fields.b]\ndefault = \"x\"\n[fields.c]\nrequired = false\n");
        let given = |value: Value| check(&all, value.as_object().unwrap(), true);
        let values = given(json!({"a": "1"})).unwrap();
        assert_eq!(values, BTreeMap::from([("a".into(), "1".into()), ("b".into(), "x".into())]));
        assert_eq!(given(json!({})).unwrap_err()[0].field, "a");
        assert_eq!(given(json!({"a": "1", "z": "2"})).unwrap_err()[0].field, "z");
    }

    #[test]
    fn a_field_that_makes_no_sense_is_named() {
        for text in [
            "[fields.a]\npattern = \"x\"\n",
            "[fields.a]\npattern = \"^(?=x)$\"\n",
            "[fields.a]\nenum = [\"x\"]\nhosts = [\"a.test\"]\n",
            "[fields.a]\nhosts = [\"*.com\"]\n",
            "[fields.a]\nenum = [\"x\"]\nexample = \"y\"\n",
            "[fields.\"a.b\"]\n",
            "[fields.a]\nsurprise = 1\n",
        ] {
            let read = Source::new("x.toml", text).read(|top| Some(declare(top, false)));
            assert!(read.is_err(), "{text}");
        }
    }
}
