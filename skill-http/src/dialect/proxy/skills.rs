//! `/v1/skills`: what can be called, and whether the caller is connected to it.

use std::{collections::BTreeSet, sync::Arc};

use http::{Method, StatusCode};
use serde_json::{Value, json};
use skill_core::{
    Error,
    access::{Caller, Intent, authorize},
    catalog::{Action, Catalog, title},
    integration::Verified,
    name::{ActionName, Slug},
    pages::Pages,
    record::{connection::Status, scope::Scope},
    schema::parameters,
};

use super::manual;
use crate::{
    app::Context,
    app::route::{Access, Operation, Route},
    reply::{Failure, Reply},
};

pub(super) fn routes() -> Vec<Route> {
    let key = || Access::Key(None);
    let listing = Operation::new("list_integrations", "List what can be called")
        .answer(200, "Every integration that the key may call", list_schema())
        .errors(&[401, 429, 500, 503]);
    let of_one = Operation::new("show_integration", "List the endpoints of an integration")
        .answer(200, "The integration", one_schema())
        .errors(&[401, 403, 404, 429, 500, 503]);
    let manual = Operation::new("show_endpoint", "Tell how an endpoint is called")
        .answer(200, "Its parameters, examples and errors", endpoint_schema())
        .errors(&[401, 403, 404, 429, 500, 503]);
    vec![
        Route::new(Method::GET, "/v1/skills", key(), listing, |cx| Box::pin(list(cx))),
        Route::new(Method::GET, "/v1/skills/{integration}", key(), of_one, |cx| Box::pin(show(cx))),
        Route::new(Method::GET, "/v1/skills/{integration}/{endpoint}", key(), manual, |cx| {
            Box::pin(async move { explain(&cx) })
        }),
    ]
}

fn list_schema() -> Value {
    json!({
        "type": "object",
        "required": ["integrations"],
        "properties": {"integrations": {"type": "array", "items": integration_schema()}},
    })
}

fn integration_schema() -> Value {
    let text = || json!({"type": "string"});
    json!({
        "type": "object",
        "required": ["slug", "name", "description", "auth_type", "connected", "endpoint_count"],
        "properties": {
            "slug": text(), "name": text(), "description": text(),
            "auth_type": {"type": "string", "description": "`none` needs no connection."},
            "connected": {"type": "boolean", "description": "Whether the caller can call it now."},
            "endpoint_count": {"type": "integer"},
            "docs": {"type": ["string", "null"], "format": "uri"},
            "verified": {
                "enum": ["described", "mocked", "live", null],
                "description": "How far its declaration is proven.",
            },
        },
    })
}

fn one_schema() -> Value {
    let text = || json!({"type": "string"});
    let mut schema = integration_schema();
    schema["properties"]["endpoints"] = json!({"type": "array", "items": {
        "type": "object",
        "required": ["name", "method", "description"],
        "properties": {
            "name": text(), "method": text(), "description": text(), "group": text(),
            "class": {"enum": ["read", "write", "destructive"]},
            "status": {"enum": ["ready", "beta", "deprecated"]},
        },
    }});
    schema
}

fn endpoint_schema() -> Value {
    let (text, any) = (|| json!({"type": "string"}), || json!({}));
    let row = json!({
        "type": "object",
        "required": ["name", "type", "required"],
        "properties": {
            "name": text(), "type": text(), "required": {"type": "boolean"},
            "description": text(), "enum": {"type": "array"}, "default": any(),
        },
    });
    let example = json!({"type": "object", "properties": {
        "name": text(), "params": {"type": "object"}, "data": any(),
    }});
    let error = json!({"type": "object", "properties": {
        "status": {"type": "integer"}, "error": text(), "description": text(),
    }});
    json!({
        "type": "object",
        "required": ["integration", "name", "method", "description", "parameters"],
        "properties": {
            "integration": text(), "name": text(), "method": text(), "description": text(),
            "parameters": {"type": "array", "items": row},
            "parameters_schema": {"type": "object", "description": "The same as JSON Schema."},
            "call": {"type": "object", "description": "The request that calls it."},
            "takes_file": {
                "type": "boolean",
                "description": "The body is a file, and the parameters stand in Skill-Params.",
            },
            "answers_file": {
                "type": "boolean",
                "description": "The file comes as it is where Accept names neither JSON nor */*.",
            },
            "collect": {
                "type": ["string", "null"],
                "description": "How its pages follow one another, where `collect` gathers them.",
            },
            "examples": {"type": "array", "items": example},
            "errors": {"type": "array", "items": error},
        },
    })
}

/// What a caller sees of an integration, or of a category of skills.
pub(super) struct Shelf {
    pub(super) slug: Slug,
    pub(super) name: String,
    pub(super) description: String,
    pub(super) docs: Option<String>,
    pub(super) verified: Option<Verified>,
    pub(super) auth: &'static str,
    pub(super) needs_connection: bool,
    /// The actions that the caller may call.
    pub(super) actions: Vec<Action>,
    /// Whether there are more.
    pub(super) is_partial: bool,
}

impl Shelf {
    fn of(catalog: &Catalog, slug: &Slug, caller: &Caller) -> Self {
        let mut actions = catalog.actions_of(slug);
        let all = actions.len();
        actions.retain(|action| may_call(caller, &action.name()));
        let is_partial = actions.len() < all;
        let Some(integration) = catalog.integration(slug) else {
            let name = title(slug);
            return Self {
                slug: slug.clone(),
                description: format!("Skills: {name}."),
                name,
                docs: None,
                verified: None,
                auth: "none",
                needs_connection: false,
                actions,
                is_partial,
            };
        };
        let (info, auth) = (integration.info(), integration.auth());
        Self {
            slug: info.slug.clone(),
            name: info.name.clone(),
            description: info.description.clone(),
            docs: info.docs.clone(),
            verified: info.verified,
            auth: auth.kind(),
            needs_connection: auth.needs_connection(),
            actions,
            is_partial,
        }
    }

    fn shown(&self, connected: &BTreeSet<Slug>) -> Value {
        json!({
            "slug": self.slug.as_str(),
            "name": self.name,
            "description": self.description,
            "auth_type": self.auth,
            "connected": !self.needs_connection || connected.contains(&self.slug),
            "endpoint_count": self.actions.len(),
            "docs": self.docs,
            "verified": self.verified.map(Verified::as_str),
        })
    }
}

fn may(caller: &Caller, scope: Scope) -> Result<(), Error> {
    authorize(caller, &Intent { scope, class: None }).allowed()
}

fn may_call(caller: &Caller, action: &ActionName) -> bool {
    may(caller, Scope::Action(action.clone())).is_ok()
}

/// The shelf that the path names. What the key may not see is refused whether or not it is there.
pub(super) fn find(cx: &Context, catalog: &Catalog) -> Result<Shelf, Failure> {
    let slug = Slug::parse(cx.value(0)).map_err(|_| Failure::no_such_path())?;
    let caller = cx.caller()?;
    let shelf = Shelf::of(catalog, &slug, caller);
    if shelf.actions.is_empty() {
        may(caller, Scope::Namespace(slug.clone()))?;
        if catalog.integration(&slug).is_none() {
            let message = format!("there is no integration `{slug}`: GET /v1/skills lists them");
            return Err(Error::not_found(message).into());
        }
    }
    Ok(shelf)
}

/// The integrations to which the caller has a connection that works.
async fn connected(cx: &Context) -> Result<BTreeSet<Slug>, Error> {
    let all = cx.app.engine.connections().list(cx.caller()?).await?;
    let works = all.into_iter().filter(|connection| connection.status == Status::Connected);
    Ok(works.map(|connection| connection.integration).collect())
}

async fn list(cx: Context) -> Result<Reply, Failure> {
    let (catalog, connected) = (cx.app.engine.catalog(), connected(&cx).await?);
    let caller = cx.caller()?;
    let shelves = catalog.namespaces().into_iter().map(|slug| Shelf::of(&catalog, slug, caller));
    let shelves = shelves.filter(|shelf| !shelf.actions.is_empty());
    let items = shelves.map(|shelf| shelf.shown(&connected)).collect::<Vec<_>>();
    Ok(Reply::json(StatusCode::OK, &json!({ "integrations": items })))
}

async fn show(cx: Context) -> Result<Reply, Failure> {
    let catalog = cx.app.engine.catalog();
    let shelf = find(&cx, &catalog)?;
    let mut shown = shelf.shown(&connected(&cx).await?);
    shown["endpoints"] = shelf.actions.iter().map(endpoint).collect();
    Ok(Reply::json(StatusCode::OK, &shown))
}

/// The method of an action's own request; skills are only ever called.
fn method(action: &Action) -> &str {
    match action {
        Action::Endpoint(operation) => operation.endpoint.info().method.as_str(),
        Action::Skill(_) => "POST",
    }
}

fn endpoint(action: &Action) -> Value {
    json!({
        "name": action.name().name.as_str(),
        "method": method(action),
        "description": action.summary(),
        "group": action.group(),
        "class": action.class().as_str(),
        "status": action.status().as_str(),
    })
}

fn explain(cx: &Context) -> Result<Reply, Failure> {
    let no_slug = |_| Failure::no_such_path();
    let namespace = Slug::parse(cx.value(0)).map_err(no_slug)?;
    let name = Slug::parse(cx.value(1)).map_err(no_slug)?;
    let name = ActionName { namespace, name };
    may(cx.caller()?, Scope::Action(name.clone()))?;
    let catalog = cx.app.engine.catalog();
    let action = catalog.action(&name).ok_or_else(|| {
        Error::not_found(format!(
            "there is no action `{name}`: check the integration and the endpoint"
        ))
    })?;
    Ok(Reply::json(StatusCode::OK, &explained(&catalog, &action)))
}

/// How the pages of its answers follow one another, where `collect` gathers them.
fn collects(action: &Action) -> Option<&'static str> {
    match action {
        Action::Endpoint(operation) => operation.endpoint.info().pages.as_ref().map(Pages::by),
        Action::Skill(_) => None,
    }
}

/// Everything about how an action is called.
fn explained(catalog: &Arc<Catalog>, action: &Action) -> Value {
    let (name, schema) = (action.name(), action.schema().as_value());
    let mut shown = endpoint(action);
    shown["integration"] = name.namespace.as_str().into();
    shown["docs"] = action.documentation().into();
    shown["collect"] = collects(action).into();
    if let Action::Endpoint(operation) = action {
        let info = operation.endpoint.info();
        shown["takes_file"] = info.takes_file.into();
        shown["answers_file"] = info.answers_file.into();
    }
    shown["rate_limit"] = action.rate_limit().map(|most| format!("{most} calls/min")).into();
    shown["timeout"] = action.timeout().map(|time| format!("{}s", time.as_secs())).into();
    if let Action::Endpoint(operation) = action {
        let info = operation.endpoint.info();
        shown["path"] = info.path.as_str().into();
        shown["idempotent"] = info.may_repeat(false).into();
    }
    shown["parameters"] = parameters(schema).iter().map(row).collect();
    shown["parameters_schema"] = schema.clone();
    let params = Value::Object(manual::placeholders(action));
    let path = format!("/v1/{}/{}", name.namespace, name.name);
    shown["call"] = match manual::takes_file(action) {
        false => json!({"method": "POST", "path": path, "body": {"params": params}}),
        true => {
            let headers = json!({"Skill-Params": params.to_string(), "Skill-Filename": "a.bin"});
            json!({"method": "POST", "path": path, "headers": headers})
        }
    };
    let example = |(name, params, data): (String, _, Option<Value>)| {
        let mut shown = json!({"name": name, "params": Value::Object(params)});
        if let Some(data) = data {
            shown["data"] = data;
        }
        shown
    };
    shown["examples"] = manual::examples(catalog, action).into_iter().map(example).collect();
    let errors = manual::errors(manual::needs_connection(action));
    let error =
        |(status, code, what)| json!({"status": status, "error": code, "description": what});
    shown["errors"] = errors.map(error).collect();
    shown
}

fn row(parameter: &skill_core::schema::Parameter<'_>) -> Value {
    let mut row = json!({
        "name": parameter.name,
        "type": parameter.kind,
        "required": parameter.is_required,
        "description": parameter.description.unwrap_or_default(),
    });
    if let Some(choices) = parameter.choices {
        row["enum"] = choices.clone();
    }
    if let Some(default) = parameter.default {
        row["default"] = default.clone();
    }
    row
}
