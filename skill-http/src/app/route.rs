//! Routes are data: one table drives dispatch, authentication, limits and the OpenAPI document.

use std::{collections::BTreeMap, pin::Pin, sync::Arc};

use http::Method;
use matchit::Router;
use serde_json::Value;
use skill_core::{
    Error,
    name::{Slug, Version},
    record::scope::Scope,
};

use crate::{
    app::Context,
    reply::{Failure, Reply},
};

/// What a handler gives back.
pub(crate) type Answering = Pin<Box<dyn Future<Output = Result<Reply, Failure>> + Send>>;

/// Who may use a route.
#[derive(Debug, Clone)]
pub(crate) enum Access {
    /// Anybody. What answers is data.
    Open,
    /// Anybody. What answers is a page for a person.
    Page,
    /// Whoever monitors: from this machine, or with the admin secret.
    Monitor,
    /// Whoever has the admin secret; no key opens it.
    Admin,
    /// Whoever has a key; with this scope, when there is one.
    Key(Option<Scope>),
    /// The operator, at the operator's door only.
    Operator,
}

/// What the OpenAPI document says of a route.
#[derive(Debug, Clone)]
pub(crate) struct Operation {
    pub(crate) id: &'static str,
    pub(crate) summary: &'static str,
    /// The schema of the body, when it takes one.
    pub(crate) body: Option<Value>,
    /// Its query parameters: name, schema.
    pub(crate) query: Vec<(&'static str, Value)>,
    /// Headers that it reads: name, schema.
    pub(crate) headers: Vec<(&'static str, Value)>,
    /// Its answers besides errors: status, what it is, schema.
    pub(crate) answers: Vec<(u16, &'static str, Value)>,
    /// The statuses of the errors it can give.
    pub(crate) errors: &'static [u16],
}

impl Operation {
    pub(crate) fn new(id: &'static str, summary: &'static str) -> Self {
        let (query, headers, answers) = (Vec::new(), Vec::new(), Vec::new());
        Self { id, summary, body: None, query, headers, answers, errors: &[] }
    }

    pub(crate) fn body(mut self, schema: Value) -> Self {
        self.body = Some(schema);
        self
    }

    pub(crate) fn query(mut self, name: &'static str, schema: Value) -> Self {
        self.query.push((name, schema));
        self
    }

    pub(crate) fn header(mut self, name: &'static str, schema: Value) -> Self {
        self.headers.push((name, schema));
        self
    }

    pub(crate) fn answer(mut self, status: u16, what: &'static str, schema: Value) -> Self {
        self.answers.push((status, what, schema));
        self
    }

    pub(crate) fn errors(mut self, statuses: &'static [u16]) -> Self {
        self.errors = statuses;
        self
    }
}

/// One route.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) method: Method,
    /// The path, with `{name}` for one segment.
    pub(crate) path: &'static str,
    pub(crate) access: Access,
    pub(crate) operation: Operation,
    pub(crate) handler: fn(Context) -> Answering,
    pub(crate) reading: Reading,
}

/// How the body of a request is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    /// Whole, before the handler runs.
    Whole,
    /// As it comes, by whoever wants it.
    Streaming,
}

impl Route {
    pub(crate) fn new(
        method: Method,
        path: &'static str,
        access: Access,
        operation: Operation,
        handler: fn(Context) -> Answering,
    ) -> Self {
        Self { method, path, access, operation, handler, reading: Reading::Whole }
    }

    /// The same route, whose body is not read before its handler runs.
    pub(crate) fn streaming(self) -> Self {
        Self { reading: Reading::Streaming, ..self }
    }
}

/// Every route, ready for look-ups.
#[derive(Debug)]
pub(crate) struct Table {
    /// By method, because a fixed word beats a parameter only where it has the method:
    /// `GET /v1/{integration}/download` takes no endpoint's name away.
    methods: Vec<(Method, Router<Vec<Arc<Route>>>)>,
    all: Vec<Arc<Route>>,
}

/// A route that was found, and the values of its path.
pub(crate) type Found = (Arc<Route>, Vec<String>);

impl Table {
    /// Builds the table.
    pub(crate) fn build(routes: impl IntoIterator<Item = Route>) -> Result<Self, Error> {
        let all = routes.into_iter().map(Arc::new).collect::<Vec<_>>();
        let mut by_method = BTreeMap::<_, BTreeMap<_, Vec<_>>>::new();
        for route in &all {
            let paths = by_method.entry(route.method.as_str()).or_default();
            paths.entry(route.path).or_default().push(route.clone());
        }
        let mut methods = Vec::new();
        for paths in by_method.into_values() {
            let mut router = Router::new();
            let method = paths.values().flatten().map(|route| route.method.clone()).next();
            for (path, routes) in paths {
                router.insert(path, routes).map_err(Error::internal)?;
            }
            methods.extend(method.map(|method| (method, router)));
        }
        Ok(Self { methods, all })
    }

    /// Every route, in the order of the table.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Route> {
        self.all.iter().map(|route| &**route)
    }

    /// Finds the route of a request. Nothing of the path is decoded or normalised.
    ///
    /// Routes that `is_here` leaves out do not exist, whatever the method. A path under a reserved
    /// word never falls through to `{integration}`.
    pub(crate) fn find(
        &self,
        method: &Method,
        path: &str,
        is_here: impl Fn(&Route) -> bool,
    ) -> Result<Found, Failure> {
        let at = |router: &Router<Vec<Arc<Route>>>| {
            let found = router.at(path).ok()?;
            let names = found.params.iter().map(|(_, value)| value.to_owned()).collect::<Vec<_>>();
            let route = found.value.iter().find(|route| is_here(route) && fits(route, &names))?;
            Some((Arc::clone(route), names))
        };
        let of = |method: &Method| {
            let (_, router) = self.methods.iter().find(|(known, _)| known == method)?;
            at(router)
        };
        // HEAD is GET without its body (RFC 9110 section 9.3.2).
        let head = || if *method == Method::HEAD { of(&Method::GET) } else { None };
        if let Some(found) = of(method).or_else(head) {
            return Ok(found);
        }
        let others = self.methods.iter().filter(|(_, router)| at(router).is_some());
        let others = others.map(|(method, _)| method.as_str()).collect::<Vec<_>>();
        if others.is_empty() {
            return Err(Failure::no_such_path());
        }
        Err(Failure::method(allowed(others)))
    }
}

/// The path of a call: the one that has parameters where other paths have words.
pub(crate) const CALL: &str = "/v1/{integration}/{endpoint}";
/// The path of a skill.
pub(crate) const SKILL: &str = "/api/{category}/{version}/{skill_name}";
/// The path of the raw door.
pub(crate) const RAW: &str = "/v1/{integration}/_raw/{*path}";
/// Where all paths begin that have an integration where others have a word.
const INTEGRATION: &str = "/v1/{integration}/";

/// Whether these values can stand in the path of the route.
fn fits(route: &Route, values: &[String]) -> bool {
    let is_slug = |text: &String| Slug::parse(text).is_ok();
    let is_free = |text: &String| Slug::parse(text).is_ok_and(|slug| !slug.is_reserved());
    if route.path == SKILL {
        return matches!(values, [category, version, name]
            if is_free(category) && Version::parse(version).is_ok() && is_slug(name));
    }
    let Some(rest) = route.path.strip_prefix(INTEGRATION) else { return true };
    values.first().is_some_and(is_free) && (!rest.starts_with('{') || values.iter().all(is_slug))
}

fn allowed(mut methods: Vec<&str>) -> String {
    if methods.contains(&"GET") {
        methods.push("HEAD");
    }
    methods.sort_unstable();
    methods.join(", ")
}
