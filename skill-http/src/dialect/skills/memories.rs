//! `/api/agents/{id}/memories`: what an agent keeps in mind.

use http::{Method, StatusCode};
use serde_json::{Value, json};
use skill_core::{
    Error,
    agents::Note,
    id::MemoryId,
    name::{Slug, UserId},
    record::{agent::Memory, scope::Scope},
    store::MemoryFilter,
};

use super::{agents, page, page::Page};
use crate::{
    app::Context,
    app::route::{Access, Operation, Route},
    reply::{Failure, Reply},
};

const READING: &[u16] = &[400, 401, 403, 404, 429, 500, 503];
const CHANGING: &[u16] = &[400, 401, 403, 404, 408, 413, 415, 429, 500, 503];

pub(super) fn routes() -> Vec<Route> {
    let key = || Access::Key(Slug::parse("memory").ok().map(Scope::Namespace));
    let tag = json!({"type": "string", "description": "Filed under this tag only."});
    let listing = Operation::new("list_memories", "List what an agent keeps in mind");
    let listing = page::query(listing.query("tag", tag))
        .answer(200, "A page of it, the newest first", page::schema("data", &schema()))
        .errors(READING);
    let mut made = wanted_schema();
    made["required"] = json!(["content"]);
    let making = Operation::new("create_memory", "Let an agent keep something in mind")
        .body(made)
        .answer(201, "The memory", schema())
        .errors(CHANGING);
    let showing = Operation::new("show_memory", "Show a memory")
        .answer(200, "The memory", schema())
        .errors(READING);
    let changing = Operation::new("change_memory", "Change a memory")
        .body(wanted_schema())
        .answer(200, "The memory", schema())
        .errors(CHANGING);
    let removing = Operation::new("delete_memory", "Let an agent forget")
        .answer(204, "It is gone", Value::Null)
        .errors(CHANGING);
    let (all, one) =
        ("/api/agents/{agent_id}/memories", "/api/agents/{agent_id}/memories/{memory_id}");
    vec![
        Route::new(Method::GET, all, key(), listing, |cx| Box::pin(list(cx))),
        Route::new(Method::POST, all, key(), making, |cx| Box::pin(create(cx))),
        Route::new(Method::GET, one, key(), showing, |cx| Box::pin(show(cx))),
        Route::new(Method::PATCH, one, key(), changing, |cx| Box::pin(change(cx))),
        Route::new(Method::DELETE, one, key(), removing, |cx| Box::pin(remove(cx))),
    ]
}

fn wanted_schema() -> Value {
    json!({
        "type": "object", "additionalProperties": false,
        "properties": {
            "content": {"type": "string", "minLength": 1, "description": "At most 64 KiB."},
            "tag": {"type": ["string", "null"], "minLength": 1, "maxLength": 100},
            "metadata": {"type": ["object", "null"], "description": "At most 16 KiB of JSON."},
        },
    })
}

fn schema() -> Value {
    let time = || json!({"type": "string", "format": "date-time"});
    json!({
        "type": "object",
        "required": [
            "id", "agent_id", "content", "tag", "metadata", "created_at", "updated_at",
        ],
        "properties": {
            "id": {"type": "string"}, "agent_id": {"type": "string"},
            "user_id": {"type": ["string", "null"]},
            "content": {"type": "string"}, "tag": {"type": ["string", "null"]},
            "metadata": {"type": "object"},
            "created_at": time(), "updated_at": time(),
        },
    })
}

fn shown(memory: &Memory, note: &Note) -> Value {
    json!({
        "id": memory.id.to_string(),
        "agent_id": memory.agent.as_str(),
        "user_id": memory.user.as_ref().map(UserId::as_str),
        "content": note.content,
        "tag": note.tag,
        "metadata": note.metadata,
        "created_at": memory.created_at.to_string(),
        "updated_at": memory.updated_at.to_string(),
    })
}

fn opened(cx: &Context, memory: &Memory) -> Result<Value, Error> {
    Ok(shown(memory, &cx.app.engine.agents().read(memory)?))
}

async fn list(cx: Context) -> Result<Reply, Failure> {
    let (bounds, tag) = (page::bounds(&cx)?, cx.query().text("tag")?);
    let limit = u32::try_from(bounds.limit).unwrap_or(u32::MAX);
    let filter =
        MemoryFilter { tag, limit, offset: bounds.offset, ..MemoryFilter::of(agents::named(&cx)?) };
    let (found, total) = cx.app.engine.agents().memories(cx.caller()?, filter).await?;
    let items = found.iter().map(|one| opened(&cx, one)).collect::<Result<Vec<_>, _>>()?;
    let has_more = bounds.offset.saturating_add(items.len() as u64) < total;
    let page = Page { items, total, bounds, has_more };
    Ok(Reply::json(StatusCode::OK, &page.named("data")))
}

async fn create(cx: Context) -> Result<Reply, Failure> {
    let agent = agents::named(&cx)?;
    let mut body = cx.members()?;
    let (content, tag) = (body.required_text("content"), body.text("tag"));
    let metadata = body.object("metadata").unwrap_or_default();
    body.end()?;
    let note = Note { content, tag, metadata };
    let memory = cx.app.engine.agents().remember(cx.caller()?, &agent, &note).await?;
    Ok(Reply::json(StatusCode::CREATED, &shown(&memory, &note)))
}

async fn show(cx: Context) -> Result<Reply, Failure> {
    Ok(Reply::json(StatusCode::OK, &opened(&cx, &find(&cx).await?)?))
}

async fn change(cx: Context) -> Result<Reply, Failure> {
    let memory = find(&cx).await?;
    let agents = cx.app.engine.agents();
    let mut note = agents.read(&memory)?;
    let mut body = cx.members()?;
    let (no_tag, no_metadata) = (body.is_null("tag"), body.is_null("metadata"));
    let (content, tag) = (body.text("content"), body.text("tag"));
    let metadata = body.object("metadata");
    body.end()?;
    note.content = content.unwrap_or(note.content);
    note.tag = if no_tag { None } else { tag.or(note.tag) };
    note.metadata = match metadata {
        Some(metadata) => metadata,
        None if no_metadata => Default::default(),
        None => note.metadata,
    };
    let memory = agents.revise(cx.caller()?, memory, &note).await?;
    Ok(Reply::json(StatusCode::OK, &shown(&memory, &note)))
}

async fn remove(cx: Context) -> Result<Reply, Failure> {
    let id = find(&cx).await?.id;
    cx.app.engine.agents().forget(cx.caller()?, &agents::named(&cx)?, id).await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

/// The memory that the path names.
async fn find(cx: &Context) -> Result<Memory, Error> {
    let unknown = || Error::not_found("there is no memory with this id");
    let id = MemoryId::parse(cx.value(1)).ok_or_else(unknown)?;
    cx.app.engine.agents().memory(cx.caller()?, &agents::named(cx)?, id).await
}
