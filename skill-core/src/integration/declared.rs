//! Integrations declared in TOML, one file each.
//!
#![doc = include_str!("../../integrations/README.md")]

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use url::Url;

use super::{
    Integration, IntegrationInfo, Overrides, Verification,
    parameter::{Parameter, Place, fill_header, form, query, scalar},
    path::Path,
};
use crate::{
    credential::{AuthScheme, Field, field, scheme},
    declaration::{Problem, Source, Table},
    endpoint::{Draft, Endpoint, EndpointInfo},
    error::{Error, Result},
    name::Slug,
    record::{connection::Fields, execution::Class},
    schema::Schema,
    template::{Address, Template},
    transport::Payload,
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
    let slug = file.rsplit('/').next().unwrap_or(file).trim_end_matches(".toml").to_owned();
    let (bases, unknown) = super::bases(text);
    let bases = bases.into_iter();
    let source =
        bases.fold(Source::new(file, text), |source, (file, text)| source.extending(file, text));
    source.read_with(&overrides.0, |top| {
        if let (Some(_), Some(name)) = (top.text("extends"), unknown) {
            top.problem("extends", format!("there is no declaration `{name}` to extend"));
        }
        Some(Arc::new(read(&slug, top)?) as Arc<dyn Integration>)
    })
}

#[derive(Debug)]
struct Declared {
    info: IntegrationInfo,
    base: Address,
    fields: Vec<Field>,
    auth: Arc<dyn AuthScheme>,
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

    fn endpoint(&self, canonical: &str) -> Option<Arc<dyn Endpoint>> {
        self.endpoints.get(canonical).cloned()
    }

    fn endpoints(&self) -> Box<dyn Iterator<Item = Arc<dyn Endpoint>> + '_> {
        Box::new(self.endpoints.values().cloned())
    }
}

fn read(slug: &str, top: &Table<'_>) -> Option<Declared> {
    let slug = Slug::parse(slug)
        .inspect_err(|error| top.problem("", format!("the file's name is the slug: {error}")))
        .ok();
    let name = top.required_text("name").map(str::to_owned);
    let description = top.required_text("description").map(str::to_owned);
    let docs = top.text("docs").map(str::to_owned);
    let fields = field::declare(top, false);
    let base = base_url(top, &fields);
    let headers = headers(top, &fields);
    let auth = match top.table("auth") {
        Some(auth) => scheme::declare(&auth, &fields),
        None => {
            top.problem("auth", "expected a table `auth` with a `scheme`");
            None
        }
    };
    check_fields(top, &fields, auth.as_deref());
    let shared = top.table("params");
    let endpoints = endpoints(top, base.as_ref(), &headers, shared.as_ref());
    let verification = top.table("verify").and_then(|table| verification(&table, &endpoints));
    top.end();
    let info =
        IntegrationInfo { slug: slug?, name: name?, description: description?, docs, verification };
    Some(Declared { info, base: base?, fields, auth: auth?, endpoints })
}

fn base_url(top: &Table<'_>, fields: &[Field]) -> Option<Address> {
    let text = top.required_text("base_url")?;
    let address = field::address(text, fields).and_then(|address| match address.has_query() {
        true => Err(format!("expected a URL without a query, got `{text}`")),
        false => Ok(address),
    });
    address.map_err(|what| top.problem("base_url", format!("`base_url`: {what}"))).ok()
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
    let mut headers = Headers::new();
    let Some(table) = top.table("headers") else { return headers };
    for key in table.keys() {
        let value = table.text(key).map(|text| field::template(text, fields));
        match (HeaderName::try_from(key), value) {
            (Ok(name), Some(Ok(value))) => headers.push((name, value)),
            (Ok(_), Some(Err(what))) => table.problem(key, format!("`{key}`: {what}")),
            (Ok(_) | Err(_), _) => table.problem(key, format!("`{key}` is no header")),
        }
    }
    headers
}

fn verification(
    table: &Table<'_>,
    endpoints: &BTreeMap<Slug, Arc<dyn Endpoint>>,
) -> Option<Verification> {
    let (name, account) = (table.required_text("endpoint")?, table.text("account"));
    table.end();
    let endpoint = Slug::parse(name).ok().filter(|slug| endpoints.contains_key(slug));
    if endpoint.is_none() {
        table.problem("endpoint", format!("expected the name of an endpoint, got `{name}`"));
    }
    Some(Verification { endpoint: endpoint?, account: account.unwrap_or_default().to_owned() })
}

fn endpoints(
    top: &Table<'_>,
    base: Option<&Address>,
    headers: &Headers,
    shared: Option<&Table<'_>>,
) -> BTreeMap<Slug, Arc<dyn Endpoint>> {
    let mut endpoints = BTreeMap::<_, Arc<dyn Endpoint>>::new();
    let Some(tables) = top.table("endpoints") else {
        top.problem("endpoints", "expected at least one table `endpoints.NAME`");
        return endpoints;
    };
    let host = base.map(Address::host).unwrap_or_default();
    for key in tables.keys() {
        let Some(table) = tables.table(key) else { continue };
        let slug = Slug::parse(key);
        if let Err(error) = &slug {
            tables.problem(key, format!("`{key}`: {error}"));
        }
        let made = endpoint(key, &table, shared);
        table.end();
        let (Ok(slug), Some(mut made)) = (slug, made) else { continue };
        made.headers = headers.clone();
        made.info.revision = revision(&host, &made.info);
        if endpoints.insert(slug, Arc::new(made)).is_some() {
            tables.problem(key, format!("`{key}` stands twice (`_` and `-` are alike)"));
        }
    }
    endpoints
}

/// The hash of everything that changes what a call means.
fn revision(host: &str, info: &EndpointInfo) -> String {
    let meaning =
        json!([info.method.as_str(), host, info.path, info.schema.as_value(), info.class.as_str()]);
    let hash = Sha256::digest(meaning.to_string().as_bytes());
    data_encoding::HEXLOWER.encode(&hash[..8])
}

/// Headers by name; a value may have places for fields of the connection.
type Headers = Vec<(HeaderName, Template)>;

/// How a body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Json,
    Form,
}

#[derive(Debug)]
struct DeclaredEndpoint {
    info: EndpointInfo,
    headers: Headers,
    path: Path,
    /// Parameters that fill several places of the path: name, then the places in order.
    mapped: Vec<(String, Vec<String>)>,
    parameters: Vec<Parameter>,
    encoding: Encoding,
}

fn endpoint(key: &str, table: &Table<'_>, shared: Option<&Table<'_>>) -> Option<DeclaredEndpoint> {
    let summary = table.required_text("summary");
    let method = method(table);
    let path_text = table.required_text("path")?;
    let path = Path::parse(path_text).map_err(|what| table.problem("path", what)).ok()?;
    let encoding = match table.text("body") {
        None | Some("json") => Encoding::Json,
        Some("form") => Encoding::Form,
        Some(other) => {
            table.problem("body", format!("`body`: expected `json` or `form`, got `{other}`"));
            return None;
        }
    };
    let method = method?;
    let mapped = mapped(table);
    let parameters = parameters(table, shared, &method);
    check_places(table, &path, &mapped, &parameters);
    let schema = compile(table, &parameters)?;
    let info = EndpointInfo {
        name: Slug::parse(key).ok()?,
        summary: summary?.to_owned(),
        docs: table.text("docs").map(str::to_owned),
        path: path_text.to_owned(),
        schema,
        class: class(table, &method)?,
        is_idempotent: method.is_idempotent() || table.flag("idempotent"),
        is_at_most_once: table.flag("at_most_once"),
        idempotency_header: idempotency_header(table),
        timeout: table.count("timeout_s").map(|s| Duration::from_secs(u64::from(s.clamp(1, 300)))),
        revision: String::new(),
        method,
    };
    Some(DeclaredEndpoint { info, headers: Headers::new(), path, mapped, parameters, encoding })
}

fn method(table: &Table<'_>) -> Option<Method> {
    let text = table.required_text("method")?;
    let known = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];
    if !known.contains(&text) {
        table.problem("method", format!("expected one of {}, got `{text}`", known.join(", ")));
        return None;
    }
    Method::try_from(text).ok()
}

fn class(table: &Table<'_>, method: &Method) -> Option<Class> {
    let Some(text) = table.text("class") else {
        return Some(match *method {
            Method::GET | Method::HEAD => Class::Read,
            Method::DELETE => Class::Destructive,
            _ => Class::Write,
        });
    };
    let class = Class::parse(text);
    if class.is_none() {
        table.problem("class", format!("expected `read`, `write` or `destructive`, got `{text}`"));
    }
    class
}

fn idempotency_header(table: &Table<'_>) -> Option<HeaderName> {
    let text = table.text("idempotency_header")?;
    let name = HeaderName::try_from(text);
    if name.is_err() {
        table.problem("idempotency_header", format!("`{text}` is no header name"));
    }
    name.ok()
}

/// `param_mapping = { repo = "{owner}/{repo}" }`
fn mapped(table: &Table<'_>) -> Vec<(String, Vec<String>)> {
    let Some(mapping) = table.table("param_mapping") else { return Vec::new() };
    let mut mapped = Vec::new();
    for key in mapping.keys() {
        let Some(text) = mapping.text(key) else { continue };
        let names = text.split('/').map(|part| part.strip_prefix('{')?.strip_suffix('}'));
        match names.collect::<Option<Vec<_>>>() {
            Some(names) => {
                let names = names.into_iter().map(str::to_owned).collect();
                mapped.push((key.to_owned(), names));
            }
            None => mapping.problem(
                key,
                format!("expected places such as `{{owner}}/{{repo}}`, got `{text}`"),
            ),
        }
    }
    mapped
}

/// Reads `params`; a string names one of the integration's shared parameters.
fn parameters(table: &Table<'_>, shared: Option<&Table<'_>>, method: &Method) -> Vec<Parameter> {
    let Some(tables) = table.table("params") else { return Vec::new() };
    let standard = match *method {
        Method::GET | Method::HEAD | Method::DELETE => "query",
        _ => "body",
    };
    let read = |key| {
        if !tables.is_text(key) {
            return Parameter::declare(key, &tables.table(key)?, standard);
        }
        let name = tables.text(key)?;
        let found = shared.and_then(|shared| shared.table_if_any(name));
        if found.is_none() {
            tables.problem(key, format!("expected a shared parameter `params.{name}`"));
        }
        Parameter::declare(key, &found?, standard)
    };
    tables.keys().filter_map(read).collect()
}

/// Every place of the path is filled by exactly one parameter, and none is left over.
fn check_places(
    table: &Table<'_>,
    path: &Path,
    mapped: &[(String, Vec<String>)],
    parameters: &[Parameter],
) {
    let direct = parameters.iter().filter(|p| p.place == Place::Path).map(|p| p.name.as_str());
    let direct = direct.filter(|name| mapped.iter().all(|(parameter, _)| parameter != name));
    let mut filled = direct.collect::<Vec<_>>();
    filled.extend(mapped.iter().flat_map(|(_, names)| names.iter().map(String::as_str)));
    for name in path.names().filter(|name| !filled.contains(name)) {
        table.problem("path", format!("no parameter fills `{{{name}}}`"));
    }
    for name in filled.iter().filter(|name| path.names().all(|known| known != **name)) {
        table.problem("params", format!("the path has no place `{{{name}}}`"));
    }
    for (parameter, _) in mapped {
        let is_path = |p: &&Parameter| p.name == *parameter && p.place == Place::Path;
        if parameters.iter().find(is_path).is_none() {
            let what = format!("expected a parameter `{parameter}` with `in = \"path\"`");
            table.problem("param_mapping", what);
        }
    }
}

/// One schema for all parameters. Parameters that are not declared are allowed, and ignored.
fn compile(table: &Table<'_>, parameters: &[Parameter]) -> Option<Schema> {
    let properties =
        parameters.iter().map(|p| (p.name.clone(), p.schema.clone())).collect::<Map<_, _>>();
    let required = parameters.iter().filter(|p| p.is_required).map(|p| &p.name).collect::<Vec<_>>();
    let mut schema = json!({"type": "object", "properties": properties});
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    Schema::compile(schema)
        .inspect_err(|error| table.problem("params", error.message().to_owned()))
        .ok()
}

impl Endpoint for DeclaredEndpoint {
    fn info(&self) -> &EndpointInfo {
        &self.info
    }

    fn request(&self, params: &Map<String, Value>, fields: &Fields) -> Result<Draft> {
        let mut target = self.path.fill(&self.places(params)?)?;
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let find = |name: &str| fields.get(name).map(String::as_str);
            headers.insert(name, value.header(&find)?);
        }
        let (mut members, mut whole) = (Map::new(), None);
        for parameter in &self.parameters {
            let Some(value) = params.get(&parameter.name) else { continue };
            match &parameter.place {
                Place::Path => {}
                Place::Query(..) | Place::Header(_) if value.is_null() => {}
                Place::Query(wire, list) => query(&mut target, wire, *list, value)?,
                Place::Header(name) => fill_header(&mut headers, name, value)?,
                Place::Body(wire) => drop(members.insert(wire.clone(), value.clone())),
                Place::WholeBody => whole = Some(value),
            }
        }
        let has_body = self.parameters.iter().any(|p| matches!(p.place, Place::Body(_)));
        let body = match (whole, self.encoding) {
            (Some(value), _) => Some((value.to_string(), "application/json")),
            (None, _) if !has_body => None,
            (None, Encoding::Json) => {
                Some((Value::Object(members).to_string(), "application/json"))
            }
            (None, Encoding::Form) => Some((form(&members), "application/x-www-form-urlencoded")),
        };
        let mut draft = Draft { target, headers, body: Payload::Empty };
        if let Some((text, kind)) = body {
            draft.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
            draft.body = Payload::Bytes(text.into());
        }
        Ok(draft)
    }
}

impl DeclaredEndpoint {
    /// The value for each place of the path, with the parameter it comes from.
    fn places<'a>(
        &'a self,
        params: &Map<String, Value>,
    ) -> Result<BTreeMap<&'a str, (&'a str, String)>> {
        let mut places = BTreeMap::new();
        for parameter in self.parameters.iter().filter(|p| p.place == Place::Path) {
            let name = parameter.name.as_str();
            let value = params.get(name).and_then(scalar).ok_or_else(|| {
                Error::invalid(format!("the parameter `{name}` cannot be used"))
                    .detail(name, "expected text or a number")
            })?;
            let Some((_, names)) = self.mapped.iter().find(|(mapped, _)| mapped == name) else {
                places.insert(name, (name, value));
                continue;
            };
            let parts = value.split('/').collect::<Vec<_>>();
            if parts.len() != names.len() {
                let shape = names.join("/");
                return Err(Error::invalid(format!("the parameter `{name}` cannot be used"))
                    .detail(name, format!("expected text of the form `{shape}`")));
            }
            let pairs = names.iter().zip(parts);
            places.extend(pairs.map(|(place, part)| (place.as_str(), (name, part.to_owned()))));
        }
        Ok(places)
    }
}

#[cfg(test)]
mod tests;
