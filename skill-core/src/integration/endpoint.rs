//! Declared endpoints: from parameters to a request.

use std::{borrow::Cow, mem, sync::Arc, time::Duration};

use http::{HeaderName, HeaderValue, Method, header};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::{
    base::Base,
    body::{self, Encoding},
    declared::Headers,
    listing::{self, Shared},
    pages,
    parameter::{List, Parameter, Place, fill_header, query, text},
    path::{Filled, Path},
};
use crate::{
    declaration::Table,
    endpoint::{self, Draft, Endpoint, EndpointInfo, File, no_file},
    error::{Error, Result},
    name::Slug,
    record::{connection::Fields, execution::Class},
    schema::Schema,
    tool,
    transport::Payload,
};

/// The hash of everything that changes what a call means.
pub(super) fn revision(host: &str, info: &EndpointInfo) -> Arc<str> {
    let meaning =
        json!([info.method.as_str(), host, info.path, info.schema.as_value(), info.class.as_str()]);
    let hash = Sha256::digest(meaning.to_string().as_bytes());
    data_encoding::HEXLOWER.encode(&hash[..8]).into()
}

#[derive(Debug)]
pub(super) struct DeclaredEndpoint {
    pub(super) info: EndpointInfo,
    pub(super) headers: Headers,
    path: Path,
    /// Parameters that fill several places of the path: name, then the places in order.
    mapped: Vec<(String, Vec<String>)>,
    parameters: Vec<Parameter>,
    /// What the declaration sends with every call: where it stands in the request, and what it is.
    fixed: Vec<(Place, Value)>,
    encoding: Encoding,
    /// What its path lies under, when that is not the base of its integration.
    pub(super) base: Option<Base>,
}

pub(super) fn endpoint(
    key: &str,
    table: &Table<'_>,
    shared: &Shared<'_>,
) -> Option<DeclaredEndpoint> {
    let summary = table.required_text("summary");
    let method = method(table);
    let path_text = table.required_text("path")?;
    let path = Path::parse(path_text).map_err(|what| table.problem("path", what)).ok()?;
    let (encoding, method) = (Encoding::declare(table)?, method?);
    let mapped = mapped(table);
    let mut parameters = parameters(table, shared.params.as_ref(), &method);
    check_places(table, &path, &mapped, &parameters);
    let fixed = fixed(table, &method);
    check_names(table, &encoding, &parameters, &fixed);
    let pages = pages::declare(table, shared.pages.as_ref(), &parameters);
    let schema = compile(table, &mut parameters)?;
    let example = listing::example(table, &schema);
    let tool = tool::declare(table, shared.inputs.as_ref(), schema.as_value());
    let summary = summary?.to_owned();
    let info = EndpointInfo {
        name: Slug::parse(key).ok()?,
        docs: table.text("docs").map(str::to_owned),
        path: path_text.to_owned(),
        class: class(table, &method)?,
        is_idempotent: is_idempotent(table, &method),
        is_at_most_once: table.flag("at_most_once"),
        idempotency_header: idempotency_header(table),
        timeout: table.count("timeout_s").map(|s| Duration::from_secs(u64::from(s.clamp(1, 300)))),
        rate_limit: listing::rate_limit(table),
        status: listing::status(table),
        group: listing::group(table, path_text)?,
        pages,
        tool: tool.showing(&summary, example.as_ref()),
        summary,
        example,
        takes_file: encoding.takes_file(),
        answers_file: answers_file(table),
        revision: "".into(),
        schema,
        method,
    };
    check_file(table, &info);
    Some(DeclaredEndpoint {
        info,
        headers: Headers::default(),
        path,
        mapped,
        parameters,
        fixed,
        encoding,
        base: None,
    })
}

/// What streams is not kept, and no tool carries a file.
fn check_file(table: &Table<'_>, info: &EndpointInfo) {
    if (info.takes_file || info.answers_file) && info.is_at_most_once {
        table.problem("at_most_once", "`at_most_once`: a call with a file is not kept");
    }
    if info.takes_file && !info.tool.is_hidden {
        table.problem("tool", "`tool`: expected `false`, because a tool carries no file");
    }
    if info.takes_file && matches!(info.method, Method::GET | Method::HEAD) {
        table.problem("method", format!("`method`: {} carries no file", info.method));
    }
}

fn answers_file(table: &Table<'_>) -> bool {
    match table.text("answer") {
        None => false,
        Some("file") => true,
        Some(other) => {
            table.problem("answer", format!("`answer`: expected `file`, got `{other}`"));
            false
        }
    }
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

fn is_idempotent(table: &Table<'_>, method: &Method) -> bool {
    match table.has("idempotent") {
        true => table.flag("idempotent"),
        false => method.is_idempotent(),
    }
}

fn idempotency_header(table: &Table<'_>) -> Option<HeaderName> {
    let text = table.text("idempotency_header")?;
    let name = HeaderName::try_from(text);
    if name.is_err() {
        table.problem("idempotency_header", format!("`{text}` is no header name"));
    }
    name.ok()
}

/// Where a parameter goes when it does not say.
fn standard(method: &Method) -> &'static str {
    match *method {
        Method::GET | Method::HEAD | Method::DELETE => "query",
        _ => "body",
    }
}

/// `fixed = { supportsAllDrives = true }`; a name that begins with `?` stands in the query.
fn fixed(table: &Table<'_>, method: &Method) -> Vec<(Place, Value)> {
    let Some(fixed) = table.table("fixed") else { return Vec::new() };
    let pairs = fixed.keys().filter_map(|name| {
        let place = match (name.strip_prefix('?'), standard(method)) {
            (Some(name), _) => Place::Query(name.to_owned(), List::Repeat),
            (None, "query") => Place::Query(name.to_owned(), List::Repeat),
            (None, _) => Place::Body(name.to_owned()),
        };
        Some((place, fixed.json(name)?))
    });
    pairs.collect()
}

/// A name that begins with `/` leads into a JSON body: `/variables/id`.
fn check_names(
    table: &Table<'_>,
    encoding: &Encoding,
    parameters: &[Parameter],
    fixed: &[(Place, Value)],
) {
    let places = || parameters.iter().map(|p| &p.place).chain(fixed.iter().map(|(place, _)| place));
    encoding.check(table, places());
    let names = places().filter_map(|place| match place {
        Place::Body(name) => Some(name.as_str()),
        Place::Path | Place::Query(..) | Place::Header(_) | Place::WholeBody => None,
    });
    let mut names = names.collect::<Vec<_>>();
    names.sort_unstable();
    for pair in names.windows(2) {
        let inner = pair[1].strip_prefix(pair[0]);
        if pair[0] == pair[1]
            || (pair[0].starts_with('/') && inner.is_some_and(|r| r.starts_with('/')))
        {
            table.problem("params", format!("`{}` and `{}` stand in one place", pair[0], pair[1]));
        }
    }
}

/// Puts a value into the body, where its name leads.
fn place(members: &mut Map<String, Value>, name: &str, value: Value) {
    let Some(inner) = name.strip_prefix('/') else {
        members.insert(name.to_owned(), value);
        return;
    };
    let Some((first, _)) = inner.split_once('/') else {
        members.insert(inner.to_owned(), value);
        return;
    };
    let below = members.entry(first.to_owned()).or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(below) = below {
        place(below, &inner[first.len()..], value);
    }
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
    let standard = standard(method);
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

/// One schema for all parameters, which is made of theirs: nothing is kept twice. Parameters that
/// are not declared are allowed, and ignored.
fn compile(table: &Table<'_>, parameters: &mut [Parameter]) -> Option<Schema> {
    let properties = parameters.iter_mut().map(|p| (p.name.clone(), mem::take(&mut p.schema)));
    let properties = properties.collect::<Map<_, _>>();
    let required = parameters.iter().filter(|p| p.is_required).map(|p| &p.name).collect::<Vec<_>>();
    let mut schema = json!({"type": "object", "properties": properties});
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    // Compiling hundreds of schemas that nobody may ever call would be most of a start.
    if table.is_trusted() {
        return Some(Schema::trusted(schema));
    }
    Schema::compile(schema)
        .inspect_err(|error| table.problem("params", error.message().to_owned()))
        .ok()
}

impl Endpoint for DeclaredEndpoint {
    fn info(&self) -> &EndpointInfo {
        &self.info
    }

    fn place(&self, parameter: &str) -> Option<endpoint::Place> {
        let found = self.parameters.iter().find(|known| known.name == parameter)?;
        Some(match found.place {
            Place::Path => endpoint::Place::Path,
            Place::Query(..) => endpoint::Place::Query,
            Place::Header(_) => endpoint::Place::Header,
            Place::Body(_) => endpoint::Place::Body,
            Place::WholeBody => endpoint::Place::WholeBody,
        })
    }

    fn request(&self, params: &Map<String, Value>, fields: &Fields) -> Result<Draft> {
        if self.info.takes_file {
            return Err(Error::invalid("expected a file with this call, beside its parameters"));
        }
        let (mut draft, members, whole) = self.fill(params, fields)?;
        let places = self.parameters.iter().map(|p| &p.place);
        let mut places = places.chain(self.fixed.iter().map(|(place, _)| place));
        let has_body = places.any(|place| matches!(place, Place::Body(_)));
        let body = match whole {
            Some(value) => Some((value.to_string(), "application/json")),
            None => has_body.then(|| self.encoding.write(members)),
        };
        if let Some((text, kind)) = body {
            draft.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
            draft.body = Payload::Bytes(text.into());
        }
        Ok(draft)
    }

    fn upload(&self, params: &Map<String, Value>, fields: &Fields, file: File) -> Result<Draft> {
        let Encoding::File(form, part) = &self.encoding else {
            return Err(no_file());
        };
        let (mut draft, members, _) = self.fill(params, fields)?;
        draft.body = body::with_file((*form, part), (&members, file), &mut draft.headers)?;
        Ok(draft)
    }
}

/// A request without its body, the members of that, and what is the whole of it.
type Written<'a> = (Draft, Map<String, Value>, Option<&'a Value>);

impl DeclaredEndpoint {
    fn fill<'a>(&'a self, params: &'a Map<String, Value>, fields: &Fields) -> Result<Written<'a>> {
        let mut target = self.path.fill(&self.places(params)?)?;
        let mut headers = self.headers.fixed.clone();
        for (name, value) in &self.headers.filled {
            let find = |name: &str| fields.get(name).map(String::as_str);
            headers.insert(name, value.header(&find)?);
        }
        let (mut members, mut whole) = (Map::new(), None);
        let given = self.parameters.iter();
        let given = given.filter_map(|p| Some((&p.place, params.get(&p.name)?)));
        for (stands, value) in self.fixed.iter().map(|(place, value)| (place, value)).chain(given) {
            match stands {
                Place::Path => {}
                Place::Query(..) | Place::Header(_) if value.is_null() => {}
                Place::Query(wire, list) => query(&mut target, wire, *list, value)?,
                Place::Header(name) => fill_header(&mut headers, name, value)?,
                Place::Body(wire) => place(&mut members, wire, value.clone()),
                Place::WholeBody => whole = Some(value),
            }
        }
        let under = self.base.as_ref().map(|base| base.fill(fields)).transpose()?;
        Ok((Draft { target, under, headers, body: Payload::Empty }, members, whole))
    }

    /// The headers of its service that callers fill.
    pub(super) fn known_headers(&self) -> impl Iterator<Item = HeaderName> + '_ {
        let filled = self.parameters.iter().filter_map(|parameter| match &parameter.place {
            Place::Header(name) => Some(name.clone()),
            Place::Path | Place::Query(..) | Place::Body(_) | Place::WholeBody => None,
        });
        filled.chain(self.info.idempotency_header.clone())
    }

    /// The value for each place of the path.
    fn places<'a>(&'a self, params: &'a Map<String, Value>) -> Result<Vec<Filled<'a>>> {
        let mut places = Vec::new();
        for parameter in self.parameters.iter().filter(|p| p.place == Place::Path) {
            let name = parameter.name.as_str();
            let value = params.get(name).and_then(text).ok_or_else(|| {
                Error::invalid(format!("the parameter `{name}` cannot be used"))
                    .detail(name, "expected text or a number")
            })?;
            let Some((_, names)) = self.mapped.iter().find(|(mapped, _)| mapped == name) else {
                places.push(Filled { place: name, parameter: name, value });
                continue;
            };
            let parts = match value {
                Cow::Borrowed(text) => text.split('/').map(Cow::Borrowed).collect::<Vec<_>>(),
                // A number or a truth value, which has no slash.
                Cow::Owned(_) => vec![value],
            };
            if parts.len() != names.len() {
                let shape = names.join("/");
                return Err(Error::invalid(format!("the parameter `{name}` cannot be used"))
                    .detail(name, format!("expected text of the form `{shape}`")));
            }
            let pairs = names.iter().zip(parts);
            places.extend(pairs.map(|(place, value)| Filled { place, parameter: name, value }));
        }
        Ok(places)
    }
}
