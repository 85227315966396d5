//! Parameters and bodies of calls: what a document gives, and what the called one takes.

use serde_json::{Map, Value};

use super::{
    fill::Fill,
    plan::{Body, Call, Parameter},
    reader::Object,
    site::{Site, When},
    tree::{Kind, Node},
};
use crate::{
    endpoint::{Endpoint, Place},
    schema::Schema,
};

/// A parameter as a document gives it.
#[derive(Debug)]
pub(super) struct Given {
    pub(super) name: String,
    pub(super) place: Option<String>,
    pub(super) value: Fill,
    pub(super) line: usize,
}

/// Reads a list of parameters, which may refer to components.
pub(super) fn given<'a>(site: &Site<'a>, nodes: &'a [Node]) -> Vec<Given> {
    let mut read = Vec::<Given>::new();
    for node in nodes {
        let made = match site.reusable(node, "parameters") {
            None => parameter(site, node),
            Some(Err(())) => continue,
            Some(Ok(component)) => parameter(site, component).map(|known| {
                let value = node.get("value").map(|value| site.fill(value, When::Call));
                Given { value: value.unwrap_or(known.value), line: node.line, ..known }
            }),
        };
        let Some(made) = made else { continue };
        if read.iter().any(|known| known.name == made.name && known.place == made.place) {
            site.file.problem(made.line, format!("the parameter `{}` stands twice", made.name));
        }
        read.push(made);
    }
    read
}

/// Reads one parameter.
pub(super) fn parameter(site: &Site<'_>, node: &Node) -> Option<Given> {
    let object = Object::of(site.file, node, "a parameter")?;
    let name = object.required_text("name");
    let place = object.choice("in", &["path", "query", "header", "cookie"]);
    let value = object.get("value");
    if value.is_none() {
        object.problem("expected `value`");
    }
    object.end();
    let value = site.fill(value?, When::Call);
    Some(Given { name: name?.to_owned(), place: place.map(str::to_owned), value, line: node.line })
}

/// What the endpoint takes.
pub(super) struct Taker<'a> {
    pub(super) name: String,
    pub(super) endpoint: &'a dyn Endpoint,
}

impl Taker<'_> {
    fn properties(&self) -> Option<&Map<String, Value>> {
        self.endpoint.info().schema.as_value().get("properties")?.as_object()
    }

    fn property(&self, name: &str) -> Option<&Value> {
        self.properties()?.get(name)
    }

    fn required(&self) -> impl Iterator<Item = &str> {
        let required = self.endpoint.info().schema.as_value().get("required");
        required.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
    }

    /// The parameters that are members of the body.
    pub(super) fn members(&self) -> Vec<String> {
        let names = self.properties().into_iter().flat_map(Map::keys);
        let is_body = |name: &&String| self.endpoint.place(name) == Some(Place::Body);
        names.filter(is_body).cloned().collect()
    }

    /// The parameter that is the whole body.
    pub(super) fn whole(&self) -> Option<String> {
        let mut names = self.properties().into_iter().flat_map(Map::keys);
        names.find(|name| self.endpoint.place(name) == Some(Place::WholeBody)).cloned()
    }

    /// Notes a literal that the parameter does not take.
    fn check(&self, site: &Site<'_>, name: &str, (value, line): (&Fill, usize)) {
        let (Some(value), Some(schema)) = (value.literal(), self.property(name)) else { return };
        let Ok(schema) = Schema::compile(schema.clone()) else { return };
        if let Err(error) = schema.check(value) {
            let first = error.field_details().first().map(|detail| detail.issue.clone());
            let issue = first.unwrap_or_else(|| error.message().to_owned());
            site.file.problem(line, format!("the parameter `{name}` of `{}`: {issue}", self.name));
        }
    }

    /// Whether the endpoint has this parameter where `given` says.
    pub(super) fn has(&self, given: &Given) -> bool {
        let place = self.endpoint.place(&given.name).map(word);
        self.property(&given.name).is_some() && (place.is_none() || place == given.place.as_deref())
    }

    /// Takes a parameter of the step itself; notes what is wrong with it.
    pub(super) fn take(&self, site: &Site<'_>, given: Given) -> Option<Parameter> {
        let (name, line) = (given.name.as_str(), given.line);
        let wrong = |what: String| {
            site.file.problem(line, what);
            None
        };
        if given.place.as_deref() == Some("cookie") {
            let what = format!(
                "the parameter `{name}`: cookies are not supported: what signs a request belongs \
                 to the connection"
            );
            return wrong(what);
        }
        if self.property(name).is_none() {
            let known = self.properties().into_iter().flat_map(Map::keys).cloned();
            let known = known.collect::<Vec<_>>().join("`, `");
            let known = if known.is_empty() { "none".to_owned() } else { format!("`{known}`") };
            return wrong(format!("`{}` has no parameter `{name}`; it has {known}", self.name));
        }
        let Some(place) = given.place.clone() else {
            return wrong(format!("the parameter `{name}`: expected `in`, where it stands"));
        };
        match self.endpoint.place(name) {
            Some(Place::Body | Place::WholeBody) => {
                let what = format!(
                    "the parameter `{name}` of `{}` goes into the body: give it in `requestBody`",
                    self.name
                );
                return wrong(what);
            }
            Some(known) if word(known) != place => {
                let what = format!(
                    "`in`: `{name}` of `{}` stands in the {}, not in the {place}",
                    self.name,
                    word(known)
                );
                return wrong(what);
            }
            Some(_) | None => {}
        }
        self.check(site, name, (&given.value, line));
        Some(Parameter { name: given.name, place: Some(place), value: given.value })
    }

    /// Notes parameters that have to be given and are not.
    pub(super) fn check_required(
        &self,
        site: &Site<'_>,
        line: usize,
        (parameters, body): (&[Parameter], Option<&Body>),
    ) {
        let in_body = |name: &str| match body.map(|body| &body.payload) {
            None => false,
            Some(Fill::Object(members)) => members.iter().any(|(member, _)| member == name),
            Some(Fill::Literal(value)) => value.get(name).is_some(),
            // Only the run shows what it holds.
            Some(Fill::Expression(_) | Fill::Text(_) | Fill::List(_)) => true,
        };
        for name in self.required() {
            let is_given = match self.endpoint.place(name) {
                Some(Place::WholeBody) => body.is_some(),
                Some(Place::Body) => in_body(name),
                Some(Place::Path | Place::Query | Place::Header) | None => {
                    parameters.iter().any(|parameter| parameter.name == name) || in_body(name)
                }
            };
            if !is_given {
                let what = format!("`{}` needs the parameter `{name}`", self.name);
                site.file.problem(line, what);
            }
        }
    }

    /// Reads the body of a call.
    pub(super) fn body<'a>(
        &self,
        site: &Site<'a>,
        object: &Object<'a>,
        call: &Call,
    ) -> Option<Body> {
        content_type(object);
        let node = object.get("payload");
        let replacements = site.objects(object.items("replacements"), "a replacement");
        let replacements = replacements.iter().filter_map(|inner| replacement(site, inner));
        let replacements = replacements.collect();
        object.end();
        if call.whole.is_none() && call.members.is_empty() {
            object.problem(format!("`{}` takes no body", self.name));
            return None;
        }
        let Some(node) = node else {
            object.problem("expected `payload`");
            return None;
        };
        let payload = payload(site, node)?;
        if call.whole.is_none() {
            self.check_members(site, node, (&payload, &call.members));
        }
        Some(Body { payload, replacements })
    }

    fn check_members(&self, site: &Site<'_>, node: &Node, (payload, known): (&Fill, &[String])) {
        let members = match payload {
            Fill::Object(members) => members.clone(),
            Fill::Literal(Value::Object(members)) => {
                let fills = members.iter();
                fills.map(|(name, value)| (name.clone(), Fill::Literal(value.clone()))).collect()
            }
            Fill::Expression(_) => return,
            Fill::Literal(_) | Fill::List(_) | Fill::Text(_) => {
                let what = format!("`payload`: `{}` takes an object", self.name);
                return site.file.problem(node.line, what);
            }
        };
        for (name, value) in &members {
            let line = node.get(name).map_or(node.line, |value| value.line);
            if known.contains(name) {
                self.check(site, name, (value, line));
            } else {
                let known = known.join("`, `");
                let what = format!("the body of `{}` has no `{name}`; it has `{known}`", self.name);
                site.file.problem(line, what);
            }
        }
    }
}

fn word(place: Place) -> &'static str {
    match place {
        Place::Path => "path",
        Place::Query => "query",
        Place::Header => "header",
        Place::Body | Place::WholeBody => "body",
    }
}

fn content_type(object: &Object<'_>) {
    let Some(text) = object.text("contentType") else { return };
    let kind = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_json = kind == "application/json" || kind.ends_with("+json");
    if !is_json && kind != "application/x-www-form-urlencoded" {
        let what = format!(
            "`contentType`: `{text}` is not supported: bodies are JSON or a form, as the endpoint \
             is declared"
        );
        object.problem_at("contentType", what);
    }
}

/// A payload; a text is JSON with expressions in its strings.
fn payload(site: &Site<'_>, node: &Node) -> Option<Fill> {
    let Kind::Text(text) = &node.kind else { return Some(site.fill(node, When::Call)) };
    if matches!(Fill::parse(text), Ok(Fill::Expression(_))) {
        return Some(site.fill(node, When::Call));
    }
    match serde_json::from_str::<Value>(text) {
        Ok(value) => Some(site.fill(&Node::of(value, node.line), When::Call)),
        Err(_) => {
            let what = "`payload`: a text has to be JSON, with expressions inside of its strings: \
                        write it as an object";
            site.file.problem(node.line, what);
            None
        }
    }
}

fn replacement(site: &Site<'_>, object: &Object<'_>) -> Option<(String, Fill)> {
    let target = object.required_text("target");
    let value = object.get("value").map(|value| site.fill(value, When::Call));
    if value.is_none() {
        object.problem("expected `value`");
    }
    object.end();
    let target = target?;
    if !target.starts_with('/') {
        let what = format!(
            "`target`: expected a JSON Pointer such as `/id`, got `{target}`; XPath is not supported"
        );
        object.problem_at("target", what);
        return None;
    }
    Some((target.to_owned(), value?))
}
