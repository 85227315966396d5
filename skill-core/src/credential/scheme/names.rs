//! What templates of a scheme may name, and what stands for it.

use http::HeaderName;

use crate::{
    credential::{Client, Credential, Exchange, Field, Moment},
    declaration::Table,
    record::connection::Fields,
    template::{Address, Template},
};

/// What templates may name of the moment.
const MOMENT: [&str; 4] = ["moment.seconds", "moment.milliseconds", "moment.time", "moment.nonce"];

/// The words of a moment.
pub(super) struct Words([String; 4]);

impl Words {
    pub(super) fn of(at: &Moment) -> Self {
        let seconds = at.now.as_second();
        let whole = jiff::Timestamp::from_second(seconds).unwrap_or(at.now);
        Self([
            seconds.to_string(),
            at.now.as_millisecond().to_string(),
            whole.to_string(),
            data_encoding::HEXLOWER.encode(&at.nonce),
        ])
    }

    pub(super) fn pairs(&self) -> [(&'static str, &str); 4] {
        let [seconds, milliseconds, time, nonce] = &self.0;
        [
            (MOMENT[0], seconds.as_str()),
            (MOMENT[1], milliseconds.as_str()),
            (MOMENT[2], time.as_str()),
            (MOMENT[3], nonce.as_str()),
        ]
    }
}

/// What the templates of a table may name: fields of the connection as they are, and everything
/// else with its space, as `credential.api_key`.
#[derive(Debug, Clone)]
pub(super) struct Names<'a> {
    pub(super) fields: &'a [Field],
    others: Vec<String>,
}

impl<'a> Names<'a> {
    pub(super) fn new(fields: &'a [Field], others: &[&str]) -> Self {
        Self { fields, others: others.iter().map(|name| (*name).to_owned()).collect() }
    }

    /// With the parts of a credential.
    pub(super) fn credential<'n>(mut self, names: impl IntoIterator<Item = &'n str>) -> Self {
        self.others.extend(names.into_iter().map(|name| format!("credential.{name}")));
        self
    }

    /// With the words of the moment.
    pub(super) fn moment(mut self) -> Self {
        self.others.extend(MOMENT.map(str::to_owned));
        self
    }

    fn check<'n>(&self, mut names: impl Iterator<Item = &'n str>) -> Result<(), String> {
        let is_known = |name: &str| {
            self.others.iter().any(|known| known == name)
                || self.fields.iter().any(|field| field.name == name)
        };
        let Some(name) = names.find(|name| !is_known(name)) else { return Ok(()) };
        let known = self.fields.iter().map(|field| &field.name).chain(&self.others);
        let known = known.map(String::as_str).collect::<Vec<_>>().join("`, `");
        Err(format!("`{{{name}}}` is not known here; known are `{known}`"))
    }

    pub(super) fn parse(&self, text: &str) -> Result<Template, String> {
        let template = Template::parse(text)?;
        self.check(template.names())?;
        Ok(template)
    }

    /// The template under a key.
    pub(super) fn template(&self, table: &Table<'_>, key: &str) -> Option<Template> {
        let parsed = self.parse(table.text(key)?);
        parsed.map_err(|what| table.problem(key, format!("`{key}`: {what}"))).ok()
    }

    /// The address under a key; only fields may have a part in its host.
    pub(super) fn address(&self, table: &Table<'_>, key: &str) -> Option<Address> {
        let rule =
            |name: &str| self.fields.iter().find(|field| field.name == name).map(Field::host_rule);
        let parsed = Address::parse(table.text(key)?, &rule)
            .and_then(|address| self.check(address.names()).map(|()| address));
        parsed.map_err(|what| table.problem(key, format!("`{key}`: {what}"))).ok()
    }

    /// An address that must be there.
    pub(super) fn required_address(&self, table: &Table<'_>, key: &str) -> Option<Address> {
        if !table.has(key) {
            table.problem(key, format!("expected `{key}`, a URL"));
        }
        self.address(table, key)
    }

    /// The templates of the table under a key, by name.
    pub(super) fn templates(&self, table: &Table<'_>, key: &str) -> Vec<(String, Template)> {
        let Some(inner) = table.table(key) else { return Vec::new() };
        let pairs =
            inner.keys().filter_map(|name| Some((name.to_owned(), self.template(&inner, name)?)));
        pairs.collect()
    }

    /// The headers of the table under `headers`.
    pub(super) fn headers(&self, table: &Table<'_>) -> Vec<(HeaderName, Template)> {
        let headers = self.templates(table, "headers").into_iter().filter_map(|(name, value)| {
            let header = HeaderName::try_from(&name);
            let problem = |_| table.problem("headers", format!("`{name}` is no header name"));
            Some((header.map_err(problem).ok()?, value))
        });
        headers.collect()
    }
}

/// What stands for names.
#[derive(Clone, Copy)]
pub(super) struct Values<'a> {
    pub(super) fields: Option<&'a Fields>,
    pub(super) client: Option<&'a Client>,
    pub(super) credential: &'a Credential,
    /// Everything else, by its whole name.
    pub(super) others: &'a [(&'a str, &'a str)],
}

impl<'a> Values<'a> {
    pub(super) fn of(exchange: &Exchange<'a>, credential: &'a Credential) -> Self {
        Self { fields: Some(exchange.fields), client: exchange.client, credential, others: &[] }
    }

    pub(super) fn find(&self, name: &str) -> Option<&'a str> {
        use secrecy::ExposeSecret;
        match name.split_once('.') {
            // What was found out just now is newer than what is kept.
            None => self
                .credential
                .facts
                .get(name)
                .or_else(|| self.fields?.get(name))
                .map(String::as_str)
                .or_else(|| self.other(name)),
            Some(("credential", part)) => self.credential.find(part),
            Some(("client", "id")) => self.client.map(|client| client.id.as_str()),
            Some(("client", "secret")) => {
                self.client?.secret.as_ref().map(ExposeSecret::expose_secret)
            }
            Some(_) => self.other(name),
        }
    }

    fn other(&self, name: &str) -> Option<&'a str> {
        self.others.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }
}
