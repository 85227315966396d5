//! Integrations declared in TOML, one file each.
//!
#![doc = include_str!("../../integrations/README.md")]

use std::{collections::BTreeMap, sync::Arc};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde_json::Value;
use url::Url;

use super::{
    Integration, IntegrationInfo, Overrides, Setup, Verification, Verified,
    base::{self, Hosts},
    door::{self, Doorway},
    endpoint::{endpoint, revision},
    listing::Shared,
    quota::Quota,
    sign::Sign,
};
use crate::{
    credential::{AuthScheme, Field, field, scheme::Schemes},
    declaration::{Problem, Source, Table},
    endpoint::Endpoint,
    error::Result,
    name::Slug,
    raw::Door,
    record::connection::Fields,
    template::{Address, Template},
};

/// Reads the declaration `text`, which lies in `file`, changed by `overrides`. What it extends is
/// one of the bundled declarations.
///
/// # Errors
/// Every problem at once, with file and line.
///
/// ```
/// use skill_core::integration::{Overrides, declared};
/// let text = r#"
/// name = "Clock"
/// description = "Tells the time."
/// base_url = "https://clock.example.com"
/// auth = { scheme = "none" }
///
/// [endpoints.get_time]
/// summary = "Tell the time"
/// method = "GET"
/// path = "/time/{zone}"
/// params = { zone = { in = "path", type = "string" } }
/// "#;
/// let clock = declared("clock.toml", text, &Overrides::default()).expect("a valid declaration");
/// assert!(clock.endpoint("get-time").is_some());
/// ```
pub fn declared(
    file: &str,
    text: &str,
    overrides: &Overrides,
) -> Result<Arc<dyn Integration>, Vec<Problem>> {
    declared_with(file, text, overrides, &Schemes::default())
}

/// As [`declared`], where `auth` may name one of `schemes` besides the known ones.
///
/// # Errors
/// As [`declared`].
pub fn declared_with(
    file: &str,
    text: &str,
    overrides: &Overrides,
    schemes: &Schemes,
) -> Result<Arc<dyn Integration>, Vec<Problem>> {
    load(Source::new(file, text), (file, text), (overrides, schemes))
}

/// As [`declared`], for a declaration that was checked when this crate was built.
pub(super) fn bundled(
    file: &str,
    text: &str,
    overrides: &Overrides,
) -> Result<Arc<dyn Integration>, Vec<Problem>> {
    load(Source::new(file, text).trusted(), (file, text), (overrides, &Schemes::default()))
}

/// The declaration `text` as it is in force: with what it extends, changed by `overrides`. Whether it
/// makes an integration is [`declared`]'s to say.
///
/// # Errors
/// What is no TOML, and a declaration to extend that there is not.
pub fn effective(file: &str, text: &str, overrides: &Overrides) -> Result<Value, Vec<Problem>> {
    let (source, unknown) = extending(Source::new(file, text), text);
    source.read_with(&instead(overrides), |top| {
        tell_unknown(top, unknown);
        top.whole()
    })
}

fn load(
    source: Source<'_>,
    (file, text): (&str, &str),
    (overrides, schemes): (&Overrides, &Schemes),
) -> Result<Arc<dyn Integration>, Vec<Problem>> {
    let slug = file.rsplit('/').next().unwrap_or(file).trim_end_matches(".toml").to_owned();
    let (source, unknown) = extending(source, text);
    source.read_with(&instead(overrides), |top| {
        tell_unknown(top, unknown);
        Some(Arc::new(read(&slug, top, schemes)?) as Arc<dyn Integration>)
    })
}

/// The source with what `text` extends, and the name of a declaration that there is not.
fn extending<'a>(source: Source<'a>, text: &str) -> (Source<'a>, Option<String>) {
    let (bases, unknown) = super::bases(text);
    let bases = bases.into_iter();
    (bases.fold(source, |source, (file, text)| source.extending(file, text)), unknown)
}

fn tell_unknown(top: &Table<'_>, unknown: Option<String>) {
    if let (Some(_), Some(name)) = (top.text("extends"), unknown) {
        top.problem("extends", format!("there is no declaration `{name}` to extend"));
    }
}

fn instead(overrides: &Overrides) -> BTreeMap<String, Vec<String>> {
    let mut instead = overrides.0.clone();
    if instead.contains_key("auth.authorize_url") && !instead.contains_key("auth.issuer") {
        // Another provider answers with another name than the declared one.
        instead.insert("auth.issuer".to_owned(), Vec::new());
    }
    instead
}

/// Headers of every request: as they are, and with places for fields of the connection.
#[derive(Debug, Clone, Default)]
pub(super) struct Headers {
    pub(super) fixed: HeaderMap,
    pub(super) filled: Vec<(HeaderName, Template)>,
}

#[derive(Debug)]
struct Declared {
    info: IntegrationInfo,
    base: Address,
    fields: Vec<Field>,
    auth: Arc<dyn AuthScheme>,
    expired: Vec<Sign>,
    busy: Vec<Sign>,
    quota: Quota,
    /// Its raw door, unless it is shut.
    door: Option<Doorway>,
    endpoints: BTreeMap<Slug, Arc<dyn Endpoint>>,
}

impl Integration for Declared {
    fn info(&self) -> &IntegrationInfo {
        &self.info
    }

    fn base(&self, fields: &Fields) -> Result<Url> {
        self.base.fill(&|name| fields.get(name).map(String::as_str))
    }

    fn fields(&self) -> &[Field] {
        &self.fields
    }

    fn auth(&self) -> &dyn AuthScheme {
        &*self.auth
    }

    fn says_expired(&self, status: StatusCode, body: Option<&Value>) -> bool {
        self.auth.says_expired(status) || self.expired.iter().any(|sign| sign.fits(status, body))
    }

    fn says_busy(&self, status: StatusCode, body: Option<&Value>) -> bool {
        matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE)
            || self.busy.iter().any(|sign| sign.fits(status, body))
    }

    fn reads_refusal(&self, status: StatusCode) -> bool {
        let mut signs = self.expired.iter().chain(&self.busy);
        !self.auth.says_expired(status) && signs.any(|sign| sign.needs_body(status))
    }

    fn quota(&self) -> &Quota {
        &self.quota
    }

    fn raw(&self, fields: &Fields) -> Result<Option<Door>> {
        let open = |doorway: &Doorway| doorway.open(self.base(fields)?, fields);
        self.door.as_ref().map(open).transpose()
    }

    fn endpoint(&self, canonical: &str) -> Option<Arc<dyn Endpoint>> {
        self.endpoints.get(canonical).cloned()
    }

    fn endpoints(&self) -> Box<dyn Iterator<Item = Arc<dyn Endpoint>> + '_> {
        Box::new(self.endpoints.values().cloned())
    }
}

fn read(slug: &str, top: &Table<'_>, schemes: &Schemes) -> Option<Declared> {
    let slug = Slug::parse(slug)
        .inspect_err(|error| top.problem("", format!("the file's name is the slug: {error}")))
        .ok();
    let name = top.required_text("name").map(str::to_owned);
    let description = top.required_text("description").map(str::to_owned);
    let docs = top.text("docs").map(str::to_owned);
    let source = top.texts("source").into_iter().map(str::to_owned).collect();
    let verified = verified(top);
    let setup = top.table("setup").and_then(|table| setup(&table));
    let fields = field::declare(top, false);
    let base = base::declare(top, &fields);
    let headers = headers(top, &fields);
    let auth = match top.table("auth") {
        Some(auth) => schemes.declare(&auth, &fields),
        None => {
            top.problem("auth", "expected a table `auth` with a `scheme`");
            None
        }
    };
    check_fields(top, &fields, auth.as_deref());
    let (endpoints, known) = endpoints(top, &Hosts::read(top, base.as_ref(), &fields), &headers);
    let door = door::declare(top, headers, known);
    let signs = |key| top.tables(key).iter().filter_map(Sign::declare).collect();
    let (expired, busy) = (signs("expired"), signs("busy"));
    let quota = top.table_if_any("quota").map_or(Quota::STANDARD, |table| Quota::declare(&table));
    let verification = top.table("verify").and_then(|table| verification(&table, &endpoints));
    top.end();
    let info = IntegrationInfo {
        slug: slug?,
        name: name?,
        description: description?,
        docs,
        source,
        verified,
        setup,
        verification,
    };
    Some(Declared { info, base: base?, fields, auth: auth?, expired, busy, quota, door, endpoints })
}

fn verified(top: &Table<'_>) -> Option<Verified> {
    let text = top.text("verified")?;
    let verified = Verified::parse(text);
    if verified.is_none() {
        let expected = "`verified`: expected `described`, `mocked` or `live`";
        top.problem("verified", format!("{expected}, got `{text}`"));
    }
    verified
}

/// Where an operator gets what people connect through, step by step.
fn setup(table: &Table<'_>) -> Option<Setup> {
    let web = |key| {
        let text = table.required_text(key)?;
        let is_web = Url::parse(text).is_ok_and(|url| url.scheme() == "https");
        if !is_web {
            table.problem(key, format!("`{key}`: expected an https URL, got `{text}`"));
        }
        is_web.then(|| text.to_owned())
    };
    let (url, source) = (web("url"), web("source"));
    let steps: Vec<_> = table.texts("steps").into_iter().map(str::to_owned).collect();
    if steps.is_empty() {
        table.problem("steps", "`steps`: expected at least one sentence");
    }
    table.end();
    Some(Setup { url: url?, source: source?, steps })
}

/// Fields are facts that calls need, kept as they are. What is secret belongs to the scheme, and
/// no name stands for both.
fn check_fields(top: &Table<'_>, fields: &[Field], auth: Option<&dyn AuthScheme>) {
    let Some(tables) = top.table_if_any("fields") else { return };
    let taken = auth.map_or(&[][..], AuthScheme::fields);
    for Field { name, is_secret, .. } in fields {
        if *is_secret {
            tables.problem(name, format!("`{name}`: a secret field stands under `auth.fields`"));
        }
        if taken.iter().any(|field| field.name == *name) {
            tables.problem(name, format!("`{name}` stands under `auth.fields` too"));
        }
    }
}

/// Headers that go out with every request.
fn headers(top: &Table<'_>, fields: &[Field]) -> Headers {
    let mut headers = Headers::default();
    let Some(table) = top.table("headers") else { return headers };
    for key in table.keys() {
        let (name, text) = (HeaderName::try_from(key), table.text(key).unwrap_or_default());
        let value = HeaderValue::from_str(text);
        match (name, field::template(text, fields)) {
            (Ok(_), Err(what)) => table.problem(key, format!("`{key}`: {what}")),
            (Ok(name), Ok(template)) if !template.is_literal() => {
                headers.filled.push((name, template));
            }
            (Ok(name), Ok(_)) if value.is_ok() => headers.fixed.extend(value.map(|v| (name, v))),
            (Ok(_) | Err(_), _) => table.problem(key, format!("`{key}` is no header")),
        }
    }
    headers
}

fn verification(
    table: &Table<'_>,
    endpoints: &BTreeMap<Slug, Arc<dyn Endpoint>>,
) -> Option<Verification> {
    let find = |key: &str, name: &str| {
        let endpoint = Slug::parse(name).ok().filter(|slug| endpoints.contains_key(slug));
        if endpoint.is_none() {
            table.problem(key, format!("expected the name of an endpoint, got `{name}`"));
        }
        endpoint
    };
    let (name, account) = (table.required_text("endpoint")?, table.text("account"));
    let profile = table.text("profile").map(|name| find("profile", name));
    table.end();
    let account = account.unwrap_or_default().to_owned();
    let profile = match profile {
        None => None,
        Some(found) => Some(found?),
    };
    Some(Verification { endpoint: find("endpoint", name)?, profile, account })
}

fn endpoints(
    top: &Table<'_>,
    hosts: &Hosts<'_>,
    headers: &Headers,
) -> (BTreeMap<Slug, Arc<dyn Endpoint>>, Vec<HeaderName>) {
    let mut endpoints = BTreeMap::<_, Arc<dyn Endpoint>>::new();
    let mut known = Vec::new();
    let Some(tables) = top.table("endpoints") else {
        top.problem("endpoints", "expected at least one table `endpoints.NAME`");
        return (endpoints, known);
    };
    let shared = Shared::read(top);
    for key in tables.keys() {
        let Some(table) = tables.table(key) else { continue };
        let slug = Slug::parse(key);
        if let Err(error) = &slug {
            tables.problem(key, format!("`{key}`: {error}"));
        }
        let made = endpoint(key, &table, &shared);
        let base = hosts.declare(&table);
        if made.is_some() {
            table.end();
        }
        let (Ok(slug), Some(mut made)) = (slug, made) else { continue };
        if slug.is_raw() {
            tables.problem(key, format!("`{key}` is the name of the raw door"));
        }
        known.extend(made.known_headers());
        made.headers = headers.clone();
        let elsewhere = table.text("base_url").map(|text| format!("{} {text}", hosts.own()));
        made.info.revision =
            revision(elsewhere.as_deref().unwrap_or_else(|| hosts.own()), &made.info);
        made.base = base;
        if endpoints.insert(slug, Arc::new(made)).is_some() {
            tables.problem(key, format!("`{key}` stands twice (`_` and `-` are alike)"));
        }
    }
    (endpoints, known)
}

#[cfg(test)]
mod tests;
