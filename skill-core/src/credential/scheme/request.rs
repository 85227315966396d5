//! Requests that a declaration writes out: logins, exchanges, revocations.

use http::{HeaderName, HeaderValue, Method, header};
use serde_json::{Map, Value};
use url::form_urlencoded;

use super::{basic_header, names::Names};
use crate::{
    declaration::Table,
    error::{Error, Result},
    template::{Address, Find, Template},
    transport::{Outgoing, Payload},
};

/// JSON with templates for its strings.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    Text(Template),
    Plain(Value),
    List(Vec<Node>),
    Object(Vec<(String, Node)>),
}

impl Node {
    pub(super) fn parse(value: Value, names: &Names<'_>) -> Result<Self, String> {
        Ok(match value {
            Value::String(text) => Self::Text(names.parse(&text)?),
            Value::Array(items) => {
                let items = items.into_iter().map(|item| Self::parse(item, names));
                Self::List(items.collect::<Result<_, _>>()?)
            }
            Value::Object(members) => {
                let members = members.into_iter().map(|(k, v)| Ok((k, Self::parse(v, names)?)));
                Self::Object(members.collect::<Result<_, String>>()?)
            }
            plain @ (Value::Null | Value::Bool(_) | Value::Number(_)) => Self::Plain(plain),
        })
    }

    pub(super) fn fill(&self, find: Find<'_, '_>) -> Result<Value> {
        Ok(match self {
            Self::Text(template) => Value::String(template.fill(find)?.to_string()),
            Self::Plain(value) => value.clone(),
            Self::List(items) => {
                Value::Array(items.iter().map(|item| item.fill(find)).collect::<Result<_>>()?)
            }
            Self::Object(members) => {
                let members = members.iter().map(|(k, v)| Ok((k.clone(), v.fill(find)?)));
                Value::Object(members.collect::<Result<_>>()?)
            }
        })
    }

    pub(super) fn names(&self) -> Vec<&str> {
        match self {
            Self::Text(template) => template.names().collect(),
            Self::Plain(_) => Vec::new(),
            Self::List(items) => items.iter().flat_map(Self::names).collect(),
            Self::Object(members) => members.iter().flat_map(|(_, node)| node.names()).collect(),
        }
    }
}

/// How the body of a request is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Form,
    Json,
    /// Not in a body: in the query.
    Query,
}

impl Encoding {
    /// A POST of some parameters.
    pub(super) fn write(self, mut url: url::Url, parameters: &[(&str, &str)]) -> Outgoing {
        match self {
            Self::Form => Outgoing::form(url, parameters.iter().copied()),
            Self::Json => {
                let members = parameters.iter();
                let members = members.map(|(name, value)| ((*name).to_owned(), (*value).into()));
                json(
                    Outgoing::new(Method::POST, url),
                    &Value::Object(members.collect::<Map<_, _>>()),
                )
            }
            Self::Query => {
                url.query_pairs_mut().extend_pairs(parameters);
                Outgoing::new(Method::POST, url)
            }
        }
    }
}

fn json(mut request: Outgoing, body: &Value) -> Outgoing {
    request.body = Payload::Bytes(body.to_string().into());
    let kind = HeaderValue::from_static("application/json");
    request.headers.insert(header::CONTENT_TYPE, kind);
    request
}

#[derive(Debug, Clone, PartialEq)]
enum Body {
    Empty,
    Form(Vec<(String, Template)>),
    Json(Node),
}

/// A request as a declaration writes it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Request {
    method: Method,
    url: Address,
    headers: Vec<(HeaderName, Template)>,
    query: Vec<(String, Template)>,
    body: Body,
    basic: Option<(Template, Template)>,
}

impl Request {
    /// Reads the members of a table that make a request.
    pub(super) fn declare(table: &Table<'_>, names: &Names<'_>) -> Option<Self> {
        let body = match (table.has("form"), table.has("json")) {
            (false, false) => Body::Empty,
            (true, false) => Body::Form(names.templates(table, "form")),
            (false, true) => {
                let node = Node::parse(table.json("json")?, names);
                Body::Json(node.map_err(|what| table.problem("json", what)).ok()?)
            }
            (true, true) => {
                table.problem("json", "expected `form` or `json`, got both");
                return None;
            }
        };
        let method = match table.text("method") {
            None if body == Body::Empty => Method::GET,
            None => Method::POST,
            Some(text @ ("GET" | "POST" | "PUT" | "DELETE")) => Method::try_from(text).ok()?,
            Some(other) => {
                let expected = "`method`: expected `GET`, `POST`, `PUT` or `DELETE`";
                table.problem("method", format!("{expected}, got `{other}`"));
                return None;
            }
        };
        let basic = match &*table.texts("basic") {
            [] => None,
            [user, password] => {
                let parse = |text: &str| {
                    names.parse(text).map_err(|what| table.problem("basic", what)).ok()
                };
                Some((parse(user)?, parse(password)?))
            }
            _ => {
                table.problem("basic", "`basic`: expected a user name and a password");
                return None;
            }
        };
        Some(Self {
            method,
            url: names.required_address(table, "url")?,
            headers: names.headers(table),
            query: names.templates(table, "query"),
            body,
            basic,
        })
    }

    /// What it needs.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let body = match &self.body {
            Body::Empty => Vec::new(),
            Body::Form(pairs) => pairs.iter().flat_map(|(_, value)| value.names()).collect(),
            Body::Json(node) => node.names(),
        };
        let basic =
            self.basic.iter().flat_map(|(user, password)| user.names().chain(password.names()));
        let headers = self.headers.iter().flat_map(|(_, value)| value.names());
        let query = self.query.iter().flat_map(|(_, value)| value.names());
        self.url.names().chain(headers).chain(query).chain(basic).chain(body)
    }

    /// The request with every value in its place.
    pub(super) fn fill(&self, find: Find<'_, '_>) -> Result<Outgoing> {
        let mut url = self.url.fill(find)?;
        for (name, value) in &self.query {
            url.query_pairs_mut().append_pair(name, &value.fill(find)?);
        }
        let mut request = Outgoing::new(self.method.clone(), url);
        match &self.body {
            Body::Empty => {}
            Body::Form(pairs) => {
                let mut form = form_urlencoded::Serializer::new(String::new());
                for (name, value) in pairs {
                    form.append_pair(name, &value.fill(find)?);
                }
                request.body = Payload::Bytes(form.finish().into());
                let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
                request.headers.insert(header::CONTENT_TYPE, kind);
            }
            Body::Json(node) => request = json(request, &node.fill(find)?),
        }
        request.headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        if let Some((user, password)) = &self.basic {
            let value = basic_header(&user.fill(find)?, &password.fill(find)?)?;
            request.headers.insert(header::AUTHORIZATION, value);
        }
        for (name, value) in &self.headers {
            request.headers.insert(name, value.header(find)?);
        }
        if request.headers.contains_key(header::HOST) {
            return Err(Error::internal("a declared request names a host"));
        }
        Ok(request)
    }
}
