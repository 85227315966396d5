//! `/api/agents`: named bundles of what runs may use.

use http::{Method, StatusCode};
use serde_json::{Value, json};
use skill_core::{
    Error,
    agents::Wanted,
    id::ConnectionId,
    name::{AgentId, Slug},
    record::{
        agent::Agent,
        scope::{Scope, Scopes},
    },
};

use super::{page, page::Page};
use crate::{
    app::Context,
    app::route::{Access, Operation, Route},
    reply::{Failure, Reply},
    request::Members,
};

const READING: &[u16] = &[400, 401, 403, 404, 429, 500, 503];
const CHANGING: &[u16] = &[400, 401, 403, 404, 408, 409, 413, 415, 429, 500, 503];

pub(super) fn routes() -> Vec<Route> {
    let read = || Access::Key(None);
    // Who says what runs may use says what keys may do.
    let manage = || Access::Key(Slug::parse("keys").ok().map(Scope::Namespace));
    let listing = page::query(Operation::new("list_agents", "List the agents"))
        .answer(200, "A page of them, the oldest first", page::schema("data", &schema()))
        .errors(&[400, 401, 403, 429, 500, 503]);
    let mut made = wanted_schema();
    made["required"] = json!(["name"]);
    made["properties"]["id"] = json!({
        "type": "string", "pattern": "^[a-z0-9][a-z0-9_-]{0,63}$",
        "description": "Its name in the API; one is made when it is missing.",
    });
    let making = Operation::new("create_agent", "Make an agent")
        .body(made)
        .answer(201, "The agent", schema())
        .errors(CHANGING);
    let showing = Operation::new("show_agent", "Show an agent")
        .answer(200, "The agent", schema())
        .errors(READING);
    let changing = Operation::new("change_agent", "Change an agent")
        .body(wanted_schema())
        .answer(200, "The agent", schema())
        .errors(CHANGING);
    let removing = Operation::new("delete_agent", "Remove an agent, with what it keeps in mind")
        .answer(204, "It is gone; runs of it that wait will fail", Value::Null)
        .errors(CHANGING);
    let (all, one) = ("/api/agents", "/api/agents/{agent_id}");
    vec![
        Route::new(Method::GET, all, read(), listing, |cx| Box::pin(list(cx))),
        Route::new(Method::POST, all, manage(), making, |cx| Box::pin(create(cx))),
        Route::new(Method::GET, one, read(), showing, |cx| Box::pin(show(cx))),
        Route::new(Method::PATCH, one, manage(), changing, |cx| Box::pin(change(cx))),
        Route::new(Method::DELETE, one, manage(), removing, |cx| Box::pin(remove(cx))),
    ]
}

fn wanted_schema() -> Value {
    let texts = || json!({"type": "array", "items": {"type": "string"}});
    let mut scopes = texts();
    scopes["type"] = json!(["array", "string"]);
    scopes["description"] = json!("The skills and endpoints that its runs may use; `*` is all.");
    let mut connections = texts();
    connections["type"] = json!(["array", "null"]);
    connections["description"] = json!("The connections that its runs may use; null is all.");
    json!({
        "type": "object", "additionalProperties": false,
        "properties": {
            "name": {"type": "string", "minLength": 1, "maxLength": 200},
            "description": {"type": ["string", "null"], "maxLength": 2000},
            "scopes": scopes,
            "connections": connections,
        },
    })
}

fn schema() -> Value {
    let texts = || json!({"type": "array", "items": {"type": "string"}});
    let time = || json!({"type": ["string", "null"], "format": "date-time"});
    json!({
        "type": "object",
        "required": ["id", "name", "scopes", "connections", "is_default"],
        "properties": {
            "id": {"type": "string"}, "name": {"type": "string"},
            "description": {"type": ["string", "null"]},
            "scopes": texts(),
            "connections": {"type": ["array", "null"], "items": {"type": "string"}},
            "is_default": {"type": "boolean"},
            "created_at": time(), "updated_at": time(),
        },
    })
}

/// An agent in answers. The one that is there from the start was never made.
fn shown(agent: &Agent) -> Value {
    let is_default = agent.id.is_standard();
    let at = |time: String| if is_default { Value::Null } else { time.into() };
    let texts = |all: &Vec<ConnectionId>| all.iter().map(ToString::to_string).collect::<Vec<_>>();
    json!({
        "id": agent.id.as_str(),
        "name": agent.name,
        "description": agent.description,
        "scopes": agent.scopes.texts(),
        "connections": agent.connections.as_ref().map(texts),
        "is_default": is_default,
        "created_at": at(agent.created_at.to_string()),
        "updated_at": at(agent.updated_at.to_string()),
    })
}

/// The agent that the path names.
pub(super) fn named(cx: &Context) -> Result<AgentId, Error> {
    let unknown = |_| Error::not_found("there is no agent with this id");
    AgentId::parse(cx.value(0)).map_err(unknown)
}

/// What the body wants to be otherwise.
struct Said {
    name: Option<String>,
    description: Option<Option<String>>,
    scopes: Option<Vec<String>>,
    connections: Option<Option<Vec<String>>>,
}

impl Said {
    fn read(body: &mut Members) -> Self {
        let (no_text, no_list) = (body.is_null("description"), body.is_null("connections"));
        let (description, connections) = (body.text("description"), body.list("connections"));
        Self {
            name: body.text("name"),
            description: if no_text { Some(None) } else { description.map(Some) },
            scopes: body.texts("scopes"),
            connections: if no_list { Some(None) } else { connections.map(Some) },
        }
    }

    /// The same on top of what is there.
    fn over(self, mut wanted: Wanted) -> Result<Wanted, Error> {
        wanted.name = self.name.unwrap_or(wanted.name);
        wanted.description = self.description.unwrap_or(wanted.description);
        if let Some(scopes) = self.scopes {
            wanted.scopes = Scopes::parse(scopes.iter().map(String::as_str))?;
        }
        if let Some(connections) = self.connections {
            let read = |all: Vec<String>| all.iter().map(|text| connection(text)).collect();
            wanted.connections = connections.map(read).transpose()?;
        }
        Ok(wanted)
    }
}

fn connection(text: &str) -> Result<ConnectionId, Error> {
    ConnectionId::parse(text).ok_or_else(|| {
        let issue = "expected the ids of connections";
        Error::invalid(format!("`connections`: {issue}")).detail("connections", issue)
    })
}

async fn list(cx: Context) -> Result<Reply, Failure> {
    let bounds = page::bounds(&cx)?;
    let agents = cx.app.engine.agents().list(cx.caller()?).await?;
    let page = Page::cut(&agents, bounds, shown);
    Ok(Reply::json(StatusCode::OK, &page.named("data")))
}

async fn create(cx: Context) -> Result<Reply, Failure> {
    let mut body = cx.members()?;
    let (id, name) = (body.text("id"), body.required_text("name"));
    let said = Said::read(&mut body);
    body.end()?;
    let id = id.map(|id| AgentId::parse(&id)).transpose()?;
    let caller = cx.caller()?;
    // Who may not do everything makes agents that do what it may.
    let wanted = Wanted { scopes: caller.scopes.clone(), ..Wanted::new(&name) };
    let said = Said { name: None, ..said };
    let made = cx.app.engine.agents().create(caller, id, said.over(wanted)?).await?;
    Ok(Reply::json(StatusCode::CREATED, &shown(&made)))
}

async fn show(cx: Context) -> Result<Reply, Failure> {
    let agent = cx.app.engine.agents().get(cx.caller()?, &named(&cx)?).await?;
    Ok(Reply::json(StatusCode::OK, &shown(&agent)))
}

async fn change(cx: Context) -> Result<Reply, Failure> {
    let (caller, agents, id) = (cx.caller()?, cx.app.engine.agents(), named(&cx)?);
    let Agent { name, description, scopes, connections, .. } = agents.get(caller, &id).await?;
    let mut body = cx.members()?;
    let said = Said::read(&mut body);
    body.end()?;
    let wanted = said.over(Wanted { name, description, scopes, connections })?;
    Ok(Reply::json(StatusCode::OK, &shown(&agents.change(caller, &id, wanted).await?)))
}

async fn remove(cx: Context) -> Result<Reply, Failure> {
    cx.app.engine.agents().delete(cx.caller()?, &named(&cx)?).await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}
